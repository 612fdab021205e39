"""Many generated vectors to their principal components: the job's own path, and the bare float64 matrix products.

A share of the work is one block of vectors and a factor for each time that it is used: making them costs next to
nothing, and what must come out is known without going through them.
"""

import time
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.harness import cores, run_together
from benchmarks.vectors import D, block
from job.features.table import BATCH_ROWS
from job.pca.basis import Basis, Moments, fit, merge_all
from job.spark.tasks import run_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# By powers of two no digit of a float32 is lost.
FACTORS = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Share:
    """A task's vectors: `block(BATCH_ROWS, seed)` times each of the factors."""

    seed: int
    factors: list[float]


def shares(count: int) -> list[Share]:
    """Return whole blocks of at least `count` vectors in all, in at most as many shares as there are cores."""
    factors = np.random.default_rng(0).choice(FACTORS, -(-count // BATCH_ROWS))
    return [Share(seed, part.tolist()) for seed, part in enumerate(np.array_split(factors, cores())) if len(part)]


def job(spark: "SparkSession", work: list[Share], k: int) -> tuple[float, Basis]:
    """Return the seconds that the job's path takes to a basis of k components, and the basis."""
    started = time.perf_counter()
    basis = fit(merge_all(run_tasks(spark, _moments, work)), k, None, "", {})
    return time.perf_counter() - started, basis


def _moments(share: Share) -> Moments:
    made, moments = block(BATCH_ROWS, share.seed), Moments.empty(D)
    for factor in share.factors:
        moments = moments.merge(Moments.of(made * np.float32(factor)))
    return moments


def expected(work: list[Share], k: int) -> Basis:
    """Return the basis of all these vectors, from one product a share."""
    n, total, squares = 0, np.zeros(D), np.zeros((D, D))
    for share in work:
        made = block(BATCH_ROWS, share.seed).astype(np.float64)
        n += BATCH_ROWS * len(share.factors)
        total += made.sum(axis=0) * sum(share.factors)
        squares += made.T @ made * sum(factor**2 for factor in share.factors)
    mean = total / n
    return fit(Moments(n, mean, np.zeros(D), squares - n * np.outer(mean, mean)), k, None, "", {})


def products(work: list[Share]) -> float:
    """Return the seconds of `x.T @ x` in float64 for every block, and nothing else, in as many processes as cores."""
    return run_together(_products, [(work[number :: cores()],) for number in range(cores())])


def _products(ready: Barrier, work: list[Share]) -> None:
    made, result = block(BATCH_ROWS, 0).astype(np.float64), np.empty((D, D))
    with threadpool_limits(1, "blas"):
        ready.wait()
        for _ in range(sum(len(share.factors) for share in work)):
            np.matmul(made.T, made, out=result)
