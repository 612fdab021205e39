"""The S3 that the benchmarks play, asked by boto3 and by the job's own storage."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from benchmarks.server import IMAGES, RESULTS, Contents, serving
from job import storage
from job.storage import s3
from tests.conftest import make_images

pytestmark = pytest.mark.server

PARTS = 5 << 20  # bytes: S3's least size of a part but the last


@pytest.fixture
def client() -> Iterator[Any]:
    with serving(Contents(keys=2_345)):
        yield s3.client()


def pages(client: Any, **asked: str) -> tuple[list[str], list[str]]:
    """Return the keys and the common prefixes of all pages of a listing."""
    found = list(client.get_paginator("list_objects_v2").paginate(**asked))
    keys = [entry["Key"] for page in found for entry in page.get("Contents", [])]
    return keys, [entry["Prefix"] for page in found for entry in page.get("CommonPrefixes", [])]


def test_a_listing_goes_through_its_pages_in_order(client: Any) -> None:
    expected = sorted(f"label-{number % 100:03d}/{number:07d}.jpg" for number in range(2_345))
    assert pages(client, Bucket=IMAGES) == (expected, [])
    assert pages(client, Bucket=IMAGES, Prefix="label-007/", Delimiter="/") == (
        [key for key in expected if key.startswith("label-007/")],
        [],
    )
    assert pages(client, Bucket=IMAGES, Delimiter="/") == ([], [f"label-{number:03d}/" for number in range(100)])
    assert pages(client, Bucket=IMAGES, Prefix="nothing") == ([], [])


def test_objects_are_put_read_in_ranges_on_conditions_and_deleted(client: Any) -> None:
    tag = client.put_object(Bucket=RESULTS, Key="a b/ü&.txt", Body=b"0123456789")["ETag"]
    assert pages(client, Bucket=RESULTS)[0] == ["a b/ü&.txt"]
    assert client.head_object(Bucket=RESULTS, Key="a b/ü&.txt")["ContentLength"] == 10
    part = client.get_object(Bucket=RESULTS, Key="a b/ü&.txt", Range="bytes=3-5", IfMatch=tag)
    assert part["Body"].read() == b"345"
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.get_object(Bucket=RESULTS, Key="a b/ü&.txt", IfMatch='"another"')
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Bucket=RESULTS, Key="a b/ü&.txt", Body=b"", IfNoneMatch="*")
    client.delete_objects(Bucket=RESULTS, Delete={"Objects": [{"Key": "a b/ü&.txt"}]})
    with pytest.raises(ClientError, match="NoSuchKey"):
        client.get_object(Bucket=RESULTS, Key="a b/ü&.txt")


def test_the_jobs_storage_writes_what_it_reads_also_in_parts(client: Any, tmp_path: Path) -> None:
    content = bytes(range(256)) * (3 * PARTS // 256)
    with storage.create(f"s3://{RESULTS}/large.bin") as path:
        path.write_bytes(content)
    assert storage.read(f"s3://{RESULTS}/large.bin") == content
    with storage.open_input(f"s3://{RESULTS}/large.bin") as file:
        file.seek(PARTS - 3)
        assert file.read(7) == content[PARTS - 3 : PARTS + 4]


def test_answers_are_late_all_at_once(tmp_path: Path) -> None:
    folder = make_images(tmp_path / "images", {"apple": 3})
    with serving(Contents(folder=folder), latency=0.2) as server:
        started = time.monotonic()
        data, entry = storage.fetch(f"s3://{IMAGES}/apple/000.jpg")
        assert time.monotonic() - started >= 0.2
        assert data == (folder / "apple" / "000.jpg").read_bytes()
        assert entry.length == len(data)
        assert server.processor_seconds() > 0
