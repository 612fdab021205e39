"""Runs on EMR Serverless: the requests that start, tell of, list and cancel them in, what a run is about out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from job.errors import JobError
from submit.aws import code_of, explained
from submit.cost import Usage
from submit.logs import DriverLog
from submit.run import Line, Run

# The last of a log, and what was billed, may come so much later than the end.
LATE_SECONDS = 60.0


@dataclass(frozen=True)
class ServerlessRuns:
    """The runs of one application (see `submit.run.Runs`)."""

    emr: Any
    application_id: str
    logs: str

    @property
    def late_seconds(self) -> float:
        """How long after the end of a run the last of its log, and what it took, may come."""
        return LATE_SECONDS

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

    def cancel(self, run_id: str) -> str:
        """Ask the service to cancel a run, which takes some seconds."""
        with explained(f"the run {run_id}"):
            self.emr.cancel_job_run(applicationId=self.application_id, jobRunId=run_id)
        return f"the service was asked to cancel {run_id}"

    def list(self) -> Sequence[Line]:
        """Return the runs that the service still knows, the newest first."""
        with explained(f"the application {self.application_id}"):
            pages = self.emr.get_paginator("list_job_runs").paginate(applicationId=self.application_id)
            found = [one for page in pages for one in page["jobRuns"]]
        lines = [Line(one["id"], one["state"], one["createdAt"], one.get("name") or "") for one in found]
        return sorted(lines, key=lambda one: one.created, reverse=True)

    def link(self, run_id: str) -> str:
        """Return the address of a run's Spark UI, which opens for an hour."""
        with explained(f"the run {run_id}"):
            return str(self.emr.get_dashboard_for_job_run(applicationId=self.application_id, jobRunId=run_id)["url"])

    def log(self, s3: Any, run_id: str) -> DriverLog:
        """Return the log of a run."""
        return DriverLog(s3, f"{self.logs}/applications/{self.application_id}/jobs/{run_id}/", "SPARK_DRIVER/")


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
