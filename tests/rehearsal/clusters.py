"""EMR on EC2 beside the server of `tests.aws`: requests of boto3 and of whoever else in, real runs out.

    with play() as aws, clustered(aws, folder) as clusters:
        aws.client("emr").run_job_flow(...)

moto keeps clusters and steps and answers; what it does not have is put in here: time, cancelling, nodes, reasons.
"""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from moto.core.responses import ActionResult, EmptyResult
from moto.emr.models import Cluster
from moto.emr.models import Step as MotoStep
from moto.emr.responses import ElasticMapReduceResponse

from tests.aws.server import Server
from tests.rehearsal.container import Machine
from tests.rehearsal.enforcement import Guard, enforced
from tests.rehearsal.executor import bare_machine
from tests.rehearsal.flow import Flow, Step


class Clusters:
    """All clusters, and their steps by the submitter's names of runs."""

    def __init__(self, aws: Server, machine: Machine, folder: Path, guard: Guard) -> None:
        self.flows: dict[str, Flow] = {}
        self.runs: dict[str, Step] = {}
        self.guard = guard
        self._aws, self._machine, self._folder = aws, machine, folder
        self._lock = threading.Lock()

    def start(self, request: dict[str, Any], answer: ElasticMapReduceResponse, start: Any) -> ActionResult:
        """Start a cluster for a request, as it was sent."""
        with self._lock:
            made: ActionResult = start(answer)
            record = answer.backend.clusters[str(made.result["JobFlowId"])]  # type: ignore[index]
            flow = Flow(self._aws, self.guard, self._machine, self._folder / record.id, request, record)
            for step, its in zip(request["Steps"], record.steps, strict=True):
                self.runs[f"{record.id}/{its.id}"] = flow.add(step, its)
            self.flows[record.id] = flow
            flow.start()
            return made

    def add(self, request: dict[str, Any], answer: ElasticMapReduceResponse, add: Any) -> ActionResult:
        """Add steps to a cluster, as they were sent."""
        flow = self.flows[request["JobFlowId"]]
        state = flow.record.state
        made: ActionResult = add(answer)
        for step, its in zip(request["Steps"], flow.record.steps[-len(request["Steps"]) :], strict=True):
            self.runs[f"{flow.record.id}/{its.id}"] = flow.add(step, its)
        flow.record.state = state
        return made

    def wait(self, run_id: str, seconds: float = 300) -> Step:
        """Wait for the end of a run, and of its cluster if it is to end with it."""
        flow, step, until = self.flows[run_id.split("/", maxsplit=1)[0]], self.runs[run_id], time.monotonic() + seconds
        while not step.ended:
            if time.monotonic() > until:
                raise TimeoutError(f"run {run_id} is still {step.record.state} after {seconds:g} s")
            time.sleep(0.1)
        if not flow.request["Instances"]["KeepJobFlowAliveWhenNoSteps"]:
            flow.join()
        if flow.fault:
            raise flow.fault
        return step

    def close(self) -> None:
        """End what lives, and wait until nothing is left of it."""
        for flow in self.flows.values():
            flow.terminate()
        for flow in self.flows.values():
            flow.join()


@contextlib.contextmanager
def clustered(aws: Server, folder: Path) -> Iterator[Clusters]:
    """Take the clusters that a server is asked for, in an empty folder, with the rights of their nodes enforced."""
    with enforced() as guard, contextlib.ExitStack() as stack:
        clusters = Clusters(aws, bare_machine(folder / "python"), folder, guard)
        start, add = ElasticMapReduceResponse.run_job_flow, ElasticMapReduceResponse.add_job_flow_steps

        def run_job_flow(self: ElasticMapReduceResponse) -> ActionResult:
            return clusters.start(json.loads(self.body), self, start)

        def add_job_flow_steps(self: ElasticMapReduceResponse) -> ActionResult:
            return clusters.add(json.loads(self.body), self, add)

        def cancel_steps(self: ElasticMapReduceResponse) -> ActionResult:
            asked, answers = json.loads(self.body), []
            for step_id in asked["StepIds"]:
                step = clusters.runs[f"{asked['ClusterId']}/{step_id}"]
                step.cancelled.set()
                if step.record.state == "PENDING":
                    step.tell("CANCELLED")
                answers.append({"StepId": step_id, "Status": "SUBMITTED"})
            return ActionResult({"CancelStepsInfoList": answers})

        def terminate_job_flows(self: ElasticMapReduceResponse) -> ActionResult:
            for cluster_id in json.loads(self.body)["JobFlowIds"]:
                clusters.flows[cluster_id].terminate()
            return EmptyResult()

        def list_instances(self: ElasticMapReduceResponse) -> ActionResult:
            return ActionResult({"Instances": _nodes(clusters.flows[json.loads(self.body)["ClusterId"]])})

        for owner, name, ours in (
            (ElasticMapReduceResponse, "run_job_flow", run_job_flow),
            (ElasticMapReduceResponse, "add_job_flow_steps", add_job_flow_steps),
            (ElasticMapReduceResponse, "cancel_steps", cancel_steps),
            (ElasticMapReduceResponse, "terminate_job_flows", terminate_job_flows),
            (ElasticMapReduceResponse, "list_instances", list_instances),
            (Cluster, "status", property(_cluster_status)),
            (MotoStep, "status", property(_step_status)),
        ):
            stack.enter_context(patch.object(owner, name, ours, create=name == "cancel_steps"))
        try:
            yield clusters
        finally:
            clusters.close()


def _cluster_status(self: Any) -> dict[str, Any]:
    times = {"CreationDateTime": self.creation_datetime, "EndDateTime": self.end_datetime}
    return {"State": self.state, "StateChangeReason": getattr(self, "reason", {}), "Timeline": times}


def _step_status(self: Any) -> dict[str, Any]:
    times = {"CreationDateTime": self.creation_date_time, "StartDateTime": self.start_date_time}
    return {
        "State": self.state,
        "FailureDetails": getattr(self, "failure", {}),
        "Timeline": times | {"EndDateTime": self.end_date_time},
    }


def _nodes(flow: Flow) -> list[dict[str, Any]]:
    """Return a node for each unit that a fleet was asked to begin with, for as long as the cluster lives."""
    times = {"CreationDateTime": flow.record.creation_datetime, "EndDateTime": flow.record.end_datetime}
    return [
        {
            "Id": f"ci-{fleet['Name']}",
            "InstanceType": fleet["InstanceTypeConfigs"][0]["InstanceType"],
            "Market": market,
            "Status": {"State": "RUNNING", "Timeline": times},
        }
        for fleet in flow.request["Instances"]["InstanceFleets"]
        for market, asked in (("ON_DEMAND", "TargetOnDemandCapacity"), ("SPOT", "TargetSpotCapacity"))
        for _ in range(fleet[asked])
    ]
