"""EMR Serverless beside the server of `tests.aws`: requests of boto3 and of whoever else in, real runs out.

    with play() as aws, executed(aws, folder) as executor:
        aws.client("emr-serverless").start_job_run(...)

moto keeps applications and answers; what it does not have is put in here: runs that run, tokens that are known, the
address of Spark's page. A run's own time goes by in `run`, its processes live in `container`.
"""

import contextlib
import json
import sys
import threading
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from moto.core.responses import ActionResult
from moto.emrserverless import urls
from moto.emrserverless.exceptions import ResourceNotFoundException, ValidationException
from moto.emrserverless.models import EMRServerlessBackend
from moto.emrserverless.responses import EMRServerlessResponse

from job.spark.java import find_java
from tests.aws.server import Server
from tests.rehearsal.container import Machine
from tests.rehearsal.enforcement import Guard, enforced
from tests.rehearsal.run import Host, Run


class Executor:
    """The runs of all applications."""

    def __init__(self, aws: Server, machine: Machine, folder: Path, guard: Guard) -> None:
        self.runs: dict[str, Run] = {}
        self.guard = guard
        self._aws = aws
        self._lock = threading.Lock()
        self._slots: dict[str, threading.Semaphore] = {}
        self._host = Host(aws, guard, machine, folder, lambda application_id: self._slots[application_id])

    def take(self, request: dict[str, Any], answer: EMRServerlessResponse, start: Any) -> ActionResult:
        """Start a run for a request, as it was sent; the same token gives the same run."""
        with self._lock:
            application_id = answer._get_param("applicationId")
            known = [
                run
                for run in self.runs.values()
                if run.record.application_id == application_id and run.record.client_token == request["clientToken"]
            ]
            if known:
                if known[0].request != request:
                    raise ValidationException("The client token was used with other parameters")
                return _ids(known[0].record)
            started: ActionResult = start(answer)
            backend = answer.emrserverless_backend
            application = backend.applications[application_id]
            record = backend.job_runs[application_id][-1]
            run = Run(self._host, request, record, _log_uri(request, application))
            scheduler = getattr(application, "scheduler_configuration", None) or {}
            self._slots.setdefault(application_id, threading.Semaphore(scheduler.get("maxConcurrentRuns", 15)))
            self.runs[record.id] = run
            application.state = "STARTED"
            run.start()
            return started

    def wait(self, run_id: str, seconds: float = 300) -> dict[str, Any]:
        """Wait for the end of a run; return what the service knows of it."""
        run, until = self.runs[run_id], time.monotonic() + seconds
        while not run.ended:
            if time.monotonic() > until:
                raise TimeoutError(f"run {run_id} is still {run.record.state} after {seconds:g} s")
            time.sleep(0.1)
        run.join()
        if run.fault:
            raise run.fault
        return self.describe(run_id)

    def describe(self, run_id: str) -> dict[str, Any]:
        """Return what GetJobRun says."""
        application_id = self.runs[run_id].record.application_id
        answer = self._aws.client("emr-serverless").get_job_run(applicationId=application_id, jobRunId=run_id)
        return dict(answer["jobRun"])

    def close(self) -> None:
        """Stop what runs, and wait until nothing is left of it."""
        for run in self.runs.values():
            run.cancel()
        for run in self.runs.values():
            run.join()


@contextlib.contextmanager
def executed(aws: Server, folder: Path) -> Iterator[Executor]:
    """Take the runs that a server is asked for, in an empty folder, with the rights on S3 of their roles enforced."""
    with enforced() as guard, contextlib.ExitStack() as stack:
        executor = Executor(aws, bare_machine(folder / "python"), folder, guard)
        start = EMRServerlessResponse.start_job_run
        listed, get = EMRServerlessBackend.list_job_runs, EMRServerlessBackend.get_job_run

        def start_job_run(self: EMRServerlessResponse) -> ActionResult:
            return executor.take(json.loads(self.body), self, start)

        def cancel_job_run(self: Any, application_id: str, job_run_id: str) -> tuple[str, str]:
            _run(executor, self, application_id, job_run_id).cancel()
            return application_id, job_run_id

        def list_job_runs(self: Any, application_id: str, *rest: Any, **more: Any) -> Any:
            # An application without runs is no unknown application.
            self.job_runs.setdefault(self.get_application(application_id).id, [])
            return listed(self, application_id, *rest, **more)[::-1]

        def get_job_run(self: Any, application_id: str, job_run_id: str) -> Any:
            self.job_runs.setdefault(self.get_application(application_id).id, [])
            return get(self, application_id, job_run_id)

        def get_dashboard_for_job_run(self: EMRServerlessResponse) -> ActionResult:
            application_id, run_id = _asked(self)
            _run(executor, self.emrserverless_backend, application_id, run_id)
            return ActionResult({"url": f"https://p-{run_id}-{application_id}.example.com/shs/history/{run_id}"})

        dashboard = "{0}/applications/(?P<applicationId>[^/]+)/jobruns/(?P<jobRunId>[^/]+)/dashboard$"
        for target in (
            patch.object(EMRServerlessResponse, "start_job_run", start_job_run),
            patch.object(EMRServerlessBackend, "cancel_job_run", cancel_job_run),
            patch.object(EMRServerlessBackend, "list_job_runs", list_job_runs),
            patch.object(EMRServerlessBackend, "get_job_run", get_job_run),
            patch.object(EMRServerlessResponse, "get_dashboard_for_job_run", get_dashboard_for_job_run, create=True),
            patch.dict(urls.url_paths, {dashboard: EMRServerlessResponse.dispatch}),
        ):
            stack.enter_context(target)
        try:
            yield executor
        finally:
            executor.close()


def bare_machine(folder: Path) -> Machine:
    """Return a Java, and a new Python of this version without a package, not even pip."""
    java = find_java()
    if java is None:
        raise FileNotFoundError("Spark needs Java 17 or 21")
    venv.create(folder, symlinks=True, with_pip=False)
    return Machine(java, folder / f"bin/python{sys.version_info[0]}")


def _asked(answer: EMRServerlessResponse) -> tuple[str, str]:
    return answer._get_param("applicationId"), answer._get_param("jobRunId")


def _run(executor: Executor, backend: Any, application_id: str, run_id: str) -> Run:
    backend.get_application(application_id)
    run = executor.runs.get(run_id)
    if run is None or run.record.application_id != application_id:
        raise ResourceNotFoundException(run_id, "JobRun")
    return run


def _ids(record: Any) -> ActionResult:
    return ActionResult({"applicationId": record.application_id, "jobRunId": record.id, "arn": record.arn})


def _log_uri(request: dict[str, Any], application: Any) -> str:
    """Return where logs go: what the request says comes before what the application says."""
    override = request.get("configurationOverrides", {}).get("monitoringConfiguration", {})
    monitoring = getattr(application, "monitoring_configuration", None) or {}
    return str((override or monitoring)["s3MonitoringConfiguration"]["logUri"])
