"""A walk through a folder or prefix: a listing of the images in it and in the folders below it.

The driver lists up to 50,000 images itself. Spark lists more, folder by folder; they never meet on the driver.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING

from job import storage
from job.images.listing import ListedImage, Listing, UnlistedFolders, write_parts
from job.images.rejection import NAME_NOT_UTF8
from job.settings import Settings
from job.spark.capacity import parallelism
from job.spark.tasks import run_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Images that the driver lists itself; beyond them it hands the folders that are left to Spark.
DRIVER_IMAGES = 50_000

# Tasks a core that walk the other folders: some folders are larger than others, and a task costs a tenth of a second.
WALKS = 8

# Folders to ask for before it is their turn.
FOLDERS_AHEAD = 16


def list_folder(
    spark: "SparkSession", settings: Settings, root: str, folder: str, driver_images: int = DRIVER_IMAGES
) -> Listing:
    """Walk breadth first on the driver; after `driver_images` images leave the folders not yet read to Spark."""
    bound = settings.limit or driver_images
    images: list[ListedImage] = []
    pending = deque([root])
    unlisted: list[str] = []
    for found in _opened(pending, root, settings.endings, unlisted):
        known = len(images)
        images.extend(islice(found, bound + 1 - known))
        if len(images) > bound:
            if settings.limit:
                break
            listing = write_parts(images[:known], f"{folder}/driver")  # a task reads this folder again, from its start
            listing.unlisted += _unlisted(unlisted)
            for part in run_tasks(spark, _walk, _walks(spark, list(pending), root, settings.endings, folder)):
                listing.add(part)
            return listing
    listing = write_parts(images[: settings.limit], f"{folder}/driver")
    listing.unlisted += _unlisted(unlisted)
    return listing


@dataclass(frozen=True)
class _Walk:
    """Folders for one task to walk, and the address that its parts' names begin with."""

    paths: list[str]
    root: str
    endings: tuple[str, ...]
    target: str


def _walks(spark: "SparkSession", pending: list[str], root: str, endings: tuple[str, ...], folder: str) -> list[_Walk]:
    """Deal the pending folders out to tasks."""
    count = min(len(pending), WALKS * parallelism(spark))
    return [_Walk(pending[part::count], root, endings, f"{folder}/walk-{part:05d}") for part in range(count)]


def _walk(task: _Walk) -> Listing:
    unlisted: list[str] = []
    folders = _opened(deque(task.paths), task.root, task.endings, unlisted)
    listing = write_parts(chain.from_iterable(folders), task.target)
    listing.unlisted += _unlisted(unlisted)
    return listing


def _opened(
    pending: deque[str], root: str, endings: tuple[str, ...], unlisted: list[str]
) -> Iterator[Iterator[ListedImage]]:
    """Yield the images of each pending folder, breadth first; a folder stays the first of `pending` until it is read.

    Folders found in it are then added to `pending`; folders that may not be listed, but for the root, to `unlisted`. S3
    answers slowly, so the next few folders are asked for ahead; a
    disk does not, and threads would cost a fifth more.
    """
    depth = FOLDERS_AHEAD if storage.is_s3(root) else 1
    with ThreadPoolExecutor(FOLDERS_AHEAD) as pool:
        ahead: deque[Callable[[], tuple[Iterator[ListedImage], list[str]]]] = deque()
        while pending:
            for path in islice(pending, len(ahead), depth):
                children = partial(_children, path, root, endings, unlisted)
                ahead.append(pool.submit(_begun, children).result if depth > 1 else children)
            images, folders = ahead.popleft()()
            yield images
            pending.popleft()
            pending.extend(folders)


def _begun(children: Callable[[], tuple[Iterator[ListedImage], list[str]]]) -> tuple[Iterator[ListedImage], list[str]]:
    """Return a folder's `_children` once storage has given its first answer."""
    images, folders = children()
    return chain(list(islice(images, 1)), images), folders


def _children(
    path: str, root: str, endings: tuple[str, ...], unlisted: list[str]
) -> tuple[Iterator[ListedImage], list[str]]:
    """Return the images directly in a folder, as they are read, and a list that the same reading fills with folders."""
    folders: list[str] = []
    label = None if path == root else storage.text(storage.name(path)) or None

    def images() -> Iterator[ListedImage]:
        for entry in _entries(path, root, unlisted):
            name = storage.name(entry.address)
            if name.startswith("."):
                continue
            if entry.is_folder:
                if not storage.is_loop(entry.address, root):
                    folders.append(entry.address)
            elif name.lower().endswith(endings):
                yield _image(entry, label)
        folders.sort()

    return images(), folders


def _entries(path: str, root: str, unlisted: list[str]) -> Iterator[storage.Entry]:
    """Yield the children of a folder; one below the root that may not be listed, as a disk's lost+found, is noted."""
    try:
        yield from storage.scan(path)
    except storage.CredentialsError:
        raise
    except PermissionError:
        if path == root:
            raise
        unlisted.append(storage.text(path))


def _image(entry: storage.Entry, label: str | None) -> ListedImage:
    path = storage.text(entry.address)
    if path == entry.address:
        return ListedImage(path, label, entry.length, entry.modified, None, entry.etag)
    # Without a time it is never taken for a file whose name really is `\xff`.
    return ListedImage(path, label, entry.length, None, NAME_NOT_UTF8)


def _unlisted(names: list[str]) -> UnlistedFolders:
    return sum((UnlistedFolders(1, (name,)) for name in names), UnlistedFolders())
