"""A run that somebody asks for: a parsed command line in, the settings of the job and the options of the cloud out."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from job.errors import JobError
from job.options import COMMAND_LINE, Option, options_of
from job.settings import FEATURIZE, REDUCE, Settings
from submit import cost
from submit.request.targets import TIMEOUT_MINUTES

# What a run in the cloud does.
STAGES = (FEATURIZE, REDUCE)
# Options of these stages that a submission has not: the model comes with the stack, the others need a terminal beside
# Spark.
LOCAL_OPTIONS = {"model", "master", "ui", "verbose"}
# Addresses that the stack knows, so that a submission need not name them.
STACK_ADDRESSES = {"images": "the images of the stack", "output": "the results of the stack"}
A_MILLION = 1_000_000
CLUSTER_ID = re.compile(r"j-[A-Z0-9]+")
TOKEN = re.compile(r"[A-Za-z0-9._-]{1,64}")


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
        if option.type is bool:
            words.append(COMMAND_LINE.name(option.flag(value=value)))
        else:
            words += [COMMAND_LINE.name(option.name), str(value)]
    return tuple(words)


@dataclass(frozen=True)
class RunRequest:
    """A run that the command line asks for: settings of the job, and options of the cloud.

    Attributes
    ----------
    settings : Settings
        Those of the job; an empty address stands for that of the stack.
    cluster : str or None
        ID of a running cluster to use; only for stacks with clusters, as is `keep_alive`.
    keep_alive : bool
        Whether to keep the new cluster for more runs.
    max_executors, timeout_minutes : int or None
        None for those of the stack.
    work : Work
        The expected work, for the estimate of the cost alone.
    client_token : str
        The service starts one run for each token.
    """

    settings: Settings
    cluster: str | None = None
    keep_alive: bool = False
    max_executors: int | None = None
    timeout_minutes: int | None = None
    work: cost.Work = field(default_factory=lambda: cost.Work(A_MILLION))
    client_token: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        """Refuse what no stack can run."""
        low, high = TIMEOUT_MINUTES
        if self.timeout_minutes is not None and not low <= self.timeout_minutes <= high:
            raise JobError(f"--timeout-minutes {self.timeout_minutes} is out of range; it is {low} to {high:,}")
        if self.max_executors is not None and self.max_executors < 1:
            raise JobError(f"--max-executors {self.max_executors} is out of range; it is at least 1")
        if not TOKEN.fullmatch(self.client_token):
            raise JobError("--client-token may have letters, digits and . _ -, at most 64 of them")
        if self.cluster is not None and not CLUSTER_ID.fullmatch(self.cluster):
            raise JobError(f"--cluster {self.cluster} is no ID of a cluster, such as j-1A2B3C")
        if self.cluster is not None and self.keep_alive:
            raise JobError("--keep-alive is for a new cluster, and --cluster names one that runs: give one of them")

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "RunRequest":
        """Return the request of a parsed command line. Raises `JobError` for values that cannot be used."""
        settings = Settings(**{option.name: options[option.name] for option in submission_options()})
        cloud = {name: options[name] for name in ("cluster", "keep_alive", "max_executors", "timeout_minutes")}
        if options["client_token"] is not None:
            cloud["client_token"] = options["client_token"]
        # Without a number of new images, the estimate is for a million.
        counts = [count for count in (options["new_images"], settings.limit) if count is not None]
        work = cost.Work(min(counts, default=A_MILLION), options["alpha"], options["input_size"])
        return cls(settings, work=work, **cloud)
