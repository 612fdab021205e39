"""The code that the peers share: decoding for a network, ONNX Runtime, labels, and the timing of a peer.

    python -m benchmarks.peers.NAME IMAGES MODEL OUTPUT WARM [--batch N]

Features go below OUTPUT as Parquet: path, label, features. Before the clock starts, everything is started and run once
over the folder WARM.
"""

import argparse
import io
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

SIDE = 224  # pixels
CHUNK = 4  # images; ONNX Runtime was fastest so, of 1 to 32


def pixels(data: bytes) -> NDArray[np.float32]:
    """Return an image as the network takes it, [224, 224, 3] from -1 to 1."""
    with Image.open(io.BytesIO(data)) as image:
        square = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(square, np.float32) / np.float32(127.5) - np.float32(1)


def label(path: str) -> str:
    """Return the name of the folder that an image is in."""
    return path.rsplit("/", 2)[-2]


class Onnx:
    """ONNX Runtime with a model loaded, on one thread: as many of them as cores."""

    def __init__(self, model: str) -> None:
        import onnxruntime  # type: ignore[import-not-found]  # noqa: PLC0415 - in the workers only

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def features(self, files: Iterable[bytes]) -> NDArray[np.float32]:
        """Return the features [n, 1280] of images, given as the bytes of their files."""
        contents = list(files)
        chunks = (contents[start : start + CHUNK] for start in range(0, len(contents), CHUNK))
        return np.concatenate(
            [self._session.run(None, {self._input: np.stack([pixels(data) for data in chunk])})[0] for chunk in chunks]
        )


def keras_network(weights: str) -> Any:
    """Return Keras' MobileNetV2 without its classifier, with the weights of a file."""
    import keras  # noqa: PLC0415 - in the workers only

    shape = (SIDE, SIDE, 3)
    network = keras.applications.MobileNetV2(input_shape=shape, weights=None, include_top=False, pooling="avg")
    network.load_weights(weights)
    return network


def lists(features: NDArray[np.float32]) -> pa.Array:
    """Return rows [n, d] as Arrow lists, without a copy of their values."""
    count, width = features.shape
    return pa.ListArray.from_arrays(np.arange(count + 1, dtype=np.int32) * width, features.ravel())


def parse_options(text: str | None, batch: int) -> argparse.Namespace:
    """Return a peer's options: `images`, `model`, `output`, `warm`, and `batch`, how many images at a time."""
    parser = argparse.ArgumentParser(description=text)
    for name in ("images", "model", "output", "warm"):
        parser.add_argument(name, type=lambda value: Path(value).resolve())
    parser.add_argument("--batch", type=int, default=batch)
    return parser.parse_args()


def measure(options: argparse.Namespace, run: Callable[[Path, Path], Any]) -> None:
    """Run a peer on the images that warm it up, then time it on all of them and print the line."""
    run(options.warm, options.output / "warm")
    started = time.perf_counter()
    run(options.images, options.output / "features")
    seconds = time.perf_counter() - started
    count = sum(1 for _ in options.images.rglob("*.jpg"))
    print(json.dumps({"seconds": seconds, "images": count, "features": str(options.output / "features")}), flush=True)
