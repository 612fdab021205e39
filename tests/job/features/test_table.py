"""The features table: what counts as committed, what a damaged one says, which rows are current."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from job import storage
from job.errors import JobError, RunError
from job.features import table as store
from job.features.table import DataFile, RowMask, Snapshot, commit, committed, read_batches, read_features, read_file

FINGERPRINT = "0123456789abcdef"


@pytest.fixture(params=["local", "s3"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "output")
    return f"s3://{request.getfixturevalue('bucket')}/output"


def features(output: str, wave: str, number: int, rows: int) -> DataFile:
    """Write a features file; row i of it is of the picture `/<wave>-<number>/<i>.jpg`."""
    label = f"{storage.name(wave).removeprefix('wave=').removesuffix('-0000')}-{number}"
    columns: dict[str, list[Any]] = {name: [None] * rows for name in store.SCHEMA.names}
    columns["path"] = [f"/{label}/{i}.jpg" for i in range(rows)]
    columns["label"] = [label] * rows
    columns["length"] = list(range(rows))
    columns["modified"] = [pd.Timestamp(1_700_000_000_000_000 + i, unit="us", tz="UTC") for i in range(rows)]
    columns["status"] = ["ok"] * rows
    columns["features"] = [[float(i), 0.5] for i in range(rows)]
    name = f"{wave}/part-{number:05d}.parquet"
    with storage.create(storage.join(output, name)) as path:
        pq.write_table(pa.table(columns, schema=store.SCHEMA), path)
        size = path.stat().st_size
    return DataFile(name, rows, size)


def wave(output: str, run: str, *rows: int, fingerprint: str = FINGERPRINT, done: bool = True) -> list[DataFile]:
    name = store.wave_name(fingerprint, run, 0)
    files = [features(output, name, number, count) for number, count in enumerate(rows)]
    if done:
        commit(output, name, files)
    return files


def test_committed_waves_are_listed_oldest_first(output: str) -> None:
    later, earlier = wave(output, "20260102T000000-b", 3, 4), wave(output, "20260101T000000-a", 5)
    wave(output, "20260103T000000-c", 6, done=False)
    wave(output, "20260101T000000-d", 7, fingerprint="f" * 16)
    assert committed(output, FINGERPRINT) == earlier + later
    assert committed(output, "0" * 16) == []
    days = [7, 3, 9, 1, 8, 2, 6, 4, 5]
    made = {day: wave(output, f"2026010{day}T120000-x", 1, fingerprint="d" * 16)[0] for day in days}
    assert committed(output, "d" * 16) == [made[day] for day in sorted(days)]
    assert sorted(store.models(output)) == [FINGERPRINT, "d" * 16, "f" * 16]


def test_the_marker_tells_files_rows_and_bytes(output: str) -> None:
    files = wave(output, "r", 3, 4)
    folder = storage.join(output, "features", f"model={FINGERPRINT}", "wave=r-0000")
    marker = json.loads(storage.read(f"{folder}/_COMMIT.json"))
    sizes = [storage.stat(storage.join(output, file.name)).length for file in files]
    assert marker == {
        "format": 1,
        "fingerprint": FINGERPRINT,
        "rows": 7,
        "bytes": sum(sizes),
        "files": [
            {"name": "part-00000.parquet", "rows": 3, "bytes": sizes[0]},
            {"name": "part-00001.parquet", "rows": 4, "bytes": sizes[1]},
        ],
    }


def test_waves_without_a_marker_are_removed_and_nothing_else(output: str) -> None:
    files = wave(output, "a", 3)
    wave(output, "b", 4, 5, done=False)
    wave(output, "c", 4, fingerprint="f" * 16, done=False)
    storage.write(storage.join(store.model_folder(output, FINGERPRINT), "model.tflite"), b"")
    store.drop_uncommitted(output)
    model = storage.join(output, "features", f"model={FINGERPRINT}")
    assert {storage.name(entry.address) for entry in storage.scan(model)} == {"wave=a-0000", "_model"}
    assert committed(output, FINGERPRINT) == files
    assert sum(batch.num_rows for batch in read_file(output, files[0], ["path"])) == 3
    assert not storage.exists(storage.join(output, "features", f"model={'f' * 16}", "wave=c-0000"))


def test_only_the_kept_run_of_a_folder_stays(output: str) -> None:
    for name in ("run=1/a", "run=2/a", "run=22/a", "other/a"):
        storage.write(storage.join(output, "pca_results", name), b"")
    store.remove_runs(output, "pca_results", keep="2")
    left = {storage.name(entry.address) for entry in storage.scan(storage.join(output, "pca_results"))}
    assert left == {"run=2", "other"}


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        (b'{"format": 1', "is damaged; delete the folder it is in, and its images are inferred again$"),
        (b'{"format": 2, "fingerprint": "0123456789abcdef", "files": []}', "written by another version or model"),
        (b'{"format": 1, "fingerprint": "ffff", "files": []}', "was written by another version or model"),
    ],
)
def test_a_marker_that_is_damaged_or_foreign_is_refused_by_name(output: str, marker: bytes, words: str) -> None:
    wave(output, "a", 1)
    address = storage.join(output, "features", f"model={FINGERPRINT}", "wave=a-0000", "_COMMIT.json")
    storage.write(address, marker)
    with pytest.raises(RunError, match=f"^{address} .*{words}"):
        committed(output, FINGERPRINT)


def test_a_file_that_is_gone_shorter_or_damaged_is_refused_by_name(output: str) -> None:
    (file,) = wave(output, "a", 3)
    address = storage.join(output, file.name)
    with pytest.raises(RunError, match=f"^{address} has 3 rows where 4 were committed; delete its wave's folder"):
        list(read_file(output, file._replace(rows=4), ["path"]))
    storage.write(address, storage.read(address)[:-20])
    with pytest.raises(RunError, match=rf"^{address} is damaged \(.+\); delete its wave's folder"):
        list(read_file(output, file, ["path"]))
    storage.remove(address)
    with pytest.raises(RunError, match=f"^{address} was committed and is gone; delete its wave's folder"):
        list(read_file(output, file, ["path"]))


def masked(output: str, name: str, rows: list[tuple[str, int, str | None]]) -> str:
    table = pa.table(
        {"file": [row[0] for row in rows], "row": [row[1] for row in rows], "label": [row[2] for row in rows]}
    )
    with storage.create(storage.join(output, name)) as path:
        pq.write_table(table, path)
    return name


def paths(batches: Iterator[pa.RecordBatch]) -> list[tuple[str, str]]:
    return [(row["path"], row["label"]) for batch in batches for row in batch.to_pylist()]


def test_a_mask_chooses_rows_and_gives_them_todays_labels(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "BATCH_ROWS", 4)  # rows counted across batches
    first, second, third = wave(output, "a", 10, 10, 3)
    mask = masked(
        output,
        "work/mask.parquet",
        [(first.name, 9, "new"), (first.name, 0, None), (first.name, 4, "a-0"), (second.name, 5, "five")],
    )
    row_masks = [RowMask(first, mask, 3), RowMask(third, None, 3), RowMask(second, mask, 1)]
    batches = list(read_batches(output, row_masks, ["path", "label", "features"]))
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


def current(row_masks: list[RowMask], model: str = FINGERPRINT) -> Snapshot:
    return Snapshot(
        run="r",
        fingerprint=model,
        model={"name": "tiny"},
        settings={"images": "Äpfel"},
        counts={"listed": 1},
        labels={"a": 1},
        seconds={"list": 0.25},
        images_per_second=1.5,
        row_masks=row_masks,
    )


def test_what_is_current_is_read_as_it_was_written(output: str) -> None:
    files = wave(output, "a", 2, 3)
    told = current([RowMask(files[0], None, 2), RowMask(files[1], "work/mask.parquet", 1)])
    store.write_snapshot(output, told)
    assert store.read_snapshot(output) == told


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, r"^no features in .*; make them with: python -m job featurize --output"),
        (b"{", r"_CURRENT\.json is damaged; run python -m job featurize again"),
        (b'{"format": 7}', r"_CURRENT\.json has format 7, this version reads format 2; run python -m job run"),
    ],
)
def test_where_nothing_usable_is_current_one_line_says_what_to_do(output: str, data: bytes | None, words: str) -> None:
    if data is not None:
        storage.write(storage.join(output, "features", "_CURRENT.json"), data)
    with pytest.raises(JobError, match=words):
        read_features(output)


def test_current_features_read_the_same_with_arrow_pandas_and_spark(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = str(tmp_path / "output")
    first, second = wave(output, "a", 6, 4)
    wave(output, "b", 9)  # committed, but not current
    mask = masked(output, "work/mask.parquet", [(first.name, 5, "today"), (first.name, 1, None)])
    store.write_snapshot(output, current([RowMask(first, mask, 2), RowMask(second, None, 4)]))
    monkeypatch.chdir(tmp_path)
    table = read_features("output")
    assert isinstance(table, pa.Table)
    assert table.schema == store.SCHEMA
    names = ["/a-0/1.jpg", "/a-0/5.jpg", "/a-1/0.jpg", "/a-1/1.jpg", "/a-1/2.jpg", "/a-1/3.jpg"]
    assert table.column("path").to_pylist() == names
    assert table.column("label").to_pylist() == [None, "today", *["a-1"] * 4]
    frame = read_features("output", spark)
    assert not isinstance(frame, pa.Table)
    told = sorted(frame.collect(), key=lambda row: row.path)
    assert [row.path for row in told] == names
    assert [row.label for row in told] == [None, "today", *["a-1"] * 4]
    assert [row.features for row in told] == table.column("features").to_pylist()
    assert frame.columns == store.SCHEMA.names
