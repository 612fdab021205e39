"""A manifest, a table of paths and labels in CSV or Parquet: a listing of the images that it names."""

import errno
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from job import storage
from job.errors import JobError
from job.images.listing import ListedImage, Listing, write_parts
from job.images.rejection import GONE
from job.spark.tasks import run_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Rows of a manifest that one task looks up.
_CHUNK_ROWS = 5_000
# Files that one task asks about at a time.
_LOOKUP_THREADS = 16


@dataclass(frozen=True)
class _Lookup:
    """A chunk of a manifest for one task to look up, and the address that its parts' names begin with."""

    chunk: str
    target: str


def list_manifest(spark: "SparkSession", root: str, folder: str, limit: int | None) -> Listing:
    """List the images of a manifest: cut it into chunks, and look up each file's length and time, one task a chunk."""
    tasks, hashes = _write_chunks(root, folder, limit)
    _refuse_duplicates(root, tasks, hashes)
    listing = Listing()
    # Starting Spark's workers costs more than looking up the few files of one chunk.
    parts = map(_look_up, tasks) if len(tasks) == 1 else run_tasks(spark, _look_up, tasks)
    for part in parts:
        listing.add(part)
    return listing


def _write_chunks(root: str, folder: str, limit: int | None) -> tuple[list[_Lookup], NDArray[np.int64]]:
    """Write the first `limit` rows of a manifest as chunks; return their tasks and a hash of each address."""
    base, left = root.rsplit("/", 1)[0], limit
    tasks: list[_Lookup] = []
    hashes = array("q")  # eight bytes an address, so that ten million need no bigger driver
    for table in manifest_batches(root):
        rows = table.slice(0, left)
        paths = rows.column("path").to_pylist()
        if not all(paths):
            raise JobError(f"the manifest {root} has a row without a path")
        addresses = [_below(base, path) for path in paths]
        hashes.frombytes(np.fromiter(map(hash, addresses), np.int64, len(addresses)).tobytes())
        labels = rows.column("label") if "label" in rows.column_names else pa.array(map(_parent, addresses))
        task = _Lookup(f"{folder}/manifest-{len(tasks):05d}.parquet", f"{folder}/lookup-{len(tasks):05d}")
        with storage.create(task.chunk) as target:
            pq.write_table(pa.table({"path": pa.array(addresses, pa.string()), "label": labels}), target)
        tasks.append(task)
        if left is not None:
            left -= rows.num_rows
            if not left:
                break
    return tasks, np.frombuffer(hashes, np.int64)


def _refuse_duplicates(root: str, tasks: list[_Lookup], hashes: NDArray[np.int64]) -> None:
    """Refuse a manifest that names a file twice; the chunks are read only where two hashes are equal. Sorts them."""
    hashes.sort()  # in place: np.unique is a hundred times slower on these, and copies them
    repeated = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
    if not repeated:
        return
    seen = set[str]()
    for task in tasks:
        with storage.open_input(task.chunk) as file:
            paths = pq.read_table(file).column("path").to_pylist()
        for path in paths:
            if hash(path) not in repeated:
                continue
            if path in seen:
                raise JobError(f"the manifest {root} lists {path} more than once")
            seen.add(path)


def manifest_batches(root: str, rows: int = _CHUNK_ROWS) -> Iterator[pa.Table]:
    """Yield a manifest's columns `path` and, if it has one, `label` as strings, at most `rows` rows at a time."""
    try:
        with storage.open_input(root) as file:
            if root.lower().endswith(".parquet"):
                batches: Iterator[pa.RecordBatch] = pq.ParquetFile(file).iter_batches(rows)
            else:
                batches = _csv_batches(file)
            for batch in batches:
                table = pa.table(batch)
                if "path" not in table.column_names:
                    raise JobError(f"the manifest {root} has no column `path`; it has {', '.join(table.column_names)}")
                table = table.select([name for name in ("path", "label") if name in table.column_names])
                for start in range(0, table.num_rows, rows):
                    yield table.slice(start, rows).cast(pa.schema([(name, pa.string()) for name in table.column_names]))
    except pa.ArrowException as error:
        raise JobError(f"cannot read the manifest {root}: {' '.join(str(error).split())[:200]}") from None


def _csv_batches(file: BinaryIO) -> Iterator[pa.RecordBatch]:
    strings = pa.csv.ConvertOptions(column_types={"path": pa.string(), "label": pa.string()})
    strings.strings_can_be_null, strings.null_values = True, [""]  # a label may be NA
    lines = pa.csv.ParseOptions(newlines_in_values=True)  # in quotes, as a name may have them
    return iter(pa.csv.open_csv(file, parse_options=lines, convert_options=strings))


def _below(base: str, path: str) -> str:
    """Return a manifest's path as an address; a relative path starts at the manifest's folder."""
    return storage.absolute(path if storage.is_s3(path) or path.startswith("/") else f"{base}/{path}")


def _parent(path: str) -> str | None:
    """Return the name of the folder that holds a file, None at the top of a bucket."""
    parts = path.removeprefix("s3://").split("/")[:-1]
    return (parts[-1] or None) if len(parts) > 1 else None


def _look_up(task: _Lookup) -> Listing:
    """List the files of a chunk, in a worker."""
    with storage.open_input(task.chunk) as file:
        rows = pq.read_table(file).to_pydict()
    with ThreadPoolExecutor(_LOOKUP_THREADS) as pool:
        entries = pool.map(_stat, rows["path"])
        images = [
            ListedImage(path, label or None, *entry)
            for path, label, entry in zip(rows["path"], rows["label"], entries, strict=True)
        ]
    return write_parts(images, task.target)


def _stat(path: str) -> tuple[int | None, int | None, str | None, str | None]:
    """Return a file's length, modification time, fault and entity tag."""
    try:
        entry = storage.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a NUL in a name is a ValueError
        return None, None, GONE, None
    except OSError as error:
        if error.errno in {errno.ENAMETOOLONG, errno.ELOOP}:  # there can be no such file
            return None, None, GONE, None
        raise
    return (None, None, GONE, None) if entry.is_folder else (entry.length, entry.modified, None, entry.etag)
