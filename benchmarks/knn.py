"""Features and labels in; nearest neighbors, how often they are right, and how sure that is, out. NumPy and SciPy."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from job.curation.intervals import Interval, wilson

CONFIDENCE = 0.95


def nearest(features: NDArray[np.float32], groups: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return each image's nearest neighbors by cosine, the nearest first, outside its own group.

    Parameters
    ----------
    features : float32 array, shape (n, d)
    groups : int64 array, shape (n,)
        The group of each image; one group each for plain leave-one-out.
    count : int
        Number of neighbors; fewer where the largest group leaves fewer.

    Returns
    -------
    int64 array, shape (n, k)
        Row numbers; among equal neighbors the first.
    """
    # All pairs at once: a sample has thousands of images, not millions. Float64: views of one thing are very similar.
    normalized = features / np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    similarities = normalized @ normalized.T
    similarities[groups[:, None] == groups] = -np.inf
    available = len(groups) - int(np.unique(groups, return_counts=True)[1].max())
    return np.argsort(-similarities, axis=1, kind="stable")[:, : min(count, available)]


def overlap(neighbors: NDArray[np.int64], reference: NDArray[np.int64]) -> float:
    """Return the mean share of neighbors, shape (n, k), that two networks have in common, whatever their order."""
    rows = zip(neighbors, reference, strict=True)
    return float(np.mean([len(np.intersect1d(row, other)) / len(row) for row, other in rows]))


def share(right: NDArray[np.bool_]) -> Interval:
    """Return the share of images, shape (n,), that are right, with Wilson's score interval."""
    return wilson(int(right.sum()), len(right))


def difference(right: NDArray[np.bool_], reference: NDArray[np.bool_]) -> Interval:
    """Return the difference between the share right and the reference's, on the same images, shape (n,).

    The adjusted Wald interval of paired proportions: Bonett and Price, J. Educ. Behav. Stat. 37 (2012) 479-488. It
    holds where both are right on nearly all images, and has a width where they are right on the same.
    """
    total = len(right) + 2
    won, lost = (int((right & ~reference).sum()) + 1) / total, (int((~right & reference).sum()) + 1) / total
    half = norm.ppf((1 + CONFIDENCE) / 2) * np.sqrt((won + lost - (won - lost) ** 2) / total)
    value = float(right.mean() - reference.mean())
    return Interval(value, float(won - lost - half), float(won - lost + half))
