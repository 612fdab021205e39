"""Spark's predict_batch_udf with Keras: images as bytes into the function, its features written by Spark."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql import SparkSession
from pyspark.sql.functions import element_at, split
from pyspark.sql.types import ArrayType, FloatType

from benchmarks.peers import common


def predictor(weights: str) -> Callable[[], Callable[[NDArray[np.object_]], NDArray[np.float32]]]:
    """Return what loads the network from a file of its weights, once in each worker."""

    def load() -> Callable[[NDArray[np.object_]], NDArray[np.float32]]:
        import tensorflow as tf  # noqa: PLC0415 - in the workers only

        tf.config.threading.set_intra_op_parallelism_threads(1)  # a worker has a core
        tf.config.threading.set_inter_op_parallelism_threads(1)
        network = common.keras_network(weights)

        def predict(files: NDArray[np.object_]) -> NDArray[np.float32]:
            made: NDArray[np.float32] = network.predict(np.stack([common.pixels(data) for data in files]), verbose=0)
            return made

        return predict

    return load


def main() -> None:
    """Run the command."""
    options = common.parse_options(__doc__, batch=32)
    spark = SparkSession.builder.master("local[*]").config("spark.ui.enabled", "false").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    features = predict_batch_udf(
        predictor(str(options.model)), return_type=ArrayType(FloatType()), batch_size=options.batch
    )

    def run(images: Path, output: Path) -> None:
        files = spark.read.format("binaryFile").option("pathGlobFilter", "*.jpg").option("recursiveFileLookup", "true")
        table = files.load(str(images))
        label = element_at(split("path", "/"), -2).alias("label")
        table.select("path", label, features("content").alias("features")).write.parquet(str(output))

    common.measure(options, run)
    spark.stop()


if __name__ == "__main__":
    main()
