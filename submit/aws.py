"""The AWS clients of the submitter, and errors of boto3 as sentences that say what to do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import botocore.session
from botocore import exceptions as boto
from botocore.config import Config
from botocore.parsers import ResponseParserError

from job.errors import JobError
from submit.errors import DeniedError, ExpiredError, UnavailableError
from submit.request.targets import DEFAULT_REGION

# With pauses of seconds in between where AWS throttles, else of about a second in all. A follower asks on after that.
ATTEMPTS_A_CALL = 6
CONNECT_SECONDS = 10
READ_SECONDS = 30

LOG_IN = "log in (aws sso login, or aws configure), or name a profile in AWS_PROFILE"
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
REFUSED = {
    "AuthFailure",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Forbidden", "403"}
BUSY = {
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "Throttling",
    "ThrottledException",
    "ThrottlingException",
    "TooManyRequestsException",
    "429",
}
CLUSTER_OPERATIONS = (
    *("RunJobFlow", "AddJobFlowSteps", "CancelSteps", "TerminateJobFlows"),
    *("DescribeCluster", "DescribeStep", "ListClusters", "ListInstances", "ListSteps"),
)
# S3 says only "Access Denied"; the other services name the missing action themselves.
ACTIONS = {
    **{name: f"elasticmapreduce:{name}" for name in CLUSTER_OPERATIONS},
    "DescribeStacks": "cloudformation:DescribeStacks",
    "ListObjectsV2": "s3:ListBucket",
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
}


@dataclass(frozen=True)
class Clients:
    """Clients of the services that the submitter uses, in one region; `once` is EMR without retries."""

    region: str
    cloudformation: Any
    emr_serverless: Any
    emr: Any
    once: Any
    s3: Any


def connect(
    region: str | None = None, *, attempts: int = ATTEMPTS_A_CALL, session: botocore.session.Session | None = None
) -> Clients:
    """Return clients for a region.

    Parameters
    ----------
    region : str, optional
        By default that of the AWS configuration, or the default region of a stack where that names none.
    attempts : int
        How often each call is tried.
    session : botocore.session.Session, optional
        What makes the clients, by default a new one.

    Raises
    ------
    JobError
        For a profile that does not exist, a configuration that cannot be read, or an invalid name of a region.
    """
    usual, once = (
        Config(
            retries={"mode": "standard", "total_max_attempts": tries},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
        )
        for tries in (attempts, 1)
    )
    with explained("the AWS configuration"):
        maker = boto3.session.Session(region_name=region, botocore_session=session)
        found = DEFAULT_REGION if maker.region_name is None else maker.region_name
        services = (
            *(("cloudformation", usual), ("emr-serverless", usual)),
            *(("emr", usual), ("emr", once), ("s3", usual)),
        )
        return Clients(found, *(maker.client(name, region_name=found, config=config) for name, config in services))


@contextmanager
def explained(resource: str) -> Iterator[None]:
    """Turn errors of boto3 into errors with a sentence; `resource` names what was asked for, by ARN or address.

    Raises
    ------
    UnavailableError, ExpiredError, DeniedError, JobError
        In place of those of boto3.
    """
    try:
        yield
    except (boto.BotoCoreError, boto.ClientError, ResponseParserError) as error:
        raise explain(error, resource) from error


def explain(error: Exception, resource: str) -> JobError:
    """Return the error to raise for an error of boto3."""
    if isinstance(error, boto.ClientError):
        return _explain_answer(error, resource)
    text = " ".join(str(error).split())
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.NoAuthTokenError):
        return JobError(f"no AWS credentials were found: {LOG_IN}")
    if isinstance(
        error, boto.SSOError | boto.TokenRetrievalError | boto.CredentialRetrievalError | boto.LoginRefreshRequired
    ):
        return ExpiredError(f"the AWS credentials could not be renewed ({text}): {LOG_IN}")
    if isinstance(error, boto.ConnectionError | boto.HTTPClientError | boto.IncompleteReadError):
        return UnavailableError(f"AWS cannot be reached ({text}): check the network, and the region")
    if isinstance(error, ResponseParserError):  # such as the log-in page of a network
        return UnavailableError(f"the answer for {resource} does not come from AWS ({text}): check the network")
    return JobError(f"{resource}: {text}")


def _explain_answer(error: Any, resource: str) -> JobError:
    answer, operation = error.response.get("Error", {}), error.operation_name
    code, text = str(answer.get("Code", "")), " ".join(str(answer.get("Message", "")).split())
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in EXPIRED:
        return ExpiredError(f"the AWS credentials have expired: {LOG_IN}")
    if code in REFUSED:
        return JobError(f"AWS does not know these credentials ({code}): {LOG_IN}")
    if code in BUSY:
        return UnavailableError(f"AWS asks to slow down ({code} for {operation}): try again in a few minutes")
    if code in DENIED:
        action = re.search(r"perform: (\S+)", text)
        named = re.search(r"on resource: (\S+)", text)
        return DeniedError(
            f"not allowed: {action[1] if action else ACTIONS.get(operation, f'emr-serverless:{operation}')}"
            f" on {named[1] if named else resource}; the policy in the stack's output SubmitterPolicy allows it:"
            " have it attached to your user or role"
        )
    if status >= 500:
        return UnavailableError(f"AWS reports an internal error ({code} for {operation}: {text}): try again later")
    return JobError(f"{resource}: {text or code} ({code} for {operation})")


def code_of(error: JobError) -> str:
    """Return the code with which AWS answered, empty where it did not."""
    cause = error.__cause__
    return str(cause.response.get("Error", {}).get("Code", "")) if isinstance(cause, boto.ClientError) else ""
