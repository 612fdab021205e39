"""The real `cdk`, the real project and what it builds, deployed to a server that plays AWS; read back by boto3."""

import hashlib
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.aws.server import REGION, Server, play
from tests.infra.conftest import cdk

SETTINGS = {"kms": "yes", "schedule": "03:30", "alert": "somebody@example.com", "log_days": "90"}


@dataclass(frozen=True)
class Deployment:
    """A stack that was deployed by three commands, and what they said."""

    aws: Server
    project: Path
    unready: CompletedProcess[str]  # before the bootstrap
    said: list[CompletedProcess[str]]

    @property
    def outputs(self) -> dict[str, str]:
        return _outputs_of(self.aws, "fruits")

    def bucket(self, output: str) -> str:
        return self.outputs[output].removeprefix("s3://").split("/")[0]


def _outputs_of(aws: Server, name: str) -> dict[str, str]:
    [stack] = aws.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


@pytest.fixture(scope="module")
def deployment(project: Path) -> Iterator[Deployment]:
    with play() as aws:
        unready = cdk("deploy", project, aws.endpoint, **SETTINGS)
        said = [
            cdk("bootstrap", project, aws.endpoint),
            cdk("deploy", project, aws.endpoint, **SETTINGS),
            cdk("deploy", project, aws.endpoint, **SETTINGS),
        ]
        for command in said:
            assert command.returncode == 0, command.stdout
        assert not aws.skipped
        yield Deployment(aws, project, unready, said)


def test_before_the_bootstrap_cdk_says_what_to_do(deployment: Deployment) -> None:
    assert deployment.unready.returncode == 1
    assert "Please run 'cdk bootstrap'" in deployment.unready.stdout


def test_a_second_deployment_changes_nothing_and_builds_nothing(deployment: Deployment) -> None:
    first, second = (command.stdout for command in deployment.said[1:])
    assert "(no changes)" not in first
    assert "(no changes)" in second
    assert "dist: up to date" in second


def test_no_line_warns(deployment: Deployment) -> None:
    for command in deployment.said:
        assert not re.search(r"warn|deprecat|reserved|end-of-life", command.stdout, re.IGNORECASE), command.stdout


def test_the_buckets_are_as_asked_for(deployment: Deployment) -> None:
    s3, region = deployment.aws.client("s3"), REGION
    for output, algorithm in (("Images", "aws:kms"), ("Results", "aws:kms"), ("Logs", "AES256")):
        name = deployment.bucket(output)
        assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] == region
        [rule] = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
        assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == algorithm
        assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
        blocked = s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
        assert set(blocked.values()) == {True}


def test_the_application_is_bounded_and_stops_by_itself(deployment: Deployment) -> None:
    emr = deployment.aws.client("emr-serverless")
    application = emr.get_application(applicationId=deployment.outputs["ApplicationId"])["application"]
    assert (application["name"], application["releaseLabel"]) == ("fruits", "emr-spark-8.1.0")
    assert application["maximumCapacity"] == {"cpu": "16 vCPU", "memory": "32 GB", "disk": "80 GB"}
    assert application["autoStopConfiguration"] == {"enabled": True, "idleTimeoutMinutes": 5}
    assert not application.get("initialCapacity")


def test_the_roles_are_there_with_their_policies(deployment: Deployment) -> None:
    iam = deployment.aws.client("iam")
    name = deployment.outputs["JobRole"].rsplit("/", 1)[-1]
    trust = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]["Statement"][0]
    assert trust["Principal"] == {"Service": "emr-serverless.amazonaws.com"}
    arn = (
        f"arn:aws:emr-serverless:{REGION}:{deployment.aws.account}:/applications/{deployment.outputs['ApplicationId']}"
    )
    assert trust["Condition"]["ArnLike"] == {"aws:SourceArn": arn}
    [policy] = iam.list_role_policies(RoleName=name)["PolicyNames"]
    document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
    resources = json.dumps([statement["Resource"] for statement in document["Statement"]])
    assert f"arn:aws:s3:::{deployment.bucket('Results')}/results/*" in resources
    version = iam.get_policy(PolicyArn=deployment.outputs["SubmitterPolicy"])["Policy"]["DefaultVersionId"]
    submitter = iam.get_policy_version(PolicyArn=deployment.outputs["SubmitterPolicy"], VersionId=version)
    assert "emr-serverless:StartJobRun" in json.dumps(submitter["PolicyVersion"]["Document"])


def test_alerts_logs_and_schedule_are_there(deployment: Deployment) -> None:
    aws = deployment.aws
    topic = deployment.outputs["AlertsTopic"]
    assert topic in [listed["TopicArn"] for listed in aws.client("sns").list_topics()["Topics"]]
    [rule] = aws.resources("AWS::Events::Rule", stack="fruits")
    [target] = aws.client("events").list_targets_by_rule(Rule=rule.physical_id)["Targets"]
    assert target["Arn"] == topic
    [group] = aws.resources("AWS::Logs::LogGroup", stack="fruits")
    [found] = aws.client("logs").describe_log_groups(logGroupNamePrefix=group.physical_id)["logGroups"]
    assert found["retentionInDays"] == 90
    [listed] = aws.client("scheduler").list_schedules()["Schedules"]
    schedule = aws.client("scheduler").get_schedule(Name=listed["Name"], GroupName=listed["GroupName"])
    assert schedule["ScheduleExpression"] == "cron(30 3 * * ? *)"
    request = json.loads(schedule["Target"]["Input"])
    assert request["ApplicationId"] == deployment.outputs["ApplicationId"]
    assert request["JobDriver"]["SparkSubmit"]["EntryPoint"] == deployment.outputs["EntryPoint"]
    alarms = aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert {alarm["MetricName"] for alarm in alarms} == {"RunningJobs", "InvocationDroppedCount"}
    assert {action for alarm in alarms for action in alarm["AlarmActions"]} == {topic}
    [budget] = aws.client("budgets").describe_budgets(AccountId=aws.account)["Budgets"]
    assert float(budget["BudgetLimit"]["Amount"]) == 100
    [subscription] = aws.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "somebody@example.com")
    [filtered] = aws.client("logs").describe_metric_filters(logGroupName=group.physical_id)["metricFilters"]
    assert filtered["metricTransformations"][0]["metricName"] == "PicturesPerSecond"
    [key] = aws.resources("AWS::KMS::Key", stack="fruits")
    assert aws.client("kms").get_key_rotation_status(KeyId=key.physical_id)["KeyRotationEnabled"]


def fetch(deployment: Deployment, output: str) -> bytes:
    bucket, key = deployment.outputs[output].removeprefix("s3://").split("/", 1)
    body: bytes = deployment.aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


def test_what_was_built_is_what_was_uploaded(deployment: Deployment) -> None:
    dist = deployment.project / "dist"
    for output, name in (
        ("EntryPoint", "entry.py"),
        ("JobZip", "job.zip"),
        ("Dependencies", "dependencies-x86_64.tgz"),
    ):
        uploaded = fetch(deployment, output)
        assert hashlib.sha256(uploaded).hexdigest() == hashlib.sha256((dist / name).read_bytes()).hexdigest()
    with zipfile.ZipFile(BytesIO(fetch(deployment, "Model"))) as archive:
        assert set(archive.namelist()) == {"model.json", "model.tflite"}
        assert archive.read("model.tflite") == (dist / "model" / "model.tflite").read_bytes()


def applications(aws: Server) -> list[str]:
    found: list[dict[str, Any]] = aws.client("emr-serverless").list_applications()["applications"]
    return sorted(application["name"] for application in found if application["state"] != "TERMINATED")


def buckets(aws: Server) -> set[str]:
    return {bucket["Name"] for bucket in aws.client("s3").list_buckets()["Buckets"]}


def test_a_stack_for_clusters_is_deployed_beside_and_goes_alone(deployment: Deployment) -> None:
    aws, project = deployment.aws, deployment.project
    ec2 = aws.client("ec2")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    settings = {"name": "clusters", "compute": "cluster", "vpc": vpc, "subnets": subnets[0]["SubnetId"]}
    made = cdk("deploy", project, aws.endpoint, **settings, schedule="03:30")
    assert made.returncode == 0, made.stdout
    assert not aws.skipped
    outputs = _outputs_of(aws, "clusters")
    # No cluster: it is the submitter's to start.
    assert aws.client("emr").list_clusters()["Clusters"] == []
    security = aws.client("emr").describe_security_configuration(Name=outputs["SecurityConfiguration"])
    encryption = json.loads(security["SecurityConfiguration"])["EncryptionConfiguration"]
    [key] = aws.resources("AWS::KMS::Key", stack="clusters")
    disks = encryption["AtRestEncryptionConfiguration"]["LocalDiskEncryptionConfiguration"]
    assert disks["AwsKmsKey"].endswith(f"/{key.physical_id}")
    [role] = aws.client("iam").get_instance_profile(InstanceProfileName=outputs["InstanceProfile"])["InstanceProfile"][
        "Roles"
    ]
    assert role["Arn"] == outputs["JobRole"]
    [nodes, service] = ec2.describe_security_groups(GroupIds=[outputs["NodeGroup"], outputs["ServiceGroup"]])[
        "SecurityGroups"
    ]
    if nodes["GroupId"] != outputs["NodeGroup"]:
        nodes, service = service, nodes
    assert not [rule for rule in nodes["IpPermissions"] + service["IpPermissions"] if rule["IpRanges"]]
    assert {(rule["IpProtocol"], rule.get("FromPort")) for rule in nodes["IpPermissions"]} == {
        ("-1", None),
        ("tcp", 8443),
    }
    installer = outputs["Installer"].removeprefix("s3://").split("/", 1)
    body = aws.client("s3").get_object(Bucket=installer[0], Key=installer[1])["Body"].read()
    assert body == (project / "dist" / "install_dependencies.sh").read_bytes()
    archive = (project / "dist" / "dependencies-x86_64.tgz").read_bytes()
    assert outputs["DependenciesSha256"] == hashlib.sha256(archive).hexdigest()
    again = cdk("deploy", project, aws.endpoint, **settings, schedule="03:30")
    assert "(no changes)" in again.stdout, again.stdout
    gone = cdk("destroy", project, aws.endpoint, **settings, schedule="03:30")
    assert gone.returncode == 0, gone.stdout
    assert not aws.resources("AWS::EC2::SecurityGroup", stack="clusters")


# The last test of this file: it takes the stacks away.
def test_stacks_of_other_names_live_side_by_side_and_go_alone(deployment: Deployment) -> None:
    aws, project = deployment.aws, deployment.project
    ec2 = aws.client("ec2")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    network = {"vpc": vpc, "subnets": ",".join(subnet["SubnetId"] for subnet in subnets[:2])}
    second = cdk("deploy", project, aws.endpoint, **SETTINGS, name="trial", **network)
    assert second.returncode == 0, second.stdout
    assert applications(aws) == ["fruits", "trial"]
    [group] = aws.resources("AWS::EC2::SecurityGroup", stack="trial")
    [found] = ec2.describe_security_groups(GroupIds=[group.physical_id])["SecurityGroups"]
    assert (found["VpcId"], found["IpPermissions"]) == (vpc, [])
    assert [rule["FromPort"] for rule in found["IpPermissionsEgress"]] == [443]
    before = buckets(aws)
    # Three a stack, of which one is gone but for its data, and CDK's own.
    assert len(before) == 10
    mine = deployment.outputs

    gone = cdk("destroy", project, aws.endpoint, **SETTINGS, name="trial")
    assert gone.returncode == 0, gone.stdout
    assert applications(aws) == ["fruits"]
    assert deployment.outputs == mine

    # Another name for the first one: the new stack takes over the images, then the old one goes.
    images = {"images_bucket": deployment.bucket("Images")}
    renamed = cdk("deploy", project, aws.endpoint, **SETTINGS, name="renamed", **images)
    assert renamed.returncode == 0, renamed.stdout
    assert f"renamed.Images = {mine['Images']}\n" in renamed.stdout
    more = buckets(aws)
    assert len(more - before) == 2  # results and logs of its own

    gone = cdk("destroy", project, aws.endpoint, **SETTINGS)
    assert gone.returncode == 0, gone.stdout
    assert applications(aws) == ["renamed"]

    gone = cdk("destroy", project, aws.endpoint, **SETTINGS, name="renamed", **images)
    assert gone.returncode == 0, gone.stdout
    assert applications(aws) == []
    assert not aws.client("events").list_rules()["Rules"]
    # The data stay.
    assert buckets(aws) == more
    assert more >= before
