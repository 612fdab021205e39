"""The contract between the stack and the submitter: target, job and size of workers, as outputs of the stack."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

# Of the outputs: another number is another contract.
VERSION = "2"

# Name and region of a stack that is deployed without them, and where the submitter looks for it.
DEFAULT_NAME = "fruits"
DEFAULT_REGION = "eu-west-3"
# What EMR Serverless allows, at least and at most; a step on a cluster has the same bounds.
TIMEOUT_MINUTES = (5, 1_000_000)

# Sizes of workers of EMR Serverless: vCPUs -> memory in GB, at least, at most, in steps of.
# https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/app-behavior.html#worker-configs
WORKER_MEMORY_GB = {1: (2, 8, 1), 2: (4, 16, 1), 4: (8, 30, 1), 8: (16, 60, 4), 16: (32, 120, 8)}

# Size of a general-purpose EC2 instance by its vCPUs. EMR does not accept smaller ones.
INSTANCE_SIZES = {4: "xlarge", 8: "2xlarge", 16: "4xlarge"}
# YARN gives out at least 3 of an instance's 4 GB a vCPU (12 of 16, 24 of 32, 56 of 64 GB).
# https://docs.aws.amazon.com/emr/latest/ReleaseGuide/emr-hadoop-task-config.html
YARN_GB_A_VCPU = 3

# A failed run is tried once more, from the beginning: committed work is not repeated.
MAX_ATTEMPTS = 2


@dataclass(frozen=True)
class Workers:
    """The size of each worker and of the driver, and the vCPUs of all of them together."""

    vcpu: int
    memory_gb: int
    disk_gb: int
    max_vcpu: int

    @property
    def max_executors(self) -> int:
        """The number of executors that fit beside the driver."""
        return self.max_vcpu // self.vcpu - 1


@dataclass(frozen=True)
class JobSpec:
    """What a run executes, reads and writes, on either target.

    Attributes
    ----------
    job_role : str
        ARN of the role that a run assumes.
    entry_point, job_zip, dependencies, model : str
        `s3://` addresses of entry.py, job.zip, the dependency archive (.tgz) and the model folder (.zip).
    images, results, logs : str
        `s3://` addresses of the images, the results and the logs.
    region : str
        AWS region.
    timeout_minutes : int
        Time after which the service ends a run.
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
    """EMR Serverless as the target of runs."""

    compute: ClassVar[str] = "serverless"
    attempts: ClassVar[int] = MAX_ATTEMPTS

    application_id: str


@dataclass(frozen=True)
class Cluster:
    """EMR on EC2 as the target of runs: everything that a cluster is started with.

    Attributes
    ----------
    release : str
        EMR release.
    instance_types, subnets : str
        Instance types that a node may have, and subnets that it may be in, separated by commas.
    service_role, instance_profile, security_configuration : str
        Names of the role of EMR itself, of the profile of each node, and of the configuration of encryption.
    node_group, service_group : str
        Security groups of the nodes, and of EMR's access to them.
    installer, dependencies_sha256 : str
        `s3://` address of the bootstrap action, and the hexadecimal SHA-256 of the archive that it installs.
    idle_minutes : int
        Idle time after which a cluster that is kept terminates.
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
TARGETS: dict[str, type[Application] | type[Cluster]] = {kind.compute: kind for kind in (Application, Cluster)}


def outputs(target: Target, job: JobSpec, workers: Workers) -> dict[str, str]:
    """Return the outputs of the stack for the submitter: their names, and their values as text."""
    values: dict[str, Any] = {"version": VERSION, "target": target.compute}
    for part in (target, job, workers):
        values |= {field.name: getattr(part, field.name) for field in fields(part)}
    return {_output(name): str(value) for name, value in values.items()}


def read_outputs(given: Mapping[str, str]) -> tuple[Target, JobSpec, Workers]:
    """Return target, job and workers from outputs of a stack. Raises `KeyError` for an output that is missing."""

    def read(kind: Any) -> Any:
        texts = {field: given[_output(field.name)] for field in fields(kind)}
        return kind(**{field.name: int(text) if field.type is int else text for field, text in texts.items()})

    return read(TARGETS[given["Target"]]), read(JobSpec), read(Workers)


def _output(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))
