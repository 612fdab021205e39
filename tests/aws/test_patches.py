"""What the played AWS does otherwise than plain moto, stack by stack, without cdk; and that nothing of it is left."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import settings
from moto.cloudformation import parsing
from moto.cloudformation.models import CloudFormationBackend
from moto.core.authorization import enable_iam_authentication
from moto.emrserverless.models import EMRServerlessBackend
from moto.s3.models import FakeBucket
from moto.server import ThreadedMotoServer

from tests.aws.server import Server, play


@pytest.fixture
def aws() -> Iterator[Server]:
    with play() as server:
        yield server


def template(**resources: Any) -> str:
    return json.dumps({"Resources": resources})


def of_type(type_: str, *, keep: bool = False, **properties: Any) -> dict[str, Any]:
    return {"Type": type_, "Properties": properties, **({"DeletionPolicy": "Retain"} if keep else {})}


def status(aws: Server, stack: str) -> tuple[str, str]:
    """Return how the stack stands, and the reason that its last event gives."""
    cloudformation = aws.client("cloudformation")
    (described,) = [known for known in cloudformation.list_stacks()["StackSummaries"] if known["StackName"] == stack]
    event = cloudformation.describe_stack_events(StackName=described["StackId"])["StackEvents"][0]
    return described["StackStatus"], event.get("ResourceStatusReason", "")


TOPIC = of_type("AWS::SNS::Topic", TopicName="news")


@pytest.mark.parametrize("unknown", ["AWS::Glue::Database", "Custom::S3AutoDeleteObjects"])
def test_a_type_that_is_not_played_fails_its_stack(aws: Server, unknown: str) -> None:
    cloudformation = aws.client("cloudformation")
    with pytest.raises(ClientError, match=f"{unknown} is not played"):
        cloudformation.create_stack(StackName="a", TemplateBody=template(Topic=TOPIC, Other=of_type(unknown)))
    assert aws.skipped == [unknown]
    assert status(aws, "a") == (
        "ROLLBACK_COMPLETE",
        f"{unknown} is not played by the test server (tests/aws/moto_resources.py)",
    )
    assert aws.resources("AWS::SNS::Topic") == []
    assert aws.client("sns").list_topics()["Topics"] == []


def test_a_first_change_set_that_fails_leaves_no_half_made_stack(aws: Server) -> None:
    """That is how `cdk bootstrap` works; plain moto has it pass for done."""
    cloudformation = aws.client("cloudformation")
    body = template(Topic=TOPIC, Other=of_type("AWS::S3::Bucket", Nonsense=1))
    cloudformation.create_change_set(StackName="a", ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=body)
    with pytest.raises(ClientError, match="does not keep Nonsense"):
        cloudformation.execute_change_set(StackName="a", ChangeSetName="c")
    assert status(aws, "a")[0] == "ROLLBACK_COMPLETE"
    assert aws.client("sns").list_topics()["Topics"] == []
    assert aws.client("s3").list_buckets()["Buckets"] == []


def test_a_failed_creation_gives_its_exports_back(aws: Server) -> None:
    cloudformation = aws.client("cloudformation")
    output = {"Name": {"Value": {"Ref": "Topic"}, "Export": {"Name": "shared"}}}
    body = {"Resources": {"Topic": TOPIC, "Other": of_type("AWS::Glue::Database")}, "Outputs": output}
    with pytest.raises(ClientError, match="not played"):
        cloudformation.create_stack(StackName="a", TemplateBody=json.dumps(body))
    body["Resources"] = {"Topic": TOPIC}
    cloudformation.create_stack(StackName="b", TemplateBody=json.dumps(body))
    with pytest.raises(ClientError, match="already exists"):
        cloudformation.create_stack(StackName="b", TemplateBody=json.dumps(body))
    assert status(aws, "b")[0] == "CREATE_COMPLETE"


def test_a_property_that_the_service_does_not_know_fails(aws: Server) -> None:
    bad = of_type("AWS::EMRServerless::Application", Type="SPARK", ReleaseLabel="emr-spark-8.1.0", Speed=3)
    with pytest.raises(ClientError, match="has no Speed"):
        aws.client("cloudformation").create_stack(StackName="a", TemplateBody=template(A=bad))
    bad = of_type("AWS::EMRServerless::Application", Type="SPARK", ReleaseLabel="emr-rocket-8.1.0")
    with pytest.raises(ClientError, match=r"emr-rocket-8\.1\.0"):
        aws.client("cloudformation").create_stack(StackName="b", TemplateBody=template(A=bad))


def test_an_attribute_that_is_not_there_fails(aws: Server) -> None:
    body = template(Topic=TOPIC, Lines=of_type("AWS::Logs::LogGroup", LogGroupName={"Fn::GetAtt": ["Topic", "Colour"]}))
    with pytest.raises(ClientError, match="Colour"):
        aws.client("cloudformation").create_stack(StackName="a", TemplateBody=body)


def test_a_type_that_moto_cannot_change_fails_the_update(aws: Server) -> None:
    cloudformation = aws.client("cloudformation")
    vpc = of_type("AWS::EC2::VPC", CidrBlock="10.0.0.0/16")
    cloudformation.create_stack(StackName="a", TemplateBody=template(Vpc=vpc))
    vpc["Properties"]["CidrBlock"] = "10.1.0.0/16"
    with pytest.raises(ClientError, match="AWS::EC2::VPC cannot be changed"):
        cloudformation.update_stack(StackName="a", TemplateBody=template(Vpc=vpc))
    assert set(aws.skipped) == {"AWS::EC2::VPC"}
    assert status(aws, "a")[0] == "UPDATE_ROLLBACK_COMPLETE"


def test_a_failed_update_can_be_tried_again(aws: Server) -> None:
    """And cdk does not take it for no change: the stack still has the template that it had."""
    cloudformation, lines = aws.client("cloudformation"), of_type("AWS::Logs::LogGroup", LogGroupName="lines")
    cloudformation.create_stack(StackName="a", TemplateBody=template(Topic=TOPIC, Lines=lines))
    for days, outcome in ((4, "UPDATE_ROLLBACK_COMPLETE"), (4, "UPDATE_ROLLBACK_COMPLETE"), (5, "UPDATE_COMPLETE")):
        changed = of_type("AWS::Logs::LogGroup", LogGroupName="lines", RetentionInDays=days)
        more: dict[str, Any] = {"Colour": 1} if days == 4 else {}
        bad = of_type("AWS::SNS::Topic", TopicName="news", DisplayName="x", **more)
        changes = template(Topic=bad, Lines=changed)
        with pytest.raises(ClientError, match="does not keep Colour") if days == 4 else contextlib.nullcontext():
            cloudformation.update_stack(StackName="a", TemplateBody=changes)
        assert status(aws, "a")[0] == outcome
        held = cloudformation.get_template(StackName="a")["TemplateBody"]
        assert ("DisplayName" in json.dumps(held)) == (days == 5)
    (group,) = aws.client("logs").describe_log_groups()["logGroups"]
    assert group["retentionInDays"] == 5
    (topic,) = aws.resources("AWS::SNS::Topic")
    assert topic.properties["DisplayName"] == "x"


def test_what_is_retained_stays_and_what_is_full_is_not_deleted(aws: Server) -> None:
    cloudformation, s3 = aws.client("cloudformation"), aws.client("s3")
    both = {
        "Kept": of_type("AWS::S3::Bucket", keep=True, BucketName="kept"),
        "Other": of_type("AWS::S3::Bucket", BucketName="other"),
    }
    cloudformation.create_stack(StackName="a", TemplateBody=template(**both))
    # Taken out of the template, it stays as well.
    cloudformation.update_stack(StackName="a", TemplateBody=template(Other=both["Other"]))
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["kept", "other"]
    s3.put_object(Bucket="other", Key="k", Body=b"")
    with pytest.raises(ClientError, match="BucketNotEmpty"):
        cloudformation.delete_stack(StackName="a")
    assert status(aws, "a")[0] == "DELETE_FAILED"
    s3.delete_object(Bucket="other", Key="k")
    cloudformation.delete_stack(StackName="a")
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["kept"]


def test_what_an_update_took_away_comes_back_with_the_next(aws: Server) -> None:
    cloudformation, lines = aws.client("cloudformation"), of_type("AWS::Logs::LogGroup", LogGroupName="lines")
    cloudformation.create_stack(StackName="a", TemplateBody=template(Topic=TOPIC, Lines=lines))
    cloudformation.update_stack(StackName="a", TemplateBody=template(Lines=lines))
    assert aws.client("sns").list_topics()["Topics"] == []
    cloudformation.update_stack(StackName="a", TemplateBody=template(Topic=TOPIC, Lines=lines))
    assert len(aws.client("sns").list_topics()["Topics"]) == 1
    renamed = of_type("AWS::Logs::LogGroup", LogGroupName="renamed", RetentionInDays=3)
    cloudformation.update_stack(StackName="a", TemplateBody=template(Topic=TOPIC, Lines=renamed))
    assert [group["logGroupName"] for group in aws.client("logs").describe_log_groups()["logGroups"]] == ["renamed"]


def test_a_bucket_loses_what_its_template_no_longer_says(aws: Server) -> None:
    cloudformation, s3 = aws.client("cloudformation"), aws.client("s3")
    rules = [
        {"Id": "cold", "Status": "Enabled", "Transitions": [{"StorageClass": "GLACIER", "TransitionInDays": 30}]},
        {"Id": "gone", "Status": "Enabled", "Prefix": "logs/", "ExpirationInDays": 30},
    ]
    full = of_type(
        "AWS::S3::Bucket",
        BucketName="one",
        VersioningConfiguration={"Status": "Enabled"},
        LifecycleConfiguration={"Rules": rules},
        PublicAccessBlockConfiguration={"BlockPublicAcls": "true"},
        Tags=[{"Key": "a", "Value": "b"}],
    )
    cloudformation.create_stack(StackName="a", TemplateBody=template(One=full))
    cold, gone = s3.get_bucket_lifecycle_configuration(Bucket="one")["Rules"]
    assert cold["Transitions"] == [{"Days": 30, "StorageClass": "GLACIER"}]
    assert (gone["Expiration"], gone["Filter"]) == ({"Days": 30}, {"Prefix": "logs/"})
    assert s3.get_bucket_tagging(Bucket="one")["TagSet"] == [{"Key": "a", "Value": "b"}]
    cloudformation.update_stack(StackName="a", TemplateBody=template(One=of_type("AWS::S3::Bucket", BucketName="one")))
    assert s3.get_bucket_versioning(Bucket="one")["Status"] == "Suspended"
    for operation in ("lifecycle_configuration", "tagging"):
        with pytest.raises(ClientError, match="NoSuch"):
            getattr(s3, f"get_bucket_{operation}")(Bucket="one")


def test_iam_can_be_enforced_for_a_while(aws: Server) -> None:
    with enable_iam_authentication(), pytest.raises(ClientError, match="InvalidAccessKeyId"):
        aws.client("s3").list_buckets()
    aws.client("s3").list_buckets()
    assert float("inf") == settings.INITIAL_NO_AUTH_ACTION_COUNT


def test_nothing_is_left_of_it() -> None:
    def replaced() -> list[object]:
        return [
            parsing.resource_class_from_type,
            parsing.resource_name_property_from_type,
            parsing.parse_and_update_resource,
            parsing.get_model_list(),
            {**vars(parsing.ResourceMap)},
            {**vars(CloudFormationBackend)},
            {**vars(EMRServerlessBackend)},
            {**vars(FakeBucket)},
            settings.INITIAL_NO_AUTH_ACTION_COUNT,
        ]

    before = replaced()
    with play() as aws:
        assert replaced() != before
        aws.client("s3").create_bucket(Bucket="one", CreateBucketConfiguration={"LocationConstraint": "eu-west-3"})
    assert replaced() == before
    plain = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    plain.start()
    host, port = plain.get_host_and_port()
    session = boto3.session.Session("testing", "testing", region_name="eu-west-3")
    client = session.client("s3", endpoint_url=f"http://{host}:{port}")
    assert client.list_buckets()["Buckets"] == []
    client.close()
    plain.stop()
