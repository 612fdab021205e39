"""The service over real HTTP: a process of its own, good and bad requests, new results, the end."""

import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pyspark.sql import SparkSession

from job.settings import Settings
from job.stages.featurize import featurize
from job.stages.reduce import reduce
from tests.conftest import run_json

ROOT = Path(__file__).resolve().parents[2]


Answer = tuple[int, Any]


@dataclass
class Service:
    """A running service: its process, its port, the file that its log goes to."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    def post(self, body: bytes, kind: str, path: str = "/classify", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", path, body, {"Content-Type": kind, **headers})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text)

    def classify(self, data: bytes, name: str = "x.jpg", field: str = "image", query: str = "") -> Answer:
        return self.post(*multipart(data, name, field), path=f"/classify{query}")

    def get(self, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}

    def memory(self) -> float:
        """Return the resident megabytes of the process, without its children."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) / 1024


def multipart(data: bytes, name: str, field: str) -> tuple[bytes, str]:
    head = (
        f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\nContent-Type: image/jpeg\r\n\r\n'
    )
    return head.encode() + data + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"


def wait_for(seen: Callable[[], object]) -> None:
    """Wait at most two minutes until `seen` is true; the caller asserts that it is."""
    deadline = time.monotonic() + 120
    while not seen() and time.monotonic() < deadline:
        time.sleep(0.01)


def start(output: Path, log: Path, *arguments: str) -> Service:
    command = [sys.executable, "-m", "lookup", "serve", "--output", str(output), "--port", "0", *arguments]
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, stderr=file)
    for _ in range(1_200):
        found = re.search(r"serving http://127.0.0.1:(\d+)/", log.read_text())
        if found:
            return Service(process, int(found[1]), log)
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def service(output: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = start(output, tmp_path_factory.mktemp("service") / "log")
    yield running
    running.process.terminate()
    assert running.process.wait(30) == 0
    assert "Traceback" not in running.log.read_text()


@pytest.fixture(scope="module")
def lemon(fruit: tuple[Path, Path]) -> bytes:
    return (fruit[1] / "Lemon" / "25.jpg").read_bytes()


def test_it_answers_what_the_command_answers(
    service: Service, lemon: bytes, output: Path, fruit: tuple[Path, Path]
) -> None:
    status, answer = service.classify(lemon, "25.jpg", query="?k=3")
    assert status == 200
    command = [sys.executable, "-m", "lookup", "classify", str(fruit[1] / "Lemon" / "25.jpg"), "--output", str(output)]
    done = subprocess.run([*command, "-k", "3", "--json"], cwd=ROOT, capture_output=True, text=True, check=True)
    [expected] = json.loads(done.stdout)
    assert answer["run"] == run_json(output)["run"]
    assert answer["path"] == "25.jpg"
    assert (answer["label"], answer["confidence"]) == (expected["label"], expected["confidence"])
    keys = ("path", "label", "similarity")
    neighbors = [{key: neighbor[key] for key in keys} for neighbor in answer["neighbours"]]
    assert neighbors == expected["neighbours"]
    status, thumbnail, headers = service.get(f"/{answer['neighbours'][0]['thumbnail']}")
    assert status == 200
    assert headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(thumbnail)).size == (160, 160)


def test_the_former_field_name_still_works(service: Service, lemon: bytes) -> None:
    assert service.classify(lemon, field="picture") == service.classify(lemon, field="image")


def bomb() -> bytes:
    """Return a PNG of a few hundred bytes that claims 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


BAD: dict[str, tuple[Callable[[Service], Answer], int, str]] = {
    "empty": (lambda to: to.classify(b""), 422, "zero bytes"),
    "not an image": (lambda to: to.classify(b"GIF89a, or is it?"), 422, "cannot be used"),
    "a bomb": (lambda to: to.classify(bomb()), 422, "too many pixels"),
    "50 MB": (lambda to: to.classify(bytes(50 << 20)), 413, "more than 20 MB"),
    "the wrong field": (lambda to: to.classify(b"x", field="photo"), 422, "field called image"),
    "no form": (lambda to: to.post(b"x", "image/jpeg"), 422, "field called image"),
    "no boundary": (lambda to: to.post(b"x", "multipart/form-data"), 400, "boundary"),
    "a broken form": (lambda to: to.post(b"rubbish", "multipart/form-data; boundary=x"), 400, "multipart"),
    "text in the field": (
        lambda to: to.post(b"image=x", "application/x-www-form-urlencoded"),
        422,
        "field called image",
    ),
    "text in the old field": (
        lambda to: to.post(b"picture=x", "application/x-www-form-urlencoded"),
        422,
        "field called image",
    ),
    "too many neighbours": (lambda to: to.classify(b"x", query="?k=1000"), 422, "less than or equal to 50"),
    "a name that is no text": (
        lambda to: to.post(multipart(b"x", "+2AA-.jpg", "image")[0], "multipart/form-data; boundary=x; charset=utf-7"),
        422,
        "cannot be used",
    ),
    "a huge header": (lambda to: to.post(b"x", "text/plain", X="x" * 20_000), 431, "headers"),
    "another path": (lambda to: to.post(b"x", "text/plain", "/nothing"), 404, "Not Found"),
    "another method": (lambda to: to.post(b"x", "text/plain", "/health"), 405, "Method Not Allowed"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_gets_a_sentence(service: Service, case: str) -> None:
    ask, status, words = BAD[case]
    found, answer = ask(service)
    assert found == status
    assert set(answer) == {"error"}
    assert words in answer["error"]


def test_headers_without_end_are_refused(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ")
        answer = b""
        try:
            for _ in range(200):
                connection.sendall(b"x" * 10_000)
            answer = connection.recv(1_000)
        except ConnectionError:
            pass
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert service.get("/health")[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80"])
def test_a_page_of_another_name_gets_nothing(service: Service, host: str) -> None:
    assert service.get("/health", Host=host)[0] == 400


def test_no_thumbnail_but_of_images_in_the_index(service: Service, output: Path) -> None:
    run = run_json(output)["run"]
    for path in (f"{run}/300", f"{run}/-1", "another/0", f"{run}/..%2f..%2fetc%2fpasswd", f"{run}/x"):
        assert 400 <= service.get(f"/thumbnail/{path}")[0] < 500, path


def test_it_describes_itself(service: Service) -> None:
    described = json.loads(service.get("/openapi.json")[1])
    answers = described["paths"]["/classify"]["post"]["responses"]
    assert {"200", "408", "413", "422", "503"} <= set(answers)
    assert set(described["components"]["schemas"]["AnswerModel"]["properties"]) == {
        "path", "label", "confidence", "neighbours", "run",
    }  # fmt: skip
    assert all("docs" not in path for path in described["paths"])
    health = json.loads(service.get("/health")[1])
    assert health["status"] == "ok"
    assert (health["pictures"], health["labels"]) == (300, 12)


def test_the_page_loads_nothing_from_other_sites(service: Service) -> None:
    _, page, headers = service.get("/")
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert b"http" not in page


def test_a_thousand_requests_with_bad_ones_among_them(service: Service, fruit: tuple[Path, Path]) -> None:
    good = [(path.parent.name, path.read_bytes()) for path in sorted(fruit[1].glob("*/*.jpg"))]
    alone = {label: service.classify(data)[1]["label"] for label, data in good}
    for _ in range(5):  # memory that is taken at first use is no growth
        [ask(service) for ask, _, _ in BAD.values()]
    before = service.memory()

    def ask(number: int) -> None:
        if number % 20 == 0:
            action, status, _ = list(BAD.values())[number // 20 % len(BAD)]
            assert action(service)[0] == status
        elif number % 20 == 1:
            hang_up(service.port, good[number % len(good)][1])
        else:
            label, data = good[number % len(good)]
            status, answer = service.classify(data)
            assert status == 200
            if data == dict(good)[label]:
                assert answer["label"] == alone[label]

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(1_000)))
    assert service.get("/health")[0] == 200
    assert service.memory() - before < 50


def hang_up(port: int, data: bytes) -> None:
    """Send half of a photo and hang up."""
    body, kind = multipart(data, "x.jpg", "image")
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = (
            f"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body[: len(body) // 2])


def test_the_log_is_one_object_a_line(service: Service, lemon: bytes) -> None:
    before = len(service.log.read_text().splitlines())
    service.classify(lemon)

    def named() -> list[dict[str, object]]:
        lines = service.log.read_text().splitlines()[before:]
        return [fields for fields in map(json.loads, lines) if "label" in fields]

    wait_for(named)  # a line is written once the answer is sent
    [fields] = named()
    assert {"time", "method", "path", "status", "ms"} <= set(fields)
    assert (fields["method"], fields["path"], fields["status"], fields["label"]) == ("POST", "/classify", 200, "Lemon")
    others = [line for line in service.log.read_text().splitlines() if not line.startswith("{")]
    assert [line for line in others if not line.startswith(("learning", "300 images", "serving"))] == []


def test_new_results_are_reloaded_and_no_request_is_dropped(
    spark: SparkSession, fruit: tuple[Path, Path], embedded: Path, lemon: bytes, tmp_path: Path
) -> None:
    images, output = tmp_path / "images", tmp_path / "output"
    for label in ("Banana", "Kiwi"):
        shutil.copytree(fruit[0] / label, images / label)
    settings = Settings(images=str(images), model=str(embedded), output=str(output), report=False, components=10)
    featurize(spark, settings)
    reduce(spark, settings)
    running = start(output, tmp_path / "log")
    try:
        assert running.classify(lemon)[1]["label"] != "Lemon"
        shutil.copytree(fruit[0] / "Lemon", images / "Lemon")
        runs = set()
        with ThreadPoolExecutor(4) as pool:
            asking = True

            def ask(_: int) -> None:
                while asking:
                    status, answer = running.classify(lemon)
                    assert status == 200
                    runs.add(answer["run"])

            askers = [pool.submit(ask, number) for number in range(4)]
            featurize(spark, settings)
            reduce(spark, settings)
            new = run_json(output)["run"]
            wait_for(lambda: new in runs)
            asking = False
            for asker in askers:
                asker.result()
        assert len(runs) == 2
        assert running.classify(lemon)[1]["label"] == "Lemon"
        # Children of the old results are gone.
        children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
        assert len(children) <= (os.cpu_count() or 1) + 1
        (output / "run.json").write_text("{")
        wait_for(lambda: "damaged" in running.log.read_text())
        assert "damaged" in running.log.read_text()
        assert running.classify(lemon)[0] == 200
    finally:
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(30) == 0


def test_requests_that_have_arrived_are_answered_before_the_end(output: Path, lemon: bytes, tmp_path: Path) -> None:
    running = start(output, tmp_path / "log")
    body, kind = multipart(lemon, "x.jpg", "image")
    request = urllib.request.Request(f"http://127.0.0.1:{running.port}/classify", body, {"Content-Type": kind})
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(lambda: urllib.request.urlopen(request, timeout=30).status) for _ in range(8)]
        wait_for(lambda: "/classify" in running.log.read_text())
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0
        done = [answer.exception() or answer.result() for answer in answers]
    # Requests that had arrived were answered; the others found no listener.
    assert done.count(200) >= 1
    assert all(answer == 200 or "refused" in str(answer) or "reset" in str(answer) for answer in done)


def test_a_port_in_use(output: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [
            sys.executable,
            "-m",
            "lookup",
            "serve",
            "--output",
            str(output),
            "--port",
            str(taken.getsockname()[1]),
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "choose another --port" in done.stderr
