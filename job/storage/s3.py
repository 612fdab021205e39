"""The connection to S3: clients, patience with faults that pass, and what a refusal means.

Each library asks again by itself for most faults; what they leave (an answer that breaks off in obstore's first request
of an upload and in all of boto3's reading, an object replaced while it is read) is asked for again by `steadily`.
"""

import errno
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from job.errors import JobError

if TYPE_CHECKING:
    from obstore.store import S3Store

T = TypeVar("T")

# S3 answers within a second or so, and 5 MB of an upload pass within 20 s from 2 Mbit/s on: longer silence is a
# connection that is dead.
CONNECT_SECONDS = 5.0
SILENT_SECONDS = 20.0
# Kept open for the threads that ask at a time (16 list, 16 fetch); of more than are kept each is made anew.
CONNECTIONS = 32
# Of a whole answer: what a picture of 100 MB takes from 3 Mbit/s on.
ANSWER_SECONDS = 300.0
# S3 throttles for seconds, until it has split a busy prefix, and rarely for a minute. Waits double from the first to
# the longest, each drawn at random, so that workers that were throttled together do not come back together.
FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 10.0
PATIENCE_SECONDS = 60.0
# The waits of ten come to half a minute, more or less.
LIBRARY_RETRIES = 10
# obstore draws between the first wait and the last one times this: with 2, waits would hardly grow.
DRAWN_UP_TO = 4
# boto3's retries: its waits begin at 50 ms (1 s where an answer says SlowDown, which one to HEAD cannot) and double to
# 20 s. Nine come to 13 s on average (55 s); it has no bound in time: with silence each time this makes 3 1/2 minutes.
BOTO_RETRIES = 9
# Of `steadily`, each with all the patience of the library below; none begins after PATIENCE_SECONDS.
ATTEMPTS = 4

# What an account has to allow for an operation; the service itself often says no more than Access Denied.
_ABSENT = " (or s3:ListBucket, without which S3 refuses what is not there)"
_PERMISSIONS = {
    "GetObject": f"s3:GetObject{_ABSENT}",
    "HeadObject": f"s3:GetObject{_ABSENT}",
    "HeadBucket": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "PutObject": "s3:PutObject",
    "DeleteObjects": "s3:DeleteObject",
}
# Refusals that no permission would mend.
_OTHER_CAUSES = {
    "InvalidAccessKeyId": "these credentials are not valid",
    "SignatureDoesNotMatch": "these credentials are not valid",
    "ExpiredToken": "these credentials have expired",
    "InvalidToken": "these credentials are not valid",
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
    "InvalidObjectState": "it is archived, and has to be restored first",
}


def forget() -> None:
    """Look at the environment anew when next asked."""
    for cached in (session, client, store):
        cached.cache_clear()


@cache
def session() -> Any:
    """Return boto3's session, which finds the credentials."""
    import boto3  # noqa: PLC0415 - a quarter of a second that a purely local run need not wait

    return boto3.session.Session()


@cache
def client() -> Any:
    """Return boto3's client, for listing, deleting and rare keys."""
    from botocore.config import Config  # noqa: PLC0415 - see session

    return session().client(
        "s3",
        config=Config(
            retries={"mode": "standard", "max_attempts": BOTO_RETRIES},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=SILENT_SECONDS,
            max_pool_connections=CONNECTIONS,
        ),
    )


@cache
def store(bucket: str) -> "S3Store":
    """Return obstore's view of a bucket, with the endpoint and the credentials that boto3 found."""
    from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415 - see session
    from obstore.store import S3Store  # noqa: PLC0415

    if session().get_credentials() is None:
        raise JobError(f"no AWS credentials for s3://{bucket}; set a profile or a role as for the aws command")
    endpoint = client().meta.endpoint_url
    own = {} if endpoint.endswith((".amazonaws.com", ".amazonaws.com.cn")) else {"endpoint": endpoint}
    return S3Store(
        bucket,
        region=_region(bucket),
        credential_provider=Boto3CredentialProvider(session()),
        client_options={
            # Plain HTTP only where the user's own endpoint says so (a test server); AWS is always TLS.
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "read_timeout": timedelta(seconds=SILENT_SECONDS),
            "timeout": timedelta(seconds=ANSWER_SECONDS),
        },
        retry_config={
            "max_retries": LIBRARY_RETRIES,
            "retry_timeout": timedelta(seconds=PATIENCE_SECONDS),
            "backoff": {
                "init_backoff": timedelta(seconds=FIRST_WAIT_SECONDS),
                "max_backoff": timedelta(seconds=LONGEST_WAIT_SECONDS),
                "base": DRAWN_UP_TO,
            },
        },
        **own,
    )


def _region(bucket: str) -> str:
    """Return a bucket's region, which S3 tells even those whom it refuses everything else."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - see session

    with errors(f"s3://{bucket}", "HeadBucket"):
        try:
            told = client().head_bucket(Bucket=bucket).get("BucketRegion")
        except ClientError as error:
            if status(error) != 403:
                raise
            told = error.response["ResponseMetadata"].get("HTTPHeaders", {}).get("x-amz-bucket-region")
    return str(told or client().meta.region_name)


def steadily(ask: Callable[[], T]) -> T:
    """Return what a request gives; one that fails for a reason that may pass is made again, a few times.

    Raises
    ------
    FileNotFoundError, PermissionError
        At once.
    OSError
        The last fault, when patience is at an end.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return ask()
        except OSError as error:
            if error.errno != errno.EIO or attempt == ATTEMPTS or time.monotonic() >= until:
                raise
        longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2**attempt)
        time.sleep(random.uniform(0, longest))  # noqa: S311 - no secret
    raise AssertionError("not reached")


def status(error: BaseException | None) -> int:
    """Return the HTTP status of what boto3 raised, 0 for other errors."""
    answer: dict[str, Any] = getattr(error, "response", {})
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def errors(address: str, operation: str) -> Iterator[None]:
    """Turn what boto3 and obstore raise for an operation of S3 into the errors that a local file would give.

    Raises
    ------
    FileNotFoundError
        There is no such object or bucket.
    PermissionError
        S3 refuses it: what `strerror` says names the missing permission.
    OSError
        With `errno.EIO`, for all that may pass: throttling, silence, broken connections.
    JobError
        There are no credentials.
    """
    from botocore.exceptions import (  # noqa: PLC0415 - see session
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
        told = error.response.get("Error", {})
        code = told.get("Code", "")
        if code in {"NoSuchKey", "NoSuchBucket", "NotFound"} or status(error) == 404:
            raise FileNotFoundError(errno.ENOENT, "no such bucket or object", address) from None
        if status(error) in {401, 403} or code in _OTHER_CAUSES:
            raise refusal(address, operation, code, told.get("Message", "")) from None
        raise OSError(errno.EIO, str(error), address) from error
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "no such object", address) from None
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise refusal(address, operation, _told(error, "Code"), _told(error, "Message")) from None
    except (BotoCoreError, exceptions.BaseError) as error:
        if _told(error, "Code") in _OTHER_CAUSES:  # expired credentials come as 400
            raise refusal(address, operation, _told(error, "Code"), "") from None
        raise OSError(errno.EIO, " ".join(str(error).split())[:300], address) from error


def _told(error: BaseException, tag: str) -> str:
    """Return what S3's own answer, which obstore quotes, says under a tag."""
    found = re.search(f"<{tag}>([^<]*)</{tag}>", str(error))
    return found[1] if found else ""


def refusal(address: str, operation: str, code: str, message: str) -> PermissionError:
    """Return the error for a request that S3 refused: what was asked for, S3's code, what is missing.

    Of late S3 often names the permission itself, which may be another one than usual (`kms:Decrypt`).
    """
    named = re.search(r"not authorized to perform: ([\w-]+:\w+)", message)
    missing = named[1] if named else _PERMISSIONS[operation]
    cause = _OTHER_CAUSES.get(code, f"the permission {missing} is missing")
    return PermissionError(errno.EACCES, f"S3 refuses {operation} ({code or 403}): {cause}", address)
