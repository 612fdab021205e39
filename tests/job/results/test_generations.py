"""Generations of results: what plain readers are shown, and what a run deletes before it begins."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.dataset
import pytest
from pyspark.sql import DataFrame, SparkSession

from job import storage
from job.results.generations import drop_unnamed, rows_folder, show_rows, strangers
from job.results.run_record import ResultFolders, RunRecord, current_run, write_run
from job.results.tables import read_results
from tests.job.results.parts import results_part, rows
from tests.job.results.run_records import run_record


@pytest.fixture(params=["disk", "s3"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "disk":
        return str(tmp_path / "out")
    return f"s3://{request.getfixturevalue('bucket')}/out"


def record(run: str, **changes: object) -> RunRecord:
    return run_record(run=run, results=ResultFolders.of_run(run), **changes)


def make(output: str, run: str, tmp_path: Path) -> None:
    """Write a generation of one row, whose path is the run's name."""
    part = results_part(tmp_path / f"{run}.parquet", [(f"/{run}", "x", [1.0])])
    for folder in (rows_folder(output, run), *(storage.join(output, name, f"run={run}") for name in ("pca_model",))):
        storage.write(storage.join(folder, "part-00000.parquet"), Path(part).read_bytes())


def publish(output: str, run: str, earlier: str | None = None) -> None:
    show_rows(output, run)
    write_run(output, record(run, earlier=earlier))


def shown(output: str) -> list[str]:
    """Return the keys or files that a plain reader of the results finds."""
    folder = storage.join(output, "pca_results")
    if not storage.exists(folder):
        return []
    return sorted(
        file.address.removeprefix(f"{folder}/") for part in storage.scan(folder) for file in storage.scan(part.address)
    )


def kept(output: str) -> set[str]:
    if not storage.exists(storage.join(output, "_results")):
        return set()
    return {storage.name(entry.address) for entry in storage.scan(storage.join(output, "_results"))}


def test_a_new_generation_replaces_the_shown_one_and_the_earlier_stays(output: str, tmp_path: Path) -> None:
    for run, earlier in (("a", None), ("b", "a")):
        make(output, run, tmp_path)
        publish(output, run, earlier)
        assert shown(output) == [f"run={run}/part-00000.parquet"]
        assert rows(read_results(output)) == [(f"/{run}", "x", [1.0])]
    assert kept(output) == {"run=a", "run=b"}
    current = current_run(output)
    assert list(strangers(output, current)) == []


def test_rows_of_a_killed_reduction_are_seen_by_no_reader_and_go_when_the_next_run_begins(
    output: str, tmp_path: Path
) -> None:
    make(output, "a", tmp_path)
    publish(output, "a")
    make(output, "b", tmp_path)  # and killed
    assert shown(output) == ["run=a/part-00000.parquet"]
    assert rows(read_results(output)) == [("/a", "x", [1.0])]
    current = current_run(output)
    assert set(strangers(output, current)) == {"_results/run=b", "pca_model/run=b"}
    drop_unnamed(output)
    assert kept(output) == {"run=a"}
    assert list(strangers(output, current)) == []


def test_a_reduction_killed_after_showing_its_rows_and_before_naming_them_is_undone(
    output: str, tmp_path: Path
) -> None:
    make(output, "a", tmp_path)
    publish(output, "a")
    make(output, "b", tmp_path)
    show_rows(output, "b")  # and killed
    assert rows(read_results(output)) == [("/a", "x", [1.0])]
    drop_unnamed(output)
    assert shown(output) == ["run=a/part-00000.parquet"]


def test_a_first_reduction_killed_before_naming_its_rows_leaves_none(output: str, tmp_path: Path) -> None:
    make(output, "a", tmp_path)
    show_rows(output, "a")
    drop_unnamed(output)
    assert shown(output) == []
    assert kept(output) == set()


def test_copying_that_was_killed_on_s3_is_undone(bucket: str, tmp_path: Path) -> None:
    output = f"s3://{bucket}/out"
    make(output, "a", tmp_path)
    publish(output, "a")
    storage.write(storage.join(output, "pca_results", "run=b", "part-00000.parquet"), b"half of it")
    drop_unnamed(output)
    assert shown(output) == ["run=a/part-00000.parquet"]


def test_results_of_the_version_before_stay_readable_and_lose_only_strangers(output: str, tmp_path: Path) -> None:
    for run in ("old", "killed"):
        part = Path(results_part(tmp_path / "1.parquet", [(f"/{run}", "x", [1.0])])).read_bytes()
        storage.write(storage.join(output, "pca_results", f"run={run}", "part-00000.parquet"), part)
    write_run(output, record("old"))
    drop_unnamed(output)
    assert shown(output) == ["run=old/part-00000.parquet"]
    assert rows(read_results(output)) == [("/old", "x", [1.0])]
    make(output, "new", tmp_path)
    publish(output, "new", "old")
    assert shown(output) == ["run=new/part-00000.parquet"]


def test_plain_readers_of_the_folder_see_the_current_run_alone(tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    for run in ("a", "b", "c"):
        make(output, run, tmp_path)
        if run != "c":
            publish(output, run)
    Path(output, ".0123456789abcdef0123456789abcdef", "run=x").mkdir(parents=True)  # killed while it was exchanged
    assert pd.read_parquet(Path(output, "pca_results"))["path"].to_list() == ["/b"]
    assert pyarrow.dataset.dataset(Path(output, "pca_results")).to_table().column("path").to_pylist() == ["/b"]


def test_showing_takes_no_space_on_a_disk(tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    make(output, "a", tmp_path)
    show_rows(output, "a")
    view = Path(output, "pca_results", "run=a", "part-00000.parquet")
    assert view.samefile(Path(rows_folder(output, "a"), view.name))


def test_a_reader_whose_generation_has_gone_is_told_to_read_again(tmp_path: Path, spark: SparkSession) -> None:
    output = str(tmp_path / "out")
    make(output, "a", tmp_path)
    publish(output, "a")
    frame = read_results(output, spark)
    make(output, "b", tmp_path)
    publish(output, "b", "a")
    assert isinstance(frame, DataFrame)
    assert [row.path for row in frame.collect()] == ["/a"]
    drop_unnamed(output)
    with pytest.raises(Exception, match="newer results have replaced those of run a; call read_results again"):
        frame.collect()


def test_rows_that_are_gone_are_no_newer_run(tmp_path: Path, spark: SparkSession) -> None:
    output = str(tmp_path / "out")
    make(output, "a", tmp_path)
    write_run(output, replace(record("a")))
    frame = read_results(output, spark)
    assert isinstance(frame, DataFrame)
    Path(rows_folder(output, "a"), "part-00000.parquet").unlink()
    with pytest.raises(Exception, match=r"part-00000\.parquet is gone; python -m job reduce writes it again"):
        frame.collect()
