"""An S3 on this machine for the tests of the job: a real moto server, a fresh bucket a test."""

import uuid
from collections.abc import Iterator

import boto3
import pytest

from job.storage import s3
from tests.faulty_s3 import OTHER_ACCOUNTS, FaultyS3, faulty_s3, s3_variables


@pytest.fixture
def s3_environment(moto_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Point the AWS libraries to the server, and away from whatever account this machine may know."""
    variables = s3_variables(moto_endpoint)
    for name in OTHER_ACCOUNTS:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    s3.forget()
    yield variables
    s3.forget()


@pytest.fixture
def bucket(s3_environment: dict[str, str]) -> str:
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return name


# Faults pass quickly here, so storage need not wait for them as long as it does for those of a network.
IMPATIENT = s3.RetryPolicy(silence_seconds=0.5, first_wait_seconds=0.02, longest_wait_seconds=0.5)


@pytest.fixture
def faulty(moto_endpoint: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    """Return a faulty S3 before the one that has the bucket, and have storage talk to it, with little patience."""
    with faulty_s3(moto_endpoint) as server, s3.use(IMPATIENT):
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server
