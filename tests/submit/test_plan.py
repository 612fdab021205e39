"""Plans: options as the job's own parser reads them, addresses, executors, bounds worked out by hand."""

from dataclasses import replace
from typing import Any

import pytest

from job.__main__ import _parser as job_parser
from job.errors import JobError
from job.settings import Settings
from submit.__main__ import _parse
from submit.plan import Plan, plan
from submit.request.targets import Workers
from submit.run_request import RunRequest, job_options
from submit.stack import Stack
from tests.submit.test_request import APPLICATION, conf
from tests.submit.test_request import JOB as A_JOB

JOB = replace(A_JOB, images="s3://images/archive", timeout_minutes=90)
STACK = Stack("fruits", APPLICATION, JOB, Workers(vcpu=4, memory_gb=8, disk_gb=20, max_vcpu=16))


def planned(*words: str) -> Plan:
    return plan(STACK, RunRequest.from_options(vars(_parse(words))))


GIVEN = [
    *("--limit", "5", "--mode", "exact", "--max-pixels", "1000", "--decode-seconds", "2.5", "--decode-megabytes", "64"),
    *("--retry-rejected", "--wave-seconds", "30", "--variance", "0.95", "--no-csv", "--include", "jpg,a b"),
]


def test_every_option_arrives_at_the_job_as_it_was_given() -> None:
    [*words] = planned(*GIVEN).request["jobDriver"]["sparkSubmit"]["entryPointArguments"]
    parsed: dict[str, Any] = vars(job_parser().parse_args(words))
    expected = vars(job_parser().parse_args(["run", "--images", "a", "--output", "b", "--model", "c", *GIVEN]))
    for name in ("images", "output", "model", "command"):
        assert parsed.pop(name)
        expected.pop(name)
    assert parsed == expected
    assert parsed["csv"] is False


def test_what_is_not_given_is_not_sent() -> None:
    assert planned().options == ()
    assert job_options(Settings(components=50)) == ("--components", "50")
    assert job_options(Settings(csv=True)) == ("--csv",)
    assert job_options(Settings(csv=False)) == ("--no-csv",)


@pytest.mark.parametrize("option", ["--model", "--master", "--ui", "--verbose"])
def test_options_of_a_laptop_are_unknown(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        planned(option, "x")
    assert "unrecognized arguments" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--images", "photos"], "--images photos is not in the cloud: give an s3:// address"),
        (["--images", "s3://images/archived"], "neither s3://images/archive nor s3://results/results nor below"),
        (["--images", "s3://images"], "the job's role cannot reach it"),
        (["--output", "s3://images/archive"], "--output s3://images/archive is neither s3://results/results nor"),
        (["--output", "s3://results/resultsandmore"], "the job's role cannot reach it"),
        (["--pca-model", "s3://other/x"], "--pca-model s3://other/x is neither"),
        (["--max-executors", "4"], "--max-executors 4 is more than the stack fruits allows, which is 3"),
        (["--max-executors", "0"], "--max-executors 0 is out of range; it is at least 1"),
        (["--timeout-minutes", "4"], "--timeout-minutes 4 is out of range; it is 5 to 1,000,000"),
        (["--client-token", "a b"], "--client-token may have letters"),
        (["--limit", "0"], "--limit 0 is out of range; it is at least 1"),
        (["--variance", "1.5"], "--variance 1.5 is out of range"),
        (["--variance", "nan"], "--variance nan is out of range"),
        (["--variance", "0.5", "--components", "3"], "--components and --variance contradict each other"),
    ],
)
def test_what_cannot_be_used_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(JobError) as raised:
        planned(*words)
    assert said in str(raised.value)
    assert raised.value.exit_status == 2


def test_addresses_below_the_stacks_own_take_their_place() -> None:
    driver = planned(
        *("--images", "s3://images/archive/2026/", "--output", "s3://results/results/trial"),
        *("--pca-model", "s3://results/results"),
    ).request["jobDriver"]["sparkSubmit"]["entryPointArguments"]
    options = dict(zip(driver[1::2], driver[2::2], strict=True))
    assert options["--images"] == "s3://images/archive/2026"
    assert options["--output"] == "s3://results/results/trial"
    assert options["--pca-model"] == "s3://results/results"


def test_a_bucket_as_a_whole_holds_what_is_in_it_alone() -> None:
    whole = replace(STACK, job=replace(JOB, images="s3://images"))
    assert plan(whole, RunRequest(Settings(images="s3://images/a"))).job.images == "s3://images/a"
    with pytest.raises(JobError, match="cannot reach it"):
        plan(whole, RunRequest(Settings(images="s3://images-of-others")))


def test_fewer_executors_and_a_time_out_bound_the_run_and_its_price() -> None:
    run = planned("--max-executors", "2", "--timeout-minutes", "30")
    assert conf(run.request)["spark.dynamicAllocation.maxExecutors"] == "2"
    assert run.request["executionTimeoutMinutes"] == 30
    # Driver and 2 executors, two attempts of half an hour: 3 workers for an hour. 12 x 0.052624 + 24 x 0.0057785.
    assert "about 0.77 USD (12.00 vCPU-hours, 24.00 GB-hours)" in str(run)
    # 4 workers, twice an hour and a half.
    assert "(48.00 vCPU-hours, 96.00 GB-hours)" in str(planned())
    assert "us-west-2 for x86_64 of 2026-11-25; other regions and arm64 differ" in str(run)


def test_what_will_run_is_shown() -> None:
    lines = dict(line.split(None, 1) for line in str(planned("--limit", "5")).splitlines()[:7])
    assert lines == {
        "images": "s3://images/archive",
        "output": "s3://results/results",
        "model": "s3://code/model.zip",
        "options": "--limit 5",
        "workers": "4 vCPUs, 8 GB memory, 20 GB disk each",
        "executors": "1 to 3, as needed, and the driver",
        "time-out": "90 minutes; a failed run is tried once more",
    }


def test_each_run_has_a_token_of_its_own() -> None:
    assert planned().client_token != planned().client_token
    assert planned("--client-token", "mine").request["clientToken"] == "mine"
