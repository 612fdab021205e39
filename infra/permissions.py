"""Who may do what: every grant of the stack, as statements that name actions and resources in full."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import IConstruct

from submit.request.cluster import MANAGED_TAG, STACK_TAG


@dataclass(frozen=True)
class Grant:
    """What is allowed, and why a resource in it has to be a pattern, where one is."""

    statement: iam.PolicyStatement
    reason: str = ""


def read_objects(bucket_arn: str, prefix: str, reason: str) -> list[Grant]:
    """Return leave to list and read what lies below a prefix (empty: the whole bucket).

    S3 says that an object is not there only to those who may list its name; the prefix itself is looked up as well.
    """
    below = {"StringLike": {"s3:prefix": [prefix, f"{prefix}/*"]}} if prefix else None
    objects = [f"{bucket_arn}/{prefix}", f"{bucket_arn}/{prefix}/*"] if prefix else [f"{bucket_arn}/*"]
    return [_allow(["s3:ListBucket"], [bucket_arn], conditions=below), _allow(["s3:GetObject"], objects, reason)]


def write_objects(bucket_arn: str, prefix: str, reason: str) -> list[Grant]:
    """Return leave to list, read, write and delete below a prefix; of what is deleted the bucket keeps the version."""
    actions = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    return [*read_objects(bucket_arn, prefix, reason), _allow(actions, [f"{bucket_arn}/{prefix}/*"], reason)]


def read_code(object_arns: Sequence[str]) -> list[Grant]:
    """Return leave to read just these objects: the bucket is shared by all CDK stacks of the account."""
    return [_allow(["s3:GetObject"], object_arns)]


def write_logs(bucket_arn: str, prefix: str) -> list[Grant]:
    """Return leave to put logs below a prefix of a bucket."""
    return [_allow(["s3:PutObject"], [f"{bucket_arn}/{prefix}/*"], "EMR names the log files by run and worker")]


def write_log_group(group_arn: str) -> list[Grant]:
    """Return leave to put logs into a group of CloudWatch Logs; its ARN ends in `:*`, as CloudFormation gives it."""
    return [
        _allow(["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"], [group_arn]),
        _allow(["logs:DescribeLogGroups"], ["*"], "logs:DescribeLogGroups lists groups: there is no one group to name"),
    ]


def publish(topic_arn: str) -> list[Grant]:
    """Return leave to send messages to a topic."""
    return [_allow(["sns:Publish"], [topic_arn])]


def use_key(key_arn: str, via: str, *, write: bool = True) -> list[Grant]:
    """Return leave to read and write what a KMS key encrypts, by way of one service alone (`s3`, `sns`)."""
    service = f"{via}.{cdk.Aws.REGION}.{cdk.Aws.URL_SUFFIX}"
    actions = ["kms:Decrypt", "kms:GenerateDataKey"] if write else ["kms:Decrypt"]
    return [_allow(actions, [key_arn], conditions={"StringEquals": {"kms:ViaService": service}})]


def start_runs(application_arn: str, job_role_arn: str) -> list[Grant]:
    """Return leave to start runs of an application, and to hand the job's role to it and to no other service."""
    return [_allow(["emr-serverless:StartJobRun"], [application_arn]), *hand_over(job_role_arn, "emr-serverless")]


def hand_over(role_arn: str, service: str) -> list[Grant]:
    """Return leave to hand a role to a service and to no other."""
    to = {"StringEquals": {"iam:PassedToService": f"{service}.amazonaws.com"}}
    return [_allow(["iam:PassRole"], [role_arn], conditions=to)]


def find_stack(stack_arn: str) -> list[Grant]:
    """Return leave to read what the stack tells."""
    return [
        _allow(["cloudformation:DescribeStacks"], [stack_arn], "the end of a stack's ARN is new each time it is made")
    ]


def follow_runs(application_arn: str) -> list[Grant]:
    """Return leave for what `python -m submit` does beside starting: follow, list and cancel runs."""
    return [
        _allow(["emr-serverless:ListJobRuns"], [application_arn]),
        _allow(
            [
                "emr-serverless:GetJobRun",
                "emr-serverless:CancelJobRun",
                "emr-serverless:GetDashboardForJobRun",
            ],
            [f"{application_arn}/jobruns/*"],
            "runs are named by the service when they start; they are this application's alone",
        ),
    ]


def start_clusters(stack_name: str, clusters_arn: str) -> list[Grant]:
    """Return leave to start clusters that bear the tag of a stack; what they may be told are its roles alone.

    Parameters
    ----------
    stack_name : str
        Of which stack.
    clusters_arn : str
        Pattern of all clusters of the account.
    """
    asked = {f"elasticmapreduce:RequestTag/{STACK_TAG}": stack_name}
    managed = {f"elasticmapreduce:RequestTag/{MANAGED_TAG}": "true"}
    mine = {f"elasticmapreduce:ResourceTag/{STACK_TAG}": stack_name}
    return [
        _allow(
            ["elasticmapreduce:RunJobFlow"],
            ["*"],
            "a cluster that is yet to be started has no ARN; it has to bear this stack's tag",
            conditions={"StringEquals": asked | managed},
        ),
        _allow(
            ["elasticmapreduce:AddTags"],
            [clusters_arn],
            "EMR names a cluster when it starts; no cluster of another stack can be taken over",
            conditions={"StringEquals": asked, "StringEqualsIfExists": mine},
        ),
    ]


def follow_clusters(stack_name: str, clusters_arn: str) -> list[Grant]:
    """Return leave for what `python -m submit` does beside starting: add steps, follow, list, cancel, terminate."""
    mine = {"StringEquals": {f"elasticmapreduce:ResourceTag/{STACK_TAG}": stack_name}}
    names = ("AddJobFlowSteps", "CancelSteps", "DescribeCluster", "DescribeStep", "ListInstances", "ListSteps")
    return [
        _allow(["elasticmapreduce:ListClusters"], ["*"], "ListClusters lists clusters: there is no one to name"),
        _allow(
            [f"elasticmapreduce:{name}" for name in (*names, "TerminateJobFlows")],
            [clusters_arn],
            "EMR names clusters when they start; these are those that bear this stack's tag",
            conditions=mine,
        ),
    ]


def encrypt_disks(key_arn: str) -> list[Grant]:
    """Return leave to start instances whose disks a key encrypts, by way of EC2 alone.

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
    """Return what the policy of the stack's key says beside the account's own rule: which services encrypt with it.

    The log group is told by how CloudFormation begins its name, as the group itself comes after the key.
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
    """Return what the topic's own policy says: the services of this account that send alerts without a role."""
    return _services(account, ["sns:Publish"], topic_arn)


def give(who: iam.Role | iam.ManagedPolicy, grants: Iterable[Grant]) -> None:
    """Add grants to a role or a policy; tell the reviewer, cdk-nag, why a resource is a pattern."""
    for grant in grants:
        if isinstance(who, iam.Role):
            who.add_to_policy(grant.statement)
        else:
            who.add_statements(grant.statement)
        if grant.reason:
            for resource in grant.statement.resources:
                _acknowledge(who, resource, grant.reason)


def _acknowledge(scope: IConstruct, resource: str, reason: str) -> None:
    name = _finding(cdk.Stack.of(scope).resolve(resource))
    if "*" in name:
        finding = cdk.Acknowledgment(id=f"AwsSolutions-IAM5[Resource::{name}]", reason=reason)
        cdk.Validations.of(scope).acknowledge(finding)


def _finding(value: Any) -> str:
    """Return a resource's ARN as cdk-nag writes it: what is known only when deployed as `<LogicalId.Attribute>`."""
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
