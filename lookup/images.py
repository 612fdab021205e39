"""The pictures that were named on a command line: files, folders read recursively, addresses on S3."""

from collections.abc import Iterable, Iterator

from job import storage
from job.errors import JobError
from job.images.listing import is_loop
from job.settings import Settings

_ENDINGS = Settings().endings


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
            inside = sorted(_below(address, address))
        except OSError as error:
            raise JobError(f"cannot read {error.filename or name}: {error.strerror or error}") from None
        if not inside:
            raise JobError(f"no pictures in {name}: none of its files ends in {', '.join(_ENDINGS)}")
        found |= dict.fromkeys(inside)
    return list(found)


def _below(folder: str, root: str) -> Iterator[str]:
    """Yield the pictures in a folder and those below, by the job's own rules."""
    for entry in storage.scan(folder):
        if storage.name(entry.address).startswith("."):
            continue
        if entry.is_folder:
            if not is_loop(entry.address, root):
                yield from _below(entry.address, root)
        elif entry.address.lower().endswith(_ENDINGS):
            yield entry.address
