"""The notebook that this job is measured against, Spark's start and all, as a process of its own.

    python -m benchmarks.peers.notebook IMAGES WEIGHTS OUTPUT --master local

Keras in a pandas UDF, whose model every partition builds anew; Spark ML's PCA on vectors that a Python function has
made of arrays; plans that stay lazy, so that the images are inferred once for each of what follows from them.
"""

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from pyspark.ml.feature import PCA
from pyspark.ml.linalg import DenseVector, Vectors, VectorUDT
from pyspark.sql import SparkSession
from pyspark.sql.functions import col, element_at, split, udf
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.types import ArrayType, FloatType

from benchmarks.peers import common

PARTITIONS = 20
COMPONENTS = 50


def inference(spark: SparkSession, weights: str) -> Any:
    """Return the function of a column of files that gives their features; weights travel as a broadcast."""
    values = spark.sparkContext.broadcast(common.keras_network(weights).get_weights())

    def features(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        import keras  # noqa: PLC0415 - in the workers only

        shape = (common.SIDE, common.SIDE, 3)
        network = keras.applications.MobileNetV2(input_shape=shape, weights=None, include_top=False, pooling="avg")
        network.set_weights(values.value)
        for files in batches:
            predicted = network.predict(np.stack([common.pixels(data) for data in files]), verbose=0)
            yield pd.Series([row.flatten() for row in predicted])

    features.__annotations__ = {"batches": Iterator[pd.Series], "return": Iterator[pd.Series]}
    return pandas_udf(features, ArrayType(FloatType()))  # type: ignore[call-overload]


def vector(values: list[float]) -> DenseVector:
    """Return an array as Spark ML takes it."""
    return Vectors.dense(values)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("images", "weights", "output", "--master"):
        parser.add_argument(name)
    options = parser.parse_args()
    spark = SparkSession.Builder().appName("notebook").master(options.master).getOrCreate()
    files = spark.read.format("binaryFile").option("pathGlobFilter", "*.jpg").option("recursiveFileLookup", "true")
    images = files.load(options.images).withColumn("label", element_at(split(col("path"), "/"), -2))
    infer = inference(spark, options.weights)
    features = images.repartition(PARTITIONS).select("path", "label", infer("content").alias("features"))
    features.write.mode("overwrite").parquet(f"{options.output}/features")

    to_vector = udf(vector, VectorUDT())
    vectors = features.select("path", "label", to_vector("features").alias("vectors"))
    reduced = PCA(k=COMPONENTS, inputCol="vectors", outputCol="pca_features").fit(vectors).transform(vectors)
    reduced.select("path", "label", "pca_features").write.mode("overwrite").parquet(f"{options.output}/pca")
    spark.stop()


if __name__ == "__main__":
    main()
