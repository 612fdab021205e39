"""The job role's rights on S3, one by one: the deployed policy in, the same without one of them for a while."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.rehearsal.stage import Stage

# moto lets a multipart upload be ended without it, and no run ends one.
NOT_ENFORCED = {"s3:AbortMultipartUpload"}


@dataclass(frozen=True)
class Grant:
    """One action on one resource."""

    action: str
    resource: str

    @property
    def address(self) -> str:
        """Return what an error has to name: the object, or what all objects meant begin with."""
        return "s3://" + self.resource.split(":::")[1].rstrip("*").rstrip("/")

    def __str__(self) -> str:
        """Return both."""
        return f"{self.action} on {self.address}"


def grants(stage: Stage) -> list[Grant]:
    """Return each right on S3 that the deployed policy gives the job role, and that the server enforces."""
    _, document = _policy(stage)
    pairs = [
        Grant(action, resource)
        for statement in document["Statement"]
        for action in _list(statement["Action"])
        for resource in _list(statement["Resource"])
    ]
    return [pair for pair in pairs if pair.action.startswith("s3:") and pair.action not in NOT_ENFORCED]


def find(stage: Stage, action: str, output: str) -> Grant:
    """Return the right to do something with what an output of the stack names, or with all that is below it."""
    bucket, key = stage.locate(output)
    below = (
        f"arn:aws:s3:::{bucket}" if action == "s3:ListBucket" else f"arn:aws:s3:::{'/'.join([bucket, *key.split()])}/*"
    )
    return next(grant for grant in grants(stage) if (grant.action, grant.resource) == (action, below))


@contextlib.contextmanager
def withheld(stage: Stage, grant: Grant) -> Iterator[None]:
    """While it lasts, the role has all rights but one."""
    name, document = _policy(stage)
    statements = []
    for statement in document["Statement"]:
        actions, resources = _list(statement["Action"]), _list(statement["Resource"])
        if grant.action not in actions or grant.resource not in resources:
            statements.append(statement)
            continue
        others = [action for action in actions if action != grant.action]
        elsewhere = [resource for resource in resources if resource != grant.resource]
        statements += [{**statement, "Action": others}] if others else []
        statements += [{**statement, "Action": [grant.action], "Resource": elsewhere}] if elsewhere else []
    _put(stage, name, {**document, "Statement": statements})
    try:
        yield
    finally:
        _put(stage, name, document)


def _role(stage: Stage) -> str:
    return stage.outputs["JobRole"].rsplit("/", 1)[-1]


def _policy(stage: Stage) -> tuple[str, dict[str, Any]]:
    iam, role = stage.aws.client("iam"), _role(stage)
    [name] = iam.list_role_policies(RoleName=role)["PolicyNames"]
    return name, iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]


def _put(stage: Stage, name: str, document: dict[str, Any]) -> None:
    stage.aws.client("iam").put_role_policy(RoleName=_role(stage), PolicyName=name, PolicyDocument=json.dumps(document))


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
