"""Counts in, a share and its 95 % confidence interval out. NumPy only."""

from dataclasses import dataclass

import numpy as np

# Standard deviations of the normal distribution that hold 95 %.
_Z = 1.959963984540054


@dataclass(frozen=True)
class Interval:
    """A share, 0 to 1, and the bounds of its 95 % confidence interval."""

    value: float
    low: float
    high: float


def wilson(right: int, total: int) -> Interval:
    """Return the share `right` of a `total` above 0, with Wilson's score interval (JASA 22 (1927) 209-212)."""
    share, z2 = right / total, _Z * _Z
    center = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z / (1 + z2 / total) * np.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    return Interval(share, max(0.0, float(center - half)), min(1.0, float(center + half)))
