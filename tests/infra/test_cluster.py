"""The stack for EMR on EC2: what a cluster is started with, and that nothing of it stands there and costs."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.infra.conftest import Synthesize, of_type, only
from tests.infra.test_stack import logical_id

EVERYTHING: dict[str, Any] = {
    "compute": "cluster",
    "schedule": "03:30",
    "vpc": "vpc-12345678",
    "subnets": "subnet-12345678,subnet-22345678",
    "images_bucket": "old-images",
    "images_prefix": "archive",
}
TAG = {"Key": "for-use-with-amazon-emr-managed-policies", "Value": "true"}


@pytest.mark.parametrize("settings", [{"compute": "cluster"}, EVERYTHING], ids=["own network", "existing network"])
def test_nothing_costs_by_the_hour(synthesize: Synthesize, settings: dict[str, Any]) -> None:
    template = synthesize(**settings)
    by_the_hour = re.compile(
        r"AWS::EC2::(NatGateway|Instance|EIP|FlowLog|InternetGateway)|AWS::EMR::(Cluster|Studio)"
        r"|AWS::(EMRServerless|Lambda|ECS)::|Custom::"
    )
    kinds = {resource["Type"] for resource in template["Resources"].values()}
    assert not [kind for kind in kinds if by_the_hour.match(kind)]
    # Gateway endpoints cost nothing; interfaces do, by the hour.
    assert {properties["VpcEndpointType"] for properties in of_type(template, "AWS::EC2::VPCEndpoint")} <= {"Gateway"}


def test_disks_results_and_connections_are_encrypted_and_only_imdsv2_answers(synthesize: Synthesize) -> None:
    template = synthesize(compute="cluster")
    key = {"Fn::GetAtt": [logical_id(template, only(template, "AWS::KMS::Key")), "Arn"]}
    configuration = only(template, "AWS::EMR::SecurityConfiguration")["SecurityConfiguration"]
    encryption, metadata = (
        configuration["EncryptionConfiguration"],
        configuration["InstanceMetadataServiceConfiguration"],
    )
    assert encryption["EnableAtRestEncryption"] is encryption["EnableInTransitEncryption"] is True
    disks = encryption["AtRestEncryptionConfiguration"]["LocalDiskEncryptionConfiguration"]
    assert disks == {"EncryptionKeyProviderType": "AwsKms", "AwsKmsKey": key, "EnableEbsEncryption": True}
    assert encryption["AtRestEncryptionConfiguration"]["S3EncryptionConfiguration"]["AwsKmsKey"] == key
    tls = encryption["InTransitEncryptionConfiguration"]["TLSCertificateConfiguration"]
    assert tls["CertificateProviderType"] == "PEM"
    assert tls["S3Object"].endswith(".zip")
    assert (metadata["MinimumInstanceMetadataServiceVersion"], metadata["HttpPutResponseHopLimit"]) == (2, 1)
    # The same key encrypts images and results.
    algorithms = [
        rule["ServerSideEncryptionByDefault"].get("KMSMasterKeyID")
        for bucket in of_type(template, "AWS::S3::Bucket")
        for rule in bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    ]
    assert algorithms.count(key) == 2


def rules(template: dict[str, Any], way: str) -> list[tuple[str, str, str, str, Any]]:
    """Return all rules of a way (Ingress, Egress): whose, and from or to where, which protocol and ports."""
    names = {
        name: resource["Properties"]["GroupDescription"].split()[0]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::EC2::SecurityGroup"
    }

    def of(value: Any) -> str:
        return names[value["Fn::GetAtt"][0]] if isinstance(value, dict) else str(value)

    inline = [
        (names[name], rule)
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::EC2::SecurityGroup"
        for rule in resource["Properties"].get(f"SecurityGroup{way}", [])
    ]
    apart = [(of(rule["GroupId"]), rule) for rule in of_type(template, f"AWS::EC2::SecurityGroup{way}")]
    return sorted(
        (
            whose,
            of(rule.get("SourceSecurityGroupId", rule.get("DestinationSecurityGroupId", rule.get("CidrIp")))),
            rule["IpProtocol"],
            str(rule.get("FromPort")),
            rule.get("ToPort"),
        )
        for whose, rule in inline + apart
    )


def test_nothing_comes_in_from_outside_and_tls_alone_goes_out(synthesize: Synthesize) -> None:
    template = synthesize(compute="cluster")
    assert rules(template, "Ingress") == [
        ("EMR", "Nodes", "tcp", "9443", 9443),
        ("Nodes", "EMR", "tcp", "8443", 8443),
        ("Nodes", "Nodes", "-1", "None", None),
    ]
    assert rules(template, "Egress") == [
        ("EMR", "Nodes", "tcp", "8443", 8443),
        ("Nodes", "0.0.0.0/0", "tcp", "443", 443),
        ("Nodes", "EMR", "tcp", "9443", 9443),
        ("Nodes", "Nodes", "-1", "None", None),
    ]


def test_the_network_is_private_with_a_way_to_s3_and_bears_emrs_tag(synthesize: Synthesize) -> None:
    template = synthesize(compute="cluster")
    subnets = of_type(template, "AWS::EC2::Subnet")
    assert len({json.dumps(subnet["AvailabilityZone"]) for subnet in subnets}) == 2
    assert not [subnet for subnet in subnets if subnet.get("MapPublicIpOnLaunch")]
    # No route but the endpoint's own.
    assert not of_type(template, "AWS::EC2::Route")
    endpoint = only(template, "AWS::EC2::VPCEndpoint")
    assert endpoint["RouteTableIds"] == [{"Ref": logical_id(template, only(template, "AWS::EC2::RouteTable"))}]
    assert len(of_type(template, "AWS::EC2::SubnetRouteTableAssociation")) == len(subnets)
    for kind in ("AWS::EC2::Subnet", "AWS::EC2::SecurityGroup", "AWS::EC2::VPC"):
        assert all(TAG in properties["Tags"] for properties in of_type(template, kind)), kind


def test_an_existing_network_gets_two_groups_and_nothing_else(synthesize: Synthesize) -> None:
    template = synthesize(**EVERYTHING)
    kinds = {
        resource["Type"] for resource in template["Resources"].values() if resource["Type"].startswith("AWS::EC2::")
    }
    assert kinds == {f"AWS::EC2::SecurityGroup{way}" for way in ("", "Ingress", "Egress")}
    assert {group["VpcId"] for group in of_type(template, "AWS::EC2::SecurityGroup")} == {"vpc-12345678"}
    assert template["Outputs"]["Subnets"]["Value"] == "subnet-12345678,subnet-22345678"


def test_the_outputs_say_what_a_cluster_is_started_with(synthesize: Synthesize, dist: Path) -> None:
    outputs = {
        name: output["Value"]
        for name, output in synthesize(compute="cluster", worker_vcpu=8, worker_memory_gb=16)["Outputs"].items()
    }
    assert outputs["Target"] == "cluster"
    assert "ApplicationId" not in outputs
    assert outputs["InstanceTypes"] == "m5.2xlarge,m5a.2xlarge,m6i.2xlarge,m6a.2xlarge"
    archive = (dist / "dependencies-x86_64.tgz").read_bytes()
    assert outputs["DependenciesSha256"] == hashlib.sha256(archive).hexdigest()
    assert outputs["Installer"].endswith(".sh")
    arm = synthesize(compute="cluster", architecture="arm64", instance_families="m7g")["Outputs"]
    assert arm["InstanceTypes"]["Value"] == "m7g.xlarge"


def test_failed_runs_are_found_by_the_name_of_clusters_and_steps(synthesize: Synthesize) -> None:
    template = synthesize(compute="cluster", name="trial")
    rule = only(template, "AWS::Events::Rule")
    assert rule["EventPattern"] == {
        "source": ["aws.emr"],
        "detail-type": ["EMR Step Status Change", "EMR Cluster State Change"],
        "detail": {"name": ["trial"], "state": ["FAILED", "CANCELLED", "TERMINATED_WITH_ERRORS"]},
    }
    assert rule["Targets"][0]["InputTransformer"]["InputPathsMap"]["run"] == "$.detail.clusterId"


def test_a_daily_run_is_a_transient_cluster(synthesize: Synthesize) -> None:
    schedule = only(synthesize(compute="cluster", schedule="03:05"), "AWS::Scheduler::Schedule")
    assert schedule["Target"]["Arn"]["Fn::Join"][1][-1] == ":scheduler:::aws-sdk:emr:runJobFlow"
    parts = schedule["Target"]["Input"]["Fn::Join"][1]
    request = json.loads("".join(part if isinstance(part, str) else "later" for part in parts))
    assert request["Instances"]["KeepJobFlowAliveWhenNoSteps"] is False
    assert request["Steps"][0]["ActionOnFailure"] == "TERMINATE_CLUSTER"
    assert "CLIENT_TOKEN=<aws.scheduler.execution-id>" in request["Steps"][0]["HadoopJarStep"]["Args"]
    # A setting of Hadoop is no name of the service's: it keeps its small letters.
    assert "yarn.node-labels.enabled" in request["Configurations"][0]["Properties"]
