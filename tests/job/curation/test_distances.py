"""Squared distances in blocks, beside SciPy."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from job.curation.distances import squared_distances


@pytest.mark.parametrize(("n", "block_rows"), [(0, 4), (1, 4), (8, 4), (9, 4), (700, 512)])
def test_blocks_hold_the_distances_of_scipy(n: int, block_rows: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(n, 5)).astype(np.float32)
    blocks = list(squared_distances(vectors, block_rows))
    assert [row for rows, _ in blocks for row in range(n)[rows]] == list(range(n))
    expected = cdist(vectors, vectors, "sqeuclidean")
    for rows, distances in blocks:
        np.testing.assert_allclose(distances, expected[rows], atol=1e-12)
        assert distances.dtype == np.float64


def test_no_distance_is_below_zero() -> None:
    vectors = np.tile(np.random.default_rng(1).normal(size=20) + 1e4, (50, 1))
    ((_, distances),) = squared_distances(vectors)
    assert distances.min() >= 0
