"""A role's rights on S3, enforced: patches for moto in, refusals out for whoever signs with a run's credentials.

All others, who sign with the keys of `tests.aws.server` or with those of the roles that cdk takes on, may do
everything, so that cdk and the tests go on while a run is held to its role: moto's checks outside S3 refuse what AWS
allows. HeadBucket is always refused: moto knows it as an action, AWS as one of s3:ListBucket; the job does without.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import xmltodict  # type: ignore[import-untyped]
from moto import settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.iam.access_control import IAMRequestBase


@dataclass
class Guard:
    """Who is checked, and what was refused."""

    # Access keys.
    held: set[str] = field(default_factory=set)
    # Of each request that was refused the action and the ARN of what it was for.
    refused: list[str] = field(default_factory=list)
    # Requests that were allowed: none would mean that nothing was checked.
    allowed: int = 0

    def holds(self, headers: Any) -> bool:
        """Whether a request is to be checked."""
        key = headers.get("Authorization", "").partition("Credential=")[2].partition("/")[0]
        return key in self.held


@contextlib.contextmanager
def enforced() -> Iterator[Guard]:
    """Have moto check requests with the access keys that the guard knows."""
    guard = Guard()
    authorize = ActionAuthenticatorMixin._authenticate_and_authorize_action
    authorize_s3 = ActionAuthenticatorMixin._authenticate_and_authorize_s3_action
    check = IAMRequestBase.check_action_permitted

    def authorize_held(self: Any, iam_request_cls: type, resource: str = "*") -> None:
        if guard.holds(self.headers):
            authorize(self, iam_request_cls, resource)

    def authorize_keys(self: Any, bucket_name: str | None = None, key_name: str | None = None) -> None:
        # moto asks for the right to delete the bucket where S3 asks for each object's. S3 deletes those that are
        # allowed and refuses the others one by one; here one that is refused refuses all.
        if self.data.get("Action") == "DeleteObject" and key_name is None:
            asked = xmltodict.parse(self.body, force_list=("Object",), strip_whitespace=False)
            for item in asked["Delete"]["Object"]:
                authorize_s3(self, bucket_name, item["Key"])
        else:
            authorize_s3(self, bucket_name, key_name)

    def check_and_note(self: Any, resource: str) -> None:
        try:
            check(self, resource)
        except Exception:
            guard.refused.append(f"{self._action} {resource}")
            raise
        guard.allowed += 1

    with (
        patch.object(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0),
        patch.object(ActionAuthenticatorMixin, "_authenticate_and_authorize_action", authorize_held),
        patch.object(ActionAuthenticatorMixin, "_authenticate_and_authorize_s3_action", authorize_keys),
        patch.object(IAMRequestBase, "check_action_permitted", check_and_note),
    ):
        yield guard
