"""S3 buckets of a template: moto's CloudFormation drops all but encryption and tags, its S3 keeps what is below."""

import re
from collections.abc import Callable
from typing import Any

from tests.aws.resources import Kind, Properties, Resource, call, without


def _same(value: Any) -> Any:
    return value


def _encryption(value: Properties) -> Properties:
    names = {"ServerSideEncryptionByDefault": "ApplyServerSideEncryptionByDefault"}
    return {"Rules": [_renamed(rule, names) for rule in value["ServerSideEncryptionConfiguration"]]}


def _logging(value: Properties) -> Properties:
    return {
        "LoggingEnabled": {
            "TargetBucket": value["DestinationBucketName"],
            "TargetPrefix": value.get("LogFilePrefix", ""),
        }
    }


def _lifecycle(value: Properties) -> Properties:
    return {"Rules": [_lifecycle_rule(rule) for rule in value["Rules"]]}


def _lifecycle_rule(given: Properties) -> Properties:
    """Return a rule as the API takes it, which gathers in `Expiration` and `Filter` what the template has apart."""
    rule = without(given, "Id", "Prefix", *EXPIRATION) | {"Filter": {"Prefix": given.get("Prefix", "")}}
    if "Id" in given:
        rule["ID"] = given["Id"]
    if expiration := {name: given[key] for key, name in EXPIRATION.items() if key in given}:
        rule["Expiration"] = expiration
    for name, days in (("Transitions", "Days"), ("NoncurrentVersionTransitions", "NoncurrentDays")):
        if name in given:
            rule[name] = [_renamed(step, {"TransitionInDays": days, "TransitionDate": "Date"}) for step in given[name]]
    return rule


def _renamed(value: Properties, names: dict[str, str]) -> Properties:
    return {names.get(name, name): inner for name, inner in value.items()}


EXPIRATION = {
    "ExpirationInDays": "Days",
    "ExpirationDate": "Date",
    "ExpiredObjectDeleteMarker": "ExpiredObjectDeleteMarker",
}
# Property -> operation, its parameter, and what makes the one out of the other.
PUT: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "BucketEncryption": ("put_bucket_encryption", "ServerSideEncryptionConfiguration", _encryption),
    "VersioningConfiguration": ("put_bucket_versioning", "VersioningConfiguration", _same),
    "PublicAccessBlockConfiguration": ("put_public_access_block", "PublicAccessBlockConfiguration", _same),
    "OwnershipControls": ("put_bucket_ownership_controls", "OwnershipControls", _same),
    "LifecycleConfiguration": ("put_bucket_lifecycle_configuration", "LifecycleConfiguration", _lifecycle),
    "LoggingConfiguration": ("put_bucket_logging", "BucketLoggingStatus", _logging),
    # The template says LogDeliveryWrite where the API says log-delivery-write.
    "AccessControl": ("put_bucket_acl", "ACL", lambda name: re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()),
    "Tags": ("put_bucket_tagging", "Tagging", lambda tags: {"TagSet": tags}),
}
UNDO = {
    "BucketEncryption": "delete_bucket_encryption",
    "PublicAccessBlockConfiguration": "delete_public_access_block",
    "OwnershipControls": "delete_bucket_ownership_controls",
    "LifecycleConfiguration": "delete_bucket_lifecycle",
    "Tags": "delete_bucket_tagging",
}


class Bucket(Kind):
    type, service, name_property = "AWS::S3::Bucket", "s3", "BucketName"
    known = frozenset({"BucketName", *PUT})

    def create(self, api: Any, resource: Resource) -> None:
        # S3 refuses the name of its first region.
        elsewhere = {"CreateBucketConfiguration": {"LocationConstraint": resource.region}}
        api.create_bucket(Bucket=resource.name, **({} if resource.region == "us-east-1" else elsewhere))
        resource.attributes = {
            "Arn": f"arn:aws:s3:::{resource.name}",
            "DomainName": f"{resource.name}.s3.amazonaws.com",
            "RegionalDomainName": f"{resource.name}.s3.{resource.region}.amazonaws.com",
        }
        self.update(api, resource, {})

    def update(self, api: Any, resource: Resource, old: Properties) -> None:
        given = resource.properties
        for name, (operation, parameter, translate) in PUT.items():
            if name in given:
                call(api, operation, {"Bucket": resource.name, parameter: translate(given[name])})
            elif name in old:
                self._undo(api, name, resource.name)

    def _undo(self, api: Any, name: str, bucket: str) -> None:
        if name == "VersioningConfiguration":
            api.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
        elif name == "LoggingConfiguration":
            api.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
        elif name == "AccessControl":
            api.put_bucket_acl(Bucket=bucket, ACL="private")
        else:
            getattr(api, UNDO[name])(Bucket=bucket)

    def delete(self, api: Any, resource: Resource) -> None:
        # Refused where objects, versions or markers are left, as CloudFormation is.
        api.delete_bucket(Bucket=resource.name)
