"""Files on a local disk, as the room's interface wants them."""

import errno
import os
import shutil
import stat as stat_module
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from job.storage.entry import Entry


def scan(folder: str) -> Iterator[Entry]:
    """Yield the children of a folder."""
    with os.scandir(folder) as children:
        for child in children:
            try:
                yield _entry(child.path, child.stat())
            except FileNotFoundError:  # a dangling link, or gone since the folder was read
                continue
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise


def stat(address: str) -> Entry:
    """Return the entry of a file or folder."""
    return _entry(address, os.stat(address))  # noqa: PTH116 - one system call gives everything


def fetch(address: str) -> tuple[bytes, Entry]:
    """Return a file's bytes and its entry, from the same open file."""
    with Path(address).open("rb") as file:
        return file.read(), _entry(address, os.fstat(file.fileno()))


@contextmanager
def create(address: str) -> Iterator[Path]:
    """Yield a path beside the target to write to, and rename it on leaving."""
    target = Path(address)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Readers of Parquet folders skip names with a leading dot, and so what a killed process leaves. The target's name
    # is no part of it: that may be as long as names can be.
    path = target.with_name(f".{uuid.uuid4().hex}")
    try:
        yield path
        path.replace(target)
    finally:
        path.unlink(missing_ok=True)


def remove(address: str) -> None:
    """Delete a file or a folder with everything in it."""
    if Path(address).is_dir():
        shutil.rmtree(address)
    else:
        Path(address).unlink(missing_ok=True)


def is_loop(path: str, root: str) -> bool:
    """Return whether a folder below `root` is, through a link, one of its own ancestors."""
    real = os.path.realpath(path)
    while len(path) > len(root):
        path = os.path.dirname(path)  # noqa: PTH120 - keeps surrogates as they came
        if os.path.realpath(path) == real:
            return True
    return False


def _entry(address: str, status: os.stat_result) -> Entry:
    if stat_module.S_ISDIR(status.st_mode):
        return Entry(address, True)
    return Entry(address, False, status.st_size, status.st_mtime_ns // 1000)
