"""Spark stage: listing minus store -> features. Each image is fetched, decoded and inferred once, in the workers."""

import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from job import storage
from job.errors import JobError
from job.features.diff import Difference, Reuse, subtract
from job.features.extraction import Extracted, Extraction, check_reads, extract_or_refuse, probe
from job.features.layout import model_folder, new_run, remove_runs, work_folder, work_name
from job.features.model import DESCRIPTION, TFLITE, Model, decode_options, fingerprint, model_summary, read_model
from job.features.snapshot import Counts, RowMask, Snapshot, read_snapshot, write_snapshot
from job.features.table import OK, REJECTED
from job.features.wave import DataFile, commit, committed, drop_damaged, drop_uncommitted
from job.features.wave_plan import Pace, Slice, WavePlan
from job.images.fetch import refusal
from job.images.listing import Listing
from job.images.source import check_images, list_images
from job.progress import Progress, Stopwatch
from job.results.generations import drop_unnamed
from job.settings import Settings
from job.spark.runner import SparkRunner, TaskRunner
from job.stages.hold import hold
from job.stages.prune import SMALL_FILES, compact

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def featurize(
    spark: "SparkSession",
    settings: Settings,
    progress: Progress | None = None,
    *,
    runner: TaskRunner | None = None,
    pace: Pace | None = None,
    small_files: int = SMALL_FILES,
) -> Snapshot:
    """Bring the features table of an output up to date with a folder, prefix or manifest of images.

    Parameters
    ----------
    spark : SparkSession
        The user's own; it is used as it is and left as it was found.
    settings : Settings
        `images`, `model` and `output` are needed.
    progress : Progress, optional
        Where to report how far the work has come; silent by default.
    runner : TaskRunner, optional
        Runs the tasks that infer; the session does by default.
    pace : Pace, optional
        Duration of waves and their tasks, within the settings' `wave_seconds`.
    small_files : int
        Number of small features files beyond which the run merges them.

    Returns
    -------
    Snapshot
        The current images: counts, labels, seconds of each step, and which rows stand for them (see `read_features`).

    Raises
    ------
    JobError
        For settings that cannot be used, before anything is inferred.
    RunError
        When the run could not be finished; what was committed stays, and the next run goes on from there.
    """
    model = check(settings)
    runner = runner or SparkRunner(spark)
    progress = progress or Progress()
    output, made_by = storage.absolute(settings.output), fingerprint(model, settings)
    with hold(settings.output, progress):
        clock = Stopwatch()
        run = _Run(output, new_run(output), made_by, settings, model)
        _prepare(run, progress)
        listing = list_images(spark, settings, storage.join(work_folder(run.output, run.name), "listing"))
        clock.lap("list")
        difference = _subtract(spark, run, listing)
        clock.lap("subtract")
        known, new = difference.reused.total(), difference.todo.rows
        if listing.unlisted.count:
            names = ", ".join(listing.unlisted.names[:3])
            progress.say(f"{listing.unlisted.count:,} folders may not be listed, and are LEFT OUT: {names} …")
        progress.say(f"{listing.rows:,} images listed, {known:,} of them known, {new:,} new")
        files, statuses = _extract(runner, run, difference, pace or Pace(), progress)
        clock.lap("featurize")
        snapshot = _snapshot(run, listing, difference, files, statuses, clock.seconds)
        _publish(run, snapshot)
        return compact(spark, run.output, snapshot, small_files, progress)


def check(settings: Settings) -> Model:
    """Refuse, without Spark, settings that this stage cannot work with, and return the model; raises `JobError`."""
    for name in ("images", "model", "output"):
        if not getattr(settings, name):
            raise JobError(f"--{name} is needed")
    check_images(settings.images)
    model = read_model(storage.absolute(settings.model))
    check_output(settings.output)
    return model


def check_output(address: str) -> None:
    """Refuse an output that cannot be written to; raises `JobError`."""
    output = storage.absolute(address)
    if storage.text(output) != output:
        raise JobError(f"the name of the output {storage.text(output)} is not UTF-8; use another --output")
    probe = storage.join(output, f".probe-{secrets.token_hex(4)}")
    try:
        storage.write(probe, b"")
        storage.remove(probe)
    except OSError as error:
        raise JobError(f"cannot write to {output}: {error.strerror or error}") from None


@dataclass(frozen=True)
class _Run:
    """One run of the stage: its name, the output that it writes to, the model and its fingerprint, the settings."""

    output: str
    name: str
    fingerprint: str
    settings: Settings
    model: Model


def _prepare(run: _Run, progress: Progress) -> None:
    """Drop the remains of killed runs and damaged files; keep the model beside its features, for the workers."""
    drop_unnamed(run.output)
    drop_uncommitted(run.output)
    for name in drop_damaged(run.output, run.fingerprint):
        progress.say(f"{name} is not the file that was committed: its images are inferred again")
    folder = model_folder(run.output, run.fingerprint)
    storage.write(storage.join(folder, TFLITE), run.model.tflite)
    storage.write(storage.join(folder, DESCRIPTION), run.model.json)


def _subtract(spark: "SparkSession", run: _Run, listing: Listing) -> Difference:
    """Return which listed images the table lacks, and which of its rows stand for the others."""
    files = committed(run.output, run.fingerprint)
    settings = run.settings
    reuse = Reuse(not settings.retry_rejected, settings.decode_seconds, settings.decode_bytes)
    return subtract(spark, run.output, listing, files, work_name(run.name), reuse)


def _extract(
    runner: TaskRunner, run: _Run, difference: Difference, pace: Pace, progress: Progress
) -> tuple[list[DataFile], Counter[str]]:
    """Extract the features of new images wave by wave, each committed when its tasks are done.

    Returns
    -------
    tuple
        The features files, and the number of images by status.
    """
    options = decode_options(run.model, run.settings)
    extraction = Extraction(run.output, run.name, run.fingerprint, options, isolated=not runner.retries)
    slices = [Slice(part.address, 0, part.rows) for part in difference.todo.parts]
    if difference.todo.rows > difference.reused[OK]:  # else the new images are few, and each may be refused for itself
        probe(slices, options)
    plan = WavePlan.first(slices, runner.parallelism, run.settings.wave_seconds, pace)
    files: list[DataFile] = []
    statuses: Counter[str] = Counter()
    with progress.counting("features", plan.rows_left) as update:
        while plan.slices:
            tasks = extraction.tasks(plan.number, plan.tasks())
            started = time.monotonic()
            results = runner.run(extract_or_refuse, tasks, _offset(statuses.total(), update), attrgetter("rows"))
            seconds = time.monotonic() - started
            done = [result for result in results if isinstance(result, Extracted)]
            check_reads(run.settings.images, done, statuses[OK] + difference.reused[OK])
            _commit(extraction, plan.number, results)
            for extracted in done:
                files.append(extracted.file)
                statuses += extracted.statuses
            plan = plan.after(seconds)
    return files, statuses


def _offset(finished: int, update: Callable[[int], None]) -> Callable[[int], None]:
    """Return the function that reports the images of one wave as those of the whole run."""
    return lambda done: update(finished + done)


def _commit(extraction: Extraction, number: int, results: list[Extracted | PermissionError]) -> None:
    """Commit the files of a wave's successful tasks; raises `RunError` if storage refused another."""
    files = [result.file for result in results if isinstance(result, Extracted)]
    if files:
        commit(extraction.output, extraction.wave(number), files)
    for result in results:
        if isinstance(result, PermissionError):
            raise refusal(result)


def _snapshot(
    run: _Run,
    listing: Listing,
    difference: Difference,
    files: list[DataFile],
    statuses: Counter[str],
    seconds: dict[str, float],
) -> Snapshot:
    """Return the snapshot of all listed images: known rows, and those of the new files."""
    statuses = statuses + difference.reused
    if statuses.total() != listing.rows:
        raise AssertionError(f"{listing.rows} images were listed and {statuses.total()} accounted for")
    reused, new = difference.reused.total(), difference.todo.rows
    return Snapshot(
        run=run.name,
        fingerprint=run.fingerprint,
        model=model_summary(run.model),
        settings=run.settings.as_dict(),
        counts=Counts(listed=listing.rows, reused=reused, new=new, ok=statuses[OK], rejected=statuses[REJECTED]),
        labels=None if (labels := listing.labels.by_label) is None else dict(sorted(labels.items())),
        label_digest=listing.labels.digest,
        seconds=seconds,
        images_per_second=new / seconds["featurize"] if new else 0.0,
        row_masks=(*difference.row_masks, *map(RowMask.whole, files)),
        unlisted_folders=listing.unlisted,
    )


def _publish(run: _Run, snapshot: Snapshot) -> None:
    """Make the snapshot current; then delete what runs before the last, or this one until now, needed."""
    before = _run_before(run.output)
    write_snapshot(run.output, snapshot)
    remove_runs(run.output, "work", keep={run.name, before})
    for name in ("listing", "todo"):
        storage.remove(storage.join(work_folder(run.output, run.name), name))


def _run_before(output: str) -> str:
    """Return the name of the run whose images are current, empty where there is none that can be read."""
    try:
        return read_snapshot(output).run
    except JobError:
        return ""
