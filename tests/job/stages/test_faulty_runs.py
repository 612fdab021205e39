"""Runs on an S3 that fails: the features of a run without faults, or an end that says why."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from pyspark.sql import SparkSession

from job import storage
from job.errors import JobError, RunError
from job.features.extraction import PROBED_IMAGES
from job.features.snapshot import Counts
from job.features.table import read_features
from job.images.fetch import READ_AHEAD, ReadAhead
from job.images.source import check_images
from job.settings import Settings
from job.spark.runner import TaskRunner
from job.stages import featurize
from job.storage import s3
from tests.conftest import make_images
from tests.faulty_s3 import TRANSIENT, Fault, FaultyS3, Request, always, faulty_s3, sometimes
from tests.job.conftest import IMPATIENT
from tests.job.runners import InProcessRunner

ROOT = Path(__file__).resolve().parents[3]


def upload(images: Path, bucket: str, endpoint: str) -> Any:
    client = boto3.client("s3", endpoint_url=endpoint)
    for path in images.rglob("*.jpg"):
        client.upload_file(str(path), bucket, f"photos/{path.relative_to(images)}")
    return client


def rows(output: str) -> dict[str, dict[str, Any]]:
    """Return the current rows by the last two parts of their paths, features as bytes."""
    table = read_features(output)
    assert isinstance(table, pa.Table)
    found = {"/".join(row["path"].split("/")[-2:]): row for row in table.to_pylist()}
    assert len(found) == table.num_rows
    for row in found.values():
        row["features"] = None if row["features"] is None else np.float32(row["features"]).tobytes()
    return found


def command(images: str, model: Path, output: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [
            *(sys.executable, "-m", "job", "featurize", "--images", images, "--model", str(model)),
            *("--output", output),
        ],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


class OnceReading:
    """A rule that does something when the first image is asked for, and goes on as another one."""

    def __init__(self, act: Callable[[str], None], rule: Callable[[Request], Fault | None]) -> None:
        self._act, self._rule, self._lock, self._done = act, rule, threading.Lock(), False

    def __call__(self, request: Request) -> Fault | None:
        with self._lock:
            if not self._done and request.method == "GET" and request.path.endswith(".jpg"):
                self._done = True
                self._act(request.path)
        return self._rule(request)


def test_with_five_of_a_hundred_requests_failing_the_features_are_those_of_a_run_without(
    spark: SparkSession,
    bucket: str,
    moto_endpoint: str,
    tmp_path: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = make_images(tmp_path / "images", {"apple": 90, "pear": 80})
    client = upload(images, bucket, moto_endpoint)
    settings = Settings(images=str(images), model=str(tiny_model), output=str(tmp_path / "out"))
    featurize.featurize(spark, settings)
    expected = rows(settings.output)
    changed: list[str] = []

    def change(asked: str) -> None:
        """Delete an image and replace another, between the listing and their reading."""
        changed.extend(name for name in ("apple/000.jpg", "apple/001.jpg", "pear/000.jpg") if name not in asked)
        client.delete_object(Bucket=bucket, Key=f"photos/{changed[0]}")
        client.put_object(Bucket=bucket, Key=f"photos/{changed[1]}", Body=b"another image")

    # Faults that are waited for are fewer, for the sake of the test's time.
    kinds = [kind for kind in TRANSIENT for _ in range(1 if kind in {Fault.SILENT, Fault.STALLED} else 3)]
    with faulty_s3(moto_endpoint, OnceReading(change, sometimes(0.05, 3, kinds))) as faulty:
        monkeypatch.setenv("AWS_ENDPOINT_URL", faulty.url)
        done = command(f"s3://{bucket}/photos", tiny_model, f"s3://{bucket}/out")
        assert done.returncode == 0, done.stderr
        assert len(faulty.requests) > 200
        # Those on images are drawn by the seed; those on what the run writes, with its random name, vary.
        assert faulty.injected.total() >= 9
        assert len(faulty.injected) >= 5
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_endpoint)
    s3.forget()
    found = rows(f"s3://{bucket}/out")
    assert found.keys() == expected.keys()
    gone = {name: (row["reason"], row["error"]) for name, row in found.items() if row["status"] != "ok"}
    assert gone == {
        changed[0]: ("gone", "deleted since it was listed"),
        changed[1]: ("gone", "replaced since it was listed; the next run takes the new one"),
    }
    for name in found.keys() - gone.keys():
        assert found[name]["features"] == expected[name]["features"], name


def test_a_run_that_may_not_read_the_images_ends_before_any_work_and_says_what_is_missing(
    bucket: str, moto_endpoint: str, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(make_images(tmp_path / "images", {"apple": 40}), bucket, moto_endpoint)
    with faulty_s3(moto_endpoint, always(Fault.DENIED, part="/photos/")) as faulty:
        monkeypatch.setenv("AWS_ENDPOINT_URL", faulty.url)
        done = command(f"s3://{bucket}/photos", tiny_model, str(tmp_path / "out"))
        assert 1 <= faulty.injected[Fault.DENIED] <= PROBED_IMAGES
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: cannot read or write s3://{bucket}/photos/apple/0")
    assert "S3 refuses GetObject (AccessDenied): the permission s3:GetObject (or s3:ListBucket" in last
    assert not list(tmp_path.glob("out/features/model=*/wave=*"))


class FourThreads(InProcessRunner):
    """Runs tasks that fetch four images at a time."""

    def run(self, function: Any, items: Any, *report: Any) -> list[Any]:
        """Return the results in the order of the items."""
        ahead = ReadAhead(threads=4)
        items = [replace(item, extraction=replace(item.extraction, read_ahead=ahead)) for item in items]
        return super().run(function, items, *report)


def featurize_here(settings: Settings, runner: TaskRunner | None = None) -> None:
    """Featurize without Spark: a few images on S3 and an empty table need no session."""
    featurize.featurize(None, settings, runner=runner or InProcessRunner())  # type: ignore[arg-type]


def written(output: str) -> list[str]:
    """Return the statuses in all features files that a wave's marker names or does not."""
    return [
        status
        for path in Path(output).glob("features/model=*/wave=*/*.parquet")
        for status in pq.read_table(path).column("status").to_pylist()
    ]


def test_expired_credentials_in_the_middle_keep_what_is_done_and_are_met_once(
    faulty: FaultyS3, bucket: str, moto_endpoint: str, tmp_path: Path, tiny_model: Path
) -> None:
    upload(make_images(tmp_path / "images", {"apple": 40}), bucket, moto_endpoint)
    output = str(tmp_path / "out")
    settings = Settings(images=f"s3://{bucket}/photos", model=str(tiny_model), output=output)

    def refuse_the_last(request: Request) -> Fault | None:
        images = sorted({seen.path for seen in faulty.requests if seen.path.endswith(".jpg")})
        return Fault.EXPIRED if len(images) == 40 and request.path.endswith(".jpg") else None

    faulty.rule = refuse_the_last
    with pytest.raises(
        RunError, match=rf"s3://{bucket}/photos/apple/\d+\.jpg: S3 refuses GetObject .* credentials have expired"
    ):
        featurize_here(settings)
    assert 1 <= faulty.injected[Fault.EXPIRED] <= READ_AHEAD.threads  # those being fetched at that moment, none again
    assert written(output) == ["ok"] * 20  # the other task's
    assert len(list(Path(output).glob("features/model=*/wave=*/_COMMIT.json"))) == 1


SOON_OVER = replace(IMPATIENT, retry_seconds=0.6)


@pytest.mark.parametrize("fault", [Fault.SLOW_DOWN, Fault.TRUNCATED])
def test_a_fault_that_lasts_fails_the_task_and_is_no_property_of_an_image(
    faulty: FaultyS3,
    bucket: str,
    moto_endpoint: str,
    tmp_path: Path,
    tiny_model: Path,
    fault: Fault,
) -> None:
    upload(make_images(tmp_path / "images", {"apple": 40}), bucket, moto_endpoint)
    output = str(tmp_path / "out")
    settings = Settings(images=f"s3://{bucket}/photos", model=str(tiny_model), output=output)
    asked: list[str] = []

    def spoil_the_second_task(request: Request) -> Fault | None:
        if request.path.endswith(".jpg"):
            asked.append(request.path)
            # What is tried before any work, and so the first task's images, are spared.
            return fault if request.path not in asked[:PROBED_IMAGES] else None
        return None

    faulty.rule = spoil_the_second_task
    started = time.monotonic()
    with s3.use(SOON_OVER), pytest.raises(OSError, match=f"s3://{bucket}/photos/apple"):
        featurize_here(settings, FourThreads())
    # Images that were waiting for their turn are not asked for: all 20 of the task, fetched ahead, would be.
    # How many were begun before the first fault was heard of varies with how long each thread waited (9 to 11 seen).
    assert len(set(asked)) < PROBED_IMAGES + 16
    assert time.monotonic() - started < 15
    assert written(output) == ["ok"] * 20  # the spared task's
    assert not list(Path(output).glob("features/model=*/wave=*/_COMMIT.json"))

    # All of them, from the first on: the run ends before it starts a task.
    faulty.rule = always(fault, part="/photos/")
    with s3.use(SOON_OVER), pytest.raises(RunError, match=f"^cannot read s3://{bucket}/photos/apple"):
        featurize_here(settings)


@pytest.mark.parametrize("fault", [Fault.DENIED, Fault.ARCHIVED], ids=lambda fault: fault.name)
def test_an_image_that_storage_refuses_is_a_row_and_is_read_again_by_the_next_run(
    spark: SparkSession,
    faulty: FaultyS3,
    bucket: str,
    moto_endpoint: str,
    tmp_path: Path,
    tiny_model: Path,
    fault: Fault,
) -> None:
    upload(make_images(tmp_path / "images", {"apple": 12}), bucket, moto_endpoint)
    settings = Settings(images=f"s3://{bucket}/photos", model=str(tiny_model), output=str(tmp_path / "out"))
    faulty.rule = always(fault, part="apple/003.jpg")
    here = InProcessRunner()
    assert featurize.featurize(spark, settings, runner=here).counts == Counts(12, 0, 12, 11, 1)
    rejected = {name: (row["reason"], row["error"]) for name, row in rows(settings.output).items() if row["reason"]}
    assert rejected.keys() == {"apple/003.jpg"}
    assert rejected["apple/003.jpg"][0] == "not readable"
    assert "S3 refuses GetObject" in rejected["apple/003.jpg"][1]
    assert featurize.featurize(spark, settings, runner=here).counts == Counts(12, 11, 1, 11, 1)
    faulty.rule = lambda _: None
    assert featurize.featurize(spark, settings, runner=here).counts == Counts(12, 11, 1, 12, 0)
    assert featurize.featurize(spark, settings, runner=here).counts == Counts(12, 12, 0, 12, 0)


def test_an_image_replaced_within_the_second_by_as_many_bytes_is_noticed(
    spark: SparkSession, bucket: str, moto_endpoint: str, tmp_path: Path, tiny_model: Path
) -> None:
    images = make_images(tmp_path / "images", {"apple": 3})
    client = upload(images, bucket, moto_endpoint)
    settings = Settings(images=f"s3://{bucket}/photos", model=str(tiny_model), output=str(tmp_path / "out"))
    name, content = "photos/apple/001.jpg", (images / "apple" / "001.jpg").read_bytes()
    other = content[:-40] + bytes([content[-40] ^ 1]) + content[-39:]

    objects = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[bucket].keys
    featurize.featurize(spark, settings, runner=InProcessRunner())
    modified = objects[name].last_modified
    client.put_object(Bucket=bucket, Key=name, Body=other)
    objects[name].last_modified = modified  # S3 has whole seconds
    assert featurize.featurize(spark, settings, runner=InProcessRunner()).counts == Counts(3, 2, 1, 3, 0)
    assert featurize.featurize(spark, settings, runner=InProcessRunner()).counts == Counts(3, 3, 0, 3, 0)


def test_an_image_deleted_since_the_listing_is_gone_not_refused(
    bucket: str, moto_endpoint: str, tmp_path: Path, tiny_model: Path
) -> None:
    client = upload(make_images(tmp_path / "images", {"apple": 12}), bucket, moto_endpoint)
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path\n" + "".join(f"s3://{bucket}/photos/apple/{number:03d}.jpg\n" for number in range(12)))
    client.delete_object(Bucket=bucket, Key="photos/apple/003.jpg")
    settings = Settings(images=str(manifest), model=str(tiny_model), output=str(tmp_path / "out"))
    featurize_here(settings)
    found = rows(settings.output)
    assert len(found) == 12
    rejected = {name: (row["reason"], row["error"]) for name, row in found.items() if row["status"] != "ok"}
    assert rejected == {"apple/003.jpg": ("gone", "not there when it was looked up")}
    assert not storage.exists(f"s3://{bucket}/photos/apple/003.jpg")


@pytest.mark.parametrize(
    ("method", "check", "permission"),
    [
        ("PUT", featurize.check_output, "s3:PutObject"),
        ("POST", featurize.check_output, "s3:DeleteObject"),
        ("GET", check_images, "s3:ListBucket"),
    ],
)
def test_what_may_not_be_written_deleted_or_listed_is_refused_before_anything_is_started(
    faulty: FaultyS3, bucket: str, method: str, check: Callable[[str], None], permission: str
) -> None:
    storage.write(f"s3://{bucket}/folder/a.jpg", b"x")
    faulty.rule = always(Fault.DENIED, method)
    with pytest.raises(JobError, match=rf"s3://{bucket}/folder: S3 refuses .*AccessDenied.* {permission} is missing$"):
        check(f"s3://{bucket}/folder")


class Unmounting(InProcessRunner):
    """Runs tasks while a folder is away, and puts it back."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(self, function: Any, items: Any, *report: Any) -> list[Any]:
        """Return the results in the order of the items."""
        aside = self._folder.rename(self._folder.with_name("aside"))
        try:
            return super().run(function, items, *report)
        finally:
            aside.rename(self._folder)


def test_images_that_were_away_while_they_were_read_are_read_by_the_next_run(
    spark: SparkSession, tmp_path: Path, tiny_model: Path
) -> None:
    images = make_images(tmp_path / "images", {"apple": 9, "pear": 3})
    settings = Settings(images=str(images), model=str(tiny_model), output=str(tmp_path / "out"))
    found = featurize.featurize(spark, settings, runner=Unmounting(images / "pear"))
    assert found.counts == Counts(listed=12, reused=0, new=12, ok=9, rejected=3)
    assert {row["reason"] for row in rows(settings.output).values()} == {None, "gone"}
    found = featurize.featurize(spark, settings, runner=InProcessRunner())
    assert found.counts == Counts(listed=12, reused=9, new=3, ok=12, rejected=0)


def test_a_run_most_of_whose_images_are_gone_records_none_of_them(
    spark: SparkSession, tmp_path: Path, tiny_model: Path
) -> None:
    images = make_images(tmp_path / "images", {"apple": 4, "pear": 20})
    settings = Settings(images=str(images), model=str(tiny_model), output=str(tmp_path / "out"))
    with pytest.raises(
        RunError, match=rf"^20 of 24 images that were listed in {images} are gone: was a disk unmounted"
    ):
        featurize.featurize(spark, settings, runner=Unmounting(images / "pear"))
    assert not storage.exists(storage.join(settings.output, "features", "_CURRENT.json"))
    found = featurize.featurize(spark, settings, runner=InProcessRunner())
    assert found.counts == Counts(listed=24, reused=0, new=24, ok=24, rejected=0)
