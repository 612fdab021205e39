"""The stage of the rehearsal: a checkout in, a server with the deployed stack and an executor beside it out."""

import contextlib
import gzip
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from submit.emr_ec2 import ClusterRuns
from submit.request.cluster import run_job_flow, step
from submit.request.serverless import start_job_run
from submit.request.targets import VERSION, Application, Cluster, read_outputs
from tests.aws.cdk import run_cdk
from tests.aws.server import REGION, Server, play
from tests.rehearsal.clusters import Clusters, clustered
from tests.rehearsal.executor import Executor, executed
from tests.rehearsal.flow import NODE

STACK = "fruits"
SETTINGS = {
    # Executors of one core, at most two, as this machine may have no more: the smallest workers of EMR Serverless.
    "serverless": {"worker_vcpu": "1", "worker_memory_gb": "2", "max_vcpu": "3"},
    # The smallest nodes that EMR takes, one beside the driver's.
    "cluster": {"compute": "cluster", "worker_vcpu": "4", "worker_memory_gb": "8", "max_vcpu": "8"},
}


@dataclass(frozen=True)
class Stage:
    """A deployed stack, and what plays with it; here on EMR Serverless."""

    aws: Server
    executor: Any
    project: Path

    @property
    def outputs(self) -> dict[str, str]:
        """Return the outputs of the stack."""
        [stack] = self.aws.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    @property
    def s3(self) -> Any:
        """Return a client of S3 with all rights."""
        return self.aws.client("s3")

    def locate(self, output: str, *below: str) -> tuple[str, str]:
        """Return bucket and key of an address that the stack names, or of what lies below it."""
        bucket, _, key = self.outputs[output].removeprefix("s3://").partition("/")
        return bucket, "/".join([part for part in (key.rstrip("/"), *below) if part])

    def start(self, *options: str, attempts: int | None = None) -> str:
        """Start a run as the submitter does with `--max-executors 1`, without its checks; return the id.

        Parameters
        ----------
        *options : str
            Of the job.
        attempts : int or None
            Instead of as many as the submitter asks for.
        """
        outputs = self.outputs
        assert outputs["Version"] == VERSION
        target, job, workers = read_outputs(outputs)
        assert isinstance(target, Application)
        smallest = replace(workers, max_vcpu=2 * workers.vcpu)
        request = start_job_run(target, job, smallest, uuid.uuid4().hex, options, name="rehearsal")
        if attempts is not None:
            request["retryPolicy"]["maxAttempts"] = attempts
        return str(self.aws.client("emr-serverless").start_job_run(**request)["jobRunId"])

    def run(self, *options: str, attempts: int | None = None) -> dict[str, Any]:
        """Run the job to its end; return what the service knows of it."""
        return dict(self.executor.wait(self.start(*options, attempts=attempts)))

    def log(self, run_id: str, stream: str = "stdout", attempt: int = 1) -> str:
        """Return what a run's driver said, as it lies in the bucket of logs; empty where nothing does.

        All that Python says, on either stream, is in `stdout`: spark-submit starts it with both of them in one pipe,
        which it copies to its own standard output.
        """
        folders = ("attempts", str(attempt)) if attempt > 1 else ()
        below = ("applications", self.outputs["ApplicationId"], "jobs", run_id, *folders, "SPARK_DRIVER")
        return self.get_text(f"s3://{'/'.join(self.locate('Logs', *below, f'{stream}.gz'))}")

    def last_error(self, run_id: str, attempt: int = 1) -> str:
        """Return the job's own last word on why it failed, empty where it said none."""
        said = [line for line in self.log(run_id, attempt=attempt).splitlines() if line.startswith("error: ")]
        return said[-1] if said else ""

    def upload(self, folder: Path, names: Sequence[str], *below: str) -> None:
        """Put files of a folder into the bucket of images."""
        for name in names:
            bucket, key = self.locate("Images", *below, name)
            self.s3.put_object(Bucket=bucket, Key=key, Body=(folder / name).read_bytes())

    def download(self, folder: Path) -> Path:
        """Copy the results to a new folder."""
        bucket, prefix = self.locate("Results")
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
            for file in page.get("Contents", []):
                path = folder / file["Key"].removeprefix(f"{prefix}/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.s3.get_object(Bucket=bucket, Key=file["Key"])["Body"].read())
        return folder

    def get_text(self, address: str) -> str:
        """Return a log of the bucket of logs, empty where it is not there."""
        bucket, _, key = address.removeprefix("s3://").partition("/")
        try:
            return gzip.decompress(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()).decode()
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            return ""

    def free(self) -> None:
        """Take away the lease of a run that could not do so itself, so that the next one need not watch it."""
        bucket, key = self.locate("Results", ".lock")
        self.s3.delete_object(Bucket=bucket, Key=key)


class ClusterStage(Stage):
    """The same where runs are steps of clusters, each of which ends with its run."""

    @property
    def steps(self) -> ClusterRuns:
        """Return what the submitter asks about runs."""
        emr = self.aws.client("emr")
        return ClusterRuns(emr, emr, STACK, self.outputs["Logs"], REGION)

    def start(self, *options: str, attempts: int | None = None, seconds: int | None = None) -> str:
        """Start a run as the submitter does, without its checks; return the id. A step has one attempt.

        `seconds` takes the place of the time-out, which is counted in minutes else.
        """
        target, job, workers = read_outputs(self.outputs)
        assert isinstance(target, Cluster)
        run = step(job, workers, uuid.uuid4().hex, options, STACK)
        if seconds is not None:
            words = run["HadoopJarStep"]["Args"]
            words[words.index("spark-submit") - 1] = str(seconds)
        return self.steps.start(run_job_flow(target, job, workers, run))

    def run(self, *options: str, attempts: int | None = None, seconds: int | None = None) -> dict[str, Any]:
        """Run the job to its end, and its cluster; return what the submitter makes of it, by the service's names."""
        run_id = self.start(*options, seconds=seconds)
        self.executor.wait(run_id)
        run = self.steps.get(run_id)
        return {"jobRunId": run.id, "state": run.state, "stateDetails": run.details, "attempt": run.attempt}

    def log(self, run_id: str, stream: str = "stdout", attempt: int = 1) -> str:
        """Return what a run's driver said, as it lies in the bucket of logs; empty where nothing does."""
        return self.get_text(f"{self.steps.log(self.s3, run_id).address}{stream}.gz")

    def last_error(self, run_id: str, attempt: int = 1) -> str:
        """Return the job's own last word on why it failed, or the bootstrap action's; empty where neither said one."""
        said = [line for line in self.bootstrap_log(run_id).splitlines() if ": error: " in line]
        return super().last_error(run_id, attempt) or "".join(said[-1:])

    def bootstrap_log(self, run_id: str) -> str:
        """Return what the bootstrap action said on the node of a run's cluster."""
        cluster_id = run_id.partition("/")[0]
        return self.get_text(f"{self.outputs['Logs']}/{cluster_id}/node/{NODE}/bootstrap-actions/1/stderr.gz")


@contextlib.contextmanager
def staged(project: Path, folder: Path, environment: Mapping[str, str], target: str = "serverless") -> Iterator[Stage]:
    """Deploy the project's stack, as a user does, and take its runs.

    Parameters
    ----------
    project : Path
        A checkout.
    folder : Path
        An empty folder for what runs need.
    environment : mapping
        Which model: WEIGHTS and the like.
    target : str
        `serverless` or `cluster`.
    """
    playing: Callable[[Server, Path], AbstractContextManager[Executor | Clusters]]
    playing, kind = (clustered, ClusterStage) if target == "cluster" else (executed, Stage)
    with play() as aws, playing(aws, folder) as executor:
        context = [word for name, value in SETTINGS[target].items() for word in ("-c", f"{name}={value}")]
        for command in ("bootstrap", "deploy"):
            # The model and the archive may have to be built first.
            done = run_cdk(command, *context, cwd=project, endpoint=aws.endpoint, env=environment, timeout=600)
            if done.returncode != 0:
                raise RuntimeError(f"cdk {command} failed:\n{done.stdout}")
        if aws.skipped:
            raise RuntimeError(f"not deployed: {', '.join(aws.skipped)}")
        yield kind(aws, executor, project)
