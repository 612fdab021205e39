"""Vectors with known variances, for tests of PCA."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def rotated(rng: np.random.Generator, deviations: Floats, n: int) -> Floats:
    """Return n vectors with these standard deviations along the axes of a random rotation."""
    rotation, _ = np.linalg.qr(rng.normal(size=(len(deviations), len(deviations))))
    result: Floats = rng.normal(size=(n, len(deviations))) * deviations @ rotation.T
    return result
