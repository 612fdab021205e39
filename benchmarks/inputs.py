"""What benchmarks work on, made once below `build/bench/`: pictures of several sizes, a model of full size.

The weights are random where nothing else is said: what the numbers are does not change how long they take.
"""

import hashlib
import io
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.harness import RESULTS
from bootstrap.model import import_network
from job.model import DESCRIPTION, TFLITE, Description, describe

INPUTS = RESULTS / "inputs"
WEIGHTS = "model.weights.h5"  # in the model's folder, for those that run Keras
FOLDERS = 100
CONTENTS = 200  # different pictures; the others are copies of them, as files of their own


def random_model(alpha: float = 1.0, input_size: int = 224) -> Path:
    """Return a model folder with random weights, and the same weights as Keras reads them."""
    folder = INPUTS / f"model-{alpha:g}-{input_size}"
    if (folder / DESCRIPTION).exists() and (folder / WEIGHTS).exists():
        return folder
    network = import_network()
    model = network.build(alpha, input_size)
    tflite = network.export(model)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_weights(folder / WEIGHTS)
    (folder / TFLITE).write_bytes(tflite)
    description = Description(
        architecture="MobileNetV2",
        alpha=alpha,
        input_size=input_size,
        features=1280,
        weights="random",
        weights_note="random weights, for timing only",
        weights_sha256="0" * 64,
        preprocessing="RGB, x / 127.5 - 1",
        tflite_sha256=hashlib.sha256(tflite).hexdigest(),
    )
    (folder / DESCRIPTION).write_bytes(describe(description))
    return folder


def pictures(count: int, width: int = 100, height: int = 100) -> Path:
    """Return a folder with so many JPEGs of that size, in 100 folders, each a file of its own."""
    folder = INPUTS / f"{count}-{width}x{height}"
    done = folder / ".done"
    if done.exists():
        return folder
    contents = [jpeg(number, width, height) for number in range(min(count, CONTENTS))]
    for number in range(count):
        place = folder / f"label-{number % FOLDERS:03d}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:07d}.jpg").write_bytes(contents[number % len(contents)])
    done.touch()
    return folder


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
    for place, _, names in os.walk(folder):
        for name in names:
            Path(place, name).read_bytes()
