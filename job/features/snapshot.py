"""The snapshot: the images of the latest run, and which rows of which features files stand for them.

`features/_CURRENT.json` holds it; whoever replaces that file changes which features are current.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from heapq import heapreplace
from typing import Any

from job import storage
from job.errors import JobError
from job.features.wave import DataFile
from job.images.label_counts import LabelDigest
from job.images.unlisted_folders import UnlistedFolders
from job.storage.lock import names_nothing, write_named

SNAPSHOT = "features/_CURRENT.json"
SNAPSHOT_FORMAT = 2

# What opening a file costs, in bytes that are read in that time.
_FILE = 256_000


@dataclass(frozen=True)
class Counts:
    """Numbers of images: `listed` = `reused` + `new` = `ok` + `rejected`."""

    listed: int
    reused: int
    new: int
    ok: int
    rejected: int

    def to_json(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Counts":
        """Return the counts that `to_json` gave."""
        return cls(**{count.name: values[count.name] for count in fields(cls)})


@dataclass(frozen=True)
class ModelSummary:
    """The model that made the features, as `_CURRENT.json` and `run.json` describe it.

    Attributes
    ----------
    name : str
        Its architecture.
    alpha : float
        Width multiplier.
    input_size : int
        Side of the square input, in pixels.
    n_features : int
        Length of a feature vector; `features` in JSON.
    weights, weights_note, weights_sha256 : str
        Where the weights come from, one sentence on them, their digest.
    sha256 : str
        Digest of `model.tflite`.
    """

    name: str
    alpha: float
    input_size: int
    n_features: int
    weights: str
    weights_note: str
    weights_sha256: str
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON-ready values."""
        return {_JSON_KEYS.get(name, name): value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "ModelSummary":
        """Return the summary that `to_json` gave; keys that it does not know are left out."""
        return cls(**{each.name: values[_JSON_KEYS.get(each.name, each.name)] for each in fields(cls)})


_JSON_KEYS = {"n_features": "features"}


@dataclass(frozen=True)
class RowMask:
    """Which rows of a features file are current.

    Attributes
    ----------
    file : DataFile
        The features file.
    mask : str or None
        Address, below the output, of a Parquet file with the columns `file`, `row` and `label` (the label of the latest
        listing); None where every row is current.
    rows : int
        Number of current rows.
    """

    file: DataFile
    mask: str | None
    rows: int

    @classmethod
    def whole(cls, file: DataFile) -> "RowMask":
        """Return the mask of a file whose rows are all current."""
        return cls(file, None, file.rows)

    def to_json(self) -> list[Any]:
        """Return the mask as JSON-ready values."""
        return [[self.file.name, self.file.rows, self.file.bytes], self.mask, self.rows]

    @classmethod
    def from_json(cls, values: list[Any]) -> "RowMask":
        """Return the mask that `to_json` gave."""
        file, mask, rows = values
        return cls(DataFile(*file), mask, rows)


@dataclass(frozen=True)
class Snapshot:
    """The images of the latest featurize stage, and the facts of that stage.

    Attributes
    ----------
    run : str
        Name of the run.
    fingerprint : str
        What tells apart features that may not be mixed.
    model : ModelSummary
        The model that made the features.
    settings : dict
        The settings of that run, by name.
    counts : Counts
        Images listed, reused, new, usable and rejected.
    labels : dict or None
        Number of listed images by label; the label of an image without one is empty. None for more than 100,000 labels.
    label_digest : LabelDigest
        Of the labels of all listed images.
    seconds : dict
        Duration of each step.
    images_per_second : float
        New images over the time that their features took.
    row_masks : tuple of RowMask
        Which rows are current.
    unlisted_folders : UnlistedFolders
        Folders that may not be listed, and were left out.
    """

    run: str
    fingerprint: str
    model: ModelSummary
    settings: dict[str, Any]
    counts: Counts
    labels: dict[str, int] | None
    label_digest: LabelDigest
    seconds: dict[str, float]
    images_per_second: float
    row_masks: tuple[RowMask, ...] = field(default=())
    unlisted_folders: UnlistedFolders = field(default_factory=UnlistedFolders)

    def to_json(self) -> dict[str, Any]:
        """Return the snapshot as JSON-ready values."""
        return {
            "run": self.run,
            "fingerprint": self.fingerprint,
            "model": self.model.to_json(),
            "settings": self.settings,
            "counts": self.counts.to_json(),
            "labels": self.labels,
            "label_digest": self.label_digest.value,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            "unlisted_folders": self.unlisted_folders.to_json(),
            "selections": [row_mask.to_json() for row_mask in self.row_masks],
            "format": SNAPSHOT_FORMAT,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Snapshot":
        """Return the snapshot that `to_json` gave; raises `LookupError`, `TypeError` or `ValueError` for another."""
        counts, labels = Counts.from_json(values["counts"]), values["labels"]
        # Earlier versions wrote none, but all labels.
        digest = values.get("label_digest", LabelDigest.of(labels or {}).value)
        return cls(
            run=values["run"],
            fingerprint=values["fingerprint"],
            model=ModelSummary.from_json(values["model"]),
            settings=values["settings"],
            counts=counts,
            labels=labels,
            label_digest=LabelDigest(counts.listed, digest),
            seconds=values["seconds"],
            images_per_second=values["images_per_second"],
            row_masks=tuple(map(RowMask.from_json, values["selections"])),
            unlisted_folders=UnlistedFolders.from_json(values.get("unlisted_folders")),
        )


def write_snapshot(output: str, snapshot: Snapshot) -> None:
    """Name the images that are current from now on."""
    write_named(output, {SNAPSHOT: snapshot.to_json()})


def read_snapshot(output: str) -> Snapshot:
    """Return the snapshot that the latest featurize stage wrote.

    Raises
    ------
    JobError
        Where there is none, or one that this version cannot read.
    """
    address = storage.join(output, SNAPSHOT)
    damaged = JobError(f"{address} is damaged; run python -m job featurize again, nothing is inferred twice")
    absent = JobError(f"no features in {output}; make them with: python -m job featurize --output {output} …")
    try:
        values = json.loads(storage.read(address))
    except (FileNotFoundError, NotADirectoryError):
        raise absent from None
    except ValueError:
        raise damaged from None
    if not isinstance(values, dict):
        raise damaged
    if names_nothing(values):
        raise absent
    if values.get("format") != SNAPSHOT_FORMAT:
        raise JobError(
            f"{address} has format {values.get('format')}, this version reads format {SNAPSHOT_FORMAT};"
            " run python -m job run again, which infers all images anew"
        )
    try:
        return Snapshot.from_json(values)
    except (LookupError, TypeError, ValueError):
        raise damaged from None


def deal(row_masks: Iterable[RowMask], tasks: int) -> list[list[RowMask]]:
    """Deal row masks out to at most `tasks` tasks, evenly by bytes; those that share a mask file stay together."""
    bundles: dict[str, list[RowMask]] = {}
    for row_mask in row_masks:
        bundles.setdefault(row_mask.mask or row_mask.file.name, []).append(row_mask)
    shares: list[list[RowMask]] = [[] for _ in range(min(len(bundles), tasks))]
    loads = [(0.0, number) for number in range(len(shares))]
    for bundle in sorted(bundles.values(), key=_load, reverse=True):
        load, lightest = loads[0]
        shares[lightest] += bundle
        heapreplace(loads, (load + _load(bundle), lightest))
    return shares


def _load(row_masks: Sequence[RowMask]) -> float:
    """Return how much reading rows costs, in bytes."""
    return sum(row_mask.file.bytes * row_mask.rows / max(row_mask.file.rows, 1) + _FILE for row_mask in row_masks)
