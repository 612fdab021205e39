"""The template: what matters of it (security, bounds on cost, nothing lost), whatever the parts are called."""

import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader

from infra.operations import RATE_PATTERN
from infra.settings import SettingsError
from job.progress import Progress
from tests.infra.conftest import ACCOUNT, CONTEXT, Synthesize, of_type, only

EVERYTHING: dict[str, Any] = {
    "kms": True,
    "schedule": "03:30",
    "timezone": "Europe/Paris",
    "vpc": "vpc-12345678",
    "subnets": "subnet-12345678,subnet-22345678",
    "alert": "somebody@example.com",
    "images_bucket": "old-images",
    "images_prefix": "archive",
}


def logical_id(template: dict[str, Any], properties: dict[str, Any]) -> str:
    [found] = [name for name, resource in template["Resources"].items() if resource.get("Properties") is properties]
    return str(found)


# ---- storage


@pytest.mark.parametrize("settings", [{}, {"kms": True}])
def test_each_bucket_is_private_versioned_encrypted_and_logged(
    synthesize: Synthesize, settings: dict[str, Any]
) -> None:
    template = synthesize(**settings)
    buckets = of_type(template, "AWS::S3::Bucket")
    assert len(buckets) == 3
    for bucket in buckets:
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert len(bucket["PublicAccessBlockConfiguration"]) == 4
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
        assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
        rules = bucket["LifecycleConfiguration"]["Rules"]
        assert any(rule.get("AbortIncompleteMultipartUpload") for rule in rules)
        assert any(rule.get("NoncurrentVersionExpiration") == {"NoncurrentDays": 30} for rule in rules)
        assert "BucketName" not in bucket
    # Images and results are logged, to the third; that one's own logs end by themselves.
    logged = [bucket for bucket in buckets if "LoggingConfiguration" in bucket]
    [log_bucket] = [bucket for bucket in buckets if bucket not in logged]
    assert len(logged) == 2
    assert {json.dumps(bucket["LoggingConfiguration"]["DestinationBucketName"]) for bucket in logged} == {
        json.dumps({"Ref": logical_id(template, log_bucket)})
    }
    assert any(rule.get("ExpirationInDays") == 30 for rule in log_bucket["LifecycleConfiguration"]["Rules"])
    # Nothing of the images and results is ever deleted by a rule but old versions.
    for bucket in logged:
        assert not any("ExpirationInDays" in rule for rule in bucket["LifecycleConfiguration"]["Rules"])


def algorithms(template: dict[str, Any]) -> list[str]:
    return sorted(
        rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"]
        for bucket in of_type(template, "AWS::S3::Bucket")
        for rule in bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    )


def test_s3_or_a_key_of_the_stacks_own_encrypts(synthesize: Synthesize) -> None:
    assert algorithms(synthesize()) == ["AES256"] * 3
    assert not of_type(synthesize(), "AWS::KMS::Key")
    # Access logs can be written to no bucket with a key; the job's logs there name the key themselves.
    own = synthesize(kms=True)
    assert algorithms(own) == ["AES256", "aws:kms", "aws:kms"]
    assert only(own, "AWS::KMS::Key")["EnableKeyRotation"] is True
    key = {"Fn::GetAtt": [logical_id(own, only(own, "AWS::KMS::Key")), "Arn"]}
    monitoring = only(own, "AWS::EMRServerless::Application")["MonitoringConfiguration"]
    assert monitoring["S3MonitoringConfiguration"]["EncryptionKeyArn"] == key
    assert only(own, "AWS::Logs::LogGroup")["KmsKeyId"] == key
    assert only(own, "AWS::SNS::Topic")["KmsMasterKeyId"] == key


@pytest.mark.parametrize("kind", ["AWS::S3::Bucket", "AWS::KMS::Key"])
def test_data_and_their_key_stay_by_default(synthesize: Synthesize, kind: str) -> None:
    def policies(**settings: Any) -> set[tuple[str, str]]:
        resources = [resource for resource in synthesize(**settings)["Resources"].values() if resource["Type"] == kind]
        return {(resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) for resource in resources}

    assert policies(kms=True) == {("Retain", "Retain")}
    assert policies(kms=True, keep_data=False) == {("Delete", "Delete")}


def test_an_existing_bucket_of_images_is_neither_made_nor_changed(synthesize: Synthesize) -> None:
    template = synthesize(images_bucket="old-images", images_prefix="archive")
    assert len(of_type(template, "AWS::S3::Bucket")) == 2
    for policy in of_type(template, "AWS::S3::BucketPolicy"):
        assert policy["Bucket"] != "old-images"
    assert template["Outputs"]["Images"]["Value"] == "s3://old-images/archive"


# ---- bounds on cost


def test_the_application_costs_nothing_idle_and_is_bounded(synthesize: Synthesize) -> None:
    application = only(synthesize(), "AWS::EMRServerless::Application")
    assert "InitialCapacity" not in application
    assert application["AutoStartConfiguration"] == {"Enabled": True}
    assert application["AutoStopConfiguration"] == {"Enabled": True, "IdleTimeoutMinutes": 5}
    # Four workers of 4 vCPUs, 8 GB and 20 GB.
    assert application["MaximumCapacity"] == {"Cpu": "16 vCPU", "Memory": "32 GB", "Disk": "80 GB"}
    assert application["SchedulerConfiguration"]["MaxConcurrentRuns"] == 1
    assert application["ReleaseLabel"] == "emr-spark-8.1.0"
    assert application["Architecture"] == "X86_64"
    assert only(synthesize(architecture="arm64"), "AWS::EMRServerless::Application")["Architecture"] == "ARM64"


def test_nothing_in_the_stack_costs_by_the_hour(synthesize: Synthesize) -> None:
    by_the_hour = re.compile(r"AWS::EC2::(NatGateway|VPCEndpoint|Instance|EIP)|AWS::(EMR|ECS|RDS|Lambda)::|Custom::")
    for settings in ({}, EVERYTHING):
        kinds = {resource["Type"] for resource in synthesize(**settings)["Resources"].values()}
        assert not [kind for kind in kinds if by_the_hour.match(kind)]


def test_a_budget_and_its_alerts(synthesize: Synthesize) -> None:
    budget = only(synthesize(budget=250), "AWS::Budgets::Budget")
    assert budget["Budget"]["BudgetLimit"] == {"Amount": 250, "Unit": "USD"}
    assert budget["Budget"]["TimeUnit"] == "MONTHLY"
    alerts = {
        (
            notification["Notification"]["NotificationType"],
            notification["Notification"]["Threshold"],
            subscriber["SubscriptionType"],
        )
        for notification in budget["NotificationsWithSubscribers"]
        for subscriber in notification["Subscribers"]
    }
    assert alerts == {("ACTUAL", 80, "SNS"), ("FORECASTED", 100, "SNS")}
    assert not of_type(synthesize(budget=0), "AWS::Budgets::Budget")


# ---- network


def test_workers_in_a_vpc_let_nothing_in_and_only_tls_out(synthesize: Synthesize) -> None:
    group = only(synthesize(**EVERYTHING), "AWS::EC2::SecurityGroup")
    assert "SecurityGroupIngress" not in group
    [out] = group["SecurityGroupEgress"]
    assert (out["IpProtocol"], out["FromPort"], out["ToPort"]) == ("tcp", 443, 443)
    network = only(synthesize(**EVERYTHING), "AWS::EMRServerless::Application")["NetworkConfiguration"]
    assert network["SubnetIds"] == ["subnet-12345678", "subnet-22345678"]
    assert len(network["SecurityGroupIds"]) == 1
    assert "NetworkConfiguration" not in only(synthesize(), "AWS::EMRServerless::Application")


# ---- logs and alerts


def test_logs_go_to_the_bucket_the_group_and_the_spark_ui(synthesize: Synthesize) -> None:
    template = synthesize(log_days=90)
    monitoring = only(template, "AWS::EMRServerless::Application")["MonitoringConfiguration"]
    assert monitoring["ManagedPersistenceMonitoringConfiguration"] == {"Enabled": True}
    group = only(template, "AWS::Logs::LogGroup")
    assert group["RetentionInDays"] == 90
    assert monitoring["CloudWatchLoggingConfiguration"] == {
        "Enabled": True,
        "LogGroupName": {"Ref": logical_id(template, group)},
    }
    address = monitoring["S3MonitoringConfiguration"]["LogUri"]["Fn::Join"][1]
    assert address[0] == "s3://"
    assert address[-1] == "/emr/"


def test_failed_and_cancelled_runs_of_this_application_are_reported(synthesize: Synthesize) -> None:
    template = synthesize(alert="somebody@example.com")
    rule = only(template, "AWS::Events::Rule")
    application = logical_id(template, only(template, "AWS::EMRServerless::Application"))
    assert rule["EventPattern"] == {
        "source": ["aws.emr-serverless"],
        "detail-type": ["EMR Serverless Job Run State Change"],
        "detail": {
            "applicationId": [{"Fn::GetAtt": [application, "ApplicationId"]}],
            "state": ["FAILED", "CANCELLED"],
        },
    }
    topic = {"Ref": logical_id(template, only(template, "AWS::SNS::Topic"))}
    assert rule["Targets"][0]["Arn"] == topic
    subscription = only(template, "AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "somebody@example.com")
    assert not of_type(synthesize(), "AWS::SNS::Subscription")


def test_an_alarm_for_runs_without_end(synthesize: Synthesize) -> None:
    template = synthesize(alarm_minutes=90)
    alarm = only(template, "AWS::CloudWatch::Alarm")
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"]) == (
        "AWS/EMRServerless",
        "RunningJobs",
        "Minimum",
    )
    assert alarm["Period"] * alarm["EvaluationPeriods"] == 90 * 60
    assert alarm["TreatMissingData"] == "notBreaching"
    assert alarm["AlarmActions"] == [{"Ref": logical_id(template, only(template, "AWS::SNS::Topic"))}]


def fields_of(line: str) -> list[str]:
    """Return the fields of a line as CloudWatch separates them, by spaces."""
    return line.split()


def test_the_dashboard_reads_the_rate_from_the_jobs_own_lines(
    synthesize: Synthesize,
) -> None:
    moments, screen = iter([0.0, 10.0, 20.0]), StringIO()
    with Progress(screen, lambda: next(moments)).counting("features", 50_000) as done:
        done(24_680)
    lines = screen.getvalue().splitlines()
    assert lines[0] == "features: 24,680 of 50,000 images, 2468 a second, 10 s left"
    # The pattern's fields in their order, those with a condition checked, the rest named.
    wanted = [part.strip() for part in RATE_PATTERN.strip("[]").split(", ")]
    assert wanted[-1] == "..."
    found = {}
    for part, word in zip(wanted[:-1], fields_of(lines[0]), strict=False):
        name, _, condition = part.partition(" = ")
        if condition:
            assert re.fullmatch(condition.strip('"').replace("*", ".*"), word), part
        found[f"${name}"] = word
    filtered = only(synthesize(), "AWS::Logs::MetricFilter")
    assert filtered["FilterPattern"] == RATE_PATTERN
    [transformation] = filtered["MetricTransformations"]
    # A number, without a comma for thousands, as CloudWatch drops what is none.
    assert float(found[transformation["MetricValue"]]) == 2468.0


def test_the_dashboard_shows_workers_hours_failures_and_rate(synthesize: Synthesize) -> None:
    body = json.dumps(only(synthesize(), "AWS::CloudWatch::Dashboard"))
    for name in ("RunningWorkerCount", "CPUAllocated", "MemoryAllocated", "FailedJobs", "PicturesPerSecond"):
        assert name in body


# ---- the schedule


def test_a_daily_run_through_the_scheduler_itself(synthesize: Synthesize) -> None:
    template = synthesize(schedule="03:05", timezone="Europe/Paris")
    schedule = only(template, "AWS::Scheduler::Schedule")
    assert schedule["ScheduleExpression"] == "cron(5 3 * * ? *)"
    assert schedule["ScheduleExpressionTimezone"] == "Europe/Paris"
    target = schedule["Target"]
    assert target["Arn"]["Fn::Join"][1][-1] == ":scheduler:::aws-sdk:emrserverless:startJobRun"
    # What is only known when deployed stands in for itself, so that the rest reads as JSON.
    parts = target["Input"]["Fn::Join"][1]
    request = json.loads("".join(part if isinstance(part, str) else "later" for part in parts))
    # The same identifier for each try of one start: never two runs.
    assert request["ClientToken"] == "<aws.scheduler.execution-id>"
    model = Loader().load_service_model("emr-serverless", "service-2")["shapes"]["StartJobRunRequest"]
    assert {name[0].lower() + name[1:] for name in request} <= set(model["members"])
    assert {name[0].upper() + name[1:] for name in model["required"]} <= set(request)
    assert len(request["JobDriver"]["SparkSubmit"]["SparkSubmitParameters"]) <= 102_400
    assert not of_type(synthesize(), "AWS::Scheduler::Schedule")
    assert not of_type(synthesize(), "AWS::Scheduler::ScheduleGroup")


def test_a_start_that_is_given_up_raises_an_alarm(synthesize: Synthesize) -> None:
    alarms = of_type(synthesize(schedule="03:05"), "AWS::CloudWatch::Alarm")
    assert {(alarm["Namespace"], alarm["MetricName"]) for alarm in alarms} == {
        ("AWS/EMRServerless", "RunningJobs"),
        ("AWS/Scheduler", "InvocationDroppedCount"),
    }


# ---- as a whole

# What AWS calls by the names given here need not be unique in the account, or is no name at all.
HARMLESS = {"AWS::EMRServerless::Application"}
PHYSICAL = re.compile(
    r"(BucketName|RoleName|ManagedPolicyName|TopicName|AlarmName|DashboardName|BudgetName|GroupName|Name)"
)


def test_no_part_has_a_name_that_a_second_stack_would_want_too(synthesize: Synthesize) -> None:
    for resource in synthesize(**EVERYTHING)["Resources"].values():
        if resource["Type"] not in HARMLESS:
            named = [name for name in resource.get("Properties", {}) if PHYSICAL.fullmatch(name)]
            literal = [name for name in named if isinstance(resource["Properties"][name], str)]
            assert not literal, (resource["Type"], literal)


def test_stacks_of_two_names_are_made_of_the_same_parts(synthesize: Synthesize) -> None:
    first, second = synthesize(**EVERYTHING), synthesize(**EVERYTHING, name="trial")
    assert {name: resource["Type"] for name, resource in first["Resources"].items()} == {
        name: resource["Type"] for name, resource in second["Resources"].items()
    }
    assert "fruits" not in json.dumps(second).replace('"AWS::', "")


def test_the_outputs_say_where_everything_is(synthesize: Synthesize) -> None:
    outputs = synthesize()["Outputs"]
    assert set(outputs) == {
        *(
            "Version",
            "Target",
            "ApplicationId",
            "JobRole",
            "EntryPoint",
            "JobZip",
            "Dependencies",
            "Model",
            "Images",
            "Results",
        ),
        *(
            "Region",
            "TimeoutMinutes",
            "Vcpu",
            "MemoryGb",
            "DiskGb",
            "MaxVcpu",
            "Logs",
            "SubmitterPolicy",
            "AlertsTopic",
        ),
    }
    # Spark unpacks archives by these endings.
    assert outputs["Dependencies"]["Value"].endswith(".tgz")
    assert outputs["Model"]["Value"].endswith(".zip")
    assert outputs["EntryPoint"]["Value"].endswith(".py")


def test_no_secret_and_no_address_of_this_machine_is_in_the_template(synthesize: Synthesize, dist: Path) -> None:
    text = json.dumps(synthesize(**EVERYTHING))
    assert str(dist) not in text
    assert not re.search(r"AKIA|aws_secret|password", text, re.IGNORECASE)
    assert ACCOUNT in text


def test_what_was_not_built_is_asked_for_in_one_sentence(tmp_path: Path, synthesize: Synthesize) -> None:
    import aws_cdk as cdk  # noqa: PLC0415

    from infra.settings import StackSettings  # noqa: PLC0415
    from infra.stack import FruitsStack  # noqa: PLC0415

    with pytest.raises(SettingsError, match=r"python -m bootstrap\.package --architecture arm64"):
        FruitsStack(
            cdk.App(context=CONTEXT, outdir=str(tmp_path)), StackSettings(architecture="arm64"), tmp_path, ACCOUNT
        )
