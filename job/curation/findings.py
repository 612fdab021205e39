"""A sample in, what its neighbors say about it out: separation, label issues, near-duplicates, outliers. NumPy only."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from job.curation.knn import Neighbors, nearest
from job.curation.label_issues import VOTERS, ConfusedLabels, LabelIssue, confused_labels, label_issues
from job.curation.near_duplicates import SHORTLIST, NearDuplicate, near_duplicates
from job.curation.outliers import Outlier, outliers
from job.curation.sampling import ImageSample
from job.curation.separation import Separation, separation


@dataclass(frozen=True)
class Findings:
    """What a sample of n images shows; an image is its row in the sample, a label its number.

    Attributes
    ----------
    label_names : list of str
        Sorted, as the labels are numbered.
    labels : int64 array, shape (n,)
        -1 where an image has none.
    separation : Separation or None
        None for fewer than two labels; there are no confused labels and no label issues then.
    confused_labels : list of ConfusedLabels
    label_issues : list of LabelIssue
    near_duplicates : list of NearDuplicate
    outliers : list of Outlier
    """

    label_names: list[str]
    labels: NDArray[np.int64]
    separation: Separation | None
    confused_labels: list[ConfusedLabels]
    label_issues: list[LabelIssue]
    near_duplicates: list[NearDuplicate]
    outliers: list[Outlier]


def find(sample: ImageSample) -> Findings:
    """Return what a sample shows."""
    names = sorted({label for label in sample.labels if label is not None})
    numbers: dict[str | None, int] = {name: number for number, name in enumerate(names)}
    labels = np.array([numbers.get(label, -1) for label in sample.labels], np.int64)
    near = nearest(sample.coordinates, max(SHORTLIST, VOTERS))
    copies = near_duplicates(near, sample.pixels.cells, sample.pixels.digests)
    if len(names) < 2:
        return Findings(names, labels, None, [], [], copies, outliers(near))
    labeled, near_labeled = _among_labeled(sample, labels, near)
    return Findings(
        names,
        labels,
        separation(labels[labeled], near_labeled, names),
        [
            replace(pair, images=labeled[pair.images].tolist(), neighbors=labeled[pair.neighbors].tolist())
            for pair in confused_labels(labels[labeled], near_labeled)
        ],
        [replace(issue, image=int(labeled[issue.image])) for issue in label_issues(labels[labeled], near_labeled)],
        copies,
        outliers(near),
    )


def _among_labeled(
    sample: ImageSample, labels: NDArray[np.int64], near: Neighbors
) -> tuple[NDArray[np.intp], Neighbors]:
    """Return the rows of the labeled images, and the nearest neighbors among these alone."""
    labeled = np.flatnonzero(labels >= 0)
    if len(labeled) == len(labels):
        return labeled, near
    return labeled, nearest(sample.coordinates[labeled], VOTERS)
