"""Plans: a stack and a requested run in; what to send to EMR, its estimated cost and its bounds out. Pure."""

import shlex
from dataclasses import dataclass, replace
from typing import Any

from job.errors import JobError
from submit import cost
from submit.request.cluster import add_job_flow_steps, run_job_flow, step
from submit.request.serverless import start_job_run
from submit.request.targets import Application, JobSpec, Target, Workers
from submit.run_request import RunRequest, job_options
from submit.stack import Stack


@dataclass(frozen=True)
class Plan:
    """A run before it starts: its target, job and workers, and the options of the job that are not defaults.

    `assumed` is what the estimate of its cost takes for granted.
    """

    name: str
    target: Target
    job: JobSpec
    workers: Workers
    options: tuple[str, ...]
    client_token: str
    work: cost.Work
    cluster: str | None = None
    keep_alive: bool = False
    assumed: cost.Assumptions = cost.MEASURED

    @property
    def request(self) -> dict[str, Any]:
        """Return the parameters of `StartJobRun`, `RunJobFlow` or `AddJobFlowSteps`."""
        run = (self.job, self.workers, self.client_token, self.options, self.name)
        if isinstance(self.target, Application):
            return start_job_run(self.target, *run)
        if self.cluster is not None:
            return add_job_flow_steps(self.cluster, step(*run))
        return run_job_flow(self.target, self.job, self.workers, step(*run), keep_alive=self.keep_alive)

    def __str__(self) -> str:
        """Return the lines to show before the run costs anything."""
        job, workers, executors = self.job, self.workers, self.workers.max_executors
        retried = self.target.attempts > 1
        lines = {
            "images": job.images,
            "output": job.results,
            "model": job.model,
            "options": shlex.join(self.options) or "the defaults of the job",
            **self._cluster(),
            "workers": f"{workers.vcpu} vCPUs, {workers.memory_gb} GB memory, {workers.disk_gb} GB disk each",
            "executors": f"1 to {executors}, as needed, and the driver" if executors > 1 else "1, and the driver",
            "time-out": f"{job.timeout_minutes:,} minutes{'; a failed run is tried once more' if retried else ''}",
            **self._cost(),
        }
        return "\n".join(f"{name:10} {text}" for name, text in lines.items())

    def _cost(self) -> dict[str, str]:
        """Return the lines on the cost."""
        workers, target, assumed = self.workers, type(self.target), self.assumed
        estimate = cost.estimate(self.work.images, assumed.rate(self.work), workers, target, assumed)
        bound = cost.upper_bound(target, workers, self.job.timeout_minutes, assumed)
        attempts = f" of {target.attempts} attempts" if target.attempts > 1 else ""
        disk = f"; disk beyond {cost.FREE_DISK_GB} GB not counted" if workers.disk_gb > cost.FREE_DISK_GB else ""
        return {
            "estimate": f"{estimate} for {self.work}",
            "at most": f"{bound}: all workers until the time-out{attempts}",
            "": f"{cost.BASIS}{disk}",
        }

    def _cluster(self) -> dict[str, str]:
        """Return a line on the cluster, where there is one."""
        if isinstance(self.target, Application):
            return {}
        if self.cluster is not None:
            return {"cluster": f"{self.cluster}, with the nodes that it has"}
        kept = f"kept until it was idle for {self.target.idle_minutes:,} minutes"
        end = kept if self.keep_alive else "which ends with the run"
        return {"cluster": f"a new one of {self.target.instance_types.replace(',', ' or ')}, {end}"}


def plan(stack: Stack, request: RunRequest) -> Plan:
    """Return the run that a request makes on a stack.

    Raises
    ------
    JobError
        For addresses that the job's role cannot reach, for more executors than the stack allows, and for options of
        clusters where the stack has none.
    """
    default, settings = stack.job, request.settings
    if isinstance(stack.target, Application) and (request.cluster or request.keep_alive):
        raise JobError(f"the stack {stack.name} has no clusters: --cluster and --keep-alive are for compute=cluster")
    images = settings.images if settings.images else default.images
    output = settings.output if settings.output else default.results
    _check_below("images", images, default.images, default.results)
    _check_below("output", output, default.results)
    if settings.pca_model is not None:
        _check_below("pca-model", settings.pca_model, default.results, default.images)
    limit = stack.workers.max_executors
    executors = limit if request.max_executors is None else request.max_executors
    if executors > limit:
        raise JobError(
            f"--max-executors {executors} is more than the stack {stack.name} allows, which is {limit}:"
            " its setting max_vcpu limits the vCPUs of all workers together"
        )
    minutes = default.timeout_minutes if request.timeout_minutes is None else request.timeout_minutes
    return Plan(
        name=stack.name,
        target=stack.target,
        job=replace(default, images=images.rstrip("/"), results=output.rstrip("/"), timeout_minutes=minutes),
        workers=replace(stack.workers, max_vcpu=(executors + 1) * stack.workers.vcpu),
        options=job_options(settings),
        client_token=request.client_token,
        work=request.work,
        cluster=request.cluster,
        keep_alive=request.keep_alive,
    )


def _check_below(option: str, address: str, *allowed: str) -> None:
    """Refuse an address that is neither one of those allowed nor below one."""
    if not address.startswith("s3://"):
        raise JobError(f"--{option} {address} is not in the cloud: give an s3:// address")
    below = any(f"{address.rstrip('/')}/".startswith(f"{root.rstrip('/')}/") for root in allowed)
    if not below:
        raise JobError(
            f"--{option} {address} is neither {' nor '.join(allowed)} nor below: the job's role cannot reach it"
        )
