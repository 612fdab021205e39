"""Spark stage: reduces the current features by PCA, validates the results and publishes them."""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from job import storage
from job.errors import JobError, ReportError, RunError
from job.features.layout import model_folder
from job.features.model import DESCRIPTION, TFLITE
from job.features.snapshot import Snapshot, read_snapshot
from job.pca.basis import Basis, fit
from job.pca.basis_file import BASIS, read_basis, write_basis
from job.pca.moments import TableSummary, summarize_table
from job.progress import Progress, Stopwatch
from job.results.csv_files import MATRIX_CSV, MATRIX_ROWS, CsvRows, csv_files
from job.results.generations import drop_unnamed, show_rows
from job.results.label_table import write_label_table
from job.results.paths import ReductionPaths
from job.results.projection import project
from job.results.run_record import RUN, RunRecord, new_record, read_run, write_run
from job.results.validation import PASSED, read_back, validate
from job.settings import DEFAULT_COMPONENTS, Settings
from job.spark.shipping import ship
from job.stages.hold import hold
from job.stages.report import remove_report, write_report
from job.storage.lock import check_held

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def reduce(
    spark: "SparkSession", settings: Settings, progress: Progress | None = None, *, matrix_rows: int = MATRIX_ROWS
) -> RunRecord:
    """Reduce the current features of an output by PCA, write the results, validate them and name them in `run.json`.

    Parameters
    ----------
    spark : SparkSession
        The user's own; it is used as it is and left as it was found.
    settings : Settings
        `output` is needed; `components`, `variance` or `pca_model` say how far to reduce.
    progress : Progress, optional
        Where to print progress; silent by default.
    matrix_rows : int
        Most rows of a `pca_matrix.csv` that the settings do not ask for.

    Returns
    -------
    RunRecord
        The record that `run.json` holds.

    Raises
    ------
    JobError
        For settings that cannot be used.
    RunError
        When there is too little to reduce, or the results do not pass validation: the earlier ones stay current.
    ReportError
        When the results are in place and only the report could not be made.
    """
    if not settings.output:
        raise JobError("--output is needed")
    output, progress = storage.absolute(settings.output), progress or Progress()
    read_snapshot(output)  # an output without features is refused before anything is written to it
    with hold(output, progress):
        snapshot = read_snapshot(output)
        matrix = _is_matrix_wanted(settings.csv, snapshot.counts.ok, matrix_rows, progress)
        settings = replace(settings, csv=matrix)
        given = check_reduction(settings, snapshot.fingerprint, snapshot.model.n_features)
        ship(spark)
        drop_unnamed(output)
        earlier = read_run(output)
        paths = ReductionPaths.of_new_reduction(output, snapshot.run)
        clock = Stopwatch(snapshot.seconds)
        try:
            reduction = _reduce(spark, settings, snapshot, paths, given, _Steps(progress, clock))
            record = new_record(paths.run, snapshot, settings, reduction.basis, reduction.validation, spark.version)
            rows = CsvRows(reduction.parts, reduction.summary.rejected_parts, record.components, snapshot.counts)
            with csv_files(spark, output, paths.scratch, rows, matrix=matrix):
                clock.lap("csv")
                record = replace(record, seconds=clock.rounded(), earlier=earlier.run if earlier else None)
                _show(paths, record)
            write_run(output, record)
        except BaseException:
            with suppress(JobError, OSError):  # the error that ended the reduction says more
                drop_unnamed(output)
            raise
        finally:
            storage.remove(paths.scratch)
        return _with_report(spark, settings, snapshot, output, record, clock)


def check_reduction(settings: Settings, fingerprint: str, n_features: int) -> Basis | None:
    """Refuse, without Spark, settings that cannot work, and return the basis that they name, if any.

    Raises
    ------
    JobError
        For more components than there are features, no basis at the address, or a basis that was fitted to another
        model's features.
    """
    if settings.components is not None and settings.components > n_features:
        raise JobError(f"--components {settings.components} is out of range: the model gives {n_features} features")
    if settings.pca_model is None:
        return None
    folder = storage.absolute(settings.pca_model)
    if not storage.exists(storage.join(folder, BASIS)):
        run = read_run(folder)
        if run is None:
            raise JobError(f"no basis at {folder}: neither {BASIS} nor {RUN} is there")
        folder = storage.join(folder, run.results.pca_model)
    basis = read_basis(storage.join(folder, BASIS))
    if basis.fingerprint != fingerprint:
        raise JobError(f"the basis at {folder} was fitted to features of another model, decoder or mode")
    return basis


@dataclass(frozen=True)
class _Reduction:
    """What a reduction has made: a summary of the features, a basis, the parts of the rows, each check's result."""

    summary: TableSummary
    basis: Basis
    parts: list[str]
    validation: dict[str, str]


@dataclass(frozen=True)
class _Steps:
    """Where a reduction reports its steps, and the clock that measures them."""

    progress: Progress
    clock: Stopwatch


def _reduce(
    spark: "SparkSession",
    settings: Settings,
    snapshot: Snapshot,
    paths: ReductionPaths,
    given: Basis | None,
    steps: _Steps,
) -> _Reduction:
    """Write the basis, the rows and their index where no reader looks, and validate them."""
    summary = summarize_table(spark, paths.output, snapshot, paths.scratch, with_moments=given is None)
    _require_usable(summary)
    basis = given or fit(
        summary.moments, _components(settings), settings.variance, snapshot.fingerprint, settings.as_dict()
    )
    if snapshot.labels is None:
        write_label_table(spark, paths.output, snapshot, paths.label_counts)
    basis_sha256 = write_basis(paths.basis, basis)
    _say_components(steps.progress, settings, basis)
    steps.clock.lap("pca")
    parts = project(spark, paths, snapshot, basis, basis_sha256)
    steps.clock.lap("results")
    validation = _validate(spark, snapshot, summary, basis, parts, paths.scratch)
    steps.clock.lap("validate")
    return _Reduction(summary, basis, parts, validation)


def _require_usable(summary: TableSummary) -> None:
    if not summary.ok.images:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in summary.reasons.most_common())
        raise RunError(f"no image can be used; rejected: {reasons}")
    if summary.not_finite:
        raise RunError(
            f"{summary.not_finite:,} images have features that are not finite: {', '.join(summary.not_finite_paths)} …;"
            " mend the model, delete features/ in the output, and run again"
        )


def _components(settings: Settings) -> int | None:
    """Return the number of components to keep, None where a share of the variance is given instead."""
    return settings.components or (DEFAULT_COMPONENTS if settings.variance is None else None)


def _say_components(progress: Progress, settings: Settings, basis: Basis) -> None:
    k, asked = len(basis.components), _components(settings)
    if settings.pca_model is not None:
        progress.say(f"PCA: {k} components of the basis in {settings.pca_model}, fitted to {basis.n:,} images")
        return
    share = basis.explained_variance_ratio.sum()
    progress.say(f"PCA: {k} components hold {share:.3f} of the variance of {basis.n:,} images")
    if asked and k < asked:
        progress.say(f"PCA: you asked for {asked} components; the features of {basis.n:,} images have only {k}")


def _validate(
    spark: "SparkSession", snapshot: Snapshot, summary: TableSummary, basis: Basis, parts: list[str], scratch: str
) -> dict[str, str]:
    """Read the results back and compare them with the listing; raise `RunError` where a check fails."""
    results = read_back(spark, parts, len(basis.components), snapshot.counts.ok, scratch)
    validation = validate(snapshot, summary, results, basis)
    faults = [f"{check}: {result}" for check, result in validation.items() if result != PASSED]
    if faults:
        raise RunError(f"the results are not valid, and the earlier ones stay current: {'; '.join(faults)[:1000]}")
    return validation


def _is_matrix_wanted(asked: bool | None, rows: int, most: int, progress: Progress) -> bool:  # noqa: FBT001
    """Return whether to write `pca_matrix.csv`, by the setting `csv` and the number of its rows."""
    if asked is None and rows > most:
        progress.say(f"{MATRIX_CSV} is left out: it would have more than {most:,} rows; --csv writes it")
    return rows <= most if asked is None else asked


def _show(paths: ReductionPaths, record: RunRecord) -> None:
    """Put the model and the rows where plain readers look; the earlier results stay where `run.json` names them."""
    check_held(paths.output)
    kept = model_folder(paths.output, record.fingerprint)
    for name in (TFLITE, DESCRIPTION):
        storage.write(storage.join(paths.output, "model", name), storage.read(storage.join(kept, name)))
    show_rows(paths.output, paths.run)


def _with_report(
    spark: "SparkSession", settings: Settings, snapshot: Snapshot, output: str, record: RunRecord, clock: Stopwatch
) -> RunRecord:
    """Make the report of results that are in place; return their record with its duration.

    Raises
    ------
    ReportError
        Where that fails; a report of earlier results is deleted.
    """
    check_held(output)
    if not settings.report:
        remove_report(output)
        return record
    try:
        write_report(spark, output, snapshot, record)
    except Exception as error:
        check_held(output)  # the report may be another run's by now
        remove_report(output)
        raise ReportError(
            f"the results in {output} are in place, but their report failed: {error or type(error).__name__};"
            f" make it again with: python -m job report --output {output}"
        ) from error
    clock.lap("report")
    write_run(output, record := replace(record, seconds=clock.rounded()))
    return record
