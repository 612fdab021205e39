"""Results: what is copied to this machine, byte for byte, and what is not."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from job.errors import JobError
from submit.results import download, read
from tests.submit.conftest import Cloud, Submit


def test_results_are_copied_without_the_features_and_the_parts_of_other_runs(
    cloud: Cloud, submit: Submit, results: dict[str, bytes], tmp_path: Path
) -> None:
    target = tmp_path / "new" / "here"
    done = submit("results", "--download", str(target))
    assert done.status == 0, done.err
    copied = {str(file.relative_to(target)): file.read_bytes() for file in target.rglob("*") if file.is_file()}
    left = {"pca_results/run=a/part-0.parquet", "features/model=f/wave=1/part-0.parquet", "work/run=c/listing.parquet"}
    assert copied == {name: content for name, content in results.items() if name not in left}
    assert "7 listed: 6 ok, 1 rejected; 2 reused, 5 new" in done.out
    assert "3 components hold 0.875 of the variance" in done.out
    assert list(target.parent.iterdir()) == [target]


def test_what_is_there_already_is_left_alone(submit: Submit, results: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    done = submit("results", "--download", str(tmp_path))
    assert (done.status, "not empty: name a new folder" in done.err) == (2, True)
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_without_results_there_is_a_word_instead(cloud: Cloud, submit: Submit, tmp_path: Path) -> None:
    done = submit("results", "--download", str(tmp_path / "x"))
    assert (done.status, done.err) == (2, f"error: there are no results in s3://{cloud.bucket}/results yet\n")
    assert not (tmp_path / "x").exists()


def test_a_run_that_has_taken_over_and_is_at_work_is_no_result(cloud: Cloud) -> None:
    cloud.put("results/run.json", b'{"lease": "of that run"}')
    assert read(cloud.s3, f"s3://{cloud.bucket}/results") is None


def test_results_were_written_when_their_run_says_so(cloud: Cloud, results: dict[str, bytes]) -> None:
    fields = json.loads(results["run.json"]) | {"written": "2026-01-02T03:04:05+00:00"}
    cloud.put("results/run.json", json.dumps(fields).encode())
    found = read(cloud.s3, f"s3://{cloud.bucket}/results")
    assert found
    assert found.written == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_a_copy_that_fails_leaves_nothing(cloud: Cloud, results: dict[str, bytes], tmp_path: Path) -> None:
    def deny(**_: object) -> None:
        raise OSError(28, "No space left on device")

    cloud.s3.meta.events.register("before-call.s3.GetObject", lambda params, **_: _fail(params, deny))
    with pytest.raises(JobError, match="No space left on device"):
        download(cloud.s3, f"s3://{cloud.bucket}/results", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def _fail(params: dict[str, str], deny: object) -> None:
    if "pca_matrix" in str(params):
        deny()  # type: ignore[operator]


def test_a_name_in_the_bucket_does_not_lead_out_of_the_folder(
    cloud: Cloud, results: dict[str, bytes], tmp_path: Path
) -> None:
    cloud.put("results/../../evil.txt", b"evil")
    files = download(cloud.s3, f"s3://{cloud.bucket}/results", tmp_path / "a" / "b")
    assert files
    assert not list(tmp_path.rglob("evil.txt"))


def test_results_are_those_of_the_run_that_is_named_or_of_the_newest(
    cloud: Cloud, submit: Submit, results: dict[str, bytes]
) -> None:
    driver = {"entryPoint": "x", "entryPointArguments": ["run", "--output", f"s3://{cloud.bucket}/results/trial"]}
    cloud.emr.add("00old", "SUCCESS", created=1.0)
    cloud.emr.add("00trial", "SUCCESS", created=2.0, jobDriver={"sparkSubmit": driver})
    assert f"results    s3://{cloud.bucket}/results\n" in submit("results", "00old").out
    assert submit("results").err == f"error: there are no results in s3://{cloud.bucket}/results/trial yet\n"
    cloud.put("results/trial/run.json", results["run.json"])
    assert f"results    s3://{cloud.bucket}/results/trial\n" in submit("results").out


def test_a_damaged_run_json_is_named(cloud: Cloud, submit: Submit) -> None:
    for text in (b"{", b'{"counts": {}}', b"[]"):
        cloud.put("results/run.json", text)
        done = submit("results")
        assert (done.status, f"s3://{cloud.bucket}/results/run.json is damaged" in done.err) == (2, True)
