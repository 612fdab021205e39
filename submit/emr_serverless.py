"""Runs on EMR Serverless: starts, reads, lists and cancels them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from job.errors import JobError
from submit.aws import code_of, explained
from submit.cost import WorkerUsage
from submit.logs import DriverLog
from submit.patience import PATIENCE
from submit.run import Run, RunLine, unknown_run


@dataclass(frozen=True)
class ServerlessRuns:
    """The runs of one application (see `submit.run.Runs`)."""

    emr: Any
    application_id: str
    logs: str
    late_seconds: float = PATIENCE.late_serverless

    def start(self, request: Mapping[str, Any]) -> str:
        """Start a run, or find the one that was started with the same client token; return its id."""
        with explained(f"the application {self.application_id}"):
            return str(self.emr.start_job_run(**request)["jobRunId"])

    def get(self, run_id: str) -> Run:
        """Return a run."""
        try:
            with explained(f"the run {run_id}"):
                answer = self.emr.get_job_run(applicationId=self.application_id, jobRunId=run_id)
        except JobError as error:
            if code_of(error) not in {"ResourceNotFoundException", "ValidationException"}:
                raise
            raise unknown_run(run_id) from error
        return _read(answer["jobRun"])

    def cancel(self, run_id: str) -> str:
        """Ask the service to cancel a run, which takes some seconds; return a message that says so."""
        with explained(f"the run {run_id}"):
            self.emr.cancel_job_run(applicationId=self.application_id, jobRunId=run_id)
        return f"the service was asked to cancel {run_id}"

    def list(self) -> Sequence[RunLine]:
        """Return the runs that the service still knows, the newest first."""
        with explained(f"the application {self.application_id}"):
            pages = self.emr.get_paginator("list_job_runs").paginate(applicationId=self.application_id)
            runs = [run for page in pages for run in page["jobRuns"]]
        lines = [RunLine(run["id"], run["state"], run["createdAt"], run.get("name") or "") for run in runs]
        return sorted(lines, key=lambda line: line.created, reverse=True)

    def link(self, run_id: str) -> str:
        """Return the address of a run's Spark UI, which opens for an hour."""
        with explained(f"the run {run_id}"):
            return str(self.emr.get_dashboard_for_job_run(applicationId=self.application_id, jobRunId=run_id)["url"])

    def log(self, s3: Any, run_id: str) -> DriverLog:
        """Return the log of a run."""
        return DriverLog(s3, f"{self.logs}/applications/{self.application_id}/jobs/{run_id}/", "SPARK_DRIVER/")


def _read(run: Mapping[str, Any]) -> Run:
    """Return a run from the `jobRun` of the service."""
    billed = run.get("billedResourceUtilization")
    return Run(
        id=run["jobRunId"],
        state=run["state"],
        details=" ".join(str(run.get("stateDetails") or "").split()),
        attempt=run.get("attempt") or 1,
        attempts=(run.get("retryPolicy") or {}).get("maxAttempts") or 1,
        timeout_minutes=run.get("executionTimeoutMinutes"),
        arguments=tuple((run.get("jobDriver") or {}).get("sparkSubmit", {}).get("entryPointArguments") or ()),
        created=run["createdAt"],
        started=run.get("startedAt"),
        ended=run.get("endedAt"),
        usage=WorkerUsage(billed["vCPUHour"], billed["memoryGBHour"]) if billed else None,
    )
