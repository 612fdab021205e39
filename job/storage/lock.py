"""One run at a time on an output: the kernel's lock on a local disk, a lease on S3."""

import fcntl
import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from job import storage
from job.errors import JobError, RunError
from job.progress import Progress

# A lease that has not beaten for so long is taken over.
STALE_SECONDS = 120.0
BEAT_SECONDS = 20.0
LOOK_SECONDS = 5.0

# Outputs that this process holds: a run holds one lock while its stages ask for it again.
_held: "dict[str, _Lease | None]" = {}


@contextmanager
def locked(output: str, progress: Progress | None = None) -> Iterator[None]:
    """Hold an output for as long as it lasts; within this process it can be asked for again.

    On a local disk the lock ends with the process that holds it, however that ends. On S3 it is a lease that beats; one
    that is found is watched for two minutes, and taken over if it does not beat.

    Raises
    ------
    JobError
        Where another run holds the output.
    """
    address = storage.absolute(output)
    if address in _held:
        yield
        return
    with _leased(address, progress or Progress()) if storage.is_s3(address) else _flocked(address):
        try:
            yield
        finally:
            _held.pop(address, None)


def check_held(output: str) -> None:
    """Refuse to go on where another run has taken over the lease of an output on S3, after we failed to beat.

    Raises
    ------
    RunError
        In that case; nothing more may be written.
    """
    lease = _held.get(storage.absolute(output))
    if lease and lease.lost:
        raise RunError(
            f"another run has taken over {output}, as this one was not heard of for too long; run again later"
        )


@contextmanager
def _flocked(address: str) -> Iterator[None]:
    Path(address).mkdir(parents=True, exist_ok=True)
    with Path(address, ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JobError(_busy(address)) from None
        _held[address] = None
        yield


def _busy(address: str) -> str:
    return f"another run is writing to {address}; wait for it to end, or use another --output"


class _Lease:
    """A lease on S3: an object that its holder rewrites every few seconds, each time only if it is still its own."""

    def __init__(self, address: str) -> None:
        self.address = storage.join(address, ".lock")
        self.lost = False
        self._holder = f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(4)}"
        self._beats = 0
        self._tag: str | None = None
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def take(self, tag: str | None) -> bool:
        """Take the lease if nobody has changed it since it had this tag (None: since it was not there)."""
        self._tag = storage.write_if(self.address, self._body(), tag)
        if self._tag:
            self._heart.start()
        return self._tag is not None

    def release(self) -> None:
        """Stop beating, and delete the lease if it is still ours."""
        self._ended.set()
        self._heart.join()
        if not self.lost:
            storage.remove(self.address)

    def _body(self) -> bytes:
        self._beats += 1
        return json.dumps({"holder": self._holder, "beats": self._beats}).encode()

    def _beat(self) -> None:
        last = time.monotonic()
        while not self._ended.wait(BEAT_SECONDS):
            try:
                tag = storage.write_if(self.address, self._body(), self._tag)
            except OSError:
                # Out of reach for a moment is no loss; for too long it is, as others may have taken over.
                self.lost = time.monotonic() - last > STALE_SECONDS
                continue
            if tag is None:
                self.lost = True
                return
            self._tag, last = tag, time.monotonic()


@contextmanager
def _leased(address: str, progress: Progress) -> Iterator[None]:
    lease = _Lease(address)
    if not lease.take(None):
        tag = _watch(lease.address, address, progress)
        if not lease.take(tag):
            raise JobError(_busy(address))
    _held[address] = lease
    try:
        yield
    finally:
        lease.release()


def _watch(lease: str, address: str, progress: Progress) -> str | None:
    """Watch a lease that was found; return its tag, once it has not beaten for too long, or None if it was released."""
    try:
        _, found = storage.read_tagged(lease)
    except FileNotFoundError:
        return None
    progress.say(f"another run holds {address}; watching for {STALE_SECONDS:.0f} s whether it still lives")
    until = time.monotonic() + STALE_SECONDS
    while time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
        try:
            _, tag = storage.read_tagged(lease)
        except FileNotFoundError:
            return None
        if tag != found:
            raise JobError(_busy(address))
    progress.say(f"it does not; taking over {address}")
    return found
