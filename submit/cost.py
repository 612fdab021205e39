"""What runs cost: vCPU- and GB-hours in, US dollars out. Pure functions.

The prices are those that AWS computes its own benchmarks with, for x86_64 in us-west-2, read on 2026-11-25:
https://github.com/aws/aws-emr-best-practices/blob/main/website/docs/benchmarks/benchmarking_variables.md
"""

from dataclasses import dataclass

from submit.request import MAX_ATTEMPTS, Workers

VCPU_HOUR_USD = 0.052624
GB_HOUR_USD = 0.0057785
BASIS = "by the prices of us-west-2 for x86_64 of 2026-11-25; other regions and arm64 differ"
# Of each worker's disk so much costs nothing; what is beyond is not counted here.
FREE_DISK_GB = 20


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


def upper_bound(workers: Workers, timeout_minutes: int) -> Usage:
    """Return what a run takes at most: every worker there may be, each attempt lasting until the time-out."""
    count = 1 + workers.max_executors
    hours = MAX_ATTEMPTS * timeout_minutes / 60
    return Usage(count * workers.vcpu * hours, count * workers.memory_gb * hours)
