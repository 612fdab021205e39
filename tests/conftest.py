"""What tests share: one Spark session, real pictures, a small model made on the spot, real data where it is present."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, sync_playwright
from pyspark.sql import SparkSession

from bootstrap.model import ModelSpec
from bootstrap.package import build
from job.command_line import Log
from job.errors import JobError
from job.features.model import ModelDescription
from job.settings import Settings
from job.spark.session import local_session

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
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
    """Return a model folder that infers in a blink: a random 16-feature network on 32 x 32 pixels."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny-model"), seed=1)


def make_tiny_model(folder: Path, seed: int, features: int = 16) -> Path:
    """Write a model folder with a small real network (one convolution, average pooling), random but seeded."""
    # TensorFlow takes seconds to load: only where a model is made.
    import keras  # noqa: PLC0415

    from bootstrap.network import export  # noqa: PLC0415

    keras.utils.set_random_seed(seed)
    network = keras.Sequential(
        [
            keras.layers.Input((32, 32, 3)),
            keras.layers.Conv2D(features, 3, strides=2, activation="relu6"),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    tflite = export(network)
    description = ModelDescription(
        architecture="tiny",
        alpha=1.0,
        input_size=32,
        n_features=features,
        weights=f"random, seed {seed}",
        weights_note="for tests",
        weights_sha256="0" * 64,
        preprocessing="RGB, x / 127.5 - 1",
        tflite_sha256=hashlib.sha256(tflite).hexdigest(),
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.tflite").write_bytes(tflite)
    (folder / "model.json").write_bytes(description.to_bytes())
    return folder


def make_pictures(folder: Path, labels: dict[str, int], size: int = 40) -> Path:
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
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of products for x86_64; not to be changed. It takes half a minute, most of it pip's."""
    output = tmp_path_factory.mktemp("built") / "dist"
    try:
        build(output, "x86_64", ModelSpec("embedded"))
    except JobError as error:
        if "connection broken" in str(error):
            pytest.skip(f"SKIPPED, NOT PROVEN: {error}")
        raise
    return output


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    """Return the address of a moto server of this process."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def watch(page: Page, troubles: list[str], expected: Callable[[ConsoleMessage], bool]) -> None:
    """Note what a page has on its console that is not expected, its errors, and the dialogs that it opens."""

    def refuse(dialog: Dialog) -> None:
        troubles.append(dialog.message)
        dialog.dismiss()

    page.on("console", lambda message: None if expected(message) else troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", refuse)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return a headless Chromium, Debian's."""
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("SKIPPED, NOT PROVEN: no page was tested, for want of a browser: apt-get install chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()
