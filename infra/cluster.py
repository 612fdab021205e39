"""EMR on EC2: everything that a cluster is started with, at no hourly cost; the submitter starts the cluster."""

from collections.abc import Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_emr as emr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra import permissions
from infra.operations import Alerts
from submit.request.cluster import MANAGED_TAG, run_job_flow, step
from submit.request.targets import Cluster, JobSpec, Workers

SERVICE_POLICY = "service-role/AmazonEMRServicePolicy_v2"
# Two zones, so that a fleet finds capacity in either; 1,019 nodes in each.
VPC_RANGE = "10.20.0.0/21"
SUBNET_RANGES = ("10.20.0.0/22", "10.20.4.0/22")
# Ports on which EMR connects to its nodes, and they to EMR, in a private subnet.
# https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-man-sec-groups.html
EMR_TO_NODES, NODES_TO_EMR = 8443, 9443


class Network(Construct):
    """Subnets and security groups: no ingress from outside, and only TLS out.

    A network that the stack makes has no way out but to S3, through an endpoint that costs nothing. A cluster needs no
    more: EMR puts its own interface into the subnet, and EBS and S3 call KMS themselves.
    """

    def __init__(self, scope: Construct, construct_id: str, *, vpc_id: str, subnet_ids: Sequence[str]) -> None:
        """Make the groups, and the network where no VPC is given. Subnets of an existing VPC must have EMR's tag."""
        super().__init__(scope, construct_id)
        if not vpc_id:
            vpc_id, subnet_ids = self._private()
        self.subnet_ids = list(subnet_ids)
        # From attributes, as a lookup would need credentials to synthesize; the zones are not used.
        vpc = ec2.Vpc.from_vpc_attributes(self, "Vpc", vpc_id=vpc_id, availability_zones=["unknown"])
        nodes, service = (
            ec2.SecurityGroup(self, name, vpc=vpc, description=text, allow_all_outbound=False)
            for name, text in (("Nodes", "Nodes of EMR clusters"), ("Service", "EMR itself on its way to the nodes"))
        )
        # All rules that EMR needs: it adds those that are missing, which would block the deletion of the stack.
        nodes.add_ingress_rule(nodes, ec2.Port.all_traffic(), "nodes among themselves")
        nodes.add_egress_rule(nodes, ec2.Port.all_traffic(), "nodes among themselves")
        nodes.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "S3")
        nodes.add_ingress_rule(service, ec2.Port.tcp(EMR_TO_NODES), "EMR to its nodes")
        service.add_egress_rule(nodes, ec2.Port.tcp(EMR_TO_NODES), "EMR to its nodes")
        service.add_ingress_rule(nodes, ec2.Port.tcp(NODES_TO_EMR), "nodes to EMR")
        nodes.add_egress_rule(service, ec2.Port.tcp(NODES_TO_EMR), "nodes to EMR")
        self.nodes, self.service = nodes, service
        cdk.Tags.of(self).add(MANAGED_TAG, "true")

    def _private(self) -> tuple[str, list[str]]:
        """Make a VPC with subnets in two zones; return their IDs."""
        vpc = ec2.CfnVPC(self, "Own", cidr_block=VPC_RANGE, enable_dns_support=True, enable_dns_hostnames=True)
        cdk.Validations.of(vpc).acknowledge(
            cdk.Acknowledgment(
                id="AwsSolutions-VPC7",
                reason="the only route leads to S3, where the buckets of this stack log each access",
            )
        )
        routes = ec2.CfnRouteTable(self, "Routes", vpc_id=vpc.ref)
        ec2.CfnVPCEndpoint(
            self,
            "S3",
            vpc_id=vpc.ref,
            service_name=f"com.amazonaws.{cdk.Aws.REGION}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[routes.ref],
        )
        subnets = []
        for number, cidr in enumerate(SUBNET_RANGES):
            zone = cdk.Fn.select(number, cdk.Fn.get_azs())
            subnet = ec2.CfnSubnet(self, f"Subnet{number + 1}", vpc_id=vpc.ref, cidr_block=cidr, availability_zone=zone)
            ec2.CfnSubnetRouteTableAssociation(
                self, f"Route{number + 1}", subnet_id=subnet.ref, route_table_id=routes.ref
            )
            subnets.append(subnet.ref)
        return vpc.ref, subnets


class ClusterCompute(Construct):
    """The roles of clusters, their network, and their encryption."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        release: str,
        instance_types: str,
        idle_minutes: int,
        network: Network,
        key: kms.IKey,
        certificates: str,
        installer: str,
        dependencies_sha256: str,
    ) -> None:
        """Make the roles and the security configuration.

        Parameters
        ----------
        scope, construct_id
            As for every construct.
        release, instance_types : str
            EMR release; instance types that a node may have, separated by commas.
        idle_minutes : int
            Idle minutes after which a cluster that is kept terminates.
        network : Network
            Network of the nodes.
        key : IKey
            What encrypts their disks and what they write.
        certificates, installer : str
            `s3://` addresses of the certificates for traffic between nodes, and of the bootstrap action.
        dependencies_sha256 : str
            SHA-256 of the archive that the bootstrap action installs.
        """
        super().__init__(scope, construct_id)
        stack = self._stack = cdk.Stack.of(self)
        self._clusters = stack.format_arn(service="elasticmapreduce", resource="cluster", resource_name="*")
        self._job_role = iam.Role(
            self,
            "JobRole",
            description=f"Role of the nodes and runs of clusters of {stack.stack_name}",
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
        )
        profile = iam.CfnInstanceProfile(self, "InstanceProfile", roles=[self._job_role.role_name])
        self._service_role = self._make_service_role(key)
        security = emr.CfnSecurityConfiguration(
            self, "Security", security_configuration=_security(key.key_arn, certificates)
        )
        self._target = Cluster(
            release=release,
            instance_types=instance_types,
            subnets=cdk.Fn.join(",", network.subnet_ids),
            service_role=self._service_role.role_name,
            instance_profile=profile.ref,
            security_configuration=security.ref,
            node_group=network.nodes.security_group_id,
            service_group=network.service.security_group_id,
            installer=installer,
            dependencies_sha256=dependencies_sha256,
            idle_minutes=idle_minutes,
        )

    def _make_service_role(self, key: kms.IKey) -> iam.Role:
        stack = self._stack
        resources = stack.format_arn(service="elasticmapreduce", resource="*")
        role = iam.Role(
            self,
            "ServiceRole",
            description=f"Role of EMR itself for clusters of {stack.stack_name}",
            assumed_by=iam.ServicePrincipal(
                "elasticmapreduce.amazonaws.com",
                conditions={
                    "StringEquals": {"aws:SourceAccount": stack.account},
                    "ArnLike": {"aws:SourceArn": resources},
                },
            ),
            managed_policies=[iam.ManagedPolicy.from_aws_managed_policy_name(SERVICE_POLICY)],
        )
        cdk.Validations.of(role).acknowledge(
            cdk.Acknowledgment(
                id=f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{SERVICE_POLICY}]",
                reason="AWS maintains this policy as EMR changes; it covers only resources with EMR's tag",
            )
        )
        permissions.give(
            role,
            [*permissions.pass_role(self._job_role.role_arn, "ec2"), *permissions.encrypt_disks(key.key_arn)],
        )
        return role

    @property
    def job_role(self) -> iam.Role:
        """The role that a run assumes; it has no grants yet."""
        return self._job_role

    @property
    def target(self) -> Cluster:
        """The target, as the outputs describe it to the submitter."""
        return self._target

    @property
    def failures(self) -> dict[str, Any]:
        """Pattern of the events of failed and cancelled runs: clusters and steps have the name of the stack."""
        return {
            "source": ["aws.emr"],
            "detail-type": ["EMR Step Status Change", "EMR Cluster State Change"],
            "detail": {"name": [self._stack.stack_name], "state": ["FAILED", "CANCELLED", "TERMINATED_WITH_ERRORS"]},
        }

    @property
    def failed_run(self) -> str:
        """Path of the run's name in such an event."""
        return "$.detail.clusterId"

    def watch(self, alerts: Alerts, minutes: int) -> None:
        """Add nothing: the metrics of a cluster have its ID, which is not known before it starts."""

    def job_grants(self) -> list[permissions.Grant]:
        """Return what the job's role needs beside buckets and code: nothing, as EMR itself copies the logs."""
        return []

    def start_grants(self) -> list[permissions.Grant]:
        """Return the permission to start runs."""
        return [
            *permissions.start_clusters(self._stack.stack_name, self._clusters),
            *permissions.pass_role(self._job_role.role_arn, "ec2"),
            *permissions.pass_role(self._service_role.role_arn, "elasticmapreduce"),
        ]

    def follow_grants(self) -> list[permissions.Grant]:
        """Return the permission to follow, list and cancel runs."""
        return permissions.follow_clusters(self._stack.stack_name, self._clusters)

    def daily(self, job: JobSpec, workers: Workers, token: str) -> tuple[str, dict[str, Any]]:
        """Return the operation that starts a run, as EventBridge Scheduler names it, and its request."""
        run = step(job, workers, token, name=self._stack.stack_name)
        return "emr:runJobFlow", run_job_flow(self._target, job, workers, run)


def _security(key_arn: str, certificates: str) -> dict[str, Any]:
    """Return a configuration that encrypts data at rest and in transit, and that allows only IMDSv2.

    https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-create-security-configuration.html
    """
    return {
        "EncryptionConfiguration": {
            "EnableAtRestEncryption": True,
            "AtRestEncryptionConfiguration": {
                "S3EncryptionConfiguration": {"EncryptionMode": "SSE-KMS", "AwsKmsKey": key_arn},
                "LocalDiskEncryptionConfiguration": {
                    "EncryptionKeyProviderType": "AwsKms",
                    "AwsKmsKey": key_arn,
                    "EnableEbsEncryption": True,
                },
            },
            "EnableInTransitEncryption": True,
            "InTransitEncryptionConfiguration": {
                "TLSCertificateConfiguration": {"CertificateProviderType": "PEM", "S3Object": certificates}
            },
        },
        "InstanceMetadataServiceConfiguration": {
            "MinimumInstanceMetadataServiceVersion": 2,
            "HttpPutResponseHopLimit": 1,
        },
    }
