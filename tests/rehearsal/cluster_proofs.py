"""What the rehearsal shows on clusters beside what it shows everywhere (`proofs`): that nothing goes on that costs."""

from tests.rehearsal.container import processes_of
from tests.rehearsal.proofs import Rehearsal, check, emptied
from tests.rehearsal.stage import ClusterStage
from tests.rehearsal.terminal import submit

TIMED_OUT = 4  # exit status of the submitter


def _stage(rehearsal: Rehearsal) -> ClusterStage:
    assert isinstance(rehearsal.stage, ClusterStage)
    return rehearsal.stage


def nothing_goes_on(rehearsal: Rehearsal) -> str:
    """Look at all clusters that were started so far."""
    flows = _stage(rehearsal).executor.flows.values()
    alive = [flow.record.id for flow in flows if not flow.record.state.startswith("TERMINATED")]
    check(flows and not alive, f"{alive} of {len(flows)} clusters are still there")
    return f"{len(flows)} clusters were started, and all have ended"


def failed_step(rehearsal: Rehearsal) -> str:
    """Give the job an option that it refuses: its step fails, and the submitter says why from the step's log."""
    stage = _stage(rehearsal)
    outcome = stage.run("--components", "0")
    check(outcome["state"] == "FAILED", f"the run is {outcome['state']}")
    flow = stage.executor.flows[outcome["jobRunId"].partition("/")[0]]
    check(flow.record.state == "TERMINATED_WITH_ERRORS", f"the cluster is {flow.record.state}")
    words = stage.last_error(outcome["jobRunId"])
    check(words.startswith("error: --components 0 is out of range"), f"the job says {words!r}")
    said = submit(stage.aws.endpoint, "logs", outcome["jobRunId"], "--target", "cluster")
    check(said.status == 1, f"the submitter ended with {said.status}:\n{said.text}")
    check(f"failed: {words.removeprefix('error: ')}" in said.text, f"the submitter says {said.text!r}")
    return "a step that fails ends its cluster, and the submitter says why from the step's own log"


def other_archive(rehearsal: Rehearsal) -> str:
    """Put another archive in the place of the one that was deployed."""
    stage = _stage(rehearsal)
    with emptied(stage):
        outcome = stage.run(*rehearsal.options)
    check(outcome["state"] == "FAILED", f"the run is {outcome['state']} with another archive")
    check("bootstrap-actions/1/stderr.gz" in outcome["stateDetails"], f"the service says {outcome['stateDetails']}")
    words = stage.bootstrap_log(outcome["jobRunId"])
    check("is not the archive that was deployed: its SHA-256 is" in words, f"the bootstrap action says {words!r}")
    return "an archive that is another is refused by its SHA-256, and the cluster ends"


def timed_out(rehearsal: Rehearsal) -> str:
    """Give a run less time than it takes."""
    stage = _stage(rehearsal)
    outcome = stage.run(*rehearsal.options, seconds=5)
    check(outcome["state"] == "CANCELLED", f"the run is {outcome['state']}")
    [session] = stage.executor.runs[outcome["jobRunId"]].sessions
    check(not processes_of(session), "processes are left")
    said = submit(stage.aws.endpoint, "logs", outcome["jobRunId"])
    check(said.status == TIMED_OUT, f"the submitter ended with {said.status}:\n{said.text}")
    stage.free()
    return "a step that takes too long is ended with all its processes, and its cluster with it"


def kept_cluster(rehearsal: Rehearsal) -> str:
    """Run twice on a cluster that is kept, and end it."""
    stage = _stage(rehearsal)
    known = set(stage.executor.flows)
    first = rehearsal.submit("--keep-alive")
    check(first.status == 0, f"the submitter ended with {first.status}:\n{first.text}")
    [cluster_id] = set(stage.executor.flows) - known
    second = rehearsal.submit("--cluster", cluster_id)
    check(second.status == 0, f"the submitter ended with {second.status}:\n{second.text}")
    flow = stage.executor.flows[cluster_id]
    check(set(stage.executor.flows) - known == {cluster_id}, "another cluster was started")
    check([step.record.state for step in flow.steps] == ["COMPLETED"] * 2, f"its steps are {flow.steps}")
    stage.aws.client("emr").terminate_job_flows(JobFlowIds=[cluster_id])
    flow.join()
    return "a cluster that is kept takes a second run, by AddJobFlowSteps"
