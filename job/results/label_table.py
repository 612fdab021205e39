"""Spark: the table of an archive with more labels than `run.json` holds, `label_counts/run=<id>/`.

Columns `label` string and `images` int64, the number of listed images; each part begins with its largest labels.
"""

import heapq
import secrets
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from job import storage
from job.features.snapshot import RowMask, Snapshot, deal
from job.features.table import read_batches
from job.results.run_record import RunRecord
from job.spark.capacity import parallelism
from job.spark.tasks import RESULT_SCHEMA, collect_results, map_items, result_row

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SCHEMA = pa.schema([("label", pa.string()), ("images", pa.int64())])
# Images whose labels one task counts.
_TASK_IMAGES = 1_000_000


def write_label_table(spark: "SparkSession", output: str, snapshot: Snapshot, folder: str) -> None:
    """Count the current images by label, and write the table to a folder; raises `RunError`."""

    def read(row_masks: list[RowMask]) -> Iterator[pa.RecordBatch]:
        for rows in read_batches(output, row_masks, ["label"]):
            yield pa.RecordBatch.from_arrays([pc.fill_null(rows.column("label"), "")], ["label"])

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        if found := [batch for batch in batches if batch.num_rows]:
            counts = pa.Table.from_batches(found).cast(_SCHEMA)  # Spark's columns cannot be null
            part = f"part-{secrets.token_hex(8)}.parquet"
            with storage.create(storage.join(folder, part)) as path:
                pq.write_table(counts.sort_by([("images", "descending"), ("label", "ascending")]), path)
            yield result_row(0, part)

    labels = map_items(spark, deal(snapshot.row_masks, 4 * parallelism(spark)), read, "label string")
    tasks = max(parallelism(spark), -(-snapshot.counts.listed // _TASK_IMAGES))
    counts = labels.repartition(tasks, "label").groupBy("label").count().withColumnRenamed("count", "images")
    written = {part for _, part in collect_results(counts.mapInArrow(write, RESULT_SCHEMA))}
    # Another attempt of a task may have written its part as well.
    for entry in storage.scan(folder):
        if storage.name(entry.address) not in written:
            storage.remove(entry.address)


def largest_labels(output: str, run: RunRecord, most: int) -> tuple[list[tuple[str, int]], int]:
    """Return the labels of a run with the most listed images, largest first, and the number of all labels."""
    if run.labels is not None:
        return sorted(run.labels.items(), key=_order)[:most], len(run.labels)
    found: list[tuple[str, int]] = []
    labels = 0
    for entry in storage.scan(storage.join(output, str(run.results.label_counts))):
        with storage.open_input(entry.address) as file:
            part = pq.ParquetFile(file)
            labels += part.metadata.num_rows
            rows = next(part.iter_batches(most)).to_pydict()
            largest = heapq.merge(found, zip(rows["label"], rows["images"], strict=True), key=_order)
            found = [label for label, _ in zip(largest, range(most), strict=False)]
    return found, labels


def _order(label: tuple[str, int]) -> tuple[int, str]:
    return -label[1], label[0]
