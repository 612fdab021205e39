"""A faulty S3: an HTTP server that relays to another one and spoils some of its answers, repeatably."""

import hashlib
import http.client
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Fault(Enum):
    """The faults that can happen to a request."""

    SLOW_DOWN = "503, as S3 throttles; nothing is done"
    INTERNAL = "500; nothing is done"
    DENIED = "403; nothing is done"
    EXPIRED = "400, as for credentials whose time is over; nothing is done"
    ARCHIVED = "403, as for an object in an archive; nothing is done"
    RESET = "the connection is reset; nothing is done"
    SILENT = "no answer ever; nothing is done"
    LOST = "it is done, then the connection is reset before the answer"
    TRUNCATED = "it is done, the answer ends halfway, its length saying more"
    BROKEN = "it is done, the connection is reset halfway through the answer"
    STALLED = "it is done, nothing follows the first half of the answer"


# Variables that would point the AWS libraries to an account of this machine.
OTHER_ACCOUNTS = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL_S3")


def s3_variables(endpoint: str) -> dict[str, str]:
    """Return the environment in which the AWS libraries find a server, and no account of this machine."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nowhere/config",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
    }


# What a network and a service do on a bad day; a refusal is another matter.
TRANSIENT: list[Fault] = [fault for fault in Fault if fault not in {Fault.DENIED, Fault.EXPIRED, Fault.ARCHIVED}]

_REFUSALS = {
    Fault.SLOW_DOWN: (503, "SlowDown", "Please reduce your request rate."),
    Fault.INTERNAL: (500, "InternalError", "We encountered an internal error. Please try again."),
    Fault.DENIED: (403, "AccessDenied", "Access Denied"),
    Fault.EXPIRED: (400, "ExpiredToken", "The provided token has expired."),
    Fault.ARCHIVED: (403, "InvalidObjectState", "The operation is not valid for the object's storage class"),
}


class Request(NamedTuple):
    """A request as a rule sees it; `nth` counts from 0 how often the very same one came before."""

    method: str
    path: str
    nth: int


Rule = Callable[[Request], Fault | None]


def sometimes(rate: float, seed: int, faults: Sequence[Fault] = TRANSIENT) -> Rule:
    """Spoil a share of the requests, each by its own draw: neither their order nor the bucket matters."""

    def rule(request: Request) -> Fault | None:
        below = request.path.split("/", 2)[-1]
        digest = hashlib.sha256(f"{seed} {request.method} {below} {request.nth}".encode()).digest()
        draw, kind = struct.unpack_from("<QQ", digest)
        return faults[kind % len(faults)] if draw / 2**64 < rate else None

    return rule


def first(*faults: Fault | None, method: str = "GET", part: str = "") -> Rule:
    """Spoil the first requests of a method whose path has this part, one after the other."""
    left, lock = list(faults), threading.Lock()

    def rule(request: Request) -> Fault | None:
        with lock:
            return left.pop(0) if left and request.method == method and part in request.path else None

    return rule


def always(fault: Fault, method: str = "GET", part: str = "") -> Rule:
    """Spoil all requests of a method whose path has this part."""
    return lambda request: fault if request.method == method and part in request.path else None


class FaultyS3(ThreadingHTTPServer):
    """Relays to `upstream` (`http://host:port`) what its rule lets pass, and counts the faults that it injects."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream: str, rule: Rule = lambda _: None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.rule = rule
        self.requests: list[Request] = []
        self.injected: Counter[Fault] = Counter()
        # Called between the upstream's answer and a spoilt one.
        self.before_answer: Callable[[Request], None] = lambda _: None
        self._upstream = upstream.removeprefix("http://")
        self._seen: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        """Return the address to give to S3 clients."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def decide(self, method: str, path: str) -> tuple[Request, Fault | None]:
        """Record a request, and return its fault, if any."""
        with self._lock:
            request = Request(method, path, self._seen[method, path])
            self._seen[method, path] += 1
            self.requests.append(request)
        fault = self.rule(request)
        if fault:
            with self._lock:
                self.injected[fault] += 1
        return request, fault

    def relay(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Return the status, headers and body with which the upstream answers."""
        connection = http.client.HTTPConnection(self._upstream, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that hang up are part of the play."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the client's word that it has had the headers
    server: FaultyS3

    def _do(self) -> None:
        body = self._body()
        request, fault = self.server.decide(self.command, self.path)
        if fault in _REFUSALS:
            status, code, message = _REFUSALS[fault]
            text = f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'.encode()
            return self._answer(status, {"Content-Type": "application/xml", "Content-Length": str(len(text))}, text)
        if fault is Fault.RESET:
            return self._reset()
        if fault is Fault.SILENT:
            return self._wait()
        per_connection = {"connection", "transfer-encoding", "content-length", "expect", "keep-alive"}
        headers = {name: value for name, value in self.headers.items() if name.lower() not in per_connection}
        status, answered, content = self.server.relay(self.command, self.path, headers, body)
        # The length of a HEAD's answer is that of what is not sent.
        length = next((value for name, value in answered.items() if name.lower() == "content-length"), "0")
        answered = {name: value for name, value in answered.items() if name.lower() not in per_connection}
        answered["Content-Length"] = length if self.command == "HEAD" else str(len(content))
        if fault:
            self.server.before_answer(request)
        if fault is Fault.LOST or (fault and len(content) < 2):
            return self._reset()
        if fault:
            self._answer(status, answered, content[: len(content) // 2])
            if fault is Fault.BROKEN:
                return self._reset()
            if fault is Fault.STALLED:
                return self._wait()
            self.close_connection = True
            return None
        return self._answer(status, answered, content)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _do

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        self.wfile.flush()

    def _reset(self) -> None:
        # Closing with a linger of zero seconds sends RST rather than FIN.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.connection.close()

    def _wait(self) -> None:
        """Say nothing more until the client hangs up (or for two minutes, longer than any client should wait)."""
        self.connection.settimeout(0.2)
        until = time.monotonic() + 120
        while time.monotonic() < until and not self.server.ended.is_set():
            try:
                if not self.connection.recv(1):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def faulty_s3(upstream: str, rule: Rule = lambda _: None) -> Iterator[FaultyS3]:
    """Run a faulty S3 in a thread for as long as it lasts."""
    server = FaultyS3(upstream, rule)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
