"""What is sent to EMR Serverless: where a run takes place and its options in, requests as dicts out. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

# Of what the stack tells the submitter in its outputs: another number is another contract.
VERSION = "1"

# Of a stack that is told neither; where submit looks that is told neither.
DEFAULT_NAME = "fruits"
DEFAULT_REGION = "eu-west-3"
# What the service allows, from and to.
TIMEOUT_MINUTES = (5, 1_000_000)

# What EMR Serverless has: vCPUs of a worker -> its memory in GB from, to, in steps of.
# https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/app-behavior.html#worker-configs
WORKER_MEMORY_GB = {1: (2, 8, 1), 2: (4, 16, 1), 4: (8, 30, 1), 8: (16, 60, 4), 16: (32, 120, 8)}

# A run that fails is tried once more, from the beginning: what was committed is not done again.
MAX_ATTEMPTS = 2

# Beside each core's Python worker (300 MB and three times the largest picture, 200 MB at 50 megapixels) there is
# little for the JVM to do: no vector passes through it. 5/8 of the least that EMR has, 2 GB a core, are 1.25 GB.
PYTHON_SHARE = 5 / 8
# The driver's JVM collects the moments, at most 32 of 13 MB, and hands them to Python: half for each.
DRIVER_PYTHON_SHARE = 1 / 2


@dataclass(frozen=True)
class Workers:
    """The size of a worker, the driver's included, and how much all may be together."""

    vcpu: int
    memory_gb: int
    disk_gb: int
    max_vcpu: int

    @property
    def max_executors(self) -> int:
        """Return how many executors there may be beside the driver."""
        return self.max_vcpu // self.vcpu - 1


@dataclass(frozen=True)
class Target:
    """Where runs take place: what the stack gives as outputs.

    Attributes
    ----------
    application_id, job_role : str
        The EMR Serverless application, and the ARN of the role that a run takes on.
    entry_point, job_zip, dependencies, model : str
        `s3://` addresses of entry.py, job.zip, the dependency archive (.tar.gz) and the model folder (.zip).
    images, results : str
        `s3://` addresses of the pictures and of all that is written.
    region : str
        AWS region.
    timeout_minutes : int
        When the service ends a run.
    """

    application_id: str
    job_role: str
    entry_point: str
    job_zip: str
    dependencies: str
    model: str
    images: str
    results: str
    region: str
    timeout_minutes: int


def start_job_run(
    target: Target, workers: Workers, client_token: str, options: Sequence[str] = (), name: str = "run"
) -> dict[str, Any]:
    """Return the request that starts a run of the whole job.

    Parameters
    ----------
    target, workers : Target, Workers
        Where, and of what size.
    client_token : str
        The service starts one run for each token, however often it is sent.
    options : sequence of str
        More options of `python -m job run`, such as `["--variance", "0.95"]`.
    name : str
        What the run is called in the console.

    Returns
    -------
    dict
        Parameters of `StartJobRun` as boto3 takes them.
    """
    return {
        "applicationId": target.application_id,
        "clientToken": client_token,
        "executionRoleArn": target.job_role,
        "name": name,
        "jobDriver": {
            "sparkSubmit": {
                "entryPoint": target.entry_point,
                "entryPointArguments": [
                    *("run", "--images", target.images, "--model", MODEL, "--output", target.results),
                    *options,
                ],
                "sparkSubmitParameters": _conf(spark_settings(target, workers)),
            }
        },
        "executionTimeoutMinutes": target.timeout_minutes,
        "retryPolicy": {"maxAttempts": MAX_ATTEMPTS},
    }


# Where archives are unpacked in each worker's working folder.
DEPENDENCIES = "deps"
MODEL = "model"


def spark_settings(target: Target, workers: Workers) -> dict[str, str]:
    """Return the settings of Spark for a run, in text as spark-submit takes them."""
    heap, python = _memory(workers, PYTHON_SHARE)
    driver_heap, driver_python = _memory(workers, DRIVER_PYTHON_SHARE)
    # EMR's own Python runs the job; what it imports lies in the archive.
    environment = {"PYTHONPATH": f"./{DEPENDENCIES}", "OMP_NUM_THREADS": "1", "AWS_DEFAULT_REGION": target.region}
    return {
        "spark.submit.pyFiles": target.job_zip,
        "spark.archives": f"{target.dependencies}#{DEPENDENCIES},{target.model}#{MODEL}",
        **{f"spark.emr-serverless.driverEnv.{name}": value for name, value in environment.items()},
        **{f"spark.executorEnv.{name}": value for name, value in environment.items()},
        "spark.driver.cores": str(workers.vcpu),
        "spark.driver.memory": driver_heap,
        "spark.driver.memoryOverhead": driver_python,
        "spark.emr-serverless.driver.disk": f"{workers.disk_gb}g",
        "spark.executor.cores": str(workers.vcpu),
        "spark.executor.memory": heap,
        "spark.executor.memoryOverhead": python,
        "spark.emr-serverless.executor.disk": f"{workers.disk_gb}g",
        "spark.dynamicAllocation.enabled": "true",
        "spark.dynamicAllocation.initialExecutors": "1",
        "spark.dynamicAllocation.minExecutors": "1",
        # Without it the service's own bound is without end.
        "spark.dynamicAllocation.maxExecutors": str(workers.max_executors),
        "spark.sql.session.timeZone": "UTC",
        # The job has no tables: without this EMR may ask Glue for its catalog, which the role may not.
        "spark.sql.catalogImplementation": "in-memory",
    }


def _memory(workers: Workers, python_share: float) -> tuple[str, str]:
    """Return the JVM's heap and what is left beside it, as Spark writes them; together they are the worker's memory."""
    megabytes = workers.memory_gb * 1024
    python = round(megabytes * python_share)
    return f"{megabytes - python}m", f"{python}m"


def _conf(settings: Mapping[str, str]) -> str:
    return " ".join(f"--conf {name}={value}" for name, value in settings.items())


def scheduled(request: object) -> Any:
    """Return a request as EventBridge Scheduler's universal target takes it: names begin with a capital letter."""
    if isinstance(request, Mapping):
        return {name[0].upper() + name[1:]: scheduled(value) for name, value in request.items()}
    if isinstance(request, list | tuple):
        return [scheduled(value) for value in request]
    return request


def outputs(target: Target, workers: Workers) -> dict[str, str]:
    """Return what the stack tells the submitter: names of outputs, and their values as text."""
    told: dict[str, Any] = {"version": VERSION}
    for part in (target, workers):
        told |= {option.name: getattr(part, option.name) for option in fields(part)}
    return {_output(name): str(value) for name, value in told.items()}


def read_outputs(told: Mapping[str, str]) -> tuple[Target, Workers]:
    """Return what `outputs` was given, from what it returned. Raises `KeyError` for a name that is not there."""

    def read(kind: Any) -> Any:
        values = {option.name: told[_output(option.name)] for option in fields(kind)}
        return kind(
            **{one.name: int(values[one.name]) if one.type is int else values[one.name] for one in fields(kind)}
        )

    return read(Target), read(Workers)


def _output(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))
