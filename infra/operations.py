"""The operation of runs: alerts, alarms, dashboard, budget and the daily schedule."""

from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.settings import ALARM_STEP_MINUTES

# https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/app-job-metrics.html
EMR_METRICS = "AWS/EMRServerless"
# Progress lines in the log of the job: `features: 1,200 of 5,000 images, 240 a second, 16 s left`.
RATE_PATTERN = '[what = "features:", done, of = "of", total, images = "images,", rate, a = "a", unit = "second*", ...]'
RATE_METRIC = "PicturesPerSecond"
# Percentages of the budget that send an alert: of actual spending, and of the forecast for the month.
BUDGET_ALERTS = (("ACTUAL", 80), ("FORECASTED", 100))
# A failed start is tried again for an hour; then an alarm reports it.
START_ATTEMPTS = 5
START_SECONDS = 3600


class Alerts(Construct):
    """A topic, with alerts for runs that failed, were cancelled, or take too long."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        failures: Mapping[str, Any],
        failed_run: str,
        address: str,
        key: kms.IKey | None,
    ) -> None:
        """Make the topic and the rule.

        Parameters
        ----------
        scope, construct_id
            As for every construct.
        failures : mapping
            Pattern of the events to report.
        failed_run : str
            Path of the run's name in such an event.
        address : str
            E-mail address to subscribe, which AWS asks to confirm; empty for none.
        key : IKey or None
            What encrypts the messages; None for no encryption, as the AWS key for SNS lets no service publish.
        """
        super().__init__(scope, construct_id)
        stack = cdk.Stack.of(self)
        name = stack.stack_name
        self.topic = sns.Topic(self, "Topic", display_name=name, enforce_ssl=True, master_key=key)
        if address:
            self.topic.add_subscription(subscriptions.EmailSubscription(address))
        # The rule has a role: the policy of a topic cannot distinguish it from rules of other accounts.
        self.sender = iam.Role(
            self,
            "Sender",
            description=f"Role of the alerts of {name}",
            assumed_by=iam.ServicePrincipal(
                "events.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": stack.account}}
            ),
        )
        events.CfnRule(
            self,
            "Ended",
            description=f"Runs of {name} that failed or were cancelled",
            event_pattern=failures,
            targets=[
                events.CfnRule.TargetProperty(
                    id="Topic",
                    arn=self.topic.topic_arn,
                    role_arn=self.sender.role_arn,
                    input_transformer=events.CfnRule.InputTransformerProperty(
                        input_paths_map={"run": failed_run, "state": "$.detail.state"},
                        input_template=f'"{name}: run <run> is <state>"',
                    ),
                )
            ],
        )

    def too_long(self, application_id: str, minutes: int) -> None:
        """Add an alarm for an application that is busy without a pause for some minutes, a multiple of 5."""
        name = cdk.Stack.of(self).stack_name
        self.alarm(
            "TooLong",
            f"A run of {name} takes longer than {minutes} minutes",
            application_metric("RunningJobs", application_id, name, ALARM_STEP_MINUTES, statistic="Minimum"),
            periods=minutes // ALARM_STEP_MINUTES,
        )

    def alarm(self, name: str, description: str, metric: cloudwatch.IMetric, *, periods: int = 1) -> None:
        """Add an alarm for a metric that is 1 or more in consecutive periods."""
        cloudwatch.Alarm(
            self,
            name,
            alarm_description=description,
            metric=metric,
            threshold=1,
            evaluation_periods=periods,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        ).add_alarm_action(actions.SnsAction(self.topic))


def application_metric(
    name: str, application_id: str, application_name: str, minutes: int = 1, *, statistic: str = "Sum", **more: str
) -> cloudwatch.Metric:
    """Return a metric of EMR Serverless, which has a value every minute."""
    return cloudwatch.Metric(
        namespace=EMR_METRICS,
        metric_name=name,
        dimensions_map={"ApplicationId": application_id, "ApplicationName": application_name, **more},
        period=cdk.Duration.minutes(minutes),
        statistic=statistic,
    )


class Dashboard(Construct):
    """Runs, workers, vCPU-hours, GB-hours, failures and images per second on one page."""

    def __init__(self, scope: Construct, construct_id: str, *, application_id: str, group: logs.ILogGroup) -> None:
        """Make the page.

        Parameters
        ----------
        scope, construct_id
            As for every construct.
        application_id : str
            Application whose runs are shown.
        group : ILogGroup
            Group with the log of the job.
        """
        super().__init__(scope, construct_id)
        self._application_id, self._name = application_id, cdk.Stack.of(self).stack_name
        namespace = f"{self._name}/Job"
        logs.MetricFilter(
            self,
            "Rate",
            log_group=group,
            filter_pattern=logs.FilterPattern.literal(RATE_PATTERN),
            metric_namespace=namespace,
            metric_name=RATE_METRIC,
            metric_value="$rate",
        )
        rate = cloudwatch.Metric(namespace=namespace, metric_name=RATE_METRIC, statistic="Average")
        jobs = [self._metric(name) for name in ("RunningJobs", "SuccessJobs", "FailedJobs", "CancelledJobs")]
        page = cloudwatch.Dashboard(self, "Page", default_interval=cdk.Duration.days(1))
        page.add_widgets(
            self._graph("Runs", jobs),
            self._graph("Running workers", [self._sum("RunningWorkerCount", "workers")]),
        )
        page.add_widgets(
            self._graph("vCPU-hours", [self._sum("CPUAllocated", "vCPU-hours each hour", hourly=True)]),
            self._graph("GB-hours of memory", [self._sum("MemoryAllocated", "GB-hours each hour", hourly=True)]),
        )
        page.add_widgets(self._graph("Images per second", [rate]))

    def _metric(self, name: str) -> cloudwatch.Metric:
        return application_metric(name, self._application_id, self._name)

    def _sum(self, name: str, label: str, *, hourly: bool = False) -> cloudwatch.MathExpression:
        """Return a metric summed over drivers and executors; there is no pre-initialized capacity to add.

        `hourly` sums allocations by the hour; the value of each minute counts for a sixtieth.
        """
        minutes = 60 if hourly else 1
        workers = {
            kind: application_metric(
                name,
                self._application_id,
                self._name,
                minutes,
                WorkerType=f"Spark_{kind.capitalize()}",
                CapacityAllocationType="OnDemandCapacity",
            )
            for kind in ("driver", "executor")
        }
        total = "FILL(driver, 0) + FILL(executor, 0)"
        return cloudwatch.MathExpression(
            expression=f"({total}) / 60" if hourly else total,
            using_metrics=workers,
            label=label,
            period=cdk.Duration.minutes(minutes),
        )

    def _graph(self, title: str, metrics: list[Any]) -> cloudwatch.GraphWidget:
        return cloudwatch.GraphWidget(title=title, left=metrics, width=12)


class Budget(Construct):
    """A budget for the whole account: a filter for this stack would need active cost allocation tags."""

    def __init__(self, scope: Construct, construct_id: str, *, dollars: int, topic: sns.ITopic) -> None:
        """Make the budget.

        Parameters
        ----------
        scope, construct_id
            As for every construct.
        dollars : int
            USD a month.
        topic : ITopic
            Topic of the alerts; its policy must let AWS Budgets publish.
        """
        super().__init__(scope, construct_id)
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=dollars, unit="USD"),
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        comparison_operator="GREATER_THAN",
                        notification_type=kind,
                        threshold=percent,
                        threshold_type="PERCENTAGE",
                    ),
                    subscribers=[
                        budgets.CfnBudget.SubscriberProperty(subscription_type="SNS", address=topic.topic_arn)
                    ],
                )
                for kind, percent in BUDGET_ALERTS
            ],
        )


class Schedule(Construct):
    """A daily run that EventBridge Scheduler starts itself, without a function in between to maintain."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        time: str,
        timezone: str,
        operation: str,
        request: Mapping[str, Any],
    ) -> None:
        """Make the schedule, its group and its role.

        Parameters
        ----------
        scope, construct_id
            As for every construct.
        time, timezone : str
            `HH:MM` and the zone's name.
        operation : str
            Operation of AWS that starts a run, as the scheduler names it.
        request : mapping
            Request of that operation, as the scheduler takes it.
        """
        super().__init__(scope, construct_id)
        stack = cdk.Stack.of(self)
        self._group = scheduler.CfnScheduleGroup(self, "Group")
        self.role = iam.Role(
            self,
            "Role",
            description=f"Role of the schedule of {stack.stack_name}",
            assumed_by=iam.ServicePrincipal(
                "scheduler.amazonaws.com",
                conditions={
                    "StringEquals": {
                        "aws:SourceAccount": stack.account,
                        "aws:SourceArn": self._group.attr_arn,
                    }
                },
            ),
        )
        hour, minute = time.split(":")
        scheduler.CfnSchedule(
            self,
            "Daily",
            description=f"Starts a run of {stack.stack_name} every day",
            group_name=self._group.ref,
            schedule_expression=f"cron({int(minute)} {int(hour)} * * ? *)",
            schedule_expression_timezone=timezone,
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(
                arn=f"arn:{cdk.Aws.PARTITION}:scheduler:::aws-sdk:{operation}",
                role_arn=self.role.role_arn,
                input=stack.to_json_string(request),
                retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                    maximum_retry_attempts=START_ATTEMPTS, maximum_event_age_in_seconds=START_SECONDS
                ),
            ),
        )

    def dropped(self) -> cloudwatch.Metric:
        """Return the metric of starts that the scheduler gave up."""
        return cloudwatch.Metric(
            namespace="AWS/Scheduler",
            metric_name="InvocationDroppedCount",
            dimensions_map={"ScheduleGroup": self._group.ref},
            statistic="Sum",
            period=cdk.Duration.minutes(5),
        )
