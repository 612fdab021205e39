"""The reading of folders: their images, and the folders in them, a chunk at a time from several folders at once."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import NamedTuple

from job import storage
from job.images.listing import ListedImage
from job.images.rejection import NAME_NOT_UTF8
from job.images.unlisted_folders import UnlistedFolders

# Folders that are read at a time from S3, which answers slowly. A disk does not, and threads would cost a fifth more.
FOLDERS_AHEAD = 16

# Children of a folder that are read before the next folder's turn: S3's page.
CHUNK = 1000


class Span(NamedTuple):
    """A folder to read, or a range of the names in it."""

    path: str
    names: storage.NameRange = storage.ALL_NAMES


class Reading:
    """A span that is being read.

    Attributes
    ----------
    span : Span
    images : int
        Number of images so far.
    found : list of str
        Folders found since `folders` was called last.
    ended : bool
    refused : bool
        Whether storage refuses to list it.
    """

    def __init__(self, span: Span, root: str, endings: tuple[str, ...]) -> None:
        self.span, self.images, self.ended, self.refused = span, 0, False, False
        self._root, self._endings = root, endings
        self._label = None if span.path == root else storage.text(storage.name(span.path)) or None
        self._entries = storage.scan(span.path, span.names)
        self._last, self.found = span.names.after, list[str]()

    def chunk(self, children: int) -> list[ListedImage]:
        """Read some children on, and return the images among them; hidden ones are left out."""
        images: list[ListedImage] = []
        read = 0
        try:
            for entry in islice(self._entries, children):
                read += 1
                name = storage.name(entry.address)
                self._last = f"{name}/" if entry.is_folder else name
                if name.startswith("."):
                    continue
                if entry.is_folder:
                    if not storage.is_loop(entry.address, self._root):
                        self.found.append(entry.address)
                elif name.lower().endswith(self._endings):
                    images.append(_image(entry, self._label))
        except storage.CredentialsError:
            raise
        except PermissionError:  # as for a disk's lost+found
            if self.span.path == self._root or self.span.names != storage.ALL_NAMES:
                raise
            self.refused = True
        self.ended = read < children
        self.images += len(images)
        return images

    def folders(self) -> list[str]:
        """Return the folders found since the last call, in order."""
        found, self.found = sorted(self.found), []
        return found

    def rest(self) -> Span:
        """Return what is left of the span, where names are in order."""
        return Span(self.span.path, storage.NameRange(self._last, self.span.names.until))


class Reader:
    """Reads spans and the folders that it finds in them, breadth first, to the end or until it has found enough.

    Attributes
    ----------
    pending : deque of Span
        Spans not yet begun.
    begun : list of Reading
        Spans that were begun and not ended, once it has found enough.
    unlisted : UnlistedFolders
        Folders that may not be listed; the root raises `PermissionError` instead.
    """

    def __init__(self, spans: Iterable[Span], root: str, endings: tuple[str, ...], chunk: int = CHUNK) -> None:
        self.pending, self.begun, self.unlisted = deque(spans), list[Reading](), UnlistedFolders()
        self._root, self._endings, self._chunk = root, endings, chunk
        self._in_order = storage.in_order(root)

    def read(
        self, images: int = sys.maxsize, folders: int = sys.maxsize, *, leave: bool = True
    ) -> Iterator[tuple[Reading, list[ListedImage]]]:
        """Yield the images of each chunk with their reading, until it has found more images or folders than the limits.

        It then puts unfinished readings into `begun`. A reading whose names have no order cannot be continued later:
        without `leave`, it reads that one to its end.
        """
        depth = FOLDERS_AHEAD if storage.is_s3(self._root) else 1
        found_images = found_folders = 0
        enough = False
        with ThreadPoolExecutor(FOLDERS_AHEAD) as pool:
            turns: deque[tuple[Reading, Callable[[], list[ListedImage]]]] = deque()

            def read_on(reading: Reading) -> None:
                chunk = partial(reading.chunk, self._chunk)
                turns.append((reading, pool.submit(chunk).result if depth > 1 else chunk))

            while turns or (self.pending and not enough):
                while self.pending and len(turns) < depth and not enough:
                    read_on(Reading(self.pending.popleft(), self._root, self._endings))
                reading, chunk = turns.popleft()
                listed = chunk()
                if reading.ended or self._in_order:
                    below = reading.folders()
                    self.pending.extend(map(Span, below))
                    found_folders += len(below)
                found_images += len(listed)
                enough = found_images > images or found_folders + len(reading.found) > folders
                if reading.refused:
                    self.unlisted += UnlistedFolders(1, (storage.text(reading.span.path),))
                elif not reading.ended:
                    if enough and (leave or self._in_order):
                        self.begun.append(reading)
                    else:
                        read_on(reading)
                yield reading, listed


def _image(entry: storage.Entry, label: str | None) -> ListedImage:
    path = storage.text(entry.address)
    if path == entry.address:
        return ListedImage(path, label, entry.length, entry.modified, None, entry.etag)
    # Without a time it is never taken for a file whose name really is `\xff`.
    return ListedImage(path, label, entry.length, None, NAME_NOT_UTF8)
