"""The record of a run: reading it back gives the same record, also of the version before; a damaged one is an error."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from job.errors import JobError
from job.images.unlisted_folders import UnlistedFolders
from job.results.run_record import ResultFolders, current_run, read_run, write_run
from tests.job.results.run_records import run_record

KEYS = [
    "run",
    "results",
    "settings",
    "model",
    "counts",
    "labels",
    "seconds",
    "images_per_second",
    "components",
    "explained_variance_ratio",
    "pca_fitted_to",
    "versions",
    "validation",
    "unlisted_folders",
    "earlier",
    "written",
    "format",
]


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_run(str(tmp_path)) is None
    assert read_run(str(tmp_path / "absent")) is None
    (tmp_path / "run.json").write_text('{"lease": "of a run that took over, and has not come to its end"}')
    assert read_run(str(tmp_path)) is None
    write_run(str(tmp_path), run_record())
    assert read_run(str(tmp_path)) == current_run(str(tmp_path)) == run_record()


def test_the_keys_of_run_json_are_a_contract(tmp_path: Path) -> None:
    write_run(str(tmp_path), run_record())
    fields = json.loads((tmp_path / "run.json").read_text())
    assert list(fields) == KEYS
    assert fields["results"] == {
        "pca_model": "pca_model/run=20250101T000000-abcdef-0123",
        "pca_results": "pca_results/run=20250101T000000-abcdef-0123",
        "neighbours": "neighbours/run=20250101T000000-abcdef-0123",
    }
    assert fields["model"]["fingerprint"] == "0123456789abcdef"
    assert fields["settings"] == run_record().settings.as_dict()


def edit(output: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    write_run(str(output), run_record())
    fields = json.loads((output / "run.json").read_text())
    change(fields)
    (output / "run.json").write_text(json.dumps(fields))


def test_a_record_of_the_version_before_is_read(tmp_path: Path) -> None:
    def change(fields: dict[str, Any]) -> None:
        del fields["format"], fields["versions"]["fruits"], fields["unlisted_folders"]
        fields["settings"]["forgotten"] = 1

    edit(tmp_path, change)
    assert read_run(str(tmp_path)) == run_record(versions={"spark": "4.1.1"}, unlisted_folders=UnlistedFolders())


def test_results_of_a_version_that_made_no_index_have_none(tmp_path: Path) -> None:
    edit(tmp_path, lambda fields: fields["results"].pop("neighbours"))
    run = current_run(str(tmp_path))
    assert run.results == ResultFolders(run.results.pca_model, run.results.pca_results, None)
    assert "neighbours" not in run.to_json()["results"]
    with pytest.raises(JobError, match=rf"^the results in {tmp_path} are of an earlier version; python -m job reduce"):
        run.index_folder(str(tmp_path))


def test_an_output_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=rf"^no results in {tmp_path}; make them with: python -m job reduce --output "):
        current_run(str(tmp_path))


def test_a_record_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    edit(tmp_path, lambda fields: fields.update(format=2))
    with pytest.raises(JobError, match=rf"^{tmp_path}/run\.json has format 2, this version reads format 1; "):
        read_run(str(tmp_path))


@pytest.mark.parametrize("text", ['{"run": ', "[]", "{}", "null", '"run"', "\\xff"])
def test_a_damaged_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(JobError, match=rf"^{tmp_path}/run\.json is damaged; delete it and run again"):
        read_run(str(tmp_path))


NEW = {"format", "earlier", "unlisted_folders", "written"}


@pytest.mark.parametrize("key", [key for key in KEYS if key not in NEW])
def test_a_record_without_one_of_its_keys_is_refused(tmp_path: Path, key: str) -> None:
    edit(tmp_path, lambda fields: fields.pop(key))
    with pytest.raises(JobError, match=r"run\.json is damaged; delete it and run again"):
        read_run(str(tmp_path))
