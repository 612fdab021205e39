"""Points in, the nearest pictures out. Exact, by blocks of matrix products.

Letters: n pictures, c coordinates, k dimensions of the space, q points that are asked about, m neighbours of each.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookup.index import Index
from lookup.votes import Vectors

# Rows of the index and points that are multiplied at a time: 16 MB of products.
_ROWS = 16_384
_POINTS = 256


@dataclass(frozen=True)
class Neighbours:
    """The nearest pictures of each point, the nearest first: their numbers int64 [q, m], and similarities [q, m].

    A similarity is the cosine of the two vectors in the space that is searched: 1 for the same direction from the mean
    of all pictures, 0 for none in common, -1 for the opposite. Where there are fewer than m pictures, the number is -1.
    """

    pictures: NDArray[np.int64]
    similarities: NDArray[np.float32]


class Search:
    """Finds the nearest pictures of an index in the space that a matrix makes of its coordinates.

    Parameters
    ----------
    index : Index
    space : float32 array [c, k]
        Coordinates times this are what is compared.
    """

    def __init__(self, index: Index, space: Vectors) -> None:
        self._index = index
        self._space = space
        self._inverse = [_inverse_lengths(block @ space) for block in index.blocks]

    def nearest(self, points: Vectors, count: int) -> Neighbours:
        """Return the `count` nearest pictures of points [q, c]."""
        parts = [self._nearest(points[start : start + _POINTS], count) for start in range(0, len(points), _POINTS)]
        if not parts:
            return Neighbours(np.zeros((0, count), np.int64), np.zeros((0, count), np.float32))
        return Neighbours(
            np.concatenate([part.pictures for part in parts]), np.concatenate([part.similarities for part in parts])
        )

    def _nearest(self, points: Vectors, count: int) -> Neighbours:
        seen = points @ self._space
        asked = (seen * _inverse_lengths(seen)[:, None]) @ self._space.T
        best = Neighbours(np.full((len(points), count), -1), np.full((len(points), count), -np.inf, np.float32))
        start = 0
        for block, inverse in zip(self._index.blocks, self._inverse, strict=True):
            for row in range(0, len(block), _ROWS):
                rows = slice(row, row + _ROWS)
                likeness = np.asarray(asked @ block[rows].T, np.float32)
                likeness *= inverse[rows]
                best = _better(best, likeness, start + row)
            start += len(block)
        np.clip(best.similarities, -1, 1, out=best.similarities, where=best.pictures >= 0)
        return best


def _inverse_lengths(vectors: Vectors) -> NDArray[np.float32]:
    """Return 1 over the length of each vector, 0 for one without length."""
    lengths = np.sqrt(np.einsum("nk,nk->n", vectors, vectors))
    inverse: NDArray[np.float32] = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return inverse


def _better(best: Neighbours, likeness: NDArray[np.float32], first: int) -> Neighbours:
    """Return the best of those known and those of a block whose first picture has the number `first`."""
    count = best.pictures.shape[1]
    if likeness.shape[1] > count:
        columns = np.argpartition(likeness, -count, axis=1)[:, -count:]
        likeness = np.take_along_axis(likeness, columns, 1)
    else:
        columns = np.broadcast_to(np.arange(likeness.shape[1]), likeness.shape)
    pictures = np.concatenate([best.pictures, columns + first], axis=1)
    similarities = np.concatenate([best.similarities, likeness], axis=1)
    pictures[np.isneginf(similarities)] = -1
    order = np.lexsort((pictures, -similarities), axis=1)[:, :count]
    return Neighbours(np.take_along_axis(pictures, order, 1), np.take_along_axis(similarities, order, 1))
