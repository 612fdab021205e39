"""The CSV files of a run: what they hold, and texts that need care."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from job.errors import RunError
from job.features.snapshot import Counts
from job.features.table import REJECTED_SCHEMA
from job.results.csv_files import CsvRows, csv_files, matrix_csv, rejected_csv
from job.spark.shipping import ship
from tests.job.results.parts import results_part


def read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter=";"))


def test_the_matrix_is_one_plain_line_an_image_sorted_by_path(tmp_path: Path) -> None:
    first = results_part(tmp_path / "1", [("/a b/1.jpg", "a b", [1.5, -2.0]), ("/c/3.jpg", None, [0.1, 1e-30])])
    second = results_part(tmp_path / "2", [("/b/2.jpg", "Äpfel", [3.0, 4.0])])
    with matrix_csv(str(tmp_path / "pca_matrix.csv"), [second, first], 2, 3):
        pass
    assert (tmp_path / "pca_matrix.csv").read_text(encoding="utf-8").splitlines()[:3] == [
        "path;label;pca_1;pca_2",
        "/a b/1.jpg;a b;1.5;-2",
        "/b/2.jpg;Äpfel;3;4",
    ]
    last = read_csv(tmp_path / "pca_matrix.csv")[3]
    assert last[:2] == ["/c/3.jpg", ""]
    assert np.array(last[2:], np.float32).tobytes() == np.array([0.1, 1e-30], np.float32).tobytes()


def test_the_matrix_keeps_each_number_to_its_last_bit(tmp_path: Path) -> None:
    values = np.random.default_rng(1).standard_normal((500, 7)).astype(np.float32)
    values *= np.float32(10) ** np.arange(-18, 17, 5, dtype=np.float32)
    address = results_part(tmp_path / "1", [(f"{i:03d}", "x", row.tolist()) for i, row in enumerate(values)])
    with matrix_csv(str(tmp_path / "m.csv"), [address], 7, 500):
        pass
    rows = read_csv(tmp_path / "m.csv")
    assert rows[0] == ["path", "label", *[f"pca_{i}" for i in range(1, 8)]]
    assert np.array([row[2:] for row in rows[1:]], np.float32).tobytes() == values.tobytes()


AWKWARD = ["a;b", 'say "a"', "two\nlines", "carriage\rreturn", "it's", " space ", ",", "\\", "日本", '"', ";"]


def test_what_would_break_a_line_is_quoted(tmp_path: Path) -> None:
    rows = [(f"/{number:02d} {text}", text, [float(number)]) for number, text in enumerate(AWKWARD)]
    with matrix_csv(str(tmp_path / "m.csv"), [results_part(tmp_path / "1", rows)], 1, len(rows)):
        pass
    assert read_csv(tmp_path / "m.csv")[1:] == [[path, text, f"{value[0]:g}"] for path, text, value in rows]


def test_text_that_a_spreadsheet_would_calculate_gets_an_apostrophe(tmp_path: Path) -> None:
    dangerous = ["=1+1", "+1", "-1", "@sum(a1)", "\tx", "\rx", '=cmd|"/c calc";']
    harmless = ["a=1", "1-1", "'=1", "", "/-"]
    rows = [(f"/{i:02d}", text, [-5.0]) for i, text in enumerate(dangerous + harmless)]
    with matrix_csv(str(tmp_path / "m.csv"), [results_part(tmp_path / "1", rows)], 1, len(rows)):
        pass
    found = [row[1:] for row in read_csv(tmp_path / "m.csv")[1:]]
    assert found == [[f"'{text}", "-5"] for text in dangerous] + [[text, "-5"] for text in harmless]


def rejected(path: Path, rows: list[tuple[str, str, str]]) -> str:
    columns = dict(zip(REJECTED_SCHEMA.names, map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns, schema=REJECTED_SCHEMA), path)
    return str(path)


def test_rejected_images_are_listed_with_their_reason_or_the_header_alone(tmp_path: Path) -> None:
    first = rejected(tmp_path / "1", [("/b.jpg", "truncated", "cut; here"), ("/d.jpg", "gone", "x")])
    second = rejected(tmp_path / "2", [("=c.jpg", "damaged", "x\ny")])
    with rejected_csv(str(tmp_path / "rejected.csv"), [first, second], 3):
        pass
    assert read_csv(tmp_path / "rejected.csv") == [
        ["path", "reason", "error"],
        ["/b.jpg", "truncated", "cut; here"],
        ["/d.jpg", "gone", "x"],
        ["'=c.jpg", "damaged", "x\ny"],
    ]
    with rejected_csv(str(tmp_path / "rejected.csv"), [], 0):
        pass
    assert (tmp_path / "rejected.csv").read_bytes() == b"path;reason;error\n"


def test_another_number_of_rows_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "pca_matrix.csv"
    target.write_text("old")
    address = results_part(tmp_path / "1", [("/a", None, [1.0])])
    too_few = r"pca_matrix\.csv came to 1 rows where 2 were expected, and is left as it was$"
    with pytest.raises(RunError, match=too_few), matrix_csv(str(target), [address], 1, 2):
        pass
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "pca_matrix.csv"]


def test_more_parts_than_are_merged_at_a_time_make_one_sorted_file(spark: SparkSession, tmp_path: Path) -> None:
    ship(spark)
    parts = [
        results_part(tmp_path / f"{n:02d}", [(f"/{i:03d}", "x", [float(i)]) for i in range(n, 120, 40)])
        for n in range(40)
    ]
    refused = rejected(tmp_path / "r", [("/b.jpg", "truncated", "cut; here")])
    rows = CsvRows(parts, [refused], 1, Counts(listed=121, reused=0, new=121, ok=120, rejected=1))
    output = tmp_path / "out"
    with csv_files(spark, str(output), str(tmp_path / "scratch"), rows, matrix=True):
        assert not list(output.glob("*.csv"))  # not before the end of the block
    assert read_csv(output / "pca_matrix.csv")[1:] == [[f"/{i:03d}", "x", str(i)] for i in range(120)]
    assert len(read_csv(output / "rejected.csv")) == 2
    with csv_files(spark, str(output), str(tmp_path / "scratch"), rows, matrix=False):
        pass
    assert [path.name for path in output.glob("*.csv")] == ["rejected.csv"]
