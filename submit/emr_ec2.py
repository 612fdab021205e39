"""Runs on EMR on EC2: a run is a step of a cluster, `j-CLUSTER/s-STEP`; requests in, what it is about out.

A step is told of in the words of EMR Serverless (`submit.run.STATES`), so that all else is the same for both.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from job.errors import JobError
from submit.aws import code_of, explained
from submit.cost import NodeUsage
from submit.logs import DriverLog
from submit.request.cluster import TOKEN_VARIABLE
from submit.request.targets import INSTANCE_SIZES
from submit.run import Line, Run

# A cluster puts its logs on S3 every five minutes, and when it ends.
LATE_SECONDS = 6 * 60.0
RUN_ID = re.compile(r"(j-[A-Z0-9]+)/(s-[A-Z0-9]+)")
# How far back runs are looked for; one that was started with a token is looked for over a day.
LISTED, TOKENS_LAST = timedelta(days=30), timedelta(days=1)

# https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-steps-history.html
STATES = {
    "PENDING": "QUEUED",
    "CANCEL_PENDING": "CANCELLING",
    "RUNNING": "RUNNING",
    "COMPLETED": "SUCCESS",
    "CANCELLED": "CANCELLED",
    "INTERRUPTED": "CANCELLED",
    "FAILED": "FAILED",
}
UNDER_WAY = {"PENDING", "RUNNING", "CANCEL_PENDING"}
STARTING = {"STARTING", "BOOTSTRAPPING"}
ENDED = {"TERMINATED", "TERMINATED_WITH_ERRORS"}
# Why a cluster ends that nobody wanted to end; that its steps are then cancelled is a failure of the run all the same.
FAULTS = {"INTERNAL_ERROR", "VALIDATION_ERROR", "INSTANCE_FAILURE", "INSTANCE_FLEET_TIMEOUT", "BOOTSTRAP_FAILURE"}
VCPUS = {size: vcpu for vcpu, size in INSTANCE_SIZES.items()}


@dataclass(frozen=True)
class ClusterRuns:
    """The steps of a stack's clusters (see `submit.run.Runs`).

    `emr` asks again where AWS does not answer, `once` does not: EMR has no tokens that would make one cluster of two
    requests.
    """

    emr: Any
    once: Any
    stack_name: str
    logs: str
    region: str

    @property
    def late_seconds(self) -> float:
        """How long after the end of a run the last of its log, and what it took, may come."""
        return LATE_SECONDS

    def start(self, request: Mapping[str, Any]) -> str:
        """Start a cluster with a step, or add the step to one that runs, unless its token is known; return its id."""
        [step] = request["Steps"]
        token = next(word for word in step["HadoopJarStep"]["Args"] if word.startswith(f"{TOKEN_VARIABLE}="))
        cluster_id = request.get("JobFlowId")
        where = f"the cluster {cluster_id}" if cluster_id else f"a cluster of {self.stack_name}"
        with explained(where):
            for known in [cluster_id] if cluster_id else [one["Id"] for one in self._clusters(TOKENS_LAST)]:
                for one in self._steps(known):
                    if token in one["Config"]["Args"]:
                        return f"{known}/{one['Id']}"
            if cluster_id:
                [step_id] = self.once.add_job_flow_steps(**request)["StepIds"]
            else:
                cluster_id = self.once.run_job_flow(**request)["JobFlowId"]
                [step_id] = [one["Id"] for one in self._steps(cluster_id)]
        return f"{cluster_id}/{step_id}"

    def get(self, run_id: str) -> Run:
        """Return what is known of a run."""
        cluster_id, step_id = self._parts(run_id)
        try:
            with explained(f"the run {run_id}"):
                step = self.emr.describe_step(ClusterId=cluster_id, StepId=step_id)["Step"]
                cluster = self.emr.describe_cluster(ClusterId=cluster_id)["Cluster"]
        except JobError as error:
            if code_of(error) not in {"InvalidRequestException", "ValidationException"}:
                raise
            raise _unknown(run_id) from error
        run = self._read(run_id, step, cluster)
        return run if not run.final else self._billed(run, cluster)

    def cancel(self, run_id: str) -> str:
        """Ask for the end of a step, and of the cluster if this run has started it and no other run needs it."""
        cluster_id, step_id = self._parts(run_id)
        with explained(f"the run {run_id}"):
            steps = list(self._steps(cluster_id))
        others = [one for one in steps if one["Id"] != step_id and one["Status"]["State"] in UNDER_WAY]
        alone = steps[-1]["Id"] == step_id and not others
        try:
            self._cancel_step(cluster_id, step_id)
        except JobError:  # as while the cluster starts
            if not alone:
                raise
        if not alone:
            return f"the service was asked to cancel {run_id}; the cluster {cluster_id} goes on"
        # Whatever has become of the step: the cluster is what costs.
        with explained(f"the cluster {cluster_id}"):
            self.emr.terminate_job_flows(JobFlowIds=[cluster_id])
        return f"the service was asked to cancel {run_id} and to terminate the cluster, which it has started"

    def list(self) -> Sequence[Line]:
        """Return the runs that the service still knows, the newest first."""
        with explained(f"the clusters of {self.stack_name}"):
            lines = [
                Line(
                    f"{cluster['Id']}/{step['Id']}",
                    _state(step["Status"]["State"], cluster["Status"]),
                    step["Status"]["Timeline"]["CreationDateTime"],
                    step["Name"],
                )
                for cluster in self._clusters(LISTED)
                for step in self._steps(cluster["Id"])
            ]
        return sorted(lines, key=lambda one: one.created, reverse=True)

    def link(self, run_id: str) -> str:
        """Return the address of the cluster's page in the console, which leads to its Spark UI."""
        cluster_id, _ = self._parts(run_id)
        return (
            f"https://{self.region}.console.aws.amazon.com/emr/home?region={self.region}#/clusterDetails/{cluster_id}"
        )

    def log(self, s3: Any, run_id: str) -> DriverLog:
        """Return the log of a run: the driver is the step's own process."""
        cluster_id, step_id = self._parts(run_id)
        return DriverLog(s3, f"{self.logs}/{cluster_id}/steps/{step_id}/", "")

    def _cancel_step(self, cluster_id: str, step_id: str) -> None:
        run = f"the run {cluster_id}/{step_id}"
        with explained(run):
            [told] = self.emr.cancel_steps(
                ClusterId=cluster_id, StepIds=[step_id], StepCancellationOption="TERMINATE_PROCESS"
            )["CancelStepsInfoList"]
        if told["Status"] == "FAILED":
            raise JobError(f"{run}: {told.get('Reason') or 'it cannot be cancelled any more'}")

    def _parts(self, run_id: str) -> tuple[str, str]:
        found = RUN_ID.fullmatch(run_id)
        if found is None:
            raise _unknown(run_id)
        return found[1], found[2]

    def _clusters(self, back: timedelta) -> Iterator[Mapping[str, Any]]:
        pages = self.emr.get_paginator("list_clusters").paginate(CreatedAfter=datetime.now(UTC) - back)
        return (one for page in pages for one in page["Clusters"] if one["Name"] == self.stack_name)

    def _steps(self, cluster_id: str) -> Iterator[Mapping[str, Any]]:
        """Yield the steps of a cluster, the newest first, as EMR lists them."""
        pages = self.emr.get_paginator("list_steps").paginate(ClusterId=cluster_id)
        return (one for page in pages for one in page["Steps"])

    def _read(self, run_id: str, step: Mapping[str, Any], cluster: Mapping[str, Any]) -> Run:
        status, words = step["Status"], list(step["Config"]["Args"])
        times, failure = status["Timeline"], status.get("FailureDetails") or {}
        state, reason = _state(status["State"], cluster["Status"]), cluster["Status"].get("StateChangeReason") or {}
        said = [failure.get("Reason"), failure.get("Message")]
        if reason.get("Code") in FAULTS:
            said = [reason.get("Message"), self._bootstrap_log(cluster["Id"], reason)]
        minutes = int(words[words.index("spark-submit") - 1]) // 60
        started, ended = times.get("StartDateTime"), times.get("EndDateTime")
        if state == "FAILED" and started and ended and ended - started >= timedelta(minutes=minutes):
            # Ended by `timeout`, which EMR takes for a failure: as EMR Serverless tells it, it is cancelled.
            state = "CANCELLED"
        return Run(
            id=run_id,
            state=state,
            details=" ".join(" ".join(filter(None, said)).split()),
            attempt=1,
            attempts=1,
            timeout_minutes=minutes,
            arguments=tuple(words),
            created=times["CreationDateTime"],
            started=started,
            ended=ended,
            usage=None,
        )

    def _bootstrap_log(self, cluster_id: str, reason: Mapping[str, Any]) -> str:
        """Return where the bootstrap action that failed has said why, empty where it was something else."""
        node = re.search(r"\((i-\w+)\), bootstrap action (\d+)", reason.get("Message") or "")
        address = f"{self.logs}/{cluster_id}/node/{node[1]}/bootstrap-actions/{node[2]}/stderr.gz" if node else ""
        return address and f"(its log: {address})"

    def _billed(self, run: Run, cluster: Mapping[str, Any]) -> Run:
        """Return a run that has ended with what its nodes took: all their time, or the run's own where they go on."""
        alone = cluster.get("AutoTerminate")
        if alone and cluster["Status"]["State"] not in ENDED:
            return run
        began, end = (None, None) if alone else (run.started, run.ended)
        hours = {"ON_DEMAND": 0.0, "SPOT": 0.0}
        with explained(f"the cluster {cluster['Id']}"):
            pages = self.emr.get_paginator("list_instances").paginate(ClusterId=cluster["Id"])
            for one in (one for page in pages for one in page["Instances"]):
                times = one["Status"]["Timeline"]
                since = max(filter(None, (times["CreationDateTime"], began)))
                until = min(filter(None, (times.get("EndDateTime"), end)), default=datetime.now(UTC))
                vcpus = VCPUS[one["InstanceType"].split(".")[-1]]
                hours[one["Market"]] += vcpus * max(0.0, (until - since).total_seconds()) / 3600
        return replace(run, usage=NodeUsage(hours["ON_DEMAND"], hours["SPOT"]))


def _state(state: str, cluster: Mapping[str, Any]) -> str:
    """Return the state of a step in the words of EMR Serverless; a cluster's own may say more."""
    code = (cluster.get("StateChangeReason") or {}).get("Code")
    if state in {"PENDING", "CANCELLED", "INTERRUPTED"} and code in FAULTS:
        return "FAILED"
    if state == "PENDING" and cluster["State"] in ENDED:
        return "CANCELLED"
    if state == "PENDING" and cluster["State"] in STARTING:
        return "PENDING"
    return STATES.get(state, state)


def _unknown(run_id: str) -> JobError:
    return JobError(f"there is no run {run_id}: python -m submit list shows those that there are")
