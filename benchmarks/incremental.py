"""The job on a store of 200,000 images of which 1 % are new: python -m benchmarks.incremental.

The store's vectors are random, its files as many and as large as the job writes them. What counts is the time beyond
the inference of the new images and the PCA: listing, subtracting, results, validation, CSV, and what no stage has.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import inputs
from benchmarks.features import run as run_job
from benchmarks.features import session, settings
from benchmarks.harness import bench, die, parser, timed
from benchmarks.vectors import FILE_ROWS, RUN, D, write
from benchmarks.whole_run import time_run
from job.features.layout import wave_name
from job.features.model import fingerprint, read_model
from job.features.snapshot import Counts
from job.features.wave import DataFile, commit
from job.results.run_record import current_run
from job.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

WAVE_FILES = 24  # waves of 180 seconds
ELSEWHERE = ("featurize", "pca")


def store(images: Path, model: Path, count: int) -> Path:
    """Return an output whose features table has the first `count` of a folder's images, made once."""
    known = fingerprint(read_model(str(model)), Settings())

    def make(folder: Path) -> None:
        paths = sorted(images.glob("*/*.jpg"), key=lambda path: path.name)[:count]
        rng = np.random.default_rng(0)
        for number, start in enumerate(range(0, count, FILE_ROWS * WAVE_FILES)):
            wave = wave_name(known, RUN, number)
            here = paths[start : min(count, start + FILE_ROWS * WAVE_FILES)]
            files = [
                _write(folder, f"{wave}/part-{index:05d}.parquet", here[first : first + FILE_ROWS], rng)
                for index, first in enumerate(range(0, len(here), FILE_ROWS))
            ]
            commit(str(folder), wave, files)

    return inputs.made_once(inputs.INPUTS / f"store-{count}-{known}", make)


def _write(output: Path, name: str, paths: list[Path], rng: np.random.Generator) -> DataFile:
    statuses = [path.stat() for path in paths]
    values = np.maximum(rng.standard_normal((len(paths), D), np.float32), 0)
    images: dict[str, list[Any]] = {
        "path": [str(path) for path in paths],
        "label": [path.parent.name for path in paths],
        "length": [status.st_size for status in statuses],
        "modified": [status.st_mtime_ns // 1000 for status in statuses],
    }
    write(output / name, values, images)
    return DataFile(name, len(paths), (output / name).stat().st_size)


def beyond(output: Path, seconds: float, counts: Counts) -> dict[str, float]:
    """Return the seconds of each stage of a run, and those of no stage (`else`); `seconds` are those of the run.

    A run that has not done what it should ends the benchmark.
    """
    record = current_run(str(output))
    if record.counts != counts:
        die(f"the run in {output} counts {record.counts} where there are {counts}")
    lines = sum(1 for _ in (output / "pca_matrix.csv").open()) - 1
    if lines != counts.ok:
        die(f"pca_matrix.csv has {lines} rows where there are {counts.ok} images")
    return record.seconds | {"else": seconds - sum(record.seconds.values())}


def main() -> None:
    """Run the command."""
    command = parser("incremental", __doc__)
    command.add_argument("--known", type=int, default=200_000, help="images in the store (default: %(default)s)")
    command.add_argument("--new", type=int, default=2_000, help="images that are new (default: %(default)s)")
    options = command.parse_args()
    images = inputs.images(options.known + options.new).resolve()
    model = inputs.random_model()
    made = store(images, model, options.known)
    total = options.known + options.new
    counts = Counts(listed=total, reused=options.known, new=options.new, ok=total, rejected=0)
    with bench("incremental", options) as found, tempfile.TemporaryDirectory(dir=inputs.INPUTS) as folder:
        number = 0

        def run(spark: "SparkSession | None") -> float:
            nonlocal number
            number += 1
            output = Path(folder, str(number))
            shutil.copytree(made, output, copy_function=os.link)  # no file of a store is ever written to
            job = settings(images, model, output)
            seconds = timed(lambda: run_job(spark, job) if spark else time_run(images, model, output))
            stages = beyond(output, seconds, counts)
            shutil.rmtree(output)
            found.say(f"    {json.dumps({stage: round(value, 2) for stage, value in stages.items()})}")
            return sum(value for stage, value in stages.items() if stage not in ELSEWHERE)

        with session(Path(folder)) as spark:
            warm = found.compare(
                f"{options.new:,} new images beside {options.known:,}: beyond their inference and the PCA",
                {"warm session": lambda: run(spark)},
                options.rounds,
            )
        whole = found.compare("the same, Spark's start included", {"whole process": lambda: run(None)}, 1)
        found.claim("beyond inference and PCA, warm session", warm["warm session"], "s", at_most=20)
        found.claim("beyond inference and PCA, whole process", whole["whole process"], "s", at_most=20)


if __name__ == "__main__":
    main()
