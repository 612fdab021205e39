"""Spark stage: deletes from the features table what is no longer current, and merges its small files."""

from operator import attrgetter
from typing import TYPE_CHECKING

from job import storage
from job.features.layout import model_name, models, new_run, wave_name, waves
from job.features.pruning import SMALL_BYTES, Move, PrunePlan, move, plan_compaction, plan_pruning
from job.features.snapshot import Snapshot, read_snapshot, write_snapshot
from job.features.wave import commit, committed, drop_uncommitted, drop_waves
from job.progress import Progress
from job.settings import Settings
from job.spark.shipping import ship
from job.spark.tasks import run_tasks
from job.stages.hold import hold
from job.storage.lock import check_held

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Number of small files beyond which a run merges them: opening a thousand takes a second on one core.
SMALL_FILES = 1_000


def prune(spark: "SparkSession", settings: Settings, progress: Progress | None = None) -> PrunePlan:
    """Delete what the images of the latest run do not need, and merge small files.

    Current rows of waves that also hold others, or whose files are small, move to a new wave. It is committed and named
    before the old ones go: a killed prune loses nothing.

    Parameters
    ----------
    spark : SparkSession
        The user's own; it is used as it is and left as it was found.
    settings : Settings
        `output` is needed; with `dry_run` nothing is deleted.
    progress : Progress, optional
        Where to report how far the work has come; silent by default.

    Returns
    -------
    PrunePlan
        What was deleted, or would be.

    Raises
    ------
    JobError
        Where the output holds no features.
    """
    output, progress = storage.absolute(settings.output), progress or Progress()
    read_snapshot(output)  # an output without features is refused before anything is written to it
    with hold(output, progress):
        snapshot = read_snapshot(output)
        plan = plan_pruning(snapshot, committed(output, snapshot.fingerprint), models(output))
        if settings.dry_run:
            return plan
        ship(spark)
        drop_uncommitted(output)
        _rewrite(spark, output, snapshot, plan, progress)
        for model in plan.models:
            _drop_model(output, model)
    return plan


def _drop_model(output: str, fingerprint: str) -> None:
    """Delete all features of a model, and the model kept beside them."""
    folder = storage.join(output, model_name(fingerprint))
    drop_waves(output, waves(output, fingerprint))
    storage.remove(folder, lambda: check_held(output))


def compact(spark: "SparkSession", output: str, snapshot: Snapshot, small_files: int, progress: Progress) -> Snapshot:
    """Merge the small files of current rows where there are more than a bound; return the snapshot that is current."""
    if sum(row_mask.file.bytes < SMALL_BYTES for row_mask in snapshot.row_masks) <= small_files:
        return snapshot
    plan = plan_compaction(snapshot, committed(output, snapshot.fingerprint), small_files)
    if not plan.bundles:
        return snapshot
    progress.say(f"merging {len(plan.moving):,} small features files into {len(plan.bundles):,}")
    return _rewrite(spark, output, snapshot, plan, progress)


def _rewrite(spark: "SparkSession", output: str, snapshot: Snapshot, plan: PrunePlan, progress: Progress) -> Snapshot:
    """Move current rows to a new wave, and delete the waves that they were in; return the snapshot that is current."""
    if plan.bundles:
        wave = wave_name(snapshot.fingerprint, new_run(output), 0)
        tasks = [Move(output, rows, f"{wave}/part-{number:05d}") for number, rows in enumerate(plan.bundles)]
        with progress.counting("moved", plan.moving_rows) as update:
            files = run_tasks(spark, move, tasks, update, attrgetter("rows"))
        commit(output, wave, files)
        snapshot = plan.apply(snapshot, files)
        write_snapshot(output, snapshot)
    drop_waves(output, plan.waves)
    return snapshot
