"""The played AWS: the real cdk brings stacks up, changes them and takes them down, and boto3 reads what it made."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws import ACCOUNT, REGION
from tests.aws.cdk import app_command, cdk_environment, need_cdk, run_cdk
from tests.aws.server import Server, play

APP = Path(__file__).with_name("app_for_test.py")
ENVIRONMENT = f"aws://{ACCOUNT}/{REGION}"


@pytest.fixture(scope="module")
def aws() -> Iterator[Server]:
    """Give a server that has been bootstrapped."""
    need_cdk()
    with play() as server:
        yield server


@pytest.fixture(scope="module")
def apps(aws: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the synthesized app, `7` and, changed, `14`: one start of the app for all commands."""
    folder = tmp_path_factory.mktemp("apps")
    vpc_id = aws.client("ec2").describe_vpcs()["Vpcs"][0]["VpcId"]
    line = [sys.executable, str(APP), vpc_id, str(folder), "One", "Two"]
    subprocess.run(line, env=cdk_environment(aws.endpoint), check=True)
    return folder


def cdk(aws: Server, folder: Path, *arguments: str, app: int = 7) -> str:
    done = run_cdk(*arguments, "--app", str(folder / str(app)), cwd=folder, endpoint=aws.endpoint)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def deployed(aws: Server, apps: Path) -> Server:
    """Give the server with two stacks: One is not changed by any test."""
    done = run_cdk("bootstrap", ENVIRONMENT, cwd=apps, endpoint=aws.endpoint)
    assert done.returncode == 0, done.stdout
    cdk(aws, apps, "deploy", "One", "Two")
    assert aws.skipped == []
    return aws


def physical_id(aws: Server, type_: str, stack: str = "One") -> str:
    (found,) = aws.resources(type_, stack=stack)
    return found.physical_id


def bucket_name(aws: Server, logical: str, stack: str = "One") -> str:
    (found,) = [
        resource
        for resource in aws.resources("AWS::S3::Bucket", stack=stack)
        if resource.logical_id.startswith(logical)
    ]
    return found.physical_id


def test_buckets_keep_what_the_template_says(deployed: Server) -> None:
    s3, name = deployed.client("s3"), bucket_name(deployed, "Results")
    encryption = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert encryption["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    assert set(s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values()) == {True}
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 7}
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert rule["Expiration"] == {"ExpiredObjectDeleteMarker": True}
    logging = s3.get_bucket_logging(Bucket=name)["LoggingEnabled"]
    assert logging["TargetBucket"] == bucket_name(deployed, "Access")
    (control,) = s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"]
    assert control == {"ObjectOwnership": "BucketOwnerEnforced"}


def test_bucket_policies_are_kept_beside_and_bind_nobody(deployed: Server) -> None:
    s3, name = deployed.client("s3"), bucket_name(deployed, "Results")
    policies = {
        resource.properties["Bucket"]: resource for resource in deployed.resources("AWS::S3::BucketPolicy", stack="One")
    }
    (statement,) = policies[name].properties["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    with pytest.raises(ClientError, match="NoSuchBucketPolicy"):
        s3.get_bucket_policy(Bucket=name)


def test_assets_are_uploaded(deployed: Server) -> None:
    outputs = stack_outputs(deployed, "One")
    bucket, key = outputs["CodeAddress"].removeprefix("s3://").split("/")
    assert deployed.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read() == APP.read_bytes()


def stack_outputs(aws: Server, stack: str) -> dict[str, str]:
    (described,) = aws.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}


def application(aws: Server, stack: str) -> dict[str, Any]:
    found = aws.client("emr-serverless").get_application(
        applicationId=physical_id(aws, "AWS::EMRServerless::Application", stack)
    )
    return dict(found["application"])


def test_the_application_has_all_its_properties(deployed: Server) -> None:
    found = application(deployed, "One")
    assert found["applicationId"] == stack_outputs(deployed, "One")["ApplicationIs"]
    assert (found["name"], found["state"], found["releaseLabel"]) == ("One", "CREATED", "emr-spark-8.1.0")
    assert found["architecture"] == "X86_64"
    assert found["maximumCapacity"] == {"cpu": "7 vCPU", "memory": "32 GB"}
    driver = {"workerCount": 1, "workerConfiguration": {"cpu": "2 vCPU", "memory": "4 GB"}}
    assert found["initialCapacity"] == {"Driver": driver}
    assert found["autoStopConfiguration"] == {"enabled": True, "idleTimeoutMinutes": 5}
    assert found["schedulerConfiguration"] == {"maxConcurrentRuns": 1}
    logging = found["monitoringConfiguration"]["cloudWatchLoggingConfiguration"]
    assert logging["logTypes"] == {"SPARK_DRIVER": ["STDOUT"]}
    group = physical_id(deployed, "AWS::EC2::SecurityGroup")
    assert found["networkConfiguration"]["securityGroupIds"] == [group]
    (rule,) = deployed.client("ec2").describe_security_groups(GroupIds=[group])["SecurityGroups"][0][
        "IpPermissionsEgress"
    ]
    assert (rule["FromPort"], rule["ToPort"]) == (443, 443)


def test_the_role_has_trust_and_policies(deployed: Server) -> None:
    iam, name = deployed.client("iam"), physical_id(deployed, "AWS::IAM::Role")
    (trust,) = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": "7"}
    assert trust["Condition"]["ArnLike"] == {"aws:SourceArn": application(deployed, "One")["arn"]}
    (inline,) = iam.list_role_policies(RoleName=name)["PolicyNames"]
    (statement,) = iam.get_role_policy(RoleName=name, PolicyName=inline)["PolicyDocument"]["Statement"]
    assert statement["Resource"] == f"arn:aws:s3:::{bucket_name(deployed, 'Results')}/7/*"
    (attached,) = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    assert attached["PolicyArn"] == physical_id(deployed, "AWS::IAM::ManagedPolicy")


def test_alerts_are_wired(deployed: Server) -> None:
    sns, topic = deployed.client("sns"), physical_id(deployed, "AWS::SNS::Topic")
    attributes = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert attributes["DisplayName"] == "7 days"
    assert json.loads(attributes["Policy"])["Statement"][0]["Sid"] == "AllowPublishThroughSSLOnly"
    (subscription,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "someone@example.com")
    (alarm,) = deployed.client("cloudwatch").describe_alarms(
        AlarmNames=[physical_id(deployed, "AWS::CloudWatch::Alarm")]
    )["MetricAlarms"]
    assert (alarm["Threshold"], alarm["AlarmActions"]) == (7, [topic])
    rule = physical_id(deployed, "AWS::Events::Rule").split("|")[-1]
    (target,) = deployed.client("events").list_targets_by_rule(Rule=rule)["Targets"]
    assert target["Arn"] == topic


def test_logs_schedule_budget_and_key_are_there(deployed: Server) -> None:
    logs, group = deployed.client("logs"), physical_id(deployed, "AWS::Logs::LogGroup")
    (described,) = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert described["retentionInDays"] == 7
    (metric_filter,) = logs.describe_metric_filters(logGroupName=group)["metricFilters"]
    assert metric_filter["filterPattern"] == "[what, rate=7]"
    schedule = deployed.client("scheduler").get_schedule(
        Name=physical_id(deployed, "AWS::Scheduler::Schedule"),
        GroupName=physical_id(deployed, "AWS::Scheduler::ScheduleGroup"),
    )
    assert schedule["ScheduleExpression"] == "cron(0 7 * * ? *)"
    wanted = {"ApplicationId": application(deployed, "One")["applicationId"]}
    assert json.loads(schedule["Target"]["Input"]) == wanted
    budget = deployed.client("budgets").describe_budget(
        AccountId=ACCOUNT, BudgetName=physical_id(deployed, "AWS::Budgets::Budget")
    )["Budget"]
    assert budget["BudgetLimit"] == {"Amount": "7", "Unit": "USD"}
    kms, key = deployed.client("kms"), physical_id(deployed, "AWS::KMS::Key")
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"]
    assert [alias["AliasName"] for alias in kms.list_aliases(KeyId=key)["Aliases"]] == ["alias/one"]


def test_deploying_the_same_changes_nothing(deployed: Server, apps: Path) -> None:
    assert "One (no changes)" in cdk(deployed, apps, "deploy", "One")


def test_a_stack_is_changed_and_destroyed_beside_another(deployed: Server, apps: Path) -> None:
    before = application(deployed, "Two")["applicationId"]
    cdk(deployed, apps, "deploy", "Two", app=14)
    assert deployed.skipped == []
    _has_changed(deployed, before)
    kept = {bucket_name(deployed, name, "Two") for name in ("Access", "Results")}
    scratch = bucket_name(deployed, "Scratch", "Two")
    cdk(deployed, apps, "destroy", "Two", app=14)
    assert deployed.client("emr-serverless").get_application(applicationId=before)["application"]["state"] == (
        "TERMINATED"
    )
    buckets = {bucket["Name"] for bucket in deployed.client("s3").list_buckets()["Buckets"]}
    assert kept < buckets
    assert scratch not in buckets
    assert _left_of(deployed, "Two") == []
    # The other stack stands as it was.
    assert application(deployed, "One")["maximumCapacity"]["cpu"] == "7 vCPU"
    assert [name for name in _left_of(deployed, "One") if "Submitter" in name] != []


def _has_changed(aws: Server, application_id: str) -> None:
    """Check that 7 has become 14 everywhere in Two."""
    found = application(aws, "Two")
    assert (found["applicationId"], found["maximumCapacity"]["cpu"]) == (application_id, "14 vCPU")
    (rule,) = aws.client("s3").get_bucket_lifecycle_configuration(Bucket=bucket_name(aws, "Results", "Two"))["Rules"]
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 14}
    iam, role = aws.client("iam"), physical_id(aws, "AWS::IAM::Role", "Two")
    (trust,) = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": "14"}
    (inline,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    (statement,) = iam.get_role_policy(RoleName=role, PolicyName=inline)["PolicyDocument"]["Statement"]
    assert statement["Resource"].endswith("/14/*")
    policy = physical_id(aws, "AWS::IAM::ManagedPolicy", "Two")
    version = iam.get_policy(PolicyArn=policy)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=policy, VersionId=version)["PolicyVersion"]["Document"]
    assert document["Statement"][0]["Condition"] == {"StringEquals": {"aws:SourceAccount": "14"}}
    topic = physical_id(aws, "AWS::SNS::Topic", "Two")
    assert aws.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]["DisplayName"] == "14 days"
    assert len(aws.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]) == 1
    alarm = aws.client("cloudwatch").describe_alarms(AlarmNames=[physical_id(aws, "AWS::CloudWatch::Alarm", "Two")])
    assert alarm["MetricAlarms"][0]["Threshold"] == 14
    group = physical_id(aws, "AWS::Logs::LogGroup", "Two")
    assert aws.client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["retentionInDays"] == 14
    filters = aws.client("logs").describe_metric_filters(logGroupName=group)["metricFilters"]
    assert [metric_filter["filterPattern"] for metric_filter in filters] == ["[what, rate=14]"]
    key = aws.client("kms").describe_key(KeyId=physical_id(aws, "AWS::KMS::Key", "Two"))["KeyMetadata"]
    assert key["Description"] == "14 days"
    (schedule,) = aws.resources("AWS::Scheduler::Schedule", stack="Two")
    assert schedule.properties["ScheduleExpression"] == "cron(0 14 * * ? *)"
    budget = physical_id(aws, "AWS::Budgets::Budget", "Two")
    described = aws.client("budgets").describe_budget(AccountId=ACCOUNT, BudgetName=budget)["Budget"]
    assert described["BudgetLimit"]["Amount"] == "14"
    rules = [rule["EventPattern"] for rule in aws.client("events").list_rules()["Rules"]]
    assert sorted(json.loads(rule)["detail"]["state"][1] for rule in rules) == ["14", "7"]


def _left_of(aws: Server, stack: str) -> list[str]:
    """Return the names of what stands and begins with the stack's, but for buckets."""
    iam, logs = aws.client("iam"), aws.client("logs")
    names = [
        *[role["RoleName"] for role in iam.list_roles()["Roles"]],
        *[policy["PolicyName"] for policy in iam.list_policies(Scope="Local")["Policies"]],
        *[group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]],
        *[metric_filter["filterName"] for metric_filter in logs.describe_metric_filters()["metricFilters"]],
        *[alarm["AlarmName"] for alarm in aws.client("cloudwatch").describe_alarms()["MetricAlarms"]],
        *[dashboard["DashboardName"] for dashboard in aws.client("cloudwatch").list_dashboards()["DashboardEntries"]],
        *[rule["Name"] for rule in aws.client("events").list_rules()["Rules"]],
        *[schedule["Name"] for schedule in aws.client("scheduler").list_schedules()["Schedules"]],
        *[group["Name"] for group in aws.client("scheduler").list_schedule_groups()["ScheduleGroups"]],
        *[
            budget["BudgetName"]
            for budget in aws.client("budgets").describe_budgets(AccountId=ACCOUNT).get("Budgets", [])
        ],
        *[topic["TopicArn"].split(":")[-1] for topic in aws.client("sns").list_topics()["Topics"]],
        *[group["GroupName"] for group in aws.client("ec2").describe_security_groups()["SecurityGroups"]],
        *[alias["AliasName"].removeprefix("alias/") for alias in aws.client("kms").list_aliases()["Aliases"]],
    ]
    return [name for name in names if name.lower().startswith(stack.lower())]


def test_an_app_of_its_own_is_run_by_cdk(deployed: Server, tmp_path: Path) -> None:
    environment = f"env=cdk.Environment(account='{ACCOUNT}', region='{REGION}')"
    (tmp_path / "app.py").write_text(
        "import aws_cdk as cdk\nfrom aws_cdk import aws_sns as sns\n"
        f"app = cdk.App()\nsns.Topic(cdk.Stack(app, 'Small', {environment}), 'Topic')\napp.synth()\n"
    )
    (tmp_path / "cdk.json").write_text(json.dumps({"app": app_command()}))
    # The region is the stack's, not the environment's.
    done = run_cdk("deploy", cwd=tmp_path, endpoint=deployed.endpoint, env={"AWS_REGION": "us-east-1"})
    assert done.returncode == 0, done.stdout
    assert [resource.stack for resource in deployed.resources("AWS::SNS::Topic", stack="Small")] == ["Small"]


def test_cdk_says_what_is_missing(aws: Server, apps: Path) -> None:
    app = ("--app", str(apps / "7"))
    keys = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
    nobody = run_cdk("deploy", "One", *app, cwd=apps, endpoint=aws.endpoint, env=keys)
    assert nobody.returncode == 1
    assert "no credentials have been configured" in nobody.stdout
    elsewhere = run_cdk("bootstrap", "aws://000000000000/eu-west-3", cwd=apps, endpoint=aws.endpoint)
    assert elsewhere.returncode == 1
    assert "000000000000" in elsewhere.stdout


def test_a_command_that_does_not_end_fails_the_test(aws: Server, apps: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"did not end within 0\.1 s"):
        run_cdk("synth", "--app", str(apps / "7"), cwd=apps, endpoint=aws.endpoint, timeout=0.1)
