"""Labels and neighbors in; how well the labels separate, by the nearest neighbor of each image, out. NumPy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from job.curation.intervals import Interval, wilson
from job.curation.knn import Neighbors


@dataclass(frozen=True)
class LabelAccuracy:
    """A label, the number of its images, and of those whose nearest neighbor has it too."""

    label: int
    images: int
    right: int


@dataclass(frozen=True)
class Separation:
    """The share of images whose nearest neighbor has the same label, and the same by label, the worst first."""

    accuracy: Interval
    images: int
    by_label: list[LabelAccuracy]


def separation(labels: NDArray[np.int64], near: Neighbors, names: list[str]) -> Separation:
    """Return how well labels, int64 array, shape (n,), separate; labels that do so equally well come by their names."""
    right = labels[near.indexes[:, 0]] == labels
    by_label = [
        LabelAccuracy(label, int(images), int(right_images))
        for label, (images, right_images) in enumerate(
            zip(np.bincount(labels), np.bincount(labels, weights=right), strict=True)
        )
    ]
    by_label.sort(key=lambda label: (label.right / label.images, -label.images, names[label.label]))
    return Separation(wilson(int(right.sum()), len(right)), len(right), by_label)
