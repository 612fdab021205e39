"""Whether two ways to features agree: tables of features in, the smallest cosine out."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Vectors = dict[str, NDArray[np.float32]]


def by_name(table: "pa.Table") -> Vectors:
    """Return the vectors of a table, float32, shape (d,), by the names of the files, which are all different."""
    values = pc.list_flatten(table.column("features")).to_numpy().reshape(table.num_rows, -1)
    return {Path(path).name: row for path, row in zip(table.column("path").to_pylist(), values, strict=True)}


def least_cosine(first: Vectors, second: Vectors) -> float:
    """Return the smallest cosine between two vectors of one image."""
    a, b = (np.stack([vectors[name] for name in sorted(vectors)]).astype(np.float64) for vectors in (first, second))
    return float((np.einsum("nd,nd->n", a, b) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())
