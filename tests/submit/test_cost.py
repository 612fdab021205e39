"""The cost of runs: hours and dollars worked out by hand, how they are shown, and the numbers in the docs."""

from dataclasses import replace
from pathlib import Path

import pytest

from infra.settings import StackSettings
from job.errors import JobError
from submit import cost
from submit.__main__ import main
from submit.aws import Clients
from submit.cost import Work, estimate
from submit.request.targets import Application, Cluster, Workers
from tests.submit.conftest import Cloud, Submit
from tests.submit.test_plan import STACK, planned

ROOT = Path(__file__).resolve().parents[2]


# Round numbers in place of those that were measured.
SIMPLE = cost.Assumptions(
    rates={(1.0, 224): 125.0, (0.35, 96): 1250.0},
    overhead_seconds={"one": 0.004, "two": 0.001},
    busy_share=0.8,
    cores_a_vcpu=0.5,
    worker_seconds={"serverless": 380, "cluster": 980},
    spot_share=0.5,
)
RATE = cost.MEASURED.rate(Work(1))


def serverless(images: int, rate: float, workers: Workers = cost.DEFAULT_WORKERS) -> cost.WorkerUsage:
    usage = estimate(images, rate, workers, assumed=SIMPLE)
    assert isinstance(usage, cost.WorkerUsage)
    return usage


def test_an_estimate_is_what_a_hand_works_out() -> None:
    # 1 / (0.8 x 125) + 0.005 s of a core each: 15,000 s, 30,000 of a vCPU, on 3 executors of 4 vCPUs 2,500 s; with
    # 380 s 0.8 hours, the driver as well. 16 vCPUs: 12.8 x 0.052624 = 0.673587; 32 GB: 25.6 x 0.0057785 = 0.147930.
    usage = serverless(1_000_000, 125, Workers(vcpu=4, memory_gb=8, disk_gb=20, max_vcpu=16))
    assert (usage.vcpu_hours, usage.gb_hours) == pytest.approx((12.8, 25.6))
    assert usage.usd == pytest.approx(0.821517, abs=1e-6)
    # One executor of 1 vCPU and its driver: 30,000 + 380 s, 2 vCPUs and 2 x 6 GB.
    usage = serverless(1_000_000, 125, Workers(vcpu=1, memory_gb=6, disk_gb=20, max_vcpu=2))
    assert (usage.vcpu_hours, usage.gb_hours) == pytest.approx((16.877778, 101.266667))
    # No image: 4 workers of 4 vCPUs stand there for 380 s.
    assert serverless(0, 125).vcpu_hours == pytest.approx(16 * 380 / 3600)


def test_what_a_smaller_network_saves_ends_where_the_rest_begins() -> None:
    # 0.001 + 0.005 s instead of 0.01 + 0.005: 1,000 + 380 s instead of 2,500 + 380.
    assert serverless(1_000_000, SIMPLE.rate(Work(1, 0.35, 96))).vcpu_hours == pytest.approx(16 * 1380 / 3600)


def test_a_cluster_is_estimated_by_the_same_work_with_spot_prices_assumed() -> None:
    # As above 2,500 s of work, and 980 to start and end: 0.966667 hours. Two nodes of 4 vCPUs on demand and two from
    # spot, 7.733333 vCPU-hours each: (7.733333 x 1.5) x 0.048 + 15.466667 x 0.012.
    usage = estimate(1_000_000, 125, Workers(vcpu=4, memory_gb=8, disk_gb=20, max_vcpu=16), Cluster, SIMPLE)
    assert isinstance(usage, cost.NodeUsage)
    assert (usage.on_demand_vcpu_hours, usage.spot_vcpu_hours) == pytest.approx((7.733333, 7.733333))
    assert usage.usd == pytest.approx(0.742400, abs=1e-6)
    assert str(usage) == ("about 0.74 USD (7.73 vCPU-hours on-demand, 7.73 spot at an assumed 50% of that price)")
    # A driver and one executor: nothing from spot.
    alone = estimate(0, 125, Workers(vcpu=4, memory_gb=8, disk_gb=20, max_vcpu=8), Cluster, SIMPLE)
    assert isinstance(alone, cost.NodeUsage)
    assert (alone.on_demand_vcpu_hours, alone.spot_vcpu_hours) == pytest.approx((8 * 980 / 3600, 0))


def test_the_plan_shows_the_estimate_for_its_own_workers() -> None:
    # 2 executors: 30,000 / 8 + 380 = 4,130 s; 12 vCPUs, 24 GB.
    said = str(replace(planned("--new-images", "1000000", "--max-executors", "2"), assumed=SIMPLE))
    expected = "(13.77 vCPU-hours, 27.53 GB-hours) for 1,000,000 new images of 100 x 100 pixels, MobileNetV2 1.0 at 224"
    [line] = [line for line in said.splitlines() if line.startswith("estimate")]
    assert line.startswith("estimate   about 0.88 USD")
    assert line.endswith(expected)
    words = ("--new-images", "1000000", "--alpha", "0.35", "--input-size", "96")
    small = str(replace(planned(*words), assumed=SIMPLE))
    assert (
        "(6.13 vCPU-hours, 12.27 GB-hours) for 1,000,000 new images of 100 x 100 pixels, MobileNetV2 0.35 at 96"
        in small
    )


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ([], "1,000,000"),
        (["--limit", "5"], "5"),
        (["--new-images", "70"], "70"),
        (["--new-images", "70", "--limit", "5"], "5"),
        (["--new-images", "4", "--limit", "5"], "4"),
    ],
)
def test_the_number_is_the_one_given_the_limit_or_a_million(words: list[str], count: str) -> None:
    assert f" for {count} new images of 100 x 100 pixels" in str(planned(*words))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--new-images", "0"], "no estimate can be made for 0 images: give at least 1"),
        (
            ["--alpha", "0.4"],
            "--alpha 0.4 --input-size 224: the speed of this network was not measured. Known are 1.0 at 224",
        ),
    ],
)
def test_what_cannot_be_estimated_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(JobError) as raised:
        planned(*words)
    assert said in str(raised.value)
    assert raised.value.exit_status == 2


def test_dry_run_estimates_beside_the_request_which_stays_as_it_is(cloud: Cloud, submit: Submit) -> None:
    plain = submit("--dry-run", "--client-token", "t")
    asked = submit("--dry-run", "--client-token", "t", "--new-images", "70", "--alpha", "0.35", "--input-size", "96")
    assert (plain.status, asked.status, cloud.emr.asked) == (0, 0, [])
    assert plain.out == asked.out
    assert plain.out.startswith("{\n")
    assert "estimate   about 0." in plain.err
    assert "for 1,000,000 new images of 100 x 100 pixels, MobileNetV2 1.0 at 224" in plain.err
    assert "for 70 new images of 100 x 100 pixels, MobileNetV2 0.35 at 96" in asked.err


def test_an_estimate_needs_no_stack(capsys: pytest.CaptureFixture[str]) -> None:
    def unconnected(region: str | None) -> Clients:
        pytest.fail("AWS was asked")

    assert main(["cost", "--images", "1000000"], connect=unconnected) == 0
    first, *assumed = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{estimate(1_000_000, RATE)} for 1,000,000 new images")
    assert all(line.startswith("- ") for line in assumed)
    assert main(["cost", "--images", "1000000", "--target", "cluster"], connect=unconnected) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{estimate(1_000_000, RATE, target=Cluster)} for 1,000,000 new images")
    assert "the task nodes, here 2, are spot at 40% of the price" in said
    assert main(["cost", "00run", "--images", "5"], connect=unconnected) == 2
    assert "a run's ID and --images contradict each other" in capsys.readouterr().err


def test_workers_are_those_of_a_stack_with_default_settings() -> None:
    assert StackSettings().workers == cost.DEFAULT_WORKERS
    # What is planned on such a stack is priced the same.
    assert STACK.workers == cost.DEFAULT_WORKERS
    assert str(estimate(1_000_000, RATE)) in str(planned())


def test_larger_networks_are_not_faster() -> None:
    for (alpha, size), rate in cost.MEASURED.rates.items():
        for (other, smaller), faster in cost.MEASURED.rates.items():
            if other <= alpha and smaller <= size:
                assert faster >= rate, f"{other} at {smaller} against {alpha} at {size}"


def test_the_documentation_has_what_a_million_images_cost() -> None:
    words = " ".join((ROOT / "docs/aws/cost.md").read_text().split())
    assert str(estimate(1_000_000, RATE)) in words
    assert "fruits submit cost --images 1000000" in words
    for count in (10_000, 1_000_000, 10_000_000):
        both = (estimate(count, RATE, target=target).usd for target in (Application, Cluster))
        assert f"| {count:,} images | {' | '.join(f'{usd:.2f} USD' for usd in both)} |" in words
