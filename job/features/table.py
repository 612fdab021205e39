"""The features table: what is committed, how a wave is appended, which rows are current, how they are read.

features/model=<fingerprint>/wave=<id>/*.parquet    rows, written by the workers
/_COMMIT.json the wave's files; written last, without it the wave is not there
features/model=<fingerprint>/_model/                the model folder that made them
features/_CURRENT.json                              the images of the latest run: which files, which of their rows
"""

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from job import storage
from job.errors import JobError, RunError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# Versions of a wave's marker, and of what names the current images.
FORMAT = 1
_CURRENT_FORMAT = 2
OK = "ok"
REJECTED = "rejected"

# One row an image version. `length` in bytes, `width` and `height` in pixels as stored, `features` [d] and
# `colours` [160], as `job.images.color_histogram` makes them, or null.
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
    ]
)

# What rejected.csv lists of the rows of `SCHEMA` that are rejected.
REJECTED_SCHEMA = pa.schema([("path", pa.string()), ("reason", pa.string()), ("error", pa.string())])

# Rows read or written at a time: 5 MB of features.
BATCH_ROWS = 1024

_COMMIT = "_COMMIT.json"
_CURRENT = "features/_CURRENT.json"


class DataFile(NamedTuple):
    """A features file: its address below the output, its number of rows, its size in bytes."""

    name: str
    rows: int
    bytes: int


class RowMask(NamedTuple):
    """Which rows of a features file are current.

    `mask` is the address, below the output, of a Parquet file with the columns `file`, `row` and `label` (the label of
    today's listing), or None where every row is current; `rows` is the number of current rows.
    """

    file: DataFile
    mask: str | None
    rows: int


@dataclass
class Snapshot:
    """The images of the latest featurize stage, and what is known of that stage."""

    run: str
    fingerprint: str
    model: dict[str, Any]
    settings: dict[str, Any]
    counts: dict[str, int]
    labels: dict[str, int]
    seconds: dict[str, float]
    images_per_second: float
    row_masks: list[RowMask] = field(default_factory=list)
    format: int = _CURRENT_FORMAT


def new_run() -> str:
    """Return a name for a run; names sort by time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def model_folder(output: str, fingerprint: str) -> str:
    """Return where the model that made these features is kept."""
    return storage.join(output, "features", f"model={fingerprint}", "_model")


def work_folder(output: str, run: str) -> str:
    """Return the folder of what a run needs beside its results: listing, selection."""
    return storage.join(output, "work", f"run={run}")


def wave_name(fingerprint: str, run: str, number: int) -> str:
    """Return a wave's folder below the output; names sort by time."""
    return f"features/model={fingerprint}/wave={run}-{number:04d}"


def features_writer(path: Path) -> pq.ParquetWriter:
    """Return the writer of a features file: rows of `SCHEMA`, each page with its checksum."""
    dictionaries = ["label", "status", "reason", "run"]  # what is the same in many rows
    return pq.ParquetWriter(path, SCHEMA, compression="zstd", write_page_checksum=True, use_dictionary=dictionaries)


def commit(output: str, wave: str, files: list[DataFile]) -> None:
    """Make a wave count: write its marker, after all its files."""
    fingerprint = wave.split("/")[1].removeprefix("model=")
    marker = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "rows": sum(file.rows for file in files),
        "bytes": sum(file.bytes for file in files),
        "files": [{"name": storage.name(file.name), "rows": file.rows, "bytes": file.bytes} for file in files],
    }
    storage.write(storage.join(output, wave, _COMMIT), _json(marker))


def committed(output: str, fingerprint: str) -> list[DataFile]:
    """Return the files of every committed wave of a model, oldest first.

    Raises
    ------
    RunError
        For a marker that cannot be read or belongs to another model or version.
    """
    waves = _children(output, f"features/model={fingerprint}", "wave=")
    with ThreadPoolExecutor(16) as pool:
        return [
            file for files in pool.map(lambda wave: _read_commit(output, wave, fingerprint), waves) for file in files
        ]


def _read_commit(output: str, wave: str, fingerprint: str) -> list[DataFile]:
    address = storage.join(output, wave, _COMMIT)
    try:
        marker = json.loads(storage.read(address))
    except FileNotFoundError:
        return []
    except ValueError:
        raise RunError(f"{address} is damaged; delete the folder it is in, and its images are inferred again") from None
    if marker.get("format") != FORMAT or marker.get("fingerprint") != fingerprint:
        raise RunError(f"{address} was written by another version or model; use another --output")
    return [DataFile(f"{wave}/{file['name']}", file["rows"], file["bytes"]) for file in marker["files"]]


def drop_damaged(output: str, fingerprint: str) -> list[str]:
    """Take files that are gone, or not of the length that was committed, out of their waves; return their names.

    Their images count as never inferred from then on.
    """
    removed = []
    for wave in _children(output, f"features/model={fingerprint}", "wave="):
        entries = storage.scan(storage.join(output, wave))
        lengths = {storage.name(entry.address): entry.length for entry in entries if not entry.is_folder}
        files = _read_commit(output, wave, fingerprint)
        kept = [file for file in files if lengths.get(storage.name(file.name)) == file.bytes]
        if len(kept) < len(files):
            commit(output, wave, kept)
            removed += [file.name for file in files if file not in kept]
    for name in removed:
        storage.remove(storage.join(output, name))
    return removed


def models(output: str) -> list[str]:
    """Return the fingerprints of all models that the store has features of."""
    return [storage.name(folder).removeprefix("model=") for folder in _children(output, "features", "model=")]


def drop_uncommitted(output: str) -> None:
    """Delete what a killed run has left: waves without their marker, files that were not put in place."""
    for model in _children(output, "features", "model="):
        for wave in _children(output, model, "wave="):
            if not storage.exists(storage.join(output, wave, _COMMIT)):
                storage.remove(storage.join(output, wave))
    if not storage.exists(output):
        return
    for entry in storage.scan(output):
        if re.fullmatch(r"\.([0-9a-f]{32}|probe-[0-9a-f]{8})", storage.name(entry.address)):
            storage.remove(entry.address)


def remove_runs(output: str, folder: str, keep: str) -> None:
    """Delete the parts `run=…` of a folder of the output, all but one."""
    for part in _children(output, folder, "run="):
        if part != f"{folder}/run={keep}":
            storage.remove(storage.join(output, part))


def _children(output: str, folder: str, start: str) -> list[str]:
    """Return the folders in a folder whose names start so, as addresses below the output, sorted."""
    try:
        entries = list(storage.scan(storage.join(output, folder)))
    except FileNotFoundError:
        return []
    names = sorted(storage.name(entry.address) for entry in entries if entry.is_folder)
    return [f"{folder}/{name}" for name in names if name.startswith(start)]


def write_snapshot(output: str, current: Snapshot) -> None:
    """Name the images that are current from now on."""
    storage.write(storage.join(output, _CURRENT), _json(_snapshot_json(current)))


def _snapshot_json(current: Snapshot) -> dict[str, Any]:
    fields = asdict(current)
    masks = fields.pop("row_masks")
    return fields | {"selections": masks}


def read_snapshot(output: str) -> Snapshot:
    """Return what the latest featurize stage has left.

    Raises
    ------
    JobError
        Where there is nothing, or something that this version cannot read.
    """
    address = storage.join(output, _CURRENT)
    try:
        fields = json.loads(storage.read(address))
    except (FileNotFoundError, NotADirectoryError):
        raise JobError(
            f"no features in {output}; make them with: python -m job featurize --output {output} …"
        ) from None
    except ValueError:
        raise JobError(f"{address} is damaged; run python -m job featurize again, nothing is inferred twice") from None
    if fields.get("format") != _CURRENT_FORMAT:
        raise JobError(
            f"{address} has format {fields.get('format')}, this version reads format {_CURRENT_FORMAT};"
            " run python -m job run again, which infers all images anew"
        )
    row_masks = [RowMask(DataFile(*file), mask, rows) for file, mask, rows in fields.pop("selections")]
    return Snapshot(**fields, row_masks=row_masks)


def read_batches(output: str, row_masks: list[RowMask], columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield the current rows of some features files, with today's labels, at most `BATCH_ROWS` rows at a time.

    Raises
    ------
    RunError
        For a file that is gone or holds other rows than its marker says.
    """
    masks: dict[str, pa.Table] = {}
    for row_mask in row_masks:
        if row_mask.mask is None:
            yield from read_file(output, row_mask.file, columns)
            continue
        if row_mask.mask not in masks:
            with storage.open_input(storage.join(output, row_mask.mask)) as file:
                masks = {row_mask.mask: pq.read_table(file)}
        table = masks[row_mask.mask]
        chosen = table.filter(pc.equal(table.column("file"), row_mask.file.name)).sort_by("row").combine_chunks()
        numbers, start, first = chosen.column("row").to_numpy(), 0, 0
        for batch in read_file(output, row_mask.file, columns):
            stop = int(np.searchsorted(numbers, start + batch.num_rows))
            here = numbers[first:stop] - start
            taken = batch if len(here) == batch.num_rows else batch.take(pa.array(here))
            if len(here) and "label" in columns:
                today = chosen.column("label").slice(first, len(here)).combine_chunks()
                taken = taken.set_column(taken.schema.get_field_index("label"), SCHEMA.field("label"), today)
            if len(here):
                yield taken
            start, first = start + batch.num_rows, stop


def read_file(output: str, file: DataFile, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield columns of one features file, in the schema's order, `BATCH_ROWS` rows at a time; raises `RunError`."""
    address = storage.join(output, file.name)
    remedy = "delete its wave's folder, and its images are inferred again"
    try:
        with storage.open_input(address) as source:
            parquet = pq.ParquetFile(source, page_checksum_verification=True)
            if parquet.metadata.num_rows != file.rows:
                raise RunError(
                    f"{address} has {parquet.metadata.num_rows} rows where {file.rows} were committed; {remedy}"
                )
            yield from parquet.iter_batches(BATCH_ROWS, columns=columns)
    except FileNotFoundError:
        raise RunError(f"{address} was committed and is gone; {remedy}") from None
    except (pa.ArrowException, OSError) as error:
        raise RunError(f"{address} is damaged ({' '.join(str(error).split())[:200]}); {remedy}") from None


def vectors(batch: pa.RecordBatch, d: int, column: str = "features") -> NDArray[np.float32]:
    """Return the features, or another column of lists, of usable rows as an array [n, d] float32."""
    values = batch.column(column).flatten().to_numpy(zero_copy_only=False)
    if len(values) != batch.num_rows * d:
        raise RunError(f"{column} of {len(values)} values for {batch.num_rows} images, where each has {d}")
    return np.asarray(values, np.float32).reshape(-1, d)


def deal(row_masks: Sequence[RowMask], tasks: int) -> list[list[RowMask]]:
    """Deal selections out to about so many tasks, evenly by rows; those that share a mask stay together."""
    bundles: dict[str, list[RowMask]] = {}
    for row_mask in row_masks:
        bundles.setdefault(row_mask.mask or row_mask.file.name, []).append(row_mask)
    shares: list[list[RowMask]] = [[] for _ in range(min(len(bundles), tasks))]
    loads = [0] * len(shares)
    for bundle in sorted(bundles.values(), key=lambda bundle: -sum(row_mask.rows for row_mask in bundle)):
        lightest = loads.index(min(loads))
        shares[lightest] += bundle
        loads[lightest] += sum(row_mask.rows for row_mask in bundle)
    return shares


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
        `colours` list<float32> [160], see `job.images.color_histogram`.
    """
    output = storage.absolute(output)
    current = read_snapshot(output)
    if spark is None:
        return pa.Table.from_batches(read_batches(output, current.row_masks, SCHEMA.names), SCHEMA)
    from pyspark.sql.pandas.types import from_arrow_schema  # noqa: PLC0415 - only with Spark

    from job.spark.session import ship  # noqa: PLC0415
    from job.spark.tasks import map_items  # noqa: PLC0415

    ship(spark)

    def rows(row_mask: RowMask) -> Iterator[pa.RecordBatch]:
        return read_batches(output, [row_mask], SCHEMA.names)

    return map_items(spark, current.row_masks, rows, from_arrow_schema(SCHEMA))


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=True) + "\n").encode()
