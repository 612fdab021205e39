"""Margins in, probabilities out: Platt's scaling. NumPy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PlattScaling:
    """Turns margins into probabilities of being right: 1 / (1 + exp(-(slope * margin + offset)))."""

    slope: float
    offset: float

    @classmethod
    def fit(cls, margins: NDArray[np.float64], right: NDArray[np.bool_]) -> "PlattScaling":
        """Fit the scaling to votes whose outcome is known.

        Platt's targets keep it from certainty where all votes were right (Platt 1999; Newton's method as in Lin, Lin
        and Weng, Machine Learning 68 (2007) 267-276). A larger margin never gives a lower probability.

        Parameters
        ----------
        margins : float64 array, shape (n,)
        right : bool array, shape (n,)
        """
        n_right = int(right.sum())
        targets = np.where(right, (n_right + 1) / (n_right + 2), 1 / (len(right) - n_right + 2))
        design = np.stack([margins, np.ones_like(margins)], axis=1)
        weights = np.array([0.0, np.log((n_right + 1) / (len(right) - n_right + 1))])
        for _ in range(100):
            probabilities = 1 / (1 + np.exp(-design @ weights))
            gradient = design.T @ (probabilities - targets) + 1e-6 * weights
            curvature = (design * (probabilities * (1 - probabilities))[:, None]).T @ design + 1e-6 * np.eye(2)
            step = np.linalg.solve(curvature, gradient)
            step /= max(1.0, float(np.abs(step).max()) / 2)  # far from the optimum a full step may overshoot
            weights = weights - step
            if np.abs(step).max() < 1e-9:
                break
        if weights[0] < 0:
            return cls(0.0, float(np.log((n_right + 1) / (len(right) - n_right + 1))))
        return cls(float(weights[0]), float(weights[1]))

    def confidence(self, margins: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probabilities, shape (q,), that votes with these margins, shape (q,), are right."""
        result: NDArray[np.float64] = 1 / (1 + np.exp(-(self.slope * margins + self.offset)))
        return result
