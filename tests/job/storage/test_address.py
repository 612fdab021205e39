"""Addresses as text: joined, split, made absolute."""

from pathlib import Path

import pytest

from job import storage
from job.errors import JobError


def test_addresses_are_made_absolute_and_joined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    cases: list[tuple[str, str]] = [
        ("photos/", f"{tmp_path}/photos"),
        ("./a/../b", f"{tmp_path}/b"),
        ("/", "/"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("s3://bucket/a/../b", "s3://bucket/a/../b"),
    ]
    assert [storage.absolute(given) for given, _ in cases] == [expected for _, expected in cases]
    assert storage.join("s3://bucket/", "a", "b") == "s3://bucket/a/b"
    assert storage.join("/data", "a") == "/data/a"
    assert [storage.name(address) for address in ("s3://bucket/a/b.jpg", "/x/y")] == ["b.jpg", "y"]
    assert [storage.is_s3(address) for address in ("s3://bucket", "/s3://bucket", "s3:/x")] == [True, False, False]


@pytest.mark.parametrize("address", ["s3://", "s3:///", "s3:///key"])
def test_an_s3_address_without_a_bucket_is_refused(address: str) -> None:
    with pytest.raises(JobError, match=f"^{address} names no bucket; an address on S3 is s3://bucket/prefix$"):
        storage.absolute(address)


@pytest.mark.parametrize(
    ("address", "bucket", "key"),
    [
        ("s3://bucket", "bucket", ""),
        ("s3://bucket/", "bucket", ""),
        ("s3://bucket/a/b.jpg", "bucket", "a/b.jpg"),
        ("s3://bucket//a/", "bucket", "/a/"),
    ],
)
def test_an_s3_address_is_split_into_bucket_and_key(address: str, bucket: str, key: str) -> None:
    assert storage.split_s3(address) == (bucket, key)
