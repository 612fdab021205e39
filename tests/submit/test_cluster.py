"""The submitter on EMR on EC2: the same verbs and exit statuses, and that nothing goes on that costs."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import pytest

from submit.patience import PATIENCE
from tests.submit.conftest import QUICK, RUN_JSON, Cloud, Submit, deployed, submitting
from tests.submit.emr import THROTTLED, Answer
from tests.submit.flows import Flows, flow_server
from tests.submit.test_terminal import FAST, terminal
from tests.terminal import CTRL_C

RUN = "j-CLUSTER0/s-STEP0"


@dataclass(frozen=True)
class Stage:
    """A stack with clusters, its service, and the submitter on it."""

    cloud: Cloud
    emr: Flows
    submit: Submit

    def log(self, text: str, name: str = "stderr") -> None:
        """Put a file of the first step's log, as EMR does."""
        import gzip  # noqa: PLC0415

        cluster, step = RUN.split("/")
        self.cloud.put(f"emr/{cluster}/steps/{step}/{name}.gz", gzip.compress(text.encode()))


@pytest.fixture
def stage(environment: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    with flow_server() as emr:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EMR", emr.url)
        with deployed("cluster", emr) as cloud:
            yield Stage(cloud, emr, submitting(cloud.name, capsys))


def test_a_run_is_followed_from_the_cluster_to_its_results_and_its_price(stage: Stage) -> None:
    stage.cloud.put("results/run.json", json.dumps(RUN_JSON).encode())
    stage.emr.moments = [
        ("STARTING", "PENDING"),
        ("BOOTSTRAPPING", "PENDING"),
        ("RUNNING", "RUNNING"),
        partial(stage.log, "26/11/25 01:02:03 INFO Client: Application report\nimages  s3://images\n"),
        ("RUNNING", "RUNNING"),
        partial(stage.log, "results in s3://results\n", "stdout"),
        ("TERMINATING", "COMPLETED"),
        ("TERMINATED", "COMPLETED"),
    ]
    done = stage.submit("--target", "cluster")
    assert done.status == 0, done.err
    said = [line for line in done.err.splitlines() if line.split(":")[0] in {"PENDING", "QUEUED", "RUNNING", "SUCCESS"}]
    assert said == ["PENDING: being prepared", "RUNNING: at work", "SUCCESS: done"]
    assert "#/clusterDetails/j-CLUSTER0" in done.err
    assert "cluster    a new one of m5.xlarge or m6i.xlarge, which ends with the run" in done.err
    lines = done.out.splitlines()
    assert lines[:2] == ["images  s3://images", "results in s3://results"]
    shown = dict(line.split(None, 1) for line in lines[3:])
    assert shown["run"] == RUN
    assert shown["images"] == "7 listed: 6 ok, 1 rejected; 2 reused, 5 new"
    assert "spot at an assumed 40% of that price), by the prices of us-west-2" in shown["billed"]
    assert stage.emr.terminated == []  # it ends by itself


def test_dry_run_shows_byte_for_byte_what_is_sent_without_it(stage: Stage) -> None:
    options = ["--client-token", "token-1", "--limit", "5", "--max-executors", "2"]
    dry = stage.submit(*options, "--dry-run")
    assert (dry.status, stage.emr.asked) == (0, [])
    sent = stage.submit(*options, "--detach")
    assert (sent.status, sent.out) == (0, f"{RUN}\n")
    assert json.loads(dry.out) == stage.emr.clusters["j-CLUSTER0"].request
    request = json.loads(dry.out)
    # It contains the outputs of the stack.
    assert request["SecurityConfiguration"] == "fruits-security"
    assert request["ManagedScalingPolicy"]["ComputeLimits"]["MaximumCapacityUnits"] == 2
    assert request["BootstrapActions"][0]["ScriptBootstrapAction"]["Args"][:2] == ["s3://code/3.tgz", "ab" * 32]
    assert "--limit" in request["Steps"][0]["HadoopJarStep"]["Args"]


def test_a_step_that_fails_says_why_from_its_own_log(stage: Stage) -> None:
    stage.emr.moments = [
        ("RUNNING", "RUNNING"),
        partial(stage.log, "images  s3://images\nerror: s3://images holds no images\n"),
        ("TERMINATED_WITH_ERRORS", "FAILED"),
    ]
    done = stage.submit()
    assert done.status == 1
    assert done.err.splitlines()[-2:] == [
        f"error: the run {RUN} failed: s3://images holds no images",
        f"  log: s3://{stage.cloud.bucket}/emr/j-CLUSTER0/steps/s-STEP0/",
    ]


def test_a_cluster_that_does_not_come_up_is_a_failure_that_names_the_log(stage: Stage) -> None:
    """Its steps are cancelled by EMR, not by anybody."""
    stage.emr.moments = [("BOOTSTRAPPING", "PENDING"), ("TERMINATED_WITH_ERRORS", "CANCELLED")]
    message = "On the master instance (i-0abc), bootstrap action 1 returned a non-zero return code"

    def fail() -> None:
        stage.emr.clusters["j-CLUSTER0"].reason = {"Code": "BOOTSTRAP_FAILURE", "Message": message}

    stage.emr.moments.insert(1, fail)
    began = time.monotonic()
    done = stage.submit(patience=replace(QUICK, late_cluster=600))
    assert done.status == 1
    log = f"s3://{stage.cloud.bucket}/emr/j-CLUSTER0/node/i-0abc/bootstrap-actions/1/stderr.gz"
    assert f"the run {RUN} failed: {message} (its log: {log})" in done.err
    assert time.monotonic() - began < 300


def test_a_step_that_takes_too_long_ends_with_a_status_of_its_own(stage: Stage) -> None:
    def late() -> None:
        [step] = stage.emr.clusters["j-CLUSTER0"].steps
        step.times |= {"StartDateTime": 1_700_000_000.0, "EndDateTime": 1_700_000_000.0 + 720 * 60 + 1}

    stage.emr.moments = [("RUNNING", "RUNNING"), late, ("TERMINATED_WITH_ERRORS", "FAILED")]
    done = stage.submit()
    assert done.status == 4
    assert f"the service ended the run {RUN} at its time-out of 720 minutes" in done.err


def test_ctrl_c_cancels_the_step_and_terminates_the_cluster_that_it_has_started(stage: Stage) -> None:
    stage.emr.moments = [("RUNNING", "RUNNING")]
    with terminal("-c", FAST, "--name", stage.cloud.name, "--keep-alive") as screen:
        screen.until("RUNNING: at work")
        screen.press(CTRL_C)
        assert screen.end() == 3
    assert "to terminate the cluster, which it has started" in screen.shown
    assert "Traceback" not in screen.shown
    [cluster] = stage.emr.clusters.values()
    assert (cluster.steps[0].state, cluster.state) == ("CANCELLED", "TERMINATED")


def test_cancelling_a_run_leaves_a_cluster_that_others_have_started_or_need(stage: Stage) -> None:
    stage.emr.moments = [("RUNNING", "RUNNING")]
    first = stage.submit("--keep-alive", "--detach").out.strip()
    second = stage.submit("--cluster", "j-CLUSTER0", "--detach").out.strip()
    assert (first, second) == (RUN, "j-CLUSTER0/s-STEP1")
    # The first has started it, but the second is waiting there.
    assert "the cluster j-CLUSTER0 goes on" in stage.submit("cancel", first).out
    assert "the cluster j-CLUSTER0 goes on" in stage.submit("cancel", second).out
    assert stage.emr.terminated == []
    assert [step.state for step in stage.emr.clusters["j-CLUSTER0"].steps] == ["CANCELLED", "CANCELLED"]
    ended = stage.submit("cancel", first)
    assert (ended.status, "there is nothing to cancel" in ended.err) == (2, True)


def test_a_step_that_cannot_be_cancelled_yet_does_not_keep_its_cluster(stage: Stage) -> None:
    """The cluster is what costs."""
    stage.emr.moments = [("STARTING", "PENDING")]
    stage.emr.faults["CancelSteps"] = [Answer(400, "InvalidRequestException", "The cluster is not running")]
    stage.submit("--detach")
    done = stage.submit("cancel", RUN)
    assert (done.status, stage.emr.terminated) == (0, ["j-CLUSTER0"])


def test_a_cluster_that_is_kept_takes_more_runs(stage: Stage) -> None:
    stage.emr.moments = [
        ("RUNNING", "RUNNING"),
        partial(stage.log, "results in x\n", "stdout"),
        ("WAITING", "COMPLETED"),
    ]
    done = stage.submit("--keep-alive")
    assert done.status == 0, done.err
    assert f"python -m submit --cluster j-CLUSTER0 --name {stage.cloud.name}" in done.err
    # Of its nodes the run's own time is what it took.
    assert "billed     about 0.00 USD" in done.out
    again = stage.submit("--cluster", "j-CLUSTER0", "--detach")
    assert (again.status, again.out) == (0, "j-CLUSTER0/s-STEP1\n")
    assert "cluster    j-CLUSTER0, with the nodes that it has" in again.err
    assert stage.emr.count("RunJobFlow") == 1


@pytest.mark.parametrize("fault", [THROTTLED, Answer(500, "InternalServerException", "oops")])
def test_a_start_that_is_refused_for_a_moment_is_tried_again(stage: Stage, fault: Answer) -> None:
    stage.emr.faults["RunJobFlow"] = [fault]
    done = stage.submit("--detach")
    assert (done.status, done.out) == (0, f"{RUN}\n"), done.err
    assert len(stage.emr.clusters) == 1


def test_a_cluster_whose_answer_was_lost_is_found_and_not_started_again(stage: Stage) -> None:
    """EMR has no tokens: the submitter looks for its cluster before it asks for one again."""
    answer = stage.emr.answer

    def lose(operation: str, run_id: str, body: bytes) -> object:
        found = answer(operation, run_id, body)
        return Answer(500, "InternalServerException", "lost") if operation == "RunJobFlow" else found

    stage.emr.answer = lose  # type: ignore[assignment, method-assign]
    done = stage.submit("--detach", "--client-token", "mine", patience=replace(QUICK, lost=1.0))
    assert (done.status, done.out) == (0, f"{RUN}\n"), done.err
    assert stage.submit("--detach", "--client-token", "mine").out == f"{RUN}\n"
    assert (len(stage.emr.clusters), stage.emr.count("RunJobFlow")) == (1, 1)


def test_verbs_show_steps_in_the_same_words(stage: Stage) -> None:
    stage.emr.moments = [("RUNNING", "RUNNING"), ("RUNNING", "RUNNING")]
    stage.submit("--keep-alive", "--detach")
    stage.emr.moments = []
    stage.submit("--cluster", "j-CLUSTER0", "--detach")
    rows = [line.split() for line in stage.submit("list").out.splitlines()]
    assert rows[0][:2] == ["run", "state"]
    assert sorted(row[0] for row in rows[1:]) == [RUN, "j-CLUSTER0/s-STEP1"]
    shown = stage.submit("status", RUN).out
    assert "state      RUNNING: at work" in shown
    assert f"log        s3://{stage.cloud.bucket}/emr/j-CLUSTER0/steps/s-STEP0/" in shown
    # A second step waits for the first.
    assert "state      QUEUED: waiting for a run before it to end" in stage.submit("status", "j-CLUSTER0/s-STEP1").out
    assert "billed     not known yet" in stage.submit("cost", RUN).out
    stage.emr.faults["ListClusters"] = [Answer(400, "AccessDeniedException", "no")]
    assert "not allowed: elasticmapreduce:ListClusters" in stage.submit("list", attempts=1).err


@pytest.mark.parametrize("run", ["00run", "j-NONE/s-STEP0", f"{RUN[:-1]}9"])
def test_a_run_that_is_not_there_is_named(stage: Stage, run: str) -> None:
    stage.submit("--detach")
    for verb in ("status", "logs", "cancel", "cost"):
        done = stage.submit(verb, run)
        assert (done.status, f"there is no run {run}" in done.err) == (2, True)


def test_nodes_are_billed_by_the_hour_and_by_their_market(stage: Stage) -> None:
    stage.submit("--detach")
    cluster = stage.emr.clusters["j-CLUSTER0"]
    stage.emr.moments = []
    cluster.steps[0].moments = [("RUNNING", "RUNNING"), ("TERMINATED", "COMPLETED")]
    stage.submit("status", RUN)
    cluster.created, cluster.ended = 1_700_000_000.0, 1_700_000_000.0 + 2 * 3600
    # Three nodes of 4 vCPUs for two hours, one from spot.
    assert "(16.00 vCPU-hours on-demand, 8.00 spot" in stage.submit("cost", RUN).out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target", "serverless"], "--target serverless: the stack {} was deployed with compute=cluster"),
        (["--cluster", "mine"], "--cluster mine is no ID of a cluster"),
        (["--cluster", "j-1", "--keep-alive"], "--keep-alive is for a new cluster, and --cluster names one that runs"),
        (["--cluster", "j-1"], "Cluster id 'j-1' is not valid."),
    ],
)
def test_what_cannot_be_is_refused(stage: Stage, words: list[str], said: str) -> None:
    done = stage.submit(*words)
    assert done.status == 2
    assert said.format(stage.cloud.name) in done.err
    assert not stage.emr.clusters


def test_what_is_for_clusters_is_refused_elsewhere(cloud: Cloud, submit: Submit) -> None:
    done = submit("--target", "cluster")
    assert (done.status, f"the stack {cloud.name} was deployed with compute=serverless" in done.err) == (2, True)
    assert "has no clusters: --cluster and --keep-alive are for compute=cluster" in submit("--keep-alive").err
    assert cloud.emr.asked == []


def test_late_logs_are_waited_for_as_long_as_clusters_take() -> None:
    assert PATIENCE.late_cluster >= 300
