"""PCA against Spark ML and scikit-learn, and of a million vectors against the bare products: python -m benchmarks.pca.

All read the same Parquet files, those of the job's own store, and must come to the same components but for their signs.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks import matrix_products, vectors
from benchmarks.harness import Bench, bench, die, parser, watched
from benchmarks.subprocess_session import SubprocessSession, job_session, plain_session, subprocess_session
from job import storage
from job.features.snapshot import Snapshot
from job.features.table import OK
from job.pca.basis import fit
from job.pca.moments import summarize_table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Floats = NDArray[np.float64]
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Result:
    """What a contender took in seconds and came to: components [k, d], their shares of the variance [k]."""

    seconds: float
    components: Floats
    shares: Floats

    def difference(self, other: "Result") -> float:
        """Return the largest difference of a component's loading, up to its sign, or of a share."""
        signs = np.sign(np.sum(self.components * other.components, axis=1))[:, None]
        loadings = np.abs(self.components * signs - other.components).max()
        return float(max(loadings, np.abs(self.shares - other.shares).max()))


def job(spark: "SparkSession", output: Path, snapshot: Snapshot, k: int) -> Result:
    """Reduce a store to its basis as the job does."""
    started = time.perf_counter()
    summary = summarize_table(spark, str(output), snapshot, storage.join(str(output), "rejected"), with_moments=True)
    basis = fit(summary.moments, k, None, snapshot.fingerprint, {})
    return Result(time.perf_counter() - started, basis.components, basis.explained_variance_ratio)


def spark_ml(spark: "SparkSession", output: Path, k: int, *, cached: bool) -> Result:
    """Fit Spark ML's PCA to the usable rows of a store; `cached`: they are in memory before the clock starts."""
    from pyspark.ml.feature import PCA  # noqa: PLC0415 - in the child only

    frame = _frame(spark, output)
    if cached:
        frame.cache().count()  # found there from the second time on
    started = time.perf_counter()
    model = PCA(k=k, inputCol="features", outputCol="pca").fit(frame)
    components, shares = model.pc.toArray().T, model.explainedVariance.toArray()
    seconds = time.perf_counter() - started
    frame.unpersist(blocking=True)
    return Result(seconds, components, shares)


def _frame(spark: "SparkSession", output: Path) -> "DataFrame":
    from pyspark.ml.functions import array_to_vector  # noqa: PLC0415 - in the child only
    from pyspark.sql.functions import col  # noqa: PLC0415

    usable = spark.read.parquet(str(output / "features")).where(f"status = '{OK}'")
    return usable.select(array_to_vector(col("features")).alias("features"))


def scikit_learn(output: Path, k: int, solver: str | None) -> Result:
    """Fit scikit-learn's PCA with a solver, or its IncrementalPCA, in this process with all cores."""
    from sklearn.decomposition import PCA, IncrementalPCA  # noqa: PLC0415 - half a second

    started = time.perf_counter()
    table = pq.read_table(output / "features", columns=["features"], filters=pc.field("status") == OK)
    x = table.column("features").combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1).astype(np.float64)
    model = (PCA(k, svd_solver=solver) if solver else IncrementalPCA(k)).fit(x)
    return Result(time.perf_counter() - started, model.components_, model.explained_variance_ratio_)


def against_others(found: Bench, ours: SubprocessSession, theirs: SubprocessSession, count: int, k: int) -> None:
    """Time this job's reduction and the others' on a store of `count` vectors."""
    output, snapshot = vectors.store(count)
    contenders: dict[str, Callable[[], Result]] = {
        "this job": lambda: ours(job, output, snapshot, k),
        "Spark ML": lambda: theirs(partial(spark_ml, cached=False), output, k),
        "Spark ML, frame cached before": lambda: theirs(partial(spark_ml, cached=True), output, k),
        "Spark ML in the job's session": lambda: ours(partial(spark_ml, cached=False), output, k),
        "scikit-learn covariance_eigh": lambda: scikit_learn(output, k, "covariance_eigh"),
        "scikit-learn full": lambda: scikit_learn(output, k, "full"),
        "scikit-learn IncrementalPCA": lambda: scikit_learn(output, k, None),
    }
    results: dict[str, Result] = {}

    def run(name: str) -> float:
        results[name] = contenders[name]()
        return results[name].seconds

    small, small_snapshot = vectors.store(3 * vectors.FILE_ROWS)
    ours(job, small, small_snapshot, k)  # both sessions' first use of everything
    theirs(partial(spark_ml, cached=False), small, k)
    title = f"{count:,} x {vectors.D} from Parquet to {k} components"
    medians = found.compare(title, {name: partial(run, name) for name in contenders}, found.options["rounds"], count)
    for name, result in results.items():
        difference = result.difference(results["this job"])
        exact = "Incremental" not in name  # it keeps k directions between its batches, and loses what the others had
        if exact and not difference <= TOLERANCE:
            die(f"{name} and this job differ by {difference:.2g}, of {TOLERANCE:g} allowed")
        found.say(f"  {name}: differs from this job by {difference:.1e}")
    reference_seconds = medians["Spark ML"]
    found.claim("this job against Spark ML", reference_seconds / medians["this job"], at_least=6)
    found.claim("the same, its frame cached before", medians["Spark ML, frame cached before"] / medians["this job"])


def a_million(found: Bench, count: int, k: int) -> None:
    """Time the job's path over generated vectors and the bare products, and watch the driver's memory."""
    work = matrix_products.shares(count)
    known = matrix_products.expected(work, k)
    reference = Result(0, known.components, known.explained_variance_ratio)

    def run(ours: SubprocessSession) -> float:
        seconds, basis = ours(matrix_products.job, work, k)
        difference = Result(seconds, basis.components, basis.explained_variance_ratio).difference(reference)
        if basis.n != known.n or not difference <= TOLERANCE:
            die(f"the basis of {known.n:,} generated vectors is wrong by {difference:.2g}, of {TOLERANCE:g} allowed")
        return seconds

    with subprocess_session(job_session) as ours, watched(ours.process) as peaks:
        ours(matrix_products.job, work[:2], k)
        medians = found.compare(
            f"{known.n:,} x {vectors.D} generated, {len(work)} tasks",
            {"bare products": lambda: matrix_products.products(work), "this job": lambda: run(ours)},
            found.options["rounds"],
            known.n,
        )
    found.claim("the job's path against the bare products", medians["this job"] / medians["bare products"], at_most=2.5)
    found.claim(
        f"driver memory: Python {peaks['driver']:.0f} and JVM {peaks['jvm']:.0f} MB",
        peaks["driver"] + peaks["jvm"],
        "MB",
        at_most=1500,
    )
    found.claim("a worker's memory", peaks["worker"], "MB", at_most=250)


def main() -> None:
    """Run the command."""
    command = parser("pca", __doc__)
    command.add_argument("--vectors", type=int, default=22_819, help="from Parquet (default: %(default)s)")
    command.add_argument("--generated", type=int, default=1_000_000, help="on the fly (default: %(default)s)")
    command.add_argument("--components", type=int, default=50, help="(default: %(default)s)")
    options = command.parse_args()
    with bench("pca", options) as found:
        with subprocess_session(job_session) as ours, subprocess_session(plain_session) as theirs:
            against_others(found, ours, theirs, options.vectors, options.components)
        a_million(found, options.generated, options.components)


if __name__ == "__main__":
    main()
