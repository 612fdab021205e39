"""Planted faults are found and named; the next run repairs those that it can."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from job.errors import RunError
from job.features.snapshot import Counts
from job.features.table import read_features
from job.settings import Settings
from job.stages.check import check
from job.stages.featurize import featurize
from job.stages.reduce import reduce
from tests.conftest import make_images


@pytest.fixture(scope="module")
def intact(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Settings:
    folder = tmp_path_factory.mktemp("check")
    images = make_images(folder / "images", {"apple": 20, "banana": 20})
    (images / "apple" / "broken.jpg").write_text("no picture")
    settings = Settings(images=str(images), model=str(tiny_model), output=str(folder / "out"), components=4)
    featurize(spark, settings)
    reduce(spark, settings)
    return settings


@pytest.fixture
def copied(intact: Settings, tmp_path: Path) -> Settings:
    shutil.copytree(intact.output, tmp_path / "out")
    return replace(intact, output=str(tmp_path / "out"))


def first_file(settings: Settings, pattern: str) -> Path:
    return sorted(Path(settings.output).glob(pattern))[0]


def features_file(settings: Settings) -> Path:
    return first_file(settings, "features/model=*/wave=*/*.parquet")


def rewrite(settings: Settings, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Change a features file and its marker as a faulty program might."""
    path = features_file(settings)
    schema = pq.read_schema(path)
    table = pa.Table.from_pandas(change(pq.read_table(path).to_pandas()), schema=schema, preserve_index=False)
    pq.write_table(table, path)
    marker = json.loads((path.parent / "_COMMIT.json").read_text())
    for file in marker["files"]:
        if file["name"] == path.name:
            file["bytes"] = path.stat().st_size
    (path.parent / "_COMMIT.json").write_text(json.dumps(marker))


def flip(path: Path, position: float) -> None:
    """Change one bit at a position in the file, from 0 to 1."""
    data = bytearray(path.read_bytes())
    data[int(len(data) * position)] ^= 4
    path.write_bytes(data)


def flip_column(path: Path, name: str) -> None:
    """Change one bit of the last value of a column of a Parquet file."""
    group = pq.ParquetFile(path).metadata.row_group(0)
    [column] = [
        group.column(number) for number in range(group.num_columns) if group.column(number).path_in_schema == name
    ]
    first = column.dictionary_page_offset or column.data_page_offset
    flip(path, (first + column.total_compressed_size - 1) / path.stat().st_size)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def to_nan(frame: pd.DataFrame) -> pd.DataFrame:
    vectors = [None if vector is None else np.array(vector) for vector in frame["features"]]
    next(vector for vector in vectors if vector is not None)[3] = np.nan
    return frame.assign(features=pd.Series(vectors, dtype=object))


def shift_results(settings: Settings, folder: str = "_results") -> None:
    path = first_file(settings, f"{folder}/run=*/*.parquet")
    table = pq.ParquetFile(path).read()
    values = [[value + 1e-2 for value in row] for row in table.column("pca_features").to_pylist()]
    pq.write_table(table.set_column(2, table.schema.field(2), pa.array(values, table.schema.field(2).type)), path)


def another_model(settings: Settings) -> None:
    path = first_file(settings, "features/model=*/_model/model.json")
    fields = json.loads(path.read_text())
    path.write_text(json.dumps(fields | {"tflite_sha256": "0" * 64}))


def newer_marker(settings: Settings) -> None:
    path = first_file(settings, "features/model=*/wave=*/_COMMIT.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))


FAULTS: dict[str, tuple[Callable[[Settings], object], str]] = {
    "a features file cut short": (lambda s: cut(features_file(s)), "bytes where"),
    "a features file gone": (lambda s: features_file(s).unlink(), "was committed and is gone"),
    "a bit flipped in a path": (lambda s: flip_column(features_file(s), "path"), "is damaged"),
    "a bit flipped in a time": (lambda s: flip_column(features_file(s), "modified"), "is damaged"),
    "a bit flipped in the features": (lambda s: flip_column(features_file(s), "features.list.element"), "is damaged"),
    "a bit flipped in the colours": (lambda s: flip_column(features_file(s), "colours.list.element"), "is damaged"),
    "features not finite": (lambda s: rewrite(s, to_nan), "features finite: found 1, expected 0"),
    "a row doubled": (lambda s: rewrite(s, lambda f: pd.concat([f, f[:1]])), "rows where"),
    "a row of another's path": (
        lambda s: rewrite(s, lambda f: f.assign(path=[f["path"][0], f["path"][0], *f["path"][2:]])),
        "paths are only in",
    ),
    "a marker of a newer version": (newer_marker, "was written by another version"),
    "another model beside the features": (another_model, "is damaged"),
    "results moved": (shift_results, "the results differ from the features' projection"),
    "a part of the results gone": (lambda s: first_file(s, "_results/run=*/*.parquet").unlink(), "results rows"),
    "shown rows changed": (lambda s: shift_results(s, "pca_results"), "differs from the results of that run"),
    "shown rows gone": (
        lambda s: first_file(s, "pca_results/run=*/*.parquet").unlink(),
        "differs from the results of that run",
    ),
    "rows of a killed run": (
        lambda s: Path(s.output, "pca_results", "run=x").mkdir(),
        "pca_results/run=x belongs to no completed run",
    ),
    "results of a killed run": (
        lambda s: Path(s.output, "_results", "run=x").mkdir(),
        "_results/run=x belongs to no completed run",
    ),
    "a part of the index gone": (lambda s: first_file(s, "neighbours/run=*/*.arrow").unlink(), "the index at"),
    "the index damaged": (lambda s: flip(first_file(s, "neighbours/run=*/*.arrow"), 0.5), "the index at"),
    "the index's description gone": (lambda s: first_file(s, "neighbours/run=*/index.json").unlink(), "no index at"),
    "a basis damaged": (lambda s: flip(first_file(s, "pca_model/run=*/basis.npz"), 0.5), "the results cannot be read"),
    "rows cut off the CSV": (
        lambda s: cut_lines(first_file(s, "pca_matrix.csv")),
        "pca_matrix.csv has 39 rows where 40",
    ),
    "rejected.csv gone": (lambda s: first_file(s, "rejected.csv").unlink(), "rejected.csv is gone"),
}


def cut_lines(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def test_what_is_intact_has_no_fault(spark: SparkSession, intact: Settings) -> None:
    assert check(spark, intact) == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_and_named(name: str, spark: SparkSession, copied: Settings) -> None:
    plant, words = FAULTS[name]
    plant(copied)
    faults = check(spark, copied)
    assert any(words in fault.description for fault in faults), faults
    assert all(fault.remedy for fault in faults)


def test_features_that_are_not_finite_end_a_reduction_which_names_their_images(
    spark: SparkSession, copied: Settings
) -> None:
    rewrite(copied, to_nan)
    path = next(row["path"] for row in pq.read_table(features_file(copied)).to_pylist() if row["status"] == "ok")
    with pytest.raises(RunError, match=rf"^1 images have features that are not finite: {path} …; mend the model"):
        reduce(spark, copied)


@pytest.mark.parametrize("name", ["a features file cut short", "a features file gone"])
def test_a_plain_second_run_completes_what_storage_has_lost(name: str, spark: SparkSession, copied: Settings) -> None:
    def features() -> dict[str, object]:
        table = read_features(copied.output)
        assert isinstance(table, pa.Table)
        return {row["path"]: row["features"] for row in table.to_pylist()}

    before = features()
    lost = pq.read_metadata(features_file(copied)).num_rows
    FAULTS[name][0](copied)
    assert featurize(spark, copied).counts == Counts(listed=41, reused=41 - lost, new=lost, ok=40, rejected=1)
    reduce(spark, copied)
    assert features() == before
    assert check(spark, copied) == []


def test_features_of_a_newer_version_are_never_mixed(spark: SparkSession, copied: Settings) -> None:
    newer_marker(copied)
    with pytest.raises(RunError, match="was written by another version or model; use another --output"):
        featurize(spark, copied)
