"""A summary of the current features: moments of the usable vectors, digests of labels, the rejected images."""

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from job import storage
from job.features.snapshot import RowMask, Snapshot, deal
from job.features.table import BATCH_ROWS, OK, REJECTED_SCHEMA, read_batches, vectors
from job.images.label_counts import LabelDigest
from job.pca.basis import Moments, merge_all
from job.spark.capacity import parallelism
from job.spark.merging import merge_in_tasks
from job.spark.tasks import run_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Images that an error names.
_NAMED = 5
# The columns that a summary reads.
COLUMNS = ["path", "label", "status", "reason", "error", "features"]


@dataclass(frozen=True)
class TableSummary:
    """A summary of features.

    Attributes
    ----------
    ok, rejected : LabelDigest
        Number and labels of the usable and of the rejected images.
    reasons : Counter
        Number of rejected images by reason.
    not_finite : int
        Number of vectors with a value that is not finite.
    not_finite_paths : list of str
        The first images with such vectors.
    rejected_parts : list of str
        Addresses of Parquet files of the rejected images (columns of `REJECTED_SCHEMA`), each sorted by path.
    moments : Moments
        Of the usable vectors; of none where they were not asked for.
    """

    ok: LabelDigest
    rejected: LabelDigest
    reasons: Counter[str]
    not_finite: int
    not_finite_paths: list[str]
    rejected_parts: list[str]
    moments: Moments = field(default_factory=lambda: Moments.empty(0))

    @classmethod
    def merge(cls, summaries: Sequence["TableSummary"]) -> "TableSummary":
        """Return the summary, without moments, of all that some summaries cover."""
        return cls(
            ok=sum((summary.ok for summary in summaries), LabelDigest()),
            rejected=sum((summary.rejected for summary in summaries), LabelDigest()),
            reasons=sum((summary.reasons for summary in summaries), Counter[str]()),
            not_finite=sum(summary.not_finite for summary in summaries),
            not_finite_paths=[path for summary in summaries for path in summary.not_finite_paths][:_NAMED],
            rejected_parts=[part for summary in summaries for part in summary.rejected_parts],
        )


class _Blocks:
    """Gathers vectors, float32 arrays of shape (n, d), into blocks: one of few rows takes as long as one of many."""

    def __init__(self, d: int) -> None:
        self._moments = Moments.empty(d)
        self._waiting: list[NDArray[np.float32]] = []
        self._rows = 0

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Add vectors."""
        self._waiting.append(vectors)
        self._rows += len(vectors)
        if self._rows >= BATCH_ROWS:
            self._merge()

    def moments(self) -> Moments:
        """Return the moments of all vectors."""
        self._merge()
        return self._moments

    def _merge(self) -> None:
        if self._rows:
            self._moments = self._moments.merge(Moments.of(np.concatenate(self._waiting)))
        self._waiting, self._rows = [], 0


@dataclass(frozen=True)
class _Share:
    """The features that one task summarizes, the address for its rejected images, and that for the moments, if any."""

    output: str
    row_masks: list[RowMask]
    n_features: int
    rejected: str
    moments: str | None


def summarize_table(
    spark: "SparkSession", output: str, snapshot: Snapshot, scratch: str, *, with_moments: bool
) -> TableSummary:
    """Read the current features of an output once, and summarize them.

    Parameters
    ----------
    spark : SparkSession
    output : str
    snapshot : Snapshot
        Its rows are the current ones.
    scratch : str
        Address of a folder for the Parquet files of the rejected images, and for moments on their way.
    with_moments : bool
        Whether to compute the moments, which fitting a basis needs.

    Raises
    ------
    RunError
        For features that cannot be read.
    """
    shares = [
        _Share(
            output,
            row_masks,
            snapshot.model.n_features,
            rejected=storage.join(scratch, f"rejected-{number:05d}.parquet"),
            moments=storage.join(scratch, f"moments-{number:05d}") if with_moments else None,
        )
        for number, row_masks in enumerate(deal(snapshot.row_masks, parallelism(spark)))
    ]
    summary = TableSummary.merge(run_tasks(spark, _summarize_share, shares))
    files = [share.moments for share in shares if share.moments]
    if not files:
        return summary
    few = merge_in_tasks(spark, files, merge_moments, storage.join(scratch, "moments"))
    return replace(summary, moments=merge_all([read_moments(file) for file in few]))


def write_moments(address: str, moments: Moments) -> None:
    """Write moments, 13 MB of 1,280 features: the results of hundreds of tasks would not fit into the driver."""
    file = io.BytesIO()
    np.savez(file, n=moments.n, origin=moments.origin, offset=moments.offset, scatter=moments.scatter)
    storage.write(address, file.getvalue())


def read_moments(address: str) -> Moments:
    """Read moments that `write_moments` wrote."""
    with np.load(io.BytesIO(storage.read(address)), allow_pickle=False) as arrays:
        return Moments(int(arrays["n"]), arrays["origin"], arrays["offset"], arrays["scatter"])


def merge_moments(sources: Sequence[str], target: str) -> None:
    """Write the moments of the union of several sets, given the addresses of theirs."""
    write_moments(target, merge_all([read_moments(source) for source in sources]))


def _summarize_share(share: _Share) -> TableSummary:
    """Summarize one task's features, in a worker."""
    ok, rejected = LabelDigest(), LabelDigest()
    paths: list[str] = []
    not_finite, rejected_batches = 0, []
    blocks = _Blocks(share.n_features)
    for batch in read_batches(share.output, share.row_masks, COLUMNS):
        usable = batch.filter(pc.equal(batch.column("status"), OK))
        block = vectors(usable, share.n_features)
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            not_finite += int(np.count_nonzero(~finite))
            paths += usable.column("path").filter(pa.array(~finite)).to_pylist()[: _NAMED - len(paths)]
        if share.moments:
            blocks.add(block)
        ok += LabelDigest.of(Counter(label or "" for label in usable.column("label").to_pylist()))
        others = batch.filter(pc.not_equal(batch.column("status"), OK))
        rejected += LabelDigest.of(Counter(label or "" for label in others.column("label").to_pylist()))
        rejected_batches.append(others.select(REJECTED_SCHEMA.names))
    table = pa.Table.from_batches(rejected_batches, REJECTED_SCHEMA)
    if table.num_rows:
        with storage.create(share.rejected) as path:
            pq.write_table(table.sort_by("path"), path)
    if share.moments:
        write_moments(share.moments, blocks.moments())
    return TableSummary(
        ok=ok,
        rejected=rejected,
        reasons=Counter(table.column("reason").to_pylist()),
        not_finite=not_finite,
        not_finite_paths=paths,
        rejected_parts=[share.rejected] if table.num_rows else [],
    )
