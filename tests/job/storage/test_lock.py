"""One run at a time on an output."""

import json
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
from job.storage.lease import Lease, LeaseTimes, find
from job.storage.lock import check_held, locked, write_named
from tests.faulty_s3 import Fault, FaultyS3, Request, always, first

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
    with locked(str(tmp_path)):
        pass


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


# The heart beats often; only a machine that stands still for a minute loses the lease.
LIVELY = LeaseTimes(beat_seconds=0.2, look_seconds=0.1)
# Taken over after this silence.
HASTY = LeaseTimes(look_seconds=0.2, stale_seconds=2.0)
QUIET = LeaseTimes(beat_seconds=3600)


def test_on_s3_a_lease_that_beats_is_respected(output: str) -> None:
    lease = Lease(output, LIVELY)
    assert lease.take(None)
    with pytest.raises(JobError, match="another run is writing to"), locked(output, times=LIVELY):
        pass
    lease.release()
    with locked(output, times=QUIET):  # released, it is not watched for two minutes
        pass
    found = find(storage.join(output, ".lock"))
    assert found
    assert found.released


def test_on_s3_a_lease_whose_holder_was_killed_is_taken_over(output: str) -> None:
    kill(hold(output))
    assert storage.exists(storage.join(output, ".lock"))
    started = time.monotonic()
    with locked(output, times=HASTY):
        assert time.monotonic() - started >= 2


def test_on_s3_only_one_of_two_takes_over(output: str) -> None:
    storage.write(storage.join(output, ".lock"), b"left behind")
    found = find(storage.join(output, ".lock"))
    assert found
    assert not found.released
    first, second = Lease(output, HASTY), Lease(output, HASTY)
    assert first.take(found)
    assert not second.take(found)
    first.release()


def test_on_s3_the_heart_finds_out_that_the_lease_is_lost(output: str) -> None:
    lease = Lease(output, LIVELY)
    assert lease.take(None)
    storage.write(lease.address, b"taken over")
    until = time.monotonic() + 50  # less than the silence that loses it
    while not lease.lost and time.monotonic() < until:
        time.sleep(0.05)
    assert lease.lost
    lease.release()
    # What the other has put there is left alone.
    assert storage.read(lease.address) == b"taken over"


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


AT_ONCE = LeaseTimes(beat_seconds=3600, stale_seconds=0.0)


def take_over(output: str, names: list[str]) -> str:
    """Take over the lease of an output in a thread, as another run would, and return its token."""

    def other() -> str:
        with locked(output, times=AT_ONCE, naming=lambda _: {name: {"empty": True} for name in names}):
            found = find(storage.join(output, ".lock"))
            assert found
            assert found.token
            return found.token

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(other).result()


def test_on_s3_a_naming_file_carries_the_lease_that_it_was_written_under(output: str) -> None:
    with locked(output, times=QUIET):
        write_named(output, {"run.json": {"run": "a"}, "other.json": {}})
        write_named(output, {"run.json": {"run": "b"}})
        held = find(storage.join(output, ".lock"))
    assert held
    assert json.loads(storage.read(f"{output}/run.json")) == {"run": "b", "lease": held.token}
    assert json.loads(storage.read(f"{output}/other.json")) == {"lease": held.token}


@pytest.mark.parametrize("before", [b'{"run": "before"}', b"damaged", None])
def test_on_s3_a_write_on_its_way_fails_when_another_run_has_taken_over(
    output: str, faulty: FaultyS3, before: bytes | None
) -> None:
    if before:
        storage.write(f"{output}/run.json", before)
    others: list[str] = []

    def pause(request: Request) -> Fault | None:
        if request.method == "PUT" and request.path.endswith("run.json") and not others:
            others.append("")
            others.append(take_over(output, ["run.json", "features/_CURRENT.json"]))
        return None

    faulty.rule = pause
    with pytest.raises(RunError, match="another run has taken over"), locked(output, times=QUIET):
        write_named(output, {"run.json": {"run": "late"}})
    found = storage.read(f"{output}/run.json")
    if before == b"damaged":
        assert found == b"damaged\n"
    else:
        assert json.loads(found) == (json.loads(before) if before else {"empty": True}) | {"lease": others[1]}
    assert json.loads(storage.read(f"{output}/features/_CURRENT.json")) == {"empty": True, "lease": others[1]}


def test_on_s3_a_run_that_fails_for_what_another_one_has_deleted_says_so(output: str) -> None:
    def read(*, alone: bool) -> None:
        with locked(output, times=QUIET):
            if not alone:
                take_over(output, [])
            storage.read(f"{output}/gone")

    with pytest.raises(RunError, match="another run has taken over"):
        read(alone=False)
    with pytest.raises(FileNotFoundError):
        read(alone=True)


def test_on_s3_a_released_lease_is_not_taken_for_one_whose_holder_may_wake_up(output: str) -> None:
    with locked(output, times=QUIET):
        pass
    with locked(output, times=QUIET, naming=lambda _: {"run.json": {}}):
        assert not storage.exists(f"{output}/run.json")


def test_on_s3_a_heartbeat_is_not_repeated_and_its_silence_counts(output: str, faulty: FaultyS3) -> None:
    now = [0.0]
    lease = Lease(output, QUIET, clock=lambda: now[0])
    assert lease.take(None)
    faulty.rule = always(Fault.INTERNAL, "PUT", ".lock")
    before = len(faulty.requests)
    assert lease.renew()  # it says nothing yet
    assert len(faulty.requests) == before + 1
    now[0] = 61.0
    assert not lease.renew()
    lease.release()


def test_on_s3_a_heartbeat_whose_answer_was_lost_is_known_as_our_own(output: str, faulty: FaultyS3) -> None:
    lease = Lease(output, QUIET)
    assert lease.take(None)
    faulty.rule = first(Fault.LOST, method="PUT", part=".lock")
    assert lease.renew()
    assert lease.renew()
    lease.release()
    found = find(lease.address)
    assert found
    assert found.released
