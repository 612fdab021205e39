"""Neighbors in, the images far from all others out. NumPy only."""

from dataclasses import dataclass

import numpy as np

from job.curation.knn import Neighbors

# Neighbors whose mean distance says how far away an image is.
NEAREST = 5
# An outlier is more than this many times as far from its neighbors as the median image.
FACTOR = 3.0


@dataclass(frozen=True)
class Outlier:
    """An image far from all others, and how many times as far from its neighbors it is as the median image."""

    image: int
    score: float


def outliers(near: Neighbors) -> list[Outlier]:
    """Return the images far from all others, the farthest first.

    Where half of the images are copies of others the median distance is 0. Nothing is an outlier by that scale.
    """
    if not near.distances.size:
        return []
    mean = near.distances[:, :NEAREST].mean(axis=1)
    median = float(np.median(mean))
    if median <= 0:
        return []
    order = np.argsort(-mean, kind="stable").tolist()
    return [Outlier(image, float(mean[image] / median)) for image in order if mean[image] > FACTOR * median]
