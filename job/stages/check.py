"""Spark stage: reads back everything that an output holds and says what is wrong with it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from job import storage
from job.errors import JobError, RunError
from job.features.layout import model_folder, models, work_folder
from job.features.model import read_model
from job.features.snapshot import RowMask, Snapshot, deal, read_snapshot
from job.features.table import OK, SCHEMA, read_batches, read_file, vectors
from job.features.wave import committed
from job.pca.basis import Basis
from job.pca.basis_file import read_basis
from job.pca.moments import COLUMNS, summarize
from job.progress import Progress
from job.results.csv_files import MATRIX_CSV, REJECTED_CSV
from job.results.index import as_results, read_description
from job.results.run_record import RUN, RunRecord, read_run
from job.results.tables import RESULTS_SCHEMA
from job.results.validation import RIGHT, ResultsPart, read_back, validate
from job.settings import Settings
from job.spark.capacity import parallelism
from job.spark.shipping import ship
from job.spark.tasks import map_items, run_tasks

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# Of the largest coordinate: what float32 and another order of summation may differ by.
_TOLERANCE = 1e-5

_AGAIN = "run python -m job run again: what is damaged is made anew, nothing else"
_DELETE = "delete the folder of that wave and run python -m job run again: its images are inferred anew"
_REDUCE = "run python -m job reduce again"


@dataclass(frozen=True)
class Fault:
    """What is wrong, and what to do about it."""

    what: str
    remedy: str


def check(spark: "SparkSession", settings: Settings, progress: Progress | None = None) -> list[Fault]:
    """Read back an output whole: the store, the features of the latest run, the basis, the results, the CSV files.

    Parameters
    ----------
    spark : SparkSession
        The user's own; it is used as it is and left as it was found.
    settings : Settings
        `output` is needed.
    progress : Progress, optional
        Where to say what was looked at; silent by default.

    Returns
    -------
    list of Fault
        Empty where all is right.

    Raises
    ------
    JobError
        Where there is nothing to check.
    """
    output, progress = storage.absolute(settings.output), progress or Progress()
    snapshot = read_snapshot(output)
    ship(spark)
    faults = list(_check_store(output, snapshot))
    progress.say(f"store: {len(models(output))} models' features; current: {snapshot.counts.listed:,} images")
    # A file that is known to be damaged would only be found again by each later look.
    if faults:
        return faults
    run = read_run(output)
    if run is None:
        progress.say(f"no {RUN}: nothing has been reduced yet")
    elif run.counts != snapshot.counts or run.fingerprint != snapshot.fingerprint:
        progress.say("the results are of an earlier listing than the features; python -m job reduce makes them anew")
        run = None
    try:
        faults = list(_check_values(spark, output, snapshot, run))
    except RunError as error:
        return [Fault(str(error), _DELETE)]
    if run:
        progress.say(f"results: {run.counts.ok:,} rows of {run.components} components")
        faults += _check_texts(output, run)
    return faults


def _check_store(output: str, snapshot: Snapshot) -> Iterator[Fault]:
    """Compare each committed file's length with its marker, and the model with what is said of it."""
    for fingerprint in models(output):
        try:
            files = committed(output, fingerprint)
        except RunError as error:
            yield Fault(str(error), _DELETE)
            continue
        for file in files:
            try:
                length = storage.stat(storage.join(output, file.name)).length
            except FileNotFoundError:
                yield Fault(f"{file.name} was committed and is gone", _AGAIN)
                continue
            if length != file.bytes:
                yield Fault(f"{file.name} has {length} bytes where {file.bytes} were committed", _AGAIN)
    for folder in (model_folder(output, snapshot.fingerprint), storage.join(output, "model")):
        if not storage.exists(folder):
            continue
        try:
            found = read_model(folder).description.tflite_sha256
        except JobError as error:
            yield Fault(str(error).split(";")[0], _AGAIN)
            continue
        if found != snapshot.model.sha256 and storage.name(folder) == "_model":
            yield Fault(f"the model in {folder} is not the one that made the features beside it", _AGAIN)


def _check_values(spark: "SparkSession", output: str, snapshot: Snapshot, run: RunRecord | None) -> Iterator[Fault]:
    """Read all rows of the features and, where there are results of them, of the results."""
    run_tasks(spark, partial(_read_rest, output), deal(snapshot.row_masks, 4 * parallelism(spark)))
    rejected = storage.join(work_folder(output, snapshot.run), "rejected-check")
    try:
        summary = summarize(spark, output, snapshot, rejected, moments=False)
    finally:
        storage.remove(rejected)
    if run is None:
        return
    try:
        basis = read_basis(run.basis_address(output))
        folder = storage.join(output, run.results.pca_results)
        parts = sorted(entry.address for entry in storage.scan(folder) if entry.address.endswith(".parquet"))
        found = run_tasks(spark, read_back, [ResultsPart(part, len(basis.components)) for part in parts])
    except (JobError, FileNotFoundError) as error:
        yield Fault(f"the results cannot be read: {error}", _REDUCE)
        return
    if basis.fingerprint != snapshot.fingerprint:
        yield Fault("the basis was fitted to features of another model", _REDUCE)
    for what, result in validate(snapshot, summary, found, basis).items():
        if result != RIGHT:
            yield Fault(f"{what}: {result}", _DELETE if what.startswith("features") else _REDUCE)
    yield from _check_coordinates(spark, output, snapshot, basis, parts)
    yield from _check_index(spark, output, run, parts)


def _read_rest(output: str, row_masks: list[RowMask]) -> None:
    """Read, in a worker, the columns that the summary does not: a damaged page does not match its checksum."""
    rest = [name for name in SCHEMA.names if name not in COLUMNS]
    for row_mask in row_masks:
        for _ in read_file(output, row_mask.file, rest):
            pass


def _check_index(spark: "SparkSession", output: str, run: RunRecord, parts: list[str]) -> Iterator[Fault]:
    """Compare each part of the index with the part of the results beside it."""
    if run.results.index is None:  # results of an earlier version
        return
    folder = run.index_folder(output)
    try:
        description = read_description(folder)
    except JobError as error:
        yield Fault(str(error).split(";")[0], _REDUCE)
        return
    named = {part.name.removesuffix(".arrow") for part in description.parts}
    told = (description.run, description.fingerprint, description.images, description.components)
    if named != {storage.name(part).removesuffix(".parquet") for part in parts} or told != (
        run.run,
        run.fingerprint,
        run.counts.ok,
        run.components,
    ):
        yield Fault(f"the index at {folder} is not of these results", _REDUCE)
        return
    digests = {part.name: part.sha256 for part in description.parts}
    for part, same in zip(parts, run_tasks(spark, partial(_is_indexed, folder, digests), parts), strict=True):
        if not same:
            yield Fault(f"the index at {folder} differs from {part}", _REDUCE)


def _is_indexed(folder: str, digests: dict[str, str], part: str) -> bool:
    """Return whether a part of the results and its part of the index say the same; run in a worker."""
    with storage.open_input(part) as file:
        results = pq.read_table(file)
    try:
        name = storage.name(part).replace(".parquet", ".arrow")
        data = storage.read(storage.join(folder, name))
        if hashlib.sha256(data).hexdigest() != digests[name]:
            return False
        index = pa.ipc.open_file(data).read_all()
        return bool(as_results(index).equals(results.select(RESULTS_SCHEMA.names)))
    except (OSError, pa.ArrowException, KeyError):
        return False


def _check_coordinates(
    spark: "SparkSession", output: str, snapshot: Snapshot, basis: Basis, parts: list[str]
) -> Iterator[Fault]:
    """Compare the results, path by path, with the features projected anew."""
    from pyspark.sql import functions as f  # noqa: PLC0415 - only with Spark

    both = _expected(spark, output, snapshot, basis).join(_found(spark, parts), "path", "full")
    apart = f.array_max(f.zip_with("expected", "found", lambda a, b: f.abs(a - b)))
    size = f.array_max(f.transform("expected", f.abs))
    alone = f.sum((f.col("expected").isNull() | f.col("found").isNull()).cast("long"))
    [row] = both.agg(f.max(apart), f.max(size), alone).collect()
    if row[2]:
        yield Fault(f"{row[2]} paths stand only in the features or only in the results", _REDUCE)
    elif row[0] is None or not row[0] <= _TOLERANCE * row[1]:
        yield Fault(f"the results differ from the features' projection by {row[0]}, largest value {row[1]}", _REDUCE)


def _expected(spark: "SparkSession", output: str, snapshot: Snapshot, basis: Basis) -> "DataFrame":
    d = snapshot.model.n_features

    def project(row_masks: list[RowMask]) -> Iterator[pa.RecordBatch]:
        for rows in read_batches(output, row_masks, ["path", "status", "features"]):
            usable = rows.filter(pc.equal(rows.column("status"), OK))
            values = basis.project(vectors(usable, d)).tolist()
            yield pa.RecordBatch.from_pydict(
                {"path": usable.column("path"), "expected": pa.array(values, pa.list_(pa.float64()))}
            )

    groups = deal(snapshot.row_masks, 4 * parallelism(spark))
    return map_items(spark, groups, project, "path string, expected array<double>")


def _found(spark: "SparkSession", parts: list[str]) -> "DataFrame":
    def read(part: str) -> Iterator[pa.RecordBatch]:
        with storage.open_input(part) as file:
            for rows in pq.ParquetFile(file).iter_batches(10_000, columns=["path", "pca_features"]):
                found = rows.column(RESULTS_SCHEMA.names[2]).cast(pa.list_(pa.float64()))
                yield pa.RecordBatch.from_pydict({"path": rows.column("path"), "found": found})

    return map_items(spark, parts, read, "path string, found array<double>")


def _check_texts(output: str, run: RunRecord) -> Iterator[Fault]:
    """Count the rows of the CSV files."""
    wanted = {REJECTED_CSV: run.counts.rejected} | ({MATRIX_CSV: run.counts.ok} if run.settings.csv else {})
    for name, rows in wanted.items():
        try:
            with storage.open_input(storage.join(output, name)) as file:
                # Texts may hold line ends, in quotes.
                reader = pa.csv.open_csv(
                    file,
                    parse_options=pa.csv.ParseOptions(delimiter=";", newlines_in_values=True),
                    convert_options=pa.csv.ConvertOptions(include_columns=["path"], column_types={"path": pa.string()}),
                )
                found = sum(batch.num_rows for batch in reader)
        except FileNotFoundError:
            yield Fault(f"{name} is gone", _REDUCE)
        except pa.ArrowInvalid as error:
            yield Fault(f"{name} is damaged: {' '.join(str(error).split())[:200]}", _REDUCE)
        else:
            if found != rows:
                yield Fault(f"{name} has {found} rows where {rows} were written", _REDUCE)
