"""Features of small images, and the whole job, against the bare ceiling: python -m benchmarks.features."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import inputs
from benchmarks.ceiling import ceiling
from benchmarks.harness import bench, parser, timed
from job.command_line import Log
from job.settings import Settings
from job.spark.session import local_session
from job.stages.featurize import featurize
from job.stages.reduce import reduce

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def settings(images: Path, model: Path, output: Path) -> Settings:
    """Return the job's settings, all else being default."""
    return Settings(images=str(images), model=str(model), output=str(output))


@contextmanager
def session(folder: Path, master: str | None = None) -> Iterator["SparkSession"]:
    """Yield the session that the job makes for this machine, its workers started."""
    logging.getLogger("py4j").setLevel(logging.ERROR)
    with local_session(Settings(master=master), Log(folder / "spark.log")) as spark:
        small, model = inputs.images(200), inputs.random_model()
        featurize(spark, settings(small, model, folder / "warm"))
        yield spark


def features(spark: "SparkSession", images: Path, model: Path) -> None:
    """Run the features stage from nothing: listing, inference, Parquet, commit."""
    with tempfile.TemporaryDirectory() as output:
        featurize(spark, settings(images, model, Path(output)))


def whole(spark: "SparkSession", images: Path, model: Path, *, report: bool = False) -> None:
    """Run the whole job from nothing in a session that is there, with or without its report."""
    with tempfile.TemporaryDirectory() as output:
        run(spark, replace(settings(images, model, Path(output)), report=report))


def run(spark: "SparkSession", settings: Settings) -> None:
    """Run the whole job in a session that is there."""
    featurize(spark, settings)
    reduce(spark, settings)


def main() -> None:
    """Run the command."""
    command = parser("features", __doc__)
    command.add_argument("--images", type=int, default=10_000, help="how many (default: %(default)s)")
    options = command.parse_args()
    images, model = inputs.images(options.images), inputs.random_model()
    inputs.warm(images)
    with bench("features", options) as found, tempfile.TemporaryDirectory() as folder, session(Path(folder)) as spark:
        medians = found.compare(
            f"{options.images:,} images of 100 x 100, MobileNetV2 1.0 at 224, warm session",
            {
                "bare ceiling": lambda: ceiling(images, model),
                "features": lambda: timed(lambda: features(spark, images, model)),
                "whole job": lambda: timed(lambda: whole(spark, images, model)),
                "whole job and report": lambda: timed(lambda: whole(spark, images, model, report=True)),
            },
            options.rounds,
            options.images,
        )
        bare = medians["bare ceiling"]
        found.claim("features against the bare ceiling", bare / medians["features"], at_least=0.95)
        found.claim("the whole job against the bare ceiling", bare / medians["whole job"], at_least=0.88)
        found.claim("the report's part of a run", medians["whole job and report"] / medians["whole job"], at_most=1.15)


if __name__ == "__main__":
    main()
