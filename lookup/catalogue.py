"""An output's results, opened for questions: which pictures are near this one, and what does it show."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from job import storage
from lookup.embed import Point, Recipe, read_recipe
from lookup.index import Index, open_index, read_results
from lookup.judge import Judge, known_judge
from lookup.search import Search


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

    Raises
    ------
    JobError
        Where there are no results, or what belongs to them is absent, damaged or of another model.
    """

    def __init__(self, output: str) -> None:
        self.output = storage.absolute(output)
        self.run = read_results(self.output)
        self.index: Index = open_index(self.output, self.run)
        self.recipe: Recipe = read_recipe(self.output, self.run, self.index.description)
        self._search: Search | None = None
        self._judge: Judge | None = None

    def search(self, points: list[Point], count: int) -> list[list[Neighbour]]:
        """Return the nearest pictures of each point, the nearest first."""
        if self._search is None:
            self._search = Search(self.index)
        return self._neighbours(self._search, points, count)

    @property
    def judge(self) -> Judge:
        """Return what tells labels: learned from the index at the first call, and kept beside it."""
        if self._judge is None:
            self._judge = known_judge(self.output, self.run, self.index)
        return self._judge

    def classify(self, points: list[Point], count: int) -> list[Answer]:
        """Return what each point shows, with its `count` nearest pictures."""
        verdicts = self.judge.verdicts(points, count)
        return [
            Answer(
                None if verdict.label < 0 else self.index.names[verdict.label],
                verdict.confidence,
                self._told(verdict.pictures, verdict.similarities),
            )
            for verdict in verdicts
        ]
