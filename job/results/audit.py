"""The audit of written results: coordinates, index and CSV files against the features and the run's record."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from job import storage
from job.errors import JobError
from job.features.snapshot import RowMask, Snapshot, deal
from job.features.table import OK, read_batches, vectors
from job.pca.basis import Basis
from job.results.csv_files import MATRIX_CSV, REJECTED_CSV
from job.results.generations import strangers
from job.results.index import IndexDescription, as_results, index_part_name, read_description
from job.results.run_record import RunRecord
from job.results.tables import RESULTS_SCHEMA, read_part, results_parts
from job.spark.capacity import parallelism
from job.spark.tasks import map_items, run_tasks

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# Share of the largest coordinate that float32 and another order of summation may change.
_TOLERANCE = 1e-5

REDUCE_AGAIN = "run python -m job reduce again"


@dataclass(frozen=True)
class Fault:
    """A fault of an output: its description, and the remedy."""

    description: str
    remedy: str


def audit_coordinates(
    spark: "SparkSession", output: str, snapshot: Snapshot, basis: Basis, parts: list[str]
) -> Iterator[Fault]:
    """Compare the results, path by path, with the features projected again."""
    from pyspark.sql import functions as f  # noqa: PLC0415 - only with Spark

    expected, found = _projected(spark, output, snapshot, basis), _written(spark, parts)
    difference = f.array_max(f.zip_with("expected", "found", lambda a, b: f.abs(a - b)))
    size = f.array_max(f.transform("expected", f.abs))
    unpaired = f.sum((f.col("expected").isNull() | f.col("found").isNull()).cast("long"))
    rows = expected.join(found, "path", "full").agg(f.max(difference), f.max(size), unpaired).collect()
    largest_difference, largest_size, unpaired_paths = rows[0]
    if unpaired_paths:
        yield Fault(f"{unpaired_paths} paths are only in the features or only in the results", REDUCE_AGAIN)
    elif largest_difference is None or not largest_difference <= _TOLERANCE * largest_size:
        yield Fault(
            f"the results differ from the features' projection by {largest_difference},"
            f" where the largest value is {largest_size}",
            REDUCE_AGAIN,
        )


def _projected(spark: "SparkSession", output: str, snapshot: Snapshot, basis: Basis) -> "DataFrame":
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


def _written(spark: "SparkSession", parts: list[str]) -> "DataFrame":
    def read(part: str) -> Iterator[pa.RecordBatch]:
        for rows in read_part(part, ["path", "pca_features"]):
            found = rows.column("pca_features").cast(pa.list_(pa.float64()))
            yield pa.RecordBatch.from_pydict({"path": rows.column("path"), "found": found})

    return map_items(spark, parts, read, "path string, found array<double>")


def audit_index(spark: "SparkSession", output: str, run: RunRecord, parts: list[str]) -> Iterator[Fault]:
    """Compare each part of the index with the part of the results beside it."""
    if run.results.index is None:  # results of an earlier version
        return
    folder = run.index_folder(output)
    try:
        description = read_description(folder)
    except JobError as error:
        yield Fault(str(error).split(";")[0], REDUCE_AGAIN)
        return
    if not _describes(description, run, parts):
        yield Fault(f"the index at {folder} belongs to other results", REDUCE_AGAIN)
        return
    digests = {part.name: part.sha256 for part in description.parts}
    equal = run_tasks(spark, partial(_is_indexed, folder, digests), parts)
    for part, is_equal in zip(parts, equal, strict=True):
        if not is_equal:
            yield Fault(f"the index at {folder} differs from {part}", REDUCE_AGAIN)


def _describes(description: IndexDescription, run: RunRecord, parts: list[str]) -> bool:
    """Return whether a description is of the results that a record names."""
    return (
        description.run == run.run
        and description.fingerprint == run.fingerprint
        and description.images == run.counts.ok
        and description.components == run.components
        and {part.name for part in description.parts} == {index_part_name(part) for part in parts}
    )


def _is_indexed(folder: str, digests: dict[str, str], part: str) -> bool:
    """Return whether a part of the results and its part of the index hold the same rows; run in a worker."""
    results = pa.Table.from_batches(read_part(part), RESULTS_SCHEMA)
    name = index_part_name(part)
    try:
        data = storage.read(storage.join(folder, name))
        if hashlib.sha256(data).hexdigest() != digests[name]:
            return False
        return bool(as_results(pa.ipc.open_file(data).read_all()).equals(results))
    except (OSError, pa.ArrowException, KeyError):
        return False


def audit_generations(spark: "SparkSession", output: str, run: RunRecord) -> Iterator[Fault]:
    """Find results that no record names, and compare what plain readers are shown with the current results."""
    for folder in strangers(output, run):
        yield Fault(f"{folder} belongs to no completed run", "the next run deletes it")
    shown = storage.join(output, run.results.pca_results)
    parts = results_parts(output, run)
    others = [part for part in parts if part.rpartition("/")[0] != shown]
    equal = run_tasks(spark, partial(_is_shown, shown), others)
    if not all(equal):
        yield Fault(f"{run.results.pca_results} differs from the results of that run", REDUCE_AGAIN)


def _is_shown(folder: str, part: str) -> bool:
    """Return whether plain readers find the bytes of a part of the results in a folder; run in a worker."""
    try:
        return storage.read(storage.join(folder, storage.name(part))) == storage.read(part)
    except (FileNotFoundError, NotADirectoryError):
        return False


def audit_csv_files(output: str, run: RunRecord) -> Iterator[Fault]:
    """Compare the number of rows in each CSV file with the run's counts."""
    expected = {REJECTED_CSV: run.counts.rejected}
    if run.settings.csv:
        expected[MATRIX_CSV] = run.counts.ok
    for name, rows in expected.items():
        try:
            found = _count_rows(storage.join(output, name))
        except FileNotFoundError:
            yield Fault(f"{name} is gone", REDUCE_AGAIN)
        except pa.ArrowInvalid as error:
            yield Fault(f"{name} is damaged: {' '.join(str(error).split())[:200]}", REDUCE_AGAIN)
        else:
            if found != rows:
                yield Fault(f"{name} has {found} rows where {rows} were written", REDUCE_AGAIN)


def _count_rows(address: str) -> int:
    with storage.open_input(address) as file:
        reader = pa.csv.open_csv(
            file,
            parse_options=pa.csv.ParseOptions(delimiter=";", newlines_in_values=True),  # in quoted texts
            convert_options=pa.csv.ConvertOptions(include_columns=["path"], column_types={"path": pa.string()}),
        )
        return sum(batch.num_rows for batch in reader)
