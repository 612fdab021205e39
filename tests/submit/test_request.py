"""Requests: compared with what botocore says of the service, and with numbers worked out by hand."""

import re
import shlex
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from job.settings import Settings
from submit.request.serverless import scheduled, start_job_run
from submit.request.targets import Application, JobSpec, Workers, outputs, read_outputs

APPLICATION = Application("00abc")
JOB = JobSpec(
    job_role="arn:aws:iam::111111111111:role/job",
    entry_point="s3://code/entry.py",
    job_zip="s3://code/job.zip",
    dependencies="s3://code/deps.tgz",
    model="s3://code/model.zip",
    images="s3://images/a folder",
    results="s3://results/results",
    logs="s3://logs/emr",
    region="eu-west-3",
    timeout_minutes=60,
)
WORKERS = Workers(vcpu=4, memory_gb=8, disk_gb=20, max_vcpu=16)
REQUEST = start_job_run(APPLICATION, JOB, WORKERS, "token-1", ["--variance", "0.95"])


def conf(request: dict[str, Any]) -> dict[str, str]:
    """Return the settings of a request, read as a shell and spark-submit read them."""
    words = shlex.split(request["jobDriver"]["sparkSubmit"]["sparkSubmitParameters"])
    assert words[::2] == ["--conf"] * (len(words) // 2)
    return dict(word.split("=", 1) for word in words[1::2])


def client() -> Any:
    return boto3.client("emr-serverless", "eu-west-3", aws_access_key_id="testing", aws_secret_access_key="testing")


def test_the_service_takes_the_request_as_it_is() -> None:
    emr = client()
    with Stubber(emr) as stub:  # checks names, types and lengths against the service's own model
        stub.add_response(
            "start_job_run", {"applicationId": "00abc", "jobRunId": "00run", "arn": f"arn:aws:{'x' * 60}"}
        )
        assert emr.start_job_run(**REQUEST)["jobRunId"] == "00run"


def test_what_runs_is_the_whole_job_with_options_it_knows() -> None:
    driver = REQUEST["jobDriver"]["sparkSubmit"]
    assert driver["entryPoint"] == "s3://code/entry.py"
    command, *words = driver["entryPointArguments"]
    assert command == "run"
    options = dict(zip(words[::2], words[1::2], strict=True))
    assert options.pop("--variance") == "0.95"
    settings = Settings(**{name.removeprefix("--"): value for name, value in options.items()})
    assert (settings.images, settings.output) == ("s3://images/a folder", "s3://results/results")
    assert settings.model == "s3://code/model.zip"


@pytest.mark.parametrize(
    ("workers", "heap", "overhead", "driver_heap", "executors"),
    [
        # 8 GB are 8192 MB: five eighths beside the executor's heap, half beside the driver's.
        (WORKERS, 3072, 5120, 4096, 3),
        (Workers(1, 2, 20, 16), 768, 1280, 1024, 15),
        (Workers(16, 32, 20, 35), 12288, 20480, 16384, 1),
    ],
)
def test_heap_and_overhead_are_the_workers_memory(
    workers: Workers, heap: int, overhead: int, driver_heap: int, executors: int
) -> None:
    settings = conf(start_job_run(APPLICATION, JOB, workers, "token"))
    assert settings["spark.executor.memory"] == f"{heap}m"
    assert settings["spark.executor.memoryOverhead"] == f"{overhead}m"
    assert settings["spark.driver.memory"] == f"{driver_heap}m"
    assert settings["spark.executor.cores"] == settings["spark.driver.cores"] == str(workers.vcpu)
    assert settings["spark.dynamicAllocation.maxExecutors"] == str(executors)
    # Driver and executors together stay below the bound.
    assert (executors + 1) * workers.vcpu <= workers.max_vcpu


def test_a_run_is_bounded_in_time_and_attempts() -> None:
    assert REQUEST["executionTimeoutMinutes"] == 60
    assert REQUEST["retryPolicy"] == {"maxAttempts": 2}


def test_driver_and_executors_find_the_dependencies_where_they_are_unpacked() -> None:
    settings = conf(REQUEST)
    assert settings["spark.archives"] == "s3://code/deps.tgz#deps"
    assert settings["spark.emr-serverless.driverEnv.PYTHONPATH"] == settings["spark.executorEnv.PYTHONPATH"] == "./deps"
    assert settings["spark.submit.pyFiles"] == "s3://code/job.zip"


def check(shape: Any, value: Any) -> None:
    """Compare a request for the scheduler with the service's model, each name as AWS's other SDKs write it."""
    if shape.type_name == "structure":
        names = {name[0].upper() + name[1:]: member for name, member in shape.members.items()}
        assert set(value) <= set(names)
        for name, inner in value.items():
            check(names[name], inner)
    elif shape.type_name == "list":
        for inner in value:
            check(shape.member, inner)
    else:
        assert isinstance(value, {"string": str, "integer": int, "long": int}[shape.type_name])


def test_the_scheduler_takes_names_with_capitals_at_every_level() -> None:
    shape = client().meta.service_model.operation_model("StartJobRun").input_shape
    wanted = scheduled(REQUEST)
    check(shape, wanted)
    assert wanted["JobDriver"]["SparkSubmit"]["EntryPoint"] == "s3://code/entry.py"
    # What is sent is the same.
    assert re.sub(r"'(\w)", lambda found: f"'{found[1].lower()}", str(wanted)) == str(REQUEST)


def test_outputs_say_all_that_a_request_is_made_from() -> None:
    given = outputs(APPLICATION, JOB, WORKERS)
    assert (given["Version"], given["Target"]) == ("2", "serverless")
    assert given["ApplicationId"] == "00abc"
    assert given["MaxVcpu"] == "16"
    assert all(re.fullmatch(r"[A-Za-z0-9]+", name) for name in given)  # what CloudFormation allows
    assert outputs(APPLICATION, replace(JOB, images="s3://other"), WORKERS)["Images"] == "s3://other"
    # And the submitter has them back as they were, numbers as numbers.
    assert read_outputs(given) == (APPLICATION, JOB, WORKERS)
