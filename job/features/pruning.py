"""Pruning and compaction of the features table: the plan of which waves go, and the tasks that move current rows.

Rows that are not current go; small files are merged, because each costs as much as a hundred rows to open.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter

from job import storage
from job.features.snapshot import RowMask, Snapshot
from job.features.table import SCHEMA, features_writer, read_batches
from job.features.wave import DataFile

# Waves whose files are smaller on average, in bytes, are merged: 400 images of 1280 features.
SMALL_BYTES = 2_000_000
# Rows of a merged file, as many as a run's own have: 10 MB of 1280 features, so that tasks share them evenly.
MERGED_ROWS = 2_000


@dataclass(frozen=True)
class PrunePlan:
    """What goes from a table, and what moves.

    Attributes
    ----------
    models : tuple of str
        Fingerprints of the other models: their features go.
    waves : tuple of str
        Waves of the snapshot's model, as folders below the output, that hold rows which are not current, or small
        files: they go.
    rows : int
        Number of rows of these waves that are not current.
    bundles : tuple of tuple of RowMask
        The current rows of those waves: they move to a new wave first, each bundle to one file.
    """

    models: tuple[str, ...]
    waves: tuple[str, ...]
    rows: int
    bundles: tuple[tuple[RowMask, ...], ...]

    @property
    def moving(self) -> tuple[RowMask, ...]:
        """Return the current rows that move."""
        return tuple(row_mask for bundle in self.bundles for row_mask in bundle)

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
    """Plan what goes from a table: all rows that are not current, and small files.

    Parameters
    ----------
    snapshot : Snapshot
        The current images.
    files : iterable of DataFile
        The committed files of the snapshot's model, wave by wave.
    models : iterable of str
        Fingerprints of all models that the table has features of.
    """
    members = _waves(snapshot, files)
    merging = _small_files(members) > 1  # a single one has nothing to be merged with
    others = tuple(name for name in models if name != snapshot.fingerprint)
    return _plan(others, [wave for wave in members if wave.stale or (merging and wave.is_small)])


def plan_compaction(snapshot: Snapshot, files: Iterable[DataFile], bound: int) -> PrunePlan:
    """Plan the merging of small files where there are more of them than a bound; rows that are not current stay."""
    members = _waves(snapshot, files)
    merging = _small_files(members) > bound
    return _plan((), [wave for wave in members if merging and wave.is_small])


@dataclass(frozen=True)
class _Wave:
    """A wave: its files, and which of their rows are current."""

    name: str
    files: tuple[DataFile, ...]
    kept: tuple[RowMask, ...]

    @property
    def stale(self) -> int:
        """Return how many rows are not current."""
        return sum(file.rows for file in self.files) - sum(row_mask.rows for row_mask in self.kept)

    @property
    def is_small(self) -> bool:
        """Return whether its files are small, on average, and all their rows are current."""
        return not self.stale and sum(file.bytes for file in self.files) < SMALL_BYTES * len(self.files)


def _waves(snapshot: Snapshot, files: Iterable[DataFile]) -> list[_Wave]:
    current = {row_mask.file.name: row_mask for row_mask in snapshot.row_masks}
    found = []
    for name, group in groupby(files, key=attrgetter("wave")):
        members = tuple(group)
        found.append(_Wave(name, members, tuple(current[file.name] for file in members if file.name in current)))
    return found


def _small_files(waves: Iterable[_Wave]) -> int:
    return sum(len(wave.files) for wave in waves if wave.is_small)


def _plan(models: tuple[str, ...], going: Sequence[_Wave]) -> PrunePlan:
    moving = [row_mask for wave in going for row_mask in wave.kept]
    return PrunePlan(models, tuple(wave.name for wave in going), sum(wave.stale for wave in going), _bundles(moving))


def _bundles(moving: Sequence[RowMask]) -> tuple[tuple[RowMask, ...], ...]:
    """Return rows that move as bundles for one file each, in their order."""
    bundles: list[tuple[RowMask, ...]] = []
    rows = 0
    for row_mask in moving:
        if not bundles or rows + row_mask.rows > MERGED_ROWS:
            bundles.append(())
            rows = 0
        bundles[-1] += (row_mask,)
        rows += row_mask.rows
    return tuple(bundles)


@dataclass(frozen=True)
class Move:
    """The current rows of some files, and the address, below the output, of the file that takes them over."""

    output: str
    row_masks: tuple[RowMask, ...]
    target: str

    @property
    def rows(self) -> int:
        """Return how many rows move."""
        return sum(row_mask.rows for row_mask in self.row_masks)


def move(task: Move) -> DataFile:
    """Write, in a worker, the current rows of some files as one file."""
    # No attempt writes over another's file, as in `extract_features`.
    name = f"{task.target}-{secrets.token_hex(4)}.parquet"
    with storage.create(storage.join(task.output, name)) as path:
        with features_writer(path) as writer:
            for batch in read_batches(task.output, task.row_masks, SCHEMA.names):
                writer.write_batch(batch)
        return DataFile(name, task.rows, path.stat().st_size)
