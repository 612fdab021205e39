"""What the stack can be told: CDK context in, one frozen dataclass out, or a sentence that says what is wrong."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from zoneinfo import available_timezones

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
# General-purpose EC2 instances, with 4 GB a vCPU and no disks of their own, so that one key encrypts all there are.
FAMILIES = {"x86_64": "m5,m5a,m6i,m6a", "arm64": "m6g,m7g"}
# What CloudWatch Logs can keep logs for, in days.
LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
YES, NO = ("yes", "true"), ("no", "false")
# An alarm looks back a day at most, in steps of five minutes.
ALARM_STEP_MINUTES = 5
ALARM_MINUTES_MOST = 24 * 60


class SettingsError(Exception):
    """A setting that cannot be used: one line that says which, and what is allowed."""


def _setting(default: Any, text: str, pattern: str = "", **more: Any) -> Any:
    """Return a field with what the README tells of it, and what its value must look like."""
    return field(default=default, metadata={"help": text, "pattern": pattern, **more})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of the stack, each given as `-c name=value` or in the `context` of cdk.json."""

    name: str = _setting(
        DEFAULT_NAME,
        "name of the stack; stacks of other names live beside it",
        r"[A-Za-z][A-Za-z0-9-]{0,62}",
        allowed="letters, digits and hyphens, beginning with a letter, at most 63",
    )
    region: str = _setting(DEFAULT_REGION, "AWS region; the data stay there", allowed="a region with EMR Serverless")
    compute: str = _setting(
        next(iter(TARGETS)),
        "where runs take place: serverless, or cluster for EMR on EC2, which comes with a KMS key for its disks",
        choices=tuple(TARGETS),
    )
    release: str = _setting(
        "emr-spark-8.1.0",
        "EMR release; the job needs Spark 4",
        r"emr-spark-8\.\d+\.\d+",
        allowed="emr-spark-8.x.y: the job needs Spark 4",
    )
    architecture: str = _setting("x86_64", "processors of the workers", choices=ARCHITECTURES)
    max_vcpu: int = _setting(
        16,
        "vCPUs of all workers together, the bound on what an hour costs; a new account's quota is 16",
        low=2,
        high=4000,
    )
    worker_vcpu: int = _setting(4, "vCPUs of each worker, the driver's included", choices=tuple(WORKER_MEMORY_GB))
    worker_memory_gb: int = _setting(8, "memory of each worker in GB", low=2, high=120)
    worker_disk_gb: int = _setting(20, "disk of each worker in GB; 20 are free on EMR Serverless", low=20, high=200)
    instance_families: str = _setting(
        "",
        "general-purpose families of a cluster's instances, separated by commas;"
        f" without it {FAMILIES['x86_64']}, or {FAMILIES['arm64']} for arm64",
        r"m\d{1,2}[agi]?(,m\d{1,2}[agi]?){0,4}",
        allowed="one to five general-purpose families without disks of their own, such as m5,m6i",
    )
    idle_minutes: int = _setting(
        5, "minutes without a run after which the application stops, or a cluster that is kept ends", low=1, high=10080
    )
    timeout_minutes: int = _setting(
        720, "minutes after which the service ends a run", low=TIMEOUT_MINUTES[0], high=TIMEOUT_MINUTES[1]
    )
    alarm_minutes: int = _setting(
        180, "minutes of running without a pause that raise the alarm", low=ALARM_STEP_MINUTES, high=ALARM_MINUTES_MOST
    )
    images_bucket: str = _setting(
        "",
        "existing bucket of pictures, which the job may only read; without it the stack makes one",
        r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
        allowed="the name of a bucket, without s3://",
    )
    images_prefix: str = _setting(
        "",
        "prefix of the pictures in their bucket; the job may read nothing else there",
        # Wildcards and policy variables would widen what the job may read; spaces cannot be explained to cdk-nag 3.
        r"[^/*?$\s][^*?$\s]*",
        allowed="a prefix such as archive/2026, without * ? $ or spaces and not beginning with /",
    )
    images_key: str = _setting(
        "",
        "ARN of the KMS key of an existing bucket of pictures, where it has one",
        r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[0-9a-zA-Z-]+",
        allowed="the ARN of a KMS key",
    )
    kms: bool = _setting(False, "encrypt with a KMS key of the stack's own instead of S3's (1 key)")
    keep_data: bool = _setting(
        True, "keep the buckets when the stack is destroyed; no: delete them once they are empty"
    )
    log_days: int = _setting(30, "days for which logs are kept", choices=LOG_DAYS)
    version_days: int = _setting(30, "days for which deleted and overwritten objects can be had back", low=1, high=3650)
    vpc: str = _setting(
        "",
        "existing VPC for the workers; without it the service's own, for a cluster a private one of the stack's",
        r"vpc-[0-9a-f]{8,17}",
    )
    subnets: str = _setting(
        "", "private subnets of that VPC, separated by commas", r"subnet-[0-9a-f]{8,17}(,subnet-[0-9a-f]{8,17}){0,15}"
    )
    schedule: str = _setting(
        "", "time of a daily run as HH:MM; without it none", r"([01]\d|2[0-3]):[0-5]\d", allowed="a time such as 03:30"
    )
    timezone: str = _setting("UTC", "time zone of the schedule", allowed="a name such as Europe/Paris")
    budget: int = _setting(
        100, "USD a month for the whole account that raise an alert; 0: no budget", low=0, high=1_000_000
    )
    alert: str = _setting(
        "", "e-mail address for alerts; without it the topic has no subscriber", r"[^@\s]+@[^@\s]+\.[^@\s]+"
    )

    def __post_init__(self) -> None:
        """Refuse values that are unknown, out of range, or that contradict each other."""
        for option in fields(self):
            _check(option.name, getattr(self, option.name), option.metadata)
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
        """Return the size of the workers, and how much they may be together."""
        return Workers(self.worker_vcpu, self.worker_memory_gb, self.worker_disk_gb, self.max_vcpu)

    @property
    def instance_types(self) -> str:
        """Return what each node of a cluster may be, separated by commas."""
        families = self.instance_families or FAMILIES[self.architecture]
        return ",".join(f"{family}.{INSTANCE_SIZES[self.worker_vcpu]}" for family in families.split(","))

    @property
    def has_key(self) -> bool:
        """Return whether the stack has a KMS key: the disks of a cluster are encrypted with one or not at all."""
        return self.kms or self.compute == Cluster.compute

    @property
    def images_folder(self) -> str:
        """Return the prefix of the pictures without a slash at its end, empty for the whole bucket."""
        return self.images_prefix.rstrip("/")

    @property
    def subnet_ids(self) -> list[str]:
        """Return the subnets, none where there is no VPC."""
        return [subnet for subnet in self.subnets.split(",") if subnet]

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> "Settings":
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
        known = {option.name: option for option in fields(cls)}
        given = {name: value for name, value in context.items() if re.fullmatch(r"\w[\w.-]*", name)}
        for name in given:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                hint = f"is {close[0]} meant?" if close else f"the settings are {', '.join(known)}"
                raise SettingsError(f"{name} is no setting of this stack; {hint}")
        return cls(**{name: _parse(name, value, known[name].type) for name, value in given.items()})


def _parse(name: str, value: object, kind: object) -> Any:
    """Return a value of the context, text from the command line, as what the setting is."""
    text = str(value).strip()
    if kind is bool:
        if text.lower() not in YES + NO:
            raise SettingsError(f"{name}={text} is neither yes nor no")
        return text.lower() in YES
    if kind is int:
        if not re.fullmatch(r"\d{1,9}", text):
            raise SettingsError(f"{name}={text} is no whole number")
        return int(text)
    return text


def _check(name: str, value: Any, rules: Mapping[str, Any]) -> None:
    if "choices" in rules and value not in rules["choices"]:
        raise SettingsError(f"{name}={value} is unknown; it is one of {', '.join(map(str, rules['choices']))}")
    if isinstance(value, str):
        optional = value == ""
        pattern = rules["pattern"]
        if optional and name in {"name", "region", "release", "timezone"}:
            raise SettingsError(f"{name} is empty; it is {rules['allowed']}")
        if pattern and not optional and not re.fullmatch(pattern, value):
            raise SettingsError(f"{name}={value} cannot be used; it is {rules.get('allowed', f'like {pattern}')}")
    if "low" in rules and not rules["low"] <= value <= rules["high"]:
        raise SettingsError(f"{name}={value} is out of range; it is {rules['low']:,} to {rules['high']:,}")
