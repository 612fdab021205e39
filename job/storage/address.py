"""Addresses as text: a local path or `s3://bucket/key`. Nothing here asks the disk or the service."""

import os

from job.errors import JobError

S3 = "s3://"


def is_s3(address: str) -> bool:
    """Return whether the address lies on S3."""
    return address.startswith(S3)


def split_s3(address: str) -> tuple[str, str]:
    """Return the bucket and the key of `s3://bucket/key`."""
    bucket, _, key = address[len(S3) :].partition("/")
    return bucket, key


def absolute(address: str) -> str:
    """Return the address without a trailing slash; a local one becomes absolute, its links stay as they are."""
    if not is_s3(address):
        return os.path.abspath(address)  # noqa: PTH100 - Path.absolute keeps `..`
    if not split_s3(address)[0]:
        raise JobError(f"{address} names no bucket; an address on S3 is s3://bucket/prefix")
    return address[:-1] if address.endswith("/") else address


def join(address: str, *names: str) -> str:
    """Return the address of something below a folder or prefix."""
    return "/".join([address.rstrip("/"), *names])


def name(address: str) -> str:
    """Return the last part of an address."""
    return address.rsplit("/", 1)[-1]


def text(address: str) -> str:
    r"""Return an address or a name as text that Parquet and a terminal can hold: bytes that are not UTF-8 as `\xNN`.

    In such a name a backslash is escaped as well, so that no two names look alike.
    """
    if address.isascii():
        return address
    raw = address.encode(errors="surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.replace(b"\\", rb"\x5c").decode(errors="backslashreplace")
