"""The results of a run, opened for queries: which images are nearest to a photo, and which label it gets."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from job import storage
from job.progress import Progress
from job.results.run_record import current_run
from lookup.cache import cache_folder
from lookup.calibration import Calibration, read_calibration
from lookup.embed import Embedding, Pipeline, read_pipeline
from lookup.index import Index, open_index
from lookup.ivf import EXACT_UP_TO, IvfIndex
from lookup.search import ExactSearch, Matches
from lookup.spaces import Vectors, component_space, nearest_distances
from lookup.votes import VOTERS, vote


@dataclass(frozen=True)
class Neighbor:
    """An image of the index near a photo: its row, path and label, and its similarity to the photo."""

    row: int
    path: str
    label: str | None
    similarity: float

    def to_json(self) -> dict[str, Any]:
        """Return the neighbor as JSON-ready values."""
        return {"path": self.path, "label": self.label, "similarity": round(self.similarity, 6)}


@dataclass(frozen=True)
class Prediction:
    """The label of a photo.

    Attributes
    ----------
    label : str or None
        None where no image like it is known.
    confidence : float
        Probability that the label is right, 0 to 1; 0 without a label.
    neighbors : list of Neighbor
        The nearest first.
    """

    label: str | None
    confidence: float
    neighbors: list[Neighbor]


class Classifier:
    """Finds the nearest images of photos among the results of one run, and names the photos by them.

    Parameters
    ----------
    output : str
        Folder or `s3://` prefix that a run has written.
    progress : Progress, optional
        Takes a line for each thing that is learned or built at first use; silent by default.
    exact_up_to : int
        Number of images up to which the search is exact; beyond it, faiss searches.

    Raises
    ------
    JobError
        Where there are no results, or their index, model or basis is absent, damaged or of another run.
    """

    def __init__(self, output: str, progress: Progress | None = None, exact_up_to: int = EXACT_UP_TO) -> None:
        self.output, self._progress = storage.absolute(output), progress or Progress()
        self._exact_up_to = exact_up_to
        self.run = current_run(self.output)
        self.index: Index = open_index(self.output, self.run)
        self.pipeline: Pipeline = read_pipeline(self.output, self.run, self.index.description)

    @cached_property
    def _component_search(self) -> ExactSearch | IvfIndex:
        return self._search_in(component_space(self.index.width, self.index.description.components))

    @cached_property
    def _calibrated_search(self) -> ExactSearch | IvfIndex:
        return self._search_in(self._calibration.space)

    @cached_property
    def _calibration(self) -> Calibration:
        return read_calibration(self.output, self.run, self.index, self._progress)

    def _search_in(self, space: Vectors) -> ExactSearch | IvfIndex:
        if len(self.index) <= self._exact_up_to:
            return ExactSearch(self.index, space)
        return IvfIndex(self.index, space, cache_folder("approximate", self.output), self._progress)

    def prepare(self) -> None:
        """Do once what the first call of `classify` would wait for; raises `JobError` where no image has a label."""
        _ = self._calibrated_search

    def search(self, embeddings: Sequence[Embedding], count: int) -> list[list[Neighbor]]:
        """Return the `count` nearest images of each embedding, the nearest first."""
        matches = self._component_search.nearest(_coordinates(embeddings), count)
        return self._all_neighbors(matches, count)

    def classify(self, embeddings: Sequence[Embedding], count: int) -> list[Prediction]:
        """Return the prediction for each embedding, with its `count` nearest images."""
        coordinates, residuals = _coordinates(embeddings), np.array([embedding.residual for embedding in embeddings])
        matches = self._calibrated_search.nearest(coordinates, min(max(count, VOTERS), len(self.index)))
        rows = matches.rows[:, :VOTERS]
        absent = rows < 0  # an approximate search may find fewer
        votes = vote(np.where(absent, -1, self.index.labels[rows]), matches.similarities[:, :VOTERS])
        known = (votes.labels >= 0) & (
            self._distances(coordinates, residuals, rows) <= self._calibration.unknown_threshold
        )
        confidences = np.where(known, self._calibration.scaling.confidence(votes.margins), 0)
        neighbors = self._all_neighbors(matches, count)
        return [
            Prediction(self.index.names[label] if is_known else None, float(confidence), nearest)
            for label, is_known, confidence, nearest in zip(votes.labels, known, confidences, neighbors, strict=True)
        ]

    def _distances(
        self, coordinates: Vectors, residuals: NDArray[np.float64], rows: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return each query's distance, shape (q,), to the nearest of its voters, whose rows have the shape (q, m)."""
        k = self.index.description.components
        voters = self.index.coordinates(rows.ravel()).reshape(*rows.shape, -1)
        voters[rows < 0] = np.inf
        return nearest_distances(coordinates[:, :k], residuals, voters[..., :k])

    def _all_neighbors(self, matches: Matches, count: int) -> list[list[Neighbor]]:
        rows, similarities = matches.rows[:, :count], matches.similarities[:, :count]
        return [self._neighbors(*match) for match in zip(rows, similarities, strict=True)]

    def _neighbors(self, rows: NDArray[np.int64], similarities: NDArray[np.float32]) -> list[Neighbor]:
        return [
            Neighbor(row, self.index.path(row), self.index.label(row), similarity)
            for row, similarity in zip(rows.tolist(), similarities.tolist(), strict=True)
            if row >= 0
        ]


def _coordinates(embeddings: Sequence[Embedding]) -> Vectors:
    return np.stack([embedding.coordinates for embedding in embeddings])
