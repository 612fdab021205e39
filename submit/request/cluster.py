"""The requests to EMR on EC2: RunJobFlow for a new cluster with a step, AddJobFlowSteps for a running one."""

from collections.abc import Mapping, Sequence
from typing import Any

from submit.request.spark import conf, job_arguments, job_environment, spark_settings
from submit.request.targets import Cluster, JobSpec, Workers

# Where the bootstrap action installs the imports of the job, with a Python of their own in bin/python.
INSTALLED = "/opt/fruits"
# AmazonEMRServicePolicy_v2 lets EMR act on resources with this tag, and on nothing else.
MANAGED_TAG = "for-use-with-amazon-emr-managed-policies"
# Marks a cluster as this stack's, for policies too.
STACK_TAG = "stack"
# Time without spot capacity after which a task fleet takes on-demand instances, at the start of the cluster.
SPOT_MINUTES = 15
# Time from the request to end a step until it is killed.
GRACE_SECONDS = 60
TOKEN_VARIABLE = "CLIENT_TOKEN"  # noqa: S105 - a variable's name


def run_job_flow(
    cluster: Cluster, job: JobSpec, workers: Workers, step: Mapping[str, Any], *, keep_alive: bool = False
) -> dict[str, Any]:
    """Return the request that starts a cluster with one step.

    Parameters
    ----------
    cluster, job, workers : Cluster, JobSpec, Workers
        How the cluster is made, what runs on it, and the size and number of its nodes. The primary node and one core
        node are on-demand; task nodes are spot.
    step : mapping
        The result of `step`.
    keep_alive : bool
        Whether it waits for more steps, until it was idle for too long; else it ends with this step.

    Returns
    -------
    dict
        Parameters of `RunJobFlow` as boto3 takes them.
    """
    max_executors = workers.max_executors
    fleets = [_fleet(cluster, workers, "MASTER", on_demand=1), _fleet(cluster, workers, "CORE", on_demand=1)]
    if max_executors > 1:
        fleets.append(_fleet(cluster, workers, "TASK", spot=1))
    request = {
        "Name": step["Name"],
        "LogUri": f"{job.logs}/",
        "ReleaseLabel": cluster.release,
        "Applications": [{"Name": "Spark"}],
        "Instances": {
            "InstanceFleets": fleets,
            "Ec2SubnetIds": cluster.subnets.split(","),
            "EmrManagedMasterSecurityGroup": cluster.node_group,
            "EmrManagedSlaveSecurityGroup": cluster.node_group,
            "ServiceAccessSecurityGroup": cluster.service_group,
            "KeepJobFlowAliveWhenNoSteps": keep_alive,
            "TerminationProtected": False,
        },
        "BootstrapActions": [
            {
                "Name": "Install dependencies",
                "ScriptBootstrapAction": {
                    "Path": cluster.installer,
                    "Args": [job.dependencies, cluster.dependencies_sha256, INSTALLED],
                },
            }
        ],
        "Steps": [{**step, "ActionOnFailure": "CONTINUE" if keep_alive else "TERMINATE_CLUSTER"}],
        # Spark's application master must not disappear with a spot node.
        "Configurations": [
            {
                "Classification": "yarn-site",
                "Properties": {
                    "yarn.node-labels.enabled": "true",
                    "yarn.node-labels.am.default-node-label-expression": "CORE",
                },
            }
        ],
        "ServiceRole": cluster.service_role,
        "JobFlowRole": cluster.instance_profile,
        "SecurityConfiguration": cluster.security_configuration,
        "ManagedScalingPolicy": {
            "ComputeLimits": {
                "UnitType": "InstanceFleetUnits",
                "MinimumCapacityUnits": 1,
                "MaximumCapacityUnits": max_executors,
                "MaximumOnDemandCapacityUnits": 1,
                "MaximumCoreCapacityUnits": 1,
            }
        },
        "ScaleDownBehavior": "TERMINATE_AT_TASK_COMPLETION",
        "StepConcurrencyLevel": 1,
        "VisibleToAllUsers": True,
        "Tags": [{"Key": MANAGED_TAG, "Value": "true"}, {"Key": STACK_TAG, "Value": step["Name"]}],
    }
    if keep_alive:
        request["AutoTerminationPolicy"] = {"IdleTimeout": cluster.idle_minutes * 60}
    return request


def add_job_flow_steps(cluster_id: str, step: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request that adds a step to a running cluster."""
    return {"JobFlowId": cluster_id, "Steps": [{**step, "ActionOnFailure": "CONTINUE"}]}


def step(
    job: JobSpec, workers: Workers, client_token: str, options: Sequence[str] = (), name: str = "run"
) -> dict[str, Any]:
    """Return the step that runs the whole job on a cluster.

    The driver is the process of the step, on the primary node: its log is that of the step, and it ends with it.
    EMR has no time-out for steps and no token for requests, so the step contains both.

    Parameters
    ----------
    job, workers, client_token, options
        As for `start_job_run`.
    name : str
        Name of the stack, by which its alerts find runs.
    """
    variables = job_environment(job) | {TOKEN_VARIABLE: client_token}
    settings = {**spark_settings(job, workers), "spark.pyspark.python": f"{INSTALLED}/bin/python"}
    return {
        "Name": name,
        "HadoopJarStep": {
            "Jar": "command-runner.jar",
            "Args": [
                *("env", *(f"{variable}={value}" for variable, value in variables.items())),
                *("timeout", f"--kill-after={GRACE_SECONDS}", str(job.timeout_minutes * 60)),
                *("spark-submit", "--master", "yarn", "--deploy-mode", "client", *conf(settings)),
                *(job.entry_point, *job_arguments(job, options)),
            ],
        },
    }


def _fleet(cluster: Cluster, workers: Workers, kind: str, *, on_demand: int = 0, spot: int = 0) -> dict[str, Any]:
    """Return a fleet of nodes, each of any of the instance types and one unit of capacity."""
    disk = {"VolumeSpecification": {"VolumeType": "gp3", "SizeInGB": workers.disk_gb}, "VolumesPerInstance": 1}
    fleet = {
        "Name": kind.lower(),
        "InstanceFleetType": kind,
        "TargetOnDemandCapacity": on_demand,
        "TargetSpotCapacity": spot,
        "InstanceTypeConfigs": [
            {"InstanceType": name, "WeightedCapacity": 1, "EbsConfiguration": {"EbsBlockDeviceConfigs": [disk]}}
            for name in cluster.instance_types.split(",")
        ],
    }
    if spot:
        fleet["LaunchSpecifications"] = {
            "SpotSpecification": {
                "TimeoutDurationMinutes": SPOT_MINUTES,
                "TimeoutAction": "SWITCH_TO_ON_DEMAND",
                "AllocationStrategy": "price-capacity-optimized",
            }
        }
    return fleet
