"""One task of a wave, in a worker: images of the listing in, a features file out.

Each image is fetched, decoded and inferred once; each gives one row, with features or the reason why it has none.
"""

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from job import storage
from job.errors import RunError
from job.features.extractor import FeatureExtractor
from job.features.layout import model_folder, wave_name
from job.features.model import read_model
from job.features.table import BATCH_ROWS, OK, REJECTED, SCHEMA, features_writer
from job.features.wave import DataFile
from job.features.wave_plan import Slice
from job.images.color_histogram import color_histogram
from job.images.fetch import READ_AHEAD, ReadAhead, check_readable, prefetch
from job.images.listing import ListedImage
from job.images.rejection import GONE, NOT_READABLE, OF_STORAGE, Rejected
from job.images.sandbox import DecodeOptions, Decoder
from job.spark.tasks import first_attempt

# Images, and parts of the listing that they are from, to try before any work. A part's order mixes folders.
PROBED_IMAGES = 20
PROBED_PARTS = 4
# Of fewer reads than this, most may fail by chance.
_FEWEST_READS = 10


@dataclass(frozen=True)
class Extraction:
    """What every task of a run needs to know.

    Attributes
    ----------
    output, run, fingerprint : str
        Where features are written, for which run, with which model.
    options : DecodeOptions
        How images are decoded.
    isolated : bool
        Whether the first attempt of a task decodes in a child process as well: where there is no second.
    read_ahead : ReadAhead
        How many images are fetched before their turn.
    """

    output: str
    run: str
    fingerprint: str
    options: DecodeOptions
    isolated: bool
    read_ahead: ReadAhead = READ_AHEAD

    def wave(self, number: int) -> str:
        """Return the folder, below the output, of a wave of this run."""
        return wave_name(self.fingerprint, self.run, number)

    def tasks(self, number: int, shares: Iterable[list[Slice]]) -> list["ExtractionTask"]:
        """Return the tasks of a wave, one for each share of its images."""
        wave = self.wave(number)
        return [ExtractionTask(self, share, f"{wave}/part-{index:05d}") for index, share in enumerate(shares)]


@dataclass(frozen=True)
class ExtractionTask:
    """The images of one task, and the address, below the output, that the names of its features file begin with."""

    extraction: Extraction
    slices: list[Slice]
    target: str

    @property
    def rows(self) -> int:
        """Return the number of its images."""
        return sum(each.rows for each in self.slices)


@dataclass(frozen=True)
class Extracted:
    """The features file that a task wrote, its rows by status, and those listed images that it could not read."""

    file: DataFile
    statuses: Counter[str]
    unread: Counter[str]


def probe(slices: list[Slice], options: DecodeOptions) -> None:
    """Read a few images, before any work; raises `RunError` where storage refuses most of them or fails."""
    parts = slices[:: max(1, len(slices) // PROBED_PARTS)][:PROBED_PARTS]
    samples = [Slice(each.part, each.start, min(each.start + PROBED_IMAGES // len(parts), each.stop)) for each in parts]
    check_readable(_images(samples), options.memory_bytes)


def check_reads(source: str, done: Sequence[Extracted], usable: int) -> None:
    """Refuse a wave most of whose images could not be read, before it counts.

    Parameters
    ----------
    source : str
        Where the images were listed.
    done : sequence of Extracted
        Of the wave's tasks.
    usable : int
        Number of images that are usable already.

    Raises
    ------
    RunError
        Where most images are gone, or storage refuses most of all that the run knows.
    """
    unread, reads = sum((each.unread for each in done), Counter[str]()), sum(each.file.rows for each in done)
    if reads >= _FEWEST_READS and 2 * unread[GONE] > reads:
        raise RunError(
            f"{unread[GONE]:,} of {reads:,} images that were listed in {source} are gone: was a disk unmounted, or a"
            " folder moved? Nothing is recorded of them; run again once they are back"
        )
    if reads >= _FEWEST_READS and 2 * unread[NOT_READABLE] > reads and unread[NOT_READABLE] > usable:
        raise RunError(
            f"storage refuses {unread[NOT_READABLE]:,} of {reads:,} images in {source};"
            " allow reading them, and run again"
        )


def extract_or_refuse(task: ExtractionTask) -> Extracted | PermissionError:
    """Extract one task's features; a refusal is returned, not raised: Spark would repeat all the work three times."""
    try:
        return extract_features(task)
    except PermissionError as error:
        return PermissionError(error.errno, error.strerror or str(error), error.filename)


def extract_features(task: ExtractionTask) -> Extracted:
    """Extract the features of one task's images, and write them as a features file."""
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own pool keeps 40 MB more, and here saves no time
    extraction = task.extraction
    extractor = _extractor(model_folder(extraction.output, extraction.fingerprint))
    # No attempt writes over another's file: only the one whose result reaches the driver counts.
    name = f"{task.target}-{secrets.token_hex(4)}.parquet"
    statuses: Counter[str] = Counter()
    unread: Counter[str] = Counter()
    isolated = extraction.isolated or not first_attempt()
    with (
        Decoder(extraction.options, isolated=isolated) as decoder,
        storage.create(storage.join(extraction.output, name)) as path,
    ):
        with features_writer(path) as writer:
            images = prefetch(_images(task.slices), extraction.options.memory_bytes, extraction.read_ahead)
            rows = (_row(image, data, decoder, extractor) | {"run": extraction.run} for image, data in images)
            for batch in _batches(rows, BATCH_ROWS):
                statuses.update(row["status"] for row in batch)
                unread.update(row["reason"] for row in batch if _is_unread(row))
                writer.write_table(_table(batch))
        size = path.stat().st_size
    return Extracted(DataFile(name, statuses.total(), size), statuses, unread)


@cache
def _extractor(folder: str) -> FeatureExtractor:
    """Load the model once per worker process, not once per task."""
    return FeatureExtractor(read_model(folder))


def _images(slices: Iterable[Slice]) -> Iterator[ListedImage]:
    for each in slices:
        with storage.open_input(each.part) as file:
            table = pq.read_table(file).slice(each.start, each.rows)
        table = table.set_column(3, "modified", table.column("modified").cast(pa.int64()))
        yield from (ListedImage(**row) for row in table.to_pylist())


def _row(image: ListedImage, data: bytes | Rejected, decoder: Decoder, extractor: FeatureExtractor) -> dict[str, Any]:
    """Return an image's row of the features table, by column; those that it does not name are null."""
    row: dict[str, Any] = {
        "path": image.path,
        "label": image.label,
        "length": image.length,
        "modified": image.modified,
        "etag": image.etag,
    }
    try:
        if isinstance(data, Rejected):
            raise data
        decoded = decoder.decode(data)
    except Rejected as rejected:
        bound = decoder.options.bound(rejected.reason)
        return row | {"status": REJECTED, "reason": rejected.reason, "error": rejected.error, "bound": bound}
    vectors = {"features": extractor.extract(decoded.pixels), "colours": color_histogram(decoded.pixels)}
    return row | {"status": OK, "width": decoded.width, "height": decoded.height} | vectors


def _is_unread(row: dict[str, Any]) -> bool:
    """Return whether storage did not give an image that the listing saw."""
    return row.get("reason") in OF_STORAGE and row["length"] is not None


def _batches(rows: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """Yield rows in lists of `size`, the last of fewer."""
    batch = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    columns: dict[str, Any] = {name: [row.get(name) for row in rows] for name in SCHEMA.names}
    for name in ("features", "colours"):
        columns[name] = _lists(columns[name])
    return pa.table(columns, schema=SCHEMA)


def _lists(vectors: list[NDArray[np.float32] | None]) -> pa.ListArray:
    """Return vectors as Arrow lists without a look at each value, which would take a sixtieth of the inference."""
    missing = [vector is None for vector in vectors]
    values = [np.empty(0, np.float32) if vector is None else vector for vector in vectors]
    offsets = np.cumsum([0, *map(len, values)], dtype=np.int32)
    list_type = SCHEMA.field("features").type
    return pa.ListArray.from_arrays(offsets, np.concatenate(values), type=list_type, mask=pa.array(missing))
