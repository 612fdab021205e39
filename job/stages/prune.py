"""Spark stage: deletes from the features table the rows of images and models that are no longer current."""

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from job import storage
from job.features.layout import models, new_run, wave_name
from job.features.snapshot import RowMask, read_snapshot, write_snapshot
from job.features.table import SCHEMA, features_writer, read_batches
from job.features.wave import DataFile, commit, committed, drop_uncommitted
from job.progress import Progress
from job.settings import Settings
from job.spark.shipping import ship
from job.spark.tasks import run_tasks
from job.storage.lock import check_held, locked

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Pruned:
    """What was deleted, or would be: other models' folders, waves of the current model, rows in those waves."""

    models: list[str]
    waves: list[str]
    rows: int


@dataclass(frozen=True)
class _Rewrite:
    """The current rows of one file, and the address, below the output, of the file that takes them over."""

    output: str
    row_mask: RowMask
    target: str


def prune(spark: "SparkSession", settings: Settings, progress: Progress | None = None) -> Pruned:
    """Delete what the images of the latest run do not need.

    Current rows of waves that also hold others move to a new wave, which is committed and named before the old ones go:
    a killed prune loses nothing.

    Raises
    ------
    JobError
        Where the output holds no features.
    """
    output, progress = storage.absolute(settings.output), progress or Progress()
    read_snapshot(output)  # an output without features is refused before anything is written to it
    with locked(output, progress):
        return _prune(spark, output, progress, dry_run=settings.dry_run)


def _prune(spark: "SparkSession", output: str, progress: Progress, *, dry_run: bool) -> Pruned:
    snapshot = read_snapshot(output)
    chosen = {row_mask.file.name: row_mask for row_mask in snapshot.row_masks}
    others = [name for name in models(output) if name != snapshot.fingerprint]
    stale: list[str] = []
    moving: list[RowMask] = []
    rows = 0
    for wave, members in groupby(committed(output, snapshot.fingerprint), key=lambda file: file.name.rsplit("/", 1)[0]):
        files = list(members)
        kept = [chosen[file.name] for file in files if file.name in chosen]
        unused = sum(file.rows for file in files) - sum(row_mask.rows for row_mask in kept)
        if unused:
            stale.append(wave)
            moving += kept
            rows += unused
    result = Pruned(others, stale, rows)
    if dry_run:
        return result

    ship(spark)
    drop_uncommitted(output)
    if moving:
        wave = wave_name(snapshot.fingerprint, new_run(), 0)
        tasks = [_Rewrite(output, one, f"{wave}/part-{index:05d}.parquet") for index, one in enumerate(moving)]
        with progress.counting("moved", sum(one.rows for one in moving)) as update:
            files = run_tasks(spark, _rewrite, tasks, update, lambda task: task.row_mask.rows)
        commit(output, wave, files)
        moved = {one.file.name for one in moving}
        row_masks = [one for one in snapshot.row_masks if one.file.name not in moved]
        row_masks += map(RowMask.whole, files)
        write_snapshot(output, replace(snapshot, row_masks=tuple(row_masks)))
    check_held(output)
    for folder in [*stale, *(f"features/model={name}" for name in others)]:
        storage.remove(storage.join(output, folder))
    return result


def _rewrite(task: _Rewrite) -> DataFile:
    with storage.create(storage.join(task.output, task.target)) as path:
        with features_writer(path) as writer:
            for batch in read_batches(task.output, [task.row_mask], SCHEMA.names):
                writer.write_batch(batch)
        return DataFile(task.target, task.row_mask.rows, path.stat().st_size)
