"""The images that a command line names: files, folders read recursively, addresses on S3."""

from collections.abc import Iterable, Iterator

from job import storage
from job.errors import JobError
from job.settings import Settings

_ENDINGS = Settings().endings


def find_images(names: Iterable[str]) -> list[str]:
    """Return the addresses of images, each once: in a folder, all files with an image's ending, sorted.

    Raises
    ------
    JobError
        For a name that does not exist or cannot be read, and for a folder without images.
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
            raise JobError(f"no images in {name}: none of its files ends in {', '.join(_ENDINGS)}")
        found |= dict.fromkeys(inside)
    return list(found)


def _below(folder: str, root: str) -> Iterator[str]:
    """Yield the images in a folder and its subfolders, by the job's own rules."""
    for entry in storage.scan(folder):
        if storage.name(entry.address).startswith("."):
            continue
        if entry.is_folder:
            if not storage.is_loop(entry.address, root):
                yield from _below(entry.address, root)
        elif entry.address.lower().endswith(_ENDINGS):
            yield entry.address
