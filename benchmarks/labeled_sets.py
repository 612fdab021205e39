"""A folder of labelled pictures in, a sample of those that can be read out, and what is not in it."""

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
from job.images.decode import Rejected, decode
from job.settings import Settings


@dataclass(frozen=True)
class Sample:
    """Pictures that can be read: paths, and arrays [n] of their labels and of the group that each belongs to."""

    paths: Sequence[Path]
    labels: NDArray[np.str_]
    groups: NDArray[np.int64]


def find(folder: Path) -> tuple[dict[str, list[Path]], int]:
    """Return the pictures below a folder by label, and how many have none as they lie in the folder itself."""
    found: dict[str, list[Path]] = {}
    alone = 0
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in Settings().endings and path.is_file():
            if path.parent == folder:
                alone += 1
            else:
                found.setdefault(path.parent.name, []).append(path)
    return found, alone


def draw(found: dict[str, list[Path]], count: int, seed: int) -> list[Path]:
    """Return at most so many pictures, as many of each label as there are, of so many labels that each has two."""
    chance = random.Random(seed)  # noqa: S311 - a sample, no secret
    labels = sorted(label for label, paths in found.items() if len(paths) > 1)
    labels = sorted(chance.sample(labels, min(len(labels), max(0, count // 2))))
    each = count // len(labels) if labels else 0
    return [path for label in labels for path in sorted(chance.sample(found[label], min(each, len(found[label]))))]


def readable(paths: Sequence[Path], pattern: str | None) -> tuple[Sample, Counter[str]]:
    """Return what can be used of a sample, and of what cannot how many for each reason.

    Parameters
    ----------
    pattern : str or None
        What a picture's name has in common with those of its series, as a regular expression; None: each for itself.
    """
    left: Counter[str] = Counter()
    kept: dict[str, list[tuple[str, Path]]] = {}
    for path in paths:
        try:
            decode(path.read_bytes(), min(IMAGENET_SIZES))
        except Rejected as error:
            left[error.reason] += 1
            continue
        series = re.search(pattern, path.name) if pattern is not None else None
        kept.setdefault(path.parent.name, []).append((series[0] if series else str(path), path))
    for label, ones in list(kept.items()):
        if len({series for series, _ in ones}) < 2:
            left["alone with its label" if pattern is None else "of the one group of its label"] += len(kept.pop(label))
    flat = [(label, series, path) for label, ones in kept.items() for series, path in ones]
    numbers = {key: number for number, key in enumerate(dict.fromkeys((label, series) for label, series, _ in flat))}
    groups = np.array([numbers[label, series] for label, series, _ in flat], np.int64)
    return Sample([path for *_, path in flat], np.array([label for label, *_ in flat]), groups), left


def sample(options: argparse.Namespace, found: Bench) -> Sample:
    """Return the sample that the command line asks for, and say what is not in it."""
    if not options.images.is_dir():
        raise JobError(f"--images {options.images} is no folder")
    labelled, alone = find(options.images)
    if not labelled:
        raise JobError(
            f"no labelled pictures in {options.images}: there has to be a folder for each label, with pictures in it"
        )
    chosen, left = readable(draw(labelled, options.pictures, options.seed), options.groups)
    total = sum(map(len, labelled.values()))
    single = sum(len(paths) for paths in labelled.values() if len(paths) == 1)
    found.say(f"{len(chosen.paths):,} of {total:,} labelled pictures, {len(set(chosen.labels)):,} labels")
    left["without a label"], left["alone with its label"] = alone, left["alone with its label"] + single
    if why := ", ".join(f"{count:,} {reason}" for reason, count in left.items() if count):
        found.say(f"left out: {why}")
    if len(set(chosen.labels)) < 2:
        raise JobError("nothing can be told from that: give at least two labels with two pictures each, better dozens")
    return chosen
