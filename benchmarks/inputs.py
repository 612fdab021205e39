"""The inputs of benchmarks, made once below `build/bench/`: images of several sizes, a model of full size.

The weights are random: their values do not change how long an inference takes.
"""

import hashlib
import io
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.harness import RESULTS
from bootstrap.model import import_network
from job.features.model import DESCRIPTION, TFLITE, ModelDescription

INPUTS = RESULTS / "inputs"
WEIGHTS = "model.weights.h5"  # in the model's folder, for those that run Keras
FOLDERS = 100
CONTENTS = 200  # different images; the others are copies of them, as files of their own


def random_model(alpha: float = 1.0, input_size: int = 224) -> Path:
    """Return a model folder with random weights, and the same weights as Keras reads them."""

    def make(folder: Path) -> None:
        network = import_network()
        built = network.build(alpha, input_size)
        built.save_weights(folder / WEIGHTS)
        tflite = network.export(built)
        (folder / TFLITE).write_bytes(tflite)
        description = ModelDescription(
            architecture="MobileNetV2",
            alpha=alpha,
            input_size=input_size,
            n_features=1280,
            weights="random",
            weights_note="random weights, for timing only",
            weights_sha256="0" * 64,
            preprocessing="RGB, x / 127.5 - 1",
            tflite_sha256=hashlib.sha256(tflite).hexdigest(),
        )
        (folder / DESCRIPTION).write_bytes(description.to_bytes())

    return made_once(INPUTS / f"random-{alpha:g}-{input_size}", make)


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return a folder that was made whole, now or earlier; what an interrupted making has left is made anew."""
    done = folder / ".done"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make(folder)
        done.touch()
    return folder


def name(number: int) -> str:
    """Return the address of the image of that number below its folder or bucket: there are 100 labels."""
    return f"label-{number % FOLDERS:03d}/{number:07d}.jpg"


def write(folder: Path, count: int, contents: Sequence[bytes]) -> None:
    """Write `count` files, taking turns with their contents."""
    for number in range(min(count, FOLDERS)):
        (folder / name(number)).parent.mkdir()
    for number in range(count):
        (folder / name(number)).write_bytes(contents[number % len(contents)])


def images(count: int, width: int = 100, height: int = 100) -> Path:
    """Return a folder with `count` JPEGs of that size, in 100 folders, each a file of its own."""

    def make(folder: Path) -> None:
        write(folder, count, [jpeg(number, width, height) for number in range(min(count, CONTENTS))])

    return made_once(INPUTS / f"{count}-{width}x{height}", make)


def jpeg(seed: int, width: int, height: int) -> bytes:
    """Return a JPEG with large shapes, edges and some noise, of about the size that a camera's has."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
    smooth: NDArray[np.int16] = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    noise = rng.integers(-6, 7, (height, width, 1), np.int16)
    file = io.BytesIO()
    Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def warm(folder: Path) -> None:
    """Read every file of a folder, so that the first contender finds them in memory as the last does."""
    for parent, _, names in os.walk(folder):
        for name in names:
            Path(parent, name).read_bytes()
