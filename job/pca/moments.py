"""The current features in, what a reduction needs to know of them out: moments, counts, rejected images."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from job import storage
from job.features.snapshot import RowMask, Snapshot, deal
from job.features.table import OK, REJECTED_SCHEMA, read_batches, vectors
from job.pca.basis import Moments, merge_all
from job.spark.capacity import parallelism
from job.spark.tasks import run_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# At most so many states of 13 MB reach the driver.
MOMENT_TASKS = 16
# What is read of the features.
COLUMNS = ["path", "label", "status", "reason", "error", "features"]


@dataclass(frozen=True)
class _Share:
    """What one task sums up.

    `features` is d; the moments are wanted only where a basis is to be fitted; rejected images go to a Parquet part at
    the address `rejected`.
    """

    output: str
    row_masks: list[RowMask]
    features: int
    moments: bool
    rejected: str


@dataclass(frozen=True)
class Summary:
    """What was read of the features: moments of the usable vectors, counts by label and reason, faults."""

    moments: Moments
    ok: Counter[str]
    rejected: Counter[str]
    reasons: Counter[str]
    not_finite: int
    rejected_parts: list[str]


def summarize(spark: "SparkSession", output: str, snapshot: Snapshot, rejected: str, *, moments: bool) -> Summary:
    """Read the current features of an output once.

    Parameters
    ----------
    rejected : str
        Address of a folder for Parquet parts of the rejected images (columns of `REJECTED_SCHEMA`), sorted by path.
    moments : bool
        Whether the moments are wanted, as for fitting a basis.

    Raises
    ------
    RunError
        For features that cannot be read.
    """
    shares = [
        _Share(output, some, snapshot.model.n_features, moments, storage.join(rejected, f"part-{number:05d}.parquet"))
        for number, some in enumerate(deal(snapshot.row_masks, min(MOMENT_TASKS, 2 * parallelism(spark))))
    ]
    return _merge(run_tasks(spark, _summarise, shares))


def _summarise(share: _Share) -> Summary:
    """Sum up one task's features, in a worker."""
    moments = Moments.empty(share.features)
    ok, rejected = Counter[str](), Counter[str]()
    not_finite, refused = 0, []
    for batch in read_batches(share.output, share.row_masks, COLUMNS):
        usable = batch.filter(pc.equal(batch.column("status"), OK))
        block = vectors(usable, share.features)
        not_finite += int(np.count_nonzero(~np.isfinite(block).all(axis=1)))
        if share.moments:
            moments = moments.merge(Moments.of(block))
        ok += Counter(label or "" for label in usable.column("label").to_pylist())
        others = batch.filter(pc.not_equal(batch.column("status"), OK))
        rejected += Counter(label or "" for label in others.column("label").to_pylist())
        refused.append(others.select(REJECTED_SCHEMA.names))
    table = pa.Table.from_batches(refused, REJECTED_SCHEMA)
    if table.num_rows:
        with storage.create(share.rejected) as path:
            pq.write_table(table.sort_by("path"), path)
    parts = [share.rejected] if table.num_rows else []
    return Summary(moments, ok, rejected, Counter(table.column("reason").to_pylist()), not_finite, parts)


def _merge(summaries: list[Summary]) -> Summary:
    """Return the summary of all that the tasks have read."""
    return Summary(
        merge_all([one.moments for one in summaries]),
        sum((one.ok for one in summaries), Counter[str]()),
        sum((one.rejected for one in summaries), Counter[str]()),
        sum((one.reasons for one in summaries), Counter[str]()),
        sum(one.not_finite for one in summaries),
        [part for one in summaries for part in one.rejected_parts],
    )
