"""Whatever waves a store has, and whatever is listed: each listed image is reused once or inferred, never both."""

import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from job import storage
from job.features.diff import Reuse, subtract
from job.features.layout import wave_name
from job.features.table import OK, REJECTED, SCHEMA, read_batches
from job.features.wave import DataFile, commit, committed, drop_uncommitted
from job.images.listing import ListedImage, write_parts
from job.spark.shipping import ship

# An image version: path, length, modification time; a small choice of each, so that they meet.
paths = st.sampled_from(["/a/1.jpg", "/a/2.jpg", "/b/1.jpg", "/b/é%20.jpg", "/b/;\n.jpg", "s3://b//x.jpg"])
versions = st.tuples(paths, st.integers(1, 2), st.integers(0, 1))
rows = st.tuples(versions, st.sampled_from([OK, REJECTED]))
# A wave: its files' rows, and whether it was committed.
waves = st.lists(
    st.tuples(st.lists(st.lists(rows, min_size=1, max_size=4), min_size=1, max_size=2), st.booleans()), max_size=4
)
listings = st.dictionaries(
    paths, st.tuples(st.integers(1, 2), st.integers(0, 1), st.sampled_from(["x", None])), min_size=1
)

FINGERPRINT = "0123456789abcdef"


def write_file(output: Path, name: str, content: list[tuple[tuple[str, int, int], str]], first: int) -> DataFile:
    """Write a features file whose vectors hold the number of the row."""
    columns = {field: [None] * len(content) for field in SCHEMA.names} | {
        "path": [path for (path, _, _), _ in content],
        "label": ["of yesterday"] * len(content),
        "length": [length for (_, length, _), _ in content],
        "modified": [modified for (_, _, modified), _ in content],
        "status": [status for _, status in content],
        "features": [[float(first + index)] for index in range(len(content))],
    }
    with storage.create(str(output / name)) as path:
        pq.write_table(pa.table(columns, schema=SCHEMA), path)
        return DataFile(name, len(content), path.stat().st_size)


@pytest.mark.parametrize("retry", [False, True])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stored=waves, listed=listings)
def test_each_listed_image_is_reused_once_or_inferred(
    spark: SparkSession,
    tmp_path: Path,
    retry: bool,
    stored: list[tuple[list[list[tuple[tuple[str, int, int], str]]], bool]],
    listed: dict[str, tuple[int, int, str | None]],
) -> None:
    ship(spark)
    output = tmp_path / "out"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    # The model of it all: version -> the last usable row of committed waves, else the last row.
    known: dict[tuple[str, int, int], tuple[int, str]] = {}
    number = 0
    for age, (contents, whole) in enumerate(stored):
        wave = wave_name(FINGERPRINT, f"2026010{age + 1}T000000-aaaaaa", 0)
        files = []
        for index, content in enumerate(contents):
            files.append(write_file(output, f"{wave}/part-{index:05d}.parquet", content, number))
            for version, status in content:
                if whole and (status == OK or known.get(version, (0, REJECTED))[1] == REJECTED):
                    known[version] = (number, status)
                number += 1
        if whole:
            commit(str(output), wave, files)
    images = [ListedImage(path, label, length, modified, None) for path, (length, modified, label) in listed.items()]
    listing = write_parts(images, str(output / "work" / "listing"))

    drop_uncommitted(str(output))
    files_stored = committed(str(output), FINGERPRINT)
    found = subtract(spark, str(output), listing, files_stored, "work/run=x", Reuse(not retry, 60, 1e9))

    if retry:
        known = {version: row for version, row in known.items() if row[1] != REJECTED}
    wanted = {image.path: known.get((image.path, *listed[image.path][:2])) for image in images}
    todo = [path for part in found.todo.parts for path in pq.read_table(part.address).column("path").to_pylist()]
    assert sorted(todo) == sorted(path for path, row in wanted.items() if row is None)
    reused = [row for batch in read_batches(str(output), found.row_masks, SCHEMA.names) for row in batch.to_pylist()]
    assert Counter(row["path"] for row in reused) == Counter(path for path, row in wanted.items() if row is not None)
    for row in reused:
        expected = wanted[row["path"]]
        assert expected is not None
        assert (int(row["features"][0]), row["status"]) == expected
        assert row["label"] == listed[row["path"]][2]
    assert found.reused == Counter(row["status"] for row in reused)
    assert sum(row_mask.rows for row_mask in found.row_masks) == len(reused)


def rejection(path: str, reason: str, bound: float | None, fault: str | None) -> tuple[dict[str, object], ListedImage]:
    """Return a stored rejection and the listed image of the same version."""
    row = {"path": path, "length": 1, "modified": 1, "status": REJECTED, "reason": reason, "bound": bound}
    return row, ListedImage(path, None, 1, 1, fault)


# Reason, bound and fault of the listing -> whether the rejection stands, where 60 seconds and 1000 bytes are allowed.
REJECTIONS = {
    "damaged": (rejection("/damaged", "damaged", None, None), True),
    "gone, and listed": (rejection("/gone", "gone", None, None), False),
    "gone, and not found by the listing either": (rejection("/absent", "gone", None, "gone"), True),
    "not readable": (rejection("/refused", "not readable", None, None), False),
    "over as long a time": (rejection("/long", "over the time bound", 60.0, None), True),
    "over a shorter time": (rejection("/short", "over the time bound", 59.0, None), False),
    "over a time that is not known": (rejection("/unknown", "over the time bound", None, None), False),
    "over more memory": (rejection("/much", "over the memory bound", 2000.0, None), True),
    "over less memory": (rejection("/little", "over the memory bound", 999.0, None), False),
}


@pytest.mark.parametrize("columns", [SCHEMA.names, [name for name in SCHEMA.names if name not in {"etag", "bound"}]])
def test_which_rejections_stand(spark: SparkSession, tmp_path: Path, columns: list[str]) -> None:
    ship(spark)
    output, wave = str(tmp_path / "out"), wave_name(FINGERPRINT, "20260101T000000-aaaaaa", 0)
    stored = [row for (row, _), _ in REJECTIONS.values()]
    table = pa.Table.from_pylist(stored, schema=SCHEMA).select(columns)
    with storage.create(storage.join(output, wave, "part.parquet")) as path:
        pq.write_table(table, path)
        file = DataFile(f"{wave}/part.parquet", table.num_rows, path.stat().st_size)
    listing = write_parts([image for (_, image), _ in REJECTIONS.values()], storage.join(output, "listing"))
    found = subtract(spark, output, listing, [file], "work/run=x", Reuse(True, 60, 1000))
    todo = {path for part in found.todo.parts for path in pq.read_table(part.address).column("path").to_pylist()}
    no_bounds = {} if "bound" in columns else {"/long", "/much"}  # as the version before wrote them
    assert todo == {image.path for (_, image), stands in REJECTIONS.values() if not stands} | set(no_bounds)


def test_an_entity_tag_tells_versions_apart_where_both_are_known(spark: SparkSession, tmp_path: Path) -> None:
    ship(spark)
    output, wave = str(tmp_path / "out"), wave_name(FINGERPRINT, "20260101T000000-aaaaaa", 0)
    tags = {"/same": ("a", "a"), "/other": ("a", "b"), "/before": (None, "b"), "/disk": (None, None)}
    rows = [{"path": path, "length": 1, "modified": 1, "status": OK, "etag": old} for path, (old, _) in tags.items()]
    rows.append(rows[0] | {"etag": "b"})  # two contents of one path, length and time
    with storage.create(storage.join(output, wave, "part.parquet")) as path:
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
        file = DataFile(f"{wave}/part.parquet", len(rows), path.stat().st_size)
    images = [ListedImage(path, None, 1, 1, None, new) for path, (_, new) in tags.items()]
    found = subtract(
        spark, output, write_parts(images, storage.join(output, "listing")), [file], "work/run=x", Reuse(True, 60, 1000)
    )
    assert [pq.read_table(part.address).column("path").to_pylist() for part in found.todo.parts] == [["/other"]]
    reused = [row for batch in read_batches(output, found.row_masks, SCHEMA.names) for row in batch.to_pylist()]
    assert {row["path"]: row["etag"] for row in reused} == {"/same": "a", "/before": None, "/disk": None}


def test_the_metadata_of_a_table_is_never_sent_to_every_worker(spark: SparkSession, tmp_path: Path) -> None:
    """The driver gathers what Spark broadcasts; by its compressed size, that of millions of images is small."""
    ship(spark)
    output, wave = tmp_path / "out", wave_name(FINGERPRINT, "20260101T000000-aaaaaa", 0)
    file = write_file(output, f"{wave}/part.parquet", [(("/a/1.jpg", 1, 1), OK)], 0)
    listing = write_parts([ListedImage("/a/1.jpg", "x", 1, 1, None)], str(output / "listing"))
    assert subtract(spark, str(output), listing, [file], "work/run=x", Reuse(True, 60, 1000)).reused == {OK: 1}
    executions = spark._jsparkSession.sharedState().statusStore().executionsList()
    plan = executions.apply(executions.size() - 1).physicalPlanDescription()
    assert "SortMergeJoin" in plan
    assert "Broadcast" not in plan
