"""An output's results, opened for questions: which pictures are near this one, and what does it show."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from job import storage
from job.progress import Progress
from job.results.run_record import current_run
from lookup.calibration import Judge, read_judge
from lookup.embed import Point, Recipe, read_recipe
from lookup.index import Index, cache, open_index
from lookup.ivf import EXACT_UP_TO, Approximate
from lookup.search import Search
from lookup.votes import VOTERS, Vectors, distances, plain_space, vote


@dataclass(frozen=True)
class Neighbour:
    """A picture near the one that was asked about: its number in the index, and what is told of it."""

    picture: int
    path: str
    label: str | None
    similarity: float

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` tells of it."""
        return {"path": self.path, "label": self.label, "similarity": round(self.similarity, 6)}


@dataclass(frozen=True)
class Answer:
    """What a picture shows.

    Attributes
    ----------
    label : str or None
        None where nothing like it is known.
    confidence : float
        How likely the label is right, 0 to 1; 0 without a label.
    neighbours : list of Neighbour
        The nearest first.
    """

    label: str | None
    confidence: float
    neighbours: list[Neighbour]


class Catalogue:
    """The results of one run, with all that is needed to ask about a picture.

    Parameters
    ----------
    output : str
        Folder or `s3://` prefix that a run has written.
    progress : Progress, optional
        Where to say what is learned or made at first use; silent by default.

    Raises
    ------
    JobError
        Where there are no results, or what belongs to them is absent, damaged or of another model.
    """

    def __init__(self, output: str, progress: Progress | None = None) -> None:
        self.output, self._progress = storage.absolute(output), progress or Progress()
        self.run = current_run(self.output)
        self.index: Index = open_index(self.output, self.run)
        self.recipe: Recipe = read_recipe(self.output, self.run, self.index.description)

    @cached_property
    def _plain(self) -> Search | Approximate:
        return self._search_in(plain_space(self.index.width, self.index.description.components))

    def _search_in(self, space: Vectors) -> Search | Approximate:
        if len(self.index) <= EXACT_UP_TO:
            return Search(self.index, space)
        return Approximate(self.index, space, cache("approximate", self.output), self._progress)

    @cached_property
    def _judge(self) -> Judge:
        return read_judge(self.output, self.run, self.index, self._progress)

    @cached_property
    def _learned(self) -> Search | Approximate:
        return self._search_in(self._judge.space)

    def prepare(self) -> None:
        """Do before the first question to `classify` what is done once; raises `JobError` where nothing has a label."""
        _ = self._learned

    def search(self, points: Sequence[Point], count: int) -> list[list[Neighbour]]:
        """Return the `count` nearest pictures of each point, the nearest first."""
        near = self._plain.nearest(_coordinates(points), count)
        return [self._neighbours(*row) for row in zip(near.pictures, near.similarities, strict=True)]

    def classify(self, points: Sequence[Point], count: int) -> list[Answer]:
        """Return what each point shows, with its `count` nearest pictures."""
        index, judge = self.index, self._judge
        coordinates, residuals = _coordinates(points), np.array([point.residual for point in points])
        near = self._learned.nearest(coordinates, min(max(count, VOTERS), len(index)))
        voters = near.pictures[:, :VOTERS]
        none = voters < 0  # an approximate search may find fewer
        votes = vote(np.where(none, -1, index.labels[voters]), near.similarities[:, :VOTERS])
        k, others = index.description.components, index.coordinates(voters.ravel()).reshape(*voters.shape, -1)
        others[none] = np.inf
        known = (distances(coordinates[:, :k], residuals, others[..., :k]) <= judge.beyond) & (votes.labels >= 0)
        confidences = judge.calibration.confidence(votes.margins)
        return [
            Answer(
                index.names[label] if sure else None,
                float(confidence) if sure else 0.0,
                self._neighbours(pictures[:count], similarities[:count]),
            )
            for label, sure, confidence, pictures, similarities in zip(
                votes.labels, known, confidences, near.pictures, near.similarities, strict=True
            )
        ]

    def _neighbours(self, pictures: NDArray[np.int64], similarities: NDArray[np.float32]) -> list[Neighbour]:
        return [
            Neighbour(picture, self.index.path(picture), self.index.label(picture), similarity)
            for picture, similarity in zip(pictures.tolist(), similarities.tolist(), strict=True)
            if picture >= 0
        ]


def _coordinates(points: Sequence[Point]) -> Vectors:
    return np.stack([point.coordinates for point in points])
