"""status, logs, cancel, list, cost: of a run by its id, or of the newest."""

from functools import partial

import pytest

from tests.submit.conftest import REGION, Cloud, Submit

BILL = {"vCPUHour": 1.0, "memoryGBHour": 2.0, "storageGBHour": 0.0}


def two(cloud: Cloud) -> None:
    """Have an old run that failed and a new one that is at work, listed in that order."""
    cloud.emr.add(
        "00old", {"state": "FAILED", "stateDetails": "ExitCode: 1", "endedAt": 1_700_000_600.0}, created=1.7e9
    )
    run = cloud.emr.add("00new", {"state": "RUNNING", "startedAt": 1_750_000_100.0}, created=1.75e9)
    run.known["state"] = "RUNNING"
    cloud.emr.runs["00old"].known["state"] = "FAILED"


def test_status_shows_the_newest_run_or_the_one_that_is_named(cloud: Cloud, submit: Submit) -> None:
    two(cloud)
    done = submit("status")
    assert done.status == 0, done.err
    shown = dict(line.split(None, 1) for line in done.out.replace("Spark UI", "Spark-UI").splitlines())
    assert shown["run"].strip() == "00new"
    assert shown["state"].strip() == "RUNNING: at work"
    assert shown["submitted"].strip().startswith("2025-06-15 15:06:40")
    assert shown["log"].strip() == f"s3://{cloud.bucket}/emr/applications/00application01/jobs/00new/"
    assert shown["Spark-UI"].strip() == "https://spark.example/00new?authToken=1"
    assert "billed     not known yet" in done.out
    old = submit("status", "00old").out
    assert "FAILED: failed" in old
    assert "details    ExitCode: 1" in old


def test_list_shows_the_newest_first(cloud: Cloud, submit: Submit) -> None:
    two(cloud)
    done = submit("list")
    rows = [line.split() for line in done.out.splitlines()]
    assert [row[:2] for row in rows] == [["run", "state"], ["00new", "RUNNING"], ["00old", "FAILED"]]
    assert rows[2] == ["00old", "FAILED", "2023-11-14", "22:13:20", "by", "hand"]
    shorter = submit("list", "--count", "1")
    assert "00old" not in shorter.out
    assert "and 1 older ones" in shorter.err


def test_cost_prices_what_was_billed(cloud: Cloud, submit: Submit) -> None:
    cloud.emr.add("00run", {"state": "SUCCESS", "billedResourceUtilization": BILL})
    # 1 x 0.052624 + 2 x 0.0057785
    assert "billed     about 0.06 USD (1.00 vCPU-hours, 2.00 GB-hours), by the prices" in submit("cost").out


def test_cancel_asks_once_and_not_for_a_run_that_has_ended(cloud: Cloud, submit: Submit) -> None:
    two(cloud)
    done = submit("cancel")
    assert done.status == 0
    assert (
        "the service was asked to cancel 00new; see when it has ended with python -m submit status 00new --name"
        in done.out
    )
    assert [path for operation, path, _ in cloud.emr.asked if operation == "CancelJobRun"] == [
        "/applications/00application01/jobruns/00new"
    ]
    ended = submit("cancel", "00old")
    assert (ended.status, "the run 00old has ended (FAILED: failed): there is nothing to cancel" in ended.err) == (
        2,
        True,
    )


@pytest.mark.parametrize(("state", "status"), [("SUCCESS", 0), ("FAILED", 1), ("CANCELLED", 3)])
def test_logs_of_a_run_that_has_ended_end_as_it_did(cloud: Cloud, submit: Submit, state: str, status: int) -> None:
    cloud.log("00run", "one\nerror: two\n")
    cloud.emr.add("00run", state)
    done = submit("logs")
    assert (done.status, done.out.splitlines()[:2]) == (status, ["one", "error: two"])


def test_logs_follow_a_run_that_is_under_way(cloud: Cloud, submit: Submit) -> None:
    cloud.log("00run", "one\n")
    more = partial(cloud.log, "00run", "one\ntwo\n")
    end = partial(cloud.log, "00run", "results in x\n", "SPARK_DRIVER/stdout.gz")
    cloud.emr.add("00run", "RUNNING", "RUNNING", more, "RUNNING", end, "SUCCESS")
    done = submit("logs", "00run")
    assert (done.status, done.out.splitlines()[:3]) == (0, ["one", "two", "results in x"])


@pytest.mark.parametrize("verb", ["status", "logs", "cancel", "cost", "results"])
def test_a_run_that_is_not_there_is_named(submit: Submit, verb: str) -> None:
    done = submit(verb, "00none")
    assert (done.status, done.err) == (
        2,
        "error: there is no run 00none: python -m submit list shows the runs that there are\n",
    )


@pytest.mark.parametrize("verb", ["status", "logs", "cancel", "cost"])
def test_where_there_is_no_run_yet_it_is_said(submit: Submit, verb: str) -> None:
    done = submit(verb)
    assert (done.status, done.err) == (2, "error: there is no run yet: python -m submit starts one\n")


def test_where_the_stack_is_may_be_said_after_the_verb(cloud: Cloud, submit: Submit) -> None:
    two(cloud)
    assert submit("status", "00old", "--region", REGION).status == 0
    assert "no stack" in submit("status", "--region", "us-east-1").err
