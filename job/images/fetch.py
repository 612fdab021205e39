"""Images of the listing in, the same with their bytes out, or with the reason why they have none; reads ahead."""

import errno
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from job import storage
from job.errors import RunError
from job.images.listing import ListedImage
from job.images.rejection import GONE, NAME_NOT_UTF8, NOT_READABLE, OVER_MEMORY, Rejected


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

# The rejection of an image, and its words (None: storage's own), that an error of storage means; all others may pass.
_OF_ERRORS = {
    errno.ENOENT: (GONE, "deleted since it was listed"),
    errno.ENOTDIR: (GONE, "deleted since it was listed"),
    errno.EISDIR: (GONE, "replaced by a folder since it was listed"),
    errno.EACCES: (NOT_READABLE, None),
    errno.EPERM: (NOT_READABLE, None),
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
    """Read a few images, none larger than `max_bytes`, before any work is done.

    Raises
    ------
    RunError
        Where storage refuses more than half of them, or whoever asks, or fails.
    """
    read, refused = 0, []
    try:
        for image, data in prefetch(images, max_bytes):
            read += 1
            if isinstance(data, Rejected) and data.reason == NOT_READABLE:
                refused.append(PermissionError(errno.EACCES, data.error, image.path))
    except PermissionError as error:
        raise refusal(error) from None
    except OSError as error:
        raise RunError(f"cannot read {error.filename}: {error.strerror or error}") from None
    if 2 * len(refused) > read:
        raise refusal(refused[0])


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
    except storage.CredentialsError:  # which no image is to blame for
        raise
    except OSError as error:
        if error.errno not in _OF_ERRORS:
            raise
        reason, words = _OF_ERRORS[error.errno]
        return Rejected(reason, words or error.strerror or reason)
    same_tag = image.etag is None or found.etag == image.etag
    if (len(data), found.modified) != (image.length, image.modified) or not same_tag:
        return Rejected(GONE, "replaced since it was listed; the next run takes the new one")
    return data
