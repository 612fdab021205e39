"""Who may do what where runs take place on EMR on EC2: judged by effect, as in test_access."""

from dataclasses import replace
from typing import Any

import pytest

from tests.infra.conftest import ACCOUNT, Synthesize
from tests.infra.iam import Identity, Stack, actions, is_operation, known_actions
from tests.infra.test_access import ACCOUNTS_OWN, CODE, NO, REGION, VIA_S3, YES, Cloud, Row, judge

EMR, EC2 = "elasticmapreduce.amazonaws.com", "ec2.amazonaws.com"
SETTINGS: dict[str, Any] = {
    "compute": "cluster",
    "schedule": "03:30",
    "images_bucket": "old-images",
    "images_prefix": "archive",
}
CLUSTER = f"arn:aws:elasticmapreduce:{REGION}:{ACCOUNT}:cluster/j-1A2B3C"
OURS = {"elasticmapreduce:ResourceTag/stack": "fruits"}
OTHERS = {"elasticmapreduce:ResourceTag/stack": "fruits-2"}
ASKED = {
    "elasticmapreduce:RequestTag/stack": "fruits",
    "elasticmapreduce:RequestTag/for-use-with-amazon-emr-managed-policies": "true",
}
VIA_EC2 = {"kms:ViaService": f"ec2.{REGION}.amazonaws.com"}


@pytest.fixture(scope="module")
def cloud(synthesize: Synthesize) -> Cloud:
    template = synthesize(**SETTINGS)
    other = {f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0e0e-other": ACCOUNTS_OWN}
    return Cloud(Stack(template, ACCOUNT, REGION, name="fruits", policies=other), template)


def role(cloud: Cloud, service: str) -> str:
    return str(cloud.stack.att(cloud.only("AWS::IAM::Role", f'"Service": "{service}"'), "Arn"))


def nodes(cloud: Cloud) -> Identity:
    return cloud.stack.role(cloud.only("AWS::IAM::Role", f'"Service": "{EC2}"')).session("i-0123456789abcdef0")


def test_a_node_may_do_what_the_job_does_and_nothing_else(cloud: Cloud) -> None:
    images, results, logs = "arn:aws:s3:::old-images", cloud.output_bucket("Results"), cloud.output_bucket("Logs")
    key = cloud.arn("AWS::KMS::Key")
    rows: list[Row] = [
        ("s3:ListBucket", images, {"s3:prefix": "archive/"}, YES),
        ("s3:ListBucket", images, {"s3:prefix": ""}, NO),
        ("s3:GetObject", f"{images}/archive/apple/1.jpg", {}, YES),
        ("s3:GetObject", f"{images}/salaries.csv", {}, NO),
        ("s3:PutObject", f"{images}/archive/apple/1.jpg", {}, NO),
        ("s3:ListBucket", results, {"s3:prefix": "results/features/"}, YES),
        ("s3:GetObject", f"{results}/results/run.json", {}, YES),
        ("s3:PutObject", f"{results}/results/features/model=a/wave=b/1.parquet", {}, YES),
        ("s3:DeleteObject", f"{results}/results/.lock", {}, YES),
        ("s3:PutObject", f"{results}/elsewhere.csv", {}, NO),
        ("s3:DeleteObjectVersion", f"{results}/results/run.json", {}, NO),
        ("s3:GetObject", f"{results}/results/run.json", {"aws:SecureTransport": "false"}, NO),
        # The job, the archive, the model, what installs them, the certificates; nobody else's.
        *[
            ("s3:GetObject", f"{CODE}/{cloud.output(name).rsplit('/', 1)[-1]}", {}, YES)
            for name in ("EntryPoint", "JobZip", "Dependencies", "Model", "Installer")
        ],
        ("s3:GetObject", f"{CODE}/{certificates(cloud)}", {}, YES),
        ("s3:GetObject", f"{CODE}/another-stacks.zip", {}, NO),
        ("s3:ListBucket", CODE, {}, NO),
        ("s3:PutObject", f"{logs}/emr/j-1A2B3C/steps/s-1A2B3C/stderr.gz", {}, YES),
        ("s3:GetObject", f"{logs}/emr/j-1A2B3C/steps/s-1A2B3C/stderr.gz", {}, NO),
        ("s3:PutObject", f"{logs}/access/results/1", {}, NO),
        ("kms:Decrypt", key, VIA_S3, YES),
        ("kms:Decrypt", key, {}, NO),
        ("kms:CreateGrant", key, VIA_EC2 | {"kms:GrantIsForAWSResource": "true"}, NO),
        # No more clusters, no other roles.
        ("elasticmapreduce:RunJobFlow", "*", ASKED, NO),
        ("elasticmapreduce:AddJobFlowSteps", CLUSTER, OURS, NO),
        ("elasticmapreduce:TerminateJobFlows", CLUSTER, OURS, NO),
        ("ec2:RunInstances", f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-0123456789abcdef0", {}, NO),
        ("iam:PassRole", role(cloud, EC2), {"iam:PassedToService": EC2}, NO),
        ("logs:DescribeLogGroups", "*", {}, NO),
        ("glue:GetDatabases", f"arn:aws:glue:{REGION}:{ACCOUNT}:catalog", {}, NO),
    ]
    judge(cloud, nodes(cloud), rows)


def certificates(cloud: Cloud) -> str:
    configuration = cloud.stack.properties(cloud.only("AWS::EMR::SecurityConfiguration"))["SecurityConfiguration"]
    tls = configuration["EncryptionConfiguration"]["InTransitEncryptionConfiguration"]["TLSCertificateConfiguration"]
    return str(cloud.stack.resolve(tls["S3Object"])).rsplit("/", 1)[-1]


def test_the_submitter_may_start_follow_and_end_this_stacks_clusters(cloud: Cloud) -> None:
    job, service = role(cloud, EC2), role(cloud, EMR)
    results, logs = cloud.output_bucket("Results"), cloud.output_bucket("Logs")
    rows: list[Row] = [
        ("cloudformation:DescribeStacks", f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/fruits/0a1b", {}, YES),
        ("elasticmapreduce:RunJobFlow", "*", ASKED, YES),
        # A cluster without the tags would be out of reach, of EMR's own policy and of this one.
        ("elasticmapreduce:RunJobFlow", "*", {}, NO),
        ("elasticmapreduce:RunJobFlow", "*", ASKED | {"elasticmapreduce:RequestTag/stack": "fruits-2"}, NO),
        ("elasticmapreduce:RunJobFlow", "*", {"elasticmapreduce:RequestTag/stack": "fruits"}, NO),
        ("elasticmapreduce:AddTags", CLUSTER, ASKED, YES),
        ("elasticmapreduce:AddTags", CLUSTER, ASKED | OTHERS, NO),
        ("elasticmapreduce:AddTags", CLUSTER, {"elasticmapreduce:RequestTag/stack": "fruits-2"}, NO),
        ("elasticmapreduce:RemoveTags", CLUSTER, OURS, NO),
        *[
            (f"elasticmapreduce:{name}", CLUSTER, tags, allowed)
            for name in (
                *("AddJobFlowSteps", "CancelSteps", "TerminateJobFlows", "DescribeCluster", "DescribeStep"),
                *("ListSteps", "ListInstances"),
            )
            for tags, allowed in ((OURS, YES), (OTHERS, NO), ({}, NO))
        ],
        ("elasticmapreduce:ListClusters", "*", {}, YES),
        ("elasticmapreduce:SetTerminationProtection", CLUSTER, OURS, NO),
        ("elasticmapreduce:PutManagedScalingPolicy", CLUSTER, OURS, NO),
        ("iam:PassRole", job, {"iam:PassedToService": EC2}, YES),
        ("iam:PassRole", job, {"iam:PassedToService": "lambda.amazonaws.com"}, NO),
        ("iam:PassRole", service, {"iam:PassedToService": EMR}, YES),
        ("iam:PassRole", service, {"iam:PassedToService": EC2}, NO),
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/admin", {"iam:PassedToService": EC2}, NO),
        ("ec2:RunInstances", f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-0123456789abcdef0", {}, NO),
        ("s3:GetObject", f"{results}/results/run.json", {}, YES),
        ("s3:PutObject", f"{results}/results/run.json", {}, NO),
        ("s3:GetObject", f"{logs}/emr/j-1A2B3C/steps/s-1A2B3C/stderr.gz", {}, YES),
        ("s3:GetObject", f"{CODE}/{certificates(cloud)}", {}, NO),
        ("kms:Decrypt", cloud.arn("AWS::KMS::Key"), VIA_S3, YES),
        ("kms:Decrypt", cloud.arn("AWS::KMS::Key"), {}, NO),
        ("emr-serverless:StartJobRun", f"arn:aws:emr-serverless:{REGION}:{ACCOUNT}:/applications/00a", {}, NO),
    ]
    judge(cloud, cloud.submitter, rows)


def test_the_schedule_may_start_clusters_and_nothing_else(cloud: Cloud) -> None:
    rows: list[Row] = [
        ("elasticmapreduce:RunJobFlow", "*", ASKED, YES),
        ("elasticmapreduce:RunJobFlow", "*", {}, NO),
        ("iam:PassRole", role(cloud, EC2), {"iam:PassedToService": EC2}, YES),
        ("iam:PassRole", role(cloud, EMR), {"iam:PassedToService": EMR}, YES),
        ("elasticmapreduce:TerminateJobFlows", CLUSTER, OURS, NO),
        ("elasticmapreduce:AddJobFlowSteps", CLUSTER, OURS, NO),
        ("s3:GetObject", f"{cloud.output_bucket('Results')}/results/run.json", {}, NO),
    ]
    judge(cloud, cloud.scheduler, rows)


def test_emr_itself_may_hand_over_the_nodes_role_and_encrypt_their_disks(cloud: Cloud) -> None:
    """Beside AWS's own policy for it, which is not ours to judge."""
    known = cloud.stack.role(cloud.only("AWS::IAM::Role", f'"Service": "{EMR}"'))
    assert [policy.rsplit("/", 1)[-1] for policy in known.unknown] == ["AmazonEMRServicePolicy_v2"]
    key, grant = cloud.arn("AWS::KMS::Key"), {"kms:GrantIsForAWSResource": "true"}
    rows: list[Row] = [
        ("iam:PassRole", role(cloud, EC2), {"iam:PassedToService": EC2}, YES),
        ("iam:PassRole", role(cloud, EMR), {"iam:PassedToService": EC2}, NO),
        ("kms:DescribeKey", key, {}, YES),
        ("kms:GenerateDataKeyWithoutPlaintext", key, VIA_EC2, YES),
        ("kms:CreateGrant", key, VIA_EC2 | grant, YES),
        ("kms:CreateGrant", key, VIA_EC2, NO),
        ("kms:CreateGrant", key, grant, NO),
        ("kms:Decrypt", key, VIA_S3, NO),
        ("s3:GetObject", f"{cloud.output_bucket('Results')}/results/run.json", {}, NO),
    ]
    judge(cloud, replace(known, unknown=()).session("emr"), rows)


def test_roles_are_taken_on_only_by_their_service_for_this_account(cloud: Cloud) -> None:
    anything = f"arn:aws:elasticmapreduce:{REGION}:{ACCOUNT}:cluster/j-1"
    service, job = (cloud.only("AWS::IAM::Role", f'"Service": "{name}"') for name in (EMR, EC2))
    mine, other = {"aws:SourceAccount": ACCOUNT}, {"aws:SourceAccount": "222222222222"}
    rows: list[tuple[str, Identity | str, dict[str, str], bool]] = [
        (service, EMR, {**mine, "aws:SourceArn": anything}, YES),
        (service, EMR, {**other, "aws:SourceArn": anything}, NO),
        (service, EMR, {**mine, "aws:SourceArn": anything.replace(ACCOUNT, "222222222222")}, NO),
        (service, EC2, {**mine, "aws:SourceArn": anything}, NO),
        (job, EC2, {}, YES),
        (job, EMR, mine, NO),
        (job, cloud.submitter, {}, NO),
    ]
    for role, who, context, expected in rows:
        verdict = cloud.stack.assume(role, who, context)
        assert verdict.allowed is expected, str(verdict)


def test_every_action_exists(cloud: Cloud) -> None:
    named = actions(cloud.template)
    known = known_actions(named)
    assert [action for action in sorted(named) if not known[action]] == []
    operations = {name for name in named if name.startswith("elasticmapreduce:")}
    assert len(operations) >= 10
    assert [action for action in sorted(operations) if not is_operation(action)] == []
