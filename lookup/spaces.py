"""Spaces in which images are compared: matrices that coordinates are multiplied by, and distances. NumPy only.

Letters: n known images, q queries, c coordinates, of which the first k are components, m voters, l labels. A label is a
number from 0 on, -1 where there is none.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Share of the mean variance that is added to the variance within labels.
_SHRINKAGE = 0.1

Labels = NDArray[np.integer[Any]]
Vectors = NDArray[np.float32]


def component_space(n_coordinates: int, n_components: int) -> Vectors:
    """Return the matrix, shape (c, k), that keeps the components as they are and drops the colors."""
    return np.eye(n_coordinates, n_components, dtype=np.float32)


def learn_space(coordinates: Vectors, labels: Labels) -> Vectors:
    """Learn a space that shrinks the directions in which images of one label vary.

    The matrix is the inverse square root of the mean covariance within labels, shrunk towards a multiple of the
    identity (within-class covariance normalization: Hatch, Kajarekar, Stolcke, Interspeech 2006).

    Parameters
    ----------
    coordinates : float32 array, shape (n, c)
    labels : int array, shape (n,)

    Returns
    -------
    float32 array, shape (c, c)
        The identity where no label has two images that differ.
    """
    c, labeled = coordinates.shape[1], labels[labels >= 0]
    names, codes, counts = np.unique(labeled, return_inverse=True, return_counts=True)
    degrees_of_freedom = len(labeled) - len(names)
    if degrees_of_freedom < 1:
        return np.eye(c, dtype=np.float32)
    values = coordinates[labels >= 0].astype(np.float64)
    deviations = values - label_means(values, codes, counts)[codes]
    within = deviations.T @ deviations
    if np.trace(within) <= 0:
        return np.eye(c, dtype=np.float32)
    within /= degrees_of_freedom
    mean_variance = np.trace(within) / c
    variances, directions = np.linalg.eigh((1 - _SHRINKAGE) * within + _SHRINKAGE * mean_variance * np.eye(c))
    return np.asarray(directions / np.sqrt(variances / mean_variance) @ directions.T, np.float32)


def normalized(vectors: NDArray[np.floating[Any]]) -> Vectors:
    """Return vectors, shape (n, k), scaled to length 1; a vector of length 0 stays 0."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0), np.float32)


def label_means(values: NDArray[np.float64], codes: Labels, counts: Labels) -> NDArray[np.float64]:
    """Return the mean of each label's values.

    Parameters
    ----------
    values : float64 array, shape (n, k)
    codes : int array, shape (n,)
        Labels as numbers from 0 to l - 1.
    counts : int array, shape (l,)
        How often each code occurs.

    Returns
    -------
    float64 array, shape (l, k)
    """
    starts = np.cumsum(counts) - counts
    sums = np.add.reduceat(values[np.argsort(codes, kind="stable")], starts, axis=0)
    means: NDArray[np.float64] = sums / counts[:, None]
    return means


def nearest_distances(
    components: Vectors, residuals: NDArray[np.floating[Any]], neighbors: Vectors
) -> NDArray[np.float64]:
    """Return the distance of each query to the nearest of its neighbors.

    The residual counts in full: an image unlike all that the basis was fitted to may be projected anywhere among them,
    and only its residual shows it.

    Parameters
    ----------
    components : float32 array, shape (q, k)
    residuals : float array, shape (q,)
    neighbors : float32 array, shape (q, m, k)
        Components of each query's neighbors.

    Returns
    -------
    float64 array, shape (q,)
    """
    differences = neighbors.astype(np.float64) - components[:, None]
    nearest = np.einsum("qmk,qmk->qm", differences, differences).min(axis=1, initial=np.inf)
    result: NDArray[np.float64] = np.sqrt(nearest + np.asarray(residuals, np.float64) ** 2)
    return result
