"""Where the job runs, as the stack sees it, and the first construct behind that: EMR Serverless."""

from collections.abc import Sequence
from typing import Any, Protocol

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_emrserverless as emrserverless
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra import permissions
from submit.request.serverless import scheduled, start_job_run
from submit.request.targets import Application, JobSpec, Target, Workers

# A run waits for so long for the one before it to end.
QUEUE_MINUTES = 360


class Compute(Protocol):
    """What the stack knows of where the job runs."""

    @property
    def job_role(self) -> iam.Role:
        """The role that a run takes on; it comes without any grant."""

    @property
    def target(self) -> Target:
        """Where runs take place, as the submitter is told."""

    @property
    def failures(self) -> dict[str, Any]:
        """Pattern of the events that tell of runs that failed or were cancelled."""

    @property
    def failed_run(self) -> str:
        """What names the run in such an event."""

    def start_grants(self) -> list[permissions.Grant]:
        """Return leave to start runs."""

    def follow_grants(self) -> list[permissions.Grant]:
        """Return leave to follow, list and cancel runs."""

    def daily(self, job: JobSpec, workers: Workers, token: str) -> tuple[str, dict[str, Any]]:
        """Return the operation that starts a run, as EventBridge Scheduler calls it, and its request."""


class ServerlessCompute(Construct):
    """An EMR Serverless application that starts with a run, stops after it, costs nothing while it is stopped."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        release: str,
        architecture: str,
        workers: Workers,
        idle_minutes: int,
        network: emrserverless.CfnApplication.NetworkConfigurationProperty | None,
        monitoring: emrserverless.CfnApplication.MonitoringConfigurationProperty,
    ) -> None:
        """Make the application and the role of its runs.

        Parameters
        ----------
        scope, construct_id
            As for every construct.
        release, architecture : str
            EMR release, `x86_64` or `arm64`.
        workers : Workers
            Their size, from which follows how much there may be at most of each resource.
        idle_minutes : int
            Minutes without a run after which the application stops.
        network : NetworkConfigurationProperty or None
            Subnets and security groups; None for the service's own network.
        monitoring : MonitoringConfigurationProperty
            Where the logs go.
        """
        super().__init__(scope, construct_id)
        stack = cdk.Stack.of(self)
        count = workers.max_vcpu // workers.vcpu
        self._application = emrserverless.CfnApplication(
            self,
            "Application",
            type="SPARK",
            release_label=release,
            architecture=architecture.upper(),
            # No identifier: several applications may have the same name, which metrics and the console show.
            name=stack.stack_name,
            auto_start_configuration=emrserverless.CfnApplication.AutoStartConfigurationProperty(enabled=True),
            auto_stop_configuration=emrserverless.CfnApplication.AutoStopConfigurationProperty(
                enabled=True, idle_timeout_minutes=idle_minutes
            ),
            maximum_capacity=emrserverless.CfnApplication.MaximumAllowedResourcesProperty(
                cpu=f"{workers.max_vcpu} vCPU",
                memory=f"{count * workers.memory_gb} GB",
                disk=f"{count * workers.disk_gb} GB",
            ),
            # Each run may take all there is, so a second one waits for the first.
            scheduler_configuration=emrserverless.CfnApplication.SchedulerConfigurationProperty(
                max_concurrent_runs=1, queue_timeout_minutes=QUEUE_MINUTES
            ),
            network_configuration=network,
            monitoring_configuration=monitoring,
        )
        self._job_role = iam.Role(
            self,
            "JobRole",
            description=f"What a run of {stack.stack_name} may do",
            assumed_by=iam.ServicePrincipal(
                "emr-serverless.amazonaws.com",
                conditions={
                    "StringEquals": {"aws:SourceAccount": stack.account},
                    "ArnLike": {"aws:SourceArn": self._application.attr_arn},
                },
            ),
        )

    @property
    def job_role(self) -> iam.Role:
        """The role that a run takes on; it comes without any grant."""
        return self._job_role

    @property
    def target(self) -> Application:
        """Where runs take place, as the submitter is told."""
        return Application(self._application.attr_application_id)

    @property
    def failures(self) -> dict[str, Any]:
        """Pattern of the events that tell of runs that failed or were cancelled."""
        return {
            "source": ["aws.emr-serverless"],
            "detail-type": ["EMR Serverless Job Run State Change"],
            "detail": {"applicationId": [self.target.application_id], "state": ["FAILED", "CANCELLED"]},
        }

    @property
    def failed_run(self) -> str:
        """What names the run in such an event."""
        return "$.detail.jobRunId"

    def start_grants(self) -> list[permissions.Grant]:
        """Return leave to start runs."""
        return permissions.start_runs(self._application.attr_arn, self._job_role.role_arn)

    def follow_grants(self) -> list[permissions.Grant]:
        """Return leave to follow, list and cancel runs."""
        return permissions.follow_runs(self._application.attr_arn)

    def daily(self, job: JobSpec, workers: Workers, token: str) -> tuple[str, dict[str, Any]]:
        """Return the operation that starts a run, as EventBridge Scheduler calls it, and its request."""
        name = f"{cdk.Stack.of(self).stack_name}-daily"
        return "emrserverless:startJobRun", scheduled(start_job_run(self.target, job, workers, token, name=name))


def network_in(
    scope: Construct, vpc_id: str, subnet_ids: Sequence[str]
) -> emrserverless.CfnApplication.NetworkConfigurationProperty | None:
    """Return subnets and a security group of an existing VPC, None where there is none.

    The group lets nothing in and only TLS out: EMR Serverless itself lets nobody reach its workers.
    https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/vpc-access.html
    """
    if not vpc_id:
        return None
    # Told instead of looked up, so that no credentials are needed to synthesize; the zones play no part.
    vpc = ec2.Vpc.from_vpc_attributes(scope, "Vpc", vpc_id=vpc_id, availability_zones=["unknown"])
    group = ec2.SecurityGroup(
        scope,
        "Workers",
        vpc=vpc,
        description="Workers of EMR Serverless: nothing in, TLS out",
        allow_all_outbound=False,
    )
    group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "S3, CloudWatch Logs and KMS")
    return emrserverless.CfnApplication.NetworkConfigurationProperty(
        subnet_ids=list(subnet_ids), security_group_ids=[group.security_group_id]
    )


def logs_to(
    address: str, group: logs.ILogGroup, key: kms.IKey | None
) -> emrserverless.CfnApplication.MonitoringConfigurationProperty:
    """Return where the logs of runs go: to S3, to CloudWatch, and to the service, whose Spark UI shows only its own."""
    return emrserverless.CfnApplication.MonitoringConfigurationProperty(
        s3_monitoring_configuration=emrserverless.CfnApplication.S3MonitoringConfigurationProperty(
            log_uri=address, encryption_key_arn=key.key_arn if key else None
        ),
        cloud_watch_logging_configuration=emrserverless.CfnApplication.CloudWatchLoggingConfigurationProperty(
            enabled=True, log_group_name=group.log_group_name
        ),
        managed_persistence_monitoring_configuration=(
            emrserverless.CfnApplication.ManagedPersistenceMonitoringConfigurationProperty(enabled=True)
        ),
    )
