"""Vectors and labels in; nearest neighbours and what they tell, out: separation, doubtful labels, outliers. NumPy only.

Letters: n pictures, k components. A label is a number from 0 on, -1 where there is none.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Neighbours that vote on a picture's label, and those whose distance tells how far off it is.
VOTERS = 10
NEAR = 5
# An outlier is so many times as far from its neighbours as half of all pictures are.
FAR = 3.0
# Standard deviations of the normal distribution that hold 95 %.
_Z = 1.959963984540054
_ROWS = 512

Indexes = NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """A share, 0 to 1, and the 95 % interval about it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ConfusedLabels:
    """Two labels: pictures of one, `total` in all, whose nearest neighbour has the other: their numbers."""

    label: int
    other: int
    pictures: list[int]
    total: int


@dataclass(frozen=True)
class LabelIssue:
    """A picture whose neighbours have another label: which, and the share of the votes that it has."""

    picture: int
    suggested: int
    share: float


@dataclass(frozen=True)
class Neighbors:
    """Each picture's nearest others, the nearest first: row numbers [n, m], and distances [n, m]."""

    indexes: Indexes
    distances: NDArray[np.float64]


def nearest(vectors: NDArray[np.floating], count: int) -> Neighbors:
    """Return the nearest others of each of the vectors [n, k] by Euclidean distance: `count`, or all n - 1 if fewer.

    Exact, by blocks of matrix products in float64. Of vectors equally far the first comes first.
    """
    values = np.asarray(vectors, np.float64)
    n = len(values)
    count = max(0, min(count, n - 1))
    squares = np.einsum("nk,nk->n", values, values)
    indexes, distances = np.zeros((n, count), np.int64), np.zeros((n, count))
    for start in range(0, n if count else 0, _ROWS):
        block = values[start : start + _ROWS]
        rows = np.arange(len(block))
        apart = np.maximum(squares[start : start + _ROWS, None] + squares - 2 * (block @ values.T), 0)
        apart[rows, start + rows] = np.inf
        near = np.sort(np.argpartition(apart, count - 1, axis=1)[:, :count], axis=1)
        order = np.argsort(np.take_along_axis(apart, near, 1), axis=1, kind="stable")
        near = np.take_along_axis(near, order, 1)
        indexes[start : start + _ROWS] = near
        # The products round where vectors are alike: what is told is worked out from the vectors themselves.
        distances[start : start + _ROWS] = np.linalg.norm(values[near] - block[:, None], axis=2)
    return Neighbors(indexes, distances)


def wilson(right: int, total: int) -> Interval:
    """Return the share right of a total above 0 with Wilson's score interval (JASA 22 (1927) 209-212)."""
    share, z2 = right / total, _Z * _Z
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z / (1 + z2 / total) * np.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    return Interval(share, max(0.0, float(centre - half)), min(1.0, float(centre + half)))


def confused_labels(labels: Indexes, near: Neighbors) -> list[ConfusedLabels]:
    """Return the pairs of labels that are taken for each other, most pictures first, by the nearest neighbour alone."""
    totals = Counter(labels.tolist())
    pairs: dict[tuple[int, int], list[int]] = {}
    for picture, (own, other) in enumerate(zip(labels.tolist(), labels[near.indexes[:, 0]].tolist(), strict=True)):
        if own != other:
            pairs.setdefault((own, other), []).append(picture)
    found = [ConfusedLabels(own, other, pictures, totals[own]) for (own, other), pictures in pairs.items()]
    return sorted(found, key=lambda pair: (-len(pair.pictures), pair.label, pair.other))


def label_issues(labels: Indexes, near: Neighbors) -> list[LabelIssue]:
    """Return the pictures whose neighbours mostly have one other label, the surest first.

    Each of the `VOTERS` nearest has one vote; a picture is told of where one other label has more than half of them.
    """
    votes = labels[near.indexes[:, :VOTERS]]
    found = []
    for picture, (own, row) in enumerate(zip(labels.tolist(), votes.tolist(), strict=True)):
        counts = Counter(row)
        del counts[own]
        if not counts:
            continue
        suggested, most = counts.most_common(1)[0]
        if 2 * most > len(row):
            found.append(LabelIssue(picture, suggested, most / len(row)))
    return sorted(found, key=lambda one: (-one.share, float(near.distances[one.picture, 0])))


def outliers(near: Neighbors) -> list[tuple[int, float]]:
    """Return the pictures far from all others, the farthest first, and how many times as far as the median they are.

    How far: the mean distance to the `NEAR` nearest. Where half of the pictures are copies of others there is no scale
    to judge by, and none is told.
    """
    if not near.distances.size:
        return []
    mean = near.distances[:, :NEAR].mean(axis=1)
    scale = float(np.median(mean))
    if scale <= 0:
        return []
    order = np.argsort(-mean, kind="stable")
    return [(int(picture), float(mean[picture] / scale)) for picture in order if mean[picture] > FAR * scale]
