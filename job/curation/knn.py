"""Vectors in, the nearest neighbors of each out. NumPy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from job.curation.distances import squared_distances


@dataclass(frozen=True)
class Neighbors:
    """The m nearest others of each of n vectors, the nearest first.

    Attributes
    ----------
    indexes : int64 array, shape (n, m)
        Rows of the neighbors.
    distances : float64 array, shape (n, m)
        Euclidean.
    """

    indexes: NDArray[np.int64]
    distances: NDArray[np.float64]


def nearest(vectors: NDArray[np.floating], count: int) -> Neighbors:
    """Return the `count` nearest others of each vector, or all n - 1 if there are fewer.

    The search is exact. Among vectors at the same distance the first comes first.

    Parameters
    ----------
    vectors : float array, shape (n, k)
    """
    values = np.asarray(vectors, np.float64)
    n = len(values)
    count = max(0, min(count, n - 1))
    indexes, distances = np.zeros((n, count), np.int64), np.zeros((n, count))
    if not count:
        return Neighbors(indexes, distances)
    for rows, squared in squared_distances(values):
        block = np.arange(len(squared))
        squared[block, rows.start + block] = np.inf
        near = np.sort(np.argpartition(squared, count - 1, axis=1)[:, :count], axis=1)
        order = np.argsort(np.take_along_axis(squared, near, 1), axis=1, kind="stable")
        indexes[rows] = np.take_along_axis(near, order, 1)
        # Matrix products round where vectors are alike, so the distances come from the vectors themselves.
        distances[rows] = np.linalg.norm(values[indexes[rows]] - values[rows, None], axis=2)
    return Neighbors(indexes, distances)
