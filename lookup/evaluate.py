"""How often `classify` is right, measured on the results themselves: cross-validation, calibration, the unknown."""

import json
from dataclasses import asdict, dataclass
from math import isinf
from textwrap import fill
from typing import Any

import numpy as np
from numpy.typing import NDArray

from job.curation.intervals import wilson
from lookup.calibration import KNOWN, OUT_OF_DISTRIBUTION, SLACK, CalibrationFit, calibrate, save_calibration
from lookup.classifier import Classifier
from lookup.cross_validation import FOLDS, Outcome
from lookup.formatters import printable
from lookup.platt import PlattScaling

# Images that the figures are measured on: an interval of less than half a percent.
SAMPLE_SIZE = 20_000
_BINS = 10
# The keys of the JSON are documented; these differ from the names of the fields.
_JSON_NAMES = {
    "images": "pictures",
    "labeled": "labelled",
    "components_only": "plain",
    "unknown_threshold": "beyond",
    "out_of_distribution_beyond": "strangers_beyond",
    "saved": "kept",
}


@dataclass(frozen=True)
class ShareEstimate:
    """A share of `total` images and its 95 % interval (Wilson); None for no images."""

    total: int
    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, right: NDArray[np.bool_]) -> "ShareEstimate":
        """Return the share of images, shape (n,), that are right."""
        if not len(right):
            return cls(0, None, None, None)
        interval = wilson(int(right.sum()), len(right))
        return cls(len(right), interval.value, interval.low, interval.high)

    def __str__(self) -> str:
        """Return `0.984 (0.969-0.992)`."""
        return "no image" if self.value is None else f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f})"


@dataclass(frozen=True)
class LabelEvaluation:
    """How often images of one label are named correctly; `groups` counts its groups of near-duplicates."""

    label: str
    images: int
    groups: int
    naive: ShareEstimate
    grouped: ShareEstimate


@dataclass(frozen=True)
class Evaluation:
    """All figures of `evaluate`.

    Attributes
    ----------
    run : str
    images, labeled, sampled, groups : int
        Numbers of images in the index, of those with a label, of those the figures are measured on, and of their groups
        of near-duplicates.
    naive, grouped, components_only : ShareEstimate
        Images named correctly in cross-validation: with random folds; with folds that split no group of
        near-duplicates, among labels with several groups; and the latter by the components alone.
    learned : bool
        Whether the learned space is used: it is, unless it is worse.
    calibration_error : float or None
        Expected calibration error: mean of |confidence - share right| over ten bins, weighted by their images (Guo et
        al., ICML 2017), on folds that the calibration was not fitted to.
    calibrated_on : str
        Which votes the confidence was fitted to.
    unknown_threshold : float
        The distance beyond which an image is unknown; infinite, in JSON null, where too few images determine it.
    known_beyond, out_of_distribution_beyond : ShareEstimate
        Images beyond it: when images of other folds name them; and when all images of their own label are removed.
    labels : list of LabelEvaluation
        The worst first.
    saved : str or None
        Address of the calibration.
    """

    run: str
    images: int
    labeled: int
    sampled: int
    groups: int
    naive: ShareEstimate
    grouped: ShareEstimate
    components_only: ShareEstimate
    learned: bool
    calibration_error: float | None
    calibrated_on: str
    unknown_threshold: float
    known_beyond: ShareEstimate
    out_of_distribution_beyond: ShareEstimate
    labels: list[LabelEvaluation]
    saved: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON-ready values by their documented keys."""
        fields = _renamed(asdict(self))
        if isinf(self.unknown_threshold):  # JSON has no infinity
            fields[_JSON_NAMES["unknown_threshold"]] = None
        return fields


def _renamed(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        _JSON_NAMES.get(name, name): [_renamed(label) for label in value] if name == "labels" else value
        for name, value in fields.items()
    }


def evaluate(classifier: Classifier) -> Evaluation:
    """Cross-validate on an output's results, save the calibration for `classify`, and return all figures.

    Raises
    ------
    JobError
        Where no image has a label.
    """
    index = classifier.index
    fit = calibrate(index, SAMPLE_SIZE)
    calibration, several = fit.calibration, fit.sample.of_several_groups
    threshold, distances = calibration.unknown_threshold, fit.out_of_distribution
    return Evaluation(
        run=classifier.run.run,
        images=len(index),
        labeled=int((index.labels >= 0).sum()),
        sampled=len(fit.sample.labels),
        groups=len(np.unique(fit.sample.groups)),
        naive=ShareEstimate.of(fit.naive.right),
        grouped=ShareEstimate.of(fit.grouped.right[several]),
        components_only=ShareEstimate.of(fit.components_only.right[several]),
        learned=fit.learned,
        calibration_error=_calibration_error(fit),
        calibrated_on="groups held out" if fit.on_groups else "random folds",
        unknown_threshold=threshold,
        known_beyond=ShareEstimate.of(fit.naive.distances > threshold),
        out_of_distribution_beyond=ShareEstimate.of(distances[np.isfinite(distances)] > threshold),
        labels=_by_label(fit, index.names),
        saved=save_calibration(classifier.output, classifier.run, calibration),
    )


def _by_label(fit: CalibrationFit, names: list[str]) -> list[LabelEvaluation]:
    sample, several, shares = fit.sample, fit.sample.of_several_groups, []
    for label in np.unique(sample.labels).tolist():
        rows = sample.labels == label
        shares.append(
            LabelEvaluation(
                names[label],
                int(rows.sum()),
                len(np.unique(sample.groups[rows])),
                ShareEstimate.of(fit.naive.right[rows]),
                ShareEstimate.of(fit.grouped.right[rows & several]),
            )
        )
    return sorted(
        shares, key=lambda share: ((share.grouped if share.grouped.total else share.naive).value, share.label)
    )


def _calibration_error(fit: CalibrationFit) -> float | None:
    """Return the error of confidences that were each fitted to the other half of the groups."""
    outcome, chosen = _fitted(fit)
    right, margins = outcome.right[chosen], outcome.margins[chosen]
    if len(right) < 2 * _BINS:
        return None
    groups = fit.sample.groups
    half = np.random.default_rng(0).permutation(groups.max() + 1)[groups[chosen]] % 2
    if not 0 < half.sum() < len(half):
        return None
    confidence = np.empty(len(right))
    for rows in (half == 0, half == 1):
        confidence[rows] = PlattScaling.fit(margins[~rows], right[~rows]).confidence(margins[rows])
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.abs(np.bincount(bins, confidence, _BINS) - np.bincount(bins, right, _BINS))
    return float(gaps.sum() / len(right))


def _fitted(fit: CalibrationFit) -> tuple[Outcome, NDArray[np.bool_]]:
    """Return the cross-validation that the scaling was fitted to, and which of its images."""
    several = fit.sample.of_several_groups
    return (fit.grouped, several) if fit.on_groups else (fit.naive, np.ones_like(several))


def as_json(evaluation: Evaluation) -> str:
    """Return all figures as JSON."""
    return json.dumps(evaluation.to_json(), indent=2, ensure_ascii=False)


def as_text(evaluation: Evaluation) -> str:
    """Return the figures as lines for a terminal."""
    lines = [
        fill(text, 100, initial_indent=f"{name:<13}", subsequent_indent=" " * 13, break_long_words=False)
        for name, text in _sentences(evaluation).items()
    ]
    return "\n".join([*lines, "", *_label_table(evaluation.labels)])


def _sentences(evaluation: Evaluation) -> dict[str, str]:
    space = (
        "components and colors, in a space that shrinks the directions in which images of one label vary"
        if evaluation.learned
        else "the components alone"
    )
    error = "too few images" if evaluation.calibration_error is None else f"{evaluation.calibration_error:.3f}"
    return {
        "run": f"{evaluation.run}: {evaluation.images:,} images, {evaluation.labeled:,} with a label;"
        f" {evaluation.sampled:,} in the sample",
        "naive": f"{evaluation.naive} right with {FOLDS} random folds, where near-duplicates help",
        "grouped": f"{evaluation.grouped} right with folds that split no group of near-duplicates, of"
        f" {evaluation.grouped.total:,} images whose label has several groups; {evaluation.groups:,} groups, of images"
        " closer than a tenth of their label's spread",
        "space": f"{space}; by the components alone, {evaluation.components_only} right with grouped folds",
        "calibration": f"{error}: mean difference between confidence and share right, on groups left out of the fit;"
        f" fitted to {evaluation.calibrated_on}",
        "unknown": f"farther than {evaluation.unknown_threshold:.4g}: the larger of {SLACK} times the distance within"
        f" which {KNOWN:.0%} of images have a neighbor in other folds, and the distance within which"
        f" {OUT_OF_DISTRIBUTION:.0%} have one of another label; {evaluation.known_beyond} of images are farther,"
        f" {evaluation.out_of_distribution_beyond} without the images of their own label",
        "saved": printable(evaluation.saved) if evaluation.saved else "nowhere: output and cache are read-only",
    }


def _label_table(labels: list[LabelEvaluation]) -> list[str]:
    names = [printable(label.label) for label in labels]
    width = max(len("label"), *map(len, names))
    lines = [f"{'label':<{width}}  {'images':>8}  groups  {'naive':<20}  grouped"]
    for name, label in zip(names, labels, strict=True):
        counts = f"{label.images:8,}  {label.groups:6,}"
        lines.append(f"{name:<{width}}  {counts}  {label.naive!s:<20}  {label.grouped}")
    return lines
