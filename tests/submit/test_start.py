"""`python -m submit` until a run has started: what is shown, what is sent, what is refused and in which words."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from job import __version__
from submit import aws
from submit.aws import Clients
from tests.submit.conftest import QUICK, REGION, Cloud, Submit, make_stack
from tests.submit.emr import APPLICATION, EXPIRED, THROTTLED, Answer, Lost

POLICY = "the policy in the stack's output SubmitterPolicy allows it: have it attached to your user or role"


def test_dry_run_shows_byte_for_byte_what_is_sent_without_it(cloud: Cloud, submit: Submit) -> None:
    options = ["--client-token", "token-1", "--limit", "5", "--max-executors", "2", "--include", "jpg,é b"]
    dry = submit(*options, "--dry-run")
    assert (dry.status, cloud.emr.asked) == (0, [])
    sent = submit(*options, "--detach")
    assert sent.status == 0
    [(operation, path, body)] = cloud.emr.asked
    assert operation == "StartJobRun"
    # The service has the application in the path and the rest in the body.
    application = path.split("/")[2]
    assert dry.out == json.dumps({"applicationId": application, **json.loads(body)}, indent=2) + "\n"
    assert json.loads(dry.out)["jobDriver"]["sparkSubmit"]["entryPointArguments"][-4:] == [
        *("--include", "jpg,é b", "--limit", "5")
    ]
    # It contains the outputs of the stack.
    request = json.loads(dry.out)
    assert (request["applicationId"], request["clientToken"]) == (APPLICATION, "token-1")
    assert request["executionRoleArn"] == "arn:aws:iam::111111111111:role/fruits-job"
    assert request["jobDriver"]["sparkSubmit"]["entryPoint"] == "s3://code/1.py"
    assert "spark.archives=s3://code/3.tgz#deps " in (request["jobDriver"]["sparkSubmit"]["sparkSubmitParameters"])
    # The summary is shown beside it, the same for both.
    assert "at most    about" in dry.err
    assert sent.err.startswith(dry.err)


def test_detach_gives_the_id_alone(cloud: Cloud, submit: Submit) -> None:
    done = submit("--detach")
    assert (done.status, done.out) == (0, "00run0000\n")
    assert f"python -m submit logs 00run0000 --name {cloud.name} --region {REGION}" in done.err
    assert cloud.emr.count("GetJobRun") == 0


@pytest.mark.parametrize("fault", [Lost(), THROTTLED, Answer(500, "InternalServerException", "oops")])
def test_a_start_that_is_tried_again_starts_one_run(cloud: Cloud, submit: Submit, fault: Answer | Lost) -> None:
    cloud.emr.faults["StartJobRun"] = [fault]
    done = submit("--detach")
    assert done.status == 0
    bodies = [json.loads(body) for operation, _, body in cloud.emr.asked if operation == "StartJobRun"]
    assert len(bodies) == 2
    assert bodies[0] == bodies[1]
    assert re.fullmatch("[0-9a-f]{32}", bodies[0]["clientToken"])
    assert len(cloud.emr.runs) == 1
    assert done.out.strip() in cloud.emr.runs


def test_the_same_token_given_twice_starts_one_run(cloud: Cloud, submit: Submit) -> None:
    assert submit("--detach", "--client-token", "mine").out == submit("--detach", "--client-token", "mine").out
    assert submit("--detach", "--client-token", "other").out == "00run0001\n"


def test_throttling_is_waited_out(cloud: Cloud, submit: Submit) -> None:
    cloud.emr.faults["StartJobRun"] = [THROTTLED] * 4
    done = submit("--detach", attempts=1)  # so that it is the submitter's own patience that is tried
    assert done.status == 0
    assert done.err.count("AWS asks to slow down (ThrottlingException for StartJobRun)") == 1
    assert "AWS answers again" in done.err


def test_a_start_without_an_answer_says_that_the_run_may_have_been_started(cloud: Cloud, submit: Submit) -> None:
    cloud.emr.faults["StartJobRun"] = [Lost()] * 1000
    done = submit("--client-token", "mine", attempts=1, patience=replace(QUICK, lost=0.2))
    assert done.status == 5
    error = done.err.splitlines()[-1]
    assert error.startswith("error: AWS cannot be reached (")
    assert "The run may have been started: look with python -m submit list --name" in error
    assert "--client-token mine" in error


DENIED = "User: arn:aws:sts::111111111111:assumed-role/somebody is not authorized to perform: {} on resource: {}"


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("emr-serverless:StartJobRun", f"arn:aws:emr-serverless:{REGION}:111111111111:/applications/{APPLICATION}"),
        ("iam:PassRole", "arn:aws:iam::111111111111:role/fruits-job"),
    ],
)
def test_a_permission_that_is_missing_is_named(cloud: Cloud, submit: Submit, action: str, resource: str) -> None:
    because = " because no identity-based policy allows the action"
    message = DENIED.format(action, resource) + because
    cloud.emr.faults["StartJobRun"] = [Answer(403, "AccessDeniedException", message)]
    done = submit()
    assert done.status == 2
    assert done.err.splitlines()[-1] == f"error: not allowed: {action} on {resource}; {POLICY}"
    assert done.out == ""


def test_a_refusal_of_the_service_is_reported_in_its_words(cloud: Cloud, submit: Submit) -> None:
    cloud.emr.faults["StartJobRun"] = [Answer(400, "ValidationException", "Role is not assumable")]
    done = submit()
    assert done.status == 2
    assert "Role is not assumable (ValidationException for StartJobRun)" in done.err.splitlines()[-1]


def test_an_expired_token_says_to_log_in(cloud: Cloud, submit: Submit) -> None:
    cloud.emr.faults["ListJobRuns"] = [EXPIRED]
    done = submit("list")
    assert (done.status, done.err) == (2, f"error: the AWS credentials have expired: {aws.LOG_IN}\n")


def test_without_credentials_it_says_to_log_in(submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    done = submit()
    assert (done.status, done.err) == (2, f"error: no AWS credentials were found: {aws.LOG_IN}\n")


def test_a_profile_that_is_unknown_is_named(submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    done = submit()
    assert (done.status, done.err) == (
        2,
        "error: the AWS configuration: The config profile (nobody) could not be found\n",
    )


def test_a_stack_that_is_not_there_is_named_with_its_region(submit: Submit) -> None:
    done = submit("--region", "eu-west-1", name="nothing")
    assert done.status == 2
    assert done.err == (
        "error: there is no stack nothing in eu-west-1: deploy it (make deploy), or say where it is with --name,"
        " --region (the default is eu-west-3), and AWS_PROFILE for the account\n"
    )
    assert "there is no stack fruits in eu-west-3" in submit(name=None).err


def test_the_region_is_the_sessions_or_where_the_stack_goes_by_default(
    cloud: Cloud, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert "in us-east-1" in submit().err
    assert submit("--dry-run", "--region", REGION).status == 0
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert submit("--dry-run").status == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"Version": "1"}, "has version 1 and this submitter version 2: deploy the stack from this checkout"),
        ({"Version": None}, "is no stack of this project (--name)"),
        ({"Logs": None}, "has version 2, but not the output 'Logs': deploy it again (make deploy)"),
    ],
)
def test_a_stack_of_another_kind_is_refused(
    cloud: Cloud, submit: Submit, change: dict[str, str | None], said: str
) -> None:
    outputs = {key: value for key, value in (cloud.outputs | change).items() if value is not None}
    other = f"{cloud.name}-other"
    make_stack(cloud.cloudformation, other, outputs)
    done = submit(name=other)
    assert (done.status, len(done.err.splitlines())) == (2, 1)
    assert said in done.err
    assert cloud.emr.asked == []


class _Refusing(BaseHTTPRequestHandler):
    """CloudFormation for somebody who may not ask it."""

    def do_POST(self) -> None:
        text = DENIED.format("cloudformation:DescribeStacks", "arn:aws:cloudformation:eu-west-3:1:stack/fruits/*")
        body = f"<ErrorResponse><Error><Code>AccessDenied</Code><Message>{text}</Message></Error></ErrorResponse>"
        self.send_response_only(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def refusing() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_stack_that_may_not_be_described_is_reported_as_such(submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    with refusing() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFORMATION", url)
        done = submit()
    assert (done.status, done.err) == (
        2,
        "error: not allowed: cloudformation:DescribeStacks on"
        f" arn:aws:cloudformation:eu-west-3:1:stack/fruits/*; {POLICY}\n",
    )


def test_no_network_is_reported_as_such(submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFORMATION", "http://127.0.0.1:9")
    done = submit(attempts=1)
    assert done.status == 2
    assert done.err.startswith("error: AWS cannot be reached (Could not connect to the endpoint URL")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--limit", "0"], "error: --limit 0 is out of range; it is at least 1\n"),
        (["--mode", "slow"], "invalid choice: 'slow'"),
        (["--limt", "5"], "unrecognized arguments: --limt 5"),
        (["statsu"], "unrecognized arguments: statsu"),
        (["--dry-run", "--detach"], "not allowed with argument"),
    ],
)
def test_options_are_checked_before_aws_is_asked(
    submit: Submit, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFORMATION", "http://127.0.0.1:9")
    done = submit(*words)
    assert done.status == 2
    assert said in done.err


@pytest.mark.parametrize("verb", ["", "status", "logs", "cancel", "list", "cost", "results"])
def test_help_teaches(submit: Submit, verb: str) -> None:
    done = submit(*([verb] if verb else []), "--help")
    assert done.status == 0
    assert "--region" in done.out
    if not verb:
        for taught in ("exit status: 0 success; 1", "examples:", "Ctrl-C", "--pca-model", "  results "):
            assert taught in done.out


def test_a_bug_is_one_line_a_log_and_status_1(submit: Submit) -> None:
    def fail(clients: Clients) -> None:
        raise RuntimeError("a mistake")

    done = submit(prepare=fail)
    assert (done.status, done.out, len(done.err.splitlines())) == (1, "", 1)
    found = re.fullmatch(r"error: RuntimeError: a mistake \(details: (.*\.log)\)\n", done.err)
    assert found
    assert "Traceback" in Path(found[1]).read_text()


def test_the_version_is_that_of_the_package(submit: Submit) -> None:
    assert submit("--version").out == submit("list", "--version").out == f"fruits {__version__}\n"
