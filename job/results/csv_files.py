"""The CSV files of a run, `pca_matrix.csv` and `rejected.csv`: sorted Parquet parts in, one sorted text file out."""

import heapq
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from operator import itemgetter
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from job import storage
from job.errors import RunError
from job.features.table import REJECTED_SCHEMA

MATRIX_CSV = "pca_matrix.csv"
REJECTED_CSV = "rejected.csv"

# Rows of each part that are in memory at a time.
_PART_ROWS = 2_000


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


def merge_sorted(parts: Sequence[str], part_rows: int = _PART_ROWS) -> Iterator[pa.Table]:
    """Yield the rows of Parquet parts, each sorted by the bytes of `path`, as one sorted stream.

    At most `part_rows` rows of each part are yielded at a time, and as many more of each are in memory.
    """
    rows = heapq.merge(*(_rows(part, part_rows) for part in parts), key=itemgetter(0))
    while chosen := list(islice(rows, part_rows * len(parts))):
        batches = {id(batch): batch for _, batch, _ in chosen}
        starts, start = {}, 0
        for key, batch in batches.items():
            starts[key] = start
            start += batch.num_rows
        indexes = [starts[id(batch)] + row for _, batch, row in chosen]
        yield pa.Table.from_batches(batches.values()).take(indexes)


def _rows(part: str, part_rows: int) -> Iterator[tuple[bytes, pa.RecordBatch, int]]:
    """Yield each row of a part: its path, the batch that it is in, its number there."""
    with storage.open_input(part) as file:
        for batch in pq.ParquetFile(file).iter_batches(part_rows):
            for row, path in enumerate(batch.column("path").cast(pa.binary()).to_pylist()):
                yield path, batch, row


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
