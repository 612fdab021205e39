"""Neighbours in, a label out: the mathematics of naming a picture. NumPy only.

Letters: n pictures that are known, q that are asked about, c coordinates, of which k are components, m voters. A label
is a number from 0 on, -1 where there is none.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Neighbours that vote, and how fast a vote fades with similarity: one that is less alike by this counts a third.
# On rendered fruit seen from other sides (benchmarks.naming) fewer voters, or votes that fade slower, did no better.
VOTERS = 30
FADING = 0.02
# Share of the mean variance that is added to what pictures of one label differ by.
_SHRINKAGE = 0.1

Labels = NDArray[np.integer[Any]]
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Votes:
    """What neighbours vote for: labels int64 [q], -1 where none has one, and margins [q], 0 to 1.

    A margin is the winner's share of the votes less that of the second.
    """

    labels: NDArray[np.int64]
    margins: NDArray[np.float64]


def vote(labels: Labels, similarities: NDArray[np.floating[Any]]) -> Votes:
    """Count the votes of neighbours with labels [q, m] and similarities [q, m]; a label below 0 has none."""
    voting = labels >= 0
    nearest = np.where(voting, similarities, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    weights = np.exp(
        (similarities - np.where(np.isfinite(nearest), nearest, 0)) / FADING, where=voting, out=np.zeros(voting.shape)
    )
    same = labels[:, :, None] == labels[:, None, :]
    shares = np.einsum("qmn,qn->qm", same, weights)  # of the votes, for each neighbour's label
    rows = np.arange(len(labels))
    winner = shares.argmax(axis=1)
    second = np.where(labels == labels[rows, winner, None], 0, shares).max(axis=1)
    total = weights.sum(axis=1)
    margins = np.divide(shares[rows, winner] - second, total, out=np.zeros(len(labels)), where=total > 0)
    return Votes(np.where(total > 0, labels[rows, winner], -1).astype(np.int64), margins)


def plain_space(coordinates: int, components: int) -> Vectors:
    """Return the matrix [c, k] that leaves of coordinates the components, as they are."""
    return np.eye(coordinates, components, dtype=np.float32)


def learn_space(coordinates: Vectors, labels: Labels) -> Vectors:
    """Return the matrix [c, c] that evens out what pictures of one label differ by, from coordinates [n, c].

    The inverse square root of the mean covariance within labels, shrunk towards a multiple of the identity: directions
    in which one fruit's pictures vary count less, others more (within-class covariance normalisation: Hatch, Kajarekar,
    Stolcke, Interspeech 2006). The identity where no label has two pictures that differ.
    """
    c, numbers = coordinates.shape[1], labels[labels >= 0]
    names, places, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    free = len(numbers) - len(names)
    if free < 1:
        return np.eye(c, dtype=np.float32)
    values = coordinates[labels >= 0].astype(np.float64)
    apart = values - label_means(values, places, counts)[places]
    within = apart.T @ apart
    if np.trace(within) <= 0:
        return np.eye(c, dtype=np.float32)
    within /= free
    even = np.trace(within) / c
    variances, directions = np.linalg.eigh((1 - _SHRINKAGE) * within + _SHRINKAGE * even * np.eye(c))
    return np.asarray(directions / np.sqrt(variances / even) @ directions.T, np.float32)


def unit(vectors: NDArray[np.floating[Any]]) -> Vectors:
    """Return vectors [n, k] with the length 1, or 0 where they have none."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0), np.float32)


def label_means(values: NDArray[np.float64], places: Labels, counts: Labels) -> NDArray[np.float64]:
    """Return the means [l, k] of values [n, k] whose places [n] are 0 to l - 1, each as often as `counts` [l] says."""
    starts = np.cumsum(counts) - counts
    sums = np.add.reduceat(values[np.argsort(places, kind="stable")], starts, axis=0)
    means: NDArray[np.float64] = sums / counts[:, None]
    return means


def distances(components: Vectors, residual: NDArray[np.floating[Any]], others: Vectors) -> NDArray[np.float64]:
    """Return how far points [q, k] are from the nearest of their neighbours [q, m, k]: [q].

    The residuals [q] count in full: a picture unlike all that the basis was fitted to may come to lie anywhere among
    them, and only its residual tells.
    """
    gaps = others.astype(np.float64) - components[:, None]
    nearest = np.einsum("qmk,qmk->qm", gaps, gaps).min(axis=1, initial=np.inf)
    result: NDArray[np.float64] = np.sqrt(nearest + np.asarray(residual, np.float64) ** 2)
    return result


@dataclass(frozen=True)
class Calibration:
    """Turns margins into probabilities of being right: 1 / (1 + exp(-(slope * margin + offset)))."""

    slope: float
    offset: float

    def confidence(self, margins: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probabilities [q] that votes with these margins [q] are right."""
        result: NDArray[np.float64] = 1 / (1 + np.exp(-(self.slope * margins + self.offset)))
        return result


def calibrate(margins: NDArray[np.float64], right: NDArray[np.bool_]) -> Calibration:
    """Fit a calibration to votes of which it is known whether they were right.

    Platt's scaling with his targets, which keep it from certainty where all votes were right (Platt 1999; Newton's
    method as in Lin, Lin and Weng, Machine Learning 68 (2007) 267-276). A larger margin never means less.
    """
    good = int(right.sum())
    targets = np.where(right, (good + 1) / (good + 2), 1 / (len(right) - good + 2))
    design = np.stack([margins, np.ones_like(margins)], axis=1)
    weights = np.array([0.0, np.log((good + 1) / (len(right) - good + 1))])
    for _ in range(100):
        chance = 1 / (1 + np.exp(-design @ weights))
        gradient = design.T @ (chance - targets) + 1e-6 * weights
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + 1e-6 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        step /= max(1.0, float(np.abs(step).max()) / 2)  # far from the optimum a full step may overshoot
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    if weights[0] < 0:
        return Calibration(0.0, float(np.log((good + 1) / (len(right) - good + 1))))
    return Calibration(float(weights[0]), float(weights[1]))
