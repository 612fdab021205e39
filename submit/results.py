"""What a run has written: the address of its results in, counts and a folder on this machine out."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from job.errors import JobError
from submit.aws import explained

RUN = "run.json"
# Not what is wanted on a laptop: the features of all images, and what a run under way has left.
NOT_DOWNLOADED = ("features", "work")


def read(s3: Any, address: str) -> dict[str, Any] | None:
    """Return what `run.json` says at an address, and when it was written as `written`; None where it is not there.

    Raises
    ------
    JobError
        Where it may not be read, or is no JSON.
    """
    bucket, key = _split(f"{address}/{RUN}")
    with explained(f"s3://{bucket}/{key}"):
        # Listed first: to those who may list only a part of a bucket, S3 may say "Access Denied" of what is not there.
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", [])
        if all(one["Key"] != key for one in listed):
            return None
        found = s3.get_object(Bucket=bucket, Key=key)
        text = found["Body"].read()
    try:
        return {**json.loads(text), "written": found["LastModified"]}
    except ValueError as error:
        raise JobError(f"s3://{bucket}/{key} cannot be read: {error}") from None


def counts(told: Mapping[str, Any]) -> str:
    """Return what `run.json` says of the images, in words."""
    number = {name: f"{value:,}" for name, value in told["counts"].items()}
    return (
        f"{number['listed']} listed: {number['ok']} ok, {number['rejected']} rejected;"
        f" {number['reused']} known from before, {number['new']} new"
    )


def download(s3: Any, address: str, folder: Path) -> list[Path]:
    """Copy the current results into a new folder, which appears whole or not at all; return the files within it.

    Raises
    ------
    JobError
        For a folder that is not empty, where there are no results, and whatever keeps them from being read.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise JobError(f"--download {folder} is there already and not empty: name a new folder")
    told = read(s3, address)
    if told is None:
        raise JobError(f"there are no results in {address} yet")
    bucket, _ = _split(address)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    except OSError as error:
        raise JobError(f"--download {folder} cannot be made: {error.strerror}") from None
    try:
        names = list(_names(s3, address, told.get("results", {})))
        with explained(address):
            for name in names:
                target = building / name
                target.parent.mkdir(parents=True, exist_ok=True)
                s3.download_file(bucket, _split(f"{address}/{name}")[1], str(target))
        building.chmod(0o755)
        building.replace(folder)
    except OSError as error:
        raise JobError(f"{folder} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return [folder / name for name in names]


def _names(s3: Any, address: str, current: Mapping[str, str]) -> Iterator[str]:
    """Yield the names of the files to copy, below the address; `current` says which run's folders count."""
    bucket, prefix = _split(f"{address}/")
    with explained(address):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [one["Key"].removeprefix(prefix) for page in pages for one in page.get("Contents", [])]
    for name in keys:
        parts = PurePosixPath(name).parts
        # A name from a bucket must not lead out of the folder; those that end in / are S3's markers of folders.
        if not name or name.endswith("/") or parts[0] in NOT_DOWNLOADED or {"..", "/"} & set(parts):
            continue
        if parts[0] not in current or name.startswith(f"{current[parts[0]]}/"):
            yield name


def _split(address: str) -> tuple[str, str]:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return bucket, key
