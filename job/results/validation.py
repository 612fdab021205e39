"""What was written, read back and compared with what was listed."""

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from job import storage
from job.features.snapshot import Snapshot
from job.pca.basis import Basis
from job.pca.moments import Summary
from job.results.tables import RESULTS_SCHEMA

RIGHT = "ok"

# An orthonormal basis of float64 from eigh is good to some 1e-14.
_ORTHONORMAL_ERROR = 1e-9


@dataclass(frozen=True)
class ResultsPart:
    """A Parquet part of the results, and the number of components that it should have."""

    address: str
    k: int


@dataclass(frozen=True)
class Readback:
    """What was found in one part of the results: rows by label, hashes of the paths [n] uint64, and faults."""

    labels: Counter[str]
    paths: NDArray[np.uint64]
    wrong_length: int
    not_finite: int


def read_back(part: ResultsPart) -> Readback:
    """Read one Parquet part of the results and count what is in it; run in a worker."""
    found = Readback(Counter(), np.zeros(0, np.uint64), 0, 0)
    with storage.open_input(part.address) as file:
        for batch in pq.ParquetFile(file).iter_batches(10_000, columns=RESULTS_SCHEMA.names):
            vectors = batch.column("pca_features")
            values = vectors.flatten().to_numpy(zero_copy_only=False)
            paths = [
                hashlib.blake2b(path.encode(), digest_size=8).digest() for path in batch.column("path").to_pylist()
            ]
            found = Readback(
                found.labels + Counter(label or "" for label in batch.column("label").to_pylist()),
                np.concatenate([found.paths, np.frombuffer(b"".join(paths), np.uint64)]),
                found.wrong_length + pc.sum(pc.not_equal(pc.list_value_length(vectors), part.k)).as_py(),
                found.not_finite + int(np.count_nonzero(~np.isfinite(values))),
            )
    return found


def validate(snapshot: Snapshot, summary: Summary, parts: list[Readback], basis: Basis) -> dict[str, str]:
    """Compare what was read back with what was listed; return for each check `RIGHT`, or what is wrong."""
    counts = snapshot.counts
    paths = np.concatenate([part.paths for part in parts]) if parts else np.zeros(0, np.uint64)
    labels = sum((part.labels for part in parts), Counter[str]())
    return {
        "features rows": _same(summary.ok.total() + summary.rejected.total(), counts.listed),
        "features labels": _same(dict(summary.ok + summary.rejected), snapshot.labels),
        "features finite": _same(summary.not_finite, 0),
        "results rows": _same(len(paths), counts.ok),
        "results distinct paths": _same(len(np.unique(paths)), counts.ok),
        "results labels": _same(dict(labels), dict(summary.ok)),
        "results dimensions": _same(sum(part.wrong_length for part in parts), 0),
        "results finite": _same(sum(part.not_finite for part in parts), 0),
        "basis orthonormal": RIGHT
        if basis.orthonormal_error() < _ORTHONORMAL_ERROR
        else f"off by {basis.orthonormal_error():g}",
    }


def _same(found: object, expected: object) -> str:
    return RIGHT if found == expected else f"found {found}, expected {expected}"
