"""Runs on EMR on EC2: starts, reads, lists and cancels steps of clusters. A run is `j-CLUSTER/s-STEP`.

The states of a step are translated to those of EMR Serverless (`submit.run.RunState`): all else is the same for both.
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
from submit.patience import PATIENCE
from submit.request.cluster import TOKEN_VARIABLE
from submit.request.targets import INSTANCE_SIZES
from submit.run import Run, RunLine, RunState, unknown_run

RUN_ID = re.compile(r"(j-[A-Z0-9]+)/(s-[A-Z0-9]+)")
# How far back the list of runs goes, and how far back a start looks for a run with its token.
LISTED, TOKENS_LAST = timedelta(days=30), timedelta(days=1)

# https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-steps-history.html
STATES: dict[str, str] = {
    "PENDING": RunState.QUEUED,
    "CANCEL_PENDING": RunState.CANCELLING,
    "RUNNING": RunState.RUNNING,
    "COMPLETED": RunState.SUCCESS,
    "CANCELLED": RunState.CANCELLED,
    "INTERRUPTED": RunState.CANCELLED,
    "FAILED": RunState.FAILED,
}
UNDER_WAY = {"PENDING", "RUNNING", "CANCEL_PENDING"}
STARTING = {"STARTING", "BOOTSTRAPPING"}
ENDED = {"TERMINATED", "TERMINATED_WITH_ERRORS"}
# Why a cluster ends that nobody asked to end. EMR then cancels its steps, which is a failure of the run.
FAULTS = {"INTERNAL_ERROR", "VALIDATION_ERROR", "INSTANCE_FAILURE", "INSTANCE_FLEET_TIMEOUT", "BOOTSTRAP_FAILURE"}
VCPUS = {size: vcpu for vcpu, size in INSTANCE_SIZES.items()}


@dataclass(frozen=True)
class ClusterRuns:
    """The steps of a stack's clusters (see `submit.run.Runs`).

    `emr` retries where AWS does not answer, `once` does not: EMR has no client tokens, so that a repeated request may
    start a second cluster.
    """

    emr: Any
    once: Any
    stack_name: str
    logs: str
    region: str
    late_seconds: float = PATIENCE.late_cluster

    def start(self, request: Mapping[str, Any]) -> str:
        """Start a cluster with a step, or add the step to a running one, unless its token is known; return its id."""
        [step] = request["Steps"]
        token = next(word for word in step["HadoopJarStep"]["Args"] if word.startswith(f"{TOKEN_VARIABLE}="))
        cluster_id = request.get("JobFlowId")
        with explained(f"the cluster {cluster_id}" if cluster_id else f"a cluster of {self.stack_name}"):
            cluster_ids = [cluster_id] if cluster_id else [each["Id"] for each in self._clusters(TOKENS_LAST)]
            started = self._with_token(cluster_ids, token)
            if started is not None:
                return started
            if cluster_id:
                [step_id] = self.once.add_job_flow_steps(**request)["StepIds"]
            else:
                cluster_id = self.once.run_job_flow(**request)["JobFlowId"]
                [step_id] = [each["Id"] for each in self._steps(cluster_id)]
        return f"{cluster_id}/{step_id}"

    def _with_token(self, cluster_ids: Sequence[str], token: str) -> str | None:
        """Return the run that was started with a token, None where there is none."""
        for cluster_id in cluster_ids:
            for step in self._steps(cluster_id):
                if token in step["Config"]["Args"]:
                    return f"{cluster_id}/{step['Id']}"
        return None

    def get(self, run_id: str) -> Run:
        """Return a run."""
        cluster_id, step_id = self._parts(run_id)
        try:
            with explained(f"the run {run_id}"):
                step = self.emr.describe_step(ClusterId=cluster_id, StepId=step_id)["Step"]
                cluster = self.emr.describe_cluster(ClusterId=cluster_id)["Cluster"]
        except JobError as error:
            if code_of(error) not in {"InvalidRequestException", "ValidationException"}:
                raise
            raise unknown_run(run_id) from error
        run = self._read(run_id, step, cluster)
        return run if not run.final else self._billed(run, cluster)

    def cancel(self, run_id: str) -> str:
        """Cancel a step, and terminate the cluster if this run has started it and no other run needs it."""
        cluster_id, step_id = self._parts(run_id)
        with explained(f"the run {run_id}"):
            steps = list(self._steps(cluster_id))
        others = [step for step in steps if step["Id"] != step_id and step["Status"]["State"] in UNDER_WAY]
        alone = steps[-1]["Id"] == step_id and not others
        try:
            self._cancel_step(cluster_id, step_id)
        except JobError:  # as while the cluster starts
            if not alone:
                raise
        if not alone:
            return f"the service was asked to cancel {run_id}; the cluster {cluster_id} goes on"
        # Whatever becomes of the step: the cluster is what costs.
        with explained(f"the cluster {cluster_id}"):
            self.emr.terminate_job_flows(JobFlowIds=[cluster_id])
        return f"the service was asked to cancel {run_id} and to terminate the cluster, which it has started"

    def list(self) -> Sequence[RunLine]:
        """Return the runs that the service still knows, the newest first."""
        with explained(f"the clusters of {self.stack_name}"):
            lines = [
                RunLine(
                    f"{cluster['Id']}/{step['Id']}",
                    _state(step["Status"]["State"], cluster["Status"]),
                    step["Status"]["Timeline"]["CreationDateTime"],
                    step["Name"],
                )
                for cluster in self._clusters(LISTED)
                for step in self._steps(cluster["Id"])
            ]
        return sorted(lines, key=lambda line: line.created, reverse=True)

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
            [answer] = self.emr.cancel_steps(
                ClusterId=cluster_id, StepIds=[step_id], StepCancellationOption="TERMINATE_PROCESS"
            )["CancelStepsInfoList"]
        if answer["Status"] == "FAILED":
            raise JobError(f"{run}: {answer.get('Reason') or 'it cannot be cancelled any more'}")

    def _parts(self, run_id: str) -> tuple[str, str]:
        found = RUN_ID.fullmatch(run_id)
        if found is None:
            raise unknown_run(run_id)
        return found[1], found[2]

    def _clusters(self, back: timedelta) -> Iterator[Mapping[str, Any]]:
        pages = self.emr.get_paginator("list_clusters").paginate(CreatedAfter=datetime.now(UTC) - back)
        return (cluster for page in pages for cluster in page["Clusters"] if cluster["Name"] == self.stack_name)

    def _steps(self, cluster_id: str) -> Iterator[Mapping[str, Any]]:
        """Yield the steps of a cluster, the newest first, as EMR lists them."""
        pages = self.emr.get_paginator("list_steps").paginate(ClusterId=cluster_id)
        return (step for page in pages for step in page["Steps"])

    def _read(self, run_id: str, step: Mapping[str, Any], cluster: Mapping[str, Any]) -> Run:
        status, words = step["Status"], list(step["Config"]["Args"])
        times, failure = status["Timeline"], status.get("FailureDetails") or {}
        state, reason = _state(status["State"], cluster["Status"]), cluster["Status"].get("StateChangeReason") or {}
        details = [failure.get("Reason"), failure.get("Message")]
        if reason.get("Code") in FAULTS:
            details = [reason.get("Message"), self._bootstrap_log(cluster["Id"], reason)]
        minutes = int(words[words.index("spark-submit") - 1]) // 60
        started, ended = times.get("StartDateTime"), times.get("EndDateTime")
        if state == RunState.FAILED and started and ended and ended - started >= timedelta(minutes=minutes):
            # `timeout` ended it, a failure to EMR; EMR Serverless calls such a run cancelled.
            state = RunState.CANCELLED
        return Run(
            id=run_id,
            state=state,
            details=" ".join(" ".join(filter(None, details)).split()),
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
        """Return where the log of a failed bootstrap action is, empty where something else failed."""
        node = re.search(r"\((i-\w+)\), bootstrap action (\d+)", reason.get("Message") or "")
        address = f"{self.logs}/{cluster_id}/node/{node[1]}/bootstrap-actions/{node[2]}/stderr.gz" if node else ""
        return address and f"(its log: {address})"

    def _billed(self, run: Run, cluster: Mapping[str, Any]) -> Run:
        """Return an ended run with what its nodes used: all their time, or the time of the run where they go on."""
        alone = cluster.get("AutoTerminate")
        if alone and cluster["Status"]["State"] not in ENDED:
            return run
        began, end = (None, None) if alone else (run.started, run.ended)
        hours = {"ON_DEMAND": 0.0, "SPOT": 0.0}
        with explained(f"the cluster {cluster['Id']}"):
            pages = self.emr.get_paginator("list_instances").paginate(ClusterId=cluster["Id"])
            for node in (node for page in pages for node in page["Instances"]):
                times = node["Status"]["Timeline"]
                since = max(filter(None, (times["CreationDateTime"], began)))
                until = min(filter(None, (times.get("EndDateTime"), end)), default=datetime.now(UTC))
                vcpus = VCPUS[node["InstanceType"].split(".")[-1]]
                hours[node["Market"]] += vcpus * max(0.0, (until - since).total_seconds()) / 3600
        return replace(run, usage=NodeUsage(hours["ON_DEMAND"], hours["SPOT"]))


def _state(state: str, cluster: Mapping[str, Any]) -> str:
    """Return the state of a step as EMR Serverless names it; the state of the cluster may say more."""
    code = (cluster.get("StateChangeReason") or {}).get("Code")
    if state in {"PENDING", "CANCELLED", "INTERRUPTED"} and code in FAULTS:
        return RunState.FAILED
    if state == "PENDING" and cluster["State"] in ENDED:
        return RunState.CANCELLED
    if state == "PENDING" and cluster["State"] in STARTING:
        return RunState.PENDING
    return STATES.get(state, state)
