"""Neighbors in, a label and its margin out. NumPy only.

Letters: q queries, m voters. A label is a number from 0 on, -1 where there is none.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookup.spaces import Labels

# Neighbors that vote, and how fast a vote fades with similarity: one that is less similar by this counts a third.
# On rendered fruit seen from other sides (benchmarks.naming) fewer voters, or votes that fade slower, did no better.
VOTERS = 30
FADING = 0.02


@dataclass(frozen=True)
class Votes:
    """The outcome of the votes for each query.

    Attributes
    ----------
    labels : int64 array, shape (q,)
        Winners; -1 where no neighbor has a label.
    margins : float64 array, shape (q,)
        The winner's share of the votes less that of the second, 0 to 1.
    """

    labels: NDArray[np.int64]
    margins: NDArray[np.float64]


def vote(labels: Labels, similarities: NDArray[np.floating[Any]]) -> Votes:
    """Count the votes of neighbors, weighted by similarity.

    Parameters
    ----------
    labels : int array, shape (q, m)
        Neighbors with a label below 0 do not vote.
    similarities : float array, shape (q, m)
    """
    voting = labels >= 0
    highest = np.where(voting, similarities, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    weights = np.exp(
        (similarities - np.where(np.isfinite(highest), highest, 0)) / FADING, where=voting, out=np.zeros(voting.shape)
    )
    same_label = labels[:, :, None] == labels[:, None, :]
    shares = np.einsum("qmn,qn->qm", same_label, weights)  # of the votes, for each neighbor's label
    rows = np.arange(len(labels))
    winners = shares.argmax(axis=1)
    second = np.where(labels == labels[rows, winners, None], 0, shares).max(axis=1)
    totals = weights.sum(axis=1)
    margins = np.divide(shares[rows, winners] - second, totals, out=np.zeros(len(labels)), where=totals > 0)
    return Votes(np.where(totals > 0, labels[rows, winners], -1).astype(np.int64), margins)
