"""Features of the same images with the same weights, by this job and by its peers: python -m benchmarks.peers.

Each is warm: its workers are started and have processed a few images before the clock starts. The peers run in
.venv-bench (`make .venv-bench/all`).
"""

import json
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from benchmarks import inputs
from benchmarks.agreement import Vectors, by_name, least_cosine
from benchmarks.features import session, settings
from benchmarks.harness import bench, die, parser, timed
from benchmarks.peers.environment import call
from job.features.model import TFLITE
from job.features.table import read_features
from job.stages.featurize import featurize

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ONNX = "model.onnx"
# A peer's name, its module in benchmarks.peers, its file of weights, how many times faster the job shall be.
PEERS = (
    ("Daft + ONNX Runtime", "daft_onnx", ONNX, 1.1),
    ("Ray Data + ONNX Runtime", "ray_onnx", ONNX, 1.3),
    ("predict_batch_udf + Keras", "spark_keras", inputs.WEIGHTS, 8),
)
LEAST_COSINE = 0.999


def network() -> Path:
    """Return a folder with one network in the forms that all of them take: LiteRT, ONNX, Keras' weights."""
    model = inputs.random_model()

    def make(folder: Path) -> None:
        for name in (TFLITE, inputs.WEIGHTS):
            shutil.copy(model / name, folder)
        call("tf2onnx.convert", "--tflite", folder / TFLITE, "--output", folder / ONNX, "--opset", 18)

    return inputs.made_once(inputs.INPUTS / "network", make)


def run_peer(module: str, images: Path, weights: Path, warm: Path, count: int, vectors: Vectors) -> float:
    """Return the seconds of a peer, and fill in its vectors by the names of the images."""
    with tempfile.TemporaryDirectory() as output:
        result = json.loads(call(f"benchmarks.peers.{module}", images, weights, output, warm).splitlines()[-1])
        vectors.update(by_name(pq.read_table(result["features"], columns=["path", "features"])))
    if len(vectors) != count:
        die(f"{module} has made {len(vectors)} vectors of {count} images")
    seconds: float = result["seconds"]
    return seconds


def run_job(spark: "SparkSession", images: Path, vectors: Vectors) -> float:
    """Return the seconds of this job's features stage, and fill in its vectors by the names of the images."""
    with tempfile.TemporaryDirectory() as output:
        job = settings(images, inputs.random_model(), Path(output))
        seconds = timed(lambda: featurize(spark, job))
        vectors.update(by_name(read_features(output)))
    return seconds


def main() -> None:
    """Run the command."""
    command = parser("peers", __doc__)
    command.add_argument("--images", type=int, default=2_000, help="how many (default: %(default)s)")
    options = command.parse_args()
    images, warm, weights = inputs.images(options.images), inputs.images(200), network()
    inputs.warm(images)
    vectors: dict[str, Vectors] = {name: {} for name in ("this job", *(name for name, *_ in PEERS))}
    with bench("peers", options) as found, tempfile.TemporaryDirectory() as folder, session(Path(folder)) as spark:
        contenders = {"this job": partial(run_job, spark, images, vectors["this job"])}
        for name, module, file, _ in PEERS:
            contenders[name] = partial(run_peer, module, images, weights / file, warm, options.images, vectors[name])
        medians = found.compare(f"features of {options.images:,} images", contenders, options.rounds, options.images)
        for name, *_, times in PEERS:
            cosine = least_cosine(vectors["this job"], vectors[name])
            if not cosine >= LEAST_COSINE:
                die(f"{name} has made other vectors: the smallest cosine to this job's is {cosine:.4f}")
            found.claim(f"this job against {name}", medians[name] / medians["this job"], at_least=times)


if __name__ == "__main__":
    main()
