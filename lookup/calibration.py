"""The calibration of an index: the space that is searched, the confidence of a vote, the distance of the unknown.

Cross-validation on the index itself teaches all three; a file beside it keeps them.
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
from lookup.cache import cache_folder
from lookup.cross_validation import (
    LabeledSample,
    Outcome,
    cross_validate,
    draw_sample,
    grouped_folds,
    naive_folds,
    out_of_distribution_distances,
    space_of,
)
from lookup.index import Index
from lookup.platt import PlattScaling
from lookup.spaces import Vectors

FORMAT = 2
# The name that results of earlier versions have, too.
FILE_NAME = "judge.npz"
_CACHE = "judges"
# Larger samples take longer and change nothing that is seen.
SAMPLE_SIZE = 3_000
# The distance of the unknown is the larger of two. The first is SLACK times the distance within which the share KNOWN
# of the images have a neighbor: sides of a fruit that were never seen are farther than the next frame. The second is
# the distance within which the share OUT_OF_DISTRIBUTION of them have a neighbor of another label.
KNOWN, SLACK, OUT_OF_DISTRIBUTION = 0.99, 1.75, 0.75
# Fewer votes of held-out groups than this do not fit a calibration: those of random folds are taken instead.
_MIN_GROUPED_VOTES = 50


@dataclass(frozen=True)
class Calibration:
    """All that turns neighbors into a label with a confidence, or into "unknown".

    Attributes
    ----------
    space : float32 array, shape (c, k)
        Matrix that coordinates are multiplied by before they are compared.
    scaling : PlattScaling
    unknown_threshold : float
        The distance, of `lookup.spaces.nearest_distances`, beyond which an image is unknown.
    """

    space: Vectors
    scaling: PlattScaling
    unknown_threshold: float

    def to_bytes(self) -> bytes:
        """Return the calibration as an .npz file."""
        file = io.BytesIO()
        numbers = np.array([FORMAT, self.scaling.slope, self.scaling.offset, self.unknown_threshold])
        np.savez(file, space=self.space, numbers=numbers)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Calibration | None":
        """Read the file of `to_bytes`; None for one that is damaged or of another version, which is fitted again."""
        with suppress(Exception), np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            version, slope, offset, unknown_threshold = arrays["numbers"].tolist()
            if version == FORMAT:
                return cls(arrays["space"], PlattScaling(slope, offset), unknown_threshold)
        return None


@dataclass(frozen=True)
class CalibrationFit:
    """A calibration with the sample, the cross-validations and the choices that it was fitted by.

    Attributes
    ----------
    calibration : Calibration
    sample : LabeledSample
    naive, grouped, components_only : Outcome
        Cross-validation with random folds; with folds that split no group; the latter by the components alone.
    out_of_distribution : float64 array, shape (n,)
        See `lookup.cross_validation.out_of_distribution_distances`.
    learned : bool
        Whether the learned space is used.
    on_groups : bool
        Whether the scaling was fitted to the grouped folds.
    """

    calibration: Calibration
    sample: LabeledSample
    naive: Outcome
    grouped: Outcome
    components_only: Outcome
    out_of_distribution: NDArray[np.float64]
    learned: bool
    on_groups: bool


def calibrate(index: Index, sample_size: int = SAMPLE_SIZE) -> CalibrationFit:
    """Fit a calibration to an index; raises `JobError` where no image has a label."""
    with threadpool_limits(1, "blas"):  # for matrices of this size threads wait for each other more than they compute
        return _calibrate(index, sample_size)


def _calibrate(index: Index, sample_size: int) -> CalibrationFit:
    sample = draw_sample(index, sample_size)
    if not len(sample.labels):
        raise JobError("none of the images has a label, so that none can be named; search works without labels")
    naive = cross_validate(sample, naive_folds(sample), learned=True)
    folds, several = grouped_folds(sample), sample.of_several_groups
    grouped, components_only = (cross_validate(sample, folds, learned=learned) for learned in (True, False))
    on_groups = int(several.sum()) >= _MIN_GROUPED_VOTES
    learned = not _worse(grouped.right[several], components_only.right[several])
    fitted, chosen = (grouped, several) if on_groups else (naive, np.ones_like(several))
    out_of_distribution = out_of_distribution_distances(sample)
    calibration = Calibration(
        space_of(sample, slice(None), learned=learned),
        PlattScaling.fit(fitted.margins[chosen], fitted.right[chosen]),
        _unknown_threshold(naive.distances, out_of_distribution),
    )
    return CalibrationFit(calibration, sample, naive, grouped, components_only, out_of_distribution, learned, on_groups)


def _worse(right: NDArray[np.bool_], reference: NDArray[np.bool_]) -> bool:
    """Return whether fewer are right than in the reference, beyond chance, by the images that differ (McNemar)."""
    lost, won = int((reference & ~right).sum()), int((right & ~reference).sum())
    return lost - won > 2 * math.sqrt(lost + won)


def _unknown_threshold(known: NDArray[np.float64], out_of_distribution: NDArray[np.float64]) -> float:
    bounds = [SLACK * float(np.quantile(known[np.isfinite(known)], KNOWN))] if np.isfinite(known).any() else []
    if np.isfinite(out_of_distribution).all():
        bounds.append(float(np.quantile(out_of_distribution, OUT_OF_DISTRIBUTION)))
    return max(bounds, default=float("inf"))


def read_calibration(output: str, run: RunRecord, index: Index, progress: Progress) -> Calibration:
    """Return the calibration that is saved with an output's results; where there is none, fit and save one."""
    for address in _addresses(output, run):
        with suppress(OSError):
            calibration = Calibration.from_bytes(storage.read(address))
            if calibration is not None and calibration.space.shape[0] == index.width:
                return calibration
    progress.say("learning from the results how sure a name is and which images are unknown, once for each run")
    calibration = calibrate(index).calibration
    save_calibration(output, run, calibration)
    return calibration


def save_calibration(output: str, run: RunRecord, calibration: Calibration) -> str | None:
    """Save a calibration beside the index, or in this user's cache if the output is read-only; return the address."""
    for address in _addresses(output, run):
        with suppress(OSError):
            storage.write(address, calibration.to_bytes())
            return address
    return None


def _addresses(output: str, run: RunRecord) -> list[str]:
    folder = run.index_folder(output)
    return [storage.join(folder, FILE_NAME), str(cache_folder(_CACHE, folder) / FILE_NAME)]
