"""The mathematics of PCA, against Spark ML."""

import numpy as np
from pyspark.ml.feature import PCA as SparkPCA
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession

from job.pca.basis import Moments, fit
from tests.job.pca.made_vectors import rotated


def test_equals_spark_ml_once_its_missing_centering_is_added(spark: SparkSession) -> None:
    rng = np.random.default_rng(11)
    x = rotated(rng, np.linspace(4, 1, 12), 200) + rng.normal(size=12)
    frame = spark.createDataFrame([(i, Vectors.dense(row)) for i, row in enumerate(x)], ["id", "features"])
    model = SparkPCA(k=5, inputCol="features", outputCol="pca").fit(frame)
    theirs = np.array([row.pca.toArray() for row in model.transform(frame).orderBy("id").select("pca").collect()])

    basis = fit(Moments.of(x), 5, None, "", {})
    ours = basis.project(x) + basis.components @ basis.mean
    signs = np.sign(np.sum(basis.components * model.pc.toArray().T, axis=1))
    np.testing.assert_allclose(ours, theirs * signs, atol=1e-9 * np.abs(theirs).max())
    np.testing.assert_allclose(basis.explained_variance_ratio, model.explainedVariance.toArray(), atol=1e-12)
