"""Spark: the validation of a run. The results are read back and compared with the listing and the features."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from job import storage
from job.features.snapshot import Snapshot
from job.images.label_counts import LabelDigest
from job.pca.basis import Basis
from job.pca.moments import TableSummary
from job.results.tables import read_part
from job.spark.tasks import run_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# The result of a check that found nothing wrong.
PASSED = "ok"

# The basis is float64: eigh leaves an error of about 1e-14.
_ORTHONORMAL_ERROR = 1e-9

# Paths whose hashes one task compares: 32 MB.
_TASK_PATHS = 2_000_000
# A hash of a path: with half of these bits, two of a hundred million paths would share theirs in one archive of 4,000.
_HASH = np.dtype([("high", "<u8"), ("low", "<u8")])


@dataclass(frozen=True)
class Readback:
    """The content of results that were read back.

    Attributes
    ----------
    labels : LabelDigest
        Number of rows, and digest of their labels.
    distinct_paths : int
        Number of different paths.
    wrong_length : int
        Number of rows with another number of components.
    not_finite : int
        Number of values that are not finite.
    """

    labels: LabelDigest
    distinct_paths: int
    wrong_length: int
    not_finite: int


def read_back(
    spark: "SparkSession", parts: Sequence[str], k: int, rows: int, scratch: str, task_paths: int = _TASK_PATHS
) -> Readback:
    """Read the parts of the results back.

    Tasks write a hash of each path, sorted; then others count the distinct hashes, each in its range of them.

    Parameters
    ----------
    spark : SparkSession
    parts : sequence of str
        Addresses.
    k, rows : int
        Number of components that a row should have, and number of rows that there should be.
    scratch : str
        Address of a folder for the hashes, which the caller deletes.
    task_paths : int
        Paths whose hashes one task compares, about.

    Raises
    ------
    RunError
        For a part that cannot be read.
    """
    ranges = max(1, rows // task_paths)
    shares = [
        _Share(part, k, storage.join(scratch, f"paths-{number:05d}"), ranges) for number, part in enumerate(parts)
    ]
    contents = run_tasks(spark, _read_share, shares)
    slices = [
        [
            _Slice(share.hashes, *offsets[number : number + 2])
            for share, (_, offsets) in zip(shares, contents, strict=True)
        ]
        for number in range(ranges)
    ]
    # A task costs more than to count what one range holds.
    distinct = map(_count_distinct, slices) if ranges == 1 else run_tasks(spark, _count_distinct, slices)
    found = [content for content, _ in contents]
    return Readback(
        labels=sum((content.labels for content in found), LabelDigest()),
        distinct_paths=sum(distinct),
        wrong_length=sum(content.wrong_length for content in found),
        not_finite=sum(content.not_finite for content in found),
    )


@dataclass(frozen=True)
class _Share:
    """A part of the results, its number of components, and where the hashes of its paths go, in how many ranges."""

    part: str
    k: int
    hashes: str
    ranges: int


@dataclass(frozen=True)
class _Slice:
    """The hashes `start` to `stop` of a file."""

    file: str
    start: int
    stop: int

    def read(self) -> NDArray[np.void]:
        """Return the hashes."""
        with storage.open_input(self.file) as file:
            file.seek(self.start * _HASH.itemsize)
            return np.frombuffer(file.read((self.stop - self.start) * _HASH.itemsize), _HASH)


def _read_share(share: _Share) -> tuple[Readback, list[int]]:
    """Read one part back, in a worker, and write the hashes of its paths; return where each range of them begins."""
    labels, wrong_length, not_finite = LabelDigest(), 0, 0
    digests: list[bytes] = []
    for batch in read_part(share.part):
        vectors = batch.column("pca_features")
        digests += [
            hashlib.blake2b(path.encode(), digest_size=16).digest() for path in batch.column("path").to_pylist()
        ]
        labels += LabelDigest.of(Counter(label or "" for label in batch.column("label").to_pylist()))
        wrong_length += pc.sum(pc.not_equal(pc.list_value_length(vectors), share.k)).as_py()
        not_finite += int(np.count_nonzero(~np.isfinite(vectors.flatten().to_numpy(zero_copy_only=False))))
    hashes = _sorted(np.frombuffer(b"".join(digests), _HASH))
    storage.write(share.hashes, hashes.tobytes())
    bounds = np.array([2**64 * number // share.ranges for number in range(share.ranges)], np.uint64)
    offsets = [*np.searchsorted(hashes["high"], bounds).tolist(), len(hashes)]
    return Readback(labels, 0, wrong_length, not_finite), offsets


def _sorted(hashes: NDArray[np.void]) -> NDArray[np.void]:
    return hashes[np.argsort(hashes["high"])]


def _count_distinct(slices: Sequence[_Slice]) -> int:
    """Count the distinct hashes in some slices."""
    hashes = _sorted(np.concatenate([each.read() for each in slices]))
    return len(hashes) and 1 + int(np.count_nonzero(hashes[1:] != hashes[:-1]))


def validate(snapshot: Snapshot, summary: TableSummary, results: Readback, basis: Basis) -> dict[str, str]:
    """Compare features and results with the listing; return for each check `PASSED`, or the difference."""
    counts, error = snapshot.counts, basis.orthonormal_error()
    features = summary.ok + summary.rejected
    return {
        "features rows": _compare(features.images, counts.listed),
        "features labels": _compare_labels(features, snapshot.label_digest),
        "features finite": _compare(summary.not_finite, 0),
        "results rows": _compare(results.labels.images, counts.ok),
        "results distinct paths": _compare(results.distinct_paths, counts.ok),
        "results labels": _compare_labels(results.labels, summary.ok),
        "results dimensions": _compare(results.wrong_length, 0),
        "results finite": _compare(results.not_finite, 0),
        "basis orthonormal": PASSED if error < _ORTHONORMAL_ERROR else f"off by {error:g}",
    }


def _compare(found: int, expected: int) -> str:
    return PASSED if found == expected else f"found {found:,}, expected {expected:,}"


def _compare_labels(found: LabelDigest, expected: LabelDigest) -> str:
    if found.value == expected.value:
        return PASSED
    return f"the labels of {found.images:,} images are not those of the {expected.images:,} expected ones"
