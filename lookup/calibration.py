"""Names points: the space that is searched, the confidence of a vote, the distance beyond which nothing is known.

All three are learned from the index itself, by cross-validation, and kept beside it.
"""

import io
import math
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from job import storage
from job.errors import JobError
from job.progress import Progress
from job.results.run_record import RunRecord
from lookup.cross_validation import (
    Outcome,
    Sample,
    cross_validate,
    distances_without_label,
    draw,
    grouped_folds,
    naive_folds,
    space_of,
)
from lookup.index import Index, cache
from lookup.votes import Calibration, Vectors, calibrate

FORMAT = 2
JUDGE = "judge.npz"
# Pictures that are learned from: more take longer and change nothing that is seen.
SAMPLE = 3_000
# Unknown is what is farther than SLACK times the distance within which the share KNOWN of the pictures have a neighbour
# (sides that were not seen are farther than the next frame) and, if that is more, than the share STRANGERS of them are
# from another label's.
KNOWN, SLACK, STRANGERS = 0.99, 1.75, 0.75
# Votes of held-out groups that a calibration needs; else it is fitted to folds dealt at random.
_FEW = 50


@dataclass(frozen=True)
class Judge:
    """What is needed to name a point.

    Attributes
    ----------
    space : float32 array [c, k]
        What coordinates are multiplied by before they are compared.
    calibration : Calibration
    beyond : float
        The distance, of `lookup.votes.distances`, beyond which a point is unknown.
    """

    space: Vectors
    calibration: Calibration
    beyond: float

    def to_bytes(self) -> bytes:
        """Return the judge as an .npz file."""
        file = io.BytesIO()
        numbers = np.array([FORMAT, self.calibration.slope, self.calibration.offset, self.beyond])
        np.savez(file, space=self.space, numbers=numbers)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Judge | None":
        """Read what `to_bytes` has made; None for what is damaged or of another version: it is learned anew."""
        with suppress(Exception), np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            version, slope, offset, beyond = arrays["numbers"].tolist()
            if version == FORMAT:
                return cls(arrays["space"], Calibration(slope, offset), beyond)
        return None


@dataclass(frozen=True)
class Lesson:
    """A judge, and what it was learned from: the sample, its folds, and what came of them."""

    judge: Judge
    sample: Sample
    naive: Outcome
    grouped: Outcome
    plain: Outcome
    strangers: NDArray[np.float64]
    learned: bool
    calibrated_on_groups: bool


def learn(index: Index, most: int = SAMPLE) -> Lesson:
    """Learn a judge from an index; raises `JobError` where no picture has a label."""
    with threadpool_limits(1, "blas"):  # for matrices of this size threads wait for each other more than they compute
        return _learn(index, most)


def _learn(index: Index, most: int) -> Lesson:
    sample = draw(index, most)
    if not len(sample.labels):
        raise JobError("none of the pictures has a label, so there is nothing to name others by; search needs none")
    naive = cross_validate(sample, naive_folds(sample), learned=True)
    folds, several = grouped_folds(sample), sample.of_several_groups
    grouped, plain = (cross_validate(sample, folds, learned=learned) for learned in (True, False))
    on_groups = int(several.sum()) >= _FEW
    learned = not _worse(grouped.right[several], plain.right[several])
    space = space_of(sample, slice(None), learned=learned)
    fitted, chosen = (grouped, several) if on_groups else (naive, np.ones_like(several))
    calibration = calibrate(fitted.margins[chosen], fitted.right[chosen])
    strangers = distances_without_label(sample)
    judge = Judge(space, calibration, _beyond(naive.distances, strangers))
    return Lesson(judge, sample, naive, grouped, plain, strangers, learned, on_groups)


def _worse(right: NDArray[np.bool_], other: NDArray[np.bool_]) -> bool:
    """Return whether one way is worse than another beyond chance, by the pictures on which they differ (McNemar)."""
    lost, won = int((other & ~right).sum()), int((right & ~other).sum())
    return lost - won > 2 * math.sqrt(lost + won)


def _beyond(known: NDArray[np.float64], strangers: NDArray[np.float64]) -> float:
    bounds = [SLACK * float(np.quantile(known[np.isfinite(known)], KNOWN))] if np.isfinite(known).any() else []
    bounds += [float(np.quantile(strangers, STRANGERS))] if np.isfinite(strangers).all() else []
    return max(bounds, default=float("inf"))


def read_judge(output: str, run: RunRecord, index: Index, progress: Progress) -> Judge:
    """Return the judge that is kept with an output's results; where there is none, learn and keep one."""
    for address in _places(output, run):
        with suppress(OSError):
            judge = Judge.from_bytes(storage.read(address))
            if judge is not None and judge.space.shape[0] == index.width:
                return judge
    progress.say("learning from the results how sure a name is, and what is unknown: once for each run")
    judge = learn(index).judge
    keep(output, run, judge)
    return judge


def keep(output: str, run: RunRecord, judge: Judge) -> str | None:
    """Keep a judge beside the index, or where that may not be written in this user's cache; return where."""
    for address in _places(output, run):
        with suppress(OSError):
            storage.write(address, judge.to_bytes())
            return address
    return None


def _places(output: str, run: RunRecord) -> list[str]:
    folder = run.index_folder(output)
    return [storage.join(folder, JUDGE), str(cache("judges", folder) / JUDGE)]
