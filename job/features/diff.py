"""The listing minus the store: which images are to be inferred, and which rows of the store stand for the others.

A join of metadata in Spark; vectors are not read, and nothing is gathered on the driver.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from job import storage
from job.features.snapshot import RowMask
from job.features.table import REJECTED, read_file
from job.features.wave import DataFile
from job.images.listing import ListedImage, Listing, write_parts
from job.spark.capacity import parallelism
from job.spark.tasks import RESULT_SCHEMA, collect_results, map_items, result_row

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# Rows of metadata that one task of the join holds, some 20 MB.
_TASK_ROWS = 100_000

_MASK = pa.schema([("file", pa.string()), ("row", pa.int32()), ("label", pa.string())])


@dataclass
class Difference:
    """What a listing has beyond the store (`todo`), and what the store has of it, with its counts by status."""

    todo: Listing = field(default_factory=Listing)
    row_masks: list[RowMask] = field(default_factory=list)
    reused: Counter[str] = field(default_factory=Counter)


def subtract(
    spark: "SparkSession",
    output: str,
    listing: Listing,
    files: list[DataFile],
    work: str,
    *,
    retry_rejected: bool = False,
) -> Difference:
    """Compare a listing with the store's files, by path, length and modification time.

    Of several rows for one image version the youngest counts; with `retry_rejected` it does not if it is a rejection.
    What is written goes below `work` (an address below the output).
    """
    if not files:
        return Difference(todo=listing)
    from pyspark.sql import functions as f  # noqa: PLC0415 - only with Spark

    store = _stored(spark, output, files).groupBy("path", "length", "modified")
    # File numbers grow with time.
    latest = store.agg(f.max(f.struct("file", "row", "status")).alias("found"))
    if retry_rejected:
        latest = latest.where(f.col("found.status") != REJECTED)
    listed = _listed(spark, listing)
    same = [listed[name].eqNullSafe(latest[name]) for name in ("path", "length", "modified")]
    rows = listed.join(latest, same, "left").select(
        listed["path"],
        "label",
        listed["length"],
        listed["modified"],
        "fault",
        "found.file",
        "found.row",
        "found.status",
    )
    count = max(parallelism(spark), -(-listing.rows // _TASK_ROWS))
    # All rows of one features file meet in one task; rows that no file has are spread by their path.
    key = f.coalesce(f.col("file").cast("string"), f.col("path"))
    names = [file.name for file in files]

    def work_out(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext  # noqa: PLC0415 - known to the worker only

        context = TaskContext.get()
        number = context.partitionId() if context else 0
        result = _split(batches, names, output, f"{work}/{{}}/part-{number:05d}")
        yield result_row(number, result)

    difference = Difference()
    for _, (todo, mask, counts, reused) in sorted(
        collect_results(rows.repartition(count, key).mapInArrow(work_out, RESULT_SCHEMA)), key=lambda result: result[0]
    ):
        difference.todo.add(todo)
        difference.row_masks += [RowMask(files[names.index(name)], mask, counts[name]) for name in sorted(counts)]
        difference.reused += reused
    return difference


def _listed(spark: "SparkSession", listing: Listing) -> "DataFrame":
    def read(part: str) -> Iterator[pa.RecordBatch]:
        with storage.open_input(part) as file:
            for rows in pq.ParquetFile(file).iter_batches(10_000):
                yield _with_integer_time(rows)

    parts = [part.address for part in listing.parts]
    return map_items(spark, parts, read, "path string, label string, length long, modified long, fault string")


def _stored(spark: "SparkSession", output: str, files: list[DataFile]) -> "DataFrame":
    groups = [range(start, len(files), 4 * parallelism(spark)) for start in range(4 * parallelism(spark))]
    groups = [group for group in groups if len(group)]

    def read(group: range) -> Iterator[pa.RecordBatch]:
        for number in group:
            start = 0
            for rows in read_file(output, files[number], ["path", "length", "modified", "status"]):
                position = {
                    "file": pa.array([number] * rows.num_rows, pa.int32()),
                    "row": pa.array(range(start, start + rows.num_rows), pa.int32()),
                }
                start += rows.num_rows
                named = dict(zip(rows.schema.names, _with_integer_time(rows).columns, strict=True))
                yield pa.RecordBatch.from_pydict(named | position)

    return map_items(spark, groups, read, "path string, length long, modified long, status string, file int, row int")


def _with_integer_time(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch with `modified` as microseconds: Spark's own timestamps would go through time zones."""
    index = rows.schema.get_field_index("modified")
    return rows.set_column(index, "modified", rows.column(index).cast(pa.int64()))


def _split(
    batches: Iterable[pa.RecordBatch], names: list[str], output: str, target: str
) -> tuple[Listing, str | None, dict[str, int], Counter[str]]:
    """Write one task's share: what is to be inferred, as a listing, and the mask of what is there."""
    todo: list[ListedImage] = []
    found: list[pa.RecordBatch] = []
    reused: Counter[str] = Counter()
    for batch in batches:
        new = batch.filter(pc.is_null(batch.column("file")))
        todo += [
            ListedImage(row["path"], row["label"], row["length"], row["modified"], row["fault"])
            for row in new.to_pylist()
        ]
        known = batch.filter(pc.is_valid(batch.column("file"))).select(["file", "row", "label", "status"])
        reused.update(known.column("status").to_pylist())
        found.append(known)
    listing = write_parts(todo, storage.join(output, target.format("todo")))
    if not reused:
        return listing, None, {}, reused
    rows = pa.Table.from_batches(found)
    files = pa.array(names, pa.string()).take(rows.column("file").combine_chunks())
    table = pa.table([files, rows.column("row"), rows.column("label")], schema=_MASK)
    mask = f"{target.format('selection')}.parquet"
    with storage.create(storage.join(output, mask)) as path:
        pq.write_table(table.sort_by([("file", "ascending"), ("row", "ascending")]), path)
    return listing, mask, dict(Counter(files.to_pylist())), reused
