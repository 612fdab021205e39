"""Settings of Spark and arguments of the job, on either target: a job and workers in, settings and words out."""

from collections.abc import Mapping, Sequence

from submit.request.targets import JobSpec, Workers

# The Python worker of each core takes 300 MB and three times the largest image, 200 MB at 50 megapixels. The JVM needs
# little beside it: no vector passes through it. 5/8 of the smallest size of EMR, 2 GB a core, are 1.25 GB.
PYTHON_SHARE = 5 / 8
# The JVM of the driver collects the moments, at most 32 of 13 MB, and passes them to Python: half for each.
DRIVER_PYTHON_SHARE = 1 / 2


def spark_settings(job: JobSpec, workers: Workers) -> dict[str, str]:
    """Return the settings of Spark for a run on either target."""
    heap, python = _memory(workers, PYTHON_SHARE)
    driver_heap, driver_python = _memory(workers, DRIVER_PYTHON_SHARE)
    return {
        "spark.submit.pyFiles": job.job_zip,
        **{f"spark.executorEnv.{name}": value for name, value in job_environment(job).items()},
        "spark.driver.memory": driver_heap,
        "spark.driver.memoryOverhead": driver_python,
        "spark.executor.cores": str(workers.vcpu),
        "spark.executor.memory": heap,
        "spark.executor.memoryOverhead": python,
        "spark.dynamicAllocation.enabled": "true",
        "spark.dynamicAllocation.initialExecutors": "1",
        "spark.dynamicAllocation.minExecutors": "1",
        # The default of the service has no bound.
        "spark.dynamicAllocation.maxExecutors": str(workers.max_executors),
        "spark.sql.session.timeZone": "UTC",
        # The job has no tables: without this EMR may ask Glue for its catalog, which the role does not allow.
        "spark.sql.catalogImplementation": "in-memory",
    }


def job_environment(job: JobSpec) -> dict[str, str]:
    """Return the environment of driver and executors: one thread a core, and the region of S3."""
    return {"OMP_NUM_THREADS": "1", "AWS_DEFAULT_REGION": job.region}


def _memory(workers: Workers, python_share: float) -> tuple[str, str]:
    """Return the heap of the JVM and the memory beside it, as Spark writes them: together the worker's memory."""
    megabytes = workers.memory_gb * 1024
    python = round(megabytes * python_share)
    return f"{megabytes - python}m", f"{python}m"


def conf(settings: Mapping[str, str]) -> list[str]:
    """Return settings as words of spark-submit."""
    return [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]


def job_arguments(job: JobSpec, options: Sequence[str]) -> list[str]:
    """Return the arguments of the job."""
    return ["run", "--images", job.images, "--model", job.model, "--output", job.results, *options]
