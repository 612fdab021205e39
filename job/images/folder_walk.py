"""A walk through a folder or prefix: a listing of the images in it and in the folders below it.

The driver lists up to 50,000 images itself. Tasks list more, in rounds: each reads its share of the folders that are
known, hands back those that it has found beyond its limits, and they are dealt out again. Neither images nor folders
meet on the driver. A folder with more images than the driver lists is divided by ranges of names, where it is on S3.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from math import ceil
from typing import TYPE_CHECKING

from job import storage
from job.images.folder_reading import CHUNK, Reader, Reading, Span
from job.images.listing import ListedImage, Listing, write_parts
from job.images.pending_spans import SpanFile, deal, read_spans, write_spans
from job.settings import Settings
from job.spark.capacity import parallelism
from job.spark.tasks import run_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Tasks a core that walk the other folders: some folders are larger than others, and a task costs a tenth of a second.
WALKS = 8

# Ranges of a large folder for each of these tasks, which reads them side by side.
RANGES = 4
# Ranges of a division in all, unless there are more tasks.
MOST_RANGES = 1_000


@dataclass(frozen=True)
class WalkLimits:
    """How much the driver and each task lists before it hands on what is left.

    Attributes
    ----------
    driver_images, driver_folders : int
        Images that the driver lists itself, folders that it finds.
    task_images, task_folders : int
        The same for a task: twenty seconds or so.
    task_spans : int
        Folders that one task is given.
    chunk : int
        Children of a folder that are read at a time.
    """

    driver_images: int = 50_000
    driver_folders: int = 20_000
    task_images: int = 500_000
    task_folders: int = 20_000
    task_spans: int = 20_000
    chunk: int = CHUNK


LIMITS = WalkLimits()


def list_folder(
    spark: "SparkSession", settings: Settings, root: str, folder: str, limits: WalkLimits = LIMITS
) -> Listing:
    """Walk breadth first on the driver; what it has not read within its limits is left to Spark's tasks."""
    reader = Reader([Span(root)], root, settings.endings, limits.chunk)
    if settings.limit:
        chunks = list(reader.read(settings.limit))
    else:
        chunks = list(reader.read(limits.driver_images, limits.driver_folders))
    if settings.limit or not (reader.pending or reader.begun):
        return _driver_listing(chunks, folder, reader, settings.limit)
    large = [reading for reading in reader.begun if reading.images * 4 > limits.driver_images]
    if storage.in_order(root):
        small = [reading.rest() for reading in reader.begun if reading not in large]
    else:  # a task reads it again, from its start
        small, large = [reading.span for reading in reader.begun], []
        chunks = [(reading, images) for reading, images in chunks if reading not in reader.begun]
    listing = _driver_listing(chunks, folder, reader)
    spans = chain(reader.pending, small)
    _walk_by_tasks(spark, _Walk(root, settings.endings, folder, limits), spans, [x.rest() for x in large], listing)
    return listing


def _driver_listing(
    chunks: Iterable[tuple[Reading, list[ListedImage]]], folder: str, reader: Reader, limit: int | None = None
) -> Listing:
    images = list(chain.from_iterable(images for _, images in chunks))
    listing = write_parts(images[:limit], f"{folder}/driver")
    listing.unlisted += reader.unlisted
    return listing


@dataclass(frozen=True)
class _Walk:
    """A walk below a root: which images, where the listing is written, and the limits."""

    root: str
    endings: tuple[str, ...]
    folder: str
    limits: WalkLimits


@dataclass(frozen=True)
class _Share:
    """One task's share of a walk, and the address that its parts' names begin with."""

    walk: _Walk
    files: list[SpanFile]
    target: str


@dataclass(frozen=True)
class _Walked:
    """What a task has listed, and what it leaves: folders, and what is left of those that it has begun."""

    listing: Listing
    files: list[SpanFile] = field(default_factory=list)
    begun: list[Span] = field(default_factory=list)


def _walk_by_tasks(
    spark: "SparkSession", walk: _Walk, spans: Iterable[Span], large: list[Span], listing: Listing
) -> None:
    """Read spans in rounds of tasks, and add what they list; `large` spans are divided among the tasks."""
    tasks, rounds = WALKS * parallelism(spark), 0
    files = write_spans(spans, f"{walk.folder}/pending-00000-driver")
    while files or large:
        files += write_spans(_divided(large, tasks), f"{walk.folder}/pending-{rounds:05d}-divided")
        total = sum(file.stop - file.start for file in files)
        shares = [
            _Share(walk, share, f"{walk.folder}/walk-{rounds:05d}-{number:05d}")
            for number, share in enumerate(deal(files, max(tasks, ceil(total / walk.limits.task_spans))))
        ]
        files, large = [], []
        for walked in run_tasks(spark, _walk, shares):
            listing.add(walked.listing)
            files += walked.files
            large += walked.begun
        rounds += 1


def _divided(large: list[Span], tasks: int) -> list[Span]:
    """Return spans that hold the same as a few large ones, enough for the tasks."""
    ranges = max(tasks, min(RANGES * tasks, MOST_RANGES))
    parts = ceil(ranges / max(len(large), 1))
    spans = []
    for path, names in large:
        try:
            spans += [Span(path, part) for part in storage.divide(path, names, parts)]
        except storage.CredentialsError:
            raise
        except OSError:  # a task reads it undivided, or says why it cannot
            spans.append(Span(path, names))
    return spans


def _walk(share: _Share) -> _Walked:
    """Read a share of the spans and what is below them, within the limits."""
    walk = share.walk
    reader = Reader(read_spans(share.files), walk.root, walk.endings, walk.limits.chunk)
    chunks = reader.read(walk.limits.task_images, walk.limits.task_folders, leave=False)
    listing = write_parts(chain.from_iterable(images for _, images in chunks), share.target)
    listing.unlisted += reader.unlisted
    left = write_spans(reader.pending, f"{share.target}-pending")
    return _Walked(listing, left, [reading.rest() for reading in reader.begun])
