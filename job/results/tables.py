"""The results table, `pca_results/run=<id>/`: its schema, its parts, and how it is read."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from job import storage
from job.errors import JobError, RunError
from job.features.rereading import read_whole
from job.results.generations import rows_folder
from job.results.run_record import RunRecord, current_run
from job.spark.shipping import ship
from job.spark.tasks import map_items

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# `pca_features` has k values.
RESULTS_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("pca_features", pa.list_(pa.field("element", pa.float32()))),
    ]
)


class ResultsGoneError(JobError):
    """Results that are not where they were: a newer run has replaced them, or they were deleted."""


# Rows read at a time: 2 MB of 50 components.
_BATCH_ROWS = 10_000


def results_parts(output: str, run: RunRecord) -> list[str]:
    """Return the addresses of a run's results, Parquet files of `RESULTS_SCHEMA`, sorted.

    Raises
    ------
    JobError
        Where their folder is gone.
    """
    shown = storage.join(output, run.results.pca_results)
    # Results of an earlier version, or that `fruits submit results` has copied, are only where plain readers look.
    for folder in (rows_folder(output, run.run), shown):
        with suppress(FileNotFoundError):
            parts = [entry.address for entry in storage.scan(folder) if entry.address.endswith(".parquet")]
            if parts:  # on S3 no prefix is absent
                return sorted(parts)
    raise ResultsGoneError(f"the results in {shown} are gone; python -m job reduce computes them again")


def read_part(address: str, columns: list[str] = RESULTS_SCHEMA.names) -> Iterator[pa.RecordBatch]:
    """Yield columns of one part of the results, a few thousand rows at a time.

    Raises
    ------
    JobError
        Where the file is gone or cannot be read.
    """
    try:
        with storage.open_input(address) as file:
            yield from pq.ParquetFile(file).iter_batches(_BATCH_ROWS, columns=columns)
    except FileNotFoundError:
        raise ResultsGoneError(f"{address} is gone; python -m job reduce writes it again") from None
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise JobError(f"{address} cannot be read ({reason}); python -m job reduce writes it again") from None


def read_results(output: str, spark: "SparkSession | None" = None) -> "pa.Table | DataFrame":
    """Read the current results: those that `run.json` names, each image exactly once.

    Safe at every moment: where a newer run replaces them meanwhile, the answer is that run's. A Spark DataFrame may be
    read until the second run after that.

    Parameters
    ----------
    output : str
        The `--output` of the run.
    spark : SparkSession, optional
        Given, the answer is a Spark DataFrame that its workers read; else an Arrow table (`.to_pandas()` for pandas).

    Returns
    -------
    pyarrow.Table or pyspark.sql.DataFrame
        Columns `path`, `label` string, `pca_features` list<float32>, k values.

    Raises
    ------
    JobError
        Where there are no results, or they cannot be read.
    """
    output = storage.absolute(output)

    def read(run: RunRecord) -> "pa.Table | DataFrame":
        parts = results_parts(output, run)
        if spark is None:
            return pa.Table.from_batches((batch for part in parts for batch in read_part(part)), RESULTS_SCHEMA)
        ship(spark)
        return map_items(spark, parts, partial(_read_part_of, output, run.run), RESULTS_SCHEMA)

    return read_whole(lambda: current_run(output), read, ResultsGoneError, f"the results in {output}")


def _read_part_of(output: str, run: str, address: str) -> Iterator[pa.RecordBatch]:
    """Yield one part of a run's results, in a worker; raises `RunError` where newer results have replaced it."""
    try:
        yield from read_part(address)
    except ResultsGoneError:
        if current_run(output).run == run:
            raise
        raise RunError(f"newer results have replaced those of run {run}; call read_results again") from None
