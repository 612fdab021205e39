"""Parquet parts that are each sorted by path, merged into one sorted stream in bounded memory."""

import heapq
from collections.abc import Iterator, Sequence
from itertools import islice
from operator import itemgetter

import pyarrow as pa
import pyarrow.parquet as pq

from job import storage

# Rows of each part that are in memory at a time.
_PART_ROWS = 2_000
# Bytes of each column that are fetched at a time: without it, those of a whole row group are.
_COLUMN_BYTES = 1 << 16


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


def merge_parts(parts: Sequence[str], target: str) -> None:
    """Write parts as one sorted part, in a worker."""
    tables = merge_sorted(parts)
    first = next(tables)
    with storage.create(target) as path, pq.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def _rows(part: str, part_rows: int) -> Iterator[tuple[bytes, pa.RecordBatch, int]]:
    """Yield each row of a part: its path, the batch that it is in, its number there."""
    with storage.open_input(part) as file:
        for batch in pq.ParquetFile(file, buffer_size=_COLUMN_BYTES).iter_batches(part_rows):
            for row, path in enumerate(batch.column("path").cast(pa.binary()).to_pylist()):
                yield path, batch, row
