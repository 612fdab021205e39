"""Findings in, those that the page shows out; which images they name, and by which numbers the page knows these."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from job.curation.findings import Findings
from job.curation.label_issues import ConfusedLabels, LabelIssue
from job.curation.near_duplicates import NearDuplicate
from job.curation.outliers import Outlier
from job.curation.report_limits import ReportLimits


@dataclass(frozen=True)
class ComponentEnds:
    """The images at the two ends of a component, the most extreme first."""

    low: list[int]
    high: list[int]


@dataclass(frozen=True)
class Confusion:
    """Two confused labels: `count` of `total` images of one; examples of them, each with its nearest neighbor."""

    label: int
    other: int
    count: int
    total: int
    examples: list[tuple[int, int]]


@dataclass(frozen=True)
class Highlights:
    """What the page shows of the findings. An image is a number: its row in the sample, or its point on the page."""

    component_ends: list[ComponentEnds]
    confusions: list[Confusion]
    label_issues: list[LabelIssue]
    near_duplicates: list[NearDuplicate]
    outliers: list[Outlier]

    def images(self) -> set[int]:
        """Return the numbers of all images that these name."""
        images = {image for ends in self.component_ends for image in (*ends.low, *ends.high)}
        images.update(image for confusion in self.confusions for pair in confusion.examples for image in pair)
        images.update(issue.image for issue in self.label_issues)
        images.update(image for pair in self.near_duplicates for image in (pair.first, pair.second))
        images.update(outlier.image for outlier in self.outliers)
        return images

    def renumbered(self, numbers: Mapping[int, int]) -> "Highlights":
        """Return the same highlights with other numbers for the images."""
        return Highlights(
            [
                ComponentEnds([numbers[image] for image in ends.low], [numbers[image] for image in ends.high])
                for ends in self.component_ends
            ],
            [
                replace(confusion, examples=[(numbers[image], numbers[near]) for image, near in confusion.examples])
                for confusion in self.confusions
            ],
            [replace(issue, image=numbers[issue.image]) for issue in self.label_issues],
            [replace(pair, first=numbers[pair.first], second=numbers[pair.second]) for pair in self.near_duplicates],
            [replace(outlier, image=numbers[outlier.image]) for outlier in self.outliers],
        )


def highlights(findings: Findings, coordinates: NDArray[np.float32], limits: ReportLimits) -> Highlights:
    """Return the findings that the page shows, by the row of each image in the sample.

    Parameters
    ----------
    coordinates : float32 array, shape (n, k)
        Of the sample.
    """
    return Highlights(
        [_ends(values, limits.end_images) for values in coordinates.T[: limits.components]],
        [_confusion(pair, limits.examples) for pair in findings.confused_labels[: limits.confused_labels]],
        findings.label_issues[: limits.cards],
        findings.near_duplicates[: limits.cards],
        findings.outliers[: limits.cards],
    )


def _ends(values: NDArray[np.float32], count: int) -> ComponentEnds:
    order = np.argsort(values, kind="stable").tolist()
    count = min(count, len(order) // 2)
    return ComponentEnds(order[:count], order[::-1][:count])


def _confusion(pair: ConfusedLabels, count: int) -> Confusion:
    examples = list(zip(pair.images[:count], pair.neighbors[:count], strict=True))
    return Confusion(pair.label, pair.other, len(pair.images), pair.total, examples)
