"""How often `classify` is right, told from the results themselves: cross-validation, calibration, the unknown."""

import json
import math
from dataclasses import asdict, dataclass
from textwrap import fill

import numpy as np
from numpy.typing import NDArray

from job.curation.intervals import Interval, wilson
from lookup.calibration import KNOWN, SLACK, STRANGERS, Lesson, keep, learn
from lookup.classifier import Catalogue
from lookup.cross_validation import FOLDS, Outcome
from lookup.formatters import plain
from lookup.votes import calibrate

# Pictures that figures are told from: an interval of less than half a percent.
SAMPLE = 20_000
_BINS = 10


@dataclass(frozen=True)
class Share:
    """A share of `total` pictures, with the 95 % interval about it (Wilson); `value` is null for no pictures at all."""

    total: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class LabelShare:
    """How often pictures of one label are named rightly; `groups` counts its groups of near-duplicates."""

    label: str
    pictures: int
    groups: int
    naive: Share
    grouped: Share


@dataclass(frozen=True)
class Evaluation:
    """All that `evaluate` tells.

    Attributes
    ----------
    run : str
    pictures, labelled, sampled, groups : int
        Pictures of the index; those with a label; those that the figures are of; their groups of near-duplicates.
    naive, grouped, plain : Share
        Right in cross-validation: with folds dealt at random; with folds that no group of near-duplicates straddles, of
        labels with several groups; and those by the components as they are.
    learned : bool
        Whether the learned space is used: where it is not worse.
    calibration_error : float or None
        Expected calibration error: mean of |confidence - share right| over ten bins, by their pictures (Guo et al.,
        ICML 2017), for the folds that the calibration was not fitted to.
    calibrated_on : str
        Which votes the confidence was fitted to.
    beyond : float
        The distance beyond which a picture is unknown; infinite, in JSON null, where too few pictures tell it.
    known_beyond, strangers_beyond : Share
        Pictures beyond it: of those named by other folds; and where all pictures of their own label are taken away.
    labels : list of LabelShare
        The worst first.
    kept : str or None
        Where what was learned is kept.
    """

    run: str
    pictures: int
    labelled: int
    sampled: int
    groups: int
    naive: Share
    grouped: Share
    plain: Share
    learned: bool
    calibration_error: float | None
    calibrated_on: str
    beyond: float
    known_beyond: Share
    strangers_beyond: Share
    labels: list[LabelShare]
    kept: str | None


def evaluate(catalogue: Catalogue) -> Evaluation:
    """Cross-validate on an output's results, keep what was learned for `classify`, and return all figures.

    Raises
    ------
    JobError
        Where no picture has a label.
    """
    index = catalogue.index
    lesson = learn(index, SAMPLE)
    sample, several = lesson.sample, lesson.sample.of_several_groups
    fitted = (lesson.grouped, several) if lesson.calibrated_on_groups else (lesson.naive, np.ones_like(several))
    return Evaluation(
        run=catalogue.run.run,
        pictures=len(index),
        labelled=int((index.labels >= 0).sum()),
        sampled=len(sample.labels),
        groups=len(np.unique(sample.groups)),
        naive=_share(lesson.naive.right),
        grouped=_share(lesson.grouped.right[several]),
        plain=_share(lesson.plain.right[several]),
        learned=lesson.learned,
        calibration_error=_calibration_error(lesson, *fitted),
        calibrated_on="groups held out" if lesson.calibrated_on_groups else "folds dealt at random",
        beyond=lesson.judge.beyond,
        known_beyond=_share(lesson.naive.distances > lesson.judge.beyond),
        strangers_beyond=_share(lesson.strangers[np.isfinite(lesson.strangers)] > lesson.judge.beyond),
        labels=_by_label(lesson, index.names, several),
        kept=keep(catalogue.output, catalogue.run, lesson.judge),
    )


def _share(right: NDArray[np.bool_]) -> Share:
    if not len(right):
        return Share(0, None, None, None)
    interval: Interval = wilson(int(right.sum()), len(right))
    return Share(len(right), interval.value, interval.low, interval.high)


def _by_label(lesson: Lesson, names: list[str], several: NDArray[np.bool_]) -> list[LabelShare]:
    sample, found = lesson.sample, []
    for label in np.unique(sample.labels).tolist():
        own = sample.labels == label
        found.append(
            LabelShare(
                names[label],
                int(own.sum()),
                len(np.unique(sample.groups[own])),
                _share(lesson.naive.right[own]),
                _share(lesson.grouped.right[own & several]),
            )
        )
    return sorted(found, key=lambda one: ((one.grouped if one.grouped.total else one.naive).value, one.label))


def _calibration_error(lesson: Lesson, outcome: Outcome, chosen: NDArray[np.bool_]) -> float | None:
    """Return the error of confidences that were each fitted to the other half of the votes."""
    right, margins = outcome.right[chosen], outcome.margins[chosen]
    if len(right) < 2 * _BINS:
        return None
    half = np.random.default_rng(0).permutation(lesson.sample.groups.max() + 1)[lesson.sample.groups[chosen]] % 2
    if not 0 < half.sum() < len(half):
        return None
    confidence = np.empty(len(right))
    for mine in (half == 0, half == 1):
        confidence[mine] = calibrate(margins[~mine], right[~mine]).confidence(margins[mine])
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.abs(np.bincount(bins, confidence, _BINS) - np.bincount(bins, right, _BINS))
    return float(gaps.sum() / len(right))


def as_json(evaluation: Evaluation) -> str:
    """Return all figures as JSON."""
    fields = asdict(evaluation)
    if math.isinf(evaluation.beyond):  # which JSON cannot say
        fields["beyond"] = None
    return json.dumps(fields, indent=2, ensure_ascii=False)


def as_text(evaluation: Evaluation) -> str:
    """Return the figures as people read them."""
    one = evaluation
    error = "too few pictures to tell" if one.calibration_error is None else f"{one.calibration_error:.3f}"
    told = {
        "run": f"{one.run}: {one.pictures:,} pictures, {one.labelled:,} with a label; {one.sampled:,} looked at",
        "naive": f"{_text(one.naive)} right, {FOLDS} random folds: near-duplicates may stand on both sides",
        "grouped": f"{_text(one.grouped)} right, folds that no group of near-duplicates straddles: {one.groups:,}"
        f" groups, of pictures nearer than a tenth of their label's spread; of the {one.grouped.total:,} pictures whose"
        " label has several groups",
        "space": f"{'components and colours, learned from labels' if one.learned else 'the components as they are'};"
        f" the components alone: {_text(one.plain)} right, grouped",
        "calibration": f"{error}: mean difference between confidence and share right, on groups it was not fitted to;"
        f" fitted to {one.calibrated_on}",
        "unknown": f"farther than {one.beyond:.4g}: {SLACK} times the distance within which {KNOWN:.0%} of pictures"
        f" have a neighbour in other folds or, if that is more, the distance within which {STRANGERS:.0%} have one of"
        f" another label; {_text(one.known_beyond)} of pictures are farther, {_text(one.strangers_beyond)} where their"
        " own label is taken away",
        "kept": plain(one.kept) if one.kept else "nowhere: neither the output nor the cache may be written",
    }
    lines = [
        fill(text, 100, initial_indent=f"{name:<13}", subsequent_indent=" " * 13, break_long_words=False)
        for name, text in told.items()
    ]
    names = [plain(label.label) for label in one.labels]
    width = max(len("label"), *map(len, names))
    lines += ["", f"{'label':<{width}}  pictures  groups  {'naive':<20}  grouped"]
    for name, label in zip(names, one.labels, strict=True):
        counts = f"{label.pictures:8,}  {label.groups:6,}"
        lines.append(f"{name:<{width}}  {counts}  {_text(label.naive):<20}  {_text(label.grouped)}")
    return "\n".join(lines)


def _text(share: Share) -> str:
    if share.value is None:
        return "no picture"
    return f"{share.value:.3f} ({share.low:.3f}-{share.high:.3f})"
