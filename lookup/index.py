"""The index of an output's results: images ready to be searched, mapped into memory; from S3, a local copy."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from job import storage
from job.errors import JobError
from job.results.index import IndexDescription, IndexPart, map_part, read_description
from job.results.run_record import RunRecord
from lookup.cache import cache_folder
from lookup.spaces import Vectors

# Parts that are fetched at a time from S3.
_FETCHES = 4

LabelCodes = NDArray[np.int32]


@dataclass(frozen=True)
class Index:
    """Images by row, 0 to n - 1.

    Attributes
    ----------
    description : IndexDescription
    blocks : list of float32 arrays, each of shape (m, c)
        The images' coordinates, see `job.results.coordinates.locate`, in the order of the rows; mapped, not read.
    residuals : float32 array, shape (n,)
        See `job.results.index.index_schema`.
    names : list of str
        All labels, sorted.
    labels : int32 array, shape (n,)
        Positions in `names`, -1 for an image without a label.
    """

    description: IndexDescription
    blocks: list[Vectors]
    residuals: NDArray[np.float32]
    names: list[str]
    labels: LabelCodes
    _paths: pa.ChunkedArray

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def path(self, row: int) -> str:
        """Return an image's path, as the job writes it."""
        return str(self._paths[row].as_py())

    def label(self, row: int) -> str | None:
        """Return an image's label."""
        code = self.labels[row]
        return None if code < 0 else self.names[code]

    @property
    def width(self) -> int:
        """Return c, the number of coordinates."""
        width: int = self.blocks[0].shape[1]
        return width

    def coordinates(self, rows: NDArray[np.integer[Any]]) -> Vectors:
        """Return the coordinates, shape (m, c), of the images in `rows`, shape (m,)."""
        result = np.empty((len(rows), self.width), np.float32)
        start = 0
        for block in self.blocks:
            inside = (rows >= start) & (rows < start + len(block))
            result[inside] = block[rows[inside] - start]
            start += len(block)
        return result


def open_index(output: str, run: RunRecord) -> Index:
    """Open the index of an output's results.

    Raises
    ------
    JobError
        Where it is absent, damaged, or of other results.
    """
    folder = run.index_folder(output)
    description = read_description(folder)
    if description.run != run.run or description.fingerprint != run.fingerprint:
        raise JobError(f"the index at {folder} belongs to other results; run python -m job reduce to write it again")
    local = _fetched(folder, description) if storage.is_s3(folder) else Path(folder)
    tables = []
    for part in description.parts:
        if not _is_whole(local, part):
            raise JobError(
                f"{local / part.name} differs from what the run wrote; run python -m job reduce --output {output} again"
            )
        tables.append(map_part(local / part.name, description.components))
    return _index(description, tables)


def _is_whole(folder: Path, part: IndexPart) -> bool:
    path = folder / part.name
    return path.is_file() and path.stat().st_size == part.bytes


def _index(description: IndexDescription, tables: list[pa.Table]) -> Index:
    chunks = [chunk for table in tables for chunk in table.column("label").chunks]
    names = sorted({name for chunk in chunks for name in chunk.dictionary.to_pylist()})
    codes = {name: code for code, name in enumerate(names)}
    coordinates = [chunk for table in tables for chunk in table.column("coordinates").chunks]
    return Index(
        description,
        [chunk.flatten().to_numpy(zero_copy_only=True).reshape(-1, chunk.type.list_size) for chunk in coordinates],
        np.concatenate([table.column("residual").to_numpy() for table in tables]),
        names,
        np.concatenate([_label_codes(chunk, codes) for chunk in chunks]),
        pa.chunked_array([chunk for table in tables for chunk in table.column("path").chunks]),
    )


def _label_codes(labels: pa.DictionaryArray, codes: dict[str, int]) -> LabelCodes:
    """Return the code of each label, -1 for none."""
    lookup_table = np.array([*(codes[name] for name in labels.dictionary.to_pylist()), -1], np.int32)
    positions = pc.fill_null(labels.indices, len(lookup_table) - 1).to_numpy(zero_copy_only=False)
    result: LabelCodes = lookup_table[positions]
    return result


def _fetched(folder: str, description: IndexDescription) -> Path:
    """Return a local copy of an index on S3, fetched once; copies of this output's earlier runs are deleted."""
    copies = cache_folder("neighbours", folder.rsplit("/", 1)[0])
    local = copies / storage.name(folder)
    local.mkdir(parents=True, exist_ok=True)
    missing = [part for part in description.parts if not _is_whole(local, part)]
    with ThreadPoolExecutor(_FETCHES) as pool:
        list(pool.map(partial(_fetch, folder, local), missing))
    for copy in copies.iterdir():
        if copy != local:
            shutil.rmtree(copy, ignore_errors=True)
    return local


def _fetch(folder: str, local: Path, part: IndexPart) -> None:
    address = storage.join(folder, part.name)
    data = storage.read(address)
    if sha256(data).hexdigest() != part.sha256:
        raise JobError(f"{address} differs from what the run wrote; run python -m job reduce to write it again")
    storage.write(str(local / part.name), data)
