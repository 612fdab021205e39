"""Killed runs: three here, fifty with `python -m tests.kills`."""

from pathlib import Path

import pytest

from tests.kills import kill_runs
from tests.reader import WAYS

pytestmark = pytest.mark.spark


def test_runs_killed_at_random_moments_leave_what_an_undisturbed_run_leaves(tmp_path: Path) -> None:
    tally = kill_runs(tmp_path, count=400, kills=3, wave_seconds=1, seed=5)
    assert tally.kills >= 3
    assert min(tally.reads[way] for way in WAYS) > 0
    assert tally.ends >= 1
    assert tally.reused[0] > 0  # the first kill comes after a commit
