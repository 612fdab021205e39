"""One run at a time on an output."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from job import storage
from job.errors import JobError, RunError
from job.storage.lease import Lease, LeaseTimes
from job.storage.lock import check_held, locked
from tests.faulty_s3 import Fault, FaultyS3, Request

ROOT = Path(__file__).resolve().parents[3]

HOLD = """
import sys, time
from job.storage.lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(address: str) -> "subprocess.Popen[str]":
    """Start a process that holds an output, and wait until it does."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, address], cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def kill(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_a_second_run_on_a_disk_is_refused_until_the_first_is_gone_however_it_ends(tmp_path: Path) -> None:
    first = hold(str(tmp_path))
    with pytest.raises(JobError, match="another run is writing to"), locked(str(tmp_path)):
        pass
    kill(first)
    started = time.monotonic()
    with locked(str(tmp_path)):
        assert time.monotonic() - started < 1


def test_the_same_process_may_ask_again_and_others_wait_for_the_last(tmp_path: Path) -> None:
    with locked(str(tmp_path)):
        with locked(f"{tmp_path}/"):
            pass
        done = subprocess.run(
            [sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert "another run is writing to" in done.stderr


def test_another_thread_of_the_process_is_refused(tmp_path: Path) -> None:
    def ask() -> None:
        with locked(str(tmp_path)):
            pass

    with ThreadPoolExecutor(1) as pool:
        with locked(str(tmp_path)), pytest.raises(JobError, match="another run is writing to"):
            pool.submit(ask).result()
        pool.submit(ask).result()


def test_outputs_do_not_lock_each_other(tmp_path: Path) -> None:
    with locked(str(tmp_path / "a")), locked(str(tmp_path / "b")):
        pass


@pytest.fixture
def output(bucket: str) -> str:
    return f"s3://{bucket}/out"


HASTY = LeaseTimes(beat_seconds=0.3, look_seconds=0.2, stale_seconds=2.0)


def test_on_s3_a_lease_that_beats_is_respected(output: str) -> None:
    lease = Lease(output, HASTY)
    assert lease.take(None)
    started = time.monotonic()
    with pytest.raises(JobError, match="another run is writing to"), locked(output, times=HASTY):
        pass
    assert time.monotonic() - started < 2  # it beat, so there was no need to wait till the end
    lease.release()
    with locked(output, times=HASTY):
        pass
    assert not storage.exists(storage.join(output, ".lock"))


def test_on_s3_a_lease_whose_holder_was_killed_is_taken_over(output: str) -> None:
    kill(hold(output))
    assert storage.exists(storage.join(output, ".lock"))
    started = time.monotonic()
    with locked(output, times=HASTY):
        assert 2 <= time.monotonic() - started < 6


def test_on_s3_only_one_of_two_takes_over(output: str) -> None:
    storage.write(storage.join(output, ".lock"), b"left behind")
    _, tag = storage.read_tagged(storage.join(output, ".lock"))
    first, second = Lease(output, HASTY), Lease(output, HASTY)
    assert first.take(tag)
    assert not second.take(tag)
    first.release()


def test_on_s3_a_run_that_lost_its_lease_writes_no_more(output: str) -> None:
    with locked(output, times=HASTY):
        check_held(output)
        storage.write(storage.join(output, ".lock"), b"taken over")
        time.sleep(1)
        with pytest.raises(RunError, match="another run has taken over"):
            check_held(output)
    # What the other has put there is left alone.
    assert storage.read(storage.join(output, ".lock")) == b"taken over"


QUIET = LeaseTimes(beat_seconds=3600, stale_seconds=120)


def test_on_s3_a_run_that_was_paused_has_lost_its_lease_whoever_has_it_now(output: str) -> None:
    now = [0.0]
    lease = Lease(output, QUIET, clock=lambda: now[0])
    assert lease.take(None)
    now[0] = 60.0
    assert lease.renew()
    now[0] = 120.5  # half of the time after which others may take it over
    assert not lease.renew()
    now[0] = 0.0
    assert not lease.renew()
    lease.release()


def test_on_s3_a_renewal_that_took_too_long_is_none(output: str, faulty: FaultyS3) -> None:
    now = [0.0]
    lease = Lease(output, QUIET, clock=lambda: now[0])
    assert lease.take(None)

    def wait(_: Request) -> Fault | None:
        now[0] = 100.0  # the request is sent again, for longer than others wait
        return None

    faulty.rule = wait
    assert not lease.renew()
    lease.release()


def test_on_s3_a_check_finds_out_by_itself_and_a_release_leaves_the_lease_of_another(output: str) -> None:
    with locked(output, times=QUIET):
        check_held(output)
        storage.write(storage.join(output, ".lock"), b"taken over")
        with pytest.raises(RunError, match="another run has taken over"):
            check_held(output)
    assert storage.read(storage.join(output, ".lock")) == b"taken over"


def test_on_s3_a_release_that_nothing_preceded_leaves_the_lease_of_another(output: str) -> None:
    lease = Lease(output, QUIET)
    assert lease.take(None)
    storage.write(lease.address, b"taken over")
    lease.release()
    assert storage.read(lease.address) == b"taken over"
