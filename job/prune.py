"""Spark stage: deletes from the features table the rows of images and models that are no longer current."""

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from job import storage
from job.featurize import new_run
from job.lock import check_held, locked
from job.progress import Progress
from job.session import ship
from job.settings import Settings
from job.store import (
    SCHEMA,
    File,
    Selection,
    commit,
    committed,
    features_writer,
    models,
    read_batches,
    read_current,
    remove_unfinished,
    wave_name,
    write_current,
)
from job.tasks import run_tasks

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
    selection: Selection
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
    read_current(output)  # an output without features is refused before anything is written to it
    with locked(output, progress):
        return _prune(spark, output, progress, dry_run=settings.dry_run)


def _prune(spark: "SparkSession", output: str, progress: Progress, *, dry_run: bool) -> Pruned:
    current = read_current(output)
    chosen = {selection.file.name: selection for selection in current.selections}
    others = [name for name in models(output) if name != current.fingerprint]
    stale: list[str] = []
    moving: list[Selection] = []
    rows = 0
    for wave, members in groupby(committed(output, current.fingerprint), key=lambda file: file.name.rsplit("/", 1)[0]):
        files = list(members)
        kept = [chosen[file.name] for file in files if file.name in chosen]
        unused = sum(file.rows for file in files) - sum(selection.rows for selection in kept)
        if unused:
            stale.append(wave)
            moving += kept
            rows += unused
    result = Pruned(others, stale, rows)
    if dry_run:
        return result

    ship(spark)
    remove_unfinished(output)
    if moving:
        wave = wave_name(current.fingerprint, new_run(), 0)
        tasks = [_Rewrite(output, one, f"{wave}/part-{index:05d}.parquet") for index, one in enumerate(moving)]
        with progress.counting("moved", sum(one.rows for one in moving)) as update:
            files = run_tasks(spark, _rewrite, tasks, update, lambda task: task.selection.rows)
        commit(output, wave, files)
        moved = {one.file.name for one in moving}
        selections = [one for one in current.selections if one.file.name not in moved]
        selections += [Selection(file, None, file.rows) for file in files]
        write_current(output, replace(current, selections=selections))
    check_held(output)
    for folder in [*stale, *(f"features/model={name}" for name in others)]:
        storage.remove(storage.join(output, folder))
    return result


def _rewrite(task: _Rewrite) -> File:
    with storage.create(storage.join(task.output, task.target)) as path:
        with features_writer(path) as writer:
            for batch in read_batches(task.output, [task.selection], SCHEMA.names):
                writer.write_batch(batch)
        return File(task.target, task.selection.rows, path.stat().st_size)
