"""What is asked for: options of the command line and the stack in, the request to send and its bounds out. Pure."""

import re
import shlex
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from job.errors import JobError
from job.options import COMMAND_LINE, Option, options_of
from job.settings import FEATURIZE, REDUCE, Settings
from submit import cost
from submit.request.cluster import add_job_flow_steps, run_job_flow, step
from submit.request.serverless import start_job_run
from submit.request.targets import TIMEOUT_MINUTES, Application, JobSpec, Target, Workers
from submit.stack import Stack

STAGES = (FEATURIZE, REDUCE)
# Options of these stages that a submission has not: the model comes with the stack, the others need a terminal
# beside Spark.
LOCAL_OPTIONS = {"model", "master", "ui", "verbose"}
# Addresses that the stack knows, so that a submission need not name them.
STACK_ADDRESSES = {"images": "the images of the stack", "output": "the results of the stack"}
A_MILLION = 1_000_000
CLUSTER_ID = re.compile(r"j-[A-Z0-9]+")
TOKEN = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class RunRequest:
    """What the command line asks for: the job's own settings, and what only the cloud has; None: as the stack says.

    `cluster`, the ID of one that runs, and `keep_alive` are for clusters alone.
    `work` is what the run is thought to have to do, for the estimate of its cost alone.
    """

    settings: Settings
    cluster: str | None = None
    keep_alive: bool = False
    max_executors: int | None = None
    timeout_minutes: int | None = None
    work: cost.Work = field(default_factory=lambda: cost.Work(A_MILLION))
    client_token: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        """Refuse what cannot be right for any stack."""
        low, high = TIMEOUT_MINUTES
        if self.timeout_minutes is not None and not low <= self.timeout_minutes <= high:
            raise JobError(f"--timeout-minutes {self.timeout_minutes} is out of range; it is {low} to {high:,}")
        if self.max_executors is not None and self.max_executors < 1:
            raise JobError(f"--max-executors {self.max_executors} is out of range; it is at least 1")
        if not TOKEN.fullmatch(self.client_token):
            raise JobError("--client-token may have letters, digits and . _ -, at most 64")
        if self.cluster is not None and not CLUSTER_ID.fullmatch(self.cluster):
            raise JobError(f"--cluster {self.cluster} is no ID of a cluster, such as j-1A2B3C")
        if self.cluster is not None and self.keep_alive:
            raise JobError("--keep-alive is for a new cluster, and --cluster names one that runs: give one of them")

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "RunRequest":
        """Return the request that a parsed command line holds. Raises `JobError` for values that cannot be used."""
        settings = Settings(**{option.name: options[option.name] for option in submission_options()})
        own = {one.name: options[one.name] for one in fields(cls) if one.name not in {"settings", "work"}}
        token = own.pop("client_token")
        # Nothing says how many are new: a million.
        known = [count for count in (options["pictures"], settings.limit) if count is not None]
        work = cost.Work(min(known, default=A_MILLION), options["alpha"], options["input_size"])
        return cls(settings, work=work, **own, **({} if token is None else {"client_token": token}))


@dataclass(frozen=True)
class Plan:
    """What would run: where, of what size, and with which further options of the job."""

    name: str
    target: Target
    job: JobSpec
    workers: Workers
    options: tuple[str, ...]
    client_token: str
    work: cost.Work
    cluster: str | None = None
    keep_alive: bool = False

    @property
    def request(self) -> dict[str, Any]:
        """Return the parameters of `StartJobRun`, `RunJobFlow` or `AddJobFlowSteps`."""
        what = (self.job, self.workers, self.client_token, self.options, self.name)
        if isinstance(self.target, Application):
            return start_job_run(self.target, *what)
        if self.cluster is not None:
            return add_job_flow_steps(self.cluster, step(*what))
        return run_job_flow(self.target, self.job, self.workers, step(*what), keep_alive=self.keep_alive)

    def __str__(self) -> str:
        """Return what to show before money is spent: a line for each thing that counts."""
        job, workers, target = self.job, self.workers, type(self.target)
        bound, most = cost.upper_bound(target, workers, job.timeout_minutes), workers.max_executors
        again = f"; a run that fails is tried {target.attempts - 1} time more" if target.attempts > 1 else ""
        lines = {
            "images": job.images,
            "output": job.results,
            "model": job.model,
            "options": shlex.join(self.options) or "the job's own defaults",
            **self._cluster(),
            "workers": f"{workers.vcpu} vCPUs, {workers.memory_gb} GB memory, {workers.disk_gb} GB disk each",
            "executors": f"1 to {most}, as there is work, beside the driver" if most > 1 else "1, beside the driver",
            "time-out": f"{job.timeout_minutes:,} minutes{again}",
            "estimate": f"{cost.estimate(self.work.pictures, self.work.rate, workers, target)} for {self.work}",
            "at most": f"{bound}: all workers{f' in {target.attempts} attempts' if again else ''} until the time-out",
            "": cost.BASIS
            + (f"; disk beyond {cost.FREE_DISK_GB} GB not counted" if workers.disk_gb > cost.FREE_DISK_GB else ""),
        }
        return "\n".join(f"{name:10} {text}" for name, text in lines.items())

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
    """Return what would run for a request on a stack.

    Raises
    ------
    JobError
        For addresses where the job's role may not go, for more executors than the stack allows, and for what needs
        clusters where the stack has none.
    """
    own, settings = stack.job, request.settings
    if isinstance(stack.target, Application) and (request.cluster or request.keep_alive):
        raise JobError(f"the stack {stack.name} has no clusters: --cluster and --keep-alive are for compute=cluster")
    images = settings.images if settings.images else own.images
    output = settings.output if settings.output else own.results
    _check_below("images", images, own.images, own.results)
    _check_below("output", output, own.results)
    if settings.pca_model is not None:
        _check_below("pca-model", settings.pca_model, own.results, own.images)
    most = stack.workers.max_executors
    count = most if request.max_executors is None else request.max_executors
    if count > most:
        raise JobError(
            f"--max-executors {count} is more than the stack {stack.name} allows, which is {most}:"
            " its setting max_vcpu says how many vCPUs all workers may have together"
        )
    minutes = own.timeout_minutes if request.timeout_minutes is None else request.timeout_minutes
    return Plan(
        name=stack.name,
        target=stack.target,
        job=replace(own, images=images.rstrip("/"), results=output.rstrip("/"), timeout_minutes=minutes),
        workers=replace(stack.workers, max_vcpu=(count + 1) * stack.workers.vcpu),
        options=job_options(settings),
        client_token=request.client_token,
        work=request.work,
        cluster=request.cluster,
        keep_alive=request.keep_alive,
    )


def submission_options() -> tuple[Option, ...]:
    """Return the options of the job that a submission has."""
    return tuple(_with_default(each) for each in options_of(Settings, *STAGES) if each.name not in LOCAL_OPTIONS)


def _with_default(given: Option) -> Option:
    if given.name not in STACK_ADDRESSES:
        return given
    text = f"s3:// address at or below {STACK_ADDRESSES[given.name]}, which is the default"
    return replace(given, required=False, metavar="S3", help=text)


def job_options(settings: Settings) -> tuple[str, ...]:
    """Return the words for `python -m job run` that say where settings differ from their defaults."""
    words: list[str] = []
    for option in submission_options():
        value = getattr(settings, option.name)
        if option.name in STACK_ADDRESSES or value == option.default:
            continue
        words += (
            [COMMAND_LINE.name(option.switch)] if option.type is bool else [COMMAND_LINE.name(option.name), str(value)]
        )
    return tuple(words)


def _check_below(option: str, address: str, *allowed: str) -> None:
    """Refuse an address that is neither one of those allowed nor below one."""
    if not address.startswith("s3://"):
        raise JobError(f"--{option} {address} is not in the cloud: give an s3:// address")
    below = any(f"{address.rstrip('/')}/".startswith(f"{one.rstrip('/')}/") for one in allowed)
    if not below:
        raise JobError(
            f"--{option} {address} is neither {' nor '.join(allowed)} nor below: the job's role may not go elsewhere"
        )
