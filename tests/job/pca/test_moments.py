"""Summaries of features: parts add up to the whole."""

from collections import Counter
from pathlib import Path

import numpy as np
from pyspark.sql import SparkSession

from job.images.label_counts import LabelDigest
from job.pca.basis import Moments, merge_all
from job.pca.moments import TableSummary, merge_moments, read_moments, write_moments
from job.spark.merging import merge_in_tasks
from job.spark.shipping import ship


def test_summaries_of_parts_merge_into_that_of_the_whole() -> None:
    first = TableSummary(LabelDigest.of({"x": 2, "y": 1}), LabelDigest(), Counter(), 1, ["/a"], [])
    second = TableSummary(LabelDigest.of({"y": 6}), LabelDigest.of({"": 2}), Counter(truncated=2), 0, [], ["part"])
    whole = TableSummary.merge([first, second])
    assert whole.ok == LabelDigest.of({"x": 2, "y": 7})
    assert whole.rejected == LabelDigest.of({"": 2})
    assert whole.reasons == {"truncated": 2}
    assert (whole.not_finite, whole.not_finite_paths, whole.rejected_parts) == (1, ["/a"], ["part"])


def test_moments_of_many_tasks_merge_in_tasks_into_those_of_the_whole(spark: SparkSession, tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(5, 1, size=(90, 4)).astype(np.float32)
    files = [str(tmp_path / f"{start}") for start in range(0, 90, 9)]
    for number, file in enumerate(files):
        write_moments(file, Moments.of(vectors[9 * number : 9 * number + 9]))
    ship(spark)
    few = merge_in_tasks(spark, files, merge_moments, str(tmp_path / "merged"), 3)
    assert len(few) == 2  # ten files, then four
    found = merge_all([read_moments(file) for file in few])
    assert found.n == 90
    np.testing.assert_allclose(found.mean, vectors.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(found.scatter, np.cov(vectors.astype(np.float64), rowvar=False) * 89, rtol=1e-10)
