"""A folder of labeled images in; a sample of its readable images, and counts of the others, out."""

import argparse
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Bench
from bootstrap.model import IMAGENET_SIZES
from job.errors import JobError
from job.images.decode import decode
from job.images.rejection import Rejected
from job.settings import Settings


@dataclass(frozen=True)
class LabeledSet:
    """Readable images with their labels.

    Attributes
    ----------
    paths : sequence of Path
    labels : str array, shape (n,)
    groups : int64 array, shape (n,)
        The series that each image belongs to.
    """

    paths: Sequence[Path]
    labels: NDArray[np.str_]
    groups: NDArray[np.int64]


def find(folder: Path) -> tuple[dict[str, list[Path]], int]:
    """Return the images below a folder by label, and the number of images without one: those in the folder itself."""
    by_label: dict[str, list[Path]] = {}
    unlabeled = 0
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in Settings().endings and path.is_file():
            if path.parent == folder:
                unlabeled += 1
            else:
                by_label.setdefault(path.parent.name, []).append(path)
    return by_label, unlabeled


def draw(by_label: dict[str, list[Path]], count: int, seed: int) -> list[Path]:
    """Return at most `count` images, the same number of each label, at least two; a small `count` draws labels too."""
    generator = random.Random(seed)  # noqa: S311 - a sample, no secret
    labels = sorted(label for label, paths in by_label.items() if len(paths) > 1)
    labels = sorted(generator.sample(labels, min(len(labels), max(0, count // 2))))
    each = count // len(labels) if labels else 0
    return [
        path for label in labels for path in sorted(generator.sample(by_label[label], min(each, len(by_label[label]))))
    ]


def readable(paths: Sequence[Path], pattern: str | None) -> tuple[LabeledSet, Counter[str]]:
    """Return the usable images of a sample, and the number of the others by reason.

    Parameters
    ----------
    paths : sequence of Path
    pattern : str or None
        Regular expression for what the names of a series have in common; None makes each image its own series.
    """
    left_out: Counter[str] = Counter()
    by_label: dict[str, list[tuple[str, Path]]] = {}
    for path in paths:
        try:
            decode(path.read_bytes(), min(IMAGENET_SIZES))
        except Rejected as error:
            left_out[error.reason] += 1
            continue
        series = re.search(pattern, path.name) if pattern is not None else None
        by_label.setdefault(path.parent.name, []).append((series[0] if series else str(path), path))
    reason = "alone with its label" if pattern is None else "of the one group of its label"
    for label, images in list(by_label.items()):
        if len({series for series, _ in images}) < 2:
            left_out[reason] += len(by_label.pop(label))
    rows = [(label, series, path) for label, images in by_label.items() for series, path in images]
    numbers = {key: number for number, key in enumerate(dict.fromkeys((label, series) for label, series, _ in rows))}
    groups = np.array([numbers[label, series] for label, series, _ in rows], np.int64)
    return LabeledSet([path for *_, path in rows], np.array([label for label, *_ in rows]), groups), left_out


def labeled_set(options: argparse.Namespace, bench: Bench) -> LabeledSet:
    """Return the sample that the command line asks for, and print the number of images left out."""
    if not options.images.is_dir():
        raise JobError(f"--images {options.images} is no folder")
    by_label, unlabeled = find(options.images)
    if not by_label:
        raise JobError(f"no labeled images in {options.images}: make a folder for each label, with images in it")
    chosen, left_out = readable(draw(by_label, options.limit, options.seed), options.groups)
    total = sum(map(len, by_label.values()))
    bench.say(f"{len(chosen.paths):,} of {total:,} labeled images, {len(set(chosen.labels)):,} labels")
    left_out["without a label"] = unlabeled
    left_out["alone with its label"] += sum(len(paths) for paths in by_label.values() if len(paths) == 1)
    if reasons := ", ".join(f"{count:,} {reason}" for reason, count in left_out.items() if count):
        bench.say(f"left out: {reasons}")
    if len(set(chosen.labels)) < 2:
        raise JobError("these images show nothing: give at least two labels with two images each, better dozens")
    return chosen
