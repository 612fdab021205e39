"""Listing pages read by the job's client are those that boto3 reads by itself."""

import boto3
import pytest

from job.storage import s3

KEYS = [
    "plain.jpg",
    "two words + more%41.jpg",
    "a<b>&amp;'\"c.jpg",
    "return\rtab\t.jpg",
    "bell\x07.jpg",
    "Äpfel/苹果 🍎.jpg",
    "a//b.jpg",
    "/start.jpg",
    "</Contents>/1.jpg",
]


@pytest.mark.parametrize("delimiter", ["", "/"])
def test_a_page_is_read_as_boto3_reads_it(bucket: str, delimiter: str) -> None:
    plain = boto3.client("s3")
    for key in KEYS:
        plain.put_object(Bucket=bucket, Key=key, Body=key.encode())
    asked = {"Bucket": bucket, "Delimiter": delimiter, "MaxKeys": 4}
    ours, theirs = (list(client.get_paginator("list_objects_v2").paginate(**asked)) for client in (s3.client(), plain))
    assert len(ours) > 1
    assert [page["IsTruncated"] for page in ours] == [page["IsTruncated"] for page in theirs]
    assert [page.get("CommonPrefixes") for page in ours] == [page.get("CommonPrefixes") for page in theirs]
    found, expected = ([entry for page in pages for entry in page.get("Contents", [])] for pages in (ours, theirs))
    assert found == [{name: entry[name] for name in ("Key", "LastModified", "ETag", "Size")} for entry in expected]
    if not delimiter:
        assert [entry["Key"] for entry in found] == sorted(KEYS)
