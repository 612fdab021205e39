"""Parquet parts of results for tests that need some."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from job.results.tables import RESULTS_SCHEMA


def results_part(path: Path, rows: Sequence[tuple[str, str | None, list[float]]]) -> str:
    """Write a part with rows of path, label and components; return its address."""
    columns: list[tuple[object, ...]] = list(zip(*rows, strict=True)) or [(), (), ()]
    table = pa.table(dict(zip(RESULTS_SCHEMA.names, map(list, columns), strict=True)), schema=RESULTS_SCHEMA)
    pq.write_table(table, path)
    return str(path)
