"""What a run leaves for people: the schema of pca_results, pca_matrix.csv, rejected.csv."""

import io
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from job import storage
from job.errors import RunError
from job.features.table import REJECTED_SCHEMA

CSV = "pca_matrix.csv"
REJECTED_CSV = "rejected.csv"

# `pca_features` has k values.
RESULTS_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("pca_features", pa.list_(pa.field("element", pa.float32()))),
    ]
)

_MERGE_ROWS = 2_000


def merged(addresses: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the rows of Parquet parts, each sorted by `path`, as one sorted stream, a few thousand rows at a time."""
    readers = {address: _batches(address) for address in addresses}
    heads: dict[str, pa.Table] = {}
    while readers or heads:
        for address in [address for address in readers if address not in heads]:
            batch = next(readers[address], None)
            if batch is None:
                del readers[address]
            elif batch.num_rows:
                heads[address] = pa.table(batch)
        if not heads:
            continue
        # All rows up to the smallest of the last paths in sight are in sight.
        bound = min(head.column("path")[-1].as_py().encode() for head in heads.values())
        ready = []
        for address, head in list(heads.items()):
            count = _count_up_to(head, bound)
            if count:
                ready.append(head.slice(0, count))
            if count == head.num_rows:
                del heads[address]
            else:
                heads[address] = head.slice(count)
        yield pa.concat_tables(ready).sort_by("path")


def _batches(address: str) -> Iterator[pa.RecordBatch]:
    with storage.open_input(address) as file:
        yield from pq.ParquetFile(file).iter_batches(_MERGE_ROWS)


def _count_up_to(table: pa.Table, bound: bytes) -> int:
    """Return how many rows of a table sorted by path are not above the bound."""
    return pc.sum(pc.less_equal(table.column("path").cast(pa.binary()), pa.scalar(bound, pa.binary()))).as_py() or 0


def write_matrix(address: str, parts: Sequence[str], k: int, expected: int) -> None:
    """Write `pca_matrix.csv`, sorted by path, from the parts of the results; raises `RunError` for other rows."""
    schema = pa.schema(
        [("path", pa.string()), ("label", pa.string()), *((f"pca_{i + 1}", pa.float32()) for i in range(k))]
    )

    def rows(table: pa.Table) -> pa.Table:
        vectors = pa.concat_arrays(table.column("pca_features").chunks).flatten().to_numpy().reshape(-1, k)
        columns = [table.column("path"), table.column("label"), *(pa.array(column) for column in vectors.T)]
        return pa.table(columns, schema=schema)

    write_csv(address, map(rows, merged(parts)), schema, expected)


def write_rejected(address: str, parts: Sequence[str], expected: int) -> None:
    """Write `rejected.csv`, sorted by path; raises `RunError` for other rows than expected."""
    write_csv(address, merged(parts), REJECTED_SCHEMA, expected)


def write_csv(address: str, tables: Iterator[pa.Table], schema: pa.Schema, expected: int) -> None:
    """Write a CSV file with `;` between values, streamed, and put it in place if it has the rows expected."""
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


def csv_text(table: pa.Table) -> str:
    """Return a table as `write_csv` writes it."""
    file = io.BytesIO((";".join(table.schema.names) + "\n").encode())
    file.seek(0, io.SEEK_END)
    _write_lines(table, file)
    return file.getvalue().decode()


def _write_lines(table: pa.Table, file: BinaryIO) -> None:
    rows = _harmless(table)
    # Arrow's `needed` quotes every text; quotes are for texts that would break the line without them.
    style = "needed" if _needs_quotes(rows) else "none"
    pa.csv.write_csv(rows, file, pa.csv.WriteOptions(include_header=False, delimiter=";", quoting_style=style))


def _needs_quotes(table: pa.Table) -> bool:
    texts = [table.column(field.name) for field in table.schema if field.type == pa.string()]
    return any(pc.any(pc.match_substring_regex(text, r'[;"\r\n]')).as_py() for text in texts)


def _harmless(table: pa.Table) -> pa.Table:
    """Put an apostrophe before text that a spreadsheet would take for a formula."""
    for index, column in enumerate(table.schema):
        if column.type == pa.string():
            text = table.column(index)
            formula = pc.match_substring_regex(text, r"^[=+\-@\t\r]")
            marked = pc.binary_join_element_wise("'", text, "")
            table = table.set_column(index, column, pc.if_else(formula, marked, text))
    return table
