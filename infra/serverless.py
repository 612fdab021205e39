"""EMR Serverless: the application, the role of its runs, their network and the place of their logs."""

from collections.abc import Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_emrserverless as emrserverless
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra import permissions
from infra.operations import Alerts, Dashboard
from submit.request.serverless import scheduled, start_job_run
from submit.request.targets import Application, JobSpec, Workers

# Time that a run may wait for the one before it.
QUEUE_MINUTES = 360


class ServerlessCompute(Construct):
    """An EMR Serverless application: it starts with a run, stops after it, and costs nothing while it is stopped."""

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
        logs_address: str,
        group: logs.ILogGroup,
        key: kms.IKey | None,
    ) -> None:
        """Make the application and the role of its runs.

        Parameters
        ----------
        scope, construct_id
            As for every construct.
        release, architecture : str
            EMR release, `x86_64` or `arm64`.
        workers : Workers
            Their size, from which the bounds of each resource follow.
        idle_minutes : int
            Minutes without a run after which the application stops.
        network : NetworkConfigurationProperty or None
            Subnets and security groups; None for the service's own network.
        logs_address : str
            `s3://` address of the logs, with a slash at its end.
        group : ILogGroup
            Group of CloudWatch Logs that gets the logs of the driver too.
        key : IKey or None
            What encrypts the logs on S3; None for keys of S3.
        """
        super().__init__(scope, construct_id)
        stack = cdk.Stack.of(self)
        self._group = group
        count = workers.max_vcpu // workers.vcpu
        self._application = emrserverless.CfnApplication(
            self,
            "Application",
            type="SPARK",
            release_label=release,
            architecture=architecture.upper(),
            # Not an identifier: metrics and the console show the name, which several applications may share.
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
            # Each run may use the whole capacity, so a second one waits for the first.
            scheduler_configuration=emrserverless.CfnApplication.SchedulerConfigurationProperty(
                max_concurrent_runs=1, queue_timeout_minutes=QUEUE_MINUTES
            ),
            network_configuration=network,
            monitoring_configuration=_logs_to(logs_address, group, key),
        )
        self._job_role = iam.Role(
            self,
            "JobRole",
            description=f"Role of the runs of {stack.stack_name}",
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
        """The role that a run assumes; it has no grants yet."""
        return self._job_role

    @property
    def target(self) -> Application:
        """The target, as the outputs describe it to the submitter."""
        return Application(self._application.attr_application_id)

    @property
    def failures(self) -> dict[str, Any]:
        """Pattern of the events of failed and cancelled runs."""
        return {
            "source": ["aws.emr-serverless"],
            "detail-type": ["EMR Serverless Job Run State Change"],
            "detail": {"applicationId": [self.target.application_id], "state": ["FAILED", "CANCELLED"]},
        }

    @property
    def failed_run(self) -> str:
        """Path of the run's name in such an event."""
        return "$.detail.jobRunId"

    def watch(self, alerts: Alerts, minutes: int) -> None:
        """Add the alarm for runs that take too long, in minutes, and the dashboard."""
        alerts.too_long(self.target.application_id, minutes)
        stack = cdk.Stack.of(self)
        Dashboard(stack, "Dashboard", application_id=self.target.application_id, group=self._group)

    def job_grants(self) -> list[permissions.Grant]:
        """Return what the job's role needs beside buckets and code: to write its log to CloudWatch."""
        return permissions.write_log_group(self._group.log_group_arn)

    def start_grants(self) -> list[permissions.Grant]:
        """Return the permission to start runs."""
        return permissions.start_runs(self._application.attr_arn, self._job_role.role_arn)

    def follow_grants(self) -> list[permissions.Grant]:
        """Return the permission to follow, list and cancel runs."""
        return permissions.follow_runs(self._application.attr_arn)

    def daily(self, job: JobSpec, workers: Workers, token: str) -> tuple[str, dict[str, Any]]:
        """Return the operation that starts a run, as EventBridge Scheduler names it, and its request."""
        name = f"{cdk.Stack.of(self).stack_name}-daily"
        return "emrserverless:startJobRun", scheduled(start_job_run(self.target, job, workers, token, name=name))


def network_in(
    scope: Construct, vpc_id: str, subnet_ids: Sequence[str]
) -> emrserverless.CfnApplication.NetworkConfigurationProperty | None:
    """Return subnets and a security group of an existing VPC, None without one.

    The group allows no ingress and only TLS out: EMR Serverless itself lets nobody reach its workers.
    https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/vpc-access.html
    """
    if not vpc_id:
        return None
    # From attributes, as a lookup would need credentials to synthesize; the zones are not used.
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


def _logs_to(
    address: str, group: logs.ILogGroup, key: kms.IKey | None
) -> emrserverless.CfnApplication.MonitoringConfigurationProperty:
    """Return where logs go: to S3, to CloudWatch, and to the service, whose Spark UI reads only its own copy."""
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
