"""Features of the same pictures with the same weights, by this job and by others' ways: python -m benchmarks.rivals.

Each is warm: its workers are started and have done a few pictures before the clock starts. The others run in
.venv-bench (`make .venv-bench/all`).
"""

import json
import os
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks import inputs
from benchmarks.features import session, settings
from benchmarks.harness import bench, die, parser, timed
from job.features.model import TFLITE
from job.features.table import read_features
from job.spark.java import find_java
from job.stages.featurize import featurize

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

PYTHON = Path(".venv-bench/bin/python")
ONNX = "model.onnx"
# What it is called, its module in benchmarks.peers, the file of weights that it takes, how much faster we mean to be.
RIVALS = (
    ("Daft + ONNX Runtime", "daft_onnx", ONNX, 1.1),
    ("Ray Data + ONNX Runtime", "ray_onnx", ONNX, 1.3),
    ("predict_batch_udf + Keras", "spark_keras", inputs.WEIGHTS, 8),
)
LEAST_COSINE = 0.999

Vectors = dict[str, NDArray[np.float32]]


def environment() -> dict[str, str]:
    """Return the environment in which the others run: Java for Spark, no news of it to anyone."""
    if not PYTHON.exists():
        die("the others' packages are not there; install them with: make .venv-bench/all")
    told = {"JAVA_HOME": str(find_java()), "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": str(PYTHON.absolute())}
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "DO_NOT_TRACK": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return os.environ | told | quiet


def call(module: str, *arguments: object) -> str:
    """Run a module of the others' and return what it prints; one that fails ends the benchmark with its last words."""
    command = [str(PYTHON), "-m", module, *map(str, arguments)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        die(f"{module} has failed:\n{done.stderr[-3000:]}")
    return done.stdout


def network() -> Path:
    """Return a folder with one network in the forms that all of them take: LiteRT, ONNX, Keras' weights."""
    model = inputs.random_model()

    def make(folder: Path) -> None:
        for name in (TFLITE, inputs.WEIGHTS):
            shutil.copy(model / name, folder)
        call("tf2onnx.convert", "--tflite", folder / TFLITE, "--output", folder / ONNX, "--opset", 18)

    return inputs.once(inputs.INPUTS / "network", make)


def theirs(module: str, images: Path, weights: Path, few: Path, count: int, vectors: Vectors) -> float:
    """Return the seconds of another way, and fill in its vectors by the names of the pictures."""
    with tempfile.TemporaryDirectory() as output:
        told = json.loads(call(f"benchmarks.peers.{module}", images, weights, output, few).splitlines()[-1])
        vectors.update(by_name(pq.read_table(told["features"], columns=["path", "features"])))
    if len(vectors) != count:
        die(f"{module} has made {len(vectors)} vectors of {count} pictures")
    seconds: float = told["seconds"]
    return seconds


def ours(spark: "SparkSession", images: Path, vectors: Vectors) -> float:
    """Return the seconds of this job's features stage, and fill in its vectors by the names of the pictures."""
    with tempfile.TemporaryDirectory() as output:
        told = settings(images, inputs.random_model(), Path(output))
        seconds = timed(lambda: featurize(spark, told))
        vectors.update(by_name(read_features(output)))
    return seconds


def by_name(table: "pa.Table") -> Vectors:
    """Return the vectors [d] of a table by the names of the files, which are all different."""
    values = pc.list_flatten(table.column("features")).to_numpy().reshape(table.num_rows, -1)
    return {Path(path).name: row for path, row in zip(table.column("path").to_pylist(), values, strict=True)}


def least_cosine(some: Vectors, others: Vectors) -> float:
    """Return the smallest cosine between two vectors of one picture."""
    a, b = (np.stack([vectors[name] for name in sorted(vectors)]).astype(np.float64) for vectors in (some, others))
    return float((np.einsum("nd,nd->n", a, b) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def main() -> None:
    """Run the command."""
    told = parser("rivals", __doc__)
    told.add_argument("--pictures", type=int, default=2_000, help="(default: %(default)s)")
    options = told.parse_args()
    images, few, weights = inputs.pictures(options.pictures), inputs.pictures(200), network()
    inputs.warm(images)
    vectors: dict[str, Vectors] = {name: {} for name in ("this job", *(name for name, *_ in RIVALS))}
    with bench("rivals", options) as found, tempfile.TemporaryDirectory() as folder, session(Path(folder)) as spark:
        contenders = {"this job": partial(ours, spark, images, vectors["this job"])}
        for name, module, file, _ in RIVALS:
            contenders[name] = partial(theirs, module, images, weights / file, few, options.pictures, vectors[name])
        medians = found.compare(
            f"features of {options.pictures:,} pictures", contenders, options.rounds, options.pictures
        )
        for name, *_, times in RIVALS:
            cosine = least_cosine(vectors["this job"], vectors[name])
            if not cosine >= LEAST_COSINE:
                die(f"{name} has made other vectors: the smallest cosine to this job's is {cosine:.4f}")
            found.claim(f"this job against {name}", medians[name] / medians["this job"], at_least=times)


if __name__ == "__main__":
    main()
