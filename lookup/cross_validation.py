"""Cross-validation on a sample of the index: images of other folds name each image. NumPy only.

Letters: n images of the sample, c coordinates, of which the first k are components.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from job.curation.distances import squared_distances
from lookup.index import Index
from lookup.spaces import (
    Labels,
    Vectors,
    component_space,
    label_means,
    learn_space,
    nearest_distances,
    normalized,
)
from lookup.votes import VOTERS, vote

FOLDS = 5
# Near-duplicates are images whose squared distance is at most this share of the mean squared distance between images
# of their labels: frames of one turning fruit are. No fixed distance would fit every model.
NEAR_DUPLICATE = 0.1
_BLOCK_ROWS = 512


@dataclass(frozen=True)
class LabeledSample:
    """Labeled images of an index.

    Attributes
    ----------
    coordinates : float32 array, shape (n, c)
    components : float32 array, shape (n, k)
        The first of the coordinates. Near-duplicates and distances are defined by the components alone.
    residuals : float32 array, shape (n,)
    labels : int array, shape (n,)
    groups : int64 array, shape (n,)
        One number for near-duplicates, and for the near-duplicates of those.
    """

    coordinates: Vectors
    components: Vectors
    residuals: NDArray[np.float32]
    labels: Labels
    groups: NDArray[np.int64]

    @property
    def of_several_groups(self) -> NDArray[np.bool_]:
        """Return which images have a label with several groups: a grouped split leaves the others no reference."""
        pairs = np.unique(np.stack([self.labels, self.groups]), axis=1)
        names, counts = np.unique(pairs[0], return_counts=True)
        return np.isin(self.labels, names[counts > 1])


def draw_sample(index: Index, size: int) -> LabeledSample:
    """Return at most `size` of an index's labeled images, drawn evenly, the same each time."""
    rows = np.flatnonzero(index.labels >= 0)
    if len(rows) > size:
        rows = np.sort(np.random.default_rng(0).choice(rows, size, replace=False))
    coordinates, labels = index.coordinates(rows), index.labels[rows]
    components = coordinates[:, : index.description.components]
    groups = near_duplicate_groups(components, labels)
    return LabeledSample(coordinates, components, index.residuals[rows], labels, groups)


def near_duplicate_groups(components: Vectors, labels: Labels, block_rows: int = _BLOCK_ROWS) -> NDArray[np.int64]:
    """Return the number of each image's group: the smallest row number of any image in it.

    Parameters
    ----------
    components : float32 array, shape (n, k)
    labels : int array, shape (n,)
    block_rows : int
        Images that are compared with all others at a time.

    Returns
    -------
    int64 array, shape (n,)
    """
    thresholds = NEAR_DUPLICATE * _spreads(components.astype(np.float64), labels)
    groups = np.arange(len(components))
    for rows, distances in squared_distances(components, block_rows):
        first, second = np.nonzero(distances <= np.minimum(thresholds[rows, None], thresholds))
        _join(groups, first + rows.start, second)
    return groups


def _join(groups: NDArray[np.int64], first: NDArray[np.intp], second: NDArray[np.intp]) -> None:
    """Give both ends of each edge one number, and all images that had the number of either."""
    while not np.array_equal(groups[first], groups[second]):
        np.minimum.at(groups, np.maximum(groups[first], groups[second]), np.minimum(groups[first], groups[second]))
        while not np.array_equal(groups, groups[groups]):
            groups[:] = groups[groups]


def _spreads(values: NDArray[np.float64], labels: Labels) -> NDArray[np.float64]:
    """Return for each image the mean squared distance between two images of its label, 0 for the only one."""
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    deviations = values - label_means(values, codes, counts)[codes]
    sums = np.bincount(codes, np.einsum("nk,nk->n", deviations, deviations))
    spreads = np.divide(2 * sums, counts - 1, out=np.zeros(len(counts)), where=counts > 1)
    result: NDArray[np.float64] = spreads[codes]
    return result


def grouped_folds(sample: LabeledSample) -> NDArray[np.int64]:
    """Return each image's fold, shape (n,): no group is split, and each label's groups are spread over the folds."""
    folds, load = np.zeros(len(sample.labels), np.int64), np.zeros(FOLDS)
    names, first, sizes = np.unique(sample.groups, return_index=True, return_counts=True)
    label_loads: dict[int, NDArray[np.float64]] = {}
    for group in np.lexsort((-sizes, sample.labels[first])):
        label_load = label_loads.setdefault(int(sample.labels[first[group]]), np.zeros(FOLDS))
        fold = int(np.lexsort((load, label_load))[0])
        folds[sample.groups == names[group]] = fold
        label_load[fold] += sizes[group]
        load[fold] += sizes[group]
    return folds


def naive_folds(sample: LabeledSample) -> NDArray[np.int64]:
    """Return each image's fold, shape (n,), at random: near-duplicates may be in different folds."""
    return np.random.default_rng(0).permutation(len(sample.labels)) % FOLDS


@dataclass(frozen=True)
class Outcome:
    """Each image of the sample, named by the images of the other folds.

    Attributes
    ----------
    votes : int64 array, shape (n,)
    margins : float64 array, shape (n,)
    right : bool array, shape (n,)
    distances : float64 array, shape (n,)
        Distances to the nearest voter: see `lookup.spaces.nearest_distances`.
    """

    votes: NDArray[np.int64]
    margins: NDArray[np.float64]
    right: NDArray[np.bool_]
    distances: NDArray[np.float64]


def cross_validate(
    sample: LabeledSample, folds: NDArray[np.int64], *, learned: bool, block_rows: int = _BLOCK_ROWS
) -> Outcome:
    """Name each image by the images of the other folds.

    Parameters
    ----------
    sample : LabeledSample
    folds : int64 array, shape (n,)
    learned : bool
        Whether images are compared in a space that the other folds teach, or by their components alone.
    block_rows : int
        Images that are compared at a time.
    """
    n = len(sample.labels)
    votes, margins, distances = np.full(n, -1, np.int64), np.zeros(n), np.full(n, np.inf)
    for fold in np.unique(folds):
        test, train = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        if not len(train):
            continue
        space = space_of(sample, train, learned=learned)
        reference = normalized(sample.coordinates[train] @ space)
        for start in range(0, len(test), block_rows):
            rows = test[start : start + block_rows]
            similarities = normalized(sample.coordinates[rows] @ space) @ reference.T
            count = min(VOTERS, len(train))
            near = np.argpartition(similarities, -count, axis=1)[:, -count:]
            voted = vote(sample.labels[train[near]], np.take_along_axis(similarities, near, 1))
            votes[rows], margins[rows] = voted.labels, voted.margins
            distances[rows] = nearest_distances(
                sample.components[rows], sample.residuals[rows], sample.components[train[near]]
            )
    return Outcome(votes, margins, votes == sample.labels, distances)


def space_of(sample: LabeledSample, rows: NDArray[np.intp] | slice, *, learned: bool) -> Vectors:
    """Return the space that some rows of the sample teach, or the one of the components alone."""
    if learned:
        return learn_space(sample.coordinates[rows], sample.labels[rows])
    return component_space(sample.coordinates.shape[1], sample.components.shape[1])


def out_of_distribution_distances(sample: LabeledSample) -> NDArray[np.float64]:
    """Return each image's distance, shape (n,), to the nearest of another label.

    That is how far from all others the image would be if its own label were unknown.
    """
    nearest = np.full(len(sample.labels), np.inf)
    for rows, distances in squared_distances(sample.components):
        distances[sample.labels[rows, None] == sample.labels] = np.inf
        nearest[rows] = distances.min(axis=1)
    result: NDArray[np.float64] = np.sqrt(nearest + sample.residuals.astype(np.float64) ** 2)
    return result
