"""EMR on EC2 on this machine: an HTTP server with the service's protocol, whose clusters go as a test has written."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.submit.emr import Answer, Emr, _Handler, serving

ENDED = {"COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED"}
# State of the cluster, and of its step; or something that happens.
Moment = tuple[str, str] | Callable[[], None]


@dataclass
class PlayedStep:
    """A step, and what becomes of it: each time it is asked for, it takes the next moment; the last one lasts."""

    id: str
    request: dict[str, Any]
    moments: list[Moment]
    state: str = "PENDING"
    failure: dict[str, str] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=lambda: {"CreationDateTime": time.time()})

    def enter(self, state: str) -> None:
        self.state = state
        if state == "RUNNING":
            self.times.setdefault("StartDateTime", time.time())
        if state in ENDED:
            self.times.setdefault("EndDateTime", time.time())

    @property
    def description(self) -> dict[str, Any]:
        status = {"State": self.state, "Timeline": self.times, "FailureDetails": self.failure}
        return {
            "Id": self.id,
            "Name": self.request["Name"],
            "ActionOnFailure": self.request["ActionOnFailure"],
            "Config": self.request["HadoopJarStep"],
            "Status": status,
        }


@dataclass
class PlayedCluster:
    """A cluster with its steps, the oldest first; its nodes are one of each fleet, for as long as it lives."""

    id: str
    request: dict[str, Any]
    steps: list[PlayedStep]
    state: str = "STARTING"
    reason: dict[str, str] = field(default_factory=dict)
    created: float = field(default_factory=time.time)
    ended: float | None = None

    def enter(self, state: str) -> None:
        self.state = state
        if state.startswith("TERMINATED"):
            self.ended = self.ended or time.time()

    @property
    def description(self) -> dict[str, Any]:
        status = {"State": self.state, "StateChangeReason": self.reason}
        alone = not self.request["Instances"]["KeepJobFlowAliveWhenNoSteps"]
        return {"Id": self.id, "Name": self.request["Name"], "Status": status, "AutoTerminate": alone}

    @property
    def nodes(self) -> list[dict[str, Any]]:
        times = {"CreationDateTime": self.created} | ({"EndDateTime": self.ended} if self.ended else {})
        return [
            {
                "Id": f"ci-{number}",
                "InstanceType": fleet["InstanceTypeConfigs"][0]["InstanceType"],
                "Market": "SPOT" if fleet["TargetSpotCapacity"] else "ON_DEMAND",
                "Status": {"State": "RUNNING", "Timeline": times},
            }
            for number, fleet in enumerate(self.request["Instances"]["InstanceFleets"])
        ]


class Flows(Emr):
    """The service. `moments` is what the next step goes through, `faults` what operations answer first, in order."""

    def __init__(self) -> None:
        super().__init__(handler=_FlowHandler)
        self.moments: list[Moment] = [("STARTING", "PENDING"), ("RUNNING", "RUNNING"), ("TERMINATED", "COMPLETED")]
        self.clusters: dict[str, PlayedCluster] = {}
        self.terminated: list[str] = []

    def add(self, request: dict[str, Any]) -> PlayedCluster:  # type: ignore[override]
        cluster = PlayedCluster(f"j-CLUSTER{len(self.clusters)}", request, [])
        self.clusters[cluster.id] = cluster
        for step in request["Steps"]:
            self.add_step(cluster, step)
        return cluster

    def add_step(self, cluster: PlayedCluster, step: dict[str, Any]) -> PlayedStep:
        played = PlayedStep(f"s-STEP{len(cluster.steps)}", step, [*self.moments])
        cluster.steps.append(played)
        return played

    def answer(self, operation: str, run_id: str, body: bytes) -> dict[str, Any] | Answer:
        asked = json.loads(body)
        if operation == "RunJobFlow":
            return {"JobFlowId": self.add(asked).id}
        if operation == "ListClusters":
            return {"Clusters": [cluster.description for cluster in self.clusters.values()]}
        [cluster_id] = asked.get("JobFlowIds") or [asked.get("ClusterId", asked.get("JobFlowId"))]
        cluster = self.clusters.get(cluster_id)
        if cluster is None:
            return Answer(400, "InvalidRequestException", f"Cluster id '{cluster_id}' is not valid.")
        if operation == "AddJobFlowSteps":
            return {"StepIds": [self.add_step(cluster, step).id for step in asked["Steps"]]}
        if operation == "ListSteps":
            return {"Steps": [step.description for step in reversed(cluster.steps)]}
        if operation == "ListInstances":
            return {"Instances": cluster.nodes}
        if operation == "TerminateJobFlows":
            return self.terminate(cluster)
        if operation == "DescribeCluster":
            return {"Cluster": cluster.description}
        steps = {step.id: step for step in cluster.steps}
        step = steps.get((asked.get("StepIds") or [asked.get("StepId")])[0])
        if step is None:
            return Answer(400, "InvalidRequestException", "Step id is not valid.")
        return self.cancel(step) if operation == "CancelSteps" else self.describe(cluster, step)

    def describe(self, cluster: PlayedCluster, step: PlayedStep) -> dict[str, Any]:
        while step.moments:
            moment = step.moments.pop(0)
            if callable(moment):
                moment()
                continue
            cluster.enter(moment[0])
            step.enter(moment[1])
            break
        return {"Step": step.description}

    def cancel(self, step: PlayedStep) -> dict[str, Any]:
        if step.state in ENDED:
            said = {"Status": "FAILED", "Reason": "Step is already in a final state"}
        else:
            step.moments[:] = []
            step.enter("CANCELLED")
            said = {"Status": "SUBMITTED"}
        return {"CancelStepsInfoList": [{"StepId": step.id, **said}]}

    def terminate(self, cluster: PlayedCluster) -> dict[str, Any]:
        self.terminated.append(cluster.id)
        cluster.reason = {"Code": "USER_REQUEST", "Message": "Terminated by user request"}
        cluster.enter("TERMINATED")
        return {}


class _FlowHandler(_Handler):
    server: Flows

    def _operation(self, path: str) -> tuple[str, str]:
        return str(self.headers["X-Amz-Target"]).rpartition(".")[2], ""


@contextlib.contextmanager
def flow_server() -> Iterator[Flows]:
    """Run the service in a thread for as long as it lasts."""
    server = Flows()
    with serving(server):
        yield server
    server.server_close()
