"""Objects on S3, as the room's interface wants them.

boto3 lists; obstore reads and writes, at a tenth of the processor time. The rare keys that obstore's paths cannot
express (`//`, `.` and `..` as segments, control characters) go through boto3 as well.
"""

import errno
import io
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from job.storage import name_range, s3
from job.storage.address import S3, is_s3, split_s3
from job.storage.entry import Entry
from job.storage.name_range import ALL_NAMES, LAST, NameRange
from job.storage.s3_errors import errors, refusal, status

# Keys that obstore would refuse or quietly rewrite.
_RARE_KEY = re.compile(r"[\x00-\x1f\x7f]|//|^/|/$|(^|/)\.\.?(/|$)")
# Characters that the XML of a DeleteObjects request cannot hold.
_NOT_XML = re.compile(r"[\x00-\x1f\ufffe\uffff]")
# The smallest range to fetch of a file that is read here and there: a request takes as long as half a megabyte.
_RANGE_BYTES = 1 << 20
# The service's limit for a key.
_KEY_BYTES = 1024
# Copies that are asked for at a time.
_COPIES = 16
# The service's limit for one DeleteObjects request.
_DELETED_KEYS = 1000


def scan(folder: str, names: NameRange = ALL_NAMES) -> Iterator[Entry]:
    """Yield the children of a prefix whose names lie in a range, in the order of the names."""
    bucket, _ = split_s3(folder)
    prefix = _prefix(folder)
    asked = {"Bucket": bucket, "Prefix": prefix, "Delimiter": "/"}
    if names.after:
        asked["StartAfter"] = prefix + names.after
    with errors(folder, "ListObjectsV2"):
        for page in s3.client().get_paginator("list_objects_v2").paginate(**asked):
            prefixes, found = page.get("CommonPrefixes", []), page.get("Contents", [])
            for item in sorted([*prefixes, *found], key=_child) if prefixes and found else prefixes or found:
                key = _child(item)
                if names is not ALL_NAMES and not names.holds(key[len(prefix) :]):
                    if names.ends_before(key[len(prefix) :]):
                        return
                elif "Prefix" in item:
                    yield Entry(f"{S3}{bucket}/{key[:-1]}", True)
                elif not key.endswith("/"):  # a folder's marker, as consoles make them
                    yield _entry(bucket, item)


def _entry(bucket: str, item: dict[str, Any]) -> Entry:
    """Return the entry of an object in a page of a listing."""
    modified = _microseconds(item["LastModified"])
    return Entry(f"{S3}{bucket}/{item['Key']}", False, item["Size"], modified, _plain(item["ETag"]))


def _child(item: dict[str, Any]) -> str:
    """Return the key or prefix of a child in a page of a listing."""
    child: str = item["Prefix"] if "Prefix" in item else item["Key"]
    return child


def divide(folder: str, names: NameRange, parts: int) -> list[NameRange]:
    """Divide a range of the names of a prefix that is `in_order`; see `name_range.divide`."""
    return name_range.divide(names, parts, partial(_first_name, folder))


def _first_name(folder: str, after: str) -> str | None:
    """Return the first name after a text among a prefix's children, None where there is none."""
    bucket, _ = split_s3(folder)
    prefix = _prefix(folder)
    start = prefix + after + (LAST if after.endswith("/") else "")  # all of a prefix's children have its name
    if len(start.encode()) > _KEY_BYTES:
        return None
    with errors(folder, "ListObjectsV2"):
        answer = s3.client().list_objects_v2(Bucket=bucket, Prefix=prefix, Delimiter="/", StartAfter=start, MaxKeys=1)
    for item in [*answer.get("CommonPrefixes", []), *answer.get("Contents", [])]:
        if (name := _child(item)[len(prefix) :]) > after:
            return name
    return None


def in_order(folder: str) -> bool:
    """Return whether a folder is listed in the order of its names, from any on: on S3, but in directory buckets."""
    return is_s3(folder) and not split_s3(folder)[0].endswith("--x-s3")


def stat(address: str) -> Entry:
    """Return the entry of an object, else of a prefix."""
    bucket, key = split_s3(address)
    if key:
        with suppress(FileNotFoundError), errors(address, "HeadObject"):
            head = s3.client().head_object(Bucket=bucket, Key=key)
            modified, etag = _microseconds(head["LastModified"]), _plain(head["ETag"])
            return Entry(address, False, head["ContentLength"], modified, etag)
    for _ in scan(address):
        return Entry(address, True)
    raise FileNotFoundError(errno.ENOENT, "no such object or prefix", address)


def fetch(address: str) -> tuple[bytes, Entry]:
    """Return an object's bytes and its entry, from the same answer."""
    return s3.retried(lambda: _fetch(address))


def _fetch(address: str) -> tuple[bytes, Entry]:
    bucket, key = split_s3(address)
    with errors(address, "GetObject"):
        if _RARE_KEY.search(key):
            answer = s3.client().get_object(Bucket=bucket, Key=key)
            data, modified, etag = answer["Body"].read(), answer["LastModified"], answer["ETag"]
        else:
            result = s3.store(bucket).get(key)
            data, modified, etag = bytes(result.bytes()), result.meta["last_modified"], result.meta["e_tag"]
    return data, Entry(address, False, len(data), _microseconds(modified), _plain(etag))


def open_input(address: str) -> BinaryIO:
    """Open an object as a seekable file, of which only the ranges that are read travel."""
    if _RARE_KEY.search(split_s3(address)[1]):
        return io.BytesIO(fetch(address)[0])
    return io.BufferedReader(_Ranges(address), _RANGE_BYTES)


class _Ranges(io.RawIOBase):
    """An object as a raw Python file: each read is a request for that range, of the version seen at opening."""

    def __init__(self, address: str) -> None:
        self._address, self._position = address, 0
        bucket, self._key = split_s3(address)
        self._store = s3.store(bucket)
        with errors(address, "HeadObject"):
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
        data = s3.retried(lambda: self._range(stop))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _range(self, stop: int) -> bytes:
        with errors(self._address, "GetObject"):
            return bytes(
                self._store.get(self._key, options={"range": (self._position, stop), "if_match": self._tag}).bytes()
            )


def read_tagged(address: str) -> tuple[bytes, str]:
    """Return an object's bytes and its entity tag, which differs for every version of it; raises as `fetch`."""
    return s3.retried(lambda: _read_tagged(address))


def _read_tagged(address: str) -> tuple[bytes, str]:
    bucket, key = split_s3(address)
    with errors(address, "GetObject"):
        answer = s3.client().get_object(Bucket=bucket, Key=key)
        return answer["Body"].read(), answer["ETag"]


def write_if(address: str, data: bytes, tag: str | None, *, hasty: bool = False) -> str | None:
    """Put an object if the present one has this tag (None: if there is none); return the new tag, or None if not.

    Only this writer may ever write these bytes: when the answer to a PUT is lost, they show whose PUT took effect.

    Parameters
    ----------
    address : str
    data : bytes
    tag : str or None
        As `read_tagged` returned it.
    hasty : bool
        Whether to ask only once, and not to wait long for the answer.
    """
    bucket, key = split_s3(address)
    condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
    try:
        with errors(address, "PutObject"):
            answer = s3.client(hasty=hasty).put_object(Bucket=bucket, Key=key, Body=data, **condition)
        return str(answer["ETag"])
    except FileNotFoundError:  # S3's answer to If-Match for an object that is gone
        return None
    except OSError as error:
        if status(error.__cause__) not in {409, 412}:
            raise
    try:
        present, present_tag = read_tagged(address)
    except FileNotFoundError:
        return None
    return present_tag if present == data else None


@contextmanager
def create(address: str) -> Iterator[Path]:
    """Yield a path in a temporary folder to write to, and upload it on leaving."""
    with tempfile.TemporaryDirectory(prefix="fruits-") as folder:
        path = Path(folder, "part")
        yield path
        s3.retried(lambda: _put(address, path))


def _put(address: str, path: Path) -> None:
    bucket, key = split_s3(address)
    with errors(address, "PutObject"):
        if _RARE_KEY.search(key):
            with path.open("rb") as file:
                s3.client().put_object(Bucket=bucket, Key=key, Body=file)
        else:
            s3.store(bucket).put(key, path)


def show(source: str, folder: str, name: str, proceed: Callable[[], None]) -> None:
    """Have a prefix hold nothing but the prefix `name` with the objects of `source`; see `files.show`."""
    bucket, _ = split_s3(folder)
    shown = _keys(folder)
    start, prefix = len(_prefix(source)), _prefix(f"{folder}/{name}")
    targets = {key: f"{prefix}{key[start:]}" for key in _keys(source)}
    proceed()
    with ThreadPoolExecutor(_COPIES) as pool:
        for _ in pool.map(partial(_copy, bucket), targets, targets.values()):
            pass
    proceed()
    _delete_keys(folder, sorted(set(shown) - set(targets.values())))


def _copy(bucket: str, source: str, target: str) -> None:
    def copy() -> None:
        with errors(f"{S3}{bucket}/{target}", "CopyObject"):
            s3.client().copy_object(
                Bucket=bucket,
                Key=target,
                CopySource={"Bucket": bucket, "Key": source},
                TaggingDirective="REPLACE",  # reading tags would take another permission
            )

    s3.retried(copy)


def remove(address: str, proceed: Callable[[], None]) -> None:
    """Delete the object of this key and all objects below this prefix."""
    _, key = split_s3(address)
    keys = [*([key] if key else []), *_keys(address)]
    proceed()
    _delete_keys(address, keys)


def walk(folder: str) -> Iterator[Entry]:
    """Yield all objects below a prefix."""
    bucket, _ = split_s3(folder)
    with errors(folder, "ListObjectsV2"):
        for page in s3.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=_prefix(folder)):
            for item in page.get("Contents", []):
                yield _entry(bucket, item)


def _keys(folder: str) -> list[str]:
    """Return all keys below a prefix."""
    return [split_s3(entry.address)[1] for entry in walk(folder)]


def _delete_keys(address: str, keys: list[str]) -> None:
    for start in range(0, len(keys), _DELETED_KEYS):
        s3.retried(partial(_delete, address, keys[start : start + _DELETED_KEYS]))


def _delete(address: str, keys: list[str]) -> None:
    bucket, _ = split_s3(address)
    objects = [{"Key": key} for key in keys if not _NOT_XML.search(key)]
    with errors(address, "DeleteObjects"):
        for key in keys:
            if _NOT_XML.search(key):
                s3.client().delete_object(Bucket=bucket, Key=key)
        if not objects:
            return
        answer = s3.client().delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
    for fault in answer.get("Errors", []):  # each key's own failure, in an answer that is itself a success
        failed, code, message = f"{S3}{bucket}/{fault['Key']}", fault.get("Code", ""), fault.get("Message", "")
        if code in {"InternalError", "SlowDown", "ServiceUnavailable"}:
            raise OSError(errno.EIO, f"S3 did not delete it ({code})", failed)
        raise refusal(failed, "DeleteObjects", code, message)


def _prefix(address: str) -> str:
    """Return the start of all keys below an address; `s3://bucket/` is the folder of keys that begin with `/`."""
    _, slash, key = address[len(S3) :].partition("/")
    return f"{key}/" if slash else ""


def _plain(etag: str | None) -> str | None:
    """Return an entity tag without the quotes around it."""
    return etag.strip('"') if etag else None


def _microseconds(moment: datetime) -> int:
    """Return S3's time of modification in whole seconds, on which all of its answers agree, as microseconds."""
    return int(moment.timestamp()) * 1_000_000
