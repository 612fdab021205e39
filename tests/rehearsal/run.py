"""One job run: a request as it was sent in, states, logs and what it cost out, as time passes."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from moto.core.utils import utcnow

from tests.aws import REGION
from tests.aws.server import Server
from tests.rehearsal.container import AssetError, Container, Machine
from tests.rehearsal.enforcement import Guard
from tests.rehearsal.logs import LogError, Logs, of_driver_and_executors
from tests.rehearsal.payload import Submission

TERMINAL = ("SUCCESS", "FAILED", "CANCELLED")
# Of `executionTimeoutMinutes`; shorter where a test cannot wait.
MINUTE_SECONDS = 60.0
POLL_SECONDS = 0.1
# EMR puts the logs anew every half a minute or so; here runs are shorter.
LOG_SECONDS = 1.0
# So that who follows sees each state.
STATE_SECONDS = 0.3


@dataclass
class Host:
    """The host of all runs: the server, the machine, a folder for all of them."""

    aws: Server
    guard: Guard
    machine: Machine
    folder: Path
    # How many runs of an application there may be at once.
    slots: Callable[[str], threading.Semaphore]


class _Stopped(Exception):
    """The run was cancelled, or its time is over."""


class _Failed(Exception):
    """An attempt has failed; why."""


@dataclass
class Run:
    """A run; moto's own object of it answers requests."""

    host: Host
    request: dict[str, Any]
    # moto's; GetJobRun answers with its attributes.
    record: Any
    log_uri: str
    # What went wrong here and not in the run: a fault of the rehearsal.
    fault: BaseException | None = None
    # Of processes, one an attempt that came so far.
    sessions: list[int] = field(default_factory=list)
    _folder: Path | None = None
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Have moto tell what was asked for, and the first state."""
        self.record.created_at = utcnow()
        self.record.created_by = "arn:aws:iam::123456789012:root"
        self.record.job_driver = self.request["jobDriver"]
        self.record.retry_policy = {"maxAttempts": 1, **self.request.get("retryPolicy", {})}
        self.record.execution_timeout_minutes = self.request.get("executionTimeoutMinutes", 720)
        self.record.mode = self.request.get("mode", "BATCH")
        self.record.attempt = 1
        self.record.billed_resource_utilization = self.record.total_resource_utilization = None
        self.record.total_execution_duration_seconds = 0
        self._tell("SUBMITTED")
        self._thread = threading.Thread(target=self._guarded, name=f"run {self.record.id}")

    @property
    def ended(self) -> bool:
        """Whether its state will not change any more."""
        return self.record.state in TERMINAL

    def said(self) -> str:
        """Return what the driver has said on standard output until now, before it gets to the logs."""
        try:
            return (self._folder / "stdout").read_text(errors="replace") if self._folder else ""
        except FileNotFoundError:
            return ""

    def start(self) -> None:
        """Begin to run."""
        self._thread.start()

    def cancel(self) -> None:
        """Ask it to stop; what has ended stays as it is."""
        if not self.ended:
            self._tell("CANCELLING")
            self._cancelled.set()

    def join(self) -> None:
        """Wait until it has ended and nothing is left of it."""
        if self._thread.is_alive():
            self._thread.join()

    def _tell(self, state: str, details: str = "") -> None:
        # A run that is being cancelled changes to nothing but its end.
        if self.record.state != "CANCELLING" or state in TERMINAL:
            self.record.state, self.record.state_details, self.record.updated_at = state, details, utcnow()

    def _guarded(self) -> None:
        try:
            self._play()
        except BaseException as error:  # noqa: BLE001 - raised again for who waits for the run
            self.fault = error
            self._tell("FAILED", f"the rehearsal itself failed: {type(error).__name__}: {error}")

    def _play(self) -> None:
        slots, arrived = self.host.slots(self.record.application_id), time.monotonic()
        deadline = arrived + self.record.execution_timeout_minutes * MINUTE_SECONDS
        try:
            while not slots.acquire(timeout=POLL_SECONDS):
                self._tell("QUEUED")
                self._heed(deadline)
        except _Stopped as reason:
            self._tell("CANCELLED", str(reason))
            return
        self.record.queued_duration_milliseconds = int(1000 * (time.monotonic() - arrived))
        try:
            self._try_attempts(deadline)
        finally:
            slots.release()

    def _try_attempts(self, deadline: float) -> None:
        attempts = self.record.retry_policy["maxAttempts"]
        for attempt in range(1, attempts + 1):
            self.record.attempt = attempt
            try:
                self._attempt(attempt, deadline)
            except _Stopped as reason:
                self._tell("CANCELLED", str(reason))
                return
            except _Failed as reason:
                # A fresh attempt begins at the beginning.
                self._tell("FAILED" if attempt == attempts else "PENDING", str(reason))
            else:
                self._tell("SUCCESS")
                return

    def _attempt(self, attempt: int, deadline: float) -> None:
        submission, host = Submission.of(self.request), self.host
        environment = credentials(host.aws, host.guard, self.request["executionRoleArn"], self.record.id)
        s3 = s3_client(environment)
        attempts = f"attempts/{attempt}/" if attempt > 1 else ""
        address = (
            f"{self.log_uri.rstrip('/')}/applications/{self.record.application_id}/jobs/{self.record.id}/{attempts}"
        )
        logs = Logs(s3, address, of_driver_and_executors)
        self._folder = self.host.folder / f"{self.record.id}-{attempt}"
        container = Container(self._folder, submission, self.host.machine, environment)
        try:
            self._pass("PENDING", deadline)
            container.prepare(s3)
            self._pass("SCHEDULED", deadline)
            self._follow(container, logs, deadline)
        except (AssetError, LogError) as error:
            raise _Failed(f"Job failed to start: {error}") from None
        finally:
            container.remove()
            s3.close()

    def _follow(self, container: Container, logs: Logs, deadline: float) -> None:
        began = time.monotonic()
        self.sessions.append(container.start())
        self.record.started_at = self.record.started_at if hasattr(self.record, "started_at") else utcnow()
        self._tell("RUNNING")
        try:
            said = 0.0
            while (status := container.ended()) is None:
                self._heed(deadline)
                if time.monotonic() - said >= LOG_SECONDS:
                    logs.put(container.folder)
                    said = time.monotonic()
                time.sleep(POLL_SECONDS)
        except _Stopped:
            container.stop()
            raise
        finally:
            logs.put(container.folder)
            self.record.ended_at = utcnow()
            self._bill(Submission.of(self.request).settings, time.monotonic() - began)
        if status != 0:
            raise _Failed(
                "Job failed, please check complete logs in configured logging destination."
                f" ExitCode: {status if status > 0 else 128 - status}."
            )

    def _pass(self, state: str, deadline: float) -> None:
        self._tell(state)
        self._cancelled.wait(STATE_SECONDS)
        self._heed(deadline)

    def _heed(self, deadline: float) -> None:
        if self._cancelled.is_set():
            raise _Stopped("Job run was cancelled")
        if time.monotonic() > deadline:
            self._tell("CANCELLING")
            raise _Stopped(f"Job run exceeded its timeout of {self.record.execution_timeout_minutes} minutes")

    def _bill(self, settings: dict[str, str], seconds: float) -> None:
        """Add what the workers took: here the driver and the first executors, for as long as the driver lived."""
        self.record.total_execution_duration_seconds += round(seconds)
        workers = 1 + min(2, int(settings.get("spark.dynamicAllocation.maxExecutors", "2")))
        hours = workers * seconds / 3600
        cores = int(settings.get("spark.driver.cores", "4"))
        used = {"vCPUHour": hours * cores, "memoryGBHour": hours * 2 * cores, "storageGBHour": hours * 20}
        before = self.record.total_resource_utilization or dict.fromkeys(used, 0.0)
        total = {name: round(before[name] + value, 6) for name, value in used.items()}
        self.record.total_resource_utilization = total
        # The first 20 GB of each worker cost nothing.
        self.record.billed_resource_utilization = total | {"storageGBHour": 0.0}


def credentials(aws: Server, guard: Guard, role_arn: str, session: str) -> dict[str, str]:
    """Return the environment in which AWS's libraries act as a role, and as nobody else."""
    given = aws.client("sts").assume_role(RoleArn=role_arn, RoleSessionName=session)["Credentials"]
    guard.held.add(given["AccessKeyId"])
    return {
        "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
        "AWS_SESSION_TOKEN": given["SessionToken"],
        "AWS_ENDPOINT_URL": aws.endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nowhere/config",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
    }


def s3_client(environment: dict[str, str]) -> Any:
    """Return a client of S3 that acts as a role, and asks once."""
    session = boto3.session.Session(
        environment["AWS_ACCESS_KEY_ID"],
        environment["AWS_SECRET_ACCESS_KEY"],
        environment["AWS_SESSION_TOKEN"],
        region_name=REGION,
    )
    return session.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )
