"""Labels and neighbors in; the labels that are confused, and the images whose label is likely wrong, out. NumPy only.

A label is its number, from 0 on. Every image here has one.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from job.curation.knn import Neighbors

# Neighbors that vote on the label of an image.
VOTERS = 10


@dataclass(frozen=True)
class ConfusedLabels:
    """The images of one label, of `total` in all, whose nearest neighbor has the other label; and those neighbors."""

    label: int
    other: int
    images: list[int]
    neighbors: list[int]
    total: int


@dataclass(frozen=True)
class LabelIssue:
    """An image whose neighbors mostly have another label: the label they suggest, and its share of the votes."""

    image: int
    suggested: int
    share: float


def confused_labels(labels: NDArray[np.int64], near: Neighbors) -> list[ConfusedLabels]:
    """Return the pairs of labels that are confused, most images first, judged by the nearest neighbor alone."""
    neighbors = near.indexes[:, 0]
    others = labels[neighbors]
    totals = Counter(labels.tolist())
    found = []
    for label, other in np.unique(np.stack([labels, others])[:, labels != others], axis=1).T.tolist():
        images = np.flatnonzero((labels == label) & (others == other))
        found.append(ConfusedLabels(label, other, images.tolist(), neighbors[images].tolist(), totals[label]))
    return sorted(found, key=lambda pair: (-len(pair.images), pair.label, pair.other))


def label_issues(labels: NDArray[np.int64], near: Neighbors) -> list[LabelIssue]:
    """Return the images whose label is likely wrong, the most certain first.

    Each of the `VOTERS` nearest images has one vote. An issue is an image for which one other label has more than half
    of the votes.
    """
    votes = labels[near.indexes[:, :VOTERS]]
    found = []
    for image, (label, row) in enumerate(zip(labels.tolist(), votes.tolist(), strict=True)):
        counts = Counter(row)
        del counts[label]
        if not counts:
            continue
        suggested, highest = counts.most_common(1)[0]
        if 2 * highest > len(row):
            found.append(LabelIssue(image, suggested, highest / len(row)))
    return sorted(found, key=lambda issue: (-issue.share, float(near.distances[issue.image, 0])))
