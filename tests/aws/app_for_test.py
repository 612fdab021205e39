"""A CDK app with one of each type that the server has to play, for test_server.py: `vpc_id outdir name...`.

One number, days, runs through all of it, so that a change of it changes each of them.
"""

import sys
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_emrserverless as emrserverless
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions


class OneOfEach(cdk.Stack):
    """Buckets kept and not, application, roles, topic, rule, logs, alarm, schedule, budget, key, group, an asset."""

    def __init__(self, app: cdk.App, name: str, *, days: int, vpc_id: str) -> None:
        super().__init__(app, name, env=cdk.Environment(account="123456789012", region="eu-west-3"))
        asset = s3_assets.Asset(self, "Asset", path=str(Path(__file__).resolve()))
        key = kms.Key(
            self,
            "Key",
            enable_key_rotation=True,
            description=f"{days} days",
            alias=name.lower(),
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        access = self.bucket("Access", days)
        results = self.bucket(
            "Results", days, server_access_logs_bucket=access, encryption=s3.BucketEncryption.KMS, encryption_key=key
        )
        self.bucket("Scratch", days, removal_policy=cdk.RemovalPolicy.DESTROY)
        group = logs.LogGroup(self, "Lines", retention=RETENTION[days], removal_policy=cdk.RemovalPolicy.DESTROY)
        application = self.application(days, group, vpc_id)
        role = iam.Role(
            self,
            "JobRole",
            assumed_by=iam.ServicePrincipal(
                "emr-serverless.amazonaws.com",
                conditions={
                    "StringEquals": {"aws:SourceAccount": str(days)},
                    "ArnLike": {"aws:SourceArn": application.attr_arn},
                },
            ),
        )
        role.add_to_policy(iam.PolicyStatement(actions=["s3:PutObject"], resources=[f"{results.bucket_arn}/{days}/*"]))
        iam.ManagedPolicy(
            self,
            "Submitter",
            roles=[role],
            statements=[
                iam.PolicyStatement(
                    actions=["emr-serverless:StartJobRun"],
                    resources=[application.attr_arn],
                    conditions={"StringEquals": {"aws:SourceAccount": str(days)}},
                )
            ],
        )
        self.watch(days, group)
        self.plan(days, application, role)
        cdk.CfnOutput(self, "ApplicationIs", value=application.attr_application_id)
        cdk.CfnOutput(self, "ResultsName", value=results.bucket_name, export_name=f"{name}-results")
        cdk.CfnOutput(self, "CodeAddress", value=asset.s3_object_url)

    def bucket(self, name: str, days: int, **more: Any) -> s3.Bucket:
        """Return a bucket as the real stack has them."""
        rule = s3.LifecycleRule(
            noncurrent_version_expiration=cdk.Duration.days(days),
            abort_incomplete_multipart_upload_after=cdk.Duration.days(7),
            expired_object_delete_marker=True,
        )
        usual: dict[str, Any] = {
            "block_public_access": s3.BlockPublicAccess.BLOCK_ALL,
            "object_ownership": s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            "enforce_ssl": True,
            "versioned": True,
            "encryption": s3.BucketEncryption.S3_MANAGED,
            "removal_policy": cdk.RemovalPolicy.RETAIN,
            "lifecycle_rules": [rule],
        }
        return s3.Bucket(self, name, **usual | more)

    def application(self, days: int, group: logs.LogGroup, vpc_id: str) -> emrserverless.CfnApplication:
        """Return an application with all that moto would drop."""
        vpc = ec2.Vpc.from_vpc_attributes(self, "Vpc", vpc_id=vpc_id, availability_zones=["unknown"])
        workers = ec2.SecurityGroup(self, "Workers", vpc=vpc, allow_all_outbound=False)
        workers.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443))
        of = emrserverless.CfnApplication
        return of(
            self,
            "Application",
            type="SPARK",
            release_label="emr-spark-8.1.0",
            architecture="X86_64",
            name=self.stack_name,
            maximum_capacity=of.MaximumAllowedResourcesProperty(cpu=f"{days} vCPU", memory="32 GB"),
            initial_capacity=[
                of.InitialCapacityConfigKeyValuePairProperty(
                    key="Driver",
                    value=of.InitialCapacityConfigProperty(
                        worker_count=1,
                        worker_configuration=of.WorkerConfigurationProperty(cpu="2 vCPU", memory="4 GB"),
                    ),
                )
            ],
            auto_stop_configuration=of.AutoStopConfigurationProperty(enabled=True, idle_timeout_minutes=5),
            scheduler_configuration=of.SchedulerConfigurationProperty(max_concurrent_runs=1),
            network_configuration=of.NetworkConfigurationProperty(
                subnet_ids=["subnet-0123456789abcdef0"], security_group_ids=[workers.security_group_id]
            ),
            monitoring_configuration=of.MonitoringConfigurationProperty(
                cloud_watch_logging_configuration=of.CloudWatchLoggingConfigurationProperty(
                    enabled=True,
                    log_group_name=group.log_group_name,
                    log_type_map=[of.LogTypeMapKeyValuePairProperty(key="SPARK_DRIVER", value=["STDOUT"])],
                )
            ),
        )

    def watch(self, days: int, group: logs.LogGroup) -> None:
        """Add topic, subscription, rule, alarm, metric filter, dashboard."""
        topic = sns.Topic(self, "Topic", display_name=f"{days} days", enforce_ssl=True)
        topic.add_subscription(subscriptions.EmailSubscription("someone@example.com"))
        events.CfnRule(
            self,
            "Ended",
            event_pattern={"source": ["aws.emr-serverless"], "detail": {"state": ["FAILED", str(days)]}},
            targets=[events.CfnRule.TargetProperty(id="Topic", arn=topic.topic_arn)],
        )
        logs.MetricFilter(
            self,
            "Rate",
            log_group=group,
            filter_pattern=logs.FilterPattern.literal(f"[what, rate={days}]"),
            metric_namespace="Job",
            metric_name="Rate",
            metric_value="$rate",
        )
        metric = cloudwatch.Metric(namespace="Job", metric_name="Rate")
        alarm = cloudwatch.Alarm(self, "TooLong", metric=metric, threshold=days, evaluation_periods=2)
        alarm.add_alarm_action(actions.SnsAction(topic))
        cloudwatch.Dashboard(self, "Page").add_widgets(cloudwatch.AlarmWidget(alarm=alarm, title=f"{days}"))

    def plan(self, days: int, application: emrserverless.CfnApplication, role: iam.Role) -> None:
        """Add schedule and budget."""
        group = scheduler.ScheduleGroup(self, "Group", removal_policy=cdk.RemovalPolicy.DESTROY)
        scheduler.CfnSchedule(
            self,
            "Daily",
            group_name=group.schedule_group_name,
            schedule_expression=f"cron(0 {days} * * ? *)",
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(
                arn="arn:aws:scheduler:::aws-sdk:emrserverless:startJobRun",
                role_arn=role.role_arn,
                input=self.to_json_string({"ApplicationId": application.attr_application_id}),
            ),
        )
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=days, unit="USD"),
            ),
        )


RETENTION = {7: logs.RetentionDays.ONE_WEEK, 14: logs.RetentionDays.TWO_WEEKS}


def main(vpc_id: str, outdir: str, *names: str) -> None:
    """Synthesize stacks of these names, with 7 days and with 14, each into a folder of its own."""
    for days in RETENTION:
        app = cdk.App(outdir=f"{outdir}/{days}", context={"@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy": True})
        for name in names:
            OneOfEach(app, name, days=days, vpc_id=vpc_id)
        app.synth()


if __name__ == "__main__":
    main(*sys.argv[1:])
