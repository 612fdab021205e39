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
    """The times of a lease, in seconds.

    Attributes
    ----------
    beat_seconds : float
        Between heartbeats.
    look_seconds : float
        Between looks at another's heartbeat, and before a heartbeat that failed is tried again.
    stale_seconds : float
        Of silence after which others may take a lease over.
    lost_seconds : float
        Of silence after which its holder considers it lost.
    """

    beat_seconds: float = 20.0
    look_seconds: float = 5.0
    stale_seconds: float = 120.0
    lost_seconds: float = 60.0


def now() -> float:
    """Return a monotonic clock in seconds; on Linux it also counts the time that the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


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

    Attributes
    ----------
    token : str
        Names this lease and no other.
    taken_over : bool
        Whether the holder before did not release it, and may still be alive.
    """

    def __init__(self, output: str, times: LeaseTimes, clock: Callable[[], float] = now) -> None:
        self.address = storage.join(output, ".lock")
        self.token = f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(4)}"
        self.taken_over = False
        self._times, self._clock = times, clock
        self._beats = 0
        self._tag: str | None = None
        self._renewed = 0.0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def take(self, found: "Found | None") -> bool:
        """Take the lease if it is still as it was found (None: if there is still none); return whether it did."""
        asked = self._clock()
        self._tag = storage.write_if(self.address, self._body(), found.tag if found else None)
        self._renewed, self.taken_over = asked, found is not None and not found.released
        if self._tag:
            self._heart.start()
        return self._tag is not None

    @property
    def lost(self) -> bool:
        """Whether another run has, or may have, taken it over."""
        return self._tag is None or self._clock() - self._renewed > self._times.lost_seconds

    def renew(self) -> bool:
        """Rewrite the lease if it is still ours; return whether it is. A fault of storage says nothing yet."""
        with self._lock:
            if self.lost:
                self._tag = None  # for good: what others do from now on is not seen
                return False
            asked = self._clock()
            with suppress(OSError):
                self._tag = self._rewritten(self._body())
                self._renewed = asked
            return not self.lost

    def release(self) -> None:
        """Stop beating, and leave the lease to whoever comes next, if it is still ours."""
        self._ended.set()
        self._heart.join()
        with self._lock, suppress(OSError):
            if not self.lost:
                self._rewritten(self._body(released=True))
            self._tag = None

    def _rewritten(self, body: bytes) -> str | None:
        """Return the tag of the lease with a new content, None where another run has written it."""
        tag = storage.write_if(self.address, body, self._tag, hasty=True)
        if tag is None:
            found = find(self.address)
            if found and found.token == self.token:  # our own last one, whose answer was lost
                tag = storage.write_if(self.address, body, found.tag, hasty=True)
        return tag

    def _body(self, *, released: bool = False) -> bytes:
        self._beats += 1
        return json.dumps({"holder": self.token, "beats": self._beats, "released": released}).encode()

    def _beat(self) -> None:
        seconds = self._times.beat_seconds
        while not self._ended.wait(seconds) and self.renew():
            # A beat that has failed is made again soon.
            late = self._clock() - self._renewed > self._times.look_seconds
            seconds = min(self._times.look_seconds, self._times.beat_seconds) if late else self._times.beat_seconds


@dataclass(frozen=True)
class Found:
    """A lease as it was found: the tag of its object, the token in it, whether its holder has released it."""

    tag: str
    token: str | None
    released: bool


def find(address: str) -> Found | None:
    """Return the lease at an address, None where there is none."""
    try:
        body, tag = storage.read_tagged(address)
    except FileNotFoundError:
        return None
    try:
        values = json.loads(body)
        return Found(tag, values["holder"], bool(values.get("released")))
    except (ValueError, LookupError, TypeError, AttributeError):  # of another version
        return Found(tag, None, False)


@contextmanager
def leased(output: str, progress: Progress, times: LeaseTimes) -> Iterator[Lease]:
    """Hold the lease on an output for the duration of the block.

    Raises
    ------
    JobError
        Where another run holds it.
    """
    lease = Lease(output, times)
    if not lease.take(None) and not lease.take(_watch(lease.address, output, progress, times)):
        raise busy(output)
    try:
        yield lease
    finally:
        lease.release()


def _watch(lease: str, output: str, progress: Progress, times: LeaseTimes) -> Found | None:
    """Watch another run's lease; return it once it is released, or has been silent for too long."""
    found = find(lease)
    if found is None or found.released:
        return found
    progress.say(f"another run holds {output}; watching for {times.stale_seconds:.0f} s whether it still lives")
    until = now() + times.stale_seconds
    while now() < until:
        time.sleep(times.look_seconds)
        seen = find(lease)
        if seen is None or seen.released:
            return seen
        if seen.tag != found.tag:
            raise busy(output)
    progress.say(f"that run no longer lives; taking over {output}")
    return found


def busy(output: str) -> JobError:
    """Return the error for an output that another run holds."""
    return JobError(f"another run is writing to {output}; wait for it to end, or use another --output")
