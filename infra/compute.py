"""The compute of the stack: what it knows of the target of its runs, whichever that is."""

from typing import Any, Protocol

from aws_cdk import aws_iam as iam

from infra.operations import Alerts
from infra.permissions import Grant
from submit.request.targets import JobSpec, Target, Workers


class Compute(Protocol):
    """The target of the stack's runs, with the events that it sends and the grants that it needs."""

    @property
    def job_role(self) -> iam.Role:
        """The role that a run assumes; it has no grants yet."""

    @property
    def target(self) -> Target:
        """The target, as the outputs describe it to the submitter."""

    @property
    def failures(self) -> dict[str, Any]:
        """Pattern of the events of failed and cancelled runs."""

    @property
    def failed_run(self) -> str:
        """Path of the run's name in such an event."""

    def watch(self, alerts: Alerts, minutes: int) -> None:
        """Add the alarm for runs that take too long, in minutes, and a dashboard, where there are metrics for them."""

    def job_grants(self) -> list[Grant]:
        """Return what the job's role needs beside buckets and code."""

    def start_grants(self) -> list[Grant]:
        """Return the permission to start runs."""

    def follow_grants(self) -> list[Grant]:
        """Return the permission to follow, list and cancel runs."""

    def daily(self, job: JobSpec, workers: Workers, token: str) -> tuple[str, dict[str, Any]]:
        """Return the operation that starts a run, as EventBridge Scheduler names it, and its request."""
