"""Addresses in, bytes out: a local path or `s3://bucket/key`, interchangeable. Only this room knows S3.

S3 is listed with boto3 and read and written with obstore, at a tenth of the processor time; the rare keys that
obstore's paths cannot say (`//`, `.` and `..` as segments, control characters) go through boto3 as well.
"""

import errno
import io
import os
import re
import shutil
import stat as stat_module
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from job.errors import JobError
from job.storage import s3

_S3 = "s3://"
# What obstore would refuse or quietly rewrite.
_RARE_KEY = re.compile(r"[\x00-\x1f\x7f]|//|^/|/$|(^|/)\.\.?(/|$)")
# What the list of keys in a request to delete many cannot say.
_NOT_XML = re.compile(r"[\x00-\x1f\ufffe\uffff]")
# What is fetched at least of a file that is read here and there: a request takes as long as half a megabyte.
_RANGE_BYTES = 1 << 20


class Entry(NamedTuple):
    """One child of a folder or prefix.

    Attributes
    ----------
    address : str
        Local path (undecodable bytes as surrogates, as Python has them) or `s3://` address.
    is_folder : bool
        Whether it can be scanned in turn; `length` and `modified` are then 0.
    length : int
        Bytes.
    modified : int
        Microseconds since 1970 UTC.
    """

    address: str
    is_folder: bool
    length: int = 0
    modified: int = 0


def is_s3(address: str) -> bool:
    """Return whether the address lies on S3."""
    return address.startswith(_S3)


def absolute(address: str) -> str:
    """Return the address with no trailing slash, a local one made absolute (links are kept as they are)."""
    if not is_s3(address):
        return os.path.abspath(address)  # noqa: PTH100 - Path.absolute keeps `..`
    if not split_s3(address)[0]:
        raise JobError(f"{address} names no bucket; an address on S3 is s3://bucket/prefix")
    return address[:-1] if address.endswith("/") else address


def join(address: str, *names: str) -> str:
    """Return the address of something below a folder or prefix."""
    return "/".join([address.rstrip("/"), *names])


def scan(folder: str) -> Iterator[Entry]:
    """Yield what lies directly in a folder or prefix; links are followed, dangling ones yield nothing.

    Raises
    ------
    FileNotFoundError, NotADirectoryError, PermissionError
        As the file system or S3 says.
    """
    return _scan_s3(folder) if is_s3(folder) else _scan_local(folder)


def stat(address: str) -> Entry:
    """Return one file's or folder's entry; a prefix on S3 counts as a folder where no object has that very key.

    Raises
    ------
    FileNotFoundError, PermissionError
        As the file system or S3 says.
    """
    if not is_s3(address):
        return _entry(address, os.stat(address))  # noqa: PTH116 - one call for all that is asked
    bucket, key = split_s3(address)
    if key:
        with suppress(FileNotFoundError), s3.errors(address, "HeadObject"):
            head = s3.client().head_object(Bucket=bucket, Key=key)
            return Entry(address, False, head["ContentLength"], _microseconds(head["LastModified"]))
    for _ in _scan_s3(address):
        return Entry(address, True)
    raise FileNotFoundError(errno.ENOENT, "no such object or prefix", address)


def exists(address: str) -> bool:
    """Return whether there is a file, a folder, or an object below this address."""
    try:
        stat(address)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def fetch(address: str) -> tuple[bytes, Entry]:
    """Return a file's bytes and, from the same reading, its length and modification time.

    Raises
    ------
    FileNotFoundError, PermissionError, OSError
        As the file system or S3 says.
    """
    if not is_s3(address):
        with Path(address).open("rb") as file:
            return file.read(), _entry(address, os.fstat(file.fileno()))
    return s3.steadily(lambda: _fetch_s3(address))


def read(address: str) -> bytes:
    """Return a file's bytes; raises as `fetch`."""
    return fetch(address)[0]


def open_input(address: str) -> BinaryIO:
    """Return a seekable file for reading: on S3 only the ranges that are read travel."""
    if not is_s3(address):
        return Path(address).open("rb")
    if _RARE_KEY.search(split_s3(address)[1]):
        return io.BytesIO(read(address))
    return io.BufferedReader(_Ranges(address), _RANGE_BYTES)


class _Ranges(io.RawIOBase):
    """A file on S3 as one of Python's own: each reading is a request for that range, of the version first seen."""

    def __init__(self, address: str) -> None:
        self._address, self._position = address, 0
        bucket, self._key = split_s3(address)
        self._store = s3.store(bucket)
        with s3.errors(address, "HeadObject"):
            head = self._store.head(self._key)
        self._size, self._tag = head["size"], head["e_tag"]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def readinto(self, buffer: Any) -> int:
        stop = min(self._position + len(buffer), self._size)
        if stop <= self._position:
            return 0
        data = s3.steadily(lambda: self._range(stop))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _range(self, stop: int) -> bytes:
        with s3.errors(self._address, "GetObject"):
            return bytes(
                self._store.get(self._key, options={"range": (self._position, stop), "if_match": self._tag}).bytes()
            )


def read_tagged(address: str) -> tuple[bytes, str]:
    """Return an S3 object's bytes and its entity tag, which another version of it would not have; raises as `fetch`."""
    return s3.steadily(lambda: _read_tagged(address))


def _read_tagged(address: str) -> tuple[bytes, str]:
    bucket, key = split_s3(address)
    with s3.errors(address, "GetObject"):
        answer = s3.client().get_object(Bucket=bucket, Key=key)
        return answer["Body"].read(), answer["ETag"]


def write_if(address: str, data: bytes, tag: str | None) -> str | None:
    """Put an S3 object if the one that is there has this tag (None: if there is none); return its tag, else None.

    `data` has to be the writer's own: where the answer to a PUT was lost, that is how it is told from another's.
    """
    bucket, key = split_s3(address)
    condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
    try:
        with s3.errors(address, "PutObject"):
            answer = s3.client().put_object(Bucket=bucket, Key=key, Body=data, **condition)
        return str(answer["ETag"])
    except FileNotFoundError:  # what If-Match says of an object that is gone
        return None
    except OSError as error:
        if s3.status(error.__cause__) not in {409, 412}:
            raise
    try:
        found, now = read_tagged(address)
    except FileNotFoundError:
        return None
    return now if found == data else None


def write(address: str, data: bytes) -> None:
    """Put a file in place by one rename or one PUT: a reader finds the old bytes or the new, whole."""
    with create(address) as path:
        path.write_bytes(data)


@contextmanager
def create(address: str) -> Iterator[Path]:
    """Yield a local path to write to; on leaving it is renamed or uploaded to the address, on an error dropped."""
    if is_s3(address):
        with tempfile.TemporaryDirectory(prefix="fruits-") as folder:
            path = Path(folder, "part")
            yield path
            s3.steadily(lambda: _put(address, path))
        return
    target = Path(address)
    target.parent.mkdir(parents=True, exist_ok=True)
    # A leading dot: readers of Parquet folders pass over what a killed process leaves. None of the target's own name,
    # which may be as long as names can be.
    path = target.with_name(f".{uuid.uuid4().hex}")
    try:
        yield path
        path.replace(target)
    finally:
        path.unlink(missing_ok=True)


def remove(address: str) -> None:
    """Delete a file, or a folder or prefix with all that is in it; what is not there is no error."""
    if is_s3(address):
        bucket, key = split_s3(address)
        keys = [key] if key else []
        with s3.errors(address, "ListObjectsV2"):
            for page in s3.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=_prefix(address)):
                keys += [item["Key"] for item in page.get("Contents", [])]
        for start in range(0, len(keys), 1000):  # the service's bound a request
            s3.steadily(partial(_delete, address, keys[start : start + 1000]))
    elif Path(address).is_dir():
        shutil.rmtree(address)
    else:
        Path(address).unlink(missing_ok=True)


def name(address: str) -> str:
    """Return the last part of an address."""
    return address.rsplit("/", 1)[-1]


def text(address: str) -> str:
    r"""Return an address or a name as text that Parquet and a terminal can hold: bytes that are not UTF-8 as `\xNN`.

    A backslash becomes one of those in such a name, so that no two look alike.
    """
    if address.isascii():
        return address
    raw = address.encode(errors="surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.replace(b"\\", rb"\x5c").decode(errors="backslashreplace")


def _scan_local(folder: str) -> Iterator[Entry]:
    with os.scandir(folder) as children:
        for child in children:
            try:
                yield _entry(child.path, child.stat())
            except FileNotFoundError:  # a dangling link, or gone since the folder was read
                continue
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise


def _entry(address: str, status: os.stat_result) -> Entry:
    if stat_module.S_ISDIR(status.st_mode):
        return Entry(address, True)
    return Entry(address, False, status.st_size, status.st_mtime_ns // 1000)


def _scan_s3(folder: str) -> Iterator[Entry]:
    bucket, _ = split_s3(folder)
    pages = s3.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=_prefix(folder), Delimiter="/")
    with s3.errors(folder, "ListObjectsV2"):
        for page in pages:
            for item in page.get("CommonPrefixes", []):
                yield Entry(f"{_S3}{bucket}/{item['Prefix'][:-1]}", True)
            for item in page.get("Contents", []):
                if not item["Key"].endswith("/"):  # a folder's marker, as consoles make them
                    yield Entry(
                        f"{_S3}{bucket}/{item['Key']}", False, item["Size"], _microseconds(item["LastModified"])
                    )


def _fetch_s3(address: str) -> tuple[bytes, Entry]:
    bucket, key = split_s3(address)
    with s3.errors(address, "GetObject"):
        if _RARE_KEY.search(key):
            answer = s3.client().get_object(Bucket=bucket, Key=key)
            data, modified = answer["Body"].read(), answer["LastModified"]
        else:
            got = s3.store(bucket).get(key)
            data, modified = bytes(got.bytes()), got.meta["last_modified"]
    return data, Entry(address, False, len(data), _microseconds(modified))


def _put(address: str, path: Path) -> None:
    bucket, key = split_s3(address)
    with s3.errors(address, "PutObject"):
        if _RARE_KEY.search(key):
            with path.open("rb") as file:
                s3.client().put_object(Bucket=bucket, Key=key, Body=file)
        else:
            s3.store(bucket).put(key, path)


def _delete(address: str, keys: list[str]) -> None:
    bucket, _ = split_s3(address)
    objects = [{"Key": key} for key in keys if not _NOT_XML.search(key)]
    with s3.errors(address, "DeleteObjects"):
        for key in keys:
            if _NOT_XML.search(key):
                s3.client().delete_object(Bucket=bucket, Key=key)
        if not objects:
            return
        answer = s3.client().delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
    for fault in answer.get("Errors", []):  # refused, or failed, one by one in an answer that is no error
        place, code, message = f"{_S3}{bucket}/{fault['Key']}", fault.get("Code", ""), fault.get("Message", "")
        if code in {"InternalError", "SlowDown", "ServiceUnavailable"}:
            raise OSError(errno.EIO, f"S3 did not delete it ({code})", place)
        raise s3.refusal(place, "DeleteObjects", code, message)


def split_s3(address: str) -> tuple[str, str]:
    """Return the bucket and the key of `s3://bucket/key`."""
    bucket, _, key = address[len(_S3) :].partition("/")
    return bucket, key


def _prefix(address: str) -> str:
    """Return what the keys below an address begin with; `s3://bucket/` is the folder of keys that begin with `/`."""
    _, slash, key = address[len(_S3) :].partition("/")
    return f"{key}/" if slash else ""


def _microseconds(moment: datetime) -> int:
    """Return S3's time of modification, to the second: that is all that each of its answers agrees on."""
    return int(moment.timestamp()) * 1_000_000
