"""Near-copies: pairs of pictures that are near by their features, judged on their pixels. NumPy only.

Features alone cannot tell a picture saved anew from the next frame of a series: by cosine a copy saved at JPEG quality
90 is farther from its original (0.948 to 0.974) than neighbouring frames are from each other (0.989).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from job.curation.knn import Neighbors

SAME_BYTES, SAME_PICTURE = "same bytes", "same picture"
# Neighbours of a picture whose pixels are compared with its own.
SHORTLIST = 20
# The most that the brightness of any cell may differ, of 255. For each of 496 Fruits-360 pictures, saving at quality 90
# moves it by at most 3.5, making it 1.6 times as large by 3.7; the nearest two frames of a turning fruit differ by 4.7.
MOST = 4.2


@dataclass(frozen=True)
class NearDuplicate:
    """Two pictures, `first` < `second`, that are one: `SAME_BYTES` or `SAME_PICTURE`, and by how much they differ.

    `difference` is the largest of any cell's brightness, 0 to 255.
    """

    first: int
    second: int
    kind: str
    difference: float


def near_duplicates(near: Neighbors, cells: NDArray[np.float32], digests: list[bytes]) -> list[NearDuplicate]:
    """Return the pairs of pictures that are one, the most alike first.

    Parameters
    ----------
    near : Neighbors
        Of the pictures' features; the first `SHORTLIST` are looked at.
    cells : float32 array [n, c, c]
        Brightness of the squares of a grid, 0 to 255; NaN where it is not known.
    digests : list of bytes [n]
        Of the files' bytes, empty where they are not known. Pictures of one digest are told as copies of the first.
    """
    found: dict[tuple[int, int], NearDuplicate] = {}
    first: dict[bytes, int] = {}
    for picture, digest in enumerate(digests):
        if digest and (one := first.setdefault(digest, picture)) != picture:
            found[one, picture] = NearDuplicate(one, picture, SAME_BYTES, 0.0)
    others = near.indexes[:, :SHORTLIST]
    rows = np.repeat(np.arange(len(others)), others.shape[1])
    pairs = np.unique(np.sort(np.stack([rows, others.ravel()], axis=1), axis=1), axis=0)
    for start in range(0, len(pairs), 10_000):
        one, two = pairs[start : start + 10_000].T
        apart = np.abs(cells[one] - cells[two]).reshape(len(one), -1).max(axis=1)
        for row in np.flatnonzero(apart <= MOST).tolist():  # never where it is NaN
            pair = int(one[row]), int(two[row])
            if digests[pair[0]] != digests[pair[1]]:
                found[pair] = NearDuplicate(*pair, SAME_PICTURE, float(apart[row]))
    return sorted(found.values(), key=lambda copy: (copy.difference, copy.kind, copy.first, copy.second))
