"""The coordinates of images: their features projected on a basis, and their colors beside them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from job.pca.basis import Basis

# A smaller weight names rendered fruit worse in the light of the known images; a much larger one, in another light.
_COLOR_WEIGHT = 6


def locate(
    basis: Basis, features: NDArray[np.float32], colors: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the coordinates and the residuals of images.

    Parameters
    ----------
    basis : Basis
    features : float32 array, shape (n, d)
    colors : float32 array, shape (n, 160)
        See `job.images.color_histogram`.

    Returns
    -------
    coordinates : float32 array, shape (n, k + 160)
        The k centered components, then the weighted colors.
    residuals : float32 array, shape (n,)
        Distances of the features from their projections.
    """
    components, residuals = basis.decompose(features)
    return np.hstack([components, color_coordinates(basis, colors)]).astype(np.float32), residuals.astype(np.float32)


def color_coordinates(basis: Basis, colors: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Return color histograms, shape (n, 160), as coordinates beside the components: their square roots, weighted.

    Products of the square roots compare histograms (the Bhattacharyya coefficient). The weight is in units of the
    standard deviation of all features together.
    """
    coordinates: NDArray[np.floating[Any]] = _COLOR_WEIGHT * np.sqrt(colors) * np.sqrt(basis.total_variance)
    return coordinates
