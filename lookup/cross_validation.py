"""Cross-validation on a sample of the index: each picture is named by pictures of other folds. NumPy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookup.index import Index
from lookup.votes import VOTERS, Labels, Vectors, distances, label_means, learn_space, plain_space, unit, vote

FOLDS = 5
# Pictures whose squared distance is at most this share of what it is between pictures of their labels, in the mean,
# count as near-duplicates: frames of one turning fruit are. No fixed distance would do for every model.
DUPLICATE = 0.1
_ROWS = 512


@dataclass(frozen=True)
class Sample:
    """Labelled pictures of an index.

    Attributes
    ----------
    coordinates : float32 array [n, c]
    components : float32 array [n, k]
        The first of the coordinates; by them is told what is a near-duplicate, and what is far.
    residuals : float32 array [n]
    labels : int array [n]
    groups : int array [n]
        Near-duplicates, and what they are near-duplicates of in turn, have one number.
    """

    coordinates: Vectors
    components: Vectors
    residuals: NDArray[np.float32]
    labels: Labels
    groups: NDArray[np.int64]

    @property
    def of_several_groups(self) -> NDArray[np.bool_]:
        """Return which pictures have a label that other groups have too: of the others a split leaves nothing."""
        pairs = np.unique(np.stack([self.labels, self.groups]), axis=1)
        names, counts = np.unique(pairs[0], return_counts=True)
        return np.isin(self.labels, names[counts > 1])


def draw(index: Index, most: int) -> Sample:
    """Return at most so many of an index's labelled pictures, drawn evenly, the same each time."""
    labelled = np.flatnonzero(index.labels >= 0)
    if len(labelled) > most:
        labelled = np.sort(np.random.default_rng(0).choice(labelled, most, replace=False))
    coordinates, labels = index.coordinates(labelled), index.labels[labelled]
    components = coordinates[:, : index.description.components]
    return Sample(coordinates, components, index.residuals[labelled], labels, _groups(components, labels))


def _groups(components: Vectors, labels: Labels) -> NDArray[np.int64]:
    """Return the number of each picture's group: the smallest number of any picture in it."""
    values = components.astype(np.float64)
    squares, near = np.einsum("nk,nk->n", values, values), DUPLICATE * _spreads(values, labels)
    groups = np.arange(len(values))
    for start in range(0, len(values), _ROWS):
        rows = slice(start, start + _ROWS)
        gaps = squares[rows, None] + squares - 2 * values[rows] @ values.T
        one, two = np.nonzero(gaps <= np.minimum(near[rows, None], near))
        _join(groups, one + start, two)
    return groups


def _join(groups: NDArray[np.int64], one: NDArray[np.intp], two: NDArray[np.intp]) -> None:
    """Give both ends of each edge one number, and all that had the numbers of either."""
    while not np.array_equal(groups[one], groups[two]):
        np.minimum.at(groups, np.maximum(groups[one], groups[two]), np.minimum(groups[one], groups[two]))
        while not np.array_equal(groups, groups[groups]):
            groups[:] = groups[groups]


def _spreads(values: NDArray[np.float64], labels: Labels) -> NDArray[np.float64]:
    """Return for each picture the mean squared distance between two of its label, 0 for the only one."""
    _, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
    apart = values - label_means(values, places, counts)[places]
    sums = np.bincount(places, np.einsum("nk,nk->n", apart, apart))
    spreads = np.divide(2 * sums, counts - 1, out=np.zeros(len(counts)), where=counts > 1)
    result: NDArray[np.float64] = spreads[places]
    return result


def grouped_folds(sample: Sample) -> NDArray[np.int64]:
    """Return a fold for each picture such that no group straddles two, and each label's groups are spread over them."""
    folds, load = np.zeros(len(sample.labels), np.int64), np.zeros(FOLDS)
    names, first, sizes = np.unique(sample.groups, return_index=True, return_counts=True)
    of_label: dict[int, NDArray[np.float64]] = {}
    for group in np.lexsort((-sizes, sample.labels[first])):
        own = of_label.setdefault(int(sample.labels[first[group]]), np.zeros(FOLDS))
        fold = int(np.lexsort((load, own))[0])
        folds[sample.groups == names[group]] = fold
        own[fold] += sizes[group]
        load[fold] += sizes[group]
    return folds


def naive_folds(sample: Sample) -> NDArray[np.int64]:
    """Return a fold for each picture, dealt at random: near-duplicates may stand on both sides."""
    return np.random.default_rng(0).permutation(len(sample.labels)) % FOLDS


@dataclass(frozen=True)
class Outcome:
    """What pictures of one fold are named by those of the others, for all folds.

    Attributes
    ----------
    votes : int64 array [n]
    margins : float64 array [n]
    right : bool array [n]
    distances : float64 array [n]
        From the nearest voter: see `lookup.votes.distances`.
    """

    votes: NDArray[np.int64]
    margins: NDArray[np.float64]
    right: NDArray[np.bool_]
    distances: NDArray[np.float64]


def cross_validate(sample: Sample, folds: NDArray[np.int64], *, learned: bool) -> Outcome:
    """Name each picture by those of the other folds, in the space that is learned from these, or as they are."""
    n = len(sample.labels)
    votes, margins, far = np.full(n, -1, np.int64), np.zeros(n), np.full(n, np.inf)
    for fold in np.unique(folds):
        asked, known = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        if not len(known):
            continue
        space = space_of(sample, known, learned=learned)
        reference = unit(sample.coordinates[known] @ space)
        for start in range(0, len(asked), _ROWS):
            rows = asked[start : start + _ROWS]
            likeness = unit(sample.coordinates[rows] @ space) @ reference.T
            count = min(VOTERS, len(known))
            near = np.argpartition(likeness, -count, axis=1)[:, -count:]
            counted = vote(sample.labels[known[near]], np.take_along_axis(likeness, near, 1))
            votes[rows], margins[rows] = counted.labels, counted.margins
            far[rows] = distances(sample.components[rows], sample.residuals[rows], sample.components[known[near]])
    return Outcome(votes, margins, votes == sample.labels, far)


def space_of(sample: Sample, known: NDArray[np.intp] | slice, *, learned: bool) -> Vectors:
    """Return the space in which pictures are compared: what some of the sample teach, or of components as they are."""
    if learned:
        return learn_space(sample.coordinates[known], sample.labels[known])
    return plain_space(sample.coordinates.shape[1], sample.components.shape[1])


def distances_without_label(sample: Sample) -> NDArray[np.float64]:
    """Return how far each picture is from the nearest of another label: where it would lie if its own were unknown."""
    values = sample.components.astype(np.float64)
    squares = np.einsum("nk,nk->n", values, values)
    nearest = np.full(len(values), np.inf)
    for start in range(0, len(values), _ROWS):
        rows = slice(start, start + _ROWS)
        gaps = squares[rows, None] + squares - 2 * values[rows] @ values.T
        gaps[sample.labels[rows, None] == sample.labels] = np.inf
        nearest[rows] = np.maximum(gaps.min(axis=1), 0)
    result: NDArray[np.float64] = np.sqrt(nearest + sample.residuals.astype(np.float64) ** 2)
    return result
