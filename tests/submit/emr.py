"""EMR Serverless on this machine: an HTTP server with the service's own paths, whose runs go as a test has written."""

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FINAL = {"SUCCESS", "FAILED", "CANCELLED"}
APPLICATION = "00application01"


@dataclass(frozen=True)
class Answer:
    """What is answered in place of the service's own."""

    status: int
    code: str
    message: str = ""


@dataclass(frozen=True)
class Lost:
    """What was asked is done, and the connection is gone before the answer."""


THROTTLED = Answer(429, "ThrottlingException", "Rate exceeded")
EXPIRED = Answer(403, "ExpiredTokenException", "The security token included in the request is expired")
Step = str | dict[str, Any] | Callable[[], None]


@dataclass
class PlayedRun:
    """A run, and what becomes of it: each time it is asked for, it takes the next step; the last one lasts."""

    id: str
    request: dict[str, Any]
    steps: list[Step]
    known: dict[str, Any] = field(default_factory=dict)

    def step(self) -> None:
        while self.steps:
            step = self.steps.pop(0)
            if callable(step):
                step()
                continue
            self.known |= {"state": step} if isinstance(step, str) else step
            now = time.time()
            if self.known["state"] == "RUNNING":
                self.known.setdefault("startedAt", now)
            if self.known["state"] in FINAL:
                self.known.setdefault("endedAt", now)
                self.known.setdefault(
                    "billedResourceUtilization", {"vCPUHour": 2.0, "memoryGBHour": 4.0, "storageGBHour": 0.0}
                )
            return


class Emr(ThreadingHTTPServer):
    """The service. `steps` is what the next run goes through, `faults` what operations answer first, in order."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int = 0, handler: "type[_Handler] | None" = None) -> None:
        super().__init__(("127.0.0.1", port), handler or _Handler)
        self.steps: list[Step] = ["SUBMITTED", "SCHEDULED", "RUNNING", "SUCCESS"]
        self.runs: dict[str, PlayedRun] = {}
        self.faults: dict[str, list[Answer | Lost]] = {}
        # Operation, path and body of all that was asked, in order.
        self.asked: list[tuple[str, str, bytes]] = []
        self.lock = threading.RLock()
        # Whether connections are kept open for more requests.
        self.keep_alive = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def count(self, operation: str) -> int:
        return sum(name == operation for name, _, _ in self.asked)

    def add(self, run_id: str, *steps: Step, created: float | None = None, **known: Any) -> PlayedRun:
        now = time.time() if created is None else created
        run = PlayedRun(run_id, {}, list(steps), {"createdAt": now, "state": "SUBMITTED", "name": "by hand", **known})
        self.runs[run_id] = run
        return run

    def start_job_run(self, body: dict[str, Any]) -> dict[str, Any]:
        for run in self.runs.values():
            if run.request.get("clientToken") == body["clientToken"]:
                return self._named(run)
        run = self.add(f"00run{len(self.runs):04d}", *self.steps)
        run.request = body
        for name in ("name", "jobDriver", "executionTimeoutMinutes", "retryPolicy"):
            run.known[name] = body[name]
        return self._named(run)

    def get_job_run(self, run: PlayedRun) -> dict[str, Any]:
        run.step()
        always = {
            "applicationId": APPLICATION,
            "jobRunId": run.id,
            "arn": self._named(run)["arn"],
            "createdBy": "arn:aws:iam::111111111111:user/somebody",
            "updatedAt": run.known["createdAt"],
            "executionRole": "arn:aws:iam::111111111111:role/job",
            "stateDetails": "",
            "releaseLabel": "emr-spark-8.1.0",
            "jobDriver": {"sparkSubmit": {"entryPoint": "s3://code/1.py"}},
            "attempt": 1,
        }
        return {"jobRun": always | run.known}

    def cancel_job_run(self, run: PlayedRun) -> dict[str, Any]:
        if run.known["state"] not in FINAL:
            run.steps[:] = ["CANCELLING", "CANCELLED"]
        return {"applicationId": APPLICATION, "jobRunId": run.id}

    def list_job_runs(self) -> dict[str, Any]:
        names = ("createdAt", "state", "name")
        common = {"updatedAt": 0, "createdBy": "x", "executionRole": "x", "stateDetails": "", "releaseLabel": "x"}
        return {
            "jobRuns": [
                {"applicationId": APPLICATION, "id": run.id, "arn": "x" * 60, **common}
                | {name: run.known[name] for name in names}
                for run in self.runs.values()
            ]
        }

    @staticmethod
    def _named(run: PlayedRun) -> dict[str, Any]:
        arn = f"arn:aws:emr-serverless:eu-west-3:111111111111:/applications/{APPLICATION}/jobruns/{run.id}"
        return {"applicationId": APPLICATION, "jobRunId": run.id, "arn": arn}

    def answer(self, operation: str, run_id: str, body: bytes) -> dict[str, Any] | Answer:
        if operation == "StartJobRun":
            return self.start_job_run(json.loads(body))
        if operation == "ListJobRuns":
            return self.list_job_runs()
        run = self.runs.get(run_id)
        if run is None:
            return Answer(404, "ResourceNotFoundException", f"Job run {run_id} does not exist")
        if operation == "GetDashboardForJobRun":
            return {"url": f"https://spark.example/{run_id}?authToken=1"}
        return self.get_job_run(run) if operation == "GetJobRun" else self.cancel_job_run(run)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that hang up are part of the play."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Emr
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement

    def _do(self) -> None:
        self.close_connection = self.close_connection or not self.server.keep_alive
        path = self.path.split("?")[0]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        operation, run_id = self._operation(path)
        with self.server.lock:
            self.server.asked.append((operation, path, body))
            faults = self.server.faults.get(operation, [])
            fault = faults.pop(0) if faults else None
            answer = fault if isinstance(fault, Answer) else self.server.answer(operation, run_id, body)
        if isinstance(fault, Lost):
            # Closing with a linger of zero seconds sends RST rather than FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.rfile.close()
            self.connection.close()
            return
        status, headers = 200, {"Content-Type": "application/json"}
        if isinstance(answer, Answer):
            status, headers["x-amzn-ErrorType"] = answer.status, answer.code
            # The older protocol has the code in the body.
            answer = {"__type": answer.code, "message": answer.message}
        content = json.dumps(answer).encode()
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _do

    def _operation(self, path: str) -> tuple[str, str]:
        words = path.strip("/").split("/")
        assert words[:3] == ["applications", APPLICATION, "jobruns"], path
        if len(words) == 3:
            return {"POST": "StartJobRun", "GET": "ListJobRuns"}[self.command], ""
        if len(words) == 5:
            return {"dashboard": "GetDashboardForJobRun"}[words[4]], words[3]
        return {"GET": "GetJobRun", "DELETE": "CancelJobRun"}[self.command], words[3]

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def emr_server() -> Iterator[Emr]:
    """Run the service in a thread for as long as it lasts."""
    server = Emr()
    with serving(server):
        yield server
    server.server_close()


@contextlib.contextmanager
def serving(server: Emr) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
