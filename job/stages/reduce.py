"""Spark stage: features -> pca_model, pca_results, their index, pca_matrix.csv, rejected.csv, the report, run.json."""

import hashlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from job import __version__, storage
from job.errors import JobError, RunError
from job.features.layout import model_folder, remove_runs, work_folder
from job.features.model import DESCRIPTION, TFLITE
from job.features.snapshot import RowMask, Snapshot, deal, read_snapshot
from job.features.table import OK, read_batches, vectors
from job.images.color_histogram import COLOR_BINS
from job.images.decode import DECODER_VERSION
from job.pca.basis import Basis, Moments, fit
from job.pca.basis_file import BASIS, read_basis
from job.pca.moments import summarize
from job.progress import Progress
from job.results.csv_files import MATRIX_CSV, REJECTED_CSV, write_matrix, write_rejected
from job.results.index import IndexDescription, IndexPart, as_results, locate, write_description, write_part
from job.results.index import schema as index_schema
from job.results.run_record import RUN, ResultFolders, RunRecord, read_run, write_run
from job.results.validation import RIGHT, ResultsPart, read_back, validate
from job.settings import DEFAULT_COMPONENTS, Settings
from job.spark.capacity import parallelism
from job.spark.shipping import ship
from job.spark.tasks import run_tasks
from job.stages.report import remove_report, write_report
from job.storage.lock import check_held, locked

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


# Values of pca_results that a task holds while it sorts them: 40 MB.
_TASK_VALUES = 10_000_000


def reduce(spark: "SparkSession", settings: Settings, progress: Progress | None = None) -> RunRecord:
    """Reduce the current features of an output by PCA, write the results, validate them and name them in `run.json`.

    Parameters
    ----------
    spark : SparkSession
        The user's own; it is used as it is and left as it was found.
    settings : Settings
        `output` is needed; `components`, `variance` or `pca_model` say how far to reduce.
    progress : Progress, optional
        Where to say what is being done; silent by default.

    Returns
    -------
    RunRecord
        The record that `run.json` holds.

    Raises
    ------
    JobError
        For what was given and cannot be used.
    RunError
        When there is too little to reduce, or what was written does not pass validation: nothing new is named then.
    """
    if not settings.output:
        raise JobError("--output is needed")
    output, progress = storage.absolute(settings.output), progress or Progress()
    read_snapshot(output)  # an output without features is refused before anything is written to it
    with locked(output, progress):
        snapshot = read_snapshot(output)
        known = check_reduction(settings, snapshot.fingerprint, snapshot.model.n_features)
        ship(spark)
        # Every reduction has parts of its own, also of features that were reduced before.
        work = _Work(output, f"{snapshot.run}-{secrets.token_hex(2)}", snapshot)
        try:
            record = _reduce(spark, settings, work, known, progress)
        except BaseException:
            for folder in (work.model, work.results, work.index):
                storage.remove(storage.join(output, folder))
            raise
        finally:
            storage.remove(work.rejected)
        _publish(work, record)
    return record


def check_reduction(settings: Settings, fingerprint: str, features: int) -> Basis | None:
    """Refuse, without Spark, a reduction that cannot be, and return the basis that the settings name, if any.

    Raises
    ------
    JobError
        For more components than there are features, no basis there, or one that another model's features were fitted
        to.
    """
    if settings.components is not None and settings.components > features:
        raise JobError(f"--components {settings.components} is out of range: the model gives {features} features")
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
class _Work:
    """One reduction's addresses: `model`, `results` and `index` below the output, `rejected` whole."""

    output: str
    run: str
    snapshot: Snapshot

    @property
    def n_features(self) -> int:
        return self.snapshot.model.n_features

    @property
    def model(self) -> str:
        return f"pca_model/run={self.run}"

    @property
    def results(self) -> str:
        return f"pca_results/run={self.run}"

    @property
    def index(self) -> str:
        return f"neighbours/run={self.run}"

    @property
    def rejected(self) -> str:
        return storage.join(work_folder(self.output, self.snapshot.run), f"rejected-{self.run}")


def _reduce(
    spark: "SparkSession", settings: Settings, work: _Work, known: Basis | None, progress: Progress
) -> RunRecord:
    snapshot, seconds, clock = work.snapshot, dict(work.snapshot.seconds), _Clock()
    cores = parallelism(spark)
    summary = summarize(spark, work.output, snapshot, work.rejected, moments=known is None)
    if not summary.ok:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in summary.reasons.most_common())
        raise RunError(f"no image can be used; rejected: {reasons}")
    basis = known or _fit(settings, summary.moments, snapshot)
    saved = basis.to_bytes()
    storage.write(storage.join(work.output, work.model, BASIS), saved)
    _say_components(progress, settings, basis, known)
    seconds["pca"] = clock.lap()

    k = len(basis.components)
    groups = deal(snapshot.row_masks, max(cores, -(-summary.ok.total() * k // _TASK_VALUES)))
    written = run_tasks(spark, _project, [_Projection(work, *group) for group in enumerate(groups)])
    index = [part for part in written if part]
    write_description(storage.join(work.output, work.index), _describe(work, saved, k, index))
    parts = [storage.join(work.output, work.results, _parquet(part)) for part in index]
    seconds["results"] = clock.lap()
    validation = validate(
        snapshot, summary, run_tasks(spark, read_back, [ResultsPart(part, k) for part in parts]), basis
    )
    faults = [f"{what}: {result}" for what, result in validation.items() if result != RIGHT]
    if faults:
        raise RunError(f"what was written is not right, and is not named as a result: {'; '.join(faults)[:1000]}")
    seconds["validate"] = clock.lap()

    write_rejected(storage.join(work.output, REJECTED_CSV), summary.rejected_parts, snapshot.counts.rejected)
    if settings.csv:
        write_matrix(storage.join(work.output, MATRIX_CSV), parts, k, snapshot.counts.ok)
    else:
        storage.remove(storage.join(work.output, MATRIX_CSV))
    seconds["csv"] = clock.lap()

    record = RunRecord(
        run=work.run,
        results=ResultFolders.of_run(work.run),
        settings=replace(
            Settings.from_json(snapshot.settings), **{name: getattr(settings, name) for name in _REDUCTION_SETTINGS}
        ),
        model=snapshot.model,
        fingerprint=snapshot.fingerprint,
        counts=snapshot.counts,
        labels=snapshot.labels,
        seconds={stage: round(value, 3) for stage, value in seconds.items()},
        images_per_second=round(snapshot.images_per_second, 2),
        components=k,
        explained_variance_ratio=tuple(basis.explained_variance_ratio.tolist()),
        pca_fitted_to=basis.n,
        versions=_versions(spark),
        validation=validation,
    )
    if not settings.report:
        remove_report(work.output)
        return record
    write_report(spark, work.output, snapshot, record)
    return replace(record, seconds=record.seconds | {"report": round(clock.lap(), 3)})


# The settings of the reduction; all others in run.json are those of the featurize stage.
_REDUCTION_SETTINGS = ("output", "components", "variance", "pca_model", "csv", "report")


class _Clock:
    """Seconds since the last lap."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def lap(self) -> float:
        now = time.monotonic()
        self._last, took = now, now - self._last
        return took


def _fit(settings: Settings, moments: Moments, snapshot: Snapshot) -> Basis:
    return fit(moments, _components(settings), settings.variance, snapshot.fingerprint, settings.as_dict())


def _components(settings: Settings) -> int | None:
    """Return the number of components asked for, None where a share of the variance was."""
    return settings.components or (DEFAULT_COMPONENTS if settings.variance is None else None)


def _say_components(progress: Progress, settings: Settings, basis: Basis, known: Basis | None) -> None:
    k, share = len(basis.components), basis.explained_variance_ratio.sum()
    asked = _components(settings)
    if known:
        progress.say(f"PCA: {k} components of the basis in {settings.pca_model}, fitted to {basis.n:,} images")
        return
    progress.say(f"PCA: {k} components hold {share:.3f} of the variance of {basis.n:,} images")
    if asked and k < asked:
        progress.say(
            f"PCA: {asked} components were asked for; the features of {basis.n:,} images have no more than {k}"
        )


@dataclass(frozen=True)
class _Projection:
    """What one task projects."""

    work: _Work
    number: int
    row_masks: list[RowMask]


def _project(task: _Projection) -> IndexPart | None:
    """Project one task's features, in a worker; write them, sorted by path, as a part of the results and of the index.

    The two are named alike, but for the ending.
    """
    basis = read_basis(storage.join(task.work.output, task.work.model, BASIS))
    k = len(basis.components)
    rows = pa.Table.from_batches(_projected(task, basis), index_schema(k)).sort_by("path")
    if not rows.num_rows:
        return None
    part = write_part(storage.join(task.work.output, task.work.index, f"part-{task.number:05d}.arrow"), rows)
    with storage.create(storage.join(task.work.output, task.work.results, _parquet(part))) as path:
        pq.write_table(as_results(rows), path, compression="zstd")
    return part


def _projected(task: _Projection, basis: Basis) -> Iterator[pa.RecordBatch]:
    schema = index_schema(len(basis.components))
    for batch in read_batches(task.work.output, task.row_masks, ["path", "label", "status", "features", "colours"]):
        usable = batch.filter(pc.equal(batch.column("status"), OK))
        shares = vectors(usable, COLOR_BINS, "colours")
        coordinates, residuals = locate(basis, vectors(usable, task.work.n_features), shares)
        columns = [
            usable.column("path"),
            usable.column("label").cast(schema.field("label").type),
            pa.array(residuals),
            pa.FixedSizeListArray.from_arrays(coordinates.ravel(), type=schema.field(3).type),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _parquet(part: IndexPart) -> str:
    return part.name.replace(".arrow", ".parquet")


def _describe(work: _Work, basis: bytes, k: int, parts: list[IndexPart]) -> IndexDescription:
    sha256, rows = hashlib.sha256(basis).hexdigest(), sum(part.rows for part in parts)
    return IndexDescription(work.run, work.snapshot.fingerprint, sha256, rows, k, tuple(parts))


def _versions(spark: "SparkSession") -> dict[str, str]:
    packages = ("numpy", "pyarrow", "pillow", "ai-edge-litert")
    return {"fruits": __version__, "spark": spark.version, "decoder": str(DECODER_VERSION)} | {
        name: version(name) for name in packages
    }


def _publish(work: _Work, record: RunRecord) -> None:
    """Name the new results in `run.json`, after all they need is there; then remove the old."""
    check_held(work.output)
    kept = model_folder(work.output, work.snapshot.fingerprint)
    for name in (TFLITE, DESCRIPTION):
        storage.write(storage.join(work.output, "model", name), storage.read(storage.join(kept, name)))
    write_run(work.output, record)
    remove_runs(work.output, "pca_model", keep=work.run)
    remove_runs(work.output, "pca_results", keep=work.run)
    remove_runs(work.output, "neighbours", keep=work.run)
