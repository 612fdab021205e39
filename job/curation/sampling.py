"""Spark stage: the current features and results in; what there is in all, and a sample with coordinates and pixels.

The sample is those pictures whose hash of the path is smallest: fair, and from one day to the next the same but for
what is new.
"""

import hashlib
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from job import storage
from job.features.snapshot import RowMask, Snapshot, deal
from job.features.table import OK, read_batches
from job.images.decode import Rejected
from job.images.fetch import prefetch
from job.images.listing import ListedImage
from job.images.sandbox import DecodeOptions, Decoder
from job.settings import Settings
from job.spark.session import parallelism
from job.spark.tasks import first_attempt, run_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SAMPLE = 5_000
# A tile is what is shown of a picture; cells are what pictures are compared by: the mean brightness of squares of it.
# Brightness alone, as JPEGs saved anew may keep a quarter of the colours.
TILE = 48
CELLS = 24
_SIDE = 96  # pixels that a picture is decoded to for both
_BRIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)
# Paths of rejected pictures that are kept for each reason.
_REJECTED_PATHS = 20
_LARGEST = (1 << 64) - 1
_COLUMNS = ["path", "label", "length", "modified", "status", "reason", "width", "height"]


@dataclass
class Survey:
    """What there is: pictures by size, rejected ones by reason with some paths, and the sample's rows."""

    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    rejected: dict[str, list[str]] = field(default_factory=dict)
    sample: list[tuple[int, ListedImage]] = field(default_factory=list)  # with the hashes of their paths
    bound: int = _LARGEST  # hashes above this are no longer looked at

    def add(self, other: "Survey") -> None:
        """Take in what another task has seen."""
        self.sizes += other.sizes
        self.reasons += other.reasons
        for reason, paths in other.rejected.items():
            self.rejected[reason] = sorted([*self.rejected.get(reason, []), *paths])[:_REJECTED_PATHS]
        self.sample += other.sample
        if len(self.sample) > 2 * SAMPLE:  # sorted now and then, not for each batch
            self.trim()

    def trim(self) -> None:
        """Let go of what is no longer in the sample."""
        self.sample = sorted(self.sample)[:SAMPLE]
        if len(self.sample) == SAMPLE:
            self.bound = self.sample[-1][0]


@dataclass(frozen=True)
class Sample:
    """Pictures by path, with what is known of them.

    Attributes
    ----------
    paths : list of str [n]
    labels : list of str or None [n]
    coordinates : float32 array [n, k]
    tiles : uint8 array [n, TILE, TILE, 3]
        Gray where a picture could not be fetched any more.
    cells : float32 array [n, CELLS, CELLS]
        Mean brightness (ITU-R BT.601), 0 to 255; NaN where a picture could not be fetched.
    digests : list of bytes [n]
        Of the files' bytes; empty where there are none.
    """

    paths: list[str]
    labels: list[str | None]
    coordinates: NDArray[np.float32]
    tiles: NDArray[np.uint8]
    cells: NDArray[np.float32]
    digests: list[bytes]


def survey(spark: "SparkSession", output: str, snapshot: Snapshot) -> Survey:
    """Read what is known of every current picture but its features, once; raises `RunError`."""
    shares = deal(snapshot.row_masks, 2 * parallelism(spark))
    found = Survey()
    for part in run_tasks(spark, partial(_survey, output), shares):
        found.add(part)
    found.trim()
    return found


def _survey(output: str, row_masks: list[RowMask]) -> Survey:
    found = Survey()
    for batch in read_batches(output, row_masks, _COLUMNS):
        usable = batch.filter(pc.equal(batch.column("status"), OK))
        sizes = zip(usable.column("width").to_pylist(), usable.column("height").to_pylist(), strict=True)
        here = Survey(Counter(sizes), sample=_smallest(usable, found.bound))
        for row in batch.filter(pc.not_equal(batch.column("status"), OK)).select(["reason", "path"]).to_pylist():
            here.reasons[row["reason"]] += 1
            here.rejected.setdefault(row["reason"], []).append(row["path"])
        found.add(here)
    return found


def _smallest(usable: pa.RecordBatch, bound: int) -> list[tuple[int, ListedImage]]:
    """Return those pictures of a batch whose hash is at most the bound."""
    hashes = [_hash(path) for path in usable.column("path").to_pylist()]
    few = usable.take(pa.array([row for row, number in enumerate(hashes) if number <= bound], pa.int64()))
    few = few.set_column(3, "modified", few.column("modified").cast(pa.int64()))
    images = [ListedImage(row["path"], row["label"], row["length"], row["modified"], None) for row in few.to_pylist()]
    return list(zip((number for number in hashes if number <= bound), images, strict=True))


def _hash(path: str) -> int:
    return int.from_bytes(hashlib.blake2b(path.encode(), digest_size=8).digest(), "big")


def sample(spark: "SparkSession", found: Survey, results: list[str], settings: Settings) -> Sample:
    """Return a survey's sample: coordinates from the results' Parquet parts, pixels from the pictures themselves.

    Parameters
    ----------
    results : list of str
        Addresses of the parts.
    settings : Settings
        The limits that the pictures were decoded within.
    """
    way = DecodeOptions(_SIDE, "fast", settings.max_pixels, settings.decode_seconds, settings.decode_bytes)
    images = sorted(image for _, image in found.sample)
    bound = max(number for number, _ in found.sample)
    places = {image.path: row for row, image in enumerate(images)}
    coordinates: NDArray[np.float32] | None = None
    for paths, values in run_tasks(spark, partial(_coordinates, bound), results):
        if coordinates is None:
            coordinates = np.full((len(images), values.shape[1]), np.nan, np.float32)
        coordinates[[places[path] for path in paths]] = values
    assert coordinates is not None
    count = 2 * parallelism(spark)
    shares = [images[part::count] for part in range(min(count, len(images)))]
    pixels = run_tasks(spark, partial(_pixels, way), shares)
    tiles = np.full((len(images), TILE, TILE, 3), 128, np.uint8)
    cells = np.full((len(images), CELLS, CELLS), np.nan, np.float32)
    digests = [b""] * len(images)
    for part, (some_tiles, some_cells, some_digests) in enumerate(pixels):
        tiles[part::count], cells[part::count], digests[part::count] = some_tiles, some_cells, some_digests
    return Sample(
        [image.path for image in images], [image.label for image in images], coordinates, tiles, cells, digests
    )


def _coordinates(bound: int, address: str) -> tuple[list[str], NDArray[np.float32]]:
    """Return from a part of the results the sample's paths, and their coordinates [n, k]."""
    paths: list[str] = []
    values: list[NDArray[np.float32]] = []
    with storage.open_input(address) as file:
        for batch in pq.ParquetFile(file).iter_batches(10_000, columns=["path", "pca_features"]):
            names = batch.column("path").to_pylist()
            rows = [row for row, path in enumerate(names) if _hash(path) <= bound]
            vectors = batch.column("pca_features").flatten().to_numpy().reshape(len(names), -1)
            paths += [names[row] for row in rows]
            values.append(np.asarray(vectors[rows], np.float32))
    return paths, np.concatenate(values)


def _pixels(
    way: DecodeOptions, images: list[ListedImage]
) -> tuple[NDArray[np.uint8], NDArray[np.float32], list[bytes]]:
    """Fetch and decode pictures, in a worker; one that is not what was listed any more stays gray."""
    tiles = np.full((len(images), TILE, TILE, 3), 128, np.uint8)
    cells = np.full((len(images), CELLS, CELLS), np.nan, np.float32)
    digests = [b""] * len(images)
    # What storage refuses or fails to give now is missing in the report; the results are right without it.
    with Decoder(way, isolated=not first_attempt()) as decoder, suppress(OSError):
        for row, (_, data) in enumerate(prefetch(iter(images), way.memory_bytes)):
            if isinstance(data, Rejected):
                continue
            with suppress(Rejected):
                pixels = decoder.decode(data).pixels
                tiles[row] = np.rint(_means(pixels, TILE))
                cells[row] = _means(pixels, CELLS) @ _BRIGHTNESS
                digests[row] = hashlib.blake2b(data, digest_size=16).digest()
    return tiles, cells, digests


def _means(pixels: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Return the mean colours [side, side, 3] of squares of pixels."""
    size = len(pixels) // side
    means: NDArray[np.float32] = pixels.reshape(side, size, side, size, 3).mean(axis=(1, 3), dtype=np.float32)
    return means
