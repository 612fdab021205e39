"""One run at a time on an output: the kernel's lock on a local disk, a lease on S3.

A process may pause at any moment, and continue after another run has taken over its lease. On S3, a file that names
others therefore carries the token of its writer's lease, and each write of it is conditional on the version before. A
run that takes over a lease first rewrites all such files under its own token: from then on the other run's writes fail.
A run deletes only files that no file names, and that it saw before it last checked its lease: no other run needs them.
"""

import fcntl
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from job import storage
from job.errors import RunError
from job.progress import Progress
from job.storage.lease import Lease, LeaseTimes, busy, leased

# Outputs that threads of this process hold: a run holds one lock while its stages, in its thread, ask for it again.
_held: dict[tuple[str, int], Lease | None] = {}

# Requests to S3 at a time.
_REQUESTS = 16

# Returns, for an output, the names below it of all files that name others, each with its content where there is none.
NamingFiles = Callable[[str], Mapping[str, dict[str, Any]]]


@contextmanager
def locked(
    output: str, progress: Progress | None = None, times: LeaseTimes | None = None, naming: NamingFiles = lambda _: {}
) -> Iterator[None]:
    """Hold an output for the duration of the block; the same thread may ask for it again within the block.

    On a local disk the lock ends with the process that holds it, however that ends. On S3 it is a lease with a
    heartbeat; the lease of another run is watched for two minutes, and taken over if its heart does not beat.

    Parameters
    ----------
    output : str
    progress : Progress, optional
        Where to say that another run holds it; silent by default.
    times : LeaseTimes, optional
    naming : callable
        Called where a lease is taken over.

    Raises
    ------
    JobError
        Where another run holds the output.
    RunError
        Where another run has taken over the output, and the block has failed.
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
        if lease and lease.taken_over:
            _take_over(address, lease, naming(address))
        _held[hold] = lease
        try:
            yield
        except Exception:
            if lease:
                _renew(lease)  # the cause may be what another run has deleted since it took over
            raise
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
    if lease:
        _renew(lease)


def write_named(output: str, files: Mapping[str, dict[str, Any]]) -> None:
    """Write files below an output, JSON by name, that name others: from then on, these count.

    Raises
    ------
    RunError
        Where another run has taken over the output.
    """
    lease = _held.get((storage.absolute(output), threading.get_ident()))
    token = {"lease": lease.token} if lease else {}
    contents = {storage.join(output, name): _json(values | token) for name, values in files.items()}
    if lease:
        _write_over(contents, lambda address, _: contents[address], lambda: _renew(lease))
    else:
        for address, content in contents.items():
            storage.write(address, content)


def names_nothing(values: object) -> bool:
    """Return whether the content of a naming file is only a lease: a run took it over before there was anything."""
    return isinstance(values, dict) and values.keys() == {"lease"}


def _json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=1) + "\n").encode()


def _renew(lease: Lease) -> None:
    if not lease.renew():
        output = lease.address.removesuffix("/.lock")
        raise RunError(
            f"another run has taken over {output}, because this one was silent for too long; run again later"
        )


def _write_over(
    addresses: Iterable[str], content: Callable[[str, bytes | None], bytes], proceed: Callable[[], None]
) -> None:
    """Write each file over its present version; begin again for a file that another run writes meanwhile.

    `proceed` raises where this run may not write any more. It is called after the present versions were read: a run
    that takes over the lease later writes another version first, and the write here fails.
    """

    def write(address: str, present: tuple[bytes | None, str | None]) -> bool:
        return storage.write_if(address, content(address, present[0]), present[1]) is not None

    left = list(addresses)
    with ThreadPoolExecutor(_REQUESTS) as pool:
        while left:
            present = list(pool.map(_present, left))
            proceed()
            written = list(pool.map(write, left, present))
            left = [address for address, done in zip(left, written, strict=True) if not done]


def _present(address: str) -> tuple[bytes | None, str | None]:
    """Return a file's bytes and tag, None twice where there is none."""
    try:
        return storage.read_tagged(address)
    except FileNotFoundError:
        return None, None


def _take_over(output: str, lease: Lease, naming: Mapping[str, dict[str, Any]]) -> None:
    """Rewrite all naming files with the token of this lease, so that a write of the other run on its way fails."""
    empty = {storage.join(output, name): values for name, values in naming.items()}

    def content(address: str, present: bytes | None) -> bytes:
        return _signed(present, empty[address], lease.token)

    # It need not hold the lease any more: the contents stay as they are.
    _write_over(empty, content, lambda: None)


def _signed(present: bytes | None, empty: dict[str, Any], token: str) -> bytes:
    """Return the content of a naming file with the token of a lease in it."""
    if present is None:
        return _json(empty | {"lease": token})
    try:
        return _json(json.loads(present) | {"lease": token})
    except (ValueError, TypeError):  # damaged: its reader reports it
        return present + b"\n"


@contextmanager
def _flocked(address: str) -> Iterator[None]:
    Path(address).mkdir(parents=True, exist_ok=True)
    with Path(address, ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise busy(address) from None
        yield
