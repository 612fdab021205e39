"""Runs: the requests that start, tell of, list and cancel them in, what a run is about out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from job.errors import JobError
from submit.aws import code_of, explained
from submit.cost import Usage


@dataclass(frozen=True)
class State:
    """What a state of a run means, and whether it is the last."""

    text: str
    final: bool = False


# https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/job-states.html
STATES = {
    "SUBMITTED": State("handed in"),
    "PENDING": State("being prepared"),
    "QUEUED": State("waiting for a run before it to end"),
    "SCHEDULED": State("workers are being started"),
    "RUNNING": State("at work"),
    "CANCELLING": State("being stopped"),
    "SUCCESS": State("done", final=True),
    "FAILED": State("failed", final=True),
    "CANCELLED": State("cancelled", final=True),
}
# Of a first attempt there is no log yet.
WAITING = {"SUBMITTED", "PENDING", "QUEUED", "SCHEDULED"}
TIMED_OUT = re.compile(r"time[ds]?[ -]?out|exceeded .*time", re.I)


@dataclass(frozen=True)
class Run:
    """What the service tells of a run. Times are None until they are known, or where the service does not say."""

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
    def final(self) -> bool:
        """Whether the run has ended; states that are new to us are taken for steps on the way."""
        return self.state in STATES and STATES[self.state].final

    @property
    def timed_out(self) -> bool:
        """Whether the service ended the run for its length: it passes through CANCELLING like one that is cancelled."""
        if self.state != "CANCELLED":
            return False
        seconds, minutes = self.seconds, self.timeout_minutes
        late = seconds is not None and minutes is not None and seconds >= minutes * 60
        return late or bool(TIMED_OUT.search(self.details))

    @property
    def seconds(self) -> float | None:
        """How long it has been at work, None before."""
        if self.started is None:
            return None
        end = self.ended if self.ended is not None else datetime.now(UTC)
        return max(0.0, (end - self.started).total_seconds())

    def argument(self, option: str) -> str:
        """Return what an option of the job was given in this run; empty where it was not."""
        words = dict(zip(self.arguments, self.arguments[1:], strict=False))
        return words.get(option, "")

    def __str__(self) -> str:
        """Return `RUNNING: at work, attempt 2 of 2`."""
        text = "timed out" if self.timed_out else STATES[self.state].text if self.state in STATES else "new to us"
        return f"{self.state}: {text}" + (f", attempt {self.attempt} of {self.attempts}" if self.attempt > 1 else "")


@dataclass(frozen=True)
class Runs:
    """The runs of one application. Every method raises `JobError` where AWS does not do it."""

    emr: Any
    application_id: str

    def start(self, request: Mapping[str, Any]) -> str:
        """Start a run, or find the one that was started with the same client token; return its id."""
        with explained(f"the application {self.application_id}"):
            return str(self.emr.start_job_run(**request)["jobRunId"])

    def get(self, run_id: str) -> Run:
        """Return what is known of a run."""
        try:
            with explained(f"the run {run_id}"):
                found = self.emr.get_job_run(applicationId=self.application_id, jobRunId=run_id)["jobRun"]
        except JobError as error:
            if code_of(error) not in {"ResourceNotFoundException", "ValidationException"}:
                raise
            raise JobError(f"there is no run {run_id}: python -m submit list shows those that there are") from error
        return _read(found)

    def cancel(self, run_id: str) -> None:
        """Ask the service to cancel a run; it takes some seconds."""
        with explained(f"the run {run_id}"):
            self.emr.cancel_job_run(applicationId=self.application_id, jobRunId=run_id)

    def list(self) -> Sequence[Mapping[str, Any]]:
        """Return the runs that the service still knows (`JobRunSummary`), the newest first."""
        with explained(f"the application {self.application_id}"):
            pages = self.emr.get_paginator("list_job_runs").paginate(applicationId=self.application_id)
            found = [one for page in pages for one in page["jobRuns"]]
        return sorted(found, key=lambda one: one["createdAt"], reverse=True)

    def newest(self) -> str:
        """Return the id of the run that was started last."""
        runs = self.list()
        if not runs:
            raise JobError("there is no run yet: python -m submit starts one")
        return str(runs[0]["id"])

    def link(self, run_id: str) -> str:
        """Return the address of a run's Spark UI, which opens for an hour."""
        with explained(f"the run {run_id}"):
            return str(self.emr.get_dashboard_for_job_run(applicationId=self.application_id, jobRunId=run_id)["url"])


def _read(told: Mapping[str, Any]) -> Run:
    billed = told.get("billedResourceUtilization")
    return Run(
        id=told["jobRunId"],
        state=told["state"],
        details=" ".join(str(told.get("stateDetails") or "").split()),
        attempt=told.get("attempt") or 1,
        attempts=(told.get("retryPolicy") or {}).get("maxAttempts") or 1,
        timeout_minutes=told.get("executionTimeoutMinutes"),
        arguments=tuple((told.get("jobDriver") or {}).get("sparkSubmit", {}).get("entryPointArguments") or ()),
        created=told["createdAt"],
        started=told.get("startedAt"),
        ended=told.get("endedAt"),
        usage=Usage(billed["vCPUHour"], billed["memoryGBHour"]) if billed else None,
    )
