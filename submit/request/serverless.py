"""The request to EMR Serverless, StartJobRun, for the submitter and for EventBridge Scheduler."""

from collections.abc import Mapping, Sequence
from typing import Any

from submit.request.spark import conf, job_arguments, job_environment, spark_settings
from submit.request.targets import Application, JobSpec, Workers

# Folder below each worker's working folder into which the archive is unpacked.
DEPENDENCIES = "deps"


def start_job_run(
    application: Application,
    job: JobSpec,
    workers: Workers,
    client_token: str,
    options: Sequence[str] = (),
    name: str = "run",
) -> dict[str, Any]:
    """Return the request that starts a run of the whole job on EMR Serverless.

    Parameters
    ----------
    application, job, workers : Application, JobSpec, Workers
        The application, what runs on it, and the size of its workers.
    client_token : str
        The service starts one run for each token, however often it is sent.
    options : sequence of str
        More options of `python -m job run`, such as `["--variance", "0.95"]`.
    name : str
        Name of the run in the console.

    Returns
    -------
    dict
        Parameters of `StartJobRun` as boto3 takes them.
    """
    return {
        "applicationId": application.application_id,
        "clientToken": client_token,
        "executionRoleArn": job.job_role,
        "name": name,
        "jobDriver": {
            "sparkSubmit": {
                "entryPoint": job.entry_point,
                "entryPointArguments": job_arguments(job, options),
                "sparkSubmitParameters": " ".join(conf(application_settings(job, workers))),
            }
        },
        "executionTimeoutMinutes": job.timeout_minutes,
        "retryPolicy": {"maxAttempts": application.attempts},
    }


def application_settings(job: JobSpec, workers: Workers) -> dict[str, str]:
    """Return the settings of Spark for a run on EMR Serverless, in text as spark-submit takes them."""
    # EMR's own Python runs the job; its imports come from the archive.
    environment = {"PYTHONPATH": f"./{DEPENDENCIES}", **job_environment(job)}
    return {
        **spark_settings(job, workers),
        "spark.archives": f"{job.dependencies}#{DEPENDENCIES}",
        **{f"spark.emr-serverless.driverEnv.{name}": value for name, value in environment.items()},
        "spark.executorEnv.PYTHONPATH": environment["PYTHONPATH"],
        "spark.driver.cores": str(workers.vcpu),
        "spark.emr-serverless.driver.disk": f"{workers.disk_gb}g",
        "spark.emr-serverless.executor.disk": f"{workers.disk_gb}g",
    }


def scheduled(request: object) -> Any:
    """Return a request as EventBridge Scheduler's universal target takes it: names begin with a capital letter."""
    if isinstance(request, Mapping):
        return {name[0].upper() + name[1:]: scheduled(value) for name, value in request.items()}
    if isinstance(request, list | tuple):
        return [scheduled(value) for value in request]
    return request
