"""The settings of the stack: CDK context in, one frozen dataclass out, or an error that says what is wrong."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import available_timezones

from job.errors import JobError
from job.options import STACK_SETTING, Option, check, option, options_of
from submit.request.targets import (
    DEFAULT_NAME,
    DEFAULT_REGION,
    INSTANCE_SIZES,
    TARGETS,
    TIMEOUT_MINUTES,
    WORKER_MEMORY_GB,
    YARN_GB_A_VCPU,
    Cluster,
    Workers,
)

ARCHITECTURES = ("x86_64", "arm64")
# General-purpose EC2 instances: 4 GB a vCPU and no disks of their own, so that one key encrypts every disk.
FAMILIES = {"x86_64": "m5,m5a,m6i,m6a", "arm64": "m6g,m7g"}
# How many days CloudWatch Logs can keep logs.
LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
YES, NO = ("yes", "true"), ("no", "false")
# An alarm looks back a day at most, in steps of five minutes.
ALARM_STEP_MINUTES = 5
ALARM_MINUTES_MOST = 24 * 60


class SettingsError(JobError):
    """A setting that cannot be used: one line that names it and says what is allowed."""


@dataclass(frozen=True, kw_only=True)
class StackSettings:
    """The settings of the stack, each given as `-c name=value` or in the `context` of cdk.json."""

    name: str = option(
        DEFAULT_NAME,
        "name of the stack; stacks with other names can exist beside it",
        pattern=r"[A-Za-z][A-Za-z0-9-]{0,62}",
        allowed="letters, digits and hyphens, beginning with a letter, at most 63",
        nonempty=True,
    )
    region: str = option(
        DEFAULT_REGION,
        "AWS region of the stack and of all its data",
        allowed="a region with EMR Serverless",
        nonempty=True,
    )
    compute: str = option(
        next(iter(TARGETS)),
        "where runs take place: serverless for EMR Serverless, cluster for EMR on EC2, which adds a KMS key for the"
        " disks",
        choices=tuple(TARGETS),
    )
    release: str = option(
        "emr-spark-8.1.0",
        "EMR release; the job needs Spark 4",
        pattern=r"emr-spark-8\.\d+\.\d+",
        allowed="emr-spark-8.x.y: the job needs Spark 4",
        nonempty=True,
    )
    architecture: str = option("x86_64", "processor architecture of the workers", choices=ARCHITECTURES)
    max_vcpu: int = option(
        16,
        "vCPUs of all workers together, which bounds the cost of an hour; the quota of a new account is 16",
        unit="vCPUs",
        low=2,
        high=4000,
    )
    worker_vcpu: int = option(
        4, "vCPUs of each worker and of the driver", unit="vCPUs", choices=tuple(WORKER_MEMORY_GB)
    )
    worker_memory_gb: int = option(8, "memory of each worker and of the driver", unit="GB", low=2, high=120)
    worker_disk_gb: int = option(
        20,
        "disk of each worker and of the driver; EMR Serverless charges nothing for the first 20 GB",
        unit="GB",
        low=20,
        high=200,
    )
    instance_families: str = option(
        "",
        "general-purpose instance families for the nodes of a cluster, separated by commas; without it"
        f" {FAMILIES['x86_64']}, or {FAMILIES['arm64']} for arm64",
        pattern=r"m\d{1,2}[agi]?(,m\d{1,2}[agi]?){0,4}",
        allowed="one to five general-purpose families without disks of their own, such as m5,m6i",
    )
    idle_minutes: int = option(
        5,
        "idle time after which the application stops, or a cluster that is kept terminates",
        unit="minutes",
        low=1,
        high=10080,
    )
    timeout_minutes: int = option(
        720,
        "time after which the service ends a run",
        unit="minutes",
        low=TIMEOUT_MINUTES[0],
        high=TIMEOUT_MINUTES[1],
    )
    alarm_minutes: int = option(
        180,
        "time that runs may take without a pause before the alarm is raised, a multiple of 5; EMR Serverless only",
        unit="minutes",
        low=ALARM_STEP_MINUTES,
        high=ALARM_MINUTES_MOST,
    )
    images_bucket: str = option(
        "",
        "existing bucket with the images, which the job can only read; without it the stack makes one",
        pattern=r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
        allowed="the name of a bucket, without s3://",
    )
    images_prefix: str = option(
        "",
        "prefix of the images in their bucket; the job can read nothing else there",
        # Wildcards and policy variables would widen what the job may read; cdk-nag 3 cannot acknowledge spaces.
        pattern=r"[^/*?$\s][^*?$\s]*",
        allowed="a prefix such as archive/2026, without * ? $ or spaces and not beginning with /",
    )
    images_key: str = option(
        "",
        "ARN of the KMS key that encrypts an existing bucket of images, if it has one",
        pattern=r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[0-9a-zA-Z-]+",
        allowed="the ARN of a KMS key",
    )
    kms: bool = option(False, "encrypt with a KMS key that the stack makes, instead of the keys of S3")
    keep_data: bool = option(
        True, "keep the buckets when you destroy the stack; with no, CloudFormation deletes those that are empty"
    )
    log_days: int = option(30, "days to keep logs", unit="days", choices=LOG_DAYS)
    version_days: int = option(
        30, "days to keep deleted and overwritten objects, so that you can restore them", unit="days", low=1, high=3650
    )
    vpc: str = option(
        "",
        "existing VPC for the workers; without it they run in the service's network, and a cluster in a private VPC"
        " that the stack makes",
        pattern=r"vpc-[0-9a-f]{8,17}",
        allowed="the ID of a VPC, such as vpc-0a1b2c3d",
    )
    subnets: str = option(
        "",
        "private subnets of that VPC, separated by commas",
        pattern=r"subnet-[0-9a-f]{8,17}(,subnet-[0-9a-f]{8,17}){0,15}",
        allowed="one to 16 IDs of subnets, such as subnet-0a1b2c3d",
    )
    schedule: str = option(
        "",
        "time of a daily run as HH:MM; without it no run starts by itself",
        pattern=r"([01]\d|2[0-3]):[0-5]\d",
        allowed="a time such as 03:30",
    )
    timezone: str = option("UTC", "time zone of the schedule", allowed="a name such as Europe/Paris", nonempty=True)
    budget: int = option(
        100,
        "monthly spending of the whole account that raises an alert; 0 for no budget",
        unit="USD",
        low=0,
        high=1_000_000,
    )
    alert: str = option(
        "",
        "e-mail address for alerts; without it nobody is subscribed to the topic",
        pattern=r"[^@\s]+@[^@\s]+\.[^@\s]+",
        allowed="an e-mail address",
    )

    def __post_init__(self) -> None:
        """Refuse values that are unknown, out of range, or that contradict each other."""
        check(self, STACK_SETTING, SettingsError)
        self._check_region()
        if self.timezone not in available_timezones():
            raise SettingsError(f"timezone={self.timezone} is unknown; it is a name such as Europe/Paris")
        low, high, step = WORKER_MEMORY_GB[self.worker_vcpu]
        if not low <= self.worker_memory_gb <= high or (self.worker_memory_gb - low) % step:
            raise SettingsError(
                f"worker_memory_gb={self.worker_memory_gb} does not go with worker_vcpu={self.worker_vcpu}:"
                f" EMR Serverless has {low} to {high} GB in steps of {step}"
            )
        if self.max_vcpu < 2 * self.worker_vcpu:
            raise SettingsError(
                f"max_vcpu={self.max_vcpu} leaves no room for a driver and one executor of"
                f" worker_vcpu={self.worker_vcpu}: at least {2 * self.worker_vcpu}"
            )
        self._check_cluster()
        if self.alarm_minutes % ALARM_STEP_MINUTES:
            raise SettingsError(f"alarm_minutes={self.alarm_minutes} is no multiple of {ALARM_STEP_MINUTES}")
        if bool(self.vpc) != bool(self.subnets):
            raise SettingsError("vpc and subnets go together: give both or neither")
        if self.images_key and not self.images_bucket:
            raise SettingsError("images_key goes with images_bucket; for a bucket of the stack's own it is kms=yes")

    def _check_cluster(self) -> None:
        if self.compute != Cluster.compute:
            if self.instance_families:
                raise SettingsError("instance_families goes with compute=cluster: EMR Serverless has no instances")
            return
        if self.worker_vcpu not in INSTANCE_SIZES:
            raise SettingsError(
                f"worker_vcpu={self.worker_vcpu} is no size of a cluster's instances; it is one of"
                f" {', '.join(map(str, INSTANCE_SIZES))}"
            )
        if self.worker_memory_gb > YARN_GB_A_VCPU * self.worker_vcpu:
            raise SettingsError(
                f"worker_memory_gb={self.worker_memory_gb} is more than YARN gives out on an instance of"
                f" worker_vcpu={self.worker_vcpu}: at most {YARN_GB_A_VCPU * self.worker_vcpu}"
            )
        for family in filter(None, self.instance_families.split(",")):
            if family.endswith("g") != (self.architecture == "arm64"):
                raise SettingsError(f"instance_families={family} is not for architecture={self.architecture}")

    def _check_region(self) -> None:
        import boto3  # noqa: PLC0415 - a third of a second

        session = boto3.session.Session()
        known = sorted(
            region
            for partition in session.get_available_partitions()
            for region in session.get_available_regions("emr-serverless", partition)
        )
        if self.region not in known:
            raise SettingsError(
                f"region={self.region} is unknown, or has no EMR Serverless that boto3 knows of; it is one of"
                f" {', '.join(known)}"
            )

    @property
    def workers(self) -> Workers:
        """Return the size of the workers, and their vCPUs in all."""
        return Workers(self.worker_vcpu, self.worker_memory_gb, self.worker_disk_gb, self.max_vcpu)

    @property
    def instance_types(self) -> str:
        """Return the instance types of a cluster's nodes, separated by commas."""
        families = self.instance_families or FAMILIES[self.architecture]
        return ",".join(f"{family}.{INSTANCE_SIZES[self.worker_vcpu]}" for family in families.split(","))

    @property
    def images_folder(self) -> str:
        """Return the prefix of the images without a slash at its end, empty for the whole bucket."""
        return self.images_prefix.rstrip("/")

    @property
    def subnet_ids(self) -> list[str]:
        """Return the subnets; none where there is no VPC."""
        return [subnet for subnet in self.subnets.split(",") if subnet]

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> "StackSettings":
        """Return the settings that a CDK context gives.

        Parameters
        ----------
        context : mapping
            All of the app's context. Names with a `:`, `/` or `@` are CDK's own and left alone.

        Raises
        ------
        SettingsError
            For names that are no setting, and for values that cannot be used.
        """
        known = {each.name: each for each in options_of(cls)}
        given = {name: value for name, value in context.items() if re.fullmatch(r"\w[\w.-]*", name)}
        for name in given:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                hint = f"is {close[0]} meant?" if close else f"the settings are {', '.join(known)}"
                raise SettingsError(f"{name} is no setting of this stack; {hint}")
        return cls(**{name: _parse(known[name], value) for name, value in given.items()})


def _parse(given: Option, value: object) -> Any:
    """Return a value of the context, which is text from the command line, with the type of its setting."""
    text = str(value).strip()
    if given.type is bool:
        if text.lower() not in YES + NO:
            raise SettingsError(f"{given.name}={text} is neither yes nor no")
        return text.lower() in YES
    if given.type is int:
        if not re.fullmatch(r"\d{1,9}", text):
            raise SettingsError(f"{given.name}={text} is no whole number")
        return int(text)
    return text
