"""Points in, nearly always the nearest pictures out: faiss' inverted file, for where there are too many to compare.

Pictures are assigned to cells by their direction; of the cells nearest to a point so many are looked at that the share
of true neighbours found, measured on pictures of the index itself, is what is wanted.
"""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from job import storage
from job.errors import JobError
from job.progress import Progress
from lookup.index import Index
from lookup.search import Neighbours, Search
from lookup.votes import VOTERS, Vectors, unit

# Up to so many pictures are compared one by one: 0.1 s on two cores.
EXACT_UP_TO = 2_000_000
RECALL = 0.99
_ASKED = 200  # pictures that the recall is measured on
_TRAINING = 64  # pictures that a cell is placed by
_FORMAT = 1


@dataclass(frozen=True)
class _Description:
    """What stands beside the index in the cache."""

    pictures: int
    cells_looked_at: int
    recall: float
    format: int = _FORMAT


class Approximate:
    """Finds the nearest pictures of an index, in a space, but for a few.

    Parameters
    ----------
    index : Index
    space : float32 array [c, k]
        Coordinates times this are what is compared.
    cache : Path
        Folder of this output's inverted files; one is made where it is not there, a minute for some millions of
        pictures, and those of other runs are deleted.
    progress : Progress

    Attributes
    ----------
    recall : float
        The share of the `lookup.votes.VOTERS` nearest that are found, measured when it was made.
    """

    def __init__(self, index: Index, space: Vectors, cache: Path, progress: Progress) -> None:
        try:
            import faiss  # noqa: PLC0415 - slow to load, and seldom needed
        except ModuleNotFoundError:
            raise JobError(
                f"for more than {EXACT_UP_TO:,} pictures faiss is needed: pip install -r requirements-lookup.txt"
            ) from None
        self._space, run = space, index.description.run
        self._cells: Any  # faiss calls all that it reads an Index
        file = cache / f"{run}-{sha256(space.tobytes()).hexdigest()[:16]}.faiss"
        about = file.with_suffix(".json")
        try:
            told = _Description(**json.loads(about.read_text()))
            self._cells = faiss.read_index(str(file), faiss.IO_FLAG_MMAP)
            usable = told.format == _FORMAT and told.pictures == len(index) == self._cells.ntotal
        except (OSError, ValueError, TypeError, RuntimeError):
            usable = False
        if not usable:
            progress.say(f"placing {len(index):,} pictures in cells, once for each run")
            self._cells = _place(index, space)
            told = self._measured(index)
            cache.mkdir(parents=True, exist_ok=True)
            for old in cache.iterdir():
                if not old.name.startswith(f"{run}-"):
                    old.unlink(missing_ok=True)
            with storage.create(str(file)) as path:  # another process may have mapped what is there
                faiss.write_index(self._cells, str(path))
            storage.write(str(about), json.dumps(asdict(told)).encode())
        self._cells.nprobe, self.recall = told.cells_looked_at, told.recall
        progress.say(
            f"{len(index):,} pictures: search is approximate and finds {self.recall:.3f} of the {VOTERS} nearest;"
            f" it looks at {self._cells.nprobe:,} of {self._cells.nlist:,} cells"
        )

    def nearest(self, points: Vectors, count: int) -> Neighbours:
        """Return the `count` nearest pictures of points [q, c] among those in the cells that are looked at."""
        similarities, pictures = self._cells.search(unit(points @ self._space), count)
        similarities[pictures < 0] = -np.inf
        return Neighbours(pictures, np.minimum(similarities, 1))

    def _measured(self, index: Index) -> _Description:
        """Look at twice as many cells until enough of the true neighbours are found."""
        asked = index.coordinates(np.random.default_rng(0).choice(len(index), _ASKED))
        true = Search(index, self._space).nearest(asked, VOTERS).pictures
        self._cells.nprobe = 8
        while True:
            found = self.nearest(asked, VOTERS).pictures
            recall = float(np.mean([np.isin(*rows).mean() for rows in zip(true, found, strict=True)]))
            if recall >= RECALL or self._cells.nprobe >= self._cells.nlist:
                return _Description(len(index), self._cells.nprobe, recall)
            self._cells.nprobe = min(2 * self._cells.nprobe, self._cells.nlist)


def _place(index: Index, space: Vectors) -> Any:
    """Return faiss' inverted file of an index."""
    import faiss  # noqa: PLC0415 - as above

    k, cells = space.shape[1], max(1, round(4 * len(index) ** 0.5))
    inverted: Any = faiss.index_factory(k, f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT)
    inverted.cp.max_points_per_centroid = _TRAINING
    some = np.random.default_rng(0).choice(len(index), min(len(index), _TRAINING * cells), replace=False)
    inverted.train(unit(index.coordinates(np.sort(some)) @ space))
    for block in index.blocks:
        inverted.add(unit(block @ space))
    return inverted
