"""One run at a time on an output: the kernel's lock on a local disk, a lease on S3."""

import fcntl
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from job import storage
from job.errors import RunError
from job.progress import Progress
from job.storage.lease import Lease, LeaseTimes, busy, leased

# Outputs that threads of this process hold: a run holds one lock while its stages, in its thread, ask for it again.
_held: dict[tuple[str, int], Lease | None] = {}


@contextmanager
def locked(output: str, progress: Progress | None = None, times: LeaseTimes | None = None) -> Iterator[None]:
    """Hold an output for the duration of the block; the same thread may ask for it again within the block.

    On a local disk the lock ends with the process that holds it, however that ends. On S3 it is a lease with a
    heartbeat; the lease of another run is watched for two minutes, and taken over if its heart does not beat.

    Raises
    ------
    JobError
        Where another run holds the output.
    """
    address = storage.absolute(output)
    hold = (address, threading.get_ident())
    if hold in _held:
        yield
        return
    if storage.is_s3(address):
        holding: AbstractContextManager[Lease | None] = leased(address, progress or Progress(), times or LeaseTimes())
    else:
        holding = _flocked(address)
    with holding as lease:
        _held[hold] = lease
        try:
            yield
        finally:
            _held.pop(hold, None)


def check_held(output: str) -> None:
    """Refuse to go on where another run has, or may have, taken over the lease of an output on S3.

    The lease is renewed by this very call: a process that was paused learns of it here.

    Raises
    ------
    RunError
        In that case; nothing more may be written.
    """
    lease = _held.get((storage.absolute(output), threading.get_ident()))
    if lease and not lease.renew():
        raise RunError(
            f"another run has taken over {output}, because this one was silent for too long; run again later"
        )


def write_named(output: str, name: str, data: bytes) -> None:
    """Write a file below an output that names others: from then on, these count.

    Raises
    ------
    RunError
        Where another run has taken over the output.
    """
    check_held(output)
    storage.write(storage.join(output, name), data)


@contextmanager
def _flocked(address: str) -> Iterator[None]:
    Path(address).mkdir(parents=True, exist_ok=True)
    with Path(address, ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise busy(address) from None
        yield
