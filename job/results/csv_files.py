"""The CSV files of a run, `pca_matrix.csv` and `rejected.csv`: sorted Parquet parts in, one sorted text file out."""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from job import storage
from job.errors import RunError
from job.features.snapshot import Counts
from job.features.table import REJECTED_SCHEMA
from job.results.sorted_parts import merge_parts, merge_sorted
from job.spark.merging import merge_in_tasks
from job.storage.lock import check_held

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MATRIX_CSV = "pca_matrix.csv"
REJECTED_CSV = "rejected.csv"

# Most rows of `pca_matrix.csv` unless it is asked for: spreadsheets open 1,048,576 rows.
MATRIX_ROWS = 1_000_000


@dataclass(frozen=True)
class CsvRows:
    """The rows of the CSV files.

    Attributes
    ----------
    results, rejected : list of str
        Addresses of Parquet parts of the results and of the rejected images, each sorted by path.
    k : int
        Number of components.
    counts : Counts
        Numbers of images.
    """

    results: list[str]
    rejected: list[str]
    k: int
    counts: Counts


@contextmanager
def csv_files(spark: "SparkSession", output: str, scratch: str, rows: CsvRows, *, matrix: bool) -> Iterator[None]:
    """Write the CSV files of a run, and put them in place when the block ends without error.

    Parameters
    ----------
    spark : SparkSession
    output, scratch : str
        Addresses of the output, and of a folder for merged parts.
    rows : CsvRows
    matrix : bool
        Whether to write `pca_matrix.csv`; without it, the one of an earlier run is deleted.

    Raises
    ------
    RunError
        For another number of rows than expected, or where another run has taken over the output.
    """
    address = storage.join(output, MATRIX_CSV)
    with ExitStack() as files:
        rejected = merge_in_tasks(spark, rows.rejected, merge_parts, storage.join(scratch, "rejected"))
        files.enter_context(rejected_csv(storage.join(output, REJECTED_CSV), rejected, rows.counts.rejected))
        if matrix:
            results = merge_in_tasks(spark, rows.results, merge_parts, storage.join(scratch, "results"))
            files.enter_context(matrix_csv(address, results, rows.k, rows.counts.ok))
        yield
        check_held(output)
        if not matrix:
            storage.remove(address)


def matrix_csv(address: str, parts: Sequence[str], k: int, expected: int) -> AbstractContextManager[None]:
    """Return the context of `written_csv` for `pca_matrix.csv`, sorted by path, from the parts of the results."""
    schema = pa.schema(
        [("path", pa.string()), ("label", pa.string()), *((f"pca_{i + 1}", pa.float32()) for i in range(k))]
    )

    def rows(table: pa.Table) -> pa.Table:
        vectors = table.column("pca_features").combine_chunks().flatten().to_numpy().reshape(-1, k)
        columns = [table.column("path"), table.column("label"), *(pa.array(column) for column in vectors.T)]
        return pa.table(columns, schema=schema)

    return written_csv(address, map(rows, merge_sorted(parts)), schema, expected)


def rejected_csv(address: str, parts: Sequence[str], expected: int) -> AbstractContextManager[None]:
    """Return the context of `written_csv` for `rejected.csv`, sorted by path, from parts of `REJECTED_SCHEMA`."""
    return written_csv(address, merge_sorted(parts), REJECTED_SCHEMA, expected)


def write_csv(address: str, tables: Iterable[pa.Table], schema: pa.Schema, expected: int) -> None:
    """Write a CSV file and put it in place; see `written_csv`."""
    with written_csv(address, tables, schema, expected):
        pass


@contextmanager
def written_csv(address: str, tables: Iterable[pa.Table], schema: pa.Schema, expected: int) -> Iterator[None]:
    """Write a CSV file with `;` between values, table by table, and put it in place when the block ends without error.

    Raises
    ------
    RunError
        For another number of rows than expected; the file that was there stays.
    """
    count = 0
    with storage.create(address) as path:
        with path.open("wb") as file:
            # Arrow's writer quotes every name in its own header line: the contract is a plain one.
            file.write((";".join(schema.names) + "\n").encode())
            for table in tables:
                _write_lines(table, file)
                count += table.num_rows
        if count != expected:
            raise RunError(f"{address} came to {count} rows where {expected} were expected, and is left as it was")
        yield


def csv_text(table: pa.Table) -> str:
    """Return a table as `write_csv` writes it."""
    file = io.BytesIO((";".join(table.schema.names) + "\n").encode())
    file.seek(0, io.SEEK_END)
    _write_lines(table, file)
    return file.getvalue().decode()


def _write_lines(table: pa.Table, file: BinaryIO) -> None:
    rows = _without_formulas(table)
    # Arrow's `needed` quotes every text; quotes are for texts that would break the line without them.
    style = "needed" if _needs_quotes(rows) else "none"
    pa.csv.write_csv(rows, file, pa.csv.WriteOptions(include_header=False, delimiter=";", quoting_style=style))


def _needs_quotes(table: pa.Table) -> bool:
    texts = [table.column(field.name) for field in table.schema if field.type == pa.string()]
    return any(pc.any(pc.match_substring_regex(text, r'[;"\r\n]')).as_py() for text in texts)


def _without_formulas(table: pa.Table) -> pa.Table:
    """Put an apostrophe before text that a spreadsheet would take for a formula."""
    for index, column in enumerate(table.schema):
        if column.type == pa.string():
            text = table.column(index)
            formula = pc.match_substring_regex(text, r"^[=+\-@\t\r]")
            marked = pc.binary_join_element_wise("'", text, "")
            table = table.set_column(index, column, pc.if_else(formula, marked, text))
    return table
