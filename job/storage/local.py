"""Files on a local disk, as the room's interface wants them."""

import ctypes
import errno
import os
import shutil
import stat as stat_module
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
    path = _beside(target)
    try:
        yield path
        _flush(path)
        path.replace(target)
        _flush(target.parent)
    finally:
        path.unlink(missing_ok=True)


def _beside(target: Path) -> Path:
    """Return a new path beside the target; readers of Parquet folders skip it, and what a killed process leaves there.

    The target's name is no part of it: that may be as long as names can be.
    """
    return target.with_name(f".{uuid.uuid4().hex}")


def _flush(path: Path) -> None:
    """Have the disk hold a file or a folder before anything names it: a rename may outlive a power cut alone."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def show(source: str, folder: str, name: str, proceed: Callable[[], None]) -> None:
    """Have a folder hold nothing but the folder `name` with the files of `source`, in one step; see `files.show`."""
    proceed()
    target = Path(folder)
    new = _beside(target)
    try:
        shutil.copytree(source, new / name, copy_function=_link)
        if target.exists():
            _exchange(new, target)
        else:
            new.rename(target)
        _flush(target.parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _link(source: str, target: str) -> None:
    """Make a second name of a file, or a copy of it where the disk knows no second names."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


# The flags of Linux's renameat2 (RENAME_EXCHANGE) and macOS's renamex_np (RENAME_SWAP); Linux's AT_FDCWD.
_EXCHANGE = 2
_HERE = -100


def _exchange(first: Path, second: Path) -> None:
    """Exchange two folders in one step, in two where the system or the disk cannot."""
    library, names = ctypes.CDLL(None, use_errno=True), (os.fsencode(first), os.fsencode(second))
    if sys.platform == "darwin":
        failed = library.renamex_np(*names, _EXCHANGE)
    elif hasattr(library, "renameat2"):
        failed = library.renameat2(_HERE, names[0], _HERE, names[1], _EXCHANGE)
    else:
        failed = True
    if failed:
        old = _beside(second)
        second.rename(old)
        first.rename(second)
        old.rename(first)


def remove(address: str) -> None:
    """Delete a file or a folder with everything in it."""
    if Path(address).is_dir():
        shutil.rmtree(address)
    else:
        Path(address).unlink(missing_ok=True)


def walk(folder: str) -> Iterator[Entry]:
    """Yield all files below a folder, none where there is no such folder."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # gone since the folder was read
                yield stat(os.path.join(parent, name))  # noqa: PTH118 - one system call a file


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
