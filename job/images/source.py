"""The source of a run's images: a folder, prefix or manifest in, a listing out. Opens no image."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from job import storage
from job.errors import JobError
from job.images.folder_walk import LIMITS, WalkLimits, list_folder
from job.images.label_counts import LABELS
from job.images.listing import Listing
from job.images.manifest import list_manifest
from job.settings import Settings
from job.spark.tasks import collect_table, map_items

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_MANIFESTS = (".csv", ".parquet")


def list_images(spark: "SparkSession", settings: Settings, folder: str, *, limits: WalkLimits = LIMITS) -> Listing:
    """List the images that the settings name, and write the listing's parts into a folder.

    Parameters
    ----------
    spark : SparkSession
        Lists what is too much for the driver.
    settings : Settings
        `images`, `endings` and `limit`.
    folder : str
        Where the listing is written.
    limits : WalkLimits
        How much of a folder the driver lists itself, and how much a task.

    Raises
    ------
    JobError
        Where there is no such folder or manifest, no image in it, or no permission to list it.
    """
    root = storage.absolute(settings.images)
    try:
        if _is_manifest(root):
            listing = list_manifest(spark, root, folder, settings.limit)
        else:
            listing = list_folder(spark, settings, root, folder, limits)
    except PermissionError as error:
        raise JobError(f"cannot list {error.filename}: {error.strerror}") from None
    if not listing.rows:
        if _is_manifest(root):
            raise JobError(f"the manifest {root} lists nothing")
        raise JobError(f"no image in {root}: nothing there ends in {', '.join(settings.endings)}")
    if listing.labels.by_label is None:
        listing.labels = replace(listing.labels, by_label=count_labels(spark, listing))
    return listing


def check_images(address: str) -> None:
    """Refuse, before anything starts, a source that does not exist or is empty; raises `JobError`."""
    root = storage.absolute(address)
    try:
        entry = storage.stat(root)
        empty = entry.is_folder and next(iter(storage.scan(root)), None) is None
    except (FileNotFoundError, NotADirectoryError):
        raise JobError(f"there is no {root}; --images takes a folder, an s3:// prefix or a manifest") from None
    except PermissionError as error:
        raise JobError(f"cannot list {root}: {error.strerror}") from None
    if empty:
        raise JobError(f"{root} is empty")
    if not entry.is_folder and not _is_manifest(root):
        raise JobError(f"{root} is a file, but not a manifest that ends in .csv or .parquet")


def count_labels(spark: "SparkSession", listing: Listing, most: int = LABELS) -> Counter[str] | None:
    """Return the number of listed images by label, None where there are more than `most` labels."""

    def read(part: str) -> Iterator[pa.RecordBatch]:
        with storage.open_input(part) as file:
            yield from pq.ParquetFile(file).iter_batches(columns=["label"])

    labels = map_items(spark, [part.address for part in listing.parts], read, "label string")
    counts = collect_table(labels.fillna("").groupBy("label").count().limit(most + 1))
    if counts.num_rows > most:
        return None
    return Counter(dict(zip(counts.column("label").to_pylist(), counts.column("count").to_pylist(), strict=True)))


def _is_manifest(root: str) -> bool:
    return root.lower().endswith(_MANIFESTS) and not storage.stat(root).is_folder
