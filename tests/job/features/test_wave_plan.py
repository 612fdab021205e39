"""The plan of the waves: every image in one task of one wave, waves and tasks of the duration asked for."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.features.wave_plan import Pace, Slice, WavePlan, take

parts = st.lists(st.integers(1, 300), max_size=6)


def plan_for(rows: list[int], cores: int = 2, wave_seconds: float = 180, pace: Pace | None = None) -> WavePlan:
    slices = [Slice(f"part-{number}", 0, count) for number, count in enumerate(rows)]
    return WavePlan.first(slices, cores, wave_seconds, pace or Pace())


@given(
    parts,
    st.integers(1, 64),
    st.floats(1, 3600),
    st.lists(st.floats(0, 1000), min_size=1, max_size=10),
    st.builds(Pace, first_rate=st.floats(0.1, 1000), wave_growth=st.floats(0, 10), task_images=st.integers(1, 20)),
)
def test_every_image_is_in_one_task_of_one_wave(
    rows: list[int], cores: int, wave_seconds: float, durations: list[float], pace: Pace
) -> None:
    plan, seen, wave = plan_for(rows, cores, wave_seconds, pace), [], 0
    while plan.slices:
        tasks = plan.tasks()
        sizes = [sum(each.rows for each in task) for task in tasks]
        assert min(sizes) > 0
        assert max(sizes) - min(sizes) <= 1
        assert sum(sizes) == plan.rows
        seen += [(each.part, row) for task in tasks for each in task for row in range(each.start, each.stop)]
        assert plan.number == wave
        plan, wave = plan.after(durations[wave % len(durations)]), wave + 1
    assert seen == [(f"part-{number}", row) for number, count in enumerate(rows) for row in range(count)]


def test_the_first_wave_is_short_and_later_ones_go_by_the_rate_before() -> None:
    plan = plan_for([100_000])
    assert plan.rows == 100 * 2 * 10  # images per second and core, cores, seconds
    assert len(plan.tasks()) == 4  # of 5 seconds each
    plan = plan.after(20)
    assert plan.rate == 100
    assert plan.rows == 100 * 60  # three times as long as the first
    assert len(plan.tasks()) == 8  # of 15 seconds each
    plan = plan.after(60)
    assert plan.rows == 100 * 180  # wave_seconds
    assert plan.after(180).rows == 18_000


def test_wave_seconds_bounds_the_first_wave_and_the_tasks() -> None:
    plan = plan_for([100_000], wave_seconds=2)
    assert plan.rows == 400
    assert len(plan.tasks()) == 2
    assert plan.after(2).seconds == plan.after(2).task_seconds == 2


@pytest.mark.parametrize(("rows", "first"), [(2599, 2599), (2600, 2000), (2601, 2000), (1, 1), (1999, 1999)])
def test_a_last_wave_that_would_be_small_is_done_with_the_one_before(rows: int, first: int) -> None:
    assert plan_for([rows]).rows == first


def test_a_handful_of_images_is_one_task() -> None:
    assert [len(plan_for([rows], cores=16).tasks()) for rows in (1, 15, 16, 40, 1000)] == [1, 1, 2, 5, 16]


def test_nothing_to_do_is_no_wave() -> None:
    plan = plan_for([])
    assert (plan.slices, plan.rows_left) == ((), 0)


def test_rows_are_taken_from_the_front() -> None:
    slices = deque([Slice("a", 5, 8), Slice("b", 0, 4)])
    assert take(slices, 5) == [Slice("a", 5, 8), Slice("b", 0, 2)]
    assert list(slices) == [Slice("b", 2, 4)]
