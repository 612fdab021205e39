"""Vectors in, the squared Euclidean distances between all of them out, block by block. NumPy only."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_ROWS = 512


def squared_distances(
    vectors: NDArray[np.floating], block_rows: int = _ROWS
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield the squared distances from a block of the vectors to all of them, for one block after the other.

    A matrix product in float64 gives them, which rounds: vectors that are equal may be a little apart.

    Parameters
    ----------
    vectors : float array, shape (n, k)
    block_rows : int
        Vectors of a block; it bounds the memory, at 8 n bytes each.

    Yields
    ------
    rows : slice
        The rows of the block.
    distances : float64 array, shape (b, n)
        Never below 0; the caller may overwrite it.
    """
    values = np.asarray(vectors, np.float64)
    squares = np.einsum("nk,nk->n", values, values)
    for start in range(0, len(values), block_rows):
        rows = slice(start, start + block_rows)
        distances = squares[rows, None] + squares - 2 * (values[rows] @ values.T)
        yield rows, np.maximum(distances, 0, out=distances)
