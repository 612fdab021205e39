"""Images of the listing -> the same with their bytes, or the reason why they have none; a few are fetched ahead."""

import errno
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from job import storage
from job.errors import RunError
from job.images.decode import GONE, NAME_NOT_UTF8, OVER_MEMORY, Rejected
from job.images.listing import ListedImage

# Fetching ahead of inference: so many requests, and no more than so many bytes beyond the first.
FETCH_THREADS = 16
FETCH_AHEAD = 32
FETCH_BYTES = 32 << 20
# A request is one object of S3, or so many small files of a disk: to hand a file to a thread and back takes five times
# as long as to read it.
DISK_FILES = 16
DISK_BYTES = 1 << 20

# What a row says of an image that the listing could not hand on.
_FAULTS = {
    GONE: "not there when it was looked up",
    NAME_NOT_UTF8: r"the bytes of its name are not UTF-8 (in the path: \xNN); rename it",
}


def prefetch(images: Iterator[ListedImage], most_bytes: int) -> Iterator[tuple[ListedImage, bytes | Rejected]]:
    """Yield images in order with their bytes, or why they have none; a few are fetched ahead."""
    pool = ThreadPoolExecutor(FETCH_THREADS)
    try:
        window: deque[tuple[list[ListedImage], Future[list[bytes | Rejected]]]] = deque()
        ahead = 0
        for request in _requests(images):
            while window and (len(window) >= FETCH_AHEAD or ahead + _bytes(request) > FETCH_BYTES):
                first, future = window.popleft()
                ahead -= _bytes(first)
                yield from zip(first, future.result(), strict=True)
            window.append((request, pool.submit(_fetch_all, request, most_bytes)))
            ahead += _bytes(request)
        for first, future in window:
            yield from zip(first, future.result(), strict=True)
    finally:
        # After a fault: those not begun would each wait as long for the same.
        pool.shutdown(cancel_futures=True)


def _requests(images: Iterator[ListedImage]) -> Iterator[list[ListedImage]]:
    """Yield images in order as they are fetched, several together or one by one."""
    request: list[ListedImage] = []
    for image in images:
        if request and (
            storage.is_s3(image.path) or len(request) == DISK_FILES or _bytes([*request, image]) > DISK_BYTES
        ):
            yield request
            request = []
        request.append(image)
    if request:
        yield request


def _bytes(request: list[ListedImage]) -> int:
    return sum(image.length or 0 for image in request)


def _fetch_all(request: list[ListedImage], most_bytes: int) -> list[bytes | Rejected]:
    return [_fetch(image, most_bytes) for image in request]


def check_readable(images: Iterator[ListedImage], most_bytes: int) -> None:
    """Read one image, the first that is there, before any work is done.

    Raises
    ------
    RunError
        Where storage refuses it or fails.
    """
    try:
        for image in images:
            if not isinstance(_fetch(image, most_bytes), Rejected):
                return
    except PermissionError as error:
        raise refusal(error) from None
    except OSError as error:
        raise RunError(f"cannot read {error.filename}: {error.strerror or error}") from None


def refusal(error: PermissionError) -> RunError:
    """Return the error with which a run ends that may not read or write something."""
    return RunError(
        f"cannot read or write {error.filename}: {error.strerror}; what was committed stays, run again when it may"
    )


def _fetch(image: ListedImage, most_bytes: int) -> bytes | Rejected:
    """Return an image's bytes. Faults of storage are raised: they are no property of the image; the task is retried."""
    if image.fault is not None:
        return Rejected(image.fault, _FAULTS[image.fault])
    if (image.length or 0) > most_bytes:
        return Rejected(OVER_MEMORY, f"the file has {image.length:,} bytes; decoding may take {most_bytes:,}")
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
