"""Results for tests that need some: Parquet parts, and an output that has them."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from job.results.run_record import write_run
from job.results.tables import RESULTS_SCHEMA
from tests.job.results.run_records import run_record


def results_part(path: Path, rows: Sequence[tuple[str, str | None, list[float]]]) -> str:
    """Write a part with rows of path, label and components; return its address."""
    columns: list[tuple[object, ...]] = list(zip(*rows, strict=True)) or [(), (), ()]
    table = pa.table(dict(zip(RESULTS_SCHEMA.names, map(list, columns), strict=True)), schema=RESULTS_SCHEMA)
    pq.write_table(table, path)
    return str(path)


ROWS = [("/a", "x", [1.5, -2.0]), ("/c", None, [0.5, 0.25]), ("/b", "Äpfel", [3.0, 4.0])]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Return an output with results of two parts, and beside them those of an earlier run."""
    folder = tmp_path / "output" / run_record().results.pca_results
    earlier = folder.parent / "run=20240101T000000-abcdef-0123"
    folder.mkdir(parents=True)
    earlier.mkdir()
    results_part(folder / "part-00000.parquet", ROWS[:2])
    results_part(folder / "part-00001.parquet", ROWS[2:])
    results_part(earlier / "part-00000.parquet", [("/a", "x", [9.0])])
    write_run(str(tmp_path / "output"), run_record())
    return tmp_path / "output"


def rows(table: object) -> list[tuple[str, str | None, list[float]]]:
    """Return the rows of an Arrow table of results, sorted by path."""
    assert isinstance(table, pa.Table)
    assert table.column_names == RESULTS_SCHEMA.names
    return sorted((row["path"], row["label"], row["pca_features"]) for row in table.to_pylist())
