"""Ctrl-C in a terminal, as a person presses it: a real process in a pseudo-terminal, on a service that runs on."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.submit.conftest import REGION, Cloud
from tests.submit.emr import Answer
from tests.terminal import CTRL_C, start

ROOT = Path(__file__).resolve().parents[2]
# The same program, which asks the service more often.
FAST = """
import sys
from submit.__main__ import main
from submit.patience import Patience
sys.exit(main(patience=Patience(poll=0.1)))
"""


class Terminal:
    """A process in a terminal of its own: what it shows, and the keys that it is sent."""

    def __init__(self, process: subprocess.Popen[bytes], keys: int) -> None:
        self.process, self.shown, self._keys = process, "", keys

    def press(self, key: bytes) -> None:
        os.write(self._keys, key)

    def read(self) -> bool:
        """Read what is shown next; False once the process has closed its terminal."""
        try:
            chunk = os.read(self._keys, 4096)
        except OSError:  # how Linux reports it
            return False
        self.shown += chunk.decode(errors="replace").replace("\r\n", "\n")
        return bool(chunk)

    def until(self, pattern: str) -> None:
        while not re.search(pattern, self.shown):
            assert self.read(), f"ended without {pattern}:\n{self.shown}"

    def end(self) -> int:
        while self.read():
            pass
        return self.process.wait(20)


@contextmanager
def terminal(*words: str) -> Iterator[Terminal]:
    process, keys = start(*words, cwd=ROOT)
    watchdog = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("nothing more was shown"))
    signal.alarm(60)
    try:
        yield Terminal(process, keys)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, watchdog)
        process.kill()
        process.wait()
        os.close(keys)


def test_ctrl_c_cancels_the_run_and_follows_it_to_its_end(cloud: Cloud) -> None:
    cloud.emr.steps = ["SCHEDULED", "RUNNING"]
    with terminal("-c", FAST, "--name", cloud.name) as screen:
        screen.until("RUNNING: at work")
        screen.press(CTRL_C)
        assert screen.end() == 3
    assert cloud.emr.count("CancelJobRun") == 1
    assert cloud.emr.runs["00run0000"].known["state"] == "CANCELLED"
    shown = screen.shown
    at = [shown.index(text) for text in ("asking the service to cancel the run", "CANCELLING", "CANCELLED: cancelled")]
    assert at == sorted(at)
    assert "error: the run 00run0000 was cancelled" in shown
    assert "Traceback" not in shown


def test_a_second_ctrl_c_leaves_and_says_how_to_cancel_later(cloud: Cloud) -> None:
    cloud.emr.steps = ["RUNNING"]
    cloud.emr.faults["CancelJobRun"] = [Answer(503, "ServiceUnavailable")] * 1000  # so that it is not cancelled at once
    with terminal("-c", FAST, "--name", cloud.name) as screen:
        screen.until("RUNNING: at work")
        screen.press(CTRL_C)
        screen.until("Ctrl-C again leaves it")
        time.sleep(0.3)
        screen.press(CTRL_C)
        assert screen.end() == 130
    named = f"00run0000 --name {cloud.name} --region {REGION}"
    assert f"The run goes on: python -m submit logs {named} follows it, python -m submit cancel {named}" in screen.shown
    assert "Traceback" not in screen.shown
    assert cloud.emr.runs["00run0000"].known["state"] == "RUNNING"


def test_ctrl_c_while_the_run_is_being_started_cancels_it(cloud: Cloud) -> None:
    cloud.emr.steps = ["RUNNING"]
    cloud.emr.faults["StartJobRun"] = [Answer(503, "ServiceUnavailable")] * 2
    with terminal("-c", FAST, "--name", cloud.name) as screen:
        screen.until("at most .*USD")
        while not cloud.emr.count("StartJobRun"):
            time.sleep(0.01)
        screen.press(CTRL_C)
        assert screen.end() == 3
    assert len(cloud.emr.runs) == 1
    assert cloud.emr.runs["00run0000"].known["state"] == "CANCELLED"


def test_ctrl_c_between_two_attempts_cancels_the_second(cloud: Cloud) -> None:
    between = [{"state": "FAILED", "attempt": 1}] * 20
    cloud.emr.steps = ["RUNNING", *between, {"state": "RUNNING", "attempt": 2}]
    with terminal("-c", FAST, "--name", cloud.name) as screen:
        screen.until("FAILED: failed")
        screen.press(CTRL_C)
        assert screen.end() == 3
    assert cloud.emr.runs["00run0000"].known["state"] == "CANCELLED"


def test_ctrl_c_while_looking_on_leaves_the_run_alone(cloud: Cloud) -> None:
    cloud.emr.add("00run", "RUNNING")
    with terminal("-c", FAST, "logs", "--name", cloud.name) as screen:
        screen.until("RUNNING: at work")
        screen.press(CTRL_C)
        assert screen.end() == 130
    assert "The run goes on" in screen.shown
    assert cloud.emr.count("CancelJobRun") == 0


def test_a_reader_that_goes_away_is_no_traceback(cloud: Cloud) -> None:
    for number in range(200):
        cloud.emr.add(f"00run{number:04d}", "SUCCESS")
    words = [sys.executable, "-m", "submit", "list", "--count", "200", "--name", cloud.name]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


def test_it_starts_without_what_a_developer_has() -> None:
    program = "import sys, submit.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "boto3" in loaded
    assert not loaded & {"pyspark", "pyarrow", "numpy", "aws_cdk", "moto"}
