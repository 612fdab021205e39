"""A lease on S3: an object that its holder rewrites every few seconds, each time only if nobody else has."""

import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from job import storage
from job.errors import JobError
from job.progress import Progress


@dataclass(frozen=True)
class LeaseTimes:
    """The seconds between heartbeats, between looks at another's heartbeat, and after which a silent lease is void."""

    beat_seconds: float = 20.0
    look_seconds: float = 5.0
    stale_seconds: float = 120.0


class Lease:
    """The lease of one process on an output.

    Parameters
    ----------
    output : str
        Address of the output on S3.
    times : LeaseTimes
        The same for all who may ask for this output.
    clock : callable
        Returns seconds that never go backwards.
    """

    def __init__(self, output: str, times: LeaseTimes, clock: Callable[[], float] = time.monotonic) -> None:
        self.address = storage.join(output, ".lock")
        self._times, self._clock = times, clock
        self._holder = f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(4)}"
        self._beats = 0
        self._tag: str | None = None
        self._renewed = 0.0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def take(self, tag: str | None) -> bool:
        """Take the lease if the object still has this tag (None: if there is still none); return whether it did."""
        asked = self._clock()
        self._tag = storage.write_if(self.address, self._body(), tag)
        self._renewed = asked
        if self._tag:
            self._heart.start()
        return self._tag is not None

    @property
    def lost(self) -> bool:
        """Whether another run has, or may have, taken it over: half the time after which others may is the limit."""
        return self._tag is None or self._clock() - self._renewed > self._times.stale_seconds / 2

    def renew(self) -> bool:
        """Rewrite the lease if it is still ours; return whether it is. A fault of storage says nothing yet."""
        with self._lock:
            if self.lost:
                self._tag = None  # for good: what others do from now on is not seen
                return False
            asked = self._clock()
            with suppress(OSError):
                self._tag = storage.write_if(self.address, self._body(), self._tag)
                self._renewed = asked
            return not self.lost

    def release(self) -> None:
        """Stop beating, and delete the lease if it is still ours."""
        self._ended.set()
        self._heart.join()
        # A newcomer takes a lease only by its tag: that of this last beat is known to nobody.
        if self.renew():
            storage.remove(self.address)

    def _body(self) -> bytes:
        self._beats += 1
        return json.dumps({"holder": self._holder, "beats": self._beats}).encode()

    def _beat(self) -> None:
        while not self._ended.wait(self._times.beat_seconds) and self.renew():
            pass


@contextmanager
def leased(output: str, progress: Progress, times: LeaseTimes) -> Iterator[Lease]:
    """Hold the lease on an output for the duration of the block.

    Raises
    ------
    JobError
        Where another run holds it.
    """
    lease = Lease(output, times)
    if not lease.take(None):
        tag = _watch(lease.address, output, progress, times)
        if not lease.take(tag):
            raise busy(output)
    try:
        yield lease
    finally:
        lease.release()


def _watch(lease: str, output: str, progress: Progress, times: LeaseTimes) -> str | None:
    """Watch another run's lease; return its tag once it has been silent for too long, or None once it is released."""
    try:
        _, found = storage.read_tagged(lease)
    except FileNotFoundError:
        return None
    progress.say(f"another run holds {output}; watching for {times.stale_seconds:.0f} s whether it still lives")
    until = time.monotonic() + times.stale_seconds
    while time.monotonic() < until:
        time.sleep(times.look_seconds)
        try:
            _, tag = storage.read_tagged(lease)
        except FileNotFoundError:
            return None
        if tag != found:
            raise busy(output)
    progress.say(f"that run no longer lives; taking over {output}")
    return found


def busy(output: str) -> JobError:
    """Return the error for an output that another run holds."""
    return JobError(f"another run is writing to {output}; wait for it to end, or use another --output")
