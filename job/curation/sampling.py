"""Spark: the images of a sample in; their coordinates, read from the results, and their pixels, fetched anew, out."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from job import storage
from job.curation.draw import HashedImage, path_hash
from job.images.fetch import prefetch
from job.images.listing import ListedImage
from job.images.rejection import Rejected
from job.images.sandbox import DecodeOptions, Decoder
from job.settings import Settings
from job.spark.capacity import parallelism
from job.spark.tasks import first_attempt, run_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# The report shows an image as a tile and compares images by cells: the mean brightness of the squares of a grid.
# Brightness alone, as JPEGs that are saved again may keep a quarter of the color.
TILE = 48
CELLS = 24
_SIDE = 96  # pixels that an image is decoded to for both
GRAY = 128
_BRIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Pixels:
    """The pixels of n images, and digests of their files.

    Attributes
    ----------
    tiles : uint8 array, shape (n, TILE, TILE, 3)
        Gray where an image cannot be fetched any more.
    cells : float32 array, shape (n, CELLS, CELLS)
        Mean brightness (ITU-R BT.601), 0 to 255; NaN where an image cannot be fetched.
    digests : list of bytes
        Of the files' bytes; empty where an image cannot be fetched.
    """

    tiles: NDArray[np.uint8]
    cells: NDArray[np.float32]
    digests: list[bytes]

    @classmethod
    def missing(cls, n: int) -> "Pixels":
        """Return the pixels of images that cannot be fetched."""
        tiles = np.full((n, TILE, TILE, 3), GRAY, np.uint8)
        return cls(tiles, np.full((n, CELLS, CELLS), np.nan, np.float32), [b""] * n)


@dataclass(frozen=True)
class ImageSample:
    """A sample of n images, by path.

    Attributes
    ----------
    paths : list of str
    labels : list of str or None
    coordinates : float32 array, shape (n, k)
    pixels : Pixels
    """

    paths: list[str]
    labels: list[str | None]
    coordinates: NDArray[np.float32]
    pixels: Pixels


def read_sample(spark: "SparkSession", drawn: list[HashedImage], results: list[str], settings: Settings) -> ImageSample:
    """Return a sample with coordinates from the results and pixels from the images themselves.

    Parameters
    ----------
    drawn : list of HashedImage
    results : list of str
        Addresses of the Parquet parts of the results.
    settings : Settings
        The limits that the images were decoded within.
    """
    images = sorted(image for _, image in drawn)
    coordinates = _read_coordinates(spark, images, max(number for number, _ in drawn), results)
    options = DecodeOptions(_SIDE, "fast", settings.max_pixels, settings.decode_seconds, settings.decode_bytes)
    pixels = _read_pixels(spark, images, options)
    return ImageSample([image.path for image in images], [image.label for image in images], coordinates, pixels)


def _read_coordinates(
    spark: "SparkSession", images: list[ListedImage], bound: int, results: list[str]
) -> NDArray[np.float32]:
    """Return the coordinates of images, float32 array, shape (n, k); `bound` is the largest hash among them."""
    rows = {image.path: row for row, image in enumerate(images)}
    parts = run_tasks(spark, partial(_part_coordinates, bound), results)
    coordinates = np.full((len(images), parts[0][1].shape[1]), np.nan, np.float32)
    for paths, values in parts:
        coordinates[[rows[path] for path in paths]] = values
    return coordinates


def _part_coordinates(bound: int, address: str) -> tuple[list[str], NDArray[np.float32]]:
    """Return the paths of a part of the results whose hash is at most the bound, and their coordinates, in a worker."""
    paths: list[str] = []
    values: list[NDArray[np.float32]] = []
    with storage.open_input(address) as file:
        for batch in pq.ParquetFile(file).iter_batches(10_000, columns=["path", "pca_features"]):
            names = batch.column("path").to_pylist()
            rows = [row for row, path in enumerate(names) if path_hash(path) <= bound]
            vectors = batch.column("pca_features").flatten().to_numpy().reshape(len(names), -1)
            paths += [names[row] for row in rows]
            values.append(np.asarray(vectors[rows], np.float32))
    return paths, np.concatenate(values)


def _read_pixels(spark: "SparkSession", images: list[ListedImage], options: DecodeOptions) -> Pixels:
    tasks = min(2 * parallelism(spark), len(images))
    shares = [images[task::tasks] for task in range(tasks)]
    pixels = Pixels.missing(len(images))
    for task, part in enumerate(run_tasks(spark, partial(_fetch_pixels, options), shares)):
        pixels.tiles[task::tasks] = part.tiles
        pixels.cells[task::tasks] = part.cells
        pixels.digests[task::tasks] = part.digests
    return pixels


def _fetch_pixels(options: DecodeOptions, images: list[ListedImage]) -> Pixels:
    """Fetch and decode images, in a worker; one that has changed since it was listed stays missing."""
    pixels = Pixels.missing(len(images))
    # The report goes without what storage refuses or fails to give now; the results are right without it.
    with Decoder(options, isolated=not first_attempt()) as decoder, suppress(OSError):
        for row, (_, data) in enumerate(prefetch(iter(images), options.memory_bytes)):
            if isinstance(data, Rejected):
                continue
            with suppress(Rejected):
                decoded = decoder.decode(data).pixels
                pixels.tiles[row] = np.rint(_means(decoded, TILE))
                pixels.cells[row] = _means(decoded, CELLS) @ _BRIGHTNESS
                pixels.digests[row] = hashlib.blake2b(data, digest_size=16).digest()
    return pixels


def _means(pixels: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Return the mean colors of squares of pixels, float32 array, shape (side, side, 3)."""
    size = len(pixels) // side
    means: NDArray[np.float32] = pixels.reshape(side, size, side, size, 3).mean(axis=(1, 3), dtype=np.float32)
    return means
