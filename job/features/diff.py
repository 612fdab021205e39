"""The listing minus the features table: which images are new, and which rows of the table stand for the others.

A join of metadata in Spark; it reads no vectors, and gathers nothing on the driver.
"""

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from job import storage
from job.features.snapshot import RowMask
from job.features.table import OK, read_file
from job.features.wave import DataFile
from job.images.listing import ListedImage, Listing, write_parts
from job.images.rejection import OF_STORAGE, OVER_MEMORY, OVER_TIME
from job.spark.capacity import parallelism
from job.spark.tasks import RESULT_SCHEMA, collect_results, map_items, result_row

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

# Rows of metadata that one task of the join holds: about 20 MB.
_TASK_ROWS = 100_000

# The columns of the table that are compared, in the table's order.
_STORED = ["path", "length", "modified", "status", "reason", "etag", "bound"]

_MASK = pa.schema([("file", pa.string()), ("row", pa.int32()), ("label", pa.string())])


@dataclass
class Difference:
    """A listing beside the features table.

    Attributes
    ----------
    todo : Listing
        The images that the table lacks.
    row_masks : list of RowMask
        The rows that stand for the others.
    reused : Counter
        The number of those rows by status.
    """

    todo: Listing = field(default_factory=Listing)
    row_masks: list[RowMask] = field(default_factory=list)
    reused: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Reuse:
    """Which rejections of earlier runs stand.

    Attributes
    ----------
    rejected : bool
        Whether any does.
    seconds, memory_bytes : float
        Limits of this run: an image that was over a lower one is tried again.
    """

    rejected: bool
    seconds: float
    memory_bytes: float


@dataclass(frozen=True)
class _Share:
    """One task's share of a difference: the new images, the mask file, its rows by features file and by status."""

    todo: Listing
    mask: str | None
    rows: Counter[str]
    reused: Counter[str]


def subtract(
    spark: "SparkSession",
    output: str,
    listing: Listing,
    files: list[DataFile],
    work: str,
    reuse: Reuse,
) -> Difference:
    """Compare a listing with the table's committed files, by path, length, modification time and entity tag.

    Parameters
    ----------
    output : str
        Address of the output.
    listing : Listing
        The images of this run.
    files : list of DataFile
        The committed features files, oldest first: of several rows for one image version a usable one counts, else the
        youngest.
    work : str
        Folder, below the output, for listings of new images and for row masks.
    reuse : Reuse
        Which rejections stand.
    """
    if not files:
        return Difference(todo=listing)
    names = [file.name for file in files]

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext  # noqa: PLC0415 - known to the worker only

        context = TaskContext.get()
        number = context.partitionId() if context else 0
        # Two attempts of a task may write at a time: only the files of the one whose result is taken count.
        part = f"part-{number:05d}-{secrets.token_hex(4)}"
        yield result_row(number, _write_share(batches, names, output, work, part))

    matched = _match(spark, output, listing, files, reuse)
    shares: dict[int, _Share] = dict(collect_results(matched.mapInArrow(write, RESULT_SCHEMA)))
    by_name = dict(zip(names, files, strict=True))
    difference = Difference()
    for _, share in sorted(shares.items()):
        difference.todo.add(share.todo)
        difference.row_masks += [
            RowMask(by_name[name], share.mask, count) for name, count in sorted(share.rows.items())
        ]
        difference.reused += share.reused
    return difference


def _match(spark: "SparkSession", output: str, listing: Listing, files: list[DataFile], reuse: Reuse) -> "DataFrame":
    """Return the listed images, each with the file and row that stand for it, or null where it is new.

    All rows of one features file are in one partition; new images are spread by their path.
    """
    from pyspark.sql import functions as f  # noqa: PLC0415 - only with Spark

    # Usable rows sort last, then the youngest: file numbers grow with time.
    row = f.struct((f.col("status") == OK).alias("usable"), "file", "row", "status", "etag", "reason", "bound")
    stored = _stored(spark, output, files).groupBy("path", "length", "modified").agg(f.collect_list(row).alias("rows"))
    # Paths compress well: Spark took the metadata of five million images for small enough to send it to every worker,
    # and the driver ran out of memory.
    stored = stored.hint("merge")
    listed = _listed(spark, listing)
    same = [listed[name].eqNullSafe(stored[name]) for name in ("path", "length", "modified")]

    def stands(row: "Column") -> "Column":
        """Return whether a row stands for the listed image of its path, length and time."""
        same_tag = listed["etag"].isNull() | row["etag"].isNull() | (listed["etag"] == row["etag"])
        reason = f.coalesce(row["reason"], f.lit(""))
        unseen = ~reason.isin(*OF_STORAGE) | listed["fault"].isNotNull()
        limit = f.when(reason == OVER_TIME, reuse.seconds).when(reason == OVER_MEMORY, reuse.memory_bytes)
        within = limit.isNull() | (f.coalesce(row["bound"], f.lit(0.0)) >= limit)
        return same_tag & (row["usable"] | (f.lit(reuse.rejected) & unseen & within))

    names = ["path", "label", "length", "modified", "fault", "etag"]
    found = f.array_max(f.filter(f.col("rows"), stands)).alias("found")
    rows = listed.join(stored, same, "left").select(*(listed[name] for name in names), found)
    partitions = max(parallelism(spark), -(-listing.rows // _TASK_ROWS))
    return rows.select(*names, "found.file", "found.row", "found.status").repartition(
        partitions, f.coalesce(f.col("file").cast("string"), f.col("path"))
    )


def _listed(spark: "SparkSession", listing: Listing) -> "DataFrame":
    def read(part: str) -> Iterator[pa.RecordBatch]:
        with storage.open_input(part) as file:
            for rows in pq.ParquetFile(file).iter_batches(10_000):
                yield _with_integer_time(rows)

    parts = [part.address for part in listing.parts]
    columns = "path string, label string, length long, modified long, fault string, etag string"
    return map_items(spark, parts, read, columns)


def _stored(spark: "SparkSession", output: str, files: list[DataFile]) -> "DataFrame":
    groups = [range(start, len(files), 4 * parallelism(spark)) for start in range(4 * parallelism(spark))]
    groups = [group for group in groups if len(group)]

    def read(group: range) -> Iterator[pa.RecordBatch]:
        for number in group:
            start = 0
            for rows in read_file(output, files[number], _STORED):
                position = {
                    "file": pa.array([number] * rows.num_rows, pa.int32()),
                    "row": pa.array(range(start, start + rows.num_rows), pa.int32()),
                }
                start += rows.num_rows
                named = dict(zip(rows.schema.names, _with_integer_time(rows).columns, strict=True))
                yield pa.RecordBatch.from_pydict(named | position)

    columns = "path string, length long, modified long, status string, reason string, etag string, bound double"
    return map_items(spark, groups, read, f"{columns}, file int, row int")


def _with_integer_time(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch with `modified` as microseconds: Spark's own timestamps would go through time zones."""
    index = rows.schema.get_field_index("modified")
    return rows.set_column(index, "modified", rows.column(index).cast(pa.int64()))


def _write_share(batches: Iterable[pa.RecordBatch], names: list[str], output: str, work: str, part: str) -> _Share:
    """Write, in a worker, the new images of one partition as a listing, and the mask of the rows that are reused."""
    todo: list[ListedImage] = []
    found: list[pa.RecordBatch] = []
    reused: Counter[str] = Counter()
    for batch in batches:
        new = batch.filter(pc.is_null(batch.column("file")))
        todo += [
            ListedImage(row["path"], row["label"], row["length"], row["modified"], row["fault"], row["etag"])
            for row in new.to_pylist()
        ]
        known = batch.filter(pc.is_valid(batch.column("file"))).select(["file", "row", "label", "status"])
        reused.update(known.column("status").to_pylist())
        found.append(known)
    listing = write_parts(todo, storage.join(output, work, "todo", part))
    if not reused:
        return _Share(listing, None, Counter(), reused)
    rows = pa.Table.from_batches(found)
    files = pa.array(names, pa.string()).take(rows.column("file").combine_chunks())
    table = pa.table([files, rows.column("row"), rows.column("label")], schema=_MASK)
    mask = f"{work}/selection/{part}.parquet"
    with storage.create(storage.join(output, mask)) as path:
        pq.write_table(table.sort_by([("file", "ascending"), ("row", "ascending")]), path)
    return _Share(listing, mask, Counter(files.to_pylist()), reused)
