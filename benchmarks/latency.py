"""Images in a bucket that answers 25 ms late, against the same on a local disk: python -m benchmarks.latency.

Features of each, in a session that is warm, from a store that is empty. The server runs on the
same cores as the job (see `benchmarks.server`); the processor time that it takes is printed beside.
"""

import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks import inputs
from benchmarks.features import session
from benchmarks.harness import Bench, bench, cores, die, parser, timed
from benchmarks.server import IMAGES, RESULTS, Contents, Server, serving
from job import storage
from job.features.table import read_features
from job.settings import Settings
from job.stages.featurize import featurize

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LOCAL, BUCKET, BOTH = "local disk", "images in a bucket", "images and results in buckets"


def compare(found: Bench, spark: "SparkSession", server: Server, images: Path, alpha: float) -> None:
    """Time the features stage on images of a folder and of the server's bucket, and check that both give the same."""
    rounds, count = found.options["rounds"], found.options["images"]
    model, taken = inputs.random_model(alpha), list[float]()

    def run(source: str, output: str) -> float:
        storage.remove(output)
        before = server.processor_seconds()
        seconds = timed(lambda: featurize(spark, Settings(images=source, model=str(model), output=output)))
        if output != outputs[LOCAL]:
            taken.append((server.processor_seconds() - before) / count)
        return seconds

    with tempfile.TemporaryDirectory() as folder:
        bucket = f"s3://{IMAGES}"
        outputs = {LOCAL: f"{folder}/local", BUCKET: f"{folder}/bucket", BOTH: f"s3://{RESULTS}/alpha-{alpha:g}"}
        # The workers' connections, and the libraries that make them, are part of a session that is warm.
        featurize(spark, Settings(images=bucket, model=str(model), output=f"{folder}/warm", limit=200))
        medians = found.compare(
            f"{count:,} images of 100 x 100, MobileNetV2 {alpha:g} at 224, warm session",
            {
                LOCAL: lambda: run(str(images), outputs[LOCAL]),
                BUCKET: lambda: run(bucket, outputs[BUCKET]),
                BOTH: lambda: run(bucket, outputs[BOTH]),
            },
            rounds,
            count,
        )
        same = vectors(outputs[LOCAL], str(images))
        for name in (BUCKET, BOTH):
            if not np.array_equal(vectors(outputs[name], bucket), same):
                die(f"{name}: the features are not those of the {LOCAL}")
    server_seconds = statistics.median(taken)
    found.say(f"  the server took {1e3 * server_seconds:.3f} ms of processor time an image")
    found.claim(f"alpha {alpha:g}: S3 against local disk", medians[LOCAL] / medians[BUCKET], at_least=0.90)
    unshared = medians[BUCKET] - server_seconds * count / cores()
    found.claim("  the same, if the server took nothing of the cores", medians[LOCAL] / unshared)


def vectors(output: str, root: str) -> NDArray[np.float32]:
    """Return the features [n, d] in the order of the paths below `root`."""
    table = read_features(output)
    assert isinstance(table, pa.Table)
    names = [path.removeprefix(root) for path in table.column("path").to_pylist()]
    values = table.column("features").combine_chunks().flatten().to_numpy()
    return np.asarray(values.reshape(len(names), -1)[np.argsort(names)])


def main() -> None:
    """Run the command."""
    command = parser("latency", __doc__)
    command.add_argument("--images", type=int, default=10_000, help="how many (default: %(default)s)")
    command.add_argument("--latency", type=float, default=25, help="milliseconds that are added (default: %(default)s)")
    command.add_argument("--alphas", type=float, nargs="+", default=[1.0], help="width multipliers (default: 1.0)")
    options = command.parse_args()
    images = inputs.images(options.images)
    inputs.warm(images)
    with (
        bench("latency", options) as found,
        tempfile.TemporaryDirectory() as folder,
        serving(Contents(folder=images.resolve()), options.latency / 1e3) as server,
        session(Path(folder)) as spark,  # after the server: its workers take their environment from here
    ):
        for alpha in options.alphas:
            compare(found, spark, server, images.resolve(), alpha)


if __name__ == "__main__":
    main()
