"""Spans that wait for a task to read them: Parquet files of the run, of which each task reads its share."""

import secrets
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from job import storage
from job.images.folder_reading import Span

# Bytes, as a folder's name on a disk need not be text.
_SCHEMA = pa.schema([("path", pa.binary()), ("after", pa.binary()), ("until", pa.binary())])
_FILE_ROWS = 5_000


class SpanFile(NamedTuple):
    """A Parquet file of spans, and which of its rows are meant."""

    address: str
    start: int
    stop: int


def write_spans(spans: Iterable[Span], target: str) -> list[SpanFile]:
    """Write spans to Parquet files whose names begin with `target`, in the order of a hash."""
    mixed = sorted(spans, key=lambda span: zlib.crc32(_bytes(span.path + span.names.after)))
    attempt = secrets.token_hex(4)  # two attempts of a task may write at a time
    files: list[SpanFile] = []
    for start in range(0, len(mixed), _FILE_ROWS):
        rows = [(span.path, *span.names) for span in mixed[start : start + _FILE_ROWS]]
        columns = [pa.array(list(map(_bytes, column)), pa.binary()) for column in zip(*rows, strict=True)]
        files.append(SpanFile(f"{target}-{len(files):05d}-{attempt}.parquet", 0, len(rows)))
        with storage.create(files[-1].address) as path:
            pq.write_table(pa.table(columns, schema=_SCHEMA), path)
    return files


def read_spans(files: Iterable[SpanFile]) -> list[Span]:
    """Return the spans of some files."""
    spans = []
    for address, start, stop in files:
        with storage.open_input(address) as file:
            columns = pq.read_table(file).slice(start, stop - start).to_pydict()
        for path, *names in zip(*(map(_text, columns[name]) for name in _SCHEMA.names), strict=True):
            spans.append(Span(path, storage.NameRange(*names)))
    return spans


def deal(files: Sequence[SpanFile], tasks: int) -> list[list[SpanFile]]:
    """Deal the spans of files out evenly to at most `tasks` tasks."""
    total = sum(file.stop - file.start for file in files)
    tasks = min(tasks, total)
    shares: list[list[SpanFile]] = [[] for _ in range(tasks)]
    number = dealt = 0
    for file in files:
        row = file.start
        while row < file.stop:
            taken = min(file.stop - row, total * (number + 1) // tasks - dealt)
            shares[number].append(SpanFile(file.address, row, row + taken))
            row, dealt = row + taken, dealt + taken
            number += dealt == total * (number + 1) // tasks
    return shares


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
