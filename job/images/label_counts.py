"""Numbers of images by label, in bounded memory: where there are too many labels, a digest of them is left.

An archive with a folder for each image has as many labels as images. It needs no Arrow.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

# Most labels whose numbers of images the driver, `_CURRENT.json` and `run.json` hold: about 10 MB.
LABELS = 100_000
# Most labels of one part of a listing that its task returns: hundreds of parts arrive at once.
PART_LABELS = 10_000

_MODULUS = 2**32


@dataclass(frozen=True)
class LabelDigest:
    """A digest of the labels of some images; the digests of two sets of images add up to that of both.

    The sum of a hash of each image's label, modulo 2**32: an additive multiset hash (Clarke et al., "Incremental
    multiset hash functions and their application to memory integrity checking", ASIACRYPT 2003, section 5). It tells
    labels that were mixed up by accident, and is no protection against intent.

    Attributes
    ----------
    images : int
        Number of images.
    value : int
        From 0 to 2**32 - 1.
    """

    images: int = 0
    value: int = 0

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> "LabelDigest":
        """Return the digest of images that are counted by label; the label of an image without one is empty."""
        value = sum(_hash(label) * count for label, count in counts.items())
        return cls(sum(counts.values()), value % _MODULUS)

    def __add__(self, other: "LabelDigest") -> "LabelDigest":
        """Return the digest of the images of both."""
        return LabelDigest(self.images + other.images, (self.value + other.value) % _MODULUS)


@dataclass
class LabelCounts:
    """Number of images by label (the label of an image without one is empty), and the digest of these labels.

    Attributes
    ----------
    by_label : Counter or None
        None where there are too many labels.
    digest : LabelDigest
    """

    by_label: Counter[str] | None = field(default_factory=Counter)
    digest: LabelDigest = field(default_factory=LabelDigest)

    @classmethod
    def of(cls, labels: Iterable[str | None], most: int = PART_LABELS) -> "LabelCounts":
        """Return the counts of images with these labels, of at most `most` labels."""
        counts = Counter(label or "" for label in labels)
        return cls(counts if len(counts) <= most else None, LabelDigest.of(counts))

    def add(self, other: "LabelCounts", most: int = LABELS) -> None:
        """Add other images, up to `most` labels."""
        self.digest += other.digest
        if self.by_label is None or other.by_label is None:
            self.by_label = None
            return
        self.by_label.update(other.by_label)
        if len(self.by_label) > most:
            self.by_label = None


@lru_cache(LABELS)
def _hash(label: str) -> int:
    return int.from_bytes(hashlib.blake2b(label.encode(), digest_size=4).digest(), "big")
