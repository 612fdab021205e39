"""The results of a run: their address in, a summary and a folder on this machine out."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from job import storage
from job.errors import JobError
from job.storage.lock import names_nothing
from submit.aws import explained

RUN = "run.json"
# Not downloaded: the features of all images, the files of a run under way, and what `pca_results/` holds once more.
NOT_DOWNLOADED = ("features", "work", "_results")


@dataclass(frozen=True)
class ImageCounts:
    """Numbers of images, as `run.json` has them."""

    listed: int
    ok: int
    rejected: int
    reused: int
    new: int

    @classmethod
    def from_json(cls, fields: Mapping[str, int]) -> "ImageCounts":
        """Read the `counts` of `run.json`."""
        return cls(fields["listed"], fields["ok"], fields["rejected"], fields["reused"], fields["new"])

    def __str__(self) -> str:
        """Return `7 listed: 6 ok, 1 rejected; 2 reused, 5 new`."""
        return (
            f"{self.listed:,} listed: {self.ok:,} ok, {self.rejected:,} rejected; {self.reused:,} reused, {self.new:,}"
            " new"
        )


@dataclass(frozen=True)
class CurrentResults:
    """What `run.json` says of the current results, as far as the submitter needs it.

    Attributes
    ----------
    written : datetime
        When they were written; of an earlier version, when `run.json` was modified.
    counts : ImageCounts
    components : int
        Number of principal components.
    explained_variance : float
        Share of the variance that all of them explain.
    folders : mapping
        The current folders, such as `pca_results/run=…`, by the name of the first folder in each.
    """

    written: datetime
    counts: ImageCounts
    components: int
    explained_variance: float
    folders: Mapping[str, str]

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], modified: datetime) -> "CurrentResults":
        """Read a `run.json` with its time; raises `KeyError`, `TypeError` or `ValueError` where it is damaged."""
        return cls(
            written=datetime.fromisoformat(fields["written"]) if fields.get("written") else modified,
            counts=ImageCounts.from_json(fields["counts"]),
            components=int(fields["components"]),
            explained_variance=float(sum(fields["explained_variance_ratio"])),
            folders=dict(fields.get("results", {})),
        )


def read(s3: Any, address: str) -> CurrentResults | None:
    """Return the current results at an address, None where there are none.

    Raises
    ------
    JobError
        Where `run.json` may not be read or is damaged.
    """
    source = f"{address}/{RUN}"
    bucket, key = storage.split_s3(source)
    with explained(source):
        # Listed first: who may list only a part of a bucket gets "Access Denied" for an object that is not there.
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", [])
        if all(file["Key"] != key for file in listed):
            return None
        answer = s3.get_object(Bucket=bucket, Key=key)
        text = answer["Body"].read()
    try:
        fields = json.loads(text)
        if names_nothing(fields):
            return None
        return CurrentResults.from_json(fields, answer["LastModified"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise JobError(
            f"{source} is damaged ({type(error).__name__}: {error}): submit again to write it anew"
        ) from None


def download(s3: Any, address: str, folder: Path) -> list[Path]:
    """Copy the current results into a new folder, which appears whole or not at all; return the files in it.

    Raises
    ------
    JobError
        For a folder that is not empty, where there are no results, and where they cannot be read.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise JobError(f"--download {folder} is there already and not empty: name a new folder")
    current = read(s3, address)
    if current is None:
        raise JobError(f"there are no results in {address} yet")
    bucket, _ = storage.split_s3(address)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    except OSError as error:
        raise JobError(f"--download {folder} cannot be made: {error.strerror}") from None
    try:
        names = list(_names(s3, address, current.folders))
        with explained(address):
            for name in names:
                file = building / name
                file.parent.mkdir(parents=True, exist_ok=True)
                s3.download_file(bucket, storage.split_s3(f"{address}/{name}")[1], str(file))
        building.chmod(0o755)
        building.replace(folder)
    except OSError as error:
        raise JobError(f"{folder} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return [folder / name for name in names]


def _names(s3: Any, address: str, current: Mapping[str, str]) -> Iterator[str]:
    """Yield the names of the files to copy, below the address; `current` names the folders that count."""
    bucket, prefix = storage.split_s3(f"{address}/")
    with explained(address):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [file["Key"].removeprefix(prefix) for page in pages for file in page.get("Contents", [])]
    for name in keys:
        parts = PurePosixPath(name).parts
        # A name from a bucket must not lead out of the folder; names that end in / are S3's markers of folders.
        if not name or name.endswith("/") or parts[0] in NOT_DOWNLOADED or {"..", "/"} & set(parts):
            continue
        if parts[0] not in current or name.startswith(f"{current[parts[0]]}/"):
            yield name
