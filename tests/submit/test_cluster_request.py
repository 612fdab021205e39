"""Requests to EMR on EC2: compared with what botocore says of the service, and with what was asked for."""

from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from job.settings import Settings
from submit.request.cluster import add_job_flow_steps, run_job_flow, step
from submit.request.targets import Cluster, outputs, read_outputs
from tests.submit.test_request import JOB, WORKERS

CLUSTER = Cluster(
    release="emr-spark-8.1.0",
    instance_types="m5.xlarge,m6i.xlarge",
    subnets="subnet-1,subnet-2",
    service_role="service",
    instance_profile="profile",
    security_configuration="secure",
    node_group="sg-nodes",
    service_group="sg-service",
    installer="s3://code/install.sh",
    dependencies_sha256="ab" * 32,
    idle_minutes=5,
)
STEP = step(JOB, WORKERS, "token-1", ["--variance", "0.95"], "fruits")
REQUEST = run_job_flow(CLUSTER, JOB, WORKERS, STEP)


def words() -> list[str]:
    return list(STEP["HadoopJarStep"]["Args"])


@pytest.mark.parametrize(
    ("operation", "request_", "answer"),
    [
        ("run_job_flow", REQUEST, {"JobFlowId": "j-1"}),
        ("run_job_flow", run_job_flow(CLUSTER, JOB, WORKERS, STEP, keep_alive=True), {"JobFlowId": "j-1"}),
        ("add_job_flow_steps", add_job_flow_steps("j-1", STEP), {"StepIds": ["s-1"]}),
    ],
)
def test_the_service_takes_the_request_as_it_is(
    operation: str, request_: dict[str, Any], answer: dict[str, Any]
) -> None:
    emr = boto3.client("emr", "eu-west-3", aws_access_key_id="testing", aws_secret_access_key="testing")
    with Stubber(emr) as stub:  # checks names, types and lengths against the service's own model
        stub.add_response(operation, answer)
        getattr(emr, operation)(**request_)


def test_driver_and_one_executor_are_on_demand_all_others_from_spot() -> None:
    fleets = {fleet["InstanceFleetType"]: fleet for fleet in REQUEST["Instances"]["InstanceFleets"]}
    asked = {kind: (fleet["TargetOnDemandCapacity"], fleet["TargetSpotCapacity"]) for kind, fleet in fleets.items()}
    assert asked == {"MASTER": (1, 0), "CORE": (1, 0), "TASK": (0, 1)}
    for fleet in fleets.values():
        assert [config["InstanceType"] for config in fleet["InstanceTypeConfigs"]] == ["m5.xlarge", "m6i.xlarge"]
        assert {config["WeightedCapacity"] for config in fleet["InstanceTypeConfigs"]} == {1}
    # 16 vCPUs: the driver's 4, and 3 executors, of which one on demand.
    limits = REQUEST["ManagedScalingPolicy"]["ComputeLimits"]
    assert (limits["MinimumCapacityUnits"], limits["MaximumCapacityUnits"]) == (1, 3)
    assert limits["MaximumOnDemandCapacityUnits"] == limits["MaximumCoreCapacityUnits"] == 1


def test_one_executor_needs_no_fleet_from_spot() -> None:
    small = run_job_flow(CLUSTER, JOB, replace(WORKERS, max_vcpu=8), STEP)
    assert [fleet["InstanceFleetType"] for fleet in small["Instances"]["InstanceFleets"]] == ["MASTER", "CORE"]
    assert small["ManagedScalingPolicy"]["ComputeLimits"]["MaximumCapacityUnits"] == 1


def test_a_transient_cluster_ends_with_its_step_and_when_it_fails() -> None:
    assert REQUEST["Instances"]["KeepJobFlowAliveWhenNoSteps"] is False
    assert REQUEST["Instances"]["TerminationProtected"] is False
    assert [step["ActionOnFailure"] for step in REQUEST["Steps"]] == ["TERMINATE_CLUSTER"]
    assert "AutoTerminationPolicy" not in REQUEST


def test_a_cluster_that_is_kept_survives_a_failure_and_ends_when_it_is_idle() -> None:
    kept = run_job_flow(CLUSTER, JOB, WORKERS, STEP, keep_alive=True)
    assert kept["Instances"]["KeepJobFlowAliveWhenNoSteps"] is True
    assert kept["AutoTerminationPolicy"] == {"IdleTimeout": 300}
    assert [step["ActionOnFailure"] for step in kept["Steps"]] == ["CONTINUE"]
    assert add_job_flow_steps("j-1", STEP)["Steps"][0]["ActionOnFailure"] == "CONTINUE"


def test_the_step_runs_the_whole_job_with_options_it_knows() -> None:
    arguments = words()[words().index("s3://code/entry.py") + 1 :]
    assert arguments.pop(0) == "run"
    options: dict[str, Any] = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert options.pop("--variance") == "0.95"
    settings = Settings(**{name.removeprefix("--"): value for name, value in options.items()})
    assert (settings.images, settings.output) == ("s3://images/a folder", "s3://results/results")
    assert settings.model == "s3://code/model.zip"


def test_driver_and_executors_run_the_python_that_the_bootstrap_action_installs() -> None:
    [action] = REQUEST["BootstrapActions"]
    script = action["ScriptBootstrapAction"]
    assert script["Path"] == "s3://code/install.sh"
    archive, sha256, folder = script["Args"]
    assert (archive, sha256) == ("s3://code/deps.tgz", "ab" * 32)
    assert f"spark.pyspark.python={folder}/bin/python" in words()
    # What it has installed is not shipped again.
    assert not [word for word in words() if word.startswith(("spark.archives", "spark.executorEnv.PYTHONPATH"))]


def test_the_driver_is_the_steps_own_process_for_so_long_and_no_longer() -> None:
    arguments = words()
    assert arguments[arguments.index("--deploy-mode") + 1] == "client"
    at = arguments.index("timeout")
    assert arguments[at + 2 : at + 4] == ["3600", "spark-submit"]
    assert arguments[0] == "env"
    assert "AWS_DEFAULT_REGION=eu-west-3" in arguments[1:at]
    assert "CLIENT_TOKEN=token-1" in arguments[1:at]


def test_all_that_policies_and_alerts_look_for_is_there() -> None:
    assert REQUEST["Name"] == STEP["Name"] == "fruits"
    tags = {tag["Key"]: tag["Value"] for tag in REQUEST["Tags"]}
    assert tags == {"for-use-with-amazon-emr-managed-policies": "true", "stack": "fruits"}
    assert (REQUEST["ServiceRole"], REQUEST["JobFlowRole"]) == ("service", "profile")
    assert REQUEST["SecurityConfiguration"] == "secure"
    assert REQUEST["LogUri"] == "s3://logs/emr/"
    network = REQUEST["Instances"]
    assert network["Ec2SubnetIds"] == ["subnet-1", "subnet-2"]
    assert network["EmrManagedMasterSecurityGroup"] == network["EmrManagedSlaveSecurityGroup"] == "sg-nodes"
    assert network["ServiceAccessSecurityGroup"] == "sg-service"


def test_outputs_say_all_that_a_cluster_is_started_with() -> None:
    given = outputs(CLUSTER, JOB, WORKERS)
    assert (given["Target"], given["DependenciesSha256"], given["IdleMinutes"]) == ("cluster", "ab" * 32, "5")
    assert read_outputs(given) == (CLUSTER, JOB, WORKERS)
