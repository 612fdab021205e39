"""Images of the listing -> the same with their bytes, or the reason why they have none; a few are fetched ahead."""

import errno
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from job import storage
from job.image import GONE, OVER_MEMORY, Rejected
from job.listing import Image

# Fetching ahead of inference: so many images, and no more than so many bytes beyond the first.
FETCH_THREADS = 4
FETCH_IMAGES = 16
FETCH_BYTES = 32 << 20


def fetched(images: Iterator[Image], most_bytes: int) -> Iterator[tuple[Image, bytes | Rejected]]:
    """Yield images in order with their bytes, or why they have none; a few are fetched ahead."""
    with ThreadPoolExecutor(FETCH_THREADS) as pool:
        window: deque[tuple[Image, Future[bytes | Rejected]]] = deque()
        ahead = 0
        for image in images:
            while window and (len(window) >= FETCH_IMAGES or ahead + (image.length or 0) > FETCH_BYTES):
                first, future = window.popleft()
                ahead -= first.length or 0
                yield first, future.result()
            window.append((image, pool.submit(_fetch, image, most_bytes)))
            ahead += image.length or 0
        for first, future in window:
            yield first, future.result()


def _fetch(image: Image, most_bytes: int) -> bytes | Rejected:
    """Return an image's bytes. Faults of storage are raised: they are no property of the image; the task is retried."""
    if image.fault is not None:
        return Rejected(image.fault, "it could not be looked up when it was listed")
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
