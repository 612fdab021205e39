"""The features table: which rows are current, and what is said of a file that is not as it was committed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from job import storage
from job.errors import RunError
from job.features.snapshot import RowMask, write_snapshot
from job.features.table import SCHEMA, read_batches, read_features, read_file
from tests.job.features.stores import snapshot, write_mask, write_wave


def test_a_file_that_is_gone_shorter_or_damaged_is_refused_by_name(output: str) -> None:
    (file,) = write_wave(output, "a", 3)
    address = storage.join(output, file.name)
    with pytest.raises(RunError, match=f"^{address} has 3 rows where 4 were committed; delete its wave's folder"):
        list(read_file(output, replace(file, rows=4), ["path"]))
    storage.write(address, storage.read(address)[:-20])
    with pytest.raises(RunError, match=rf"^{address} is damaged \(.+\); delete its wave's folder"):
        list(read_file(output, file, ["path"]))
    storage.remove(address)
    with pytest.raises(RunError, match=f"^{address} was committed and is gone; delete its wave's folder"):
        list(read_file(output, file, ["path"]))


def paths(batches: Iterator[pa.RecordBatch]) -> list[tuple[str, str]]:
    return [(row["path"], row["label"]) for batch in batches for row in batch.to_pylist()]


def test_a_mask_chooses_rows_and_gives_them_todays_labels(output: str) -> None:
    first, second, third = write_wave(output, "a", 10, 10, 3)
    mask = write_mask(
        output,
        "work/mask.parquet",
        [(first.name, 9, "new"), (first.name, 0, None), (first.name, 4, "a-0"), (second.name, 5, "five")],
    )
    row_masks = [RowMask(first, mask, 3), RowMask(third, None, 3), RowMask(second, mask, 1)]
    batches = list(
        read_batches(output, row_masks, ["path", "label", "features"], batch_rows=4)
    )  # rows counted across batches
    assert paths(iter(batches)) == [
        ("/a-0/0.jpg", None),
        ("/a-0/4.jpg", "a-0"),
        ("/a-0/9.jpg", "new"),
        ("/a-2/0.jpg", "a-2"),
        ("/a-2/1.jpg", "a-2"),
        ("/a-2/2.jpg", "a-2"),
        ("/a-1/5.jpg", "five"),
    ]
    vectors = [row["features"] for batch in batches for row in batch.to_pylist()]
    assert vectors == [[0.0, 0.5], [4.0, 0.5], [9.0, 0.5], [0.0, 0.5], [1.0, 0.5], [2.0, 0.5], [5.0, 0.5]]
    assert max(batch.num_rows for batch in batches) <= 4


def test_current_features_read_the_same_with_arrow_pandas_and_spark(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = str(tmp_path / "output")
    first, second = write_wave(output, "a", 6, 4)
    write_wave(output, "b", 9)  # committed, but not current
    mask = write_mask(output, "work/mask.parquet", [(first.name, 5, "today"), (first.name, 1, None)])
    write_snapshot(output, snapshot(RowMask(first, mask, 2), RowMask(second, None, 4)))
    monkeypatch.chdir(tmp_path)
    table = read_features("output")
    assert isinstance(table, pa.Table)
    assert table.schema == SCHEMA
    names = ["/a-0/1.jpg", "/a-0/5.jpg", "/a-1/0.jpg", "/a-1/1.jpg", "/a-1/2.jpg", "/a-1/3.jpg"]
    assert table.column("path").to_pylist() == names
    assert table.column("label").to_pylist() == [None, "today", *["a-1"] * 4]
    frame = read_features("output", spark)
    assert not isinstance(frame, pa.Table)
    rows = sorted(frame.collect(), key=lambda row: row.path)
    assert [row.path for row in rows] == names
    assert [row.label for row in rows] == [None, "today", *["a-1"] * 4]
    assert [row.features for row in rows] == table.column("features").to_pylist()
    assert frame.columns == SCHEMA.names


def test_a_reader_that_a_prune_overtakes_is_told_to_read_again(spark: SparkSession, tmp_path: Path) -> None:
    output = str(tmp_path)
    [first] = write_wave(output, "20260101T000000-a", 3)
    write_snapshot(output, snapshot(RowMask.whole(first)))
    frame = read_features(output, spark)
    [second] = write_wave(output, "20260102T000000-a", 2)
    Path(output, first.name).unlink()
    with pytest.raises(Exception, match="was committed and is gone; delete its wave's folder"):
        frame.count()
    with pytest.raises(RunError, match="was committed and is gone; delete its wave's folder"):
        read_features(output)
    write_snapshot(output, snapshot(RowMask.whole(second)))
    with pytest.raises(Exception, match=r"a newer run or a prune has replaced features in .*; call read_fe"):
        frame.count()


def test_rows_of_small_files_are_gathered_in_batches_of_at_most_so_many(output: str) -> None:
    files = write_wave(output, "a", 3, 4, 5, 1, 20)
    mask = write_mask(
        output, "mask.parquet", [(files[2].name, 4, "x"), (files[1].name, 2, "y"), (files[2].name, 1, "z")]
    )
    masks = [RowMask.whole(files[0]), RowMask(files[1], mask, 1), RowMask(files[2], mask, 2)]
    masks += [RowMask.whole(files[3]), RowMask.whole(files[4])]
    batches = list(read_batches(output, masks, ["path", "label"], batch_rows=8))
    assert [batch.num_rows for batch in batches] == [7, 8, 8, 4]
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert [row["path"] for row in rows[:7]] == [
        *("/a-0/0.jpg", "/a-0/1.jpg", "/a-0/2.jpg", "/a-1/2.jpg", "/a-2/1.jpg", "/a-2/4.jpg", "/a-3/0.jpg"),
    ]
    assert [row["label"] for row in rows[3:6]] == ["y", "z", "x"]
    assert [row["path"] for row in rows[7:]] == [f"/a-4/{i}.jpg" for i in range(20)]
