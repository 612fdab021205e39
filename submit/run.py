"""A run as the submitter knows it, on either target, and the questions that it asks about runs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

from job.errors import JobError
from submit.cost import Usage
from submit.logs import DriverLog


class RunState(StrEnum):
    """The states of a run on EMR Serverless; those of EMR steps are translated to them.

    https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/job-states.html
    """

    SUBMITTED = "SUBMITTED"
    PENDING = "PENDING"
    QUEUED = "QUEUED"
    SCHEDULED = "SCHEDULED"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


# What each state means to people. A state that is not here is one that AWS has added since.
MEANINGS: dict[str, str] = {
    RunState.SUBMITTED: "submitted",
    RunState.PENDING: "being prepared",
    RunState.QUEUED: "waiting for a run before it to end",
    RunState.SCHEDULED: "workers are being started",
    RunState.RUNNING: "at work",
    RunState.CANCELLING: "being stopped",
    RunState.SUCCESS: "done",
    RunState.FAILED: "failed",
    RunState.CANCELLED: "cancelled",
}
FINAL = {RunState.SUCCESS, RunState.FAILED, RunState.CANCELLED}
# States of a first attempt that has no log yet.
WAITING = {RunState.SUBMITTED, RunState.PENDING, RunState.QUEUED, RunState.SCHEDULED}
TIMED_OUT = re.compile(r"time[ds]?[ -]?out|exceeded .*time", re.I)


@dataclass(frozen=True)
class Run:
    """What the service knows of a run.

    `state` is a `RunState`, or the text of a state that this version does not know. A time is None until it is known,
    or where the service does not say.
    """

    id: str
    state: str
    details: str
    attempt: int
    attempts: int
    timeout_minutes: int | None
    arguments: tuple[str, ...]
    created: datetime
    started: datetime | None
    ended: datetime | None
    usage: Usage | None

    @property
    def succeeded(self) -> bool:
        """Whether the run has ended well."""
        return self.state == RunState.SUCCESS

    @property
    def final(self) -> bool:
        """Whether the run has ended; a state that this version does not know counts as not final."""
        return self.state in FINAL

    @property
    def timed_out(self) -> bool:
        """Whether the service ended the run at its time-out, which goes through CANCELLING too."""
        if self.state != RunState.CANCELLED:
            return False
        seconds, minutes = self.seconds, self.timeout_minutes
        late = seconds is not None and minutes is not None and seconds >= minutes * 60
        return late or bool(TIMED_OUT.search(self.details))

    @property
    def seconds(self) -> float | None:
        """How long the run has been at work; None before it started."""
        if self.started is None:
            return None
        end = self.ended if self.ended is not None else datetime.now(UTC)
        return max(0.0, (end - self.started).total_seconds())

    def argument(self, option: str) -> str:
        """Return the value of an option of the job in this run; empty where it was not given."""
        words = dict(zip(self.arguments, self.arguments[1:], strict=False))
        return words.get(option, "")

    def __str__(self) -> str:
        """Return `RUNNING: at work, attempt 2 of 2`."""
        text = "timed out" if self.timed_out else MEANINGS.get(self.state, "unknown to this version")
        return f"{self.state}: {text}" + (f", attempt {self.attempt} of {self.attempts}" if self.attempt > 1 else "")


@dataclass(frozen=True)
class RunLine:
    """A run as the list of runs shows it."""

    id: str
    state: str
    created: datetime
    name: str


def unknown_run(run_id: str) -> JobError:
    """Return the error for a run that the service does not know."""
    return JobError(f"there is no run {run_id}: python -m submit list shows the runs that there are")


class Runs(Protocol):
    """The runs of one stack. Every method raises `JobError` where AWS does not do it."""

    @property
    def late_seconds(self) -> float:
        """How long after the end of a run the last of its log and its bill may come."""

    def start(self, request: Mapping[str, Any]) -> str:
        """Start a run, or find the one that was started with the same client token; return its id."""

    def get(self, run_id: str) -> Run:
        """Return a run."""

    def cancel(self, run_id: str) -> str:
        """Ask the service to cancel a run, which takes some seconds; return a message that says what was asked."""

    def list(self) -> Sequence[RunLine]:
        """Return the runs that the service still knows, the newest first."""

    def link(self, run_id: str) -> str:
        """Return the address of a run's Spark UI, or of the page that leads to it."""

    def log(self, s3: Any, run_id: str) -> DriverLog:
        """Return the log of a run."""
