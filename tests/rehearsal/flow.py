"""One cluster: a RunJobFlow as it was sent in; bootstrap action, steps, logs and states, as time passes, out.

moto keeps neither fleets nor bootstrap actions nor time: its objects tell the world, and what they tell is set here,
from the payload. All nodes are one folder, whose bootstrap action runs once, as it was uploaded, in a bare environment.
"""

import json
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from botocore.exceptions import ClientError
from moto.core.utils import utcnow

from submit.request.cluster import INSTALLED
from tests.aws.server import Server
from tests.rehearsal.container import AssetError, Container, Machine
from tests.rehearsal.enforcement import Guard
from tests.rehearsal.logs import LogError, Logs, of_process
from tests.rehearsal.payload import Submission
from tests.rehearsal.run import LOG_SECONDS, POLL_SECONDS, STATE_SECONDS, credentials, s3_client

ENDED = ("TERMINATED", "TERMINATED_WITH_ERRORS")
STEP_ENDED = ("COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED")
NODE = "i-0123456789abcdef0"
# Stands for the `aws` of EMR's image: the one command that bootstrap actions use it for.
AWS = """
import shutil, sys
import boto3
source, target = sys.argv[4:]
bucket, _, key = source.removeprefix("s3://").partition("/")
try:
    body = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"]
except Exception as error:
    sys.exit(f"fatal error: {error}")
with open(target, "wb") as file:
    shutil.copyfileobj(body, file, 1 << 20)
"""


class _Ended(Exception):
    """The cluster is to end."""


@dataclass
class Step:
    """A step; moto's own object of it answers requests."""

    request: dict[str, Any]
    record: Any
    # Of processes that were started.
    sessions: list[int] = field(default_factory=list)
    folder: Path | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def ended(self) -> bool:
        """Whether its state will not change any more."""
        return self.record.state in STEP_ENDED

    def said(self) -> str:
        """Return what the driver has said until now, before it gets to the logs."""
        with suppress(FileNotFoundError, TypeError):
            return (self.folder / "stdout").read_text(errors="replace")  # type: ignore[operator]
        return ""

    def join(self) -> None:
        """Wait until it has ended and nothing is left of it."""
        while not self.ended:
            time.sleep(POLL_SECONDS)

    def tell(self, state: str, message: str = "") -> None:
        """Set what DescribeStep says."""
        self.record.state = state
        if state == "RUNNING":
            self.record.start_date_time = utcnow()
        if state in STEP_ENDED:
            self.record.end_date_time = utcnow()
            self.record.failure = {"Reason": message} if message else {}


@dataclass
class Flow:
    """A cluster and its steps."""

    aws: Server
    guard: Guard
    machine: Machine
    folder: Path
    request: dict[str, Any]
    record: Any
    steps: list[Step] = field(default_factory=list)
    # What went wrong here and not on the cluster: a fault of the rehearsal.
    fault: BaseException | None = None
    _terminated: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Have moto tell the first state, not its own."""
        self.folder.mkdir()
        self.tell("STARTING")
        self._thread = threading.Thread(target=self._guarded, name=f"cluster {self.record.id}")

    def add(self, request: dict[str, Any], record: Any) -> Step:
        """Take a step."""
        record.start_date_time = None
        step = Step(request, record)
        step.tell("PENDING")
        self.steps.append(step)
        return step

    def start(self) -> None:
        """Begin to live."""
        self._thread.start()

    def terminate(self) -> None:
        """End it, as its user wishes."""
        if self.record.state not in ENDED:
            self.tell("TERMINATING", "USER_REQUEST", "Terminated by user request")
            self._terminated.set()

    def join(self) -> None:
        """Wait until it has ended and nothing is left of it."""
        if self._thread.is_alive():
            self._thread.join()

    def tell(self, state: str, code: str = "", message: str = "") -> None:
        """Set the answer of DescribeCluster; the first reason for the end stays."""
        self.record.state = state
        if code:
            self.record.reason = {"Code": code, "Message": message}
        if state in ENDED:
            self.record.end_datetime = utcnow()

    def _guarded(self) -> None:
        try:
            self._live()
        except BaseException as error:  # noqa: BLE001 - raised again for who waits for a run
            self.fault = error
            said = f"the rehearsal itself failed: {type(error).__name__}: {error}"
            self.tell("TERMINATED_WITH_ERRORS", "INTERNAL_ERROR", said)
        for step in self.steps:
            if not step.ended:
                step.tell("CANCELLED")

    def _live(self) -> None:
        profile = self.aws.client("iam").get_instance_profile(InstanceProfileName=self.request["JobFlowRole"])
        [role] = profile["InstanceProfile"]["Roles"]
        environment = credentials(self.aws, self.guard, role["Arn"], NODE)
        s3 = s3_client(environment)
        try:
            self._pause()
            self.tell("BOOTSTRAPPING")
            self._get(s3, self._certificates())
            for number, action in enumerate(self.request["BootstrapActions"], 1):
                self._bootstrap(s3, environment, number, action["ScriptBootstrapAction"])
            self._work(s3, environment)
        except LogError as error:
            self.tell("TERMINATED_WITH_ERRORS", "INTERNAL_ERROR", str(error))
        except _Ended:
            failed = self.record.reason["Code"] not in {"USER_REQUEST", "ALL_STEPS_COMPLETED"}
            self.tell("TERMINATED_WITH_ERRORS" if failed else "TERMINATED")
        finally:
            s3.close()

    def _certificates(self) -> str:
        """Return the address of what nodes encrypt with, which EMR has each of them fetch."""
        name = self.request["SecurityConfiguration"]
        configuration = self.aws.client("emr").describe_security_configuration(Name=name)["SecurityConfiguration"]
        transit = json.loads(configuration)["EncryptionConfiguration"]["InTransitEncryptionConfiguration"]
        return str(transit["TLSCertificateConfiguration"]["S3Object"])

    def _get(self, s3: Any, address: str) -> bytes:
        """Return an object that a node cannot start without."""
        bucket, _, key = address.removeprefix("s3://").partition("/")
        try:
            return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        except ClientError as error:
            self._end("BOOTSTRAP_FAILURE", f"cannot get {address} (s3:GetObject): {error}")

    def _bootstrap(self, s3: Any, environment: dict[str, str], number: int, action: dict[str, Any]) -> None:
        """Run a bootstrap action; a cluster whose node it fails on ends."""
        system = self.folder / "system"
        (system / "tmp").mkdir(parents=True)
        (system / "aws.py").write_text(AWS)
        (system / "aws").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{system / "aws.py"}" "$@"\n')
        (system / "aws").chmod(0o755)
        script = system / "action"
        script.write_bytes(self._get(s3, action["Path"]))
        script.chmod(0o755)
        # Absolute paths of the node lie below its folder here.
        arguments = [word.replace(INSTALLED, f"{self.folder}{INSTALLED}") for word in action["Args"]]
        path = f"{system}:{self.machine.python.parent}:/usr/bin:/bin"
        variables = environment | {"PATH": path, "HOME": str(self.folder), "TMPDIR": str(system / "tmp")}
        with (system / "stdout").open("wb") as out, (system / "stderr").open("wb") as err:
            done = subprocess.run([script, *arguments], env=variables, stdout=out, stderr=err, check=False)
        Logs(s3, f"{self._logs}node/{NODE}/bootstrap-actions/{number}/", of_process).put(system)
        if done.returncode:
            what = f"On the master instance ({NODE}), bootstrap action {number} returned a non-zero return code"
            self._end("BOOTSTRAP_FAILURE", what)

    def _work(self, s3: Any, environment: dict[str, str]) -> None:
        """Run steps one by one, in their order, and wait for more where the cluster is kept."""
        kept = self.request["Instances"]["KeepJobFlowAliveWhenNoSteps"]
        policy = self.request.get("AutoTerminationPolicy")
        idle_since = time.monotonic()
        while True:
            waiting = next((step for step in self.steps if not step.ended), None)
            if waiting:
                self.tell("RUNNING")
                self._step(s3, environment, waiting)
                idle_since = time.monotonic()
                if waiting.record.state == "FAILED" and waiting.request["ActionOnFailure"] == "TERMINATE_CLUSTER":
                    self._end("STEP_FAILURE", f"Shut down as step {waiting.record.id} failed")
            elif not kept:
                self._end("ALL_STEPS_COMPLETED", "Steps completed")
            elif policy and time.monotonic() - idle_since > policy["IdleTimeout"]:
                self._end("USER_REQUEST", "Auto-terminated, as it was idle")
            else:
                self.tell("WAITING")
                self._pause(POLL_SECONDS)

    def _step(self, s3: Any, environment: dict[str, str], step: Step) -> None:
        step.folder = self.folder / step.record.id
        submission = Submission.of_step(step.request)
        container = Container(step.folder, submission, self.machine, environment, self.folder)
        logs = Logs(s3, f"{self._logs}steps/{step.record.id}/", of_process)
        step.tell("RUNNING")
        try:
            end = self._follow(s3, container, logs, step)
        except (AssetError, LogError) as error:
            end = ("FAILED", str(error))
        finally:
            container.remove()
        step.tell(*end)

    def _follow(self, s3: Any, container: Container, logs: Logs, step: Step) -> tuple[str, str]:
        """Run a step's process to its end; return the state of the step, and why."""
        container.prepare(s3)
        step.sessions.append(container.start())
        said = 0.0
        while (status := container.ended()) is None:
            if step.cancelled.is_set() or self._terminated.is_set():
                container.stop()
                return "CANCELLED", ""
            if time.monotonic() - said >= LOG_SECONDS:
                logs.put(container.folder)
                said = time.monotonic()
            time.sleep(POLL_SECONDS)
        logs.put(container.folder)
        return ("FAILED", f"Unknown Error. Exit code {status}") if status else ("COMPLETED", "")

    @property
    def _logs(self) -> str:
        return f"{self.request['LogUri']}{self.record.id}/"

    def _pause(self, seconds: float = STATE_SECONDS) -> None:
        if self._terminated.wait(seconds):
            raise _Ended

    def _end(self, code: str, message: str) -> NoReturn:
        self.tell("TERMINATING", code, message)
        raise _Ended
