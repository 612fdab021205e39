"""Spark stage: reads back everything in an output, and returns the faults that it finds."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from job import storage
from job.errors import JobError, RunError
from job.features.layout import model_folder, models, work_folder
from job.features.model import read_model
from job.features.snapshot import RowMask, Snapshot, deal, read_snapshot
from job.features.table import SCHEMA, read_file
from job.features.wave import committed, lengths
from job.pca.basis_file import read_basis
from job.pca.moments import COLUMNS, TableSummary, summarize_table
from job.progress import Progress
from job.results.audit import REDUCE_AGAIN, Fault, audit_coordinates, audit_csv_files, audit_generations, audit_index
from job.results.run_record import RUN, RunRecord, read_run
from job.results.tables import results_parts
from job.results.validation import PASSED, read_back, validate
from job.settings import Settings
from job.spark.capacity import parallelism
from job.spark.shipping import ship
from job.spark.tasks import run_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_RUN_AGAIN = "run python -m job run again: it makes the damaged files again, and nothing else"
_DELETE_WAVE = "delete the folder of that wave and run python -m job run again: its images are inferred again"


def check(spark: "SparkSession", settings: Settings, progress: Progress | None = None) -> list[Fault]:
    """Read back all of an output: the features table, the basis, the results, their index and the CSV files.

    Parameters
    ----------
    spark : SparkSession
        The user's own; it is used as it is and left as it was found.
    settings : Settings
        `output` is needed.
    progress : Progress, optional
        Where to print progress; silent by default.

    Returns
    -------
    list of Fault
        Empty where there is none.

    Raises
    ------
    JobError
        Where there is nothing to check.
    """
    output, progress = storage.absolute(settings.output), progress or Progress()
    snapshot = read_snapshot(output)
    ship(spark)
    faults = [*_check_waves(output), *_check_models(output, snapshot)]
    plural = "" if len(models(output)) == 1 else "s"
    progress.say(f"features: {snapshot.counts.listed:,} current images; {len(models(output))} model{plural} in all")
    # Every later check would only find a damaged file again.
    if faults:
        return faults
    run, scratch = _comparable_run(output, snapshot, progress), storage.join(work_folder(output, snapshot.run), "check")
    try:
        summary = _read_features(spark, output, snapshot, scratch)
        if run is None:
            return []
        faults = list(_check_results(spark, output, snapshot, summary, run, scratch))
    except RunError as error:
        return [Fault(str(error), _DELETE_WAVE)]
    finally:
        storage.remove(scratch)
    progress.say(f"results: {run.counts.ok:,} rows of {run.components} components")
    return [*faults, *audit_csv_files(output, run)]


def _check_waves(output: str) -> Iterator[Fault]:
    """Compare the length of each features file with the marker of its wave."""
    for fingerprint in models(output):
        try:
            files = committed(output, fingerprint)
        except RunError as error:
            yield Fault(str(error), _DELETE_WAVE)
            continue
        found = lengths(output, fingerprint)
        for file in files:
            length = found.get(file.name)
            if length is None:
                yield Fault(f"{file.name} was committed and is gone", _RUN_AGAIN)
            elif length != file.bytes:
                yield Fault(f"{file.name} has {length} bytes where {file.bytes} were committed", _RUN_AGAIN)


def _check_models(output: str, snapshot: Snapshot) -> Iterator[Fault]:
    """Compare the kept model with its description, and with the model that made the features."""
    kept = model_folder(output, snapshot.fingerprint)
    for folder in (kept, storage.join(output, "model")):
        if not storage.exists(folder):
            continue
        try:
            found = read_model(folder).description.tflite_sha256
        except JobError as error:
            yield Fault(str(error).split(";")[0], _RUN_AGAIN)
            continue
        if folder == kept and found != snapshot.model.sha256:
            yield Fault(f"the model in {folder} is not the one that made the features beside it", _RUN_AGAIN)


def _comparable_run(output: str, snapshot: Snapshot, progress: Progress) -> RunRecord | None:
    """Return the record of the results, None where there are none of the current features."""
    run = read_run(output)
    if run is None:
        progress.say(f"no {RUN}: there are no results yet")
        return None
    if run.counts != snapshot.counts or run.fingerprint != snapshot.fingerprint:
        progress.say("the features are newer than the results; python -m job reduce brings those up to date")
        return None
    return run


def _read_features(spark: "SparkSession", output: str, snapshot: Snapshot, scratch: str) -> TableSummary:
    """Read all columns of the current features; raise `RunError` for a damaged page."""
    run_tasks(spark, partial(_read_other_columns, output), deal(snapshot.row_masks, 4 * parallelism(spark)))
    return summarize_table(spark, output, snapshot, scratch, with_moments=False)


def _read_other_columns(output: str, row_masks: list[RowMask]) -> None:
    """Read, in a worker, the columns that the summary does not read, so that the checksum of each page is compared."""
    others = [name for name in SCHEMA.names if name not in COLUMNS]
    for row_mask in row_masks:
        for _ in read_file(output, row_mask.file, others):
            pass


def _check_results(
    spark: "SparkSession", output: str, snapshot: Snapshot, summary: TableSummary, run: RunRecord, scratch: str
) -> Iterator[Fault]:
    """Validate the results again, and compare them with the features and the index."""
    try:
        basis = read_basis(run.basis_address(output))
        parts = results_parts(output, run)
        found = read_back(spark, parts, len(basis.components), run.counts.ok, scratch)
    except JobError as error:
        yield Fault(f"the results cannot be read: {error}", REDUCE_AGAIN)
        return
    if basis.fingerprint != snapshot.fingerprint:
        yield Fault("the basis was fitted to features of another model", REDUCE_AGAIN)
    for name, result in validate(snapshot, summary, found, basis).items():
        if result != PASSED:
            yield Fault(f"{name}: {result}", _DELETE_WAVE if name.startswith("features") else REDUCE_AGAIN)
    yield from audit_generations(spark, output, run)
    yield from audit_coordinates(spark, output, snapshot, basis, parts)
    yield from audit_index(spark, output, run, parts)
