"""Spark stage: reduces the current features by PCA, validates the results and publishes them."""

from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from job import __version__, storage
from job.errors import JobError, RunError
from job.features.layout import model_folder
from job.features.model import DESCRIPTION, TFLITE
from job.features.snapshot import Snapshot, read_snapshot
from job.images.decode import DECODER_VERSION
from job.pca.basis import Basis, fit
from job.pca.basis_file import BASIS, read_basis, write_basis
from job.pca.moments import TableSummary, summarize_table
from job.progress import Progress, Stopwatch
from job.results.csv_files import MATRIX_CSV, REJECTED_CSV, write_matrix, write_rejected
from job.results.paths import ReductionPaths
from job.results.projection import project
from job.results.run_record import RUN, RunRecord, read_run, write_run
from job.results.validation import PASSED, Readback, read_back, validate
from job.settings import DEFAULT_COMPONENTS, Settings
from job.spark.shipping import ship
from job.spark.tasks import run_tasks
from job.stages.report import remove_report, write_report
from job.storage.lock import check_held, locked

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# The settings of the reduction; all others in run.json are those of the featurize stage.
_REDUCTION_SETTINGS = ("output", "components", "variance", "pca_model", "csv", "report")
_LIBRARIES = ("numpy", "pyarrow", "pillow", "ai-edge-litert")


def reduce(spark: "SparkSession", settings: Settings, progress: Progress | None = None) -> RunRecord:
    """Reduce the current features of an output by PCA, write the results, validate them and name them in `run.json`.

    Parameters
    ----------
    spark : SparkSession
        The user's own; it is used as it is and left as it was found.
    settings : Settings
        `output` is needed; `components`, `variance` or `pca_model` say how far to reduce.
    progress : Progress, optional
        Where to print progress; silent by default.

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
    """
    if not settings.output:
        raise JobError("--output is needed")
    output, progress = storage.absolute(settings.output), progress or Progress()
    read_snapshot(output)  # an output without features is refused before anything is written to it
    with locked(output, progress):
        snapshot = read_snapshot(output)
        given = check_reduction(settings, snapshot.fingerprint, snapshot.model.n_features)
        ship(spark)
        paths = ReductionPaths.of_new_reduction(output, snapshot.run)
        try:
            record = _reduce(spark, settings, snapshot, paths, given, progress)
        except BaseException:
            paths.remove()
            raise
        finally:
            storage.remove(paths.rejected)
        _publish(paths, record)
    return record


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


def _reduce(
    spark: "SparkSession",
    settings: Settings,
    snapshot: Snapshot,
    paths: ReductionPaths,
    given: Basis | None,
    progress: Progress,
) -> RunRecord:
    """Write all files of a reduction but `run.json`; return the record for that."""
    clock = Stopwatch(snapshot.seconds)
    summary = summarize_table(spark, paths.output, snapshot, paths.rejected, with_moments=given is None)
    _require_usable(summary)
    basis = given or _fit(settings, snapshot, summary)
    basis_sha256 = write_basis(paths.basis, basis)
    _say_components(progress, settings, basis)
    clock.lap("pca")
    parts = project(spark, paths, snapshot, basis, basis_sha256)
    clock.lap("results")
    validation = _validate(spark, snapshot, summary, basis, parts)
    clock.lap("validate")
    _write_csv_files(paths.output, settings, snapshot, summary, parts, len(basis.components))
    clock.lap("csv")
    record = RunRecord(
        run=paths.run,
        results=paths.folders,
        settings=_recorded_settings(settings, snapshot),
        model=snapshot.model,
        fingerprint=snapshot.fingerprint,
        counts=snapshot.counts,
        labels=snapshot.labels,
        seconds=_rounded(clock),
        images_per_second=round(snapshot.images_per_second, 2),
        components=len(basis.components),
        explained_variance_ratio=tuple(basis.explained_variance_ratio.tolist()),
        pca_fitted_to=basis.n,
        versions=_versions(spark),
        validation=validation,
    )
    if not settings.report:
        remove_report(paths.output)
        return record
    write_report(spark, paths.output, snapshot, record)
    clock.lap("report")
    return replace(record, seconds=_rounded(clock))


def _rounded(clock: Stopwatch) -> dict[str, float]:
    """Return the seconds by stage, to the millisecond."""
    return {stage: round(value, 3) for stage, value in clock.seconds.items()}


def _require_usable(summary: TableSummary) -> None:
    if not summary.ok:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in summary.reasons.most_common())
        raise RunError(f"no image can be used; rejected: {reasons}")


def _fit(settings: Settings, snapshot: Snapshot, summary: TableSummary) -> Basis:
    components = _components(settings)
    return fit(summary.moments, components, settings.variance, snapshot.fingerprint, settings.as_dict())


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
    spark: "SparkSession", snapshot: Snapshot, summary: TableSummary, basis: Basis, parts: list[str]
) -> dict[str, str]:
    """Read the results back and compare them with the listing; raise `RunError` where a check fails."""
    results = Readback.merge(run_tasks(spark, partial(read_back, k=len(basis.components)), parts))
    validation = validate(snapshot, summary, results, basis)
    faults = [f"{check}: {result}" for check, result in validation.items() if result != PASSED]
    if faults:
        raise RunError(f"the results are not valid, and the earlier ones stay current: {'; '.join(faults)[:1000]}")
    return validation


def _write_csv_files(
    output: str, settings: Settings, snapshot: Snapshot, summary: TableSummary, parts: list[str], k: int
) -> None:
    write_rejected(storage.join(output, REJECTED_CSV), summary.rejected_parts, snapshot.counts.rejected)
    matrix = storage.join(output, MATRIX_CSV)
    if settings.csv:
        write_matrix(matrix, parts, k, snapshot.counts.ok)
    else:
        storage.remove(matrix)


def _recorded_settings(settings: Settings, snapshot: Snapshot) -> Settings:
    """Return the settings of the featurize stage, with those of the reduction in their place."""
    reduction = {name: getattr(settings, name) for name in _REDUCTION_SETTINGS}
    return replace(Settings.from_json(snapshot.settings), **reduction)


def _versions(spark: "SparkSession") -> dict[str, str]:
    versions = {"fruits": __version__, "spark": spark.version, "decoder": str(DECODER_VERSION)}
    return versions | {library: version(library) for library in _LIBRARIES}


def _publish(paths: ReductionPaths, record: RunRecord) -> None:
    """Name the new results in `run.json`, after all files that they need; then remove the earlier ones."""
    check_held(paths.output)
    kept = model_folder(paths.output, record.fingerprint)
    for name in (TFLITE, DESCRIPTION):
        storage.write(storage.join(paths.output, "model", name), storage.read(storage.join(kept, name)))
    write_run(paths.output, record)
    paths.remove_others()
