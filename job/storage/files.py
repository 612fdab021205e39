"""Files by address, wherever they lie: each function passes to `local` or to `objects`, which behave alike."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from job.storage import local, objects
from job.storage.address import is_s3
from job.storage.entry import Entry
from job.storage.name_range import ALL_NAMES, NameRange


def scan(folder: str, names: NameRange = ALL_NAMES) -> Iterator[Entry]:
    """Yield the children of a folder or prefix; links are followed, dangling ones are left out.

    Parameters
    ----------
    names : NameRange
        Only children whose names lie in it, in their order; all names where a folder is not `in_order`.

    Raises
    ------
    FileNotFoundError, NotADirectoryError, PermissionError
        As the file system or S3 says.
    """
    return objects.scan(folder, names) if is_s3(folder) else local.scan(folder)


def stat(address: str) -> Entry:
    """Return the entry of a file or folder; a prefix on S3 is a folder unless an object has that very key.

    Raises
    ------
    FileNotFoundError, PermissionError
        As the file system or S3 says.
    """
    return objects.stat(address) if is_s3(address) else local.stat(address)


def exists(address: str) -> bool:
    """Return whether there is a file, a folder, or an object below this address."""
    try:
        stat(address)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def fetch(address: str) -> tuple[bytes, Entry]:
    """Return a file's bytes and, from the same reading, its length and modification time.

    Raises
    ------
    FileNotFoundError, PermissionError, OSError
        As the file system or S3 says.
    """
    return objects.fetch(address) if is_s3(address) else local.fetch(address)


def read(address: str) -> bytes:
    """Return a file's bytes; raises as `fetch`."""
    return fetch(address)[0]


def open_input(address: str) -> BinaryIO:
    """Open a seekable file for reading; on S3 only the ranges that are read travel."""
    return objects.open_input(address) if is_s3(address) else Path(address).open("rb")


def write(address: str, data: bytes) -> None:
    """Write a file by one rename or one PUT: a reader finds the old bytes or the new, whole."""
    with create(address) as path:
        path.write_bytes(data)


def create(address: str) -> AbstractContextManager[Path]:
    """Yield a local path to write to; on leaving it is renamed or uploaded to the address, on an error dropped."""
    return objects.create(address) if is_s3(address) else local.create(address)


def remove(address: str, proceed: Callable[[], None] = lambda: None) -> None:
    """Delete a file, or a folder or prefix with everything in it; an absent one is no error.

    Parameters
    ----------
    address : str
    proceed : callable
        Called once the files to delete are known, before the first of them goes; may raise.
    """
    if is_s3(address):
        objects.remove(address, proceed)
    else:
        proceed()
        local.remove(address)


def walk(folder: str) -> Iterator[Entry]:
    """Yield all files below a folder or prefix, at whatever depth; none where it does not exist."""
    return objects.walk(folder) if is_s3(folder) else local.walk(folder)


def show(source: str, folder: str, name: str, proceed: Callable[[], None]) -> None:
    """Have a folder hold nothing but the folder `name` with the files of the folder `source`.

    On a local disk, readers find the folder as it was or as it is to be, at every moment: it is exchanged in one step
    where the disk can do that (Linux, macOS), else in two. On S3 it holds both for as long as copying takes.

    Parameters
    ----------
    source, folder : str
        Addresses.
    name : str
    proceed : callable
        Called before anything is changed, and before anything that was there is deleted; may raise.
    """
    if is_s3(folder):
        objects.show(source, folder, name, proceed)
    else:
        local.show(source, folder, name, proceed)


def is_loop(path: str, root: str) -> bool:
    """Return whether a folder below `root` is, through a link, one of its own ancestors; no prefix on S3 is."""
    return not is_s3(path) and local.is_loop(path, root)
