"""Nearest neighbors, beside scikit-learn."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from job.curation.knn import nearest
from job.curation.outliers import outliers


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(700, 20)).astype(np.float32)


def test_neighbors_are_those_of_scikit_learn(vectors: np.ndarray) -> None:
    found = nearest(vectors, 12)
    distances, indexes = NearestNeighbors(n_neighbors=12, algorithm="brute").fit(vectors.astype(float)).kneighbors()
    np.testing.assert_array_equal(found.indexes, indexes)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-12)


def test_far_from_the_origin_copies_are_at_no_distance(vectors: np.ndarray) -> None:
    far = np.concatenate([vectors, vectors[:3]]).astype(np.float64) + 1e4
    found = nearest(far, 1)
    assert found.indexes[:3, 0].tolist() == [700, 701, 702]
    assert found.distances[:3, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_vectors_have_few_neighbors(vectors: np.ndarray, count: int) -> None:
    found = nearest(vectors[:count], 10)
    assert found.indexes.shape == found.distances.shape == (count, max(0, count - 1))
    assert outliers(found) == []
