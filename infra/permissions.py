"""The IAM statements of the stack, each naming its actions and resources in full."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import IConstruct

from submit.request.cluster import MANAGED_TAG, STACK_TAG


@dataclass(frozen=True)
class Grant:
    """An IAM statement, with the reason for a pattern among its resources where it has one."""

    statement: iam.PolicyStatement
    reason: str = ""


def read_objects(bucket_arn: str, prefix: str, reason: str) -> list[Grant]:
    """Return the permission to list and read objects below a prefix; an empty prefix is the whole bucket.

    S3 reports a missing object only to those who may list its name; the job also looks for the prefix itself.
    """
    below = {"StringLike": {"s3:prefix": [prefix, f"{prefix}/*"]}} if prefix else None
    objects = [f"{bucket_arn}/{prefix}", f"{bucket_arn}/{prefix}/*"] if prefix else [f"{bucket_arn}/*"]
    return [_allow(["s3:ListBucket"], [bucket_arn], conditions=below), _allow(["s3:GetObject"], objects, reason)]


def write_objects(bucket_arn: str, prefix: str, reason: str) -> list[Grant]:
    """Return the permission to list, read, write and delete below a prefix; the bucket keeps deleted versions."""
    actions = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    return [*read_objects(bucket_arn, prefix, reason), _allow(actions, [f"{bucket_arn}/{prefix}/*"], reason)]


def read_code(object_arns: Sequence[str]) -> list[Grant]:
    """Return the permission to read only these objects: all CDK stacks of the account share the bucket."""
    return [_allow(["s3:GetObject"], object_arns)]


def write_logs(bucket_arn: str, prefix: str) -> list[Grant]:
    """Return the permission to write logs below a prefix of a bucket."""
    return [_allow(["s3:PutObject"], [f"{bucket_arn}/{prefix}/*"], "EMR names the log files by run and worker")]


def write_log_group(group_arn: str) -> list[Grant]:
    """Return the permission to write logs to a CloudWatch group, whose ARN ends in `:*` as in CloudFormation."""
    return [
        _allow(["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"], [group_arn]),
        _allow(
            ["logs:DescribeLogGroups"],
            ["*"],
            "logs:DescribeLogGroups applies to no group in particular",
        ),
    ]


def publish(topic_arn: str) -> list[Grant]:
    """Return the permission to send messages to a topic."""
    return [_allow(["sns:Publish"], [topic_arn])]


def use_key(key_arn: str, via: str, *, write: bool = True) -> list[Grant]:
    """Return the permission to use a KMS key, by way of one service only (`s3`, `sns`)."""
    service = f"{via}.{cdk.Aws.REGION}.{cdk.Aws.URL_SUFFIX}"
    actions = ["kms:Decrypt", "kms:GenerateDataKey"] if write else ["kms:Decrypt"]
    return [_allow(actions, [key_arn], conditions={"StringEquals": {"kms:ViaService": service}})]


def start_runs(application_arn: str, job_role_arn: str) -> list[Grant]:
    """Return the permission to start runs of an application, and to pass the job's role to EMR Serverless."""
    return [_allow(["emr-serverless:StartJobRun"], [application_arn]), *pass_role(job_role_arn, "emr-serverless")]


def pass_role(role_arn: str, service: str) -> list[Grant]:
    """Return the permission to pass a role to one service."""
    to = {"StringEquals": {"iam:PassedToService": f"{service}.amazonaws.com"}}
    return [_allow(["iam:PassRole"], [role_arn], conditions=to)]


def find_stack(stack_arn: str) -> list[Grant]:
    """Return the permission to read the outputs of the stack."""
    return [
        _allow(
            ["cloudformation:DescribeStacks"],
            [stack_arn],
            "the end of the ARN changes with each creation",
        )
    ]


def follow_runs(application_arn: str) -> list[Grant]:
    """Return the permission to follow, list and cancel runs."""
    return [
        _allow(["emr-serverless:ListJobRuns"], [application_arn]),
        _allow(
            [
                "emr-serverless:GetJobRun",
                "emr-serverless:CancelJobRun",
                "emr-serverless:GetDashboardForJobRun",
            ],
            [f"{application_arn}/jobruns/*"],
            "the service names runs when they start; these belong to this application",
        ),
    ]


def start_clusters(stack_name: str, clusters_arn: str) -> list[Grant]:
    """Return the permission to start clusters with the tag of a stack.

    Parameters
    ----------
    stack_name : str
        Name of the stack.
    clusters_arn : str
        Pattern of all clusters of the account.
    """
    request_tag = {f"elasticmapreduce:RequestTag/{STACK_TAG}": stack_name}
    managed_tag = {f"elasticmapreduce:RequestTag/{MANAGED_TAG}": "true"}
    resource_tag = {f"elasticmapreduce:ResourceTag/{STACK_TAG}": stack_name}
    return [
        _allow(
            ["elasticmapreduce:RunJobFlow"],
            ["*"],
            "a cluster has no ARN before it starts; the request must tag it as this stack's",
            conditions={"StringEquals": request_tag | managed_tag},
        ),
        _allow(
            ["elasticmapreduce:AddTags"],
            [clusters_arn],
            "EMR names a cluster when it starts; clusters of other stacks stay out of reach",
            conditions={"StringEquals": request_tag, "StringEqualsIfExists": resource_tag},
        ),
    ]


def follow_clusters(stack_name: str, clusters_arn: str) -> list[Grant]:
    """Return the permission to add steps, and to follow, list, cancel and terminate clusters of a stack."""
    own_clusters = {"StringEquals": {f"elasticmapreduce:ResourceTag/{STACK_TAG}": stack_name}}
    names = ("AddJobFlowSteps", "CancelSteps", "DescribeCluster", "DescribeStep", "ListInstances", "ListSteps")
    return [
        _allow(["elasticmapreduce:ListClusters"], ["*"], "ListClusters applies to no cluster in particular"),
        _allow(
            [f"elasticmapreduce:{name}" for name in (*names, "TerminateJobFlows")],
            [clusters_arn],
            "EMR names clusters when they start; the condition admits those with this stack's tag",
            conditions=own_clusters,
        ),
    ]


def encrypt_disks(key_arn: str) -> list[Grant]:
    """Return the permission to start instances whose disks a key encrypts, by way of EC2 only.

    https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption-requirements.html
    """
    via = {"kms:ViaService": f"ec2.{cdk.Aws.REGION}.{cdk.Aws.URL_SUFFIX}"}
    actions = ["kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
    return [
        _allow(["kms:DescribeKey"], [key_arn]),
        _allow(actions, [key_arn], conditions={"StringEquals": via}),
        _allow(
            ["kms:CreateGrant"],
            [key_arn],
            conditions={"StringEquals": via, "Bool": {"kms:GrantIsForAWSResource": "true"}},
        ),
    ]


def lend_key(account: str, stack_name: str) -> list[iam.PolicyStatement]:
    """Return the statements that let services use the stack's key, beside the default statement for the account.

    The log group is named by its prefix, which CloudFormation sets, as the group is made after the key.
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
    """
    group = f"arn:{cdk.Aws.PARTITION}:logs:{cdk.Aws.REGION}:{account}:log-group:{stack_name}-*"
    return [
        iam.PolicyStatement(
            sid="LogsOfThisStack",
            principals=[iam.ServicePrincipal(f"logs.{cdk.Aws.REGION}.{cdk.Aws.URL_SUFFIX}")],
            actions=["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
            resources=["*"],
            conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": group}},
        ),
        _services(account, ["kms:Decrypt", "kms:GenerateDataKey"], "*"),
    ]


def accept_alerts(account: str, topic_arn: str) -> iam.PolicyStatement:
    """Return the statement of the topic's policy for services of this account that send alerts without a role."""
    return _services(account, ["sns:Publish"], topic_arn)


def give(grantee: iam.Role | iam.ManagedPolicy, grants: Iterable[Grant]) -> None:
    """Add grants to a role or a policy, and give cdk-nag the reasons for patterns among their resources."""
    for grant in grants:
        if isinstance(grantee, iam.Role):
            grantee.add_to_policy(grant.statement)
        else:
            grantee.add_statements(grant.statement)
        if grant.reason:
            for resource in grant.statement.resources:
                _acknowledge(grantee, resource, grant.reason)


def _acknowledge(scope: IConstruct, resource: str, reason: str) -> None:
    name = _finding(cdk.Stack.of(scope).resolve(resource))
    if "*" in name:
        finding = cdk.Acknowledgment(id=f"AwsSolutions-IAM5[Resource::{name}]", reason=reason)
        cdk.Validations.of(scope).acknowledge(finding)


def _finding(value: Any) -> str:
    """Return an ARN as cdk-nag writes it, with `<LogicalId.Attribute>` for values that deployment sets."""
    if isinstance(value, str):
        return value
    [(function, argument)] = value.items()
    if function == "Fn::Join":
        return str(argument[0]).join(_finding(part) for part in argument[1])
    return f"<{'.'.join(argument)}>" if function == "Fn::GetAtt" else f"<{argument}>"


def _allow(
    actions: Sequence[str],
    resources: Sequence[str],
    reason: str = "",
    *,
    conditions: Mapping[str, object] | None = None,
) -> Grant:
    statement = iam.PolicyStatement(actions=list(actions), resources=list(resources), conditions=conditions)
    return Grant(statement, reason)


def _services(account: str, actions: Sequence[str], resource: str) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        sid="AlertsOfThisAccount",
        principals=[iam.ServicePrincipal(name) for name in ("cloudwatch.amazonaws.com", "budgets.amazonaws.com")],
        actions=list(actions),
        resources=[resource],
        conditions={"StringEquals": {"aws:SourceAccount": account}},
    )
