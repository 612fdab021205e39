"""Tiles in, sheets of many tiles out: as a JPEG of its own, each tile would be mostly header."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from job.curation.sampling import GRAY, TILE

_COLUMNS, _ROWS, _QUALITY = 40, 25, 70


@dataclass(frozen=True)
class TileSheets:
    """Tiles, `side` pixels wide and high, in sheets of `columns` times `rows`: the URL of each sheet."""

    side: int
    columns: int
    rows: int
    sheets: list[str]


def tile_sheets(tiles: NDArray[np.uint8]) -> TileSheets:
    """Return sheets of tiles, uint8 array, shape (n, TILE, TILE, 3)."""
    size = _COLUMNS * _ROWS
    sheets = [_sheet(tiles[start : start + size]) for start in range(0, len(tiles), size)]
    return TileSheets(TILE, _COLUMNS, _ROWS, sheets)


def _sheet(tiles: NDArray[np.uint8]) -> str:
    rows = -(-len(tiles) // _COLUMNS)
    cells = np.full((rows * _COLUMNS, TILE, TILE, 3), GRAY, np.uint8)
    cells[: len(tiles)] = tiles
    grid = cells.reshape(rows, _COLUMNS, TILE, TILE, 3).swapaxes(1, 2)
    file = io.BytesIO()
    Image.fromarray(grid.reshape(rows * TILE, _COLUMNS * TILE, 3)).save(file, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
