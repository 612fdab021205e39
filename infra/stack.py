"""The stack: wires the parts, makes every grant, tells the submitter where things are."""

import hashlib
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_emrserverless as emrserverless
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from infra import permissions
from infra.cluster import ClusterCompute, Network
from infra.compute import Compute, ServerlessCompute, logs_to, network_in
from infra.operations import Alerts, Budget, Dashboard, Schedule
from infra.settings import Settings, SettingsError
from infra.storage import JOB_LOGS, Storage
from submit.request.targets import Application, Cluster, JobSpec, outputs

# What EventBridge Scheduler replaces by an identifier of each start: the same one where it tries again.
EXECUTION_ID = "<aws.scheduler.execution-id>"
# Where in the bucket of results the job writes.
RESULTS = "results"


class Code(Construct):
    """What runs: the files that `python -m bootstrap.package` builds, uploaded once to the bucket of CDK's assets."""

    def __init__(self, scope: Construct, construct_id: str, *, dist: Path, architecture: str, cluster: bool) -> None:
        """Take the files from `dist`, for a cluster some more; raises `SettingsError` where one is missing."""
        super().__init__(scope, construct_id)
        # Not .tar.gz: an asset's key keeps the last ending alone, and Spark unpacks by it.
        dependencies = f"dependencies-{architecture}.tgz"
        files = {"EntryPoint": "entry.py", "Job": "job.zip", "Dependencies": dependencies, "Model": "model"}
        if cluster:
            files |= {"Installer": "install_dependencies.sh", "Certificates": "certificates.zip"}
        for name in files.values():
            if not (dist / name).exists():
                raise SettingsError(
                    f"{dist / name} is missing; build it: python -m bootstrap.package --architecture {architecture}"
                    ' (once, or for good by "architecture" in the context of cdk.json)'
                )
        assets = {name: s3_assets.Asset(self, name, path=str(dist / file)) for name, file in files.items()}
        self.address = {name: one.s3_object_url for name, one in assets.items()}
        self.dependencies_sha256 = hashlib.sha256((dist / dependencies).read_bytes()).hexdigest()
        self.object_arns = [one.bucket.arn_for_objects(one.s3_object_key) for one in assets.values()]


class FruitsStack(cdk.Stack):
    """From a bucket of pictures to results, on EMR Serverless or on clusters of EC2 instances."""

    def __init__(self, scope: Construct, settings: Settings, dist: Path, account: str | None = None) -> None:
        """Make the stack.

        Parameters
        ----------
        scope : Construct
            The app.
        settings : Settings
            What was asked for.
        dist : Path
            Folder of what `python -m bootstrap.package` has built.
        account : str or None
            AWS account; None to find out when it is deployed.

        Raises
        ------
        SettingsError
            Where what was built is not for these settings.
        """
        super().__init__(
            scope,
            settings.name,
            env=cdk.Environment(account=account, region=settings.region),
            description="Pictures to feature vectors and PCA on EMR",
        )
        removal = cdk.RemovalPolicy.RETAIN if settings.keep_data else cdk.RemovalPolicy.DESTROY
        key = self._key(removal) if settings.has_key else None
        storage = Storage(
            self,
            "Storage",
            images_bucket=settings.images_bucket,
            key=key,
            removal=removal,
            log_days=settings.log_days,
            version_days=settings.version_days,
        )
        cluster = settings.compute == Cluster.compute
        code = Code(self, "Code", dist=dist, architecture=settings.architecture, cluster=cluster)
        logs_address = storage.logs.s3_url_for_object(JOB_LOGS)
        group = None if cluster else self._log_group(settings.log_days, key)
        compute: Compute = (
            self._serverless(settings, logs_to(f"{logs_address}/", group, key))
            if group
            else self._cluster(settings, code, key)
        )
        job = JobSpec(
            job_role=compute.job_role.role_arn,
            entry_point=code.address["EntryPoint"],
            job_zip=code.address["Job"],
            dependencies=code.address["Dependencies"],
            model=code.address["Model"],
            images=storage.images.s3_url_for_object(settings.images_folder or None),
            results=storage.results.s3_url_for_object(RESULTS),
            logs=logs_address,
            region=self.region,
            timeout_minutes=settings.timeout_minutes,
        )
        alerts = Alerts(
            self,
            "Alerts",
            failures=compute.failures,
            failed_run=compute.failed_run,
            address=settings.alert,
            key=key,
        )
        # A cluster's metrics bear its own ID, which is not known before it is there: no alarm for it, and no page.
        if group and isinstance(compute.target, Application):
            alerts.too_long(compute.target.application_id, settings.alarm_minutes)
            Dashboard(self, "Dashboard", application_id=compute.target.application_id, group=group)
        if settings.budget:
            Budget(self, "Budget", dollars=settings.budget, topic=alerts.topic)
        schedule = None
        if settings.schedule:
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
        submitter = self._submitter()
        self._grant_job(settings, storage, group, code, compute, key)
        self._grant_submitter(submitter, storage, compute, key)
        self._grant_others(compute, alerts, schedule, key)
        told = outputs(compute.target, job, settings.workers) | {
            "SubmitterPolicy": submitter.managed_policy_arn,
            "AlertsTopic": alerts.topic.topic_arn,
        }
        for name, value in told.items():
            cdk.CfnOutput(self, name, value=value)

    def _serverless(
        self, settings: Settings, monitoring: emrserverless.CfnApplication.MonitoringConfigurationProperty
    ) -> ServerlessCompute:
        return ServerlessCompute(
            self,
            "Compute",
            release=settings.release,
            architecture=settings.architecture,
            workers=settings.workers,
            idle_minutes=settings.idle_minutes,
            network=network_in(self, settings.vpc, settings.subnet_ids),
            monitoring=monitoring,
        )

    def _cluster(self, settings: Settings, code: Code, key: kms.IKey | None) -> ClusterCompute:
        assert key
        return ClusterCompute(
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

    def _key(self, removal: cdk.RemovalPolicy) -> kms.Key:
        return kms.Key(self, "Key", description=self.stack_name, enable_key_rotation=True, removal_policy=removal)

    def _log_group(self, days: int, key: kms.IKey | None) -> logs.ILogGroup:
        # Old logs go by themselves, and the log bucket has them too.
        group = logs.LogGroup(self, "JobLogs", encryption_key=key, removal_policy=cdk.RemovalPolicy.DESTROY)
        child = group.node.default_child
        assert isinstance(child, logs.CfnLogGroup)
        child.retention_in_days = days
        return group

    def _submitter(self) -> iam.ManagedPolicy:
        return iam.ManagedPolicy(
            self,
            "Submitter",
            description=f"What python -m submit needs for {self.stack_name}: attach it to who runs it",
        )

    def _grant_job(
        self,
        settings: Settings,
        storage: Storage,
        group: logs.ILogGroup | None,
        code: Code,
        compute: Compute,
        key: kms.IKey | None,
    ) -> None:
        grants = [
            *permissions.read_objects(
                storage.images.bucket_arn, settings.images_folder, "the job reads every picture there is"
            ),
            *permissions.write_objects(
                storage.results.bucket_arn, RESULTS, "the job names its results by model, wave and run"
            ),
            *permissions.read_code(code.object_arns),
            *permissions.write_logs(storage.logs.bucket_arn, JOB_LOGS),
        ]
        if group:
            grants += permissions.write_log_group(group.log_group_arn)
        if key:
            grants += permissions.use_key(key.key_arn, "s3")
        if settings.images_key:
            grants += permissions.use_key(settings.images_key, "s3", write=False)
        permissions.give(compute.job_role, grants)

    def _grant_submitter(
        self, policy: iam.ManagedPolicy, storage: Storage, compute: Compute, key: kms.IKey | None
    ) -> None:
        stack = self.format_arn(service="cloudformation", resource="stack", resource_name=f"{self.stack_name}/*")
        grants = [
            *permissions.find_stack(stack),
            *compute.start_grants(),
            *compute.follow_grants(),
            *permissions.read_objects(
                storage.results.bucket_arn, RESULTS, "results are downloaded, whatever the job named them"
            ),
            *permissions.read_objects(
                storage.logs.bucket_arn, JOB_LOGS, "logs are followed, which EMR names by run and worker"
            ),
        ]
        if key:
            grants += permissions.use_key(key.key_arn, "s3", write=False)
        permissions.give(policy, grants)

    def _grant_others(self, compute: Compute, alerts: Alerts, schedule: Schedule | None, key: kms.Key | None) -> None:
        permissions.give(alerts.sender, permissions.publish(alerts.topic.topic_arn))
        alerts.topic.add_to_resource_policy(permissions.accept_alerts(self.account, alerts.topic.topic_arn))
        if schedule:
            permissions.give(schedule.role, compute.start_grants())
        if key:
            permissions.give(alerts.sender, permissions.use_key(key.key_arn, "sns"))
            for statement in permissions.lend_key(self.account, self.stack_name):
                key.add_to_resource_policy(statement)
