"""Features and labels in; nearest neighbours, how often they are right, and how sure that is, out. NumPy and SciPy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A value and the 95 % interval about it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return `0.984 (0.969 to 0.992)`."""
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def nearest(features: NDArray[np.float32], groups: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return each picture's nearest neighbours by cosine, the nearest first; a picture's own group is not looked at.

    Parameters
    ----------
    features : float32 array [n, d]
    groups : int array [n]
        Of what group each picture is; each of its own for plain leave-one-out.
    count : int
        How many neighbours; fewer where groups leave fewer.

    Returns
    -------
    int array [n, k]
        Row numbers; of equal neighbours the first.
    """
    # All pairs at once: a sample has thousands, not millions. In float64: views of one thing are very like.
    unit = features / np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    likeness = unit @ unit.T
    likeness[groups[:, None] == groups] = -np.inf
    most = len(groups) - int(np.unique(groups, return_counts=True)[1].max())
    return np.argsort(-likeness, axis=1, kind="stable")[:, : min(count, most)]


def overlap(near: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Return the mean share of the neighbours [n, k] that two networks have in common, whatever their order."""
    return float(np.mean([len(np.intersect1d(one, two)) / len(one) for one, two in zip(near, other, strict=True)]))


def share(right: NDArray[np.bool_]) -> Interval:
    """Return the share of pictures [n] that are right, with Wilson's score interval."""
    found = binomtest(int(right.sum()), len(right)).proportion_ci(CONFIDENCE, "wilson")
    return Interval(float(right.mean()), float(found.low), float(found.high))


def difference(right: NDArray[np.bool_], reference: NDArray[np.bool_]) -> Interval:
    """Return by how much the share right differs from the reference's on the same pictures [n].

    The adjusted Wald interval of paired proportions: Bonett and Price, J. Educ. Behav. Stat. 37 (2012) 479-488. It
    holds up where both are right on nearly all pictures, and has a width where they are right on the same.
    """
    total = len(right) + 2
    won, lost = (int((right & ~reference).sum()) + 1) / total, (int((~right & reference).sum()) + 1) / total
    half = norm.ppf((1 + CONFIDENCE) / 2) * np.sqrt((won + lost - (won - lost) ** 2) / total)
    value = float(right.mean() - reference.mean())
    return Interval(value, float(won - lost - half), float(won - lost + half))
