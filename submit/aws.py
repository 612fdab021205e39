"""AWS as the submitter knows it: one factory of clients, and errors of boto3 as sentences that say what to do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from botocore import exceptions as boto
from botocore.config import Config
from botocore.parsers import ResponseParserError

from job.errors import JobError
from submit.errors import DeniedError, ExpiredError, UnavailableError
from submit.request.targets import DEFAULT_REGION

# Of one call, with pauses of seconds where AWS asks to slow down, else of a second or so in all; whoever follows a run
# goes on asking after that.
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
# S3 says "Access Denied" and no more; the others name what is missing themselves.
ACTIONS = {
    **{name: f"elasticmapreduce:{name}" for name in CLUSTER_OPERATIONS},
    "DescribeStacks": "cloudformation:DescribeStacks",
    "ListObjectsV2": "s3:ListBucket",
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
}


@dataclass(frozen=True)
class Clients:
    """The services that are talked to, in one region; `once` is EMR, asked once and not again."""

    region: str
    cloudformation: Any
    emr_serverless: Any
    emr: Any
    once: Any
    s3: Any


def connect(region: str | None = None) -> Clients:
    """Return clients for a region; None for the AWS session's own, else the one that the stack has by default.

    Raises
    ------
    JobError
        For a profile that does not exist, a configuration that cannot be read, a name that is no region.
    """
    usual, once = (
        Config(
            retries={"mode": "standard", "total_max_attempts": attempts},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
        )
        for attempts in (ATTEMPTS_A_CALL, 1)
    )
    with explained("the AWS configuration"):
        session = boto3.session.Session(region_name=region)
        found = DEFAULT_REGION if session.region_name is None else session.region_name
        services = (
            *(("cloudformation", usual), ("emr-serverless", usual)),
            *(("emr", usual), ("emr", once), ("s3", usual)),
        )
        return Clients(found, *(session.client(name, region_name=found, config=how) for name, how in services))


@contextmanager
def explained(resource: str) -> Iterator[None]:
    """Turn what boto3 raises within into a sentence; `resource` is what was asked for, an ARN or an address.

    Raises
    ------
    UnavailableError, ExpiredError, DeniedError, JobError
        In place of boto3's own.
    """
    try:
        yield
    except (boto.BotoCoreError, boto.ClientError, ResponseParserError) as error:
        raise explain(error, resource) from error


def explain(error: Exception, resource: str) -> JobError:
    """Return what to tell of an error of boto3."""
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
    if isinstance(error, ResponseParserError):  # such as the page of a network that wants a log-in of its own
        return UnavailableError(f"the answer for {resource} is none of AWS's ({text}): check the network")
    return JobError(f"{resource}: {text}")


def _explain_answer(error: Any, resource: str) -> JobError:
    told = error.response.get("Error", {})
    code, text, operation = (
        str(told.get("Code", "")),
        " ".join(str(told.get("Message", "")).split()),
        error.operation_name,
    )
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
            f" on {named[1] if named else resource}; the policy that the stack names in its output SubmitterPolicy"
            " allows it: have it attached to your user or role"
        )
    if status >= 500:
        return UnavailableError(f"AWS has trouble of its own ({code} for {operation}: {text}): try again later")
    return JobError(f"{resource}: {text or code} ({code} for {operation})")


def code_of(error: JobError) -> str:
    """Return the code with which AWS answered, empty where it did not."""
    cause = error.__cause__
    return str(cause.response.get("Error", {}).get("Code", "")) if isinstance(cause, boto.ClientError) else ""
