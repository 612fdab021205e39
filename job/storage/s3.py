"""The connection to S3: one set of clients a process, and how long and how often they ask.

Each library repeats most failed requests by itself. `retried` repeats the others: an answer that breaks off (in
obstore's first request of an upload, in all of boto3's reading), an object replaced while it is read.
"""

import errno
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from job.errors import JobError
from job.storage.s3_errors import errors, status
from job.storage.s3_pages import hasten

if TYPE_CHECKING:
    from obstore.store import S3Store

T = TypeVar("T")

# Kept open for the threads that ask at a time (16 list, 16 fetch); each connection beyond them is made anew.
CONNECTIONS = 32


@dataclass(frozen=True)
class RetryPolicy:
    """How long a request to S3 may take, and how often and how soon it is made again.

    S3 throttles for seconds, until it has split a busy prefix, and rarely for a minute. Waits double from the first to
    the longest; each is drawn at random, so that workers that were throttled together do not come back together.

    Attributes
    ----------
    connect_seconds : float
        Time to connect; S3 takes a second or so.
    silence_seconds : float
        Longest pause in an answer: 5 MB of an upload pass in it from 2 Mbit/s on, so a longer one is a dead connection.
    hasty_seconds : float
        Longest pause in an answer to a heartbeat, which is not asked again: the next one is soon.
    answer_seconds : float
        Time for a whole answer: an image of 100 MB takes it at 3 Mbit/s.
    first_wait_seconds, longest_wait_seconds : float
        Bounds of the waits between requests.
    retry_seconds : float
        No request is repeated after this time.
    library_retries : int
        obstore's retries; their waits come to half a minute, more or less.
    library_growth : int
        obstore draws a wait between the first wait and the last one times this: with 2, waits would hardly grow.
    boto_retries : int
        boto3's retries. Its waits begin at 50 ms (1 s after SlowDown, which an answer to HEAD cannot say) and double to
        20 s; nine come to 13 s on average (55 s). boto3 has no bound in time: nine silences make 3 1/2 minutes.
    attempts : int
        Requests of `retried`, each with all retries of the library below.
    sleep : callable
        Waits for a number of seconds.
    """

    connect_seconds: float = 5.0
    silence_seconds: float = 20.0
    hasty_seconds: float = 5.0
    answer_seconds: float = 300.0
    first_wait_seconds: float = 0.1
    longest_wait_seconds: float = 10.0
    retry_seconds: float = 60.0
    library_retries: int = 10
    library_growth: int = 4
    boto_retries: int = 9
    attempts: int = 4
    sleep: Callable[[float], None] = time.sleep


# The policy in force is the last one.
_policies = [RetryPolicy()]


def policy() -> RetryPolicy:
    """Return the policy in force in this process."""
    return _policies[-1]


@contextmanager
def use(policy: RetryPolicy) -> Iterator[None]:
    """Have this process ask under another policy for the duration of the block, on new connections."""
    _policies.append(policy)
    forget()
    try:
        yield
    finally:
        _policies.pop()
        forget()


def forget() -> None:
    """Drop all connections, so that the next request reads the environment again."""
    for cached in (session, client, store):
        cached.cache_clear()


@cache
def session() -> Any:
    """Return boto3's session, which finds the credentials."""
    import boto3  # noqa: PLC0415 - a quarter of a second that a purely local run need not wait

    return boto3.session.Session()


@cache
def client(*, hasty: bool = False) -> Any:
    """Return boto3's client, for listing, deleting and rare keys; a hasty one asks once, and waits a few seconds."""
    from botocore.config import Config  # noqa: PLC0415 - see session

    made = session().client(
        "s3",
        config=Config(
            retries={"mode": "standard", "total_max_attempts": 1 if hasty else 1 + policy().boto_retries},
            connect_timeout=policy().connect_seconds,
            read_timeout=policy().hasty_seconds if hasty else policy().silence_seconds,
            max_pool_connections=CONNECTIONS,
        ),
    )
    hasten(made)
    return made


@cache
def store(bucket: str) -> "S3Store":
    """Return obstore's view of a bucket, with the endpoint and the credentials that boto3 found."""
    from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415 - see session
    from obstore.store import S3Store  # noqa: PLC0415

    if session().get_credentials() is None:
        raise JobError(f"no AWS credentials for s3://{bucket}; set a profile or a role as for the aws command")
    endpoint = client().meta.endpoint_url
    on_aws = endpoint.endswith((".amazonaws.com", ".amazonaws.com.cn"))
    return S3Store(
        bucket,
        region=_region(bucket),
        credential_provider=Boto3CredentialProvider(session()),
        client_options={
            # Plain HTTP only where the user's own endpoint says so (a test server); AWS is always TLS.
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=policy().connect_seconds),
            "read_timeout": timedelta(seconds=policy().silence_seconds),
            "timeout": timedelta(seconds=policy().answer_seconds),
        },
        retry_config={
            "max_retries": policy().library_retries,
            "retry_timeout": timedelta(seconds=policy().retry_seconds),
            "backoff": {
                "init_backoff": timedelta(seconds=policy().first_wait_seconds),
                "max_backoff": timedelta(seconds=policy().longest_wait_seconds),
                "base": policy().library_growth,
            },
        },
        **({} if on_aws else {"endpoint": endpoint}),
    )


def _region(bucket: str) -> str:
    """Return a bucket's region, which S3 gives even to callers whom it refuses everything else."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - see session

    with errors(f"s3://{bucket}", "HeadBucket"):
        try:
            region = client().head_bucket(Bucket=bucket).get("BucketRegion")
        except ClientError as error:
            if status(error) != 403:
                raise
            region = error.response["ResponseMetadata"].get("HTTPHeaders", {}).get("x-amz-bucket-region")
    return str(region or client().meta.region_name)


def retried(ask: Callable[[], T]) -> T:
    """Return the result of a request; one that fails for a reason that may pass is made again, a few times.

    Raises
    ------
    FileNotFoundError, PermissionError
        At once.
    OSError
        The last fault, when the policy allows no further attempt.
    """
    patience = policy()
    until = time.monotonic() + patience.retry_seconds
    for attempt in range(1, patience.attempts + 1):
        try:
            return ask()
        except OSError as error:
            if error.errno != errno.EIO or attempt == patience.attempts or time.monotonic() >= until:
                raise
        longest = min(patience.longest_wait_seconds, patience.first_wait_seconds * 2**attempt)
        patience.sleep(random.uniform(0, longest))  # noqa: S311 - no secret
    raise AssertionError("not reached")
