"""The results that the service answers from: the current ones, replaced as soon as a run has committed new ones."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from job import storage
from job.results.run_record import current_run
from lookup.classifier import Classifier, Prediction
from lookup.embed import EmbedderPool
from lookup.log import LogProgress
from lookup.thumbnail import Thumbnailer

THUMBNAIL_SIDE = 160
_CACHED_THUMBNAILS = 500


@dataclass(frozen=True)
class ImageLimits:
    """Limits of one photo.

    Attributes
    ----------
    pixels : int
    seconds : float
        Time that decoding it may take.
    workers : int
        Photos that are embedded at a time.
    """

    pixels: int = 50_000_000
    seconds: float = 10.0
    workers: int = os.cpu_count() or 1


class _Generation:
    """The results of one run, opened, and the number of requests that use them."""

    def __init__(self, output: str, limits: ImageLimits) -> None:
        self.classifier = Classifier(output, LogProgress())
        self.classifier.prepare()
        pipeline = self.classifier.pipeline.limited(limits.pixels, limits.seconds)
        self.embedders = EmbedderPool(pipeline, limits.workers)
        self.users = 0

    @property
    def run(self) -> str:
        return self.classifier.run.run


class Reloader:
    """Answers from the current results, to many threads; to be closed, or used in a `with` statement.

    Parameters
    ----------
    output : str
        Folder or `s3://` prefix that a run has written.
    limits : ImageLimits

    Raises
    ------
    JobError
        As `Classifier`.
    """

    def __init__(self, output: str, limits: ImageLimits) -> None:
        self._output, self._limits = storage.absolute(output), limits
        self._lock = threading.Lock()
        self._current = _Generation(self._output, limits)
        self._closed = False
        self._thumbnails: dict[tuple[str, int], bytes] = {}
        self._thumbnailer = Thumbnailer(THUMBNAIL_SIDE, limits.pixels, limits.seconds)
        self._thumbnail_lock = threading.Lock()

    def __enter__(self) -> "Reloader":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """End the child processes, after the last request is answered."""
        with self._lock:
            self._closed = True
            idle = self._current.users == 0
        if idle:
            self._current.embedders.close()
        with self._thumbnail_lock:
            self._thumbnailer.close()

    @contextmanager
    def _borrowed(self) -> Iterator[_Generation]:
        """Yield the current results; the last user of replaced ones closes them."""
        with self._lock:
            generation = self._current
            generation.users += 1
        try:
            yield generation
        finally:
            with self._lock:
                generation.users -= 1
                last = generation.users == 0 and (generation is not self._current or self._closed)
            if last:
                generation.embedders.close()

    def classify(self, data: bytes, count: int) -> tuple[str, Prediction]:
        """Return the current run and a photo's prediction with `count` neighbors.

        Raises
        ------
        Rejected
            Where the photo cannot be used.
        """
        with self._borrowed() as generation:
            embedding = generation.embedders.embed(data)
            return generation.run, generation.classifier.classify([embedding], count)[0]

    def thumbnail(self, run: str, row: int) -> bytes | None:
        """Return a small JPEG of an image of the index, None where it no longer exists; raises `Rejected`."""
        with self._borrowed() as generation:
            index = generation.classifier.index
            if run != generation.run or not 0 <= row < len(index):
                return None
            path = index.path(row)
        key = (run, row)
        if key in self._thumbnails:
            return self._thumbnails[key]
        try:
            data = storage.read(path)
        except OSError:
            return None
        with self._thumbnail_lock:
            small = self._thumbnailer.thumbnail(data)
            if len(self._thumbnails) >= _CACHED_THUMBNAILS:
                self._thumbnails.clear()
            self._thumbnails[key] = small
        return small

    def health(self) -> dict[str, Any]:
        """Return the current run, its numbers of images and labels, and its model, by the keys of `/health`."""
        with self._borrowed() as generation:
            classifier = generation.classifier
            return {
                "run": generation.run,
                "pictures": len(classifier.index),
                "labels": len(classifier.index.names),
                "model": classifier.pipeline.model.description.name,
            }

    def reload(self) -> str | None:
        """Open new results if there are any, and return their run.

        Raises
        ------
        JobError, OSError
            Where they cannot be read: the old ones stay.
        """
        if current_run(self._output).run == self._current.run:
            return None
        new = _Generation(self._output, self._limits)
        with self._lock:
            closed = self._closed
            old, self._current = self._current, self._current if closed else new
            idle = old.users == 0
        if closed:
            new.embedders.close()
            return None
        if idle:
            old.embedders.close()
        return new.run
