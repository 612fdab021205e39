"""Which images there are: a folder, prefix or manifest in, Parquet parts of metadata out. Opens no image.

Few images are listed on the driver. Many are listed by Spark, folder by folder, and never gathered on the driver.
"""

import errno
import os
import zlib
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from job import storage
from job.errors import JobError
from job.images.decode import GONE, NAME_NOT_UTF8
from job.settings import Settings
from job.spark.capacity import parallelism
from job.spark.tasks import run_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# What the driver lists itself; beyond that it hands the folders that are left to Spark.
DRIVER_IMAGES = 50_000

# Tasks a core that walk the folders beyond: some are larger than others, and each task costs a tenth of a second.
WALKS = 8

# Folders that are asked for before it is their turn.
FOLDERS_AHEAD = 16

# `fault`: null, or the reason for which the image cannot even be fetched.
SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("length", pa.int64()),
        ("modified", pa.timestamp("us", tz="UTC")),
        ("fault", pa.string()),
    ]
)

_MANIFESTS = (".csv", ".parquet")


class ListedImage(NamedTuple):
    """One row of the listing; `length` in bytes, `modified` in microseconds since 1970 UTC, both None where gone."""

    path: str
    label: str | None
    length: int | None
    modified: int | None
    fault: str | None


class ListingPart(NamedTuple):
    """A Parquet file of the listing and its number of rows."""

    address: str
    rows: int


@dataclass
class Listing:
    """What was listed: its parts, and how many images there are of each label (`""` where there is none)."""

    parts: list[ListingPart] = field(default_factory=list)
    labels: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        """Return the number of images listed."""
        return sum(part.rows for part in self.parts)

    def add(self, other: "Listing") -> None:
        """Take in what another task has listed."""
        self.parts += other.parts
        self.labels += other.labels


def list_images(spark: "SparkSession", settings: Settings, folder: str) -> Listing:
    """List the images that the settings name and write the listing's parts into a folder.

    Raises
    ------
    JobError
        Where there is no such folder or manifest, nothing in it that could be an image, or no permission to list it.
    """
    root = storage.absolute(settings.images)
    try:
        if _is_manifest(root):
            listing = _list_manifest(spark, settings, root, folder)
        else:
            listing = _list_folder(spark, settings, root, folder)
    except PermissionError as error:
        raise JobError(f"cannot list {error.filename}: {error.strerror}") from None
    if not listing.rows:
        if _is_manifest(root):
            raise JobError(f"the manifest {root} lists nothing")
        raise JobError(f"no image in {root}: nothing there ends in {', '.join(settings.endings)}")
    return listing


def check_images(address: str) -> None:
    """Refuse, before anything is started, a folder, prefix or manifest that is not there or holds nothing.

    Raises
    ------
    JobError
        In one line.
    """
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


def _is_manifest(root: str) -> bool:
    return root.lower().endswith(_MANIFESTS) and not storage.stat(root).is_folder


def _list_folder(spark: "SparkSession", settings: Settings, root: str, folder: str) -> Listing:
    """Walk breadth first on the driver; where that finds too many, leave the folders not yet read to Spark."""
    bound = settings.limit or DRIVER_IMAGES
    images: list[ListedImage] = []
    pending = deque([root])
    for found in _opened(pending, root, settings.endings):
        known = len(images)
        images.extend(islice(found, bound + 1 - known))
        if len(images) > bound:
            if settings.limit:
                break
            # This folder is read again by a task, from its start.
            del images[known:]
            count = min(len(pending), WALKS * parallelism(spark))
            shares = [list(pending)[part::count] for part in range(count)]
            tasks = [_Walk(share, root, settings.endings, f"{folder}/walk-{n:05d}") for n, share in enumerate(shares)]
            listing = write_parts(images, f"{folder}/driver")
            for part in run_tasks(spark, _walk, tasks):
                listing.add(part)
            return listing
    return write_parts(images[: settings.limit], f"{folder}/driver")


def _opened(pending: deque[str], root: str, endings: tuple[str, ...]) -> Iterator[Iterator[ListedImage]]:
    """Yield the images of each pending folder, breadth first; each stays the first of `pending` until it is read.

    Folders found in them are pending from then on. S3 takes its time to answer, so there the next few are asked for
    ahead; a disk does not, and threads would cost a fifth more.
    """
    depth = FOLDERS_AHEAD if storage.is_s3(root) else 1
    with ThreadPoolExecutor(FOLDERS_AHEAD) as pool:
        ahead: deque[Callable[[], tuple[Iterator[ListedImage], list[str]]]] = deque()
        while pending:
            for path in islice(pending, len(ahead), depth):
                children = partial(_children, path, root, endings)
                ahead.append(pool.submit(_begun, children).result if depth > 1 else children)
            images, folders = ahead.popleft()()
            yield images
            pending.popleft()
            pending.extend(folders)


def _begun(children: Callable[[], tuple[Iterator[ListedImage], list[str]]]) -> tuple[Iterator[ListedImage], list[str]]:
    """Return a folder's `_children`, the first answer of storage being there."""
    images, folders = children()
    return chain(list(islice(images, 1)), images), folders


def _children(path: str, root: str, endings: tuple[str, ...]) -> tuple[Iterator[ListedImage], list[str]]:
    """Return the images directly in a folder, as they are read, and a list that the same reading fills with folders."""
    folders: list[str] = []
    label = None if path == root else storage.text(storage.name(path)) or None

    def images() -> Iterator[ListedImage]:
        for entry in storage.scan(path):
            name = storage.name(entry.address)
            if name.startswith("."):
                continue
            if entry.is_folder:
                if not is_loop(entry.address, root):
                    folders.append(entry.address)
            elif name.lower().endswith(endings):
                yield _image(entry, label)
        folders.sort()

    return images(), folders


def _image(entry: storage.Entry, label: str | None) -> ListedImage:
    path = storage.text(entry.address)
    if path == entry.address:
        return ListedImage(path, label, entry.length, entry.modified, None)
    # Without its time it is never taken for a file that is really called `\xff`.
    return ListedImage(path, label, entry.length, None, NAME_NOT_UTF8)


def is_loop(path: str, root: str) -> bool:
    """Return whether a folder is one of its own ancestors again, by way of a link."""
    if storage.is_s3(path):
        return False
    real = os.path.realpath(path)
    while len(path) > len(root):
        path = os.path.dirname(path)  # noqa: PTH120 - surrogates and all, as it came
        if os.path.realpath(path) == real:
            return True
    return False


@dataclass(frozen=True)
class _Walk:
    """Folders for one task to walk, and the start of its parts' addresses."""

    paths: list[str]
    root: str
    endings: tuple[str, ...]
    target: str


def _walk(task: _Walk) -> Listing:
    folders = _opened(deque(task.paths), task.root, task.endings)
    return write_parts(chain.from_iterable(folders), task.target)


def write_parts(images: Iterable[ListedImage], target: str, rows: int = 100_000) -> Listing:
    """Write images to Parquet parts of at most so many rows, in the order of a hash of the path.

    That order mixes folders, so that any stretch of a part is a fair sample of its pictures' sizes.
    """
    listing, source = Listing(), iter(images)
    while chunk := list(islice(source, rows)):
        chunk.sort(key=lambda image: (zlib.crc32(image.path.encode()), image.path))
        address = f"{target}-{len(listing.parts):05d}.parquet"
        columns = dict(zip(SCHEMA.names, map(list, zip(*chunk, strict=True)), strict=True))
        with storage.create(address) as path:
            pq.write_table(pa.table(columns, schema=SCHEMA), path)
        listing.add(Listing([ListingPart(address, len(chunk))], Counter(image.label or "" for image in chunk)))
    return listing


@dataclass(frozen=True)
class _Lookup:
    """A stretch of a manifest for one task to look up, and the start of its parts' addresses."""

    chunk: str
    target: str


def _list_manifest(spark: "SparkSession", settings: Settings, root: str, folder: str) -> Listing:
    """Cut the manifest into stretches and have Spark ask for each file's length and time."""
    base, left = root.rsplit("/", 1)[0], settings.limit
    tasks: list[_Lookup] = []
    hashes = array("q")  # eight bytes a path, so that ten million need no bigger driver
    for table in _manifest_batches(root):
        rows = table.slice(0, left)
        for path in rows.column("path").to_pylist():
            if not path:
                raise JobError(f"the manifest {root} has a row without a path")
        chunk = f"{folder}/manifest-{len(tasks):05d}.parquet"
        named = [_below(base, path) for path in rows.column("path").to_pylist()]
        hashes.frombytes(np.fromiter(map(hash, named), np.int64, len(named)).tobytes())
        labels = rows.column("label") if "label" in rows.column_names else pa.array([_parent(path) for path in named])
        with storage.create(chunk) as target:
            pq.write_table(pa.table({"path": pa.array(named, pa.string()), "label": labels}), target)
        tasks.append(_Lookup(chunk, f"{folder}/lookup-{len(tasks):05d}"))
        if left is not None:
            left -= rows.num_rows
            if not left:
                break
    _refuse_doubles(root, tasks, np.frombuffer(hashes, np.int64))
    listing = Listing()
    # A start of Spark's workers costs more than asking for the few files of one stretch.
    parts = map(_look_up, tasks) if len(tasks) == 1 else run_tasks(spark, _look_up, tasks)
    for part in parts:
        listing.add(part)
    return listing


def _refuse_doubles(root: str, tasks: list[_Lookup], hashes: NDArray[np.int64]) -> None:
    values, counts = np.unique(hashes, return_counts=True)
    if (counts == 1).all():
        return
    doubled = set(values[counts > 1].tolist())
    for task in tasks:
        with storage.open_input(task.chunk) as file:
            paths = pq.read_table(file).column("path").to_pylist()
        for path in paths:
            if hash(path) in doubled:
                raise JobError(f"the manifest {root} lists {path} more than once")


def _manifest_batches(root: str, rows: int = 5_000) -> Iterator[pa.Table]:
    """Yield a manifest's columns `path` and, if it has one, `label` as strings, so many rows at a time."""
    try:
        with storage.open_input(root) as file:
            if root.lower().endswith(".parquet"):
                batches: Iterator[pa.RecordBatch] = pq.ParquetFile(file).iter_batches(rows)
            else:
                text = pa.csv.ConvertOptions(column_types={"path": pa.string(), "label": pa.string()})
                text.strings_can_be_null, text.null_values = True, [""]  # a label may be NA
                lines = pa.csv.ParseOptions(newlines_in_values=True)  # in quotes, as a name may have them
                batches = iter(pa.csv.open_csv(file, parse_options=lines, convert_options=text))
            for batch in batches:
                table = pa.table(batch)
                if "path" not in table.column_names:
                    raise JobError(f"the manifest {root} has no column `path`; it has {', '.join(table.column_names)}")
                table = table.select([name for name in ("path", "label") if name in table.column_names])
                for start in range(0, table.num_rows, rows):
                    yield table.slice(start, rows).cast(pa.schema([(name, pa.string()) for name in table.column_names]))
    except pa.ArrowException as error:
        raise JobError(f"cannot read the manifest {root}: {' '.join(str(error).split())[:200]}") from None


def _below(base: str, path: str) -> str:
    """Return a manifest's path as an address: relative ones count from the manifest's folder."""
    return storage.absolute(path if storage.is_s3(path) or path.startswith("/") else f"{base}/{path}")


def _parent(path: str) -> str | None:
    """Return the name of the folder that a file lies in, None at the top of a bucket."""
    parts = path.removeprefix("s3://").split("/")[:-1]
    return (parts[-1] or None) if len(parts) > 1 else None


def _look_up(task: _Lookup) -> Listing:
    with storage.open_input(task.chunk) as file:
        rows = pq.read_table(file).to_pydict()
    with ThreadPoolExecutor(16) as pool:
        entries = pool.map(_stat, rows["path"])
        images = [
            ListedImage(path, label or None, *entry)
            for path, label, entry in zip(rows["path"], rows["label"], entries, strict=True)
        ]
    return write_parts(images, task.target)


def _stat(path: str) -> tuple[int | None, int | None, str | None]:
    """Return a file's length, modification time and fault."""
    try:
        entry = storage.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a NUL in a name is a ValueError
        return None, None, GONE
    except OSError as error:
        if error.errno in {errno.ENAMETOOLONG, errno.ELOOP}:  # there can be no such file
            return None, None, GONE
        raise
    return (None, None, GONE) if entry.is_folder else (entry.length, entry.modified, None)
