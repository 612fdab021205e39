"""The evaluator against outcomes worked out by hand from AWS's rules of policy evaluation.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.infra.iam import Identity, InvalidRequestError, Request, Stack, actions, is_operation, known_actions
from tests.infra.intrinsics import UnresolvedError

pytestmark = pytest.mark.node

ACCOUNT, REGION = "111111111111", "eu-west-3"
EMR = "emr-serverless.amazonaws.com"
VIA_S3 = {"kms:ViaService": "s3.eu-west-3.amazonaws.com"}


def att(logical_id: str) -> dict[str, list[str]]:
    return {"Fn::GetAtt": [logical_id, "Arn"]}


def join(*parts: Any) -> dict[str, list[Any]]:
    return {"Fn::Join": ["", list(parts)]}


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(action: str | list[str], resource: Any, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def inline(name: str, *statements: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"PolicyName": name, "PolicyDocument": policy(*statements)}]


def resource(kind: str, **properties: Any) -> dict[str, Any]:
    return {"Type": kind, "Properties": properties}


TRUST = {
    "Effect": "Allow",
    "Principal": {"Service": EMR},
    "Action": "sts:AssumeRole",
    "Condition": {
        "StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}},
        "ArnLike": {"aws:SourceArn": att("App")},
    },
}
TLS_ONLY = allow(
    "s3:*",
    [att("Data"), join(att("Data"), "/*")],
    **{"Effect": "Deny", "Principal": {"AWS": "*"}, "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
)
ROOT = join("arn:", {"Ref": "AWS::Partition"}, ":iam::", {"Ref": "AWS::AccountId"}, ":root")
OWN_ACCOUNT = allow("kms:*", "*", Principal={"AWS": ROOT})
# Without the `:*` that ends the ARN which CloudFormation gives.
LOG_GROUP = "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:${Group}"
LOGS = allow(
    "kms:Decrypt",
    "*",
    Principal={"Service": {"Fn::Sub": "logs.${AWS::Region}.${AWS::URLSuffix}"}},
    Condition={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": {"Fn::Sub": LOG_GROUP}}},
)
EVENTS = allow("sns:Publish", {"Ref": "Topic"}, Principal={"Service": "events.amazonaws.com"})
TEMPLATE: dict[str, Any] = {
    "Parameters": {"BootstrapVersion": {"Type": "String", "Default": "/cdk-bootstrap/hnb659fds/version"}},
    "Resources": {
        "App": resource("AWS::EMRServerless::Application"),
        "Data": resource("AWS::S3::Bucket"),
        "DataPolicy": resource("AWS::S3::BucketPolicy", Bucket={"Ref": "Data"}, PolicyDocument=policy(TLS_ONLY)),
        "Key": resource("AWS::KMS::Key", KeyPolicy=policy(OWN_ACCOUNT, LOGS)),
        "LentKey": resource("AWS::KMS::Key", KeyPolicy=policy(LOGS)),
        "Topic": resource("AWS::SNS::Topic"),
        "TopicPolicy": resource("AWS::SNS::TopicPolicy", Topics=[{"Ref": "Topic"}], PolicyDocument=policy(EVENTS)),
        "Group": resource("AWS::Logs::LogGroup"),
        "Job": resource(
            "AWS::IAM::Role",
            AssumeRolePolicyDocument=policy(TRUST),
            ManagedPolicyArns=[{"Ref": "Notify"}],
            Policies=inline(
                "Read",
                allow("s3:ListBucket", att("Data"), Condition={"StringLike": {"s3:prefix": ["in", "in/*"]}}),
                allow("s3:GetObject", join(att("Data"), "/in/*")),
                allow("s3:*Object", join(att("Data"), "/in/secret/*"), Effect="Deny", Sid="Secret"),
            ),
        ),
        "JobPolicy": resource(
            "AWS::IAM::Policy",
            PolicyName="JobPolicy",
            Roles=[{"Ref": "Job"}],
            PolicyDocument=policy(
                allow("kms:Decrypt", [att("Key"), att("LentKey")], Condition={"StringEquals": VIA_S3}),
                allow("logs:DescribeLogGroups", "*"),
                allow(["logs:PutLogEvents", "logs:DescribeLogStreams"], att("Group")),
            ),
        ),
        "Notify": resource("AWS::IAM::ManagedPolicy", PolicyDocument=policy(allow("sns:Publish", {"Ref": "Topic"}))),
        "Submit": resource(
            "AWS::IAM::ManagedPolicy",
            PolicyDocument=policy(
                allow("emr-serverless:StartJobRun", att("App")),
                allow(["emr-serverless:GetJobRun", "emr-serverless:CancelJobRun"], join(att("App"), "/jobruns/*")),
                allow("iam:PassRole", att("Job"), Condition={"StringEquals": {"iam:PassedToService": EMR}}),
            ),
        ),
        "Guest": resource(
            "AWS::IAM::Role",
            RoleName="guest",
            Path="/guests/",
            AssumeRolePolicyDocument=policy(
                {"Effect": "Allow", "Principal": {"AWS": att("Job")}, "Action": "sts:AssumeRole"}
            ),
            PermissionsBoundary={"Ref": "Notify"},
            Policies=inline(
                "AllButDelete", {"Effect": "Allow", "NotAction": ["s3:DeleteObject", "kms:*"], "Resource": "*"}
            ),
        ),
    },
}


def changed(logical_id: str, **properties: Any) -> Stack:
    template = copy.deepcopy(TEMPLATE)
    template["Resources"][logical_id]["Properties"] |= properties
    return Stack(template)


def extended(logical_id: str, addition: dict[str, Any]) -> Stack:
    return Stack(TEMPLATE | {"Resources": TEMPLATE["Resources"] | {logical_id: addition}})


STACK = Stack(TEMPLATE)
BUCKET, APP = STACK.att("Data", "Arn"), STACK.att("App", "Arn")
KEY, LENT_KEY = STACK.att("Key", "Arn"), STACK.att("LentKey", "Arn")
GROUP, TOPIC = STACK.att("Group", "Arn"), STACK.ref("Topic")
JOB, GUEST, SUBMITTER = STACK.role("Job"), STACK.role("Guest"), STACK.managed_policy("Submit")
NOBODY = Identity(f"arn:aws:iam::{ACCOUNT}:role/nobody")
TABLE: list[tuple[bool, Identity | str, str, str, dict[str, str]]] = [
    # Inline policy: conditions and prefixes.
    (True, JOB, "s3:ListBucket", BUCKET, {"s3:prefix": "in/"}),
    (True, JOB, "s3:ListBucket", BUCKET, {"s3:prefix": "in"}),
    (False, JOB, "s3:ListBucket", BUCKET, {"s3:prefix": "inner"}),
    (False, JOB, "s3:ListBucket", BUCKET, {"s3:prefix": ""}),
    (False, JOB, "s3:ListBucket", BUCKET, {}),
    (True, JOB, "s3:GetObject", f"{BUCKET}/in/a.jpg", {}),
    (False, JOB, "s3:GetObject", f"{BUCKET}/out/a.jpg", {}),
    (False, JOB, "s3:GetObject", f"{BUCKET}-2/in/a.jpg", {}),
    (False, JOB, "s3:PutObject", f"{BUCKET}/in/a.jpg", {}),
    # A Deny goes before any Allow, in the role's policy as in the bucket's.
    (False, JOB, "s3:GetObject", f"{BUCKET}/in/secret/a.jpg", {}),
    (False, JOB, "s3:GetObject", f"{BUCKET}/in/a.jpg", {"aws:SecureTransport": "false"}),
    # Who asks may be named, and be a session.
    (True, JOB.arn, "s3:GetObject", f"{BUCKET}/in/a.jpg", {}),
    (True, JOB.session().principal, "s3:GetObject", f"{BUCKET}/in/a.jpg", {}),
    (False, JOB.session(), "s3:GetObject", f"{BUCKET}/out/a.jpg", {}),
    (False, NOBODY, "s3:GetObject", f"{BUCKET}/in/a.jpg", {}),
    # Both kinds of attached policies.
    (True, JOB, "sns:Publish", TOPIC, {}),
    (True, JOB, "logs:DescribeLogGroups", "*", {}),
    (True, JOB, "logs:PutLogEvents", GROUP.replace(":*", ":log-stream:a/b"), {}),
    (True, JOB, "logs:DescribeLogStreams", GROUP.replace(":*", ":log-stream:"), {}),
    (False, JOB, "logs:PutLogEvents", GROUP.replace(":*", "2:log-stream:a/b"), {}),
    # A key's policy must hand over to the account, and the account's policy must grant.
    (True, JOB, "kms:Decrypt", KEY, VIA_S3),
    (False, JOB, "kms:Decrypt", KEY, {}),
    (False, JOB, "kms:Decrypt", LENT_KEY, VIA_S3),
    (False, SUBMITTER, "kms:Decrypt", KEY, VIA_S3),
    (
        True,
        "logs.eu-west-3.amazonaws.com",
        "kms:Decrypt",
        KEY,
        {"kms:EncryptionContext:aws:logs:arn": GROUP[:-2]},
    ),
    (False, "logs.eu-west-3.amazonaws.com", "kms:Decrypt", KEY, {"kms:EncryptionContext:aws:logs:arn": TOPIC}),
    (False, "logs.eu-west-3.amazonaws.com", "kms:Decrypt", KEY, {}),
    # EMR Serverless: an application is not its runs.
    (True, SUBMITTER, "emr-serverless:StartJobRun", APP, {}),
    (False, SUBMITTER, "emr-serverless:StartJobRun", f"{APP}0", {}),
    (True, SUBMITTER, "emr-serverless:CancelJobRun", f"{APP}/jobruns/00r1", {}),
    (False, JOB, "emr-serverless:CancelJobRun", f"{APP}/jobruns/00r1", {}),
    (True, SUBMITTER, "iam:PassRole", JOB.arn, {"iam:PassedToService": EMR}),
    (False, SUBMITTER, "iam:PassRole", JOB.arn, {"iam:PassedToService": "ec2.amazonaws.com"}),
    (False, SUBMITTER, "iam:PassRole", GUEST.arn, {"iam:PassedToService": EMR}),
    # A resource's policy alone is enough for a service, and only for the one it names.
    (True, "events.amazonaws.com", "sns:Publish", TOPIC, {}),
    (False, "cloudwatch.amazonaws.com", "sns:Publish", TOPIC, {}),
    # NotAction, below a boundary that only lets SNS through.
    (True, GUEST, "sns:Publish", TOPIC, {}),
    (False, GUEST, "s3:GetObject", f"{BUCKET}/in/a.jpg", {}),
    # Trust.
    (True, JOB, "sts:AssumeRole", GUEST.arn, {}),
    (False, SUBMITTER, "sts:AssumeRole", GUEST.arn, {}),
]


def test_outcomes_worked_out_by_hand() -> None:
    verdicts = STACK.judge([Request(*row[1:]) for row in TABLE])
    assert [str(verdict) for verdict, row in zip(verdicts, TABLE, strict=True) if verdict.allowed != row[0]] == []


def test_not_action_without_a_boundary() -> None:
    template = copy.deepcopy(TEMPLATE)
    del template["Resources"]["Guest"]["Properties"]["PermissionsBoundary"]
    stack = Stack(template)
    requests = [Request(GUEST.arn, action, f"{BUCKET}/a") for action in ("s3:GetObject", "s3:DeleteObject")]
    assert stack.allowed(requests) == [True, False]


def test_a_reason_names_the_statement() -> None:
    granted, denied, refused = STACK.judge(
        [Request(JOB, "s3:GetObject", f"{BUCKET}/{key}") for key in ("in/a", "in/secret/a", "out/a")]
    )
    assert "Job/Read" in granted.reason
    assert (denied.outcome, "Job/Read #Secret" in denied.reason) == ("ExplicitlyDenied", True)
    assert (refused.outcome, "Job/Read #2: other resource" in refused.reason) == ("ImplicitlyDenied", True)


@pytest.mark.parametrize(
    ("service", "context", "expected"),
    [
        (EMR, {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": APP}, True),
        (EMR, {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": f"{APP}0"}, False),
        (EMR, {"aws:SourceAccount": "222222222222", "aws:SourceArn": APP}, False),
        (EMR, {"aws:SourceAccount": ACCOUNT}, False),
        ("ec2.amazonaws.com", {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": APP}, False),
    ],
)
def test_trust(service: str, context: dict[str, str], expected: bool) -> None:
    assert STACK.assume("Job", service, context).allowed is expected


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(SUBMITTER, "emr-serverless:DescribeApplication", APP), "invalid.action"),
        (Request(SUBMITTER, "emr-server:GetApplication", APP), "invalid.service"),
        (Request(SUBMITTER, "emr-serverless:GetJobRun", APP), "no.resource.types"),
        (Request(SUBMITTER, "emr-serverless:StartJobRun", f"{APP}/jobruns/1"), "applies to application, .* is jobRun"),
        (Request(JOB, "s3:ListBucket", f"{BUCKET}/in"), "no.resource.types"),
        (Request(JOB, "s3:GetObject", f"{BUCKET}/in/*"), "needs one resource"),
        (Request(JOB, "s3:GetObject", "*"), "needs one resource"),
        (Request(JOB, "logs:DescribeLogGroups", GROUP), "must.use.wildcard"),
        (Request(JOB, "s3:GetObject", f"{BUCKET}/in/a", {"s3:prefix": "in"}), "no context key s3:prefix"),
        (Request(JOB, "s3:GetObject", f"{BUCKET}/in/a", {"s3:prefx": "in"}), "no context key s3:prefx"),
        (Request(JOB, "s3:GetObject", f"{BUCKET}/in/a", {"kms:EncryptionContext:a": "in"}), "no context key kms:Enc"),
        (Request(JOB, "s3:ListBucket", BUCKET, {"s3:prefix": ["in", "out"]}), "has one value"),
        (Request("emr-serverless.amazon.com", "s3:GetObject", f"{BUCKET}/in/a"), "neither a service nor a role"),
        (Request(f"{JOB.arn}2", "s3:GetObject", f"{BUCKET}/in/a"), "neither a service nor a role"),
        (Request(JOB, "kms:Decrypt", f"{KEY}2", VIA_S3), "policy of .* is not in this template"),
        (Request(JOB, "sts:AssumeRole", f"{JOB.arn}2"), "no role of this template"),
    ],
)
def test_what_cannot_be_asked_is_not_a_refusal(request_: Request, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        STACK.judge([request_])


def test_an_invalid_request_can_be_kept_but_is_neither_true_nor_false() -> None:
    [verdict] = STACK.judge([Request(SUBMITTER, "emr-serverless:DescribeApplication", APP)], keep_invalid=True)
    assert verdict.outcome == "Invalid"
    with pytest.raises(InvalidRequestError, match="DescribeApplication"):
        bool(verdict)


def test_context_is_text() -> None:
    context: Any = {"aws:SecureTransport": False}
    with pytest.raises(TypeError, match="aws:SecureTransport is False"):
        STACK.allowed([Request(JOB, "s3:GetObject", f"{BUCKET}/in/a", context)])


def test_a_policy_of_aws_itself_cannot_be_judged() -> None:
    stack = changed("Job", ManagedPolicyArns=["arn:aws:iam::aws:policy/ReadOnlyAccess"])
    with pytest.raises(InvalidRequestError, match="ReadOnlyAccess"):
        stack.allowed([Request(stack.role("Job"), "s3:GetObject", f"{BUCKET}/in/a")])


@pytest.mark.parametrize(
    ("kind", "properties"),
    [
        ("AWS::IAM::Policy", {"PolicyName": "More", "Roles": [{"Ref": "Job"}]}),
        ("AWS::IAM::RolePolicy", {"PolicyName": "More", "RoleName": {"Ref": "Job"}}),
        ("AWS::IAM::ManagedPolicy", {"Roles": [{"Ref": "Job"}]}),
    ],
)
def test_a_policy_may_say_itself_whose_it_is(kind: str, properties: dict[str, Any]) -> None:
    document = policy(allow("s3:PutObject", join(att("Data"), "/in/*")))
    stack = extended("More", resource(kind, PolicyDocument=document, **properties))
    requests = [Request(stack.role(role), "s3:PutObject", f"{BUCKET}/in/a") for role in ("Job", "Guest")]
    assert stack.allowed(requests) == [True, False]


def test_a_bucket_has_one_policy() -> None:
    stack = extended("Second", TEMPLATE["Resources"]["DataPolicy"])
    with pytest.raises(InvalidRequestError, match="two resource policies"):
        stack.allowed([Request(JOB, "s3:GetObject", f"{BUCKET}/in/a")])


def test_what_exists_under_a_condition_is_not_judged() -> None:
    stack = extended("Second", TEMPLATE["Resources"]["Submit"] | {"Condition": "Sometimes"})
    with pytest.raises(UnresolvedError, match="Second exists under condition Sometimes"):
        stack.managed_policy("Submit")


def test_a_policy_that_names_no_arn_is_refused() -> None:
    with pytest.raises(UnresolvedError, match="neither"):
        changed("Submit", PolicyDocument=policy(allow("s3:GetObject", {"Ref": "Data"}))).managed_policy("Submit")


def test_a_policy_with_an_unknown_element_is_an_error() -> None:
    stack = changed("Submit", PolicyDocument=policy(allow("s3:GetObject", "*", Conditions={})))
    with pytest.raises(InvalidRequestError, match=r"policy\.errors"):
        stack.allowed([Request(stack.managed_policy("Submit"), "s3:GetObject", f"{BUCKET}/a")])


def test_policies_of_what_was_there_before_are_given() -> None:
    outside = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0b4ed1cb-9e4d-4bd1-a3ac-4a6d7d3a4d3d"
    own = policy(OWN_ACCOUNT | {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}})
    stack = Stack(TEMPLATE, policies={outside: own})
    somebody = Identity(NOBODY.arn, (("Decrypt", policy(allow("kms:Decrypt", outside))),))
    assert stack.allowed([Request(who, "kms:Decrypt", outside) for who in (somebody, NOBODY)]) == [True, False]


def test_actions_are_found_in_every_kind_of_policy() -> None:
    found = actions(TEMPLATE)
    assert {"s3:GetObject", "sts:AssumeRole", "kms:*", "s3:DeleteObject", "iam:PassRole", "sns:Publish"} <= found
    assert all(known_actions(found).values())


def test_known_actions() -> None:
    expected = {
        "s3:GetObject": True,
        "s3:HeadObject": False,
        "emr-serverless:StartJobRun": True,
        "emr-serverless:StopJobRun": False,
        "emr-serverless:Get*": True,
        "emr-serverless:Head*": False,
        "nowhere:Get": False,
        "kms:*": True,
        "*": True,
        "GetObject": False,
    }
    assert known_actions(expected) == expected


def test_operations() -> None:
    assert is_operation("emr-serverless:StartJobRun")
    assert is_operation("elasticmapreduce:RunJobFlow")
    assert not is_operation("emr-serverless:DescribeApplication")
    assert not is_operation("iam:PassRole")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Ref": "AWS::StackName"}, "stack"),
        ({"Ref": "BootstrapVersion"}, "/cdk-bootstrap/hnb659fds/version"),
        ({"Fn::Sub": "${AWS::Partition}/${App.Arn}/${!aws:username}"}, f"aws/{APP}/${{aws:username}}"),
        ({"Fn::Sub": ["${a}-${Topic}", {"a": {"Ref": "AWS::Region"}}]}, f"{REGION}-{TOPIC}"),
        ({"Fn::Select": [5, {"Fn::Split": [":", {"Ref": "Topic"}]}]}, TOPIC.split(":")[5]),
        ([{"a": join("b", 1)}], [{"a": "b1"}]),
        (att("Guest"), f"arn:aws:iam::{ACCOUNT}:role/guests/guest"),
    ],
)
def test_intrinsics(value: Any, expected: Any) -> None:
    assert STACK.resolve(value) == expected


@pytest.mark.parametrize(
    "value",
    [{"Ref": "No"}, {"Fn::GetAtt": ["App", "Architecture"]}, {"Fn::If": ["A", 1, 2]}, {"Fn::ImportValue": "x"}],
)
def test_an_unknown_reference_is_an_error(value: Any) -> None:
    with pytest.raises(UnresolvedError):
        STACK.resolve(value)


def test_values_can_be_given() -> None:
    template = TEMPLATE | {"Parameters": {"Size": {"Type": "String"}}}
    with pytest.raises(UnresolvedError, match="Size has no default"):
        Stack(template).ref("Size")
    stack = Stack(template, refs={"Size": "3", "App": "00f1", "App.Arn": "arn:x"})
    assert stack.resolve([{"Ref": "Size"}, {"Ref": "App"}, att("App")]) == ["3", "00f1", "arn:x"]


@pytest.mark.parametrize("absent", ["node", "simulator"])
def test_what_is_absent_is_a_skip_that_says_so(absent: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stack = STACK
    if absent == "node":
        monkeypatch.setenv("PATH", "")
    else:
        stack = Stack(TEMPLATE, node_modules=tmp_path)
    with pytest.raises(pytest.skip.Exception, match=r"^SKIPPED, NOT PROVEN: "):
        stack.allowed([])
