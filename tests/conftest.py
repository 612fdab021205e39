"""What tests share: markers by need, one Spark session, small images, a small model, real data where it is present.

Nothing heavy is loaded here: a fixture imports what it starts.
"""

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from job.command_line import Log
from job.settings import Settings
from tests.needs import MARKERS, markers_of_fixtures, markers_of_module
from tests.tiny_model import make_tiny_model

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page
    from pyspark.sql import SparkSession

TESTS = Path(__file__).resolve().parent
SHARED = TESTS.parents[1] / "shared"

# Files that take longest, on 2 cores: they start first, so that no worker ends with one of them alone.
SECONDS = {
    "rehearsal/test_rehearsal.py": 200,
    "rehearsal/test_clusters.py": 114,
    "infra/test_deploy.py": 113,
    "job/storage/test_s3.py": 91,
    "job/stages/test_faulty_runs.py": 52,
    "job/test_command.py": 50,
    "job/stages/test_kills.py": 49,
    "job/stages/test_run.py": 47,
    "infra/test_rules.py": 40,
    "job/stages/test_lost_lease.py": 45,
    "bootstrap/test_archive.py": 39,
    "job/curation/test_page.py": 39,
    "job/images/test_sandbox.py": 38,
    "lookup/test_page.py": 37,
    "job/stages/test_run_on_s3.py": 37,
    "fruits/test_wheel.py": 35,
    "bootstrap/test_package.py": 31,
    "job/stages/test_report.py": 30,
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help=f"only tests that need none of: {', '.join(MARKERS)}")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out, in the fast tier, files that could not even be loaded there."""
    if not config.getoption("--fast"):
        return None
    file = collection_path / "conftest.py" if collection_path.is_dir() else collection_path
    return True if file.suffix == ".py" and file.is_file() and markers_of_module(file) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test with what it needs; in the fast tier, leave out those that need anything."""
    for item in items:
        for marker in sorted(markers_of_module(item.path) | markers_of_fixtures(item)):
            item.add_marker(marker)
    if config.getoption("--fast"):
        heavy = [item for item in items if any(item.get_closest_marker(marker) for marker in MARKERS)]
        config.hook.pytest_deselected(items=heavy)
        items[:] = [item for item in items if item not in set(heavy)]
    items.sort(key=lambda item: -SECONDS.get(item.path.relative_to(TESTS).as_posix(), 0))


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[SparkSession]":
    from job.spark.session import local_session  # noqa: PLC0415

    log = Log(tmp_path_factory.mktemp("spark") / "spark.log")
    with local_session(Settings(master="local[2,4]"), log) as session:
        yield session


def shared(name: str) -> Path:
    """Return a file or folder of the optional test data, or skip, saying so."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"SKIPPED, NOT PROVEN: needs the optional test data {name}")
    return path


@pytest.fixture(scope="session")
def fruits496() -> Path:
    return shared("data/fruits360-test496")


@pytest.fixture(scope="session")
def imagenet035_weights() -> Path:
    return shared("weights/mobilenet_v2_0.35_224_no_top.weights.h5")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model folder that infers in a blink."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny-model"), seed=1)


def make_images(folder: Path, labels: dict[str, int], size: int = 40) -> Path:
    """Write so many different small JPEGs for each label, one folder a label."""
    for number, (label, count) in enumerate(labels.items()):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            rng = np.random.default_rng([number, index])
            coarse = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((size, size)).save(folder / label / f"{index:03d}.jpg", quality=92)
    return folder


def run_json(output: Path) -> dict:  # type: ignore[type-arg]
    """Return what the run has said of itself."""
    result: dict = json.loads((output / "run.json").read_text())  # type: ignore[type-arg]
    return result


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return a folder of products for x86_64; not to be changed. It takes half a minute: one build for all workers."""
    from bootstrap.model import ModelSpec  # noqa: PLC0415 - for the tests of the cloud alone
    from bootstrap.package import build  # noqa: PLC0415
    from job.errors import JobError  # noqa: PLC0415

    base = tmp_path_factory.getbasetemp()
    folder = base if worker_id == "master" else base.parent
    output, done = folder / "built" / "dist", folder / "built.done"
    with (folder / "built.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            try:
                build(output, "x86_64", ModelSpec("embedded"))
            except JobError as error:
                if "connection broken" in str(error):
                    pytest.skip(f"SKIPPED, NOT PROVEN: {error}")
                raise
            done.touch()
    return output


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    """Return the address of a moto server of this process."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def watch(page: "Page", troubles: list[str], expected: "Callable[[ConsoleMessage], bool]") -> None:
    """Note what a page has on its console that is not expected, its errors, and the dialogs that it opens."""

    def refuse(dialog: "Dialog") -> None:
        troubles.append(dialog.message)
        dialog.dismiss()

    page.on("console", lambda message: None if expected(message) else troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", refuse)


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """Return a headless Chromium, Debian's."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("SKIPPED, NOT PROVEN: no page was tested, for want of a browser: apt-get install chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()
