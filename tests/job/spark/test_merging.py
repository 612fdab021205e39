"""Files merged in a tree of tasks."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from job import storage
from job.spark.merging import merge_in_tasks
from job.spark.shipping import ship


def concatenate(sources: Sequence[str], target: str) -> None:
    storage.write(target, b"".join(map(storage.read, sources)))


@pytest.mark.parametrize(("count", "left"), [(0, 0), (1, 1), (3, 3), (4, 2), (9, 3), (10, 2), (28, 2)])
def test_files_are_merged_level_by_level_in_their_order(
    spark: SparkSession, tmp_path: Path, count: int, left: int
) -> None:
    ship(spark)
    files = [str(tmp_path / f"{number}") for number in range(count)]
    for number, file in enumerate(files):
        storage.write(file, f"{number},".encode())
    found = merge_in_tasks(spark, files, concatenate, str(tmp_path / "merged"), fan_in=3)
    assert len(found) == left
    assert b"".join(map(storage.read, found)) == b"".join(f"{number},".encode() for number in range(count))
    assert all(Path(file).exists() for file in files)
