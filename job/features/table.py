"""The features table: its schema, and how its rows are written and read.

A wave (`job.features.wave`) adds files to it; a snapshot (`job.features.snapshot`) chooses the rows that are current.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from job import storage
from job.errors import RunError
from job.features.rereading import read_whole
from job.features.snapshot import RowMask, deal, read_snapshot
from job.features.wave import DataFile
from job.spark.capacity import parallelism
from job.spark.shipping import ship
from job.spark.tasks import map_items

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# The values of `status`.
OK = "ok"
REJECTED = "rejected"

# One row per image version. `length` in bytes, `width` and `height` in pixels as stored; `features` (d values) and
# `colours` (160 values, see `job.images.color_histogram`) or null. `etag` is S3's, null elsewhere. `bound` is the limit
# that an image was over, in seconds or bytes. Files of the version before lack these two.
SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("length", pa.int64()),
        ("modified", pa.timestamp("us", tz="UTC")),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("error", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("features", pa.list_(pa.field("element", pa.float32()))),
        ("run", pa.string()),
        ("colours", pa.list_(pa.field("element", pa.float32()))),
        ("etag", pa.string()),
        ("bound", pa.float64()),
    ]
)

# The columns of rejected rows that rejected.csv lists.
REJECTED_SCHEMA = pa.schema([("path", pa.string()), ("reason", pa.string()), ("error", pa.string())])


class FeaturesGoneError(RunError):
    """Features that are not where they were: a newer run or a prune has replaced them, or they were deleted."""


# Rows read or written at a time: 5 MB of features.
BATCH_ROWS = 1024
# Files of fewer bytes are read whole, without threads: these would take longer to start.
_WHOLE_BYTES = 1_000_000
# Bytes of files that one task of a Spark table reads, at least.
_TASK_BYTES = 64_000_000


def features_writer(path: Path) -> pq.ParquetWriter:
    """Return the writer of a features file: rows of `SCHEMA`, each page with its checksum."""
    dictionaries = ["label", "status", "reason", "run"]  # columns of few different values
    return pq.ParquetWriter(path, SCHEMA, compression="zstd", write_page_checksum=True, use_dictionary=dictionaries)


def read_batches(
    output: str, row_masks: Iterable[RowMask], columns: list[str], *, batch_rows: int = BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """Yield the current rows of features files, with the latest listing's labels, at most `batch_rows` at a time.

    Rows of small files are gathered: a batch of few rows costs as much as one of many.

    Raises
    ------
    RunError
        For a file that is gone or holds other rows than its marker says.
    """
    yield from _gathered(_current_rows(output, row_masks, columns, batch_rows), batch_rows)


def _gathered(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Join consecutive batches, as far as they have at most `rows` rows together."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        if waiting and count + batch.num_rows > rows:
            yield _joined(waiting)
            waiting, count = [], 0
        waiting.append(batch)
        count += batch.num_rows
    if waiting:
        yield _joined(waiting)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


def _current_rows(
    output: str, row_masks: Iterable[RowMask], columns: list[str], batch_rows: int
) -> Iterator[pa.RecordBatch]:
    address, masks = "", dict[str, pa.Table]()  # of the mask file read last: masks in a row share one
    for row_mask in row_masks:
        batches = read_file(output, row_mask.file, columns, batch_rows=batch_rows)
        if row_mask.mask is None:
            yield from batches
            continue
        if row_mask.mask != address:
            address = row_mask.mask
            try:
                with storage.open_input(storage.join(output, address)) as file:
                    masks = _by_file(pq.read_table(file))
            except FileNotFoundError:
                gone = storage.join(output, address)
                raise FeaturesGoneError(
                    f"{gone} is gone; run python -m job featurize again, nothing is inferred twice"
                ) from None
        yield from _masked(batches, masks[row_mask.file.name])


def _by_file(table: pa.Table) -> dict[str, pa.Table]:
    """Return the rows of a mask file (columns `file`, `row`, `label`) by features file, in the order of their rows."""
    rows = table.sort_by([("file", "ascending"), ("row", "ascending")]).combine_chunks()
    if not rows.num_rows:
        return {}
    runs = pc.run_end_encode(rows.column("file").chunk(0))
    ends = runs.run_ends.to_pylist()
    starts = [0, *ends[:-1]]
    return {
        name: rows.slice(start, end - start)
        for name, start, end in zip(runs.values.to_pylist(), starts, ends, strict=True)
    }


def _masked(batches: Iterator[pa.RecordBatch], mask: pa.Table) -> Iterator[pa.RecordBatch]:
    """Yield those rows of a file's batches that its mask (columns `row`, `label`) chooses, with the mask's labels."""
    numbers, start, first = mask.column("row").to_numpy(), 0, 0
    for batch in batches:
        stop = int(np.searchsorted(numbers, start + batch.num_rows))
        rows = numbers[first:stop] - start
        if len(rows):
            chosen = batch if len(rows) == batch.num_rows else batch.take(pa.array(rows))
            column = chosen.schema.get_field_index("label")
            if column >= 0:
                labels = mask.column("label").slice(first, len(rows)).combine_chunks()
                chosen = chosen.set_column(column, SCHEMA.field("label"), labels)
            yield chosen
        start, first = start + batch.num_rows, stop


def read_file(
    output: str, file: DataFile, columns: list[str], *, batch_rows: int = BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """Yield columns of one features file, in the schema's order, `batch_rows` rows at a time; raises `RunError`."""
    address = storage.join(output, file.name)
    remedy = "delete its wave's folder, and its images are inferred again"
    try:
        small = file.bytes < _WHOLE_BYTES
        with _opened(address, whole=small) as source:
            parquet = pq.ParquetFile(source, page_checksum_verification=True)
            if parquet.metadata.num_rows != file.rows:
                raise RunError(
                    f"{address} has {parquet.metadata.num_rows} rows where {file.rows} were committed; {remedy}"
                )
            wanted = pa.schema([field for field in SCHEMA if field.name in columns])
            for batch in parquet.iter_batches(batch_rows, columns=columns, use_threads=not small):
                yield _completed(batch, wanted)
    except FileNotFoundError:
        raise FeaturesGoneError(f"{address} was committed and is gone; {remedy}") from None
    except (pa.ArrowException, OSError) as error:
        raise RunError(f"{address} is damaged ({' '.join(str(error).split())[:200]}); {remedy}") from None


def _opened(address: str, *, whole: bool) -> "AbstractContextManager[BinaryIO | pa.BufferReader]":
    """Open a features file, or read it whole, which takes one request."""
    return pa.BufferReader(storage.read(address)) if whole else storage.open_input(address)


def _completed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch with nulls for the columns of a schema that its file lacks."""
    if batch.num_columns == len(schema):
        return batch
    present = set(batch.schema.names)
    columns = [
        batch.column(field.name) if field.name in present else pa.nulls(batch.num_rows, field.type) for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def vectors(batch: pa.RecordBatch, d: int, column: str = "features") -> NDArray[np.float32]:
    """Return the features, or another column of lists, of usable rows: float32 array, shape (n, d)."""
    values = batch.column(column).flatten().to_numpy(zero_copy_only=False)
    if len(values) != batch.num_rows * d:
        raise RunError(f"{column} of {len(values)} values for {batch.num_rows} images, where each has {d}")
    return np.asarray(values, np.float32).reshape(-1, d)


def read_features(output: str, spark: "SparkSession | None" = None) -> "pa.Table | DataFrame":
    """Read the current images: those of the latest run, each exactly once, with the model of that run.

    Parameters
    ----------
    output : str
        The `--output` of the run.
    spark : SparkSession, optional
        Given, the answer is a Spark DataFrame that its workers read; else an Arrow table (`.to_pandas()` for pandas).

    Returns
    -------
    pyarrow.Table or pyspark.sql.DataFrame
        Columns `path`, `label` string, `length` int64 bytes, `modified` timestamp, `status` (`ok` or `rejected`),
        `reason`, `error` string, `width`, `height` int32 pixels, `features` list<float32> [d], `run` string,
        `colours` list<float32> [160], see `job.images.color_histogram`, `etag` string, `bound` float64.
    """
    output = storage.absolute(output)

    def read(row_masks: tuple[RowMask, ...]) -> "pa.Table | DataFrame":
        if spark is None:
            return pa.Table.from_batches(read_batches(output, row_masks, SCHEMA.names), SCHEMA)
        ship(spark)
        size = sum(row_mask.file.bytes for row_mask in row_masks)
        tasks = max(4 * parallelism(spark), size // _TASK_BYTES)
        return map_items(spark, deal(row_masks, tasks), partial(_read_current, output), SCHEMA)

    return read_whole(lambda: read_snapshot(output).row_masks, read, FeaturesGoneError, f"the features in {output}")


def _read_current(output: str, row_masks: list[RowMask]) -> Iterator[pa.RecordBatch]:
    """Yield the current rows of some files, in a worker; raises `RunError` where others are current now."""
    try:
        yield from read_batches(output, row_masks, SCHEMA.names)
    except FeaturesGoneError:
        if set(row_masks) <= set(read_snapshot(output).row_masks):
            raise
        raise RunError(
            f"a newer run or a prune has replaced features in {output} that are being read; call read_features again"
        ) from None
