"""The stack: wires the parts, makes every grant, and writes the outputs that the submitter reads."""

from dataclasses import dataclass
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra import permissions
from infra.cluster import ClusterCompute, Network
from infra.code import Code
from infra.compute import Compute
from infra.operations import Alerts, Budget, Schedule
from infra.permissions import Grant
from infra.serverless import ServerlessCompute, network_in
from infra.settings import StackSettings
from infra.storage import JOB_LOGS, Storage
from submit.request.targets import Application, Cluster, JobSpec, outputs

# EventBridge Scheduler replaces this by an ID of each start, which is the same where it tries again.
EXECUTION_ID = "<aws.scheduler.execution-id>"
# Folder of the job in the bucket of results.
RESULTS = "results"


@dataclass(frozen=True)
class Parts:
    """What the stack wires: buckets, code, compute, and the key that encrypts, None for keys of the services."""

    storage: Storage
    code: Code
    compute: Compute
    key: kms.Key | None

    def key_grants(self, service: str, *, write: bool = True) -> list[Grant]:
        """Return the permission to read and write by way of a service what the key encrypts."""
        return permissions.use_key(self.key.key_arn, service, write=write) if self.key else []


class FruitsStack(cdk.Stack):
    """From a bucket of images to results, on EMR Serverless or on clusters of EC2 instances."""

    def __init__(self, scope: Construct, settings: StackSettings, dist: Path, account: str | None = None) -> None:
        """Make the stack.

        Parameters
        ----------
        scope : Construct
            The app.
        settings : StackSettings
            The settings of this deployment.
        dist : Path
            Folder of the files that `python -m bootstrap.package` has built.
        account : str or None
            AWS account; None to find it out at deployment.

        Raises
        ------
        SettingsError
            Where the files in `dist` are not for these settings.
        """
        super().__init__(
            scope,
            settings.name,
            env=cdk.Environment(account=account, region=settings.region),
            description="Feature vectors and PCA of images on EMR",
        )
        make_parts = {Application.compute: self._serverless, Cluster.compute: self._cluster}[settings.compute]
        parts = make_parts(settings, dist)
        job = self._job(settings, parts)
        alerts = self._alerts(settings, parts)
        if settings.budget:
            Budget(self, "Budget", dollars=settings.budget, topic=alerts.topic)
        if settings.schedule:
            self._schedule(settings, parts.compute, job, alerts)
        submitter = self._submitter()
        self._grant_job(settings, parts)
        self._grant_submitter(submitter, parts)
        self._grant_alerts(alerts, parts)
        self._lend_key(parts)
        values = outputs(parts.compute.target, job, settings.workers) | {
            "SubmitterPolicy": submitter.managed_policy_arn,
            "AlertsTopic": alerts.topic.topic_arn,
        }
        for name, value in values.items():
            cdk.CfnOutput(self, name, value=value)

    def _serverless(self, settings: StackSettings, dist: Path) -> Parts:
        """Make the parts for runs on EMR Serverless; a key only where the settings ask for one."""
        key = self._key(settings) if settings.kms else None
        storage = self._storage(settings, key)
        code = Code(self, "Code", dist=dist, architecture=settings.architecture, cluster=False)
        compute = ServerlessCompute(
            self,
            "Compute",
            release=settings.release,
            architecture=settings.architecture,
            workers=settings.workers,
            idle_minutes=settings.idle_minutes,
            network=network_in(self, settings.vpc, settings.subnet_ids),
            logs_address=f"{storage.job_logs}/",
            group=self._log_group(settings.log_days, key),
            key=key,
        )
        return Parts(storage, code, compute, key)

    def _cluster(self, settings: StackSettings, dist: Path) -> Parts:
        """Make the parts for runs on clusters, whose disks are encrypted with a key of the stack or not at all."""
        key = self._key(settings)
        storage = self._storage(settings, key)
        code = Code(self, "Code", dist=dist, architecture=settings.architecture, cluster=True)
        compute = ClusterCompute(
            self,
            "Compute",
            release=settings.release,
            instance_types=settings.instance_types,
            idle_minutes=settings.idle_minutes,
            network=Network(self, "Network", vpc_id=settings.vpc, subnet_ids=settings.subnet_ids),
            key=key,
            certificates=code.address["Certificates"],
            installer=code.address["Installer"],
            dependencies_sha256=code.dependencies_sha256,
        )
        return Parts(storage, code, compute, key)

    def _key(self, settings: StackSettings) -> kms.Key:
        removal = _removal(settings)
        return kms.Key(self, "Key", description=self.stack_name, enable_key_rotation=True, removal_policy=removal)

    def _storage(self, settings: StackSettings, key: kms.IKey | None) -> Storage:
        return Storage(
            self,
            "Storage",
            images_bucket=settings.images_bucket,
            key=key,
            removal=_removal(settings),
            log_days=settings.log_days,
            version_days=settings.version_days,
        )

    def _log_group(self, days: int, key: kms.IKey | None) -> logs.ILogGroup:
        # Old logs expire by themselves, and the log bucket has them too.
        group = logs.LogGroup(self, "JobLogs", encryption_key=key, removal_policy=cdk.RemovalPolicy.DESTROY)
        child = group.node.default_child
        assert isinstance(child, logs.CfnLogGroup)
        child.retention_in_days = days
        return group

    def _job(self, settings: StackSettings, parts: Parts) -> JobSpec:
        storage, address = parts.storage, parts.code.address
        return JobSpec(
            job_role=parts.compute.job_role.role_arn,
            entry_point=address["EntryPoint"],
            job_zip=address["Job"],
            dependencies=address["Dependencies"],
            model=address["Model"],
            images=storage.images.s3_url_for_object(settings.images_folder or None),
            results=storage.results.s3_url_for_object(RESULTS),
            logs=storage.job_logs,
            region=self.region,
            timeout_minutes=settings.timeout_minutes,
        )

    def _alerts(self, settings: StackSettings, parts: Parts) -> Alerts:
        alerts = Alerts(
            self,
            "Alerts",
            failures=parts.compute.failures,
            failed_run=parts.compute.failed_run,
            address=settings.alert,
            key=parts.key,
        )
        parts.compute.watch(alerts, settings.alarm_minutes)
        return alerts

    def _schedule(self, settings: StackSettings, compute: Compute, job: JobSpec, alerts: Alerts) -> None:
        operation, request = compute.daily(job, settings.workers, EXECUTION_ID)
        schedule = Schedule(
            self,
            "Schedule",
            time=settings.schedule,
            timezone=settings.timezone,
            operation=operation,
            request=request,
        )
        alerts.alarm("NotStarted", f"The schedule of {settings.name} could not start a run", schedule.dropped())
        permissions.give(schedule.role, compute.start_grants())

    def _submitter(self) -> iam.ManagedPolicy:
        # Another description would replace the policy, and AWS deletes no policy that is attached to somebody.
        return iam.ManagedPolicy(
            self,
            "Submitter",
            description=f"What python -m submit needs for {self.stack_name}: attach it to who runs it",
        )

    def _grant_job(self, settings: StackSettings, parts: Parts) -> None:
        storage = parts.storage
        images_key = permissions.use_key(settings.images_key, "s3", write=False) if settings.images_key else []
        grants = [
            *permissions.read_objects(
                storage.images.bucket_arn, settings.images_folder, "the job reads every image there is"
            ),
            *permissions.write_objects(
                storage.results.bucket_arn, RESULTS, "the job names its results by model, wave and run"
            ),
            *permissions.read_code(parts.code.object_arns),
            *permissions.write_logs(storage.logs.bucket_arn, JOB_LOGS),
            *parts.compute.job_grants(),
            *parts.key_grants("s3"),
            *images_key,
        ]
        permissions.give(parts.compute.job_role, grants)

    def _grant_submitter(self, policy: iam.ManagedPolicy, parts: Parts) -> None:
        stack = self.format_arn(service="cloudformation", resource="stack", resource_name=f"{self.stack_name}/*")
        storage = parts.storage
        grants = [
            *permissions.find_stack(stack),
            *parts.compute.start_grants(),
            *parts.compute.follow_grants(),
            *permissions.read_objects(
                storage.results.bucket_arn, RESULTS, "results are downloaded, whatever the job named them"
            ),
            *permissions.read_objects(
                storage.logs.bucket_arn, JOB_LOGS, "logs are followed, which EMR names by run and worker"
            ),
            *parts.key_grants("s3", write=False),
        ]
        permissions.give(policy, grants)

    def _grant_alerts(self, alerts: Alerts, parts: Parts) -> None:
        topic = alerts.topic.topic_arn
        permissions.give(alerts.sender, [*permissions.publish(topic), *parts.key_grants("sns")])
        alerts.topic.add_to_resource_policy(permissions.accept_alerts(self.account, topic))

    def _lend_key(self, parts: Parts) -> None:
        if parts.key:
            for statement in permissions.lend_key(self.account, self.stack_name):
                parts.key.add_to_resource_policy(statement)


def _removal(settings: StackSettings) -> cdk.RemovalPolicy:
    """Return what becomes of buckets and key when the stack is destroyed."""
    return cdk.RemovalPolicy.RETAIN if settings.keep_data else cdk.RemovalPolicy.DESTROY
