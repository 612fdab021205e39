"""A sample in, the images that are points on the page's map, and their data, out."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from job.curation.findings import Findings
from job.curation.sampling import ImageSample


@dataclass(frozen=True)
class Points:
    """The points of the map.

    Attributes
    ----------
    prefix : str
        Start of all paths, which `path` leaves out.
    path : list of str
    label : list of int
        Index into `names`, -1 for none.
    names : list of str
    components : int
        k, the number of coordinates of each point.
    coordinates : str
        int16 array, shape (n, k), little-endian, in Base64.
    scale : list of float
        k factors: a coordinate is its int16 times the factor of its component.
    """

    prefix: str
    path: list[str]
    label: list[int]
    names: list[str]
    components: int
    coordinates: str
    scale: list[float]


def choose_rows(named: set[int], n: int, count: int) -> list[int]:
    """Return `count` rows of n, or all: those that lists name, however many, and others drawn evenly; in order."""
    others = np.setdiff1d(np.arange(n), sorted(named))
    drawn = np.random.default_rng(0).permutation(others)[: max(0, count - len(named))]
    return sorted([*named, *drawn.tolist()])


def points(sample: ImageSample, findings: Findings, rows: Sequence[int], root: str) -> Points:
    """Return rows of a sample as points; `root` is the address of the folder that was listed."""
    paths = [sample.paths[row] for row in rows]
    prefix = f"{root}/" if all(path.startswith(f"{root}/") for path in paths) else ""
    values = sample.coordinates[rows]
    scale = np.maximum(np.abs(values).max(axis=0, initial=0), 1e-30) / 32767
    return Points(
        prefix,
        [path[len(prefix) :] for path in paths],
        findings.labels[rows].tolist(),
        findings.label_names,
        values.shape[1],
        base64.b64encode(np.rint(values / scale).astype("<i2").tobytes()).decode(),
        scale.tolist(),
    )
