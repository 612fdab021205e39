"""Summaries of features: parts add up to the whole."""

from collections import Counter

import numpy as np

from job.pca.basis import Moments
from job.pca.moments import TableSummary


def test_summaries_of_parts_merge_into_that_of_the_whole() -> None:
    vectors = np.random.default_rng(0).normal(size=(9, 4))
    first = TableSummary(Moments.of(vectors[:3]), Counter(x=2, y=1), Counter(), Counter(), 1, ["/a"], [])
    second = TableSummary(
        Moments.of(vectors[3:]), Counter(y=6), Counter({"": 2}), Counter(truncated=2), 0, [], ["part"]
    )
    whole = TableSummary.merge([first, second])
    assert whole.moments.n == 9
    np.testing.assert_allclose(whole.moments.mean, vectors.mean(axis=0))
    np.testing.assert_allclose(whole.moments.scatter, np.cov(vectors, rowvar=False) * 8)
    assert whole.ok == {"x": 2, "y": 7}
    assert whole.rejected == {"": 2}
    assert whole.reasons == {"truncated": 2}
    assert (whole.not_finite, whole.not_finite_paths, whole.rejected_parts) == (1, ["/a"], ["part"])
