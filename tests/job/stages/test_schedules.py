"""Two runs at once on S3, in a few of the schedules that `python -m tests.schedules` plays."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

pytestmark = [pytest.mark.spark, pytest.mark.server]


def test_a_run_that_was_paused_cannot_undo_what_its_successor_wrote() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.schedules", "--schedules", "5"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "5 schedules; " in done.stdout
