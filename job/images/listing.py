"""A listing of images: Parquet parts of their metadata, which stay where they were written."""

import secrets
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from job import storage
from job.images.label_counts import LabelCounts
from job.images.unlisted_folders import UnlistedFolders

# `fault`: null, or the reason why the image cannot even be fetched. `etag`: null but on S3.
SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("length", pa.int64()),
        ("modified", pa.timestamp("us", tz="UTC")),
        ("fault", pa.string()),
        ("etag", pa.string()),
    ]
)


class ListedImage(NamedTuple):
    """One row of the listing; `length` in bytes, `modified` in microseconds since 1970 UTC, both None if it is gone."""

    path: str
    label: str | None
    length: int | None
    modified: int | None
    fault: str | None
    etag: str | None = None


class ListingPart(NamedTuple):
    """A Parquet file of the listing and its number of rows."""

    address: str
    rows: int


@dataclass
class Listing:
    """The parts of a listing, its number of images by label, and folders that may not be listed."""

    parts: list[ListingPart] = field(default_factory=list)
    labels: LabelCounts = field(default_factory=LabelCounts)
    unlisted: UnlistedFolders = field(default_factory=UnlistedFolders)

    @property
    def rows(self) -> int:
        """Return the number of images listed."""
        return sum(part.rows for part in self.parts)

    def add(self, other: "Listing") -> None:
        """Add the listing of another task."""
        self.parts += other.parts
        self.labels.add(other.labels)
        self.unlisted += other.unlisted


def write_parts(images: Iterable[ListedImage], target: str, rows: int = 100_000) -> Listing:
    """Write images to Parquet parts of at most `rows` rows, in the order of a hash of the path.

    That order mixes folders, so that the images of any slice of a part vary in size as those of the whole do.
    """
    listing, source = Listing(), iter(images)
    # Two attempts of a task may write at a time: only the parts of the one whose result is taken count.
    attempt = secrets.token_hex(4)
    while chunk := list(islice(source, rows)):
        chunk.sort(key=lambda image: (zlib.crc32(image.path.encode()), image.path))
        address = f"{target}-{len(listing.parts):05d}-{attempt}.parquet"
        columns = dict(zip(SCHEMA.names, map(list, zip(*chunk, strict=True)), strict=True))
        with storage.create(address) as path:
            pq.write_table(pa.table(columns, schema=SCHEMA), path)
        listing.add(Listing([ListingPart(address, len(chunk))], LabelCounts.of(image.label for image in chunk)))
    return listing
