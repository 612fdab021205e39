"""Images in, the sample that is drawn of them out: those whose hashes of their paths are the smallest.

Every image has the same chance. From one day to the next the sample is the same but for images that are new.
"""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from job.images.listing import ListedImage

_LARGEST = (1 << 64) - 1


class HashedImage(NamedTuple):
    """An image and the hash of its path, 64 bits."""

    path_hash: int
    image: ListedImage


def path_hash(path: str) -> int:
    """Return the hash of a path by which images are drawn."""
    return int.from_bytes(hashlib.blake2b(path.encode(), digest_size=8).digest(), "big")


class Draw:
    """Draws up to `size` images of those that it is given; draws of parts add up to the draw of the whole.

    Attributes
    ----------
    bound : int
        Images with larger hashes are not drawn any more.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.bound = _LARGEST
        self._candidates: list[HashedImage] = []

    def add(self, images: Iterable[HashedImage]) -> None:
        """Add images to those that are drawn from."""
        self._candidates += images
        if len(self._candidates) > 2 * self.size:  # sorting for each batch would take longer
            self._trim()

    def drawn(self) -> list[HashedImage]:
        """Return the images drawn so far, by hash."""
        self._trim()
        return self._candidates

    def _trim(self) -> None:
        self._candidates = sorted(self._candidates)[: self.size]
        if len(self._candidates) == self.size:
            self.bound = self._candidates[-1].path_hash
