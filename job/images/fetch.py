"""Images of the listing in, the same with their bytes out, or with the reason why they have none; reads ahead."""

import errno
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from job import storage
from job.errors import RunError
from job.images.listing import ListedImage
from job.images.rejection import GONE, NAME_NOT_UTF8, OVER_MEMORY, Rejected


@dataclass(frozen=True)
class ReadAhead:
    """Bounds on what is fetched before it is needed.

    A request fetches one object of S3, or several small files of a disk: handing a file to a thread and back takes five
    times as long as reading it.

    Attributes
    ----------
    threads : int
        Requests that are made at a time.
    requests : int
        Requests that are made or done and whose images are not needed yet.
    total_bytes : int
        Bytes that those requests may fetch, beyond the first.
    disk_files, disk_bytes : int
        Files, and their bytes, in one request to a disk.
    """

    threads: int = 16
    requests: int = 32
    total_bytes: int = 32 << 20
    disk_files: int = 16
    disk_bytes: int = 1 << 20


READ_AHEAD = ReadAhead()

# The error, in a row of the features table, of an image that the listing has no file for.
_FAULTS = {
    GONE: "not there when it was looked up",
    NAME_NOT_UTF8: r"the bytes of its name are not UTF-8 (in the path: \xNN); rename it",
}


def prefetch(
    images: Iterator[ListedImage], max_bytes: int, read_ahead: ReadAhead = READ_AHEAD
) -> Iterator[tuple[ListedImage, bytes | Rejected]]:
    """Yield images in order with their bytes, or the reason why they have none; the next ones are fetched ahead.

    Parameters
    ----------
    images : iterator of ListedImage
        Taken only as far as `read_ahead` allows.
    max_bytes : int
        Larger files are rejected without being read.
    read_ahead : ReadAhead
        How much is fetched ahead.
    """
    pool = ThreadPoolExecutor(read_ahead.threads)
    try:
        window: deque[tuple[list[ListedImage], Future[list[bytes | Rejected]]]] = deque()
        ahead = 0
        for request in _requests(images, read_ahead):
            while window and (len(window) >= read_ahead.requests or ahead + _bytes(request) > read_ahead.total_bytes):
                first, future = window.popleft()
                ahead -= _bytes(first)
                yield from zip(first, future.result(), strict=True)
            window.append((request, pool.submit(_fetch_all, request, max_bytes)))
            ahead += _bytes(request)
        for first, future in window:
            yield from zip(first, future.result(), strict=True)
    finally:
        # After a fault: requests that have not begun would each wait as long for the same fault.
        pool.shutdown(cancel_futures=True)


def _requests(images: Iterator[ListedImage], read_ahead: ReadAhead) -> Iterator[list[ListedImage]]:
    """Yield the images of each request, in order: several small files of a disk, else one."""
    request: list[ListedImage] = []
    for image in images:
        if request and (
            storage.is_s3(image.path)
            or len(request) == read_ahead.disk_files
            or _bytes([*request, image]) > read_ahead.disk_bytes
        ):
            yield request
            request = []
        request.append(image)
    if request:
        yield request


def _bytes(request: list[ListedImage]) -> int:
    return sum(image.length or 0 for image in request)


def _fetch_all(request: list[ListedImage], max_bytes: int) -> list[bytes | Rejected]:
    return [_fetch(image, max_bytes) for image in request]


def check_readable(images: Iterator[ListedImage], max_bytes: int) -> None:
    """Read one image, the first that still exists, before any work is done.

    Raises
    ------
    RunError
        Where storage refuses it or fails.
    """
    try:
        for image in images:
            if not isinstance(_fetch(image, max_bytes), Rejected):
                return
    except PermissionError as error:
        raise refusal(error) from None
    except OSError as error:
        raise RunError(f"cannot read {error.filename}: {error.strerror or error}") from None


def refusal(error: PermissionError) -> RunError:
    """Return the error that ends a run which may not read or write something."""
    return RunError(
        f"cannot read or write {error.filename}: {error.strerror}; what was committed stays; allow it and run again"
    )


def _fetch(image: ListedImage, max_bytes: int) -> bytes | Rejected:
    """Return an image's bytes, or its rejection; faults of storage, which are not the image's, are raised."""
    if image.fault is not None:
        return Rejected(image.fault, _FAULTS[image.fault])
    if (image.length or 0) > max_bytes:
        return Rejected(OVER_MEMORY, f"the file has {image.length:,} bytes; decoding may take {max_bytes:,}")
    try:
        data, found = storage.fetch(image.path)
    except (FileNotFoundError, NotADirectoryError):
        return Rejected(GONE, "deleted since it was listed")
    except OSError as error:
        if error.errno == errno.EISDIR:
            return Rejected(GONE, "replaced by a folder since it was listed")
        raise
    if (len(data), found.modified) != (image.length, image.modified):
        return Rejected(GONE, "replaced since it was listed; the next run takes the new one")
    return data
