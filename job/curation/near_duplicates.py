"""Near-duplicates: pairs of images that are close by their features, judged by their pixels. NumPy only.

Features alone cannot distinguish an image that was saved again from the next frame of a series: by cosine, a copy saved
at JPEG quality 90 is farther from its original (0.948 to 0.974) than neighboring frames are from each other (0.989).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from job.curation.knn import Neighbors

SAME_BYTES, SAME_IMAGE = "same bytes", "same picture"  # as report_copies.csv names them
# Neighbors of an image whose pixels are compared with its own.
SHORTLIST = 20
# The largest difference in the brightness of a cell, 0 to 255, between two near-duplicates. For each of 496 Fruits-360
# images, saving at quality 90 changes a cell by at most 3.5, enlarging 1.6 times by at most 3.7; the closest two frames
# of a turning fruit differ by 4.7.
MAX_DIFFERENCE = 4.2
_PAIRS = 10_000


@dataclass(frozen=True)
class NearDuplicate:
    """A pair of images, `first` < `second`, that are the same: `SAME_BYTES` or `SAME_IMAGE`.

    `difference` is the largest difference in the brightness of a cell, 0 to 255.
    """

    first: int
    second: int
    kind: str
    difference: float


def near_duplicates(near: Neighbors, cells: NDArray[np.float32], digests: list[bytes]) -> list[NearDuplicate]:
    """Return the pairs of images that are the same, the most alike first.

    Parameters
    ----------
    near : Neighbors
        Of the images' features; the first `SHORTLIST` of each image are compared.
    cells : float32 array, shape (n, c, c)
        Brightness of the squares of a grid, 0 to 255; NaN where it is unknown.
    digests : list of bytes
        Of the files' bytes, empty where they are unknown. Images with one digest are copies of the first of them.
    """
    found = _of_same_bytes(digests)
    others = near.indexes[:, :SHORTLIST]
    rows = np.repeat(np.arange(len(others)), others.shape[1])
    pairs = np.unique(np.sort(np.stack([rows, others.ravel()], axis=1), axis=1), axis=0)
    for start in range(0, len(pairs), _PAIRS):
        first, second = pairs[start : start + _PAIRS].T
        differences = np.abs(cells[first] - cells[second]).reshape(len(first), -1).max(axis=1)
        for row in np.flatnonzero(differences <= MAX_DIFFERENCE).tolist():  # never where it is NaN
            pair = NearDuplicate(int(first[row]), int(second[row]), SAME_IMAGE, float(differences[row]))
            if digests[pair.first] != digests[pair.second]:
                found.append(pair)
    return sorted(found, key=lambda pair: (pair.difference, pair.kind, pair.first, pair.second))


def _of_same_bytes(digests: list[bytes]) -> list[NearDuplicate]:
    originals: dict[bytes, int] = {}
    pairs = [(originals.setdefault(digest, image), image) for image, digest in enumerate(digests) if digest]
    return [NearDuplicate(first, second, SAME_BYTES, 0.0) for first, second in pairs if first != second]
