"""The pictures that were named on a command line: files, folders read recursively, addresses on S3."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from job import storage
from job.errors import JobError
from job.settings import DEFAULT_INCLUDE

_ENDINGS = tuple(f".{ending}" for ending in DEFAULT_INCLUDE.split(","))


def find(names: Iterable[str]) -> list[str]:
    """Return the addresses of pictures, each once: of a folder all with an ending of pictures, sorted.

    Raises
    ------
    JobError
        For what is not there or may not be read, and for folders without pictures.
    """
    found: dict[str, None] = {}
    for name in names:
        address = storage.absolute(name)
        try:
            if not storage.stat(address).is_folder:
                found[address] = None
                continue
            inside = sorted(_below(address, frozenset()))
        except OSError as error:
            raise JobError(f"cannot read {error.filename or name}: {error.strerror or error}") from None
        if not inside:
            raise JobError(f"no pictures in {name}: none of its files ends in {', '.join(_ENDINGS)}")
        found |= dict.fromkeys(inside)
    return list(found)


def _below(folder: str, above: frozenset[str]) -> Iterator[str]:
    """Yield the pictures in a folder and those below; `above` are real paths of it, so that circles of links end."""
    real = folder if storage.is_s3(folder) else os.path.realpath(folder)
    if real in above:
        return
    for entry in storage.scan(folder):
        if entry.is_folder:
            yield from _below(entry.address, above | {real})
        elif entry.address.lower().endswith(_ENDINGS) and not Path(entry.address).name.startswith("."):
            yield entry.address
