"""Where runs take place, of what size, on what: what the stack tells the submitter in its outputs."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

# Of what the stack tells the submitter in its outputs: another number is another contract.
VERSION = "2"

# Of a stack that is told neither; where submit looks that is told neither.
DEFAULT_NAME = "fruits"
DEFAULT_REGION = "eu-west-3"
# What EMR Serverless allows, from and to; a step on a cluster is bounded the same way.
TIMEOUT_MINUTES = (5, 1_000_000)

# What EMR Serverless has: vCPUs of a worker -> its memory in GB from, to, in steps of.
# https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/app-behavior.html#worker-configs
WORKER_MEMORY_GB = {1: (2, 8, 1), 2: (4, 16, 1), 4: (8, 30, 1), 8: (16, 60, 4), 16: (32, 120, 8)}

# What a general-purpose EC2 instance is called after its family: vCPUs -> size. Smaller ones EMR does not take.
INSTANCE_SIZES = {4: "xlarge", 8: "2xlarge", 16: "4xlarge"}
# Of an instance's 4 GB a vCPU YARN gives out 3 at least (12 of 16, 24 of 32, 56 of 64 GB).
# https://docs.aws.amazon.com/emr/latest/ReleaseGuide/emr-hadoop-task-config.html
YARN_GB_A_VCPU = 3

# A run that fails is tried once more, from the beginning: what was committed is not done again.
MAX_ATTEMPTS = 2


@dataclass(frozen=True)
class Workers:
    """The size of a worker, the driver's included, and how much all may be together."""

    vcpu: int
    memory_gb: int
    disk_gb: int
    max_vcpu: int

    @property
    def max_executors(self) -> int:
        """Return how many executors there may be beside the driver."""
        return self.max_vcpu // self.vcpu - 1


@dataclass(frozen=True)
class JobSpec:
    """What runs, on what: what the stack gives as outputs, wherever the run takes place.

    Attributes
    ----------
    job_role : str
        ARN of the role that a run takes on.
    entry_point, job_zip, dependencies, model : str
        `s3://` addresses of entry.py, job.zip, the dependency archive (.tgz) and the model folder (.zip).
    images, results, logs : str
        `s3://` addresses of the pictures, of all that is written, and of the logs.
    region : str
        AWS region.
    timeout_minutes : int
        When a run is ended that takes too long.
    """

    job_role: str
    entry_point: str
    job_zip: str
    dependencies: str
    model: str
    images: str
    results: str
    logs: str
    region: str
    timeout_minutes: int


@dataclass(frozen=True)
class Application:
    """Where runs take place on EMR Serverless."""

    compute: ClassVar[str] = "serverless"
    attempts: ClassVar[int] = MAX_ATTEMPTS

    application_id: str


@dataclass(frozen=True)
class Cluster:
    """Where runs take place on EMR on EC2: all that a cluster is started with.

    Attributes
    ----------
    release : str
        EMR release.
    instance_types, subnets : str
        Of which each node may be, and where; separated by commas.
    service_role, instance_profile, security_configuration : str
        Names of what EMR itself, and each node, acts as, and of how disks and connections are encrypted.
    node_group, service_group : str
        Security groups of the nodes, and of EMR's own way to them.
    installer, dependencies_sha256 : str
        `s3://` address of the bootstrap action, and the hexadecimal SHA-256 of the archive that it installs.
    idle_minutes : int
        After so long without a step a cluster that is kept ends.
    """

    compute: ClassVar[str] = "cluster"
    # A step is not tried again.
    attempts: ClassVar[int] = 1

    release: str
    instance_types: str
    subnets: str
    service_role: str
    instance_profile: str
    security_configuration: str
    node_group: str
    service_group: str
    installer: str
    dependencies_sha256: str
    idle_minutes: int


Target = Application | Cluster
TARGETS: dict[str, type[Application] | type[Cluster]] = {one.compute: one for one in (Application, Cluster)}


def outputs(target: Target, job: JobSpec, workers: Workers) -> dict[str, str]:
    """Return what the stack tells the submitter: names of outputs, and their values as text."""
    told: dict[str, Any] = {"version": VERSION, "target": target.compute}
    for part in (target, job, workers):
        told |= {option.name: getattr(part, option.name) for option in fields(part)}
    return {_output(name): str(value) for name, value in told.items()}


def read_outputs(told: Mapping[str, str]) -> tuple[Target, JobSpec, Workers]:
    """Return what `outputs` was given, from what it returned. Raises `KeyError` for a name that is not there."""

    def read(kind: Any) -> Any:
        values = {option.name: told[_output(option.name)] for option in fields(kind)}
        return kind(
            **{one.name: int(values[one.name]) if one.type is int else values[one.name] for one in fields(kind)}
        )

    return read(TARGETS[told["Target"]]), read(JobSpec), read(Workers)


def _output(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))
