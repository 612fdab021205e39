"""Addresses in, bytes out: a local path or `s3://bucket/key`, interchangeable. The only module that knows S3.

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
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from job.errors import JobError

if TYPE_CHECKING:
    from obstore.store import S3Store

_S3 = "s3://"
# What obstore would refuse or quietly rewrite.
_RARE_KEY = re.compile(r"[\x00-\x1f\x7f]|//|^/|/$|(^|/)\.\.?(/|$)")


@dataclass(frozen=True, slots=True)
class Entry:
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
    if not _split(address)[0]:
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
    bucket, key = _split(address)
    if key:
        with suppress(FileNotFoundError), _s3_errors(address):
            head = _client().head_object(Bucket=bucket, Key=key)
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
    bucket, key = _split(address)
    with _s3_errors(address):
        if _RARE_KEY.search(key):
            answer = _client().get_object(Bucket=bucket, Key=key)
            data = answer["Body"].read()
            return data, Entry(address, False, len(data), _microseconds(answer["LastModified"]))
        got = _bucket(bucket).get(key)
        data = bytes(got.bytes())
        return data, Entry(address, False, len(data), _microseconds(got.meta["last_modified"]))


def read(address: str) -> bytes:
    """Return a file's bytes; raises as `fetch`."""
    return fetch(address)[0]


def open_input(address: str) -> BinaryIO:
    """Return a seekable file for reading: on S3 only the ranges that are read travel."""
    if not is_s3(address):
        return Path(address).open("rb")
    import obstore  # noqa: PLC0415 - see _bucket

    bucket, key = _split(address)
    if _RARE_KEY.search(key):
        return io.BytesIO(read(address))
    with _s3_errors(address):
        # Files of its own kind have neither `with` nor `closed`, which Python's and Arrow's readers want.
        return io.BufferedReader(_Ranges(obstore.open_reader(_bucket(bucket), key)))


class _Ranges(io.RawIOBase):
    """A file on S3 as one of Python's own; obstore fetches ranges of a megabyte or what is asked for."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._reader.seek(offset, whence))

    def readinto(self, buffer: Any) -> int:
        data = memoryview(self._reader.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)


def read_tagged(address: str) -> tuple[bytes, str]:
    """Return an S3 object's bytes and its entity tag, which another version of it would not have; raises as `fetch`."""
    bucket, key = _split(address)
    with _s3_errors(address):
        answer = _client().get_object(Bucket=bucket, Key=key)
        return answer["Body"].read(), answer["ETag"]


def write_if(address: str, data: bytes, tag: str | None) -> str | None:
    """Put an S3 object if the one that is there has this tag (None: if there is none); return its tag, else None."""
    bucket, key = _split(address)
    condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
    try:
        with _s3_errors(address):
            answer = _client().put_object(Bucket=bucket, Key=key, Body=data, **condition)
    except FileNotFoundError:  # what If-Match says of an object that is gone
        return None
    except OSError as error:
        if isinstance(error.__cause__, Exception) and _status(error.__cause__) in {409, 412}:
            return None
        raise
    return str(answer["ETag"])


def _status(error: Exception) -> int:
    """Return the HTTP status of a refusal by S3, 0 for other errors."""
    answer: dict[str, Any] = getattr(error, "response", {})
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


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
            bucket, key = _split(address)
            with _s3_errors(address):
                if _RARE_KEY.search(key):
                    with path.open("rb") as file:
                        _client().put_object(Bucket=bucket, Key=key, Body=file)
                else:
                    _bucket(bucket).put(key, path)
        return
    target = Path(address)
    target.parent.mkdir(parents=True, exist_ok=True)
    # A leading dot: readers of Parquet folders pass over what a killed process leaves.
    path = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield path
        path.replace(target)
    finally:
        path.unlink(missing_ok=True)


def remove(address: str) -> None:
    """Delete a file, or a folder or prefix with all that is in it; what is not there is no error."""
    if is_s3(address):
        bucket, key = _split(address)
        with _s3_errors(address):
            keys = [key] if key else []
            for page in _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=_prefix(address)):
                keys += [item["Key"] for item in page.get("Contents", [])]
            for start in range(0, len(keys), 1000):  # the service's bound a request
                objects = [{"Key": item} for item in keys[start : start + 1000]]
                answer = _client().delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
                for fault in answer.get("Errors", []):
                    raise PermissionError(errno.EACCES, fault.get("Message", "not deleted"), address)
    elif Path(address).is_dir():
        shutil.rmtree(address)
    else:
        Path(address).unlink(missing_ok=True)


def name(address: str) -> str:
    """Return the last part of an address."""
    return address.rsplit("/", 1)[-1]


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
    bucket, _ = _split(folder)
    pages = _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=_prefix(folder), Delimiter="/")
    with _s3_errors(folder):
        for page in pages:
            for item in page.get("CommonPrefixes", []):
                yield Entry(f"{_S3}{bucket}/{item['Prefix'][:-1]}", True)
            for item in page.get("Contents", []):
                if not item["Key"].endswith("/"):  # a folder's marker, as consoles make them
                    yield Entry(
                        f"{_S3}{bucket}/{item['Key']}", False, item["Size"], _microseconds(item["LastModified"])
                    )


def _split(address: str) -> tuple[str, str]:
    bucket, _, key = address[len(_S3) :].partition("/")
    return bucket, key


def _prefix(address: str) -> str:
    """Return what the keys below an address begin with; `s3://bucket/` is the folder of keys that begin with `/`."""
    _, slash, key = address[len(_S3) :].partition("/")
    return f"{key}/" if slash else ""


def _microseconds(moment: datetime) -> int:
    """Return S3's time of modification, to the second: that is all that each of its answers agrees on."""
    return int(moment.timestamp()) * 1_000_000


@cache
def _session() -> Any:
    import boto3  # noqa: PLC0415 - a quarter of a second that a purely local run need not wait

    return boto3.session.Session()


@cache
def _client() -> Any:
    from botocore.config import Config  # noqa: PLC0415 - see _session

    return _session().client("s3", config=Config(retries={"mode": "standard", "max_attempts": 6}))


@cache
def _bucket(bucket: str) -> "S3Store":
    """Return obstore's view of a bucket, with the endpoint and the credentials that boto3 found."""
    from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415 - see _session
    from obstore.store import S3Store  # noqa: PLC0415

    if _session().get_credentials() is None:
        raise JobError(f"no AWS credentials for {_S3}{bucket}; set a profile or a role as for the aws command")
    endpoint = _client().meta.endpoint_url
    with _s3_errors(f"{_S3}{bucket}"):
        region = _client().head_bucket(Bucket=bucket).get("BucketRegion") or _client().meta.region_name
    own = {} if endpoint.endswith((".amazonaws.com", ".amazonaws.com.cn")) else {"endpoint": endpoint}
    return S3Store(
        bucket,
        region=region,
        credential_provider=Boto3CredentialProvider(_session()),
        # Plain HTTP only where the user's own endpoint says so (a test server); AWS is always TLS.
        client_options={"allow_http": endpoint.startswith("http://")},
        **own,
    )


@contextmanager
def _s3_errors(address: str) -> Iterator[None]:
    """Turn what boto3 and obstore raise into the errors that a local file would give."""
    from botocore.exceptions import (  # noqa: PLC0415 - see _session
        BotoCoreError,
        ClientError,
        NoCredentialsError,
    )
    from obstore import exceptions  # noqa: PLC0415

    try:
        yield
    except NoCredentialsError:
        raise JobError(f"no AWS credentials for {address}; set a profile or a role as for the aws command") from None
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code in {"NoSuchKey", "NoSuchBucket", "NotFound"} or status == 404:
            raise FileNotFoundError(errno.ENOENT, "no such bucket or object", address) from None
        if status in {401, 403}:
            message = f"S3 refuses {error.operation_name} ({code})"
            raise PermissionError(errno.EACCES, message, address) from None
        raise OSError(errno.EIO, str(error), address) from error
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "no such object", address) from None
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError):
        raise PermissionError(errno.EACCES, "S3 refuses the request", address) from None
    except (BotoCoreError, exceptions.BaseError) as error:
        raise OSError(errno.EIO, " ".join(str(error).split())[:300], address) from error
