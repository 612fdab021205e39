"""Who may do what: judged by effect, by an evaluator that is none of ours, for the stack as it would be deployed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.infra.conftest import ACCOUNT, Synthesize
from tests.infra.iam import Identity, Request, Stack, actions, is_operation, known_actions

REGION = "eu-west-3"
EMR = "emr-serverless.amazonaws.com"
SCHEDULER = "scheduler.amazonaws.com"
CODE = f"arn:aws:s3:::cdk-hnb659fds-assets-{ACCOUNT}-{REGION}"
SETTINGS: dict[str, Any] = {
    "kms": True,
    "schedule": "03:30",
    "images_bucket": "old-images",
    "images_prefix": "archive",
    "images_key": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0f0f0f0f-images",
}
# Of keys that are somebody else's: as AWS makes it, the account decides by its own policies.
ACCOUNTS_OWN = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
            "Action": "kms:*",
            "Resource": "*",
        }
    ],
}


@dataclass(frozen=True)
class Cloud:
    """The stack's policies, and the names that its parts would have."""

    stack: Stack
    template: Mapping[str, Any]

    def only(self, kind: str, part: str = "") -> str:
        """Return the logical ID of the one resource of a type, found by a part of its own properties."""
        [found] = [
            name
            for name, resource in self.template["Resources"].items()
            if resource["Type"] == kind and part in json.dumps(resource)
        ]
        return str(found)

    def arn(self, kind: str, part: str = "") -> str:
        return str(self.stack.att(self.only(kind, part), "Arn"))

    def output_bucket(self, name: str) -> str:
        """Return the ARN of the bucket that an output's address lies in."""
        address: str = self.stack.resolve(self.template["Outputs"][name]["Value"])
        return f"arn:aws:s3:::{address.removeprefix('s3://').split('/')[0]}"

    def output(self, name: str) -> str:
        return str(self.stack.resolve(self.template["Outputs"][name]["Value"]))

    @property
    def job(self) -> Identity:
        return self.stack.role(self.only("AWS::IAM::Role", EMR)).session("job")

    @property
    def submitter(self) -> Identity:
        return self.stack.managed_policy(self.only("AWS::IAM::ManagedPolicy"))

    @property
    def scheduler(self) -> Identity:
        return self.stack.role(self.only("AWS::IAM::Role", SCHEDULER)).session("schedule")

    @property
    def sender(self) -> Identity:
        return self.stack.role(self.only("AWS::IAM::Role", "events.amazonaws.com")).session("rule")


@pytest.fixture(scope="module")
def cloud(synthesize: Synthesize) -> Cloud:
    template = synthesize(**SETTINGS)
    others = {f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{name}": ACCOUNTS_OWN for name in ("0f0f0f0f-images", "0e0e-other")}
    return Cloud(Stack(template, ACCOUNT, REGION, name="fruits", policies=others), template)


Row = tuple[str, str, dict[str, str], bool]
YES, NO = True, False
VIA_S3 = {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}
TO_EMR = {"iam:PassedToService": EMR}


def judge(cloud: Cloud, who: Identity, rows: list[Row]) -> None:
    """Compare a table with what the evaluator says, all of it at once, so that the error names every wrong row."""
    requests = [Request(who, action, resource, context) for action, resource, context, _ in rows]
    verdicts = cloud.stack.judge(requests)
    wrong = [str(verdict) for verdict, row in zip(verdicts, rows, strict=True) if verdict.allowed is not row[-1]]
    assert not wrong, "\n".join(wrong)


def test_the_job_may_do_what_it_does_and_nothing_else(cloud: Cloud) -> None:
    images, results, logs = "arn:aws:s3:::old-images", cloud.output_bucket("Results"), cloud.output_bucket("Logs")
    group = cloud.arn("AWS::Logs::LogGroup").removesuffix(":*")
    stream = f"{group}:log-stream:applications/a/jobs/b/SPARK_DRIVER/stderr"
    key, images_key = cloud.arn("AWS::KMS::Key"), SETTINGS["images_key"]
    application = cloud.arn("AWS::EMRServerless::Application")
    role = cloud.stack.att(cloud.only("AWS::IAM::Role", EMR), "Arn")
    code = f"{CODE}/{cloud.output('JobZip').rsplit('/', 1)[-1]}"
    rows: list[Row] = [
        # Images: those of the prefix are listed and read, and never changed.
        ("s3:ListBucket", images, {"s3:prefix": "archive/"}, YES),
        ("s3:ListBucket", images, {"s3:prefix": "archive/2026/apple/"}, YES),
        ("s3:ListBucket", images, {"s3:prefix": "archive"}, YES),
        ("s3:ListBucket", images, {"s3:prefix": "archived/"}, NO),
        ("s3:ListBucket", images, {"s3:prefix": ""}, NO),
        ("s3:ListBucket", images, {}, NO),
        ("s3:GetObject", f"{images}/archive/apple/1.jpg", {}, YES),
        ("s3:GetObject", f"{images}/archive", {}, YES),
        ("s3:GetObject", f"{images}/archived/apple/1.jpg", {}, NO),
        ("s3:GetObject", f"{images}/salaries.csv", {}, NO),
        ("s3:PutObject", f"{images}/archive/apple/1.jpg", {}, NO),
        ("s3:DeleteObject", f"{images}/archive/apple/1.jpg", {}, NO),
        ("s3:DeleteObjectVersion", f"{images}/archive/apple/1.jpg", {}, NO),
        ("s3:DeleteBucket", images, {}, NO),
        # Results: all that a run does, old versions excepted, which are how a mistake is undone.
        ("s3:ListBucket", results, {"s3:prefix": "results/features/"}, YES),
        ("s3:GetObject", f"{results}/results/run.json", {}, YES),
        ("s3:GetObject", f"{results}/results", {}, YES),
        ("s3:PutObject", f"{results}/results/features/model=a/wave=b/1.parquet", {}, YES),
        ("s3:DeleteObject", f"{results}/results/.lock", {}, YES),
        ("s3:AbortMultipartUpload", f"{results}/results/pca_matrix.csv", {}, YES),
        ("s3:PutObject", f"{results}/elsewhere.csv", {}, NO),
        ("s3:DeleteObjectVersion", f"{results}/results/run.json", {}, NO),
        ("s3:PutBucketPolicy", results, {}, NO),
        ("s3:PutLifecycleConfiguration", results, {}, NO),
        # Without TLS nothing.
        ("s3:GetObject", f"{results}/results/run.json", {"aws:SecureTransport": "false"}, NO),
        ("s3:PutObject", f"{results}/results/run.json", {"aws:SecureTransport": "false"}, NO),
        ("s3:GetObject", f"{results}/results/run.json", {"s3:TlsVersion": "1.1"}, NO),
        # Code: just the files of this stack, of a bucket that all CDK stacks share.
        ("s3:GetObject", code, {}, YES),
        ("s3:GetObject", f"{CODE}/another-stacks.zip", {}, NO),
        ("s3:PutObject", code, {}, NO),
        ("s3:ListBucket", CODE, {}, NO),
        # Logs: written, not read.
        ("s3:PutObject", f"{logs}/emr/applications/a/jobs/b/SPARK_DRIVER/stderr.gz", {}, YES),
        ("s3:PutObject", f"{logs}/access/results/1", {}, NO),
        ("s3:GetObject", f"{logs}/emr/applications/a/jobs/b/SPARK_DRIVER/stderr.gz", {}, NO),
        ("s3:DeleteObject", f"{logs}/emr/applications/a/jobs/b/SPARK_DRIVER/stderr.gz", {}, NO),
        ("logs:CreateLogStream", stream, {}, YES),
        # As AWS's own refusals name it: "... on resource: arn:aws:logs:...:log-group:NAME:log-stream:".
        ("logs:DescribeLogStreams", f"{group}:log-stream:", {}, YES),
        ("logs:PutLogEvents", stream, {}, YES),
        ("logs:DescribeLogGroups", "*", {}, YES),
        ("logs:PutLogEvents", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:others:log-stream:a", {}, NO),
        ("logs:GetLogEvents", stream, {}, NO),
        ("logs:DeleteLogGroup", group, {}, NO),
        ("logs:CreateLogGroup", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:others", {}, NO),
        # Keys: by way of S3 alone.
        ("kms:Decrypt", key, VIA_S3, YES),
        ("kms:GenerateDataKey", key, VIA_S3, YES),
        ("kms:Decrypt", key, {}, NO),
        ("kms:ScheduleKeyDeletion", key, VIA_S3, NO),
        ("kms:Decrypt", images_key, VIA_S3, YES),
        ("kms:GenerateDataKey", images_key, VIA_S3, NO),
        ("kms:Decrypt", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0e0e-other", VIA_S3, NO),
        # Nothing that would widen its own rights, or cost.
        ("iam:PassRole", role, TO_EMR, NO),
        ("iam:PutRolePolicy", role, {}, NO),
        ("emr-serverless:StartJobRun", application, {}, NO),
        ("emr-serverless:UpdateApplication", application, {}, NO),
        ("sns:Publish", cloud.output("AlertsTopic"), {}, NO),
        ("glue:GetDatabases", f"arn:aws:glue:{REGION}:{ACCOUNT}:catalog", {}, NO),
    ]
    judge(cloud, cloud.job, rows)


def test_the_submitter_may_start_follow_and_cancel_runs_of_this_application(cloud: Cloud) -> None:
    application = cloud.arn("AWS::EMRServerless::Application")
    other = f"arn:aws:emr-serverless:{REGION}:{ACCOUNT}:/applications/00other"
    role = cloud.stack.att(cloud.only("AWS::IAM::Role", EMR), "Arn")
    scheduler = cloud.stack.att(cloud.only("AWS::IAM::Role", SCHEDULER), "Arn")
    results, logs = cloud.output_bucket("Results"), cloud.output_bucket("Logs")
    stacks = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack"
    rows: list[Row] = [
        ("cloudformation:DescribeStacks", f"{stacks}/fruits/0a1b", {}, YES),
        ("cloudformation:DescribeStacks", f"{stacks}/fruits-2/0a1b", {}, NO),
        ("cloudformation:DeleteStack", f"{stacks}/fruits/0a1b", {}, NO),
        ("cloudformation:UpdateStack", f"{stacks}/fruits/0a1b", {}, NO),
        ("emr-serverless:StartJobRun", application, {}, YES),
        ("emr-serverless:ListJobRuns", application, {}, YES),
        ("emr-serverless:GetApplication", application, {}, NO),
        ("emr-serverless:GetJobRun", f"{application}/jobruns/00run", {}, YES),
        ("emr-serverless:CancelJobRun", f"{application}/jobruns/00run", {}, YES),
        ("emr-serverless:GetDashboardForJobRun", f"{application}/jobruns/00run", {}, YES),
        ("emr-serverless:StartJobRun", other, {}, NO),
        ("emr-serverless:CancelJobRun", f"{other}/jobruns/00run", {}, NO),
        ("emr-serverless:UpdateApplication", application, {}, NO),
        ("emr-serverless:DeleteApplication", application, {}, NO),
        ("emr-serverless:CreateApplication", "*", {}, NO),
        ("iam:PassRole", role, TO_EMR, YES),
        ("iam:PassRole", role, {"iam:PassedToService": "ec2.amazonaws.com"}, NO),
        ("iam:PassRole", role, {"iam:PassedToService": "lambda.amazonaws.com"}, NO),
        ("iam:PassRole", scheduler, TO_EMR, NO),
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/admin", TO_EMR, NO),
        ("s3:GetObject", f"{results}/results/run.json", {}, YES),
        ("s3:ListBucket", results, {"s3:prefix": "results/"}, YES),
        ("s3:PutObject", f"{results}/results/run.json", {}, NO),
        ("s3:DeleteObject", f"{results}/results/run.json", {}, NO),
        ("s3:GetObject", f"{logs}/emr/applications/a/jobs/b/SPARK_DRIVER/stderr.gz", {}, YES),
        ("s3:ListBucket", logs, {"s3:prefix": "emr/applications/a/jobs/b/"}, YES),
        ("s3:GetObject", f"{logs}/access/results/1", {}, NO),
        ("s3:GetObject", "arn:aws:s3:::old-images/archive/apple/1.jpg", {}, NO),
        ("s3:GetObject", f"{CODE}/{cloud.output('JobZip').rsplit('/', 1)[-1]}", {}, NO),
        ("kms:Decrypt", cloud.arn("AWS::KMS::Key"), VIA_S3, YES),
        ("kms:Decrypt", cloud.arn("AWS::KMS::Key"), {}, NO),
        ("kms:GenerateDataKey", cloud.arn("AWS::KMS::Key"), VIA_S3, NO),
        ("sts:AssumeRole", role, {}, NO),
    ]
    judge(cloud, cloud.submitter, rows)


def test_the_schedule_may_start_runs_and_nothing_else(cloud: Cloud) -> None:
    application = cloud.arn("AWS::EMRServerless::Application")
    role = cloud.stack.att(cloud.only("AWS::IAM::Role", EMR), "Arn")
    rows: list[Row] = [
        ("emr-serverless:StartJobRun", application, {}, YES),
        ("iam:PassRole", role, TO_EMR, YES),
        ("iam:PassRole", role, {"iam:PassedToService": "ec2.amazonaws.com"}, NO),
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/admin", TO_EMR, NO),
        ("emr-serverless:StartJobRun", f"arn:aws:emr-serverless:{REGION}:{ACCOUNT}:/applications/00other", {}, NO),
        ("emr-serverless:CancelJobRun", f"{application}/jobruns/00run", {}, NO),
        ("s3:GetObject", f"{cloud.output_bucket('Results')}/results/run.json", {}, NO),
        ("kms:Decrypt", cloud.arn("AWS::KMS::Key"), VIA_S3, NO),
    ]
    judge(cloud, cloud.scheduler, rows)


def test_the_rule_may_send_to_the_topic_and_use_the_key_for_that(cloud: Cloud) -> None:
    topic, key = cloud.output("AlertsTopic"), cloud.arn("AWS::KMS::Key")
    via_sns = {"kms:ViaService": f"sns.{REGION}.amazonaws.com"}
    rows: list[Row] = [
        ("sns:Publish", topic, {}, YES),
        ("kms:GenerateDataKey", key, via_sns, YES),
        ("kms:Decrypt", key, via_sns, YES),
        ("kms:Decrypt", key, VIA_S3, NO),
        ("sns:Publish", f"{topic}-other", {}, NO),
        ("sns:Subscribe", topic, {}, NO),
        ("sns:Publish", topic, {"aws:SecureTransport": "false"}, NO),
    ]
    judge(cloud, cloud.sender, rows)


def test_roles_are_taken_on_only_by_their_service_for_this_stack(cloud: Cloud) -> None:
    application = cloud.arn("AWS::EMRServerless::Application")
    group = cloud.arn("AWS::Scheduler::ScheduleGroup")
    other = {"aws:SourceAccount": "222222222222"}
    job, schedule, sender = (
        cloud.only("AWS::IAM::Role", service) for service in (EMR, SCHEDULER, "events.amazonaws.com")
    )
    mine = {"aws:SourceAccount": ACCOUNT}
    elsewhere = application.replace("/applications/", "/applications/x")
    rows: list[tuple[str, Identity | str, dict[str, str], bool]] = [
        (job, EMR, {**mine, "aws:SourceArn": application}, YES),
        (job, EMR, {**mine, "aws:SourceArn": elsewhere}, NO),
        (job, EMR, {**other, "aws:SourceArn": application}, NO),
        (job, EMR, {}, NO),
        (job, "ec2.amazonaws.com", {**mine, "aws:SourceArn": application}, NO),
        (job, cloud.submitter, {}, NO),
        (schedule, SCHEDULER, {**mine, "aws:SourceArn": group}, YES),
        (schedule, SCHEDULER, {**mine, "aws:SourceArn": f"{group}-other"}, NO),
        (schedule, SCHEDULER, {**other, "aws:SourceArn": group}, NO),
        (schedule, EMR, {**mine, "aws:SourceArn": application}, NO),
        (sender, "events.amazonaws.com", mine, YES),
        (sender, "events.amazonaws.com", other, NO),
    ]
    for role, who, context, expected in rows:
        verdict = cloud.stack.assume(role, who, context)
        assert verdict.allowed is expected, str(verdict)


def test_services_may_use_topic_and_key_for_this_account_alone(cloud: Cloud) -> None:
    topic, key = cloud.output("AlertsTopic"), cloud.arn("AWS::KMS::Key")
    mine, other = {"aws:SourceAccount": ACCOUNT}, {"aws:SourceAccount": "222222222222"}
    group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:fruits-JobLogs-1A2B"
    context = "kms:EncryptionContext:aws:logs:arn"
    rows: list[tuple[str, str, str, dict[str, str], bool]] = [
        ("cloudwatch.amazonaws.com", "sns:Publish", topic, mine, YES),
        ("budgets.amazonaws.com", "sns:Publish", topic, mine, YES),
        ("budgets.amazonaws.com", "sns:Publish", topic, other, NO),
        ("cloudwatch.amazonaws.com", "sns:Publish", topic, mine | {"aws:SecureTransport": "false"}, NO),
        ("events.amazonaws.com", "sns:Publish", topic, mine, NO),
        ("cloudwatch.amazonaws.com", "kms:GenerateDataKey", key, mine, YES),
        ("cloudwatch.amazonaws.com", "kms:GenerateDataKey", key, other, NO),
        ("cloudwatch.amazonaws.com", "kms:ScheduleKeyDeletion", key, mine, NO),
        (f"logs.{REGION}.amazonaws.com", "kms:GenerateDataKey", key, {context: group}, YES),
        (f"logs.{REGION}.amazonaws.com", "kms:Decrypt", key, {context: group.replace("fruits", "others")}, NO),
        (f"logs.{REGION}.amazonaws.com", "kms:Decrypt", key, {}, NO),
    ]
    verdicts = cloud.stack.judge([Request(service, *row) for service, *row, _ in rows])  # type: ignore[arg-type]
    wrong = [str(verdict) for verdict, row in zip(verdicts, rows, strict=True) if verdict.allowed is not row[-1]]
    assert not wrong, "\n".join(wrong)


def test_a_bucket_of_the_stacks_own_is_read_whole(synthesize: Synthesize) -> None:
    template = synthesize()
    cloud = Cloud(Stack(template, ACCOUNT, REGION, name="fruits"), template)
    images = cloud.output_bucket("Images")
    judge(
        cloud,
        cloud.job,
        [
            ("s3:ListBucket", images, {"s3:prefix": ""}, YES),
            ("s3:GetObject", f"{images}/apple/1.jpg", {}, YES),
            ("s3:PutObject", f"{images}/apple/1.jpg", {}, NO),
            ("s3:DeleteObject", f"{images}/apple/1.jpg", {}, NO),
            ("s3:GetObject", f"{images}/apple/1.jpg", {"aws:SecureTransport": "false"}, NO),
        ],
    )


def test_every_action_exists(cloud: Cloud) -> None:
    named = actions(cloud.template)
    known = known_actions(named)
    assert [action for action in sorted(named) if not known[action]] == []
    # And by a second list, for services whose actions are their operations.
    by_operation = {name for name in named if name.split(":")[0] in {"emr-serverless", "sns", "cloudformation", "logs"}}
    assert len(by_operation) >= 8
    assert [action for action in sorted(by_operation) if not is_operation(action)] == []


def test_no_statement_allows_everything(cloud: Cloud) -> None:
    """Only a key's own policy names all of a service's actions, for the account itself, as AWS asks for."""
    broad = [action for action in actions(cloud.template) if action.endswith(":*")]
    assert set(broad) <= {"kms:*", "s3:*"}  # s3:* in what is refused without TLS
    for resource in cloud.template["Resources"].values():
        if resource["Type"] in {"AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"}:
            for statement in resource["Properties"]["PolicyDocument"]["Statement"]:
                assert "*" not in json.dumps(statement["Action"])
                if statement["Resource"] == "*":
                    assert statement["Action"] == "logs:DescribeLogGroups"
