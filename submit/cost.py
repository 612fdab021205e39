"""The cost of runs: hours of workers or nodes, or images still to come, in; US dollars out. Pure functions.

The prices of EMR Serverless are those that AWS uses for its own benchmarks, for x86_64 in us-west-2, read on
2026-11-25: https://github.com/aws/aws-emr-best-practices/blob/main/website/docs/benchmarks/benchmarking_variables.md
The prices of EMR on EC2 are those of an m5.xlarge there, 0.192 USD an hour and 0.048 USD for EMR, divided by its 4
vCPUs: https://aws.amazon.com/emr/pricing/. Spot prices change by the hour; a share of the on-demand price is assumed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from job.errors import JobError
from submit.request.targets import Application, Cluster, Target, Workers

VCPU_HOUR_USD = 0.052624
GB_HOUR_USD = 0.0057785
EC2_VCPU_HOUR_USD = 0.192 / 4
EMR_VCPU_HOUR_USD = 0.048 / 4
# Not measured: the price of a spot instance as a share of on-demand; the price of EMR itself comes in full.
SPOT_SHARE = 0.4
BASIS = "by the prices of us-west-2 for x86_64 of 2026-11-25; other regions and arm64 differ"
# EMR Serverless charges nothing for this much disk a worker; disk beyond it is not counted here.
FREE_DISK_GB = 20

DEFAULT_ALPHA = 1.0
DEFAULT_INPUT_SIZE = 224
# The workers of a stack with default settings.
DEFAULT_WORKERS = Workers(vcpu=4, memory_gb=8, disk_gb=20, max_vcpu=16)


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What an estimate takes for granted.

    Attributes
    ----------
    rates : mapping
        Images of 100 x 100 pixels a second that one core decodes and infers while the others are idle, by alpha and
        input size in pixels. Measured on 2 cores of an AMD EPYC (Zen 2, a virtual machine), 360 images of the sample,
        by python -m benchmarks.tradeoff --images build/sample --weights random
    busy_share : float
        Share of that rate where all cores are busy: the bare ceiling of benchmarks.features against twice the rate.
    overhead_seconds : mapping
        Further seconds of a core for each image, whatever the network, by what takes them: the features stage and the
        reduction of python -m benchmarks.features, 10,000 images on the same machine, beyond the bare ceiling.
    cores_a_vcpu : float
        A vCPU is one of a core's two threads
        (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-optimize-cpu.html; EMR Serverless does not say
        what its vCPUs are). That two threads do more than one is not counted.
    worker_seconds : mapping
        Seconds of each worker to start, to unpack its code, and to stand idle at the end, by target. Not measured, as
        that takes an account. The least that is billed is a minute. Nodes of a cluster install Hadoop and Spark first.
    spot_share : float
        Price of a spot instance as a share of on-demand.
    """

    rates: Mapping[tuple[float, int], float] = field(
        default_factory=lambda: {
            **{(1.0, 224): 104.0, (1.0, 192): 140.0, (1.0, 160): 193.0, (1.0, 128): 286.0, (1.0, 96): 455.0},
            **{(0.75, 224): 139.0, (0.75, 192): 189.0, (0.75, 160): 265.0, (0.75, 128): 390.0, (0.75, 96): 611.0},
            **{(0.5, 224): 260.0, (0.5, 192): 348.0, (0.5, 160): 468.0, (0.5, 128): 672.0, (0.5, 96): 952.0},
            **{(0.35, 224): 339.0, (0.35, 192): 447.0, (0.35, 160): 587.0, (0.35, 128): 816.0, (0.35, 96): 1166.0},
        }
    )
    busy_share: float = 0.87
    overhead_seconds: Mapping[str, float] = field(
        default_factory=lambda: {
            "for a GET from S3": 0.0002,
            "for listing, tasks and Parquet": 0.0009,
            "for PCA, results and their validation": 0.0014,
        }
    )
    cores_a_vcpu: float = 0.5
    worker_seconds: Mapping[str, float] = field(
        default_factory=lambda: {Application.compute: 120, Cluster.compute: 600}
    )
    spot_share: float = SPOT_SHARE

    def rate(self, work: "Work") -> float:
        """Return the images a second that one core decodes and infers alone."""
        return self.rates[work.alpha, work.input_size]

    def sentences(self, rate: float, workers: Workers, target: type[Target]) -> tuple[str, ...]:
        """Return what `estimate` takes for granted, in words."""
        overhead = ", ".join(f"{seconds * 1000:.1f} ms {name}" for name, seconds in self.overhead_seconds.items())
        spot = (
            "the primary node and one core node are on-demand; the task nodes, here"
            f" {workers.max_executors - 1}, are spot at {self.spot_share:.0%} of the price; their disks and the KMS key"
            " are not counted",
        )
        return (
            f"one core decodes and infers {rate:,.0f} images of 100 x 100 pixels a second (x86_64), {self.busy_share:g}"
            " of that where all cores are busy; measure other images with python -m benchmarks.tradeoff",
            f"each image takes further time of a core: {overhead}",
            f"a vCPU, one of a core's two threads, does {self.cores_a_vcpu:g} of the work of a core",
            f"a driver and {workers.max_executors} executors, each of {workers.vcpu} vCPUs and {workers.memory_gb} GB,"
            f" are up to the end, and {self.worker_seconds[target.compute]:g} s longer than they work",
            *(spot if target is Cluster else ()),
            "the first attempt succeeds; the price of requests to S3, one or more an image, is not counted",
        )


MEASURED = Assumptions()


@dataclass(frozen=True)
class WorkerUsage:
    """What the workers of EMR Serverless used: vCPUs and GB of memory, each times hours."""

    vcpu_hours: float
    gb_hours: float

    @property
    def usd(self) -> float:
        """Return the price in US dollars, by the prices of this module."""
        return self.vcpu_hours * VCPU_HOUR_USD + self.gb_hours * GB_HOUR_USD

    def __str__(self) -> str:
        """Return `about 0.12 USD (2.00 vCPU-hours, 4.00 GB-hours)`."""
        return f"about {self.usd:,.2f} USD ({self.vcpu_hours:,.2f} vCPU-hours, {self.gb_hours:,.2f} GB-hours)"


@dataclass(frozen=True)
class NodeUsage:
    """What the nodes of a cluster used: vCPUs times hours, of on-demand and of spot instances."""

    on_demand_vcpu_hours: float
    spot_vcpu_hours: float
    spot_share: float = SPOT_SHARE

    @property
    def usd(self) -> float:
        """Return the price in US dollars, by the prices of this module; disks are not counted."""
        on_demand, spot = self.on_demand_vcpu_hours, self.spot_vcpu_hours
        return (on_demand + self.spot_share * spot) * EC2_VCPU_HOUR_USD + (on_demand + spot) * EMR_VCPU_HOUR_USD

    def __str__(self) -> str:
        """Return `about 0.12 USD (1.00 vCPU-hours on-demand, 2.00 spot at an assumed 40% of that price)`."""
        return (
            f"about {self.usd:,.2f} USD ({self.on_demand_vcpu_hours:,.2f} vCPU-hours on-demand,"
            f" {self.spot_vcpu_hours:,.2f} spot at an assumed {self.spot_share:.0%} of that price)"
        )


Usage = WorkerUsage | NodeUsage


@dataclass(frozen=True)
class Work:
    """New images, and the network that they go through; the side of its input is in pixels."""

    images: int
    alpha: float = DEFAULT_ALPHA
    input_size: int = DEFAULT_INPUT_SIZE

    def __post_init__(self) -> None:
        """Refuse what no estimate can be made of."""
        if self.images < 1:
            raise JobError(f"no estimate can be made for {self.images:,} images: give at least 1")
        if (self.alpha, self.input_size) not in MEASURED.rates:
            known = ", ".join(f"{alpha} at {size}" for alpha, size in MEASURED.rates)
            raise JobError(
                f"--alpha {self.alpha} --input-size {self.input_size}: the speed of this network was not measured."
                f" Known are {known}; measure others with python -m benchmarks.tradeoff"
            )

    def __str__(self) -> str:
        """Return `1,000,000 new images of 100 x 100 pixels, MobileNetV2 1.0 at 224`."""
        return f"{self.images:,} new images of 100 x 100 pixels, MobileNetV2 {self.alpha} at {self.input_size}"


def upper_bound(target: type[Target], workers: Workers, timeout_minutes: int, assumed: Assumptions = MEASURED) -> Usage:
    """Return the most that a run can use: every worker, none of them spot, each attempt until the time-out."""
    hours = target.attempts * timeout_minutes / 60
    if target is Cluster:
        count = 1 + workers.max_executors
        hours += assumed.worker_seconds[target.compute] / 3600
        return NodeUsage(count * workers.vcpu * hours, 0.0, assumed.spot_share)
    return _all_workers(target, workers, hours, assumed)


def estimate(
    images: int,
    rate: float,
    workers: Workers = DEFAULT_WORKERS,
    target: type[Target] = Application,
    assumed: Assumptions = MEASURED,
) -> Usage:
    """Return what a run is likely to use that succeeds at its first attempt.

    Executors do the work of the images at `cores_a_vcpu`, all of them busy to the end; the driver costs as much as one
    of them, for as long. The price of requests to S3, one or more an image, is not in it.

    Parameters
    ----------
    images : int
        How many are new; images known from an earlier run cost next to nothing.
    rate : float
        Images a second that one core decodes and infers alone: of `Assumptions.rates`, or as `benchmarks.tradeoff`
        measures it.
    workers : Workers
        Their size, and their vCPUs in all; all of them run.
    target : type
        `Application` or `Cluster`. The primary node and one core node of a cluster are on-demand, task nodes are spot.
    assumed : Assumptions
        What is taken for granted.
    """
    core_seconds = images * (1 / (assumed.busy_share * rate) + sum(assumed.overhead_seconds.values()))
    working = core_seconds / (assumed.cores_a_vcpu * workers.vcpu * workers.max_executors)
    return _all_workers(target, workers, (working + assumed.worker_seconds[target.compute]) / 3600, assumed)


def _all_workers(target: type[Target], workers: Workers, hours: float, assumed: Assumptions) -> Usage:
    """Return what the driver and all executors use in these hours."""
    count = 1 + workers.max_executors
    if target is Cluster:
        on_demand = min(2, count)
        spot = count - on_demand
        return NodeUsage(on_demand * workers.vcpu * hours, spot * workers.vcpu * hours, assumed.spot_share)
    return WorkerUsage(count * workers.vcpu * hours, count * workers.memory_gb * hours)
