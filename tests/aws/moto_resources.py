"""The types that the server adds to moto's CloudFormation, or does in its place."""

import contextlib
from typing import Any

from moto.cloudformation.exceptions import ValidationError
from moto.emrserverless.models import emrserverless_backends

from tests.aws import ACCOUNT
from tests.aws.resources import Beside, Improved, Kind, Properties, Resource, call, to_api, without


class Metadata(Beside):
    type = "AWS::CDK::Metadata"


class BucketPolicy(Beside):
    """Never given to moto's S3, which ignores conditions: a policy that denies requests without TLS denies all."""

    type = "AWS::S3::BucketPolicy"


class Topic(Kind):
    """moto's own is made anew on each change, under another name, without its subscriptions."""

    type, service, name_property = "AWS::SNS::Topic", "sns", "TopicName"
    SET_LATER = ("DisplayName", "KmsMasterKeyId", "TracingConfig", "SignatureVersion")
    known = frozenset({"TopicName", "Tags", *SET_LATER})

    def create(self, api: Any, resource: Resource) -> None:
        arn = call(api, "create_topic", {"Name": resource.name, "Tags": resource.properties.get("Tags", [])})[
            "TopicArn"
        ]
        resource.physical_resource_id = arn
        resource.attributes = {"TopicArn": arn, "TopicName": resource.name}
        self.update(api, resource, {})

    def update(self, api: Any, resource: Resource, old: Properties) -> None:
        for name in self.SET_LATER:
            if name in resource.properties or name in old:
                value = str(resource.properties.get(name, ""))
                api.set_topic_attributes(
                    TopicArn=resource.physical_resource_id, AttributeName=name, AttributeValue=value
                )

    def delete(self, api: Any, resource: Resource) -> None:
        api.delete_topic(TopicArn=resource.physical_resource_id)


class TopicPolicy(Kind):
    type, service = "AWS::SNS::TopicPolicy", "sns"

    def create(self, api: Any, resource: Resource) -> None:
        for topic in resource.properties["Topics"]:
            policy = {"AttributeName": "Policy", "AttributeValue": resource.properties["PolicyDocument"]}
            call(api, "set_topic_attributes", {"TopicArn": topic, **policy})

    def delete(self, api: Any, resource: Resource) -> None:
        """Nothing: it goes with the topic."""


class Subscription(Kind):
    type, service = "AWS::SNS::Subscription", "sns"
    ATTRIBUTES = ("FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "DeliveryPolicy", "RedrivePolicy")

    def create(self, api: Any, resource: Resource) -> None:
        given = resource.properties
        attributes = {name: given[name] for name in self.ATTRIBUTES if name in given}
        asked = without(given, *self.ATTRIBUTES, "Region") | {"Attributes": attributes, "ReturnSubscriptionArn": True}
        resource.physical_resource_id = call(api, "subscribe", asked)["SubscriptionArn"]
        resource.attributes = {"Arn": resource.physical_resource_id}

    def update(self, api: Any, resource: Resource, old: Properties) -> None:
        self.delete(api, resource)
        self.create(api, resource)

    def delete(self, api: Any, resource: Resource) -> None:
        api.unsubscribe(SubscriptionArn=resource.physical_resource_id)


class Alarm(Kind):
    type, service, name_property = "AWS::CloudWatch::Alarm", "cloudwatch", "AlarmName"

    def create(self, api: Any, resource: Resource) -> None:
        call(api, "put_metric_alarm", {"AlarmName": resource.name} | resource.properties)
        resource.attributes = {"Arn": f"arn:aws:cloudwatch:{resource.region}:{ACCOUNT}:alarm:{resource.name}"}

    def delete(self, api: Any, resource: Resource) -> None:
        api.delete_alarms(AlarmNames=[resource.name])


class Budget(Kind):
    type, service, region = "AWS::Budgets::Budget", "budgets", "us-east-1"

    def create(self, api: Any, resource: Resource) -> None:
        budget = {"BudgetName": resource.name} | resource.properties["Budget"]
        resource.physical_resource_id = budget["BudgetName"]
        call(api, "create_budget", {"AccountId": ACCOUNT, **resource.properties, "Budget": budget})

    def update(self, api: Any, resource: Resource, old: Properties) -> None:
        self.delete(api, resource)
        self.create(api, resource)

    def delete(self, api: Any, resource: Resource) -> None:
        api.delete_budget(AccountId=ACCOUNT, BudgetName=resource.physical_resource_id)


class ScheduleGroup(Kind):
    type, service, name_property = "AWS::Scheduler::ScheduleGroup", "scheduler", "Name"

    def create(self, api: Any, resource: Resource) -> None:
        made = call(api, "create_schedule_group", {"Name": resource.name} | resource.properties)
        resource.attributes = {"Arn": made["ScheduleGroupArn"], "State": "ACTIVE"}

    def update(self, api: Any, resource: Resource, old: Properties) -> None:
        """Nothing: all that can change without another name are tags, which are kept beside."""

    def delete(self, api: Any, resource: Resource) -> None:
        api.delete_schedule_group(Name=resource.name)


class Schedule(Kind):
    type, service, name_property = "AWS::Scheduler::Schedule", "scheduler", "Name"

    def create(self, api: Any, resource: Resource) -> None:
        made = call(api, "create_schedule", {"Name": resource.name} | resource.properties)
        resource.attributes = {"Arn": made["ScheduleArn"]}

    def update(self, api: Any, resource: Resource, old: Properties) -> None:
        if old.get("GroupName") != resource.properties.get("GroupName"):
            api.delete_schedule(Name=resource.name, GroupName=old.get("GroupName", "default"))
            self.create(api, resource)
        else:
            call(api, "update_schedule", {"Name": resource.name} | resource.properties)

    def delete(self, api: Any, resource: Resource) -> None:
        api.delete_schedule(Name=resource.name, GroupName=resource.properties.get("GroupName", "default"))


class LogGroup(Kind):
    """moto's own cannot be changed: the stack loses sight of it, so that it is not deleted either."""

    type, service, name_property = "AWS::Logs::LogGroup", "logs", "LogGroupName"

    def create(self, api: Any, resource: Resource) -> None:
        asked = without(resource.properties, "RetentionInDays") | {"LogGroupName": resource.name}
        call(api, "create_log_group", asked)
        resource.attributes = {"Arn": f"arn:aws:logs:{resource.region}:{ACCOUNT}:log-group:{resource.name}:*"}
        self._retain(api, resource)

    def update(self, api: Any, resource: Resource, old: Properties) -> None:
        if key := resource.properties.get("KmsKeyId"):
            api.associate_kms_key(logGroupName=resource.name, kmsKeyId=key)
        elif "KmsKeyId" in old:
            api.disassociate_kms_key(logGroupName=resource.name)
        self._retain(api, resource)

    def _retain(self, api: Any, resource: Resource) -> None:
        if days := resource.properties.get("RetentionInDays"):
            api.put_retention_policy(logGroupName=resource.name, retentionInDays=int(days))
        else:
            api.delete_retention_policy(logGroupName=resource.name)

    def delete(self, api: Any, resource: Resource) -> None:
        api.delete_log_group(logGroupName=resource.name)


class MetricFilter(Kind):
    type, service, name_property = "AWS::Logs::MetricFilter", "logs", "FilterName"

    def create(self, api: Any, resource: Resource) -> None:
        call(api, "put_metric_filter", {"FilterName": resource.name} | resource.properties)

    def update(self, api: Any, resource: Resource, old: Properties) -> None:
        # moto appends a second filter of the same name instead of replacing the first.
        api.delete_metric_filter(logGroupName=old["LogGroupName"], filterName=resource.name)
        self.create(api, resource)

    def delete(self, api: Any, resource: Resource) -> None:
        api.delete_metric_filter(logGroupName=resource.properties["LogGroupName"], filterName=resource.name)


class ManagedPolicy(Kind):
    """moto's own can neither be changed nor deleted."""

    type, service, name_property = "AWS::IAM::ManagedPolicy", "iam", "ManagedPolicyName"
    HOLDERS = (("Roles", "RoleName", "role"), ("Users", "UserName", "user"), ("Groups", "GroupName", "group"))

    def create(self, api: Any, resource: Resource) -> None:
        asked = without(resource.properties, "Roles", "Users", "Groups", "ManagedPolicyName")
        arn = call(api, "create_policy", {"PolicyName": resource.name} | asked)["Policy"]["Arn"]
        resource.physical_resource_id = arn
        resource.attributes = {"PolicyArn": arn}
        self._attach(api, "attach", resource, resource.properties)

    def update(self, api: Any, resource: Resource, old: Properties) -> None:
        arn = resource.physical_resource_id
        # Five versions are kept at most.
        self._drop_versions(api, arn)
        asked = {"PolicyArn": arn, "PolicyDocument": resource.properties["PolicyDocument"], "SetAsDefault": True}
        call(api, "create_policy_version", asked)
        self._attach(api, "detach", resource, old)
        self._attach(api, "attach", resource, resource.properties)

    def delete(self, api: Any, resource: Resource) -> None:
        self._attach(api, "detach", resource, resource.properties)
        self._drop_versions(api, resource.physical_resource_id)
        api.delete_policy(PolicyArn=resource.physical_resource_id)

    def _attach(self, api: Any, verb: str, resource: Resource, properties: Properties) -> None:
        for several, parameter, kind in self.HOLDERS:
            for holder in properties.get(several, []):
                # A holder that is deleted before its policy takes the attachment with it.
                with contextlib.suppress(api.exceptions.NoSuchEntityException):
                    getattr(api, f"{verb}_{kind}_policy")(
                        PolicyArn=resource.physical_resource_id, **{parameter: holder}
                    )

    def _drop_versions(self, api: Any, arn: str) -> None:
        for version in api.list_policy_versions(PolicyArn=arn)["Versions"]:
            if not version["IsDefaultVersion"]:
                api.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])


class SecurityGroup(Kind):
    """moto's own ignores egress, and gets another id on each change."""

    type, service, name_property = "AWS::EC2::SecurityGroup", "ec2", "GroupName"

    def create(self, api: Any, resource: Resource) -> None:
        given = resource.properties
        asked = {"GroupName": resource.name, "Description": given["GroupDescription"]}
        group = api.create_security_group(**asked, **{name: given[name] for name in ("VpcId",) if name in given})
        resource.physical_resource_id = group["GroupId"]
        resource.attributes = {"GroupId": group["GroupId"], "VpcId": given.get("VpcId", "")}
        self._set_rules(api, resource)

    def update(self, api: Any, resource: Resource, old: Properties) -> None:
        self._set_rules(api, resource)

    def delete(self, api: Any, resource: Resource) -> None:
        api.delete_security_group(GroupId=resource.physical_resource_id)

    def _set_rules(self, api: Any, resource: Resource) -> None:
        group_id = resource.physical_resource_id
        if tags := resource.properties.get("Tags"):
            api.create_tags(Resources=[group_id], Tags=tags)
        group = api.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]
        for way, kept in (("Ingress", "IpPermissions"), ("Egress", "IpPermissionsEgress")):
            wanted = resource.properties.get(f"SecurityGroup{way}")
            # Without a word on egress, EC2 lets all out.
            if wanted is None and way == "Egress":
                continue
            if group[kept]:
                getattr(api, f"revoke_security_group_{way.lower()}")(GroupId=group_id, IpPermissions=group[kept])
            if wanted:
                rules = [_ip_permission(rule) for rule in wanted]
                getattr(api, f"authorize_security_group_{way.lower()}")(GroupId=group_id, IpPermissions=rules)


class SecurityGroupIngress(Kind):
    """moto's own lacks the protocol that means all of them; the other way it does not have."""

    type, service, way = "AWS::EC2::SecurityGroupIngress", "ec2", "ingress"

    def create(self, api: Any, resource: Resource) -> None:
        self._do(api, "authorize", resource)

    def update(self, api: Any, resource: Resource, old: Properties) -> None:
        """Nothing: all that can change without another rule is its description."""

    def delete(self, api: Any, resource: Resource) -> None:
        self._do(api, "revoke", resource)

    def _do(self, api: Any, verb: str, resource: Resource) -> None:
        rule = _ip_permission(resource.properties)
        call = getattr(api, f"{verb}_security_group_{self.way}")
        call(GroupId=resource.properties["GroupId"], IpPermissions=[rule])


class SecurityGroupEgress(SecurityGroupIngress):
    type, way = "AWS::EC2::SecurityGroupEgress", "egress"


def _ip_permission(rule: Properties) -> Properties:
    """Return a rule of a template as EC2 takes it."""
    note = {"Description": rule["Description"]} if "Description" in rule else {}
    peers = {
        "CidrIp": ("IpRanges", "CidrIp"),
        "CidrIpv6": ("Ipv6Ranges", "CidrIpv6"),
        "SourceSecurityGroupId": ("UserIdGroupPairs", "GroupId"),
        "DestinationSecurityGroupId": ("UserIdGroupPairs", "GroupId"),
        "DestinationPrefixListId": ("PrefixListIds", "PrefixListId"),
        "SourcePrefixListId": ("PrefixListIds", "PrefixListId"),
    }
    found = {several: [{member: rule[name], **note}] for name, (several, member) in peers.items() if name in rule}
    ports: Properties = {name: int(rule[name]) for name in ("FromPort", "ToPort") if name in rule}
    return {"IpProtocol": rule["IpProtocol"], **ports, **found}


class SecurityConfiguration(Kind):
    """moto's own keeps what Python makes of the document."""

    type, service, name_property = "AWS::EMR::SecurityConfiguration", "emr", "Name"

    def create(self, api: Any, resource: Resource) -> None:
        call(api, "create_security_configuration", {"Name": resource.name} | resource.properties)

    def delete(self, api: Any, resource: Resource) -> None:
        api.delete_security_configuration(Name=resource.name)


class Application(Kind):
    """EMR Serverless: moto keeps a third of the properties of an application; the rest is laid on its object."""

    type, service = "AWS::EMRServerless::Application", "emr-serverless"

    def create(self, api: Any, resource: Resource) -> None:
        asked = _application(resource.properties) | {"Type": resource.properties["Type"].upper()}
        made = call(api, "create_application", asked)
        resource.physical_resource_id = made["applicationId"]
        resource.attributes = {"Arn": made["arn"], "ApplicationId": made["applicationId"]}
        self._keep(api, resource).state = "CREATED"

    def update(self, api: Any, resource: Resource, old: Properties) -> None:
        asked = without(_application(resource.properties), "Name", "Type", "Tags")
        call(api, "update_application", {"ApplicationId": resource.physical_resource_id} | asked)
        self._keep(api, resource)

    def delete(self, api: Any, resource: Resource) -> None:
        api.delete_application(applicationId=resource.physical_resource_id)

    def _keep(self, api: Any, resource: Resource) -> Any:
        application = emrserverless_backends[ACCOUNT][resource.region].applications[resource.physical_resource_id]
        model = api.meta.service_model
        members = to_api(model.operation_model("CreateApplication").input_shape, _application(resource.properties))
        for name, value in members.items():
            if name != "type":
                snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
                setattr(application, snake, value)
        return application


def _application(properties: Properties) -> Properties:
    """Return an application's properties with the one name that the API has not got."""
    monitoring = dict(properties.get("MonitoringConfiguration", {}))
    logging = monitoring.get("CloudWatchLoggingConfiguration", {})
    if "LogTypeMap" not in logging:
        return properties
    monitoring["CloudWatchLoggingConfiguration"] = without(logging, "LogTypeMap") | {"LogTypes": logging["LogTypeMap"]}
    return properties | {"MonitoringConfiguration": monitoring}


class Role(Improved):
    """moto's own keeps the trust policy that the role was made with."""

    type = "AWS::IAM::Role"

    def update_from_cloudformation_json(self, original_resource: Any, cloudformation_json: Properties, **_: Any) -> Any:
        given, name = cloudformation_json["Properties"], original_resource.name
        if given.get("RoleName", name) != name:
            raise ValidationError(message=f"{self.type}: this server cannot rename a role ({name})")
        api = self.clients("iam", "us-east-1")
        trust = {"RoleName": name, "PolicyDocument": given["AssumeRolePolicyDocument"]}
        call(api, "update_assume_role_policy", trust)
        described = {"Description": given.get("Description", "")}
        api.update_role(RoleName=name, MaxSessionDuration=int(given.get("MaxSessionDuration", 3600)), **described)
        self._set_policies(api, name, given)
        return original_resource

    def _set_policies(self, api: Any, name: str, given: Properties) -> None:
        wanted = set(given.get("ManagedPolicyArns", []))
        held = {policy["PolicyArn"] for policy in api.list_attached_role_policies(RoleName=name)["AttachedPolicies"]}
        # Those that are held but not wanted may be another resource's doing.
        for arn in wanted - held:
            api.attach_role_policy(RoleName=name, PolicyArn=arn)
        for policy in given.get("Policies", []):
            call(api, "put_role_policy", {"RoleName": name, **policy})


class Key(Improved):
    """moto's own cannot be changed."""

    type = "AWS::KMS::Key"

    def update_from_cloudformation_json(
        self, original_resource: Any, cloudformation_json: Properties, region_name: str, **_: Any
    ) -> Any:
        given, api, key = cloudformation_json["Properties"], self.clients("kms", region_name), original_resource.id
        call(api, "put_key_policy", {"KeyId": key, "PolicyName": "default", "Policy": given["KeyPolicy"]})
        api.update_key_description(KeyId=key, Description=given.get("Description", ""))
        rotate = to_api(api.meta.service_model.shape_for("BooleanType"), given.get("EnableKeyRotation", False))
        (api.enable_key_rotation if rotate else api.disable_key_rotation)(KeyId=key)
        return original_resource
