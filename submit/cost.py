"""What runs cost: hours of workers or nodes, or pictures that are still to come, in; US dollars out. Pure functions.

The prices of EMR Serverless are those that AWS computes its own benchmarks with, for x86_64 in us-west-2, read on
2026-11-25: https://github.com/aws/aws-emr-best-practices/blob/main/website/docs/benchmarks/benchmarking_variables.md
Those of EMR on EC2 are an m5.xlarge's there, 0.192 USD an hour and 0.048 for EMR, to each of its 4 vCPUs:
https://aws.amazon.com/emr/pricing/. A spot price changes by the hour; a share of the other is assumed.
"""

from dataclasses import dataclass

from job.errors import JobError
from submit.request.targets import Application, Cluster, Target, Workers

VCPU_HOUR_USD = 0.052624
GB_HOUR_USD = 0.0057785
EC2_VCPU_HOUR_USD = 0.192 / 4
EMR_VCPU_HOUR_USD = 0.048 / 4
# Not measured: what a spot instance costs of an on-demand one, to which EMR's own price comes in full.
SPOT_SHARE = 0.4
BASIS = "by the prices of us-west-2 for x86_64 of 2026-11-25; other regions and arm64 differ"
# Of each worker's disk so much costs nothing; what is beyond is not counted here.
FREE_DISK_GB = 20

DEFAULT_ALPHA = 1.0
DEFAULT_INPUT_SIZE = 224
# Pictures of 100 x 100 pixels a second that one core decodes and infers while the others are idle, by alpha and input
# size in pixels. Measured on 2 cores of an AMD EPYC (Zen 2, a virtual machine), 360 pictures of the sample, by
# python -m benchmarks.tradeoff --images build/sample --weights random
RATES = {
    **{(1.0, 224): 104.0, (1.0, 192): 140.0, (1.0, 160): 193.0, (1.0, 128): 286.0, (1.0, 96): 455.0},
    **{(0.75, 224): 139.0, (0.75, 192): 189.0, (0.75, 160): 265.0, (0.75, 128): 390.0, (0.75, 96): 611.0},
    **{(0.5, 224): 260.0, (0.5, 192): 348.0, (0.5, 160): 468.0, (0.5, 128): 672.0, (0.5, 96): 952.0},
    **{(0.35, 224): 339.0, (0.35, 192): 447.0, (0.35, 160): 587.0, (0.35, 128): 816.0, (0.35, 96): 1166.0},
}
# Of that a core does so much where all are busy: the bare ceiling of benchmarks.features against twice the rate above.
BUSY_SHARE = 0.87
# What each picture takes of a core beside that, in seconds, whatever the network. The features stage and the reduction:
# python -m benchmarks.features, 10,000 pictures on the same machine, what they take beyond the bare ceiling.
BESIDE_SECONDS = {
    "for a GET from S3": 0.0002,
    "for listing, tasks and Parquet": 0.0009,
    "for PCA, results and reading them back": 0.0014,
}
# A vCPU is one of a core's two threads (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-optimize-cpu.html;
# EMR Serverless does not say what its own are). That two threads get more done than one is not counted.
CORES_A_VCPU = 0.5
# Of each worker, to start, to unpack what it runs, and to stand idle at the end: not measured, as it would take an
# account. A minute is the least that is billed. A cluster's nodes install Hadoop and Spark first.
WORKER_SECONDS = {Application.compute: 120, Cluster.compute: 600}
# As a stack has them where its settings say nothing else.
DEFAULT_WORKERS = Workers(vcpu=4, memory_gb=8, disk_gb=20, max_vcpu=16)


@dataclass(frozen=True)
class Usage:
    """What workers took: their vCPUs and GB of memory, each times hours."""

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
    """What a cluster's nodes took: their vCPUs times hours, of on-demand and of spot instances."""

    on_demand_vcpu_hours: float
    spot_vcpu_hours: float

    @property
    def usd(self) -> float:
        """Return the price in US dollars, by the prices of this module; disks are not counted."""
        on_demand, spot = self.on_demand_vcpu_hours, self.spot_vcpu_hours
        return (on_demand + SPOT_SHARE * spot) * EC2_VCPU_HOUR_USD + (on_demand + spot) * EMR_VCPU_HOUR_USD

    def __str__(self) -> str:
        """Return `about 0.12 USD (1.00 vCPU-hours on demand, 2.00 of spot at an assumed 40 % of that price)`."""
        return (
            f"about {self.usd:,.2f} USD ({self.on_demand_vcpu_hours:,.2f} vCPU-hours on demand,"
            f" {self.spot_vcpu_hours:,.2f} of spot at an assumed {SPOT_SHARE:.0%} of that price)"
        )


@dataclass(frozen=True)
class Work:
    """Pictures that are not known yet, and the network they go through; the input's side is in pixels."""

    pictures: int
    alpha: float = DEFAULT_ALPHA
    input_size: int = DEFAULT_INPUT_SIZE

    def __post_init__(self) -> None:
        """Refuse what no estimate can be made of."""
        if self.pictures < 1:
            raise JobError(f"--pictures {self.pictures} is out of range; it is at least 1")
        if (self.alpha, self.input_size) not in RATES:
            known = ", ".join(f"{alpha} at {size}" for alpha, size in RATES)
            raise JobError(
                f"--alpha {self.alpha} --input-size {self.input_size}: how fast that is was not measured. Known are"
                f" {known}; python -m benchmarks.tradeoff measures others"
            )

    @property
    def rate(self) -> float:
        """Return the pictures a second that one core decodes and infers alone."""
        return RATES[self.alpha, self.input_size]

    def __str__(self) -> str:
        """Return `1,000,000 new pictures, small ones, MobileNetV2 1.0 at 224`."""
        return f"{self.pictures:,} new pictures, small ones, MobileNetV2 {self.alpha} at {self.input_size}"


def upper_bound(target: type[Target], workers: Workers, timeout_minutes: int) -> Usage | NodeUsage:
    """Return what a run takes at most: every worker there may be, none from spot, each attempt until the time-out."""
    hours = target.attempts * timeout_minutes / 60
    if target is Cluster:
        count = 1 + workers.max_executors
        return NodeUsage(count * workers.vcpu * (hours + WORKER_SECONDS[target.compute] / 3600), 0.0)
    return _all_workers(target, workers, hours)


def estimate(
    pictures: int, rate: float, workers: Workers = DEFAULT_WORKERS, target: type[Target] = Application
) -> Usage | NodeUsage:
    """Return what a run is likely to take that succeeds at its first attempt.

    Executors do what pictures take of a core, at `CORES_A_VCPU`, all of them busy to the end; the driver costs as much
    as one of them, for as long. Requests to S3 have a price of their own, one a picture and more, which is not in it.

    Parameters
    ----------
    pictures : int
        How many are not known yet; those that are known cost next to nothing.
    rate : float
        Pictures a second that one core decodes and infers alone: of `RATES`, or as `benchmarks.tradeoff` measures it.
    workers : Workers
        Of what size, and how many at most: so many there are.
    target : type
        `Application` or `Cluster`, of which the driver and one executor are on demand and all others from spot.
    """
    core_seconds = pictures * (1 / (BUSY_SHARE * rate) + sum(BESIDE_SECONDS.values()))
    seconds = core_seconds / (CORES_A_VCPU * workers.vcpu * workers.max_executors) + WORKER_SECONDS[target.compute]
    return _all_workers(target, workers, seconds / 3600)


def assumptions(rate: float, workers: Workers = DEFAULT_WORKERS, target: type[Target] = Application) -> tuple[str, ...]:
    """Return what `estimate` takes for granted, in words."""
    beside = ", ".join(f"{seconds * 1000:.1f} ms {name}" for name, seconds in BESIDE_SECONDS.items())
    spot = (
        f"the driver's node and one executor's are on demand, {workers.max_executors - 1} from spot, at"
        f" {SPOT_SHARE:.0%} of the price; their disks and the KMS key are not in it",
    )
    return (
        f"a core decodes and infers {rate:,.0f} pictures of 100 x 100 a second (x86_64), {BUSY_SHARE:g} of that where"
        " all cores are busy; other pictures: python -m benchmarks.tradeoff",
        f"beside that each picture takes of a core: {beside}",
        f"a vCPU, one of a core's two threads, does {CORES_A_VCPU:g} of what a core does",
        f"a driver and {workers.max_executors} executors, {workers.vcpu} vCPUs and {workers.memory_gb} GB each, are up"
        f" to the end, and {WORKER_SECONDS[target.compute]} s longer than they work",
        *(spot if target is Cluster else ()),
        "the first attempt succeeds; S3's price for requests, one a picture and more, is not in it",
    )


def _all_workers(target: type[Target], workers: Workers, hours: float) -> Usage | NodeUsage:
    """Return what the driver and all executors take in so many hours."""
    count = 1 + workers.max_executors
    if target is Cluster:
        on_demand = min(2, count)
        return NodeUsage(on_demand * workers.vcpu * hours, (count - on_demand) * workers.vcpu * hours)
    return Usage(count * workers.vcpu * hours, count * workers.memory_gb * hours)
