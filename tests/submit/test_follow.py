"""A run followed to its end: states, log, cost, and all that can come between."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from submit import aws
from submit.aws import Clients
from tests.submit.conftest import QUICK, REGION, Cloud, Submit, make_stack
from tests.submit.emr import EXPIRED, THROTTLED, Answer, Emr, Lost, serving

STDERR = "26/11/25 01:02:03 INFO SparkContext: chatter\nimages  s3://images\n"
CLOSING = "\n7 images: 6 ok, 1 rejected; 2 reused, 5 new; 9.1 s in all\nresults in s3://results: run.json\n"
STDOUT = "SPARK_DRIVER/stdout.gz"
RUN = "00run0000"


def success(cloud: Cloud) -> list[Any]:
    """Return the steps of a run that does what runs do."""
    return [
        "SUBMITTED",
        "QUEUED",
        "SCHEDULED",
        "RUNNING",
        partial(cloud.log, RUN, STDERR),
        "RUNNING",
        partial(cloud.log, RUN, f"{STDERR}PCA: 3 components hold 0.875 of the variance of 6 images\n"),
        partial(cloud.log, RUN, CLOSING, STDOUT),
        "SUCCESS",
    ]


def test_a_run_is_followed_to_its_results_and_its_price(
    cloud: Cloud, submit: Submit, results: dict[str, bytes]
) -> None:
    cloud.emr.steps = success(cloud)
    done = submit()
    assert done.status == 0, done.err
    said = [line for line in done.err.splitlines() if line.split(":")[0] in cloud_states()]
    assert said == [
        "SUBMITTED: submitted",
        "QUEUED: waiting for a run before it to end",
        "SCHEDULED: workers are being started",
        "RUNNING: at work",
        "SUCCESS: done",
    ]
    assert f"Spark UI   https://spark.example/{RUN}?authToken=1" in done.err
    lines = done.out.splitlines()
    assert lines[:4] == [
        "images  s3://images",
        "PCA: 3 components hold 0.875 of the variance of 6 images",
        "7 images: 6 ok, 1 rejected; 2 reused, 5 new; 9.1 s in all",
        "results in s3://results: run.json",
    ]
    shown = dict(line.split(None, 1) for line in lines[5:])
    assert shown["images"] == "7 listed: 6 ok, 1 rejected; 2 reused, 5 new"
    assert shown["results"] == f"s3://{cloud.bucket}/results"
    # 2 x 0.052624 + 4 x 0.0057785
    assert shown["billed"].startswith("about 0.13 USD (2.00 vCPU-hours, 4.00 GB-hours), by the prices of us-west-2")
    assert shown["time"].endswith(" s")
    assert shown["download"] == f"python -m submit results {RUN} --name {cloud.name} --region {REGION} --download DIR"


def cloud_states() -> set[str]:
    return {"SUBMITTED", "PENDING", "QUEUED", "SCHEDULED", "RUNNING", "CANCELLING", "SUCCESS", "FAILED", "CANCELLED"}


def test_results_of_another_run_are_not_shown_as_this_ones(cloud: Cloud, submit: Submit, results: object) -> None:
    cloud.emr.add("00old", {"state": "SUCCESS", "endedAt": 1_700_000_000.0}, created=1_699_999_000.0)
    done = submit("status", "00old")
    assert done.status == 0
    assert "listed" not in done.out


def test_a_failed_job_is_reported_in_its_own_words(cloud: Cloud, submit: Submit) -> None:
    error = "error: s3://images/archive holds no images\n"
    cloud.emr.steps = ["RUNNING", partial(cloud.log, RUN, f"{STDERR}{error}{STDERR[:45]}\n"), "FAILED"]
    done = submit()
    assert done.status == 1
    assert done.err.splitlines()[-2:] == [
        f"error: the run {RUN} failed: s3://images/archive holds no images",
        f"  log: s3://{cloud.bucket}/emr/applications/00application01/jobs/{RUN}/",
    ]
    assert "billed     about 0.13 USD" in done.out


def test_a_job_that_fails_without_an_error_line_is_reported_by_its_log_or_by_the_service(
    cloud: Cloud, submit: Submit
) -> None:
    details = "Job failed, please check complete logs. ExitCode: 1."
    cloud.emr.steps = ["RUNNING", {"state": "FAILED", "stateDetails": details}]
    assert f"the run {RUN} failed: {details}\n  log: s3://" in submit().err
    trace = "Traceback (most recent call last):\n  File\nModuleNotFoundError: No module named 'job'\n"
    cloud.emr.steps = ["RUNNING", partial(cloud.log, "00run0001", trace), "FAILED"]
    assert "ModuleNotFoundError: No module named 'job'" in submit().err.split("error: ")[-1]


def test_a_log_that_comes_after_the_end_is_waited_for(cloud: Cloud, submit: Submit) -> None:
    late = partial(cloud.log, RUN, "error: so it was\n")
    failed = {"state": "FAILED", "retryPolicy": {"maxAttempts": 1}}
    cloud.emr.steps = ["RUNNING", *[failed] * 30, late, failed]
    started = time.monotonic()
    done = submit(patience=replace(QUICK, late_serverless=600))
    assert (done.status, f"the run {RUN} failed: so it was" in done.err) == (1, True)
    assert time.monotonic() - started < 300  # and no longer


def test_a_bill_that_comes_later_is_waited_for_a_while(cloud: Cloud, submit: Submit) -> None:
    none = {"state": "SUCCESS", "billedResourceUtilization": None}
    log = partial(cloud.log, RUN, "results in x\n", STDOUT)
    bill = {"vCPUHour": 1.0, "memoryGBHour": 2.0, "storageGBHour": 0.0}
    cloud.emr.steps = ["RUNNING", log, none, none, {"billedResourceUtilization": bill}]
    assert "(1.00 vCPU-hours, 2.00 GB-hours)" in submit().out
    cloud.emr.steps = ["RUNNING", none]
    assert "billed     not known yet; ask later with python -m submit cost 00run0001" in submit().out


def test_a_second_attempt_is_followed_and_its_log_too(cloud: Cloud, submit: Submit) -> None:
    cloud.emr.steps = [
        "RUNNING",
        partial(cloud.log, RUN, "first\nerror: a worker was lost\n"),
        "FAILED",  # for a moment, before the second attempt
        {"state": "SCHEDULED", "attempt": 2},
        partial(cloud.log, RUN, "second\n", "attempts/2/SPARK_DRIVER/stderr.gz"),
        "RUNNING",
        partial(cloud.log, RUN, "results in x\n", "attempts/2/SPARK_DRIVER/stdout.gz"),
        "SUCCESS",
    ]
    done = submit()
    assert done.status == 0
    assert done.out.splitlines()[:4] == ["first", "error: a worker was lost", "second", "results in x"]
    assert "RUNNING: at work, attempt 2 of 2" in done.err


def test_the_error_is_that_of_the_last_attempt(cloud: Cloud, submit: Submit) -> None:
    cloud.emr.steps = [
        "RUNNING",
        partial(cloud.log, RUN, "error: a worker was lost\n"),
        "FAILED",
        *[{"state": "FAILED", "attempt": 2}] * 30,
        partial(cloud.log, RUN, "error: and once more\n", "attempts/2/SPARK_DRIVER/stderr.gz"),
    ]
    started = time.monotonic()
    assert f"the run {RUN} failed: and once more" in submit(patience=replace(QUICK, late_serverless=600)).err
    assert time.monotonic() - started < 300


def test_a_state_that_is_new_to_us_is_no_end(cloud: Cloud, submit: Submit) -> None:
    cloud.emr.steps = ["POLISHING", "RUNNING", partial(cloud.log, RUN, "results in x\n", STDOUT), "SUCCESS"]
    done = submit()
    assert (done.status, "POLISHING: unknown to this version" in done.err) == (0, True)


def test_a_run_that_waits_for_long_is_said_once(cloud: Cloud, submit: Submit) -> None:
    log = partial(cloud.log, RUN, "results in x\n", STDOUT)
    cloud.emr.steps = [*["QUEUED"] * 30, *["SCHEDULED"] * 30, "RUNNING", log, "SUCCESS"]
    done = submit()
    assert done.status == 0
    assert (done.err.count("QUEUED"), done.err.count("SCHEDULED")) == (1, 1)


def test_a_run_cancelled_by_somebody_else_ends_so(cloud: Cloud, submit: Submit) -> None:
    cloud.emr.steps = ["RUNNING", "CANCELLING", {"state": "CANCELLED", "stateDetails": "Cancelled by user"}]
    done = submit()
    assert done.status == 3
    assert done.err.splitlines()[-1].startswith(f"error: the run {RUN} was cancelled; what was committed stays")
    assert cloud.emr.count("CancelJobRun") == 0


@pytest.mark.parametrize(
    "end",
    [
        {"stateDetails": "Job run timed out after 720 minutes"},
        {"stateDetails": "", "startedAt": 1_700_000_000.0, "endedAt": 1_700_000_000.0 + 720 * 60 + 1},
    ],
)
def test_a_run_that_takes_too_long_ends_with_a_status_of_its_own(
    cloud: Cloud, submit: Submit, end: dict[str, Any]
) -> None:
    cloud.emr.steps = ["RUNNING", "CANCELLING", {"state": "CANCELLED", **end}]
    done = submit()
    assert done.status == 4
    assert f"the service ended the run {RUN} at its time-out of 720 minutes" in done.err
    assert "CANCELLED: timed out" in done.err


def listing_logs_raises(error: Exception) -> Callable[[Clients], None]:
    """Return what has listing the bucket of logs fail, as `submit` takes it to prepare the clients."""

    def fail(params: dict[str, Any], **_: object) -> None:
        if "/jobs/" in params["url"] or "%2Fjobs%2F" in params["url"] or "jobs" in str(params["query_string"]):
            raise error

    def prepare(clients: Clients) -> None:
        clients.s3.meta.events.register("before-call.s3.ListObjectsV2", fail)

    return prepare


def test_a_run_whose_log_is_denied_is_followed_all_the_same(cloud: Cloud, submit: Submit) -> None:
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "Access Denied"}}, "ListObjectsV2")
    cloud.emr.steps = ["RUNNING", "RUNNING", "SUCCESS"]
    done = submit(prepare=listing_logs_raises(denied))
    log = f"s3://{cloud.bucket}/emr/applications/00application01/jobs/{RUN}/"
    assert (done.status, done.err.count(f"not allowed: s3:ListBucket on {log}")) == (0, 1)


def test_faults_of_a_bad_day_are_waited_out(cloud: Cloud, submit: Submit, results: object) -> None:
    bad: list[Answer | Lost] = [
        THROTTLED,
        Lost(),
        Answer(500, "InternalServerException"),
        Answer(503, "ServiceUnavailable"),
        THROTTLED,
    ]
    cloud.emr.faults = {"GetJobRun": bad, "GetDashboardForJobRun": [Answer(403, "AccessDeniedException", "no")]}
    cloud.emr.steps = success(cloud)
    done = submit(attempts=1)
    assert done.status == 0, done.err
    assert done.out.splitlines()[0] == "images  s3://images"
    assert "error" not in done.err
    assert "not allowed: emr-serverless:GetDashboardForJobRun on the run 00run0000" in done.err


def test_a_connection_lost_for_a_while_is_survived(cloud: Cloud, submit: Submit) -> None:
    port = cloud.emr.server_address[1]
    back: list[Any] = []

    def go_away() -> None:
        """Refuse connections for a second: nobody listens at the port."""
        cloud.emr.socket.close()
        threading.Timer(1.0, come_back).start()

    def come_back() -> None:
        other = Emr(port)
        other.runs = cloud.emr.runs
        back.append(serving(other))
        back[0].__enter__()
        back.append(other)

    log = partial(cloud.log, RUN, "results in x\n", STDOUT)
    cloud.emr.steps = ["RUNNING", "RUNNING", go_away, "RUNNING", log, "SUCCESS"]
    cloud.emr.keep_alive = False  # so that no open connection survives
    try:
        done = submit(attempts=1)
    finally:
        back[0].__exit__(None, None, None)
        back[1].server_close()
    assert done.status == 0, done.err
    assert done.err.count("AWS cannot be reached (Could not connect to the endpoint URL") == 1
    # A request that the old server had not answered yet may count as an outage of its own.
    assert done.err.count("AWS answers again") == done.err.count("asking again") <= 2


def test_a_connection_lost_for_good_ends_with_the_word_that_the_run_goes_on(cloud: Cloud, submit: Submit) -> None:
    cloud.emr.faults["GetJobRun"] = [Lost()] * 1000
    done = submit(attempts=1, patience=replace(QUICK, lost=0.2))
    assert done.status == 5
    assert f"The run goes on: python -m submit logs {RUN} --name {cloud.name} --region {REGION} follows it" in done.err
    assert cloud.emr.count("CancelJobRun") == 0


def test_an_expired_token_leaves_the_run_and_says_how_to_go_on(cloud: Cloud, submit: Submit) -> None:
    cloud.emr.steps = [
        "RUNNING",
        lambda: cloud.emr.faults.update({"GetJobRun": [EXPIRED]}),
        "RUNNING",
        partial(cloud.log, RUN, "results in x\n", STDOUT),
        "SUCCESS",
    ]
    done = submit()
    assert done.status == 5
    [error] = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert error.startswith(f"error: the AWS credentials have expired: {aws.LOG_IN}. The run goes on: python -m submit")
    # Logged in again, that goes on.
    again = submit("logs", RUN)
    assert (again.status, again.out.splitlines()[0]) == (0, "results in x")


def test_an_error_of_our_own_does_not_lose_the_run(cloud: Cloud, submit: Submit) -> None:
    done = submit(prepare=listing_logs_raises(RuntimeError("a mistake")))
    assert done.status == 5
    assert f"RuntimeError: a mistake. The run goes on: python -m submit logs {RUN}" in done.err


def test_a_log_that_could_not_be_reached_to_the_end_is_reported(
    cloud: Cloud, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    cloud.emr.steps = ["RUNNING", {"state": "FAILED", "stateDetails": "ExitCode: 1"}]
    done = submit(attempts=1)
    assert done.status == 1
    assert done.err.count("AWS cannot be reached (Could not connect to the endpoint URL") == 1
    assert f"the run {RUN} failed: ExitCode: 1" in done.err


def test_a_server_that_is_none_of_ours_takes_what_is_sent(
    cloud: Cloud, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_EMR_SERVERLESS")  # now it is moto's, which has runs succeed at once
    emr = boto3.client("emr-serverless")
    application = emr.create_application(name="a", releaseLabel="emr-7.0.0", type="SPARK")["applicationId"]
    role = "arn:aws:iam::123456789012:role/job"
    name = f"{cloud.name}-moto"
    make_stack(cloud.cloudformation, name, cloud.outputs | {"ApplicationId": application, "JobRole": role})
    started = submit("--detach", name=name)
    assert started.status == 0, started.err
    assert submit("logs", name=name).status == 0
    status = submit("status", started.out.strip(), name=name)
    assert "SUCCESS: done" in status.out
    assert started.out.strip() in submit("list", name=name).out
