"""The results that the service answers from: the current ones, replaced as soon as a run has committed new ones."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from job import storage
from job.results.run_record import current_run
from lookup.classifier import Answer, Catalogue
from lookup.embed import Embedders
from lookup.log import LogProgress
from lookup.thumbnail import thumbnail, thumbnails

THUMBNAIL = 160
_THUMBNAILS_KEPT = 500


@dataclass(frozen=True)
class Limits:
    """What one picture may take: `pixels`, and `seconds` to decode it; `workers` pictures are worked on at a time."""

    pixels: int = 50_000_000
    seconds: float = 10.0
    workers: int = os.cpu_count() or 1


class _Open:
    """A catalogue with its embedders, and how many requests are using them."""

    def __init__(self, output: str, limits: Limits) -> None:
        self.catalogue = Catalogue(output, LogProgress())
        self.catalogue.prepare()
        self.embedders = Embedders(self.catalogue.recipe.limited(limits.pixels, limits.seconds), limits.workers)
        self.users = 0


class Desk:
    """Answers questions from many threads; to be closed, or used in a `with` statement.

    Parameters
    ----------
    output : str
        Folder or `s3://` prefix that a run has written.
    limits : Limits

    Raises
    ------
    JobError
        As `Catalogue`.
    """

    def __init__(self, output: str, limits: Limits) -> None:
        self._output, self._limits = storage.absolute(output), limits
        self._lock = threading.Lock()
        self._open = _Open(self._output, limits)
        self._closed = False
        self._thumbnails: dict[tuple[str, int], bytes] = {}
        self._tiles = thumbnails(THUMBNAIL, limits.pixels, limits.seconds)
        self._tile_lock = threading.Lock()

    def __enter__(self) -> "Desk":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """End the child processes, once the last question has been answered."""
        with self._lock:
            self._closed = True
            idle = self._open.users == 0
        if idle:
            self._open.embedders.close()
        with self._tile_lock:
            self._tiles.close()

    @contextmanager
    def _borrowed(self) -> Iterator[_Open]:
        """Yield what is current; whoever is the last to use what no longer is closes it."""
        with self._lock:
            mine = self._open
            mine.users += 1
        try:
            yield mine
        finally:
            with self._lock:
                mine.users -= 1
                last = mine.users == 0 and (mine is not self._open or self._closed)
            if last:
                mine.embedders.close()

    def answer(self, data: bytes, count: int) -> tuple[str, Answer]:
        """Return the run that was asked and what a picture shows; raises `Rejected` where it cannot be used."""
        with self._borrowed() as mine:
            point = mine.embedders.point(data)
            return mine.catalogue.run.run, mine.catalogue.classify([point], count)[0]

    def thumbnail(self, run: str, picture: int) -> bytes | None:
        """Return a small JPEG of a picture of the index, None where there is none any more; raises `Rejected`."""
        with self._borrowed() as mine:
            catalogue = mine.catalogue
            if run != catalogue.run.run or not 0 <= picture < len(catalogue.index):
                return None
            path = catalogue.index.path(picture)
        key = (run, picture)
        if key in self._thumbnails:
            return self._thumbnails[key]
        try:
            data = storage.read(path)
        except OSError:
            return None
        with self._tile_lock:
            small = thumbnail(self._tiles, data)
            if len(self._thumbnails) >= _THUMBNAILS_KEPT:
                self._thumbnails.clear()
            self._thumbnails[key] = small
        return small

    def about(self) -> dict[str, Any]:
        """Return what the service answers from: run, pictures, labels, model."""
        with self._borrowed() as mine:
            catalogue = mine.catalogue
            return {
                "run": catalogue.run.run,
                "pictures": len(catalogue.index),
                "labels": len(catalogue.index.names),
                "model": catalogue.recipe.model.description.name,
            }

    def reload(self) -> str | None:
        """Take up new results if there are any, and return their run.

        Raises
        ------
        JobError, OSError
            Where they cannot be read: the old ones stay.
        """
        if current_run(self._output).run == self._open.catalogue.run.run:
            return None
        new = _Open(self._output, self._limits)
        with self._lock:
            late = self._closed
            old, self._open = self._open, self._open if late else new
            idle = old.users == 0
        if late:
            new.embedders.close()
            return None
        if idle:
            old.embedders.close()
        return new.catalogue.run.run
