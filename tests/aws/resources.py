"""What a CloudFormation type is to the server: made, changed and deleted through its service's own API.

Going through the API has botocore check names and types of what the template says, and boto3 read it back.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from botocore.exceptions import ClientError
from moto.cloudformation.exceptions import UnformattedGetAttTemplateException, ValidationError

from tests.aws import ACCOUNT

Properties = dict[str, Any]
# (service, region) -> a boto3 client that talks to this server.
Clients = Callable[[str, str], Any]


@dataclass
class Resource:
    """One resource of a stack, as moto's CloudFormation keeps it."""

    kind: "Kind"
    name: str
    region: str
    properties: Properties
    physical_resource_id: str
    attributes: dict[str, str] = field(default_factory=dict)

    def get_cfn_attribute(self, name: str) -> str:
        """Return what Fn::GetAtt asks for."""
        if name not in self.attributes:
            raise UnformattedGetAttTemplateException
        return self.attributes[name]

    def is_created(self) -> bool:
        return True

    def delete(self, account_id: str, region_name: str) -> None:
        """Delete it; what is gone already, as with its owner, is as well as deleted."""
        try:
            self.kind.delete(self.kind.api(region_name), self)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if "NotFound" not in code and not code.startswith("NoSuch"):
                raise


class Kind(ABC):
    """A type that moto's CloudFormation lacks or does badly.

    Where moto has a class for each type, whose class methods it calls, an instance of this answers in its place. A
    subclass names type and service, and the property that is the name, where it has one.
    """

    type: ClassVar[str]
    service: ClassVar[str] = ""
    name_property: ClassVar[str] = ""
    # Where the API is not handed all of them: the properties that this server keeps.
    known: ClassVar[frozenset[str]] = frozenset()
    # Services for which moto keeps one backend for all regions.
    region: ClassVar[str] = ""

    def __init__(self, clients: Clients) -> None:
        self.clients = clients

    def api(self, region: str) -> Any:
        return self.clients(self.service, self.region or region) if self.service else None

    @abstractmethod
    def create(self, api: Any, resource: Resource) -> None:
        """Make it, and set the resource's physical id (what Ref gives; the name, unless set) and its attributes."""

    def update(self, api: Any, resource: Resource, old: Properties) -> None:
        """Bring it to its new properties; for most, making it again is just that."""
        self.create(api, resource)

    @abstractmethod
    def delete(self, api: Any, resource: Resource) -> None:
        """Delete it."""

    def check(self, properties: Properties) -> None:
        """Refuse what would be dropped in silence."""
        if self.known and (unknown := properties.keys() - self.known):
            raise ValidationError(message=f"{self.type}: this server does not keep {', '.join(sorted(unknown))}")

    # From here on, what moto calls, by its names.

    def create_from_cloudformation_json(
        self, resource_name: str, cloudformation_json: Properties, account_id: str, region_name: str, **_: Any
    ) -> Resource:
        if account_id != ACCOUNT:
            raise ValidationError(message=f"this server plays the account {ACCOUNT} only, not {account_id}")
        properties = cloudformation_json["Properties"]
        self.check(properties)
        resource = Resource(self, resource_name, region_name, properties, resource_name)
        self.create(self.api(region_name), resource)
        return resource

    def update_from_cloudformation_json(
        self,
        original_resource: Resource,
        new_resource_name: str,
        cloudformation_json: Properties,
        account_id: str,
        region_name: str,
    ) -> Resource:
        properties = cloudformation_json["Properties"]
        self.check(properties)
        if self.name_property and properties.get(self.name_property, original_resource.name) != original_resource.name:
            original_resource.delete(account_id, region_name)
            return self.create_from_cloudformation_json(new_resource_name, cloudformation_json, account_id, region_name)
        old, original_resource.properties = original_resource.properties, properties
        try:
            self.update(self.api(region_name), original_resource, old)
        except Exception:
            original_resource.properties = old
            raise
        return original_resource

    def delete_from_cloudformation_json(self, *_: Any) -> None:
        raise AssertionError(f"{self.type}: moto deletes through the resource")

    def has_cfn_attr(self, _: str) -> bool:
        return True


class Beside(Kind):
    """A type that has nothing in moto: only its properties are kept."""

    def create(self, api: Any, resource: Resource) -> None:
        """Nothing: the resource is all there is."""

    def delete(self, api: Any, resource: Resource) -> None:
        """Nothing: the resource goes with the stack."""


class Improved:
    """A type of moto's own, of which only the update is put right."""

    type: ClassVar[str]

    def __init__(self, clients: Clients, model: Any) -> None:
        self.clients = clients
        self.model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    @property
    def name_property(self) -> str:
        return str(self.model.cloudformation_name_type())


def call(api: Any, operation: str, properties: Mapping[str, Any]) -> Any:
    """Call an operation with properties of a template, brought to the operation's own names and types."""
    model = api.meta.service_model.operation_model(api.meta.method_to_api_mapping[operation])
    return getattr(api, operation)(**to_api(model.input_shape, properties))


def to_api(shape: Any, value: Any) -> Any:
    """Return a value of a template as the API takes it.

    The API may begin its names with a small letter, have a map where the template has a list of Key and Value, text
    where it has a number or a document, and CloudFormation takes numbers and booleans that are written as text.
    """
    match shape.type_name:
        case "structure":
            members = {name.lower(): (name, member) for name, member in shape.members.items()}
            if unknown := [name for name in value if name.lower() not in members]:
                raise ValidationError(message=f"{shape.name} has no {', '.join(unknown)}")
            found = {members[name.lower()]: inner for name, inner in value.items()}
            return {name: to_api(member, inner) for (name, member), inner in found.items()}
        case "list":
            return [to_api(shape.member, inner) for inner in value]
        case "map":
            pairs = value.items() if isinstance(value, dict) else [(pair["Key"], pair["Value"]) for pair in value]
            return {name: to_api(shape.value, inner) for name, inner in pairs}
        case "string":
            return value if isinstance(value, str) else json.dumps(value)
        case "boolean":
            return value if isinstance(value, bool) else value == "true"
        case "integer" | "long":
            return int(value)
        case "float" | "double":
            return float(value)
    return value


def without(properties: Properties, *names: str) -> Properties:
    """Return the properties but for some."""
    return {name: value for name, value in properties.items() if name not in names}
