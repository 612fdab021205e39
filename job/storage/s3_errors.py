"""Errors of S3: what boto3 and obstore raise, turned into the errors that a local file would give."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from job.errors import JobError

# The permission that an operation needs; the service itself often says no more than Access Denied.
_ABSENT = " (or s3:ListBucket, without which S3 refuses objects that do not exist)"
_PERMISSIONS = {
    "GetObject": f"s3:GetObject{_ABSENT}",
    "HeadObject": f"s3:GetObject{_ABSENT}",
    "HeadBucket": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "PutObject": "s3:PutObject",
    "CopyObject": "s3:GetObject or s3:PutObject",
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


# Refusals that another object would meet as well.
_OF_ALL = _OTHER_CAUSES.keys() - {"InvalidObjectState"}


class CredentialsError(PermissionError):
    """S3 refuses whoever asks, whatever is asked for."""


@contextmanager
def errors(address: str, operation: str) -> Iterator[None]:
    """Turn what boto3 and obstore raise for an operation of S3 into the errors that a local file would give.

    Raises
    ------
    FileNotFoundError
        There is no such object or bucket.
    PermissionError
        S3 refuses it; `strerror` names the missing permission. A `CredentialsError` where it refuses whoever asks.
    OSError
        With `errno.EIO`, for all that may pass: throttling, silence, broken connections.
    JobError
        There are no credentials.
    """
    from botocore.exceptions import (  # noqa: PLC0415 - a purely local run need not load it
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
        answer = error.response.get("Error", {})
        code = answer.get("Code", "")
        if code in {"NoSuchKey", "NoSuchBucket", "NotFound"} or status(error) == 404:
            raise FileNotFoundError(errno.ENOENT, "no such bucket or object", address) from None
        if status(error) in {401, 403} or code in _OTHER_CAUSES:
            raise refusal(address, operation, code, answer.get("Message", "")) from None
        raise OSError(errno.EIO, str(error), address) from error
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "no such object", address) from None
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise refusal(address, operation, _quoted(error, "Code"), _quoted(error, "Message")) from None
    except (BotoCoreError, exceptions.BaseError) as error:
        if _quoted(error, "Code") in _OTHER_CAUSES:  # expired credentials come as 400
            raise refusal(address, operation, _quoted(error, "Code"), "") from None
        raise OSError(errno.EIO, " ".join(str(error).split())[:300], address) from error


def status(error: BaseException | None) -> int:
    """Return the HTTP status of an error of boto3, 0 for other errors."""
    answer: dict[str, Any] = getattr(error, "response", None) or {}
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _quoted(error: BaseException, tag: str) -> str:
    """Return an element's text in S3's own answer, which obstore quotes."""
    found = re.search(f"<{tag}>([^<]*)</{tag}>", str(error))
    return found[1] if found else ""


def refusal(address: str, operation: str, code: str, message: str) -> PermissionError:
    """Return the error for a request that S3 refused: the operation, S3's code, the missing permission.

    S3's message may name the permission itself, and it may be another one than usual (`kms:Decrypt`).
    """
    named = re.search(r"not authorized to perform: ([\w-]+:\w+)", message)
    missing = named[1] if named else _PERMISSIONS[operation]
    cause = _OTHER_CAUSES.get(code, f"the permission {missing} is missing")
    kind = CredentialsError if code in _OF_ALL else PermissionError
    return kind(errno.EACCES, f"S3 refuses {operation} ({code or 403}): {cause}", address)
