"""Spark: a snapshot of the features table in, all that a report counts and the images it compares out."""

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from job.curation.draw import Draw, HashedImage, path_hash
from job.features.snapshot import RowMask, Snapshot, deal
from job.features.table import OK, read_batches
from job.images.listing import ListedImage
from job.spark.capacity import parallelism
from job.spark.tasks import run_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Paths of rejected images that are kept for each reason.
_REJECTED_PATHS = 20
_COLUMNS = ["path", "label", "length", "modified", "status", "reason", "width", "height"]


@dataclass
class Collection:
    """All current images: the number of each size, of rejections for each reason, and a sample of the usable ones.

    Attributes
    ----------
    draw : Draw
    sizes : Counter
        Number of usable images by width and height in pixels.
    reasons : Counter
        Number of rejected images by reason.
    rejected : dict
        The first paths of rejected images by reason.
    """

    draw: Draw
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    rejected: dict[str, list[str]] = field(default_factory=dict)

    def add_rows(self, batch: pa.RecordBatch) -> None:
        """Count rows of the features table."""
        usable = batch.filter(pc.equal(batch.column("status"), OK))
        self.sizes.update(zip(usable.column("width").to_pylist(), usable.column("height").to_pylist(), strict=True))
        self.draw.add(_candidates(usable, self.draw.bound))
        paths: dict[str, list[str]] = {}
        for row in batch.filter(pc.not_equal(batch.column("status"), OK)).select(["reason", "path"]).to_pylist():
            paths.setdefault(row["reason"], []).append(row["path"])
        self._add_rejected(Counter({reason: len(some) for reason, some in paths.items()}), paths)

    def add(self, other: "Collection") -> None:
        """Add the counts of other rows."""
        self.sizes += other.sizes
        self.draw.add(other.draw.drawn())
        self._add_rejected(other.reasons, other.rejected)

    def _add_rejected(self, reasons: Counter[str], rejected: dict[str, list[str]]) -> None:
        self.reasons += reasons
        for reason, paths in rejected.items():
            self.rejected[reason] = sorted([*self.rejected.get(reason, []), *paths])[:_REJECTED_PATHS]


def read_collection(spark: "SparkSession", output: str, snapshot: Snapshot, sample_size: int) -> Collection:
    """Count the current images of an output and draw a sample of them, in one pass; raises `RunError`."""
    shares = deal(snapshot.row_masks, 2 * parallelism(spark))
    collection = Collection(Draw(sample_size))
    for part in run_tasks(spark, partial(read_part, output, sample_size), shares):
        collection.add(part)
    return collection


def read_part(output: str, sample_size: int, row_masks: list[RowMask]) -> Collection:
    """Count the images that some masks select, and draw a sample of them, in a worker."""
    part = Collection(Draw(sample_size))
    for batch in read_batches(output, row_masks, _COLUMNS):
        part.add_rows(batch)
    return part


def _candidates(usable: pa.RecordBatch, bound: int) -> list[HashedImage]:
    """Return the images of a batch whose hash is at most the bound."""
    hashes = [path_hash(path) for path in usable.column("path").to_pylist()]
    rows = [row for row, number in enumerate(hashes) if number <= bound]
    chosen = usable.take(pa.array(rows, pa.int64()))
    columns = zip(
        chosen.column("path").to_pylist(),
        chosen.column("label").to_pylist(),
        chosen.column("length").to_pylist(),
        chosen.column("modified").cast(pa.int64()).to_pylist(),
        strict=True,
    )
    images = [ListedImage(path, label, length, modified, None) for path, label, length, modified in columns]
    return [HashedImage(hashes[row], image) for row, image in zip(rows, images, strict=True)]
