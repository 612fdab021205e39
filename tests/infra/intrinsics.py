"""A synthesized template goes in, concrete values come out: Ref, GetAtt, Sub, Join, Split and Select become plain text.

Names and ARNs are made up, but have the form that AWS gives them. What is not known here is an error, never a guess.
"""

import hashlib
import re
import uuid
from collections.abc import Mapping
from functools import cached_property
from typing import Any

# What `Ref` and `Fn::GetAtt` return by type, as CloudFormation's reference of resource types says.
SHAPES: dict[str, dict[str, str]] = {
    "AWS::Budgets::Budget": {"Ref": "{name}"},
    "AWS::CloudWatch::Alarm": {"Ref": "{name}", "Arn": "arn:{partition}:cloudwatch:{region}:{account}:alarm:{name}"},
    "AWS::CloudWatch::Dashboard": {"Ref": "{name}"},
    "AWS::EC2::RouteTable": {"Ref": "rtb-0{hex:.16}"},
    "AWS::EC2::SecurityGroup": {"Ref": "sg-0{hex:.16}", "GroupId": "sg-0{hex:.16}"},
    "AWS::EC2::Subnet": {"Ref": "subnet-0{hex:.16}", "SubnetId": "subnet-0{hex:.16}"},
    "AWS::EC2::VPC": {"Ref": "vpc-0{hex:.16}", "VpcId": "vpc-0{hex:.16}"},
    "AWS::EC2::VPCEndpoint": {"Ref": "vpce-0{hex:.16}", "Id": "vpce-0{hex:.16}"},
    "AWS::EMR::SecurityConfiguration": {"Ref": "{name}"},
    "AWS::EMRServerless::Application": {
        "Ref": "00{hex:.14}",
        "ApplicationId": "00{hex:.14}",
        # The slash before `applications` is real.
        "Arn": "arn:{partition}:emr-serverless:{region}:{account}:/applications/00{hex:.14}",
    },
    "AWS::Events::Rule": {"Ref": "{name}", "Arn": "arn:{partition}:events:{region}:{account}:rule/{name}"},
    "AWS::IAM::InstanceProfile": {
        "Ref": "{name}",
        "Arn": "arn:{partition}:iam::{account}:instance-profile{path}{name}",
    },
    "AWS::IAM::ManagedPolicy": {
        "Ref": "arn:{partition}:iam::{account}:policy{path}{name}",
        "PolicyArn": "arn:{partition}:iam::{account}:policy{path}{name}",
    },
    "AWS::IAM::Role": {"Ref": "{name}", "Arn": "arn:{partition}:iam::{account}:role{path}{name}"},
    "AWS::KMS::Alias": {"Ref": "{name}"},
    "AWS::KMS::Key": {"Ref": "{uuid}", "KeyId": "{uuid}", "Arn": "arn:{partition}:kms:{region}:{account}:key/{uuid}"},
    "AWS::Lambda::Function": {"Ref": "{name}", "Arn": "arn:{partition}:lambda:{region}:{account}:function:{name}"},
    "AWS::Logs::LogGroup": {"Ref": "{name}", "Arn": "arn:{partition}:logs:{region}:{account}:log-group:{name}:*"},
    "AWS::S3::Bucket": {
        "Ref": "{name}",
        "Arn": "arn:{partition}:s3:::{name}",
        "DomainName": "{name}.s3.{suffix}",
        "RegionalDomainName": "{name}.s3.{region}.{suffix}",
    },
    "AWS::SNS::Topic": {
        "Ref": "arn:{partition}:sns:{region}:{account}:{name}",
        "TopicArn": "arn:{partition}:sns:{region}:{account}:{name}",
        "TopicName": "{name}",
    },
    "AWS::SQS::Queue": {
        "Ref": "https://sqs.{region}.{suffix}/{account}/{name}",
        "Arn": "arn:{partition}:sqs:{region}:{account}:{name}",
        "QueueName": "{name}",
    },
    "AWS::Scheduler::Schedule": {
        "Ref": "{name}",
        "Arn": "arn:{partition}:scheduler:{region}:{account}:schedule/{group}/{name}",
    },
    "AWS::Scheduler::ScheduleGroup": {
        "Ref": "{name}",
        "Arn": "arn:{partition}:scheduler:{region}:{account}:schedule-group/{name}",
    },
}
# Which property gives a name; without it CloudFormation makes one from stack, logical ID and random letters.
OWN_NAME = {
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::EMR::SecurityConfiguration": "Name",
    "AWS::Events::Rule": "Name",
    "AWS::IAM::InstanceProfile": "InstanceProfileName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::IAM::Role": "RoleName",
    "AWS::KMS::Alias": "AliasName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::Scheduler::Schedule": "Name",
    "AWS::Scheduler::ScheduleGroup": "Name",
}


class UnresolvedError(Exception):
    """A reference that nothing here can turn into text."""


class Resolver:
    """The values of one template, as they would be in one account and region."""

    def __init__(
        self,
        template: Mapping[str, Any],
        *,
        account: str,
        region: str,
        name: str,
        refs: Mapping[str, str] | None = None,
    ) -> None:
        """Take a template.

        Parameters
        ----------
        template : mapping
            As `Template.from_stack(stack).to_json()` returns it.
        account, region, name : str
            Where the stack is, and what it is called.
        refs : mapping of str to str, optional
            Values that go before all others, by logical ID or parameter (`Key`) or attribute (`Key.Arn`).
        """
        self._template = template
        self._refs = dict(refs or {})
        suffix, partition = ("amazonaws.com.cn", "aws-cn") if region.startswith("cn-") else ("amazonaws.com", "aws")
        self._scope = {"account": account, "region": region, "partition": partition, "suffix": suffix}
        self._name = name

    @cached_property
    def _pseudo(self) -> dict[str, str]:
        scope = self._scope
        stack_id = "arn:{partition}:cloudformation:{region}:{account}:stack/".format(**scope)
        return {
            "AWS::AccountId": scope["account"],
            "AWS::Partition": scope["partition"],
            "AWS::Region": scope["region"],
            "AWS::StackId": f"{stack_id}{self._name}/{uuid.uuid5(uuid.NAMESPACE_OID, self._name)}",
            "AWS::StackName": self._name,
            "AWS::URLSuffix": scope["suffix"],
        }

    def ids(self, resource_type: str) -> list[str]:
        """Return the logical IDs of all resources of a type, in the template's order."""
        resources = self._template.get("Resources", {})
        return [logical_id for logical_id, resource in resources.items() if resource["Type"] == resource_type]

    def properties(self, logical_id: str) -> dict[str, Any]:
        """Return the properties of a resource, unresolved."""
        resource = self._resource(logical_id)
        if "Condition" in resource:
            raise UnresolvedError(
                f"{logical_id} exists under condition {resource['Condition']}, which is not judged here"
            )
        properties: dict[str, Any] = resource.get("Properties", {})
        return properties

    def ref(self, logical_id: str) -> str:
        """Return what `Ref` gives for a resource, a parameter or a pseudo parameter."""
        for known in (self._refs, self._pseudo):
            if logical_id in known:
                return known[logical_id]
        parameter = self._template.get("Parameters", {}).get(logical_id)
        if parameter is None:
            return self._value(logical_id, "Ref")
        if "Default" not in parameter:
            raise UnresolvedError(f"parameter {logical_id} has no default: give its value in refs")
        return str(parameter["Default"])

    def att(self, logical_id: str, attribute: str) -> str:
        """Return what `Fn::GetAtt` gives for a resource's attribute."""
        given = self._refs.get(f"{logical_id}.{attribute}")
        return self._value(logical_id, attribute) if given is None else given

    def resolve(self, value: Any) -> Any:
        """Return a value of the template with every intrinsic function replaced by what it gives."""
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        if not isinstance(value, dict):
            return value
        function = next(iter(value), "")
        if function != "Ref" and not function.startswith("Fn::"):
            return {key: self.resolve(item) for key, item in value.items()}
        argument = value[function]
        match function:
            case "Ref":
                return self.ref(argument)
            case "Fn::GetAtt":
                owner, attribute = argument if isinstance(argument, list) else argument.split(".", 1)
                return self.att(owner, self.resolve(attribute))
            case "Fn::Sub":
                return self._sub(argument)
            case "Fn::Join":
                return argument[0].join(str(item) for item in self.resolve(argument[1]))
            case "Fn::Split":
                return str(self.resolve(argument[1])).split(argument[0])
            case "Fn::Select":
                return self.resolve(argument[1])[int(self.resolve(argument[0]))]
        raise UnresolvedError(f"{function} is not resolved here: {argument}")

    def _sub(self, argument: Any) -> str:
        text, own = argument if isinstance(argument, list) else (argument, {})

        def replacement(match: re.Match[str]) -> str:
            key = match[1]
            if key.startswith("!"):
                return f"${{{key[1:]}}}"
            if key in own:
                return str(self.resolve(own[key]))
            owner, dot, attribute = key.partition(".")
            return self.att(owner, attribute) if dot else self.ref(key)

        return re.sub(r"\$\{([^{}]+)\}", replacement, text)

    def _resource(self, logical_id: str) -> dict[str, Any]:
        resource: dict[str, Any] | None = self._template.get("Resources", {}).get(logical_id)
        if resource is None:
            raise UnresolvedError(f"the template has no resource or parameter {logical_id}")
        return resource

    def _value(self, logical_id: str, attribute: str) -> str:
        resource = self._resource(logical_id)
        kind, properties = resource["Type"], resource.get("Properties", {})
        shape = SHAPES.get(kind, {}).get(attribute)
        if shape is None:
            raise UnresolvedError(
                f"{attribute} of {logical_id} ({kind}): its form is not known; give it in refs, or add it to SHAPES"
            )
        hexadecimal = hashlib.sha256(f"{self._name}/{logical_id}".encode()).hexdigest()
        # So long that 63 characters, what a bucket may have, hold it.
        made_up = f"{self._name}-{logical_id}"[:50] + f"-{hexadecimal[:12]}"
        own = properties.get(OWN_NAME.get(kind, ""))
        return shape.format(
            **self._scope,
            name=self.resolve(own) if own else made_up.lower() if kind == "AWS::S3::Bucket" else made_up,
            path=self.resolve(properties.get("Path", "/")),
            group=self.resolve(properties.get("GroupName", "default")),
            hex=hexadecimal,
            uuid=uuid.uuid5(uuid.NAMESPACE_OID, f"{self._name}/{logical_id}"),
        )
