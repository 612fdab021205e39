"""Many small features files against few large ones, and after their compaction: python -m benchmarks.small_files.

All hold the same number of vectors. Timed are the PCA stage and a Spark table of the features that is read through.
"""

import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import inputs, vectors
from benchmarks.harness import bench, die, parser
from benchmarks.pca import job
from benchmarks.subprocess_session import job_session, subprocess_session
from job.features.snapshot import Snapshot, read_snapshot
from job.features.table import read_features
from job.settings import Settings
from job.stages.prune import prune

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COMPONENTS = 50


def reduce_all(spark: "SparkSession", output: Path, snapshot: Snapshot) -> float:
    """Return the seconds of the PCA stage."""
    return job(spark, output, snapshot, COMPONENTS).seconds


def read_all(spark: "SparkSession", output: Path, rows: int) -> float:
    """Return the seconds that reading all columns of the features takes in Spark."""
    from pyspark.sql import functions as f  # noqa: PLC0415 - in the child only

    started = time.perf_counter()
    frame = read_features(str(output), spark)
    [[values]] = frame.agg(f.sum(f.size("features"))).collect()
    if values != rows * vectors.D:
        die(f"{values} values were read of {rows} vectors")
    return time.perf_counter() - started


def compact(spark: "SparkSession", output: Path) -> tuple[float, int]:
    """Merge the small files of an output; return the seconds, and the number of files that are left."""
    started = time.perf_counter()
    prune(spark, Settings(output=str(output)))
    return time.perf_counter() - started, len(read_snapshot(str(output)).row_masks)


def main() -> None:
    """Run the command."""
    options = parser("small_files", __doc__)
    options.add_argument("--rows", type=int, default=48_000, help="vectors (default: %(default)s)")
    options.add_argument("--small", type=int, default=8, help="vectors of a small file (default: %(default)s)")
    options.add_argument("--large", type=int, default=2_000, help="vectors of a large file (default: %(default)s)")
    arguments = options.parse_args()
    rows, rounds = arguments.rows, arguments.rounds
    few, few_snapshot = vectors.store(rows, arguments.large)
    many, many_snapshot = vectors.store(rows, arguments.small)
    names = [f"{len(snapshot.row_masks):,} files" for snapshot in (few_snapshot, many_snapshot)]
    with (
        bench("small_files", arguments) as found,
        subprocess_session(job_session) as session,
        tempfile.TemporaryDirectory(dir=inputs.INPUTS) as folder,
    ):
        merged = Path(folder, "merged")
        shutil.copytree(many, merged)
        seconds, files = session(compact, merged)
        found.say(f"{names[1]} were merged into {files} in {seconds:.1f} s")
        names.append(f"{files} files after the compaction")
        outputs = (few, many, merged)
        snapshots = (few_snapshot, many_snapshot, read_snapshot(str(merged)))
        reductions = {
            name: partial(session, reduce_all, output, snapshot)
            for name, output, snapshot in zip(names, outputs, snapshots, strict=True)
        }
        readings = {name: partial(session, read_all, output, rows) for name, output in zip(names, outputs, strict=True)}
        for contender in (*reductions.values(), *readings.values()):
            contender()  # the first use of everything
        pca = found.compare(f"PCA stage of {rows:,} vectors", reductions, rounds, rows)
        reads = found.compare(f"read_features(spark) of {rows:,} vectors", readings, rounds, rows)
        found.claim(f"PCA stage, {names[1]} against {names[0]}", pca[names[1]] / pca[names[0]], at_most=1.5)
        found.claim("the same after the compaction", pca[names[2]] / pca[names[0]], at_most=1.1)
        found.claim(
            f"read_features(spark), {names[1]} against {names[0]}", reads[names[1]] / reads[names[0]], at_most=2
        )


if __name__ == "__main__":
    main()
