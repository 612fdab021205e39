"""Millions of images, all of them known: the driver's memory and the time by their number: python -m benchmarks.scale.

Listing and features are generated: paths, labels, times and files as the job writes them; short vectors, and one color
histogram for all. Timed is what a daily run does with what it knows: labels, subtraction, PCA, results, validation.
Spark runs its executor in a process of its own, so that the driver's memory is only the driver's.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import inputs
from benchmarks.harness import Bench, bench, cores, parser, watched
from benchmarks.subprocess_session import subprocess_session
from benchmarks.vectors import FILE_ROWS, RUN, write
from job import storage
from job.command_line import Log
from job.features.diff import Reuse, subtract
from job.features.layout import model_folder, wave_name, work_name
from job.features.model import DESCRIPTION, TFLITE
from job.features.snapshot import Counts, ModelSummary, Snapshot, write_snapshot
from job.features.wave import DataFile, commit
from job.images import listing as images
from job.images.color_histogram import COLOR_BINS
from job.images.label_counts import LABELS, LabelCounts, LabelDigest
from job.images.listing import Listing, ListingPart
from job.images.source import count_labels
from job.settings import Settings
from job.spark.session import local_session
from job.spark.shipping import ship
from job.stages.reduce import reduce

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

D, COMPONENTS = 16, 4
FINGERPRINT = "0" * 16
MODEL = ModelSummary("generated", 1.0, 224, D, "none", "", "0" * 64, "0" * 64)
WAVE_FILES = 100
PART_ROWS = 100_000
MODIFIED = 1_767_225_600_000_000  # 2026-01-01, in microseconds
_MEGABYTES_OF_EXECUTOR = 4096


@dataclass(frozen=True)
class Archive:
    """An archive of images in folders: image i is in folder i modulo their number."""

    count: int
    folders: int

    def __str__(self) -> str:
        """Return the size in words."""
        return f"{self.count:,} images in {self.folders:,} folders"

    def metadata(self, start: int, stop: int) -> dict[str, pa.Array]:
        """Return path, label, length and time of some images."""
        numbers = np.arange(start, min(stop, self.count))
        labels = [f"folder-{number:07d}" for number in (numbers % self.folders).tolist()]
        paths = [
            f"s3://fruits-archive/images/{label}/{number:09d}.jpg"
            for label, number in zip(labels, numbers.tolist(), strict=True)
        ]
        times = pa.array(MODIFIED + numbers, pa.timestamp("us", tz="UTC"))
        return {
            "path": pa.array(paths),
            "label": pa.array(labels),
            "length": pa.array(3_000 + numbers),
            "modified": times,
        }


@dataclass(frozen=True)
class Made:
    """A generated store: its address, its files, and a listing of all its images."""

    output: str
    files: list[DataFile]
    listing: Listing


@contextmanager
def cluster_session() -> Iterator["SparkSession"]:
    """Yield the job's session with one executor, in a process of its own."""
    import pyspark  # noqa: PLC0415 - in the child only

    os.environ["SPARK_HOME"] = str(Path(pyspark.__file__).parent)
    settings = Settings(master=f"local-cluster[1,{cores()},{_MEGABYTES_OF_EXECUTOR}]")
    with tempfile.TemporaryDirectory() as folder, local_session(settings, Log(Path(folder, "spark.log"))) as spark:
        ship(spark)
        yield spark


def make(archive: Archive, folder: Path, pool: ProcessPoolExecutor) -> Made:
    """Write the store and the listing of an archive."""
    parts = list(pool.map(partial(_write_listing, archive, folder), range(0, archive.count, PART_ROWS)))
    files = list(pool.map(partial(_write_features, archive, folder), range(0, archive.count, FILE_ROWS), chunksize=50))
    for start in range(0, len(files), WAVE_FILES):
        commit(str(folder), files[start].wave, files[start : start + WAVE_FILES])
    for name in (TFLITE, DESCRIPTION):  # nobody reads them
        storage.write(storage.join(model_folder(str(folder), FINGERPRINT), name), b"")
    each, more = divmod(archive.count, archive.folders)
    counts = {f"folder-{number:07d}": each + (number < more) for number in range(archive.folders)}
    labels = LabelCounts(None, LabelDigest.of(counts))
    return Made(str(folder), files, Listing(parts, labels))


def _write_listing(archive: Archive, folder: Path, start: int) -> ListingPart:
    path = folder / "listing" / f"part-{start // PART_ROWS:05d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = archive.metadata(start, start + PART_ROWS)
    rows = len(columns["path"])
    nulls = {"fault": pa.nulls(rows, pa.string()), "etag": pa.nulls(rows, pa.string())}
    pq.write_table(pa.table(columns | nulls, schema=images.SCHEMA), path)
    return ListingPart(str(path), rows)


def _write_features(archive: Archive, folder: Path, start: int) -> DataFile:
    number = start // FILE_ROWS
    name = f"{wave_name(FINGERPRINT, RUN, number // WAVE_FILES)}/part-{number % WAVE_FILES:05d}.parquet"
    path = folder / name
    columns = archive.metadata(start, start + FILE_ROWS)
    n = len(columns["path"])
    features = np.random.default_rng(number).standard_normal((n, D), np.float32)
    features *= np.arange(1, D + 1, dtype=np.float32)
    write(path, features, columns, np.full((n, COLOR_BINS), 1 / COLOR_BINS, np.float32))
    return DataFile(name, n, path.stat().st_size)


def process(spark: "SparkSession", archive: Archive, made: Made) -> dict[str, float]:
    """Do with an archive, all of it known, what a run does; return the seconds of each step."""
    seconds: dict[str, float] = {}
    started = time.perf_counter()

    def lap(step: str) -> None:
        seconds[step] = time.perf_counter() - started - sum(seconds.values())

    labels = count_labels(spark, made.listing)
    if (labels is None) != (min(archive.folders, archive.count) > LABELS):
        raise AssertionError("the labels were not counted as they should be")
    lap("labels")
    reuse = Reuse(rejected=True, seconds=60, memory_bytes=1 << 30)
    difference = subtract(spark, made.output, made.listing, made.files, work_name(RUN), reuse)
    lap("subtract")
    count = archive.count
    snapshot = Snapshot(
        run=RUN,
        fingerprint=FINGERPRINT,
        model=MODEL,
        settings={},
        counts=Counts(listed=count, reused=difference.reused.total(), new=difference.todo.rows, ok=count, rejected=0),
        labels=None if labels is None else dict(labels),
        label_digest=made.listing.labels.digest,
        seconds={},
        images_per_second=0.0,
        row_masks=tuple(difference.row_masks),
    )
    if snapshot.counts.new:
        raise AssertionError(f"{snapshot.counts.new} of the images were not known")
    write_snapshot(made.output, snapshot)
    record = reduce(spark, Settings(output=made.output, components=COMPONENTS, csv=False, report=False))
    if record.counts.ok != count or set(record.validation.values()) != {"ok"}:
        raise AssertionError("the results are not those of all images")
    return seconds | {name: value for name, value in record.seconds.items() if name != "report"}


def measure(found: Bench, archive: Archive, pool: ProcessPoolExecutor) -> tuple[float, float]:
    """Make an archive and process it; return the seconds, and the peak memory of the driver in MB."""
    folder = Path(tempfile.mkdtemp(prefix="scale-", dir=inputs.INPUTS)).resolve()
    try:
        made = make(archive, folder, pool)
        with subprocess_session(cluster_session) as session, watched(session.process) as peaks:
            seconds = session(process, archive, made)
    finally:
        shutil.rmtree(folder)
    total, steps = sum(seconds.values()), ", ".join(f"{step} {value:.0f}" for step, value in seconds.items())
    found.say(
        f"{archive}: {total:.0f} s ({steps}); driver: Python {peaks['driver']:.0f} MB,"
        f" JVM {peaks['jvm']:.0f} MB; largest worker {peaks['worker']:.0f} MB"
    )
    return total, peaks["driver"] + peaks["jvm"]


def main() -> None:
    """Run the command."""
    options = parser("scale", __doc__)
    options.add_argument(
        "--millions", type=float, nargs="+", default=[1, 5, 20], help="images, in millions (default: 1 5 20)"
    )
    options.add_argument(
        "--folders", type=int, nargs="+", default=[1_000, 1_000_000], help="folders (default: 1000 1000000)"
    )
    arguments = options.parse_args()
    inputs.INPUTS.mkdir(parents=True, exist_ok=True)
    with (
        bench("scale", arguments) as found,
        ProcessPoolExecutor(cores(), get_context("spawn")) as pool,
    ):
        for folders in arguments.folders:
            sizes = [Archive(int(millions * 1_000_000), folders) for millions in arguments.millions]
            results = [measure(found, archive, pool) for archive in sizes]
            # Time against the size before: beside the smallest one, the start of Spark and its workers counts.
            (_, memory), (seconds, _), (last_seconds, last_memory) = results[0], results[-2:][0], results[-1]
            first, before, last = sizes[0], sizes[-2:][0], sizes[-1]
            found.claim(f"driver's memory, {last} against {first.count:,}", last_memory / memory, at_most=1.3)
            ratio = last_seconds / seconds / (last.count / before.count)
            found.claim(f"time for an image, {last} against {before.count:,}", ratio, at_most=1.5)


if __name__ == "__main__":
    main()
