"""Queries in, the nearest images out: exact search, by blocks of matrix products.

Letters: n images, c coordinates, k dimensions of the space, q queries, m neighbors of each.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookup.index import Index
from lookup.spaces import Vectors

# Rows of the index and queries that are multiplied at a time: 16 MB of products.
_BLOCK_ROWS = 16_384
_BLOCK_QUERIES = 256


@dataclass(frozen=True)
class Matches:
    """The nearest images of each query, the nearest first.

    Attributes
    ----------
    rows : int64 array, shape (q, m)
        Row numbers in the index; -1 where it has fewer than m images.
    similarities : float32 array, shape (q, m)
        Cosines in the space that is searched: 1 for the same direction from the mean of all images, 0 for nothing in
        common, -1 for the opposite direction.
    """

    rows: NDArray[np.int64]
    similarities: NDArray[np.float32]


class ExactSearch:
    """Finds the nearest images of an index in a space.

    Parameters
    ----------
    index : Index
    space : float32 array, shape (c, k)
        Matrix that coordinates are multiplied by before they are compared.
    block_rows, block_queries : int
        Rows of the index and queries that are multiplied at a time.
    """

    def __init__(
        self, index: Index, space: Vectors, block_rows: int = _BLOCK_ROWS, block_queries: int = _BLOCK_QUERIES
    ) -> None:
        self._index, self._space = index, space
        self._block_rows, self._block_queries = block_rows, block_queries
        self._inverse_lengths = [_inverse_lengths(block @ space) for block in index.blocks]

    def nearest(self, queries: Vectors, count: int) -> Matches:
        """Return the `count` nearest images of queries, shape (q, c)."""
        starts = range(0, len(queries), self._block_queries)
        parts = [self._nearest(queries[start : start + self._block_queries], count) for start in starts]
        if not parts:
            return Matches(np.zeros((0, count), np.int64), np.zeros((0, count), np.float32))
        return Matches(
            np.concatenate([part.rows for part in parts]), np.concatenate([part.similarities for part in parts])
        )

    def _nearest(self, queries: Vectors, count: int) -> Matches:
        projected = queries @ self._space
        # Both factors of the space are applied to the few queries, and none to the many images.
        normalized = (projected * _inverse_lengths(projected)[:, None]) @ self._space.T
        best = Matches(np.full((len(queries), count), -1), np.full((len(queries), count), -np.inf, np.float32))
        first_row = 0
        for block, inverse in zip(self._index.blocks, self._inverse_lengths, strict=True):
            for start in range(0, len(block), self._block_rows):
                rows = slice(start, start + self._block_rows)
                similarities = np.asarray(normalized @ block[rows].T, np.float32)
                similarities *= inverse[rows]
                best = _merged(best, similarities, first_row + start)
            first_row += len(block)
        np.clip(best.similarities, -1, 1, out=best.similarities, where=best.rows >= 0)
        return best


def _inverse_lengths(vectors: Vectors) -> NDArray[np.float32]:
    """Return 1 over the length of each vector, 0 for a vector of length 0."""
    lengths = np.sqrt(np.einsum("nk,nk->n", vectors, vectors))
    inverse: NDArray[np.float32] = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return inverse


def _merged(best: Matches, similarities: NDArray[np.float32], first_row: int) -> Matches:
    """Return the best of the matches so far and those of a block that starts at `first_row`."""
    count = best.rows.shape[1]
    if similarities.shape[1] > count:
        columns = np.argpartition(similarities, -count, axis=1)[:, -count:]
        similarities = np.take_along_axis(similarities, columns, 1)
    else:
        columns = np.broadcast_to(np.arange(similarities.shape[1]), similarities.shape)
    rows = np.concatenate([best.rows, columns + first_row], axis=1)
    similarities = np.concatenate([best.similarities, similarities], axis=1)
    rows[np.isneginf(similarities)] = -1
    order = np.lexsort((rows, -similarities), axis=1)[:, :count]
    return Matches(np.take_along_axis(rows, order, 1), np.take_along_axis(similarities, order, 1))
