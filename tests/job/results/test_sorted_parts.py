"""Sorted parts, merged into one sorted stream."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from job.results.sorted_parts import merge_parts, merge_sorted
from job.results.tables import RESULTS_SCHEMA
from tests.job.results.parts import results_part

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
parts_of_words = st.lists(st.lists(words, max_size=12), max_size=5)


@given(parts_of_words, st.integers(1, 5))
@examples(deadline=None, database=None, derandomize=True, max_examples=150)
def test_sorted_parts_are_merged_into_one_sorted_stream(parts: list[list[str]], rows_at_a_time: int) -> None:
    with TemporaryDirectory() as folder:
        addresses = [
            results_part(Path(folder, f"{n}.parquet"), [(path, f"{n}", [float(n)]) for path in sorted(paths)])
            for n, paths in enumerate(parts)
        ]
        tables = list(merge_sorted(addresses, rows_at_a_time))
    found = [row for table in tables for row in table.to_pylist()]
    assert [row["path"] for row in found] == sorted(path for paths in parts for path in paths)
    expected = Counter((path, f"{n}", float(n)) for n, paths in enumerate(parts) for path in paths)
    assert Counter((row["path"], row["label"], row["pca_features"][0]) for row in found) == expected


def test_a_merge_holds_few_rows_of_each_part_at_a_time(tmp_path: Path) -> None:
    addresses = [
        results_part(tmp_path / f"{n}.parquet", [(f"{i:05d}", None, []) for i in range(n, 3000, 3)]) for n in range(3)
    ]
    sizes = [table.num_rows for table in merge_sorted(addresses, 10)]
    assert sum(sizes) == 3000
    assert max(sizes) <= 30


def test_merged_parts_are_a_sorted_part_with_the_same_columns(tmp_path: Path) -> None:
    first = results_part(tmp_path / "1", [("/a", "x", [1.0]), ("/c", None, [3.0])])
    second = results_part(tmp_path / "2", [("/b", "y", [2.0])])
    empty = results_part(tmp_path / "3", [])
    merge_parts([second, empty, first], str(tmp_path / "merged"))
    found = pq.read_table(tmp_path / "merged")
    assert found.schema.remove_metadata() == RESULTS_SCHEMA
    assert found.column("path").to_pylist() == ["/a", "/b", "/c"]
    assert found.column("pca_features").to_pylist() == [[1.0], [2.0], [3.0]]
