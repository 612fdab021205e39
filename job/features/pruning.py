"""Pruning of the features table: the plan of what goes and what moves, and the task that moves current rows."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter

from job import storage
from job.features.snapshot import RowMask, Snapshot
from job.features.table import SCHEMA, features_writer, read_batches
from job.features.wave import DataFile


@dataclass(frozen=True)
class PrunePlan:
    """What the images of a snapshot do not need.

    Attributes
    ----------
    models : tuple of str
        Fingerprints of the other models: their features go.
    waves : tuple of str
        Waves of the snapshot's model, as folders below the output, that hold rows which are not current: they go.
    rows : int
        Number of those rows.
    moving : tuple of RowMask
        The current rows of those waves: they move to a new wave first.
    """

    models: tuple[str, ...]
    waves: tuple[str, ...]
    rows: int
    moving: tuple[RowMask, ...]

    @property
    def moving_rows(self) -> int:
        """Return how many current rows move."""
        return sum(row_mask.rows for row_mask in self.moving)

    def apply(self, snapshot: Snapshot, files: Iterable[DataFile]) -> Snapshot:
        """Return the snapshot once the current rows have moved to these files."""
        moved = {row_mask.file.name for row_mask in self.moving}
        kept = (row_mask for row_mask in snapshot.row_masks if row_mask.file.name not in moved)
        return replace(snapshot, row_masks=(*kept, *map(RowMask.whole, files)))


def plan_pruning(snapshot: Snapshot, files: Iterable[DataFile], models: Iterable[str]) -> PrunePlan:
    """Plan what goes from a table.

    Parameters
    ----------
    snapshot : Snapshot
        The current images.
    files : iterable of DataFile
        The committed files of the snapshot's model, wave by wave.
    models : iterable of str
        Fingerprints of all models that the table has features of.
    """
    current = {row_mask.file.name: row_mask for row_mask in snapshot.row_masks}
    waves: list[str] = []
    moving: list[RowMask] = []
    rows = 0
    for wave, group in groupby(files, key=attrgetter("wave")):
        members = list(group)
        kept = [current[file.name] for file in members if file.name in current]
        stale = sum(file.rows for file in members) - sum(row_mask.rows for row_mask in kept)
        if stale:
            waves.append(wave)
            moving += kept
            rows += stale
    return PrunePlan(tuple(name for name in models if name != snapshot.fingerprint), tuple(waves), rows, tuple(moving))


@dataclass(frozen=True)
class Move:
    """The current rows of one file, and the address, below the output, of the file that takes them over."""

    output: str
    row_mask: RowMask
    target: str

    @property
    def rows(self) -> int:
        """Return how many rows move."""
        return self.row_mask.rows


def move(task: Move) -> DataFile:
    """Write, in a worker, the current rows of one file as a file of their own."""
    with storage.create(storage.join(task.output, task.target)) as path:
        with features_writer(path) as writer:
            for batch in read_batches(task.output, [task.row_mask], SCHEMA.names):
                writer.write_batch(batch)
        return DataFile(task.target, task.rows, path.stat().st_size)
