"""The pictures of an output's results, ready to be searched: mapped into memory, from S3 by way of a local copy."""

import os
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
from lookup.votes import Vectors

# Parts that are fetched at a time from S3.
_FETCHES = 4

Labels = NDArray[np.int32]


@dataclass(frozen=True)
class Index:
    """Pictures by number, 0 to n - 1, with what is known of them.

    Attributes
    ----------
    description : IndexDescription
    blocks : list of float32 arrays [m, c]
        The pictures' coordinates, see `job.results.index.locate`, in their order; they are mapped, not read.
    residuals : float32 array [n]
        What the components do not tell of each: see `job.results.index.schema`.
    names : list of str
        The labels there are, sorted.
    labels : int32 array [n]
        Numbers of labels, -1 where a picture has none.
    """

    description: IndexDescription
    blocks: list[Vectors]
    residuals: NDArray[np.float32]
    names: list[str]
    labels: Labels
    _paths: pa.ChunkedArray

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.labels)

    def path(self, picture: int) -> str:
        """Return a picture's path, as the job writes it."""
        return str(self._paths[picture].as_py())

    def label(self, picture: int) -> str | None:
        """Return a picture's label."""
        number = self.labels[picture]
        return None if number < 0 else self.names[number]

    @property
    def width(self) -> int:
        """Return the number of coordinates."""
        width: int = self.blocks[0].shape[1]
        return width

    def coordinates(self, pictures: NDArray[np.integer[Any]]) -> Vectors:
        """Return the coordinates [m, c] of some pictures."""
        result = np.empty((len(pictures), self.width), np.float32)
        start = 0
        for block in self.blocks:
            inside = (pictures >= start) & (pictures < start + len(block))
            result[inside] = block[pictures[inside] - start]
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
        raise JobError(f"the index at {folder} belongs to other results; python -m job reduce makes it anew")
    local = _fetched(folder, description) if storage.is_s3(folder) else Path(folder)
    tables = []
    for part in description.parts:
        path = local / part.name
        if not path.is_file() or path.stat().st_size != part.bytes:
            raise JobError(f"{path} is not as it was written; python -m job reduce --output {output} makes it anew")
        tables.append(map_part(path, description.components))
    return _index(description, tables)


def cache(kind: str, address: str) -> Path:
    """Return the folder in which this user keeps something of an address, such as a copy; it need not be there."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "fruits", kind, sha256(address.encode()).hexdigest()[:16])


def _index(description: IndexDescription, tables: list[pa.Table]) -> Index:
    chunks = [chunk for table in tables for chunk in table.column("label").chunks]
    names = sorted({name for chunk in chunks for name in chunk.dictionary.to_pylist()})
    numbers = {name: number for number, name in enumerate(names)}
    labels = [_numbers(chunk, numbers) for chunk in chunks]
    coordinates = [chunk for table in tables for chunk in table.column("coordinates").chunks]
    return Index(
        description,
        [chunk.flatten().to_numpy(zero_copy_only=True).reshape(-1, chunk.type.list_size) for chunk in coordinates],
        np.concatenate([table.column("residual").to_numpy() for table in tables]),
        names,
        np.concatenate(labels),
        pa.chunked_array([chunk for table in tables for chunk in table.column("path").chunks]),
    )


def _fetch(folder: str, local: Path, part: IndexPart) -> None:
    address = storage.join(folder, part.name)
    data = storage.read(address)
    if sha256(data).hexdigest() != part.sha256:
        raise JobError(f"{address} is not as it was written; python -m job reduce makes it anew")
    storage.write(str(local / part.name), data)


def _numbers(labels: pa.DictionaryArray, numbers: dict[str, int]) -> Labels:
    """Return the number of each label, -1 for none."""
    own = np.array([*(numbers[name] for name in labels.dictionary.to_pylist()), -1], np.int32)
    codes = pc.fill_null(labels.indices, len(own) - 1).to_numpy(zero_copy_only=False)
    numbered: Labels = own[codes]
    return numbered


def _fetched(folder: str, description: IndexDescription) -> Path:
    """Return a local copy of an index on S3, fetched once; those of earlier runs of this output are deleted."""
    of_output = cache("neighbours", folder.rsplit("/", 1)[0])
    local = of_output / storage.name(folder)
    local.mkdir(parents=True, exist_ok=True)
    missing = [
        part
        for part in description.parts
        if not (local / part.name).is_file() or (local / part.name).stat().st_size != part.bytes
    ]
    with ThreadPoolExecutor(_FETCHES) as pool:
        list(pool.map(partial(_fetch, folder, local), missing))
    for other in of_output.iterdir():
        if other != local:
            shutil.rmtree(other, ignore_errors=True)
    return local
