"""Queries in, nearly always the nearest images out: faiss' inverted file, for more images than can be compared singly.

Each image is assigned to a cell by its direction. A search probes the cells nearest to a query: enough to reach the
recall wanted, measured on images of the index itself.
"""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from job import storage
from job.errors import JobError
from job.progress import Progress
from lookup.index import Index
from lookup.search import ExactSearch, Matches
from lookup.spaces import Vectors, normalized
from lookup.votes import VOTERS

# Up to this many images, exact search takes 0.1 s on two cores.
EXACT_UP_TO = 2_000_000
RECALL = 0.99
_RECALL_QUERIES = 200
_TRAINING_IMAGES_PER_CELL = 64
_FORMAT = 1


@dataclass(frozen=True)
class _Description:
    """The JSON file beside the index in the cache; it keeps the keys of its first version."""

    n_images: int
    probes: int
    recall: float
    format: int = _FORMAT

    def to_json(self) -> dict[str, Any]:
        """Return the description as JSON-ready values."""
        fields = {"pictures": self.n_images, "cells_looked_at": self.probes}
        return {**fields, "recall": self.recall, "format": self.format}

    @classmethod
    def from_json(cls, fields: Any) -> "_Description":
        """Read what `to_json` returned; raises KeyError or TypeError for anything else."""
        return cls(fields["pictures"], fields["cells_looked_at"], fields["recall"], fields["format"])


class IvfIndex:
    """Finds nearly all of the nearest images of an index in a space.

    Parameters
    ----------
    index : Index
    space : float32 array, shape (c, k)
        Matrix that coordinates are multiplied by before they are compared.
    cache : Path
        Folder of this output's inverted files. A missing one is built, which takes a minute for some millions of
        images; those of other runs are deleted.
    progress : Progress

    Attributes
    ----------
    recall : float
        The share of the `lookup.votes.VOTERS` nearest images that a search finds, measured when the file was built.
    """

    def __init__(self, index: Index, space: Vectors, cache: Path, progress: Progress) -> None:
        self._space, run = space, index.description.run
        self._inverted: Any  # faiss calls all that it reads an Index
        file = cache / f"{run}-{sha256(space.tobytes()).hexdigest()[:16]}.faiss"
        saved = _read(file, len(index))
        if saved:
            self._inverted, description = saved
        else:
            progress.say(f"assigning {len(index):,} images to cells, once for each run")
            self._inverted = _build(index, space)
            description = self._tuned(index)
            _write(file, run, self._inverted, description)
        self._inverted.nprobe, self.recall = description.probes, description.recall
        progress.say(
            f"{len(index):,} images: search is approximate and finds {self.recall:.3f} of the {VOTERS} nearest;"
            f" it probes {self._inverted.nprobe:,} of {self._inverted.nlist:,} cells"
        )

    def nearest(self, queries: Vectors, count: int) -> Matches:
        """Return the `count` nearest images of queries, shape (q, c), in the cells that are probed."""
        similarities, rows = self._inverted.search(normalized(queries @ self._space), count)
        similarities[rows < 0] = -np.inf
        return Matches(rows, np.minimum(similarities, 1))

    def _tuned(self, index: Index) -> _Description:
        """Double the number of cells that are probed until the recall is reached."""
        queries = index.coordinates(np.random.default_rng(0).choice(len(index), _RECALL_QUERIES))
        exact = ExactSearch(index, self._space).nearest(queries, VOTERS).rows
        self._inverted.nprobe = 8
        while True:
            found = self.nearest(queries, VOTERS).rows
            recall = float(np.mean([np.isin(*rows).mean() for rows in zip(exact, found, strict=True)]))
            if recall >= RECALL or self._inverted.nprobe >= self._inverted.nlist:
                return _Description(len(index), self._inverted.nprobe, recall)
            self._inverted.nprobe = min(2 * self._inverted.nprobe, self._inverted.nlist)


def _faiss() -> Any:
    try:
        import faiss  # noqa: PLC0415 - slow to load, and seldom needed
    except ModuleNotFoundError:
        raise JobError(f"more than {EXACT_UP_TO:,} images need faiss: pip install -r requirements-lookup.txt") from None
    return faiss


def _build(index: Index, space: Vectors) -> Any:
    """Return faiss' inverted file of an index."""
    faiss, k, n_cells = _faiss(), space.shape[1], max(1, round(4 * len(index) ** 0.5))
    inverted: Any = faiss.index_factory(k, f"IVF{n_cells},Flat", faiss.METRIC_INNER_PRODUCT)
    inverted.cp.max_points_per_centroid = _TRAINING_IMAGES_PER_CELL
    n_training = min(len(index), _TRAINING_IMAGES_PER_CELL * n_cells)
    training = np.random.default_rng(0).choice(len(index), n_training, replace=False)
    inverted.train(normalized(index.coordinates(np.sort(training)) @ space))
    for block in index.blocks:
        inverted.add(normalized(block @ space))
    return inverted


def _read(file: Path, n_images: int) -> tuple[Any, _Description] | None:
    """Return a saved inverted file and its description; None for one that is absent, damaged or of other images."""
    faiss = _faiss()
    try:
        description = _Description.from_json(json.loads(_description_file(file).read_text()))
        inverted = faiss.read_index(str(file), faiss.IO_FLAG_MMAP)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return None
    usable = description.format == _FORMAT and description.n_images == n_images == inverted.ntotal
    return (inverted, description) if usable else None


def _write(file: Path, run: str, inverted: Any, description: _Description) -> None:
    """Save an inverted file with its description, and delete those of other runs."""
    file.parent.mkdir(parents=True, exist_ok=True)
    for old in file.parent.iterdir():
        if not old.name.startswith(f"{run}-"):
            old.unlink(missing_ok=True)
    with storage.create(str(file)) as path:  # another process may have mapped the file that is there
        _faiss().write_index(inverted, str(path))
    storage.write(str(_description_file(file)), json.dumps(description.to_json()).encode())


def _description_file(file: Path) -> Path:
    return file.with_suffix(".json")
