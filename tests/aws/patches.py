"""What is put right in moto while the server plays, and undone after it."""

import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

from moto.cloudformation import parsing
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import CloudFormationBackend
from moto.cloudformation.parsing import NULL_MODELS, ResourceMap
from moto.core.exceptions import ServiceException
from moto.emr.responses import ElasticMapReduceResponse
from moto.emrserverless.models import EMRServerlessBackend
from moto.s3.models import FakeBucket

from tests.aws import buckets, moto_resources
from tests.aws.resources import Clients, Improved, Kind

# A release that moto takes, in place of those that it does not know.
KNOWN_RELEASE = "emr-7.0.0"
SPARK_RELEASE = re.compile(r"emr-spark-8\.\d+\.\d+")

UNFINISHED = ("CREATE_PENDING", "CREATE_IN_PROGRESS", "REVIEW_IN_PROGRESS")
CREATION_FAILED = "ROLLBACK_COMPLETE"
# How a stack ends when this fails.
ENDS = {
    "create_stack": CREATION_FAILED,
    "update_stack": "UPDATE_ROLLBACK_COMPLETE",
    "execute_change_set": "UPDATE_ROLLBACK_COMPLETE",
    "delete_stack": "DELETE_FAILED",
}


@contextlib.contextmanager
def patched(clients: Clients, skipped: list[str]) -> Iterator[None]:
    """Put moto right; types that cannot be made or changed end up in `skipped`, and fail their deployment."""
    with contextlib.ExitStack() as stack:

        def replace(owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
            stack.enter_context(patch.object(owner, name, wrap(getattr(owner, name))))

        types = _types(clients)
        replace(parsing, "resource_class_from_type", lambda original: _class_from_type(original, types, skipped))
        replace(parsing, "resource_name_property_from_type", lambda original: _name_property(original, types))
        replace(parsing, "parse_and_update_resource", lambda original: _update(original, skipped))
        replace(ResourceMap, "_delete_resource", _delete)
        replace(ResourceMap, "update", _forget_removed)
        for name, status in ENDS.items():
            replace(CloudFormationBackend, name, functools.partial(_failing_as, status=status))
        replace(CloudFormationBackend, "_resolve_update_parameters", _previous_parameters)
        replace(CloudFormationBackend, "delete_change_set", _delete_change_set)
        replace(EMRServerlessBackend, "create_application", _any_release)
        replace(ElasticMapReduceResponse, "get_region_from_url", _region_of_signature)
        # The bucket policy that lets S3 write its logs is kept beside.
        stack.enter_context(patch.object(FakeBucket, "_log_permissions_enabled_policy", staticmethod(lambda **_: True)))
        yield


def _types(clients: Clients) -> dict[str, Kind | Improved]:
    ours = [value for module in (moto_resources, buckets) for value in vars(module).values() if isinstance(value, type)]
    own = {kind.type: kind(clients) for kind in ours if issubclass(kind, Kind) and hasattr(kind, "type")}
    models = parsing.get_model_map()
    better = {
        kind.type: kind(clients, models[kind.type])
        for kind in ours
        if issubclass(kind, Improved) and hasattr(kind, "type")
    }
    return {**own, **better}


def _class_from_type(original: Any, types: dict[str, Kind | Improved], skipped: list[str]) -> Any:
    """Have our types come first, and types that nobody knows fail instead of being left out with a warning."""

    def class_from_type(resource_type: str) -> Any:
        if resource_type in types:
            return types[resource_type]
        # Custom resources run a Lambda function, which needs Docker: without it the stack never gets ready.
        known = parsing.get_model_map().keys() | set(NULL_MODELS)
        if resource_type not in known:
            skipped.append(resource_type)
            raise ValidationError(
                message=f"{resource_type} is not played by the test server (tests/aws/moto_resources.py)"
            )
        return original(resource_type)

    return class_from_type


def _name_property(original: Any, types: dict[str, Kind | Improved]) -> Any:
    def name_property(resource_type: str) -> Any:
        return types[resource_type].name_property if resource_type in types else original(resource_type)

    return name_property


def _update(original: Any, skipped: list[str]) -> Any:
    """Have types that moto cannot change fail: it answers None, and the stack has lost its resource."""

    @functools.wraps(original)
    def update(logical_id: str, resource_json: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        updated = original(logical_id, resource_json, *args, **kwargs)
        if updated is None:
            skipped.append(resource_json["Type"])
            raise ValidationError(
                message=f"{resource_json['Type']} cannot be changed by the test server ({logical_id})"
            )
        return updated

    return update


def _delete(original: Any) -> Any:
    """Keep what is to be retained when an update removes it too, not only when the stack goes."""

    def delete(self: Any, resource: Any, definition: dict[str, Any]) -> None:
        if definition.get("DeletionPolicy") != "Retain":
            original(self, resource, definition)

    return delete


def _forget_removed(original: Any) -> Any:
    """Have a resource that an update removed be made anew when a later one asks for it again."""

    def update(self: Any, template: dict[str, Any], parameters: dict[str, Any] | None = None) -> None:
        removed = self._resource_json_map.keys() - template["Resources"].keys()
        original(self, template, parameters)
        for logical_id in removed:
            self._parsed_resources.pop(logical_id, None)

    return update


def _failing_as(original: Any, status: str) -> Any:
    """Have a stack whose change failed end, and say why, instead of being in progress for ever or gone.

    Without this an error is an answer that cdk cannot read and asks for again: what was half made then passes for done.
    """

    @functools.wraps(original)
    def attempt(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = {
            stack.stack_id: (stack, {**vars(stack)}, {**vars(stack.resource_map)}) for stack in self.stacks.values()
        }
        try:
            return original(self, *args, **kwargs)
        except Exception as error:
            reason = error.message if isinstance(error, ServiceException) else f"{type(error).__name__}: {error}"
            named = [*args, *kwargs.values()]
            known = {**self.stacks, **{stack_id: stack for stack_id, (stack, *_) in before.items()}}
            for stack in [stack for stack in known.values() if stack.name in named or stack.stack_id in named]:
                if stack.status in UNFINISHED:
                    _roll_back(self, stack, reason)
                # A stack that stood when another was to get its name is as it was.
                elif status != CREATION_FAILED:
                    # Its template is what it was, so that cdk does not take the next attempt for no change.
                    _, stood, resource_map = before[stack.stack_id]
                    vars(stack).update(stood)
                    vars(stack.resource_map).update(resource_map)
                    self.stacks[stack.stack_id] = stack
                    _end(stack, status, reason)
            raise ValidationError(message=reason) from error

    return attempt


def _roll_back(backend: Any, stack: Any, reason: str) -> None:
    """Have nothing left of a stack that did not come to stand; a first change set makes one too."""
    with contextlib.suppress(Exception):
        stack.resource_map.delete()
    for name in [name for name, export in backend.exports.items() if export.exporting_stack_id == stack.stack_id]:
        del backend.exports[name]
    _end(stack, CREATION_FAILED, reason)


def _end(stack: Any, status: str, reason: str) -> None:
    stack.status = status
    stack._add_stack_event(status, resource_status_reason=reason)


def _previous_parameters(original: Any) -> Any:
    """Have an update keep the default of a parameter that was never given, as cdk's BootstrapVersion."""

    def resolve(self: Any, instance: Any, incoming_params: list[dict[str, Any]]) -> Any:
        given = [
            parameter
            for parameter in incoming_params
            if not parameter.get("UsePreviousValue") or parameter["ParameterKey"] in instance.parameters
        ]
        return original(self, instance, given)

    return resolve


def _delete_change_set(original: Any) -> Any:
    """Have nothing happen when there is no such change set, as with AWS; `cdk diff` asks for that first."""

    def delete(self: Any, change_set_name: str) -> None:
        known = {*self.change_sets, *(change_set.change_set_name for change_set in self.change_sets.values())}
        if change_set_name in known:
            original(self, change_set_name)

    return delete


def _region_of_signature(original: Any) -> Any:
    """Have EMR answer for the region that a request is signed for: moto looks for it in the name of the host."""

    def region(self: Any, request: Any, full_url: str) -> str:
        signed = re.search(r"Credential=[^/]+/\d+/([a-z0-9-]+)/", request.headers.get("Authorization", ""))
        return signed[1] if signed else str(original(self, request, full_url))

    return region


def _any_release(original: Any) -> Any:
    """Have EMR Serverless take the releases of Spark 4, whose names moto does not know."""

    def create(self: Any, *, release_label: str, **others: Any) -> Any:
        known = KNOWN_RELEASE if SPARK_RELEASE.fullmatch(release_label) else release_label
        application = original(self, release_label=known, **others)
        application.release_label = release_label
        return application

    return create
