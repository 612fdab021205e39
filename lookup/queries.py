"""Paths in, results out: embeds images in parallel, and looks them up many at a time."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from job import storage
from job.images.rejection import Rejected
from job.progress import Progress
from lookup.classifier import Neighbor, Prediction
from lookup.embed import EmbedderPool, Embedding, Pipeline

# Each search reads the whole index: it serves this many images.
_BATCH = 64


@dataclass(frozen=True)
class QueryResult:
    """One image that was looked up.

    Attributes
    ----------
    path : str
    neighbors : list of Neighbor
        The nearest first; none where the image cannot be used.
    prediction : Prediction, optional
        Its label, from `classify`.
    error : str, optional
        Why the image cannot be used.
    """

    path: str
    neighbors: list[Neighbor]
    prediction: Prediction | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON-ready values; the keys are documented."""
        fields: dict[str, Any] = {"path": self.path}
        if self.prediction:
            fields |= {"label": self.prediction.label, "confidence": round(self.prediction.confidence, 4)}
        fields["neighbours"] = [neighbor.to_json() for neighbor in self.neighbors]
        return fields | ({"error": self.error} if self.error else {})


Matcher = Callable[[list[Embedding]], Sequence[tuple[list[Neighbor], Prediction | None]]]


def look_up(paths: Sequence[str], pipeline: Pipeline, match: Matcher, progress: Progress) -> list[QueryResult]:
    """Return a result for each path, in order.

    Parameters
    ----------
    paths : sequence of str
    pipeline : Pipeline
    match : callable
        Returns the neighbors of each embedding, and its prediction or None.
    progress : Progress
    """
    results: list[QueryResult] = []
    with (
        EmbedderPool(pipeline, min(len(paths), os.cpu_count() or 1)) as embedders,
        progress.counting("looked up", len(paths)) as update,
    ):
        embedded = _embedded(paths, embedders)
        while batch := list(islice(embedded, _BATCH)):
            results += _results(batch, match)
            update(len(results))
    return results


def _embedded(paths: Sequence[str], embedders: EmbedderPool) -> Iterator[tuple[str, Embedding | Rejected]]:
    """Yield each path with its image's embedding, or the reason why there is none."""

    def embed(path: str) -> Embedding | Rejected:
        try:
            return embedders.embed(storage.read(path))
        except Rejected as rejected:
            return rejected
        except OSError as error:
            return Rejected("cannot be read", error.strerror or str(error))

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield from zip(paths, pool.map(embed, paths), strict=True)


def _results(batch: Sequence[tuple[str, Embedding | Rejected]], match: Matcher) -> Iterator[QueryResult]:
    usable = [embedding for _, embedding in batch if isinstance(embedding, Embedding)]
    matches = iter(match(usable) if usable else ())
    for path, embedding in batch:
        shown = storage.text(path)
        if isinstance(embedding, Rejected):
            yield QueryResult(shown, [], error=str(embedding))
        else:
            yield QueryResult(shown, *next(matches))
