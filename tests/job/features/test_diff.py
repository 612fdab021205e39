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
from job.features.diff import subtract
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
    # The model of it all: version -> row of the youngest committed wave, the last of that wave.
    known: dict[tuple[str, int, int], tuple[int, str]] = {}
    number = 0
    for age, (contents, whole) in enumerate(stored):
        wave = wave_name(FINGERPRINT, f"2026010{age + 1}T000000-aaaaaa", 0)
        files = []
        for index, content in enumerate(contents):
            files.append(write_file(output, f"{wave}/part-{index:05d}.parquet", content, number))
            for version, status in content:
                if whole:
                    known[version] = (number, status)
                number += 1
        if whole:
            commit(str(output), wave, files)
    images = [ListedImage(path, label, length, modified, None) for path, (length, modified, label) in listed.items()]
    listing = write_parts(images, str(output / "work" / "listing"))

    drop_uncommitted(str(output))
    found = subtract(
        spark, str(output), listing, committed(str(output), FINGERPRINT), "work/run=x", retry_rejected=retry
    )

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
