"""Keras' MobileNetV2: built, given weights, exported for LiteRT, the export checked. Loading this loads TensorFlow."""

import os
import re
import shutil
import tempfile
import urllib.request
from base64 import b64decode
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np
import tensorflow as tf

from bootstrap.sample import render_images
from job.errors import JobError
from job.features.extractor import FeatureExtractor
from job.features.model import read_model
from job.features.silenced import silenced
from job.images.decode import decode

SERVER = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
TOLERANCE = 1e-4  # of the largest feature


def build(alpha: float, input_size: int) -> Any:
    """Make MobileNetV2 with average pooling, without classifier and with random weights."""
    return keras.applications.MobileNetV2(
        input_shape=(input_size, input_size, 3), alpha=alpha, weights=None, include_top=False, pooling="avg"
    )


def imagenet_file(
    alpha: float,
    input_size: int,
    *,
    server: str = SERVER,
    open_url: Callable[..., Any] = urllib.request.urlopen,
    get_file: Callable[..., str] = keras.utils.get_file,
) -> Path:
    """Find Keras' file of ImageNet weights: in its cache, else on its server.

    Keras names no checksums for these files. The server names the MD5 of what it has, over verified TLS, and Keras
    compares. Without the network a file in Keras' cache is used as it is, and `model.json` holds its SHA-256.

    Parameters
    ----------
    alpha, input_size : float and int
        Width multiplier and side of the input in pixels.
    server : str
        Address that the file's name is appended to.
    open_url, get_file : callable
        Ask the server for its checksum; fetch a file into the cache.

    Raises
    ------
    JobError
        Where there is neither.
    """
    name = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{float(alpha)}_{input_size}_no_top.h5"
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    cached = home / "models" / name
    instead = f"get {server}{name} and put it at {cached}"
    try:
        checksum = _checksum(server + name, open_url)
    except OSError as error:
        if cached.is_file():
            return cached
        raise JobError(f"cannot fetch ImageNet weights: {error}; {instead}") from None
    if checksum is None:
        raise JobError(f"the server names no checksum for the ImageNet weights: {instead}")
    try:
        with silenced():
            return Path(
                get_file(
                    name,
                    server + name,
                    cache_dir=str(home),
                    cache_subdir="models",
                    file_hash=checksum,
                    hash_algorithm="md5",
                )
            )
    except Exception as error:  # noqa: BLE001 - Keras raises just that where a download fails
        raise JobError(f"cannot fetch ImageNet weights: {' '.join(str(error).split())}; {instead}") from None


def _checksum(address: str, open_url: Callable[..., Any]) -> str | None:
    """Return a file's MD5 in hexadecimal, as Google's storage names it; None where it names none."""
    request = urllib.request.Request(address, method="HEAD")  # noqa: S310 - https, a constant
    # urllib verifies certificates by default.
    with open_url(request, timeout=15) as answer:
        for line in answer.headers.get_all("x-goog-hash", []):
            if found := re.search(r"md5=([A-Za-z0-9+/=]+)", line):
                return b64decode(found.group(1)).hex()
    return None


def load_weights(model: Any, file: Path, alpha: float) -> None:
    """Give a network the weights of a file that Keras saved, in its new format or in the old one.

    Raises
    ------
    JobError
        Where the file is none, or does not fit.
    """
    misfit = JobError(f"the weights {file} do not fit MobileNetV2 without top, alpha {alpha:g}: is --alpha right?")
    try:
        with h5py.File(file) as content:
            old = "layer_names" in content.attrs or "model_weights" in content
            shapes: list[tuple[int, ...]] = []
            content.visititems(lambda _, item: shapes.append(item.shape) if isinstance(item, h5py.Dataset) else None)
    except OSError:
        raise JobError(f"{file} is not an HDF5 file of Keras weights") from None
    # Before Keras sees them, as it would accept some misfits in part: all shapes, in any order, have to be there.
    if Counter(tuple(weight.shape) for weight in model.weights) - Counter(shapes):
        raise misfit
    with tempfile.TemporaryDirectory() as folder:
        # Keras distinguishes its two formats by the file's name alone.
        named = Path(folder) / ("old.h5" if old else "new.weights.h5")
        shutil.copyfile(file, named)
        try:
            model.load_weights(named)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            raise misfit from None
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        raise JobError(f"the weights {file} hold values that are not finite numbers")


def export(model: Any) -> bytes:
    """Turn a Keras model into a float32 `.tflite`."""
    with silenced():
        return bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


def check(model: Any, folder: Path) -> None:
    """Compare a model folder, run as the job runs it, with Keras on images of the sample.

    Parameters
    ----------
    model : keras.Model
        What was exported.
    folder : Path
        With `model.tflite` and `model.json`.

    Raises
    ------
    JobError
        Where max|a - b| / max|b| over all features exceeds 1e-4.
    """
    size = int(model.input_shape[1])
    pixels = np.stack([decode(data, size).pixels for _, data in render_images(fruits=1, sides=1)])  # one a label
    wanted = np.asarray(model(pixels.astype(np.float32) / 127.5 - 1, training=False))
    with silenced():  # LiteRT names its delegate
        extractor = FeatureExtractor(read_model(str(folder)))
        difference = np.abs(np.stack([extractor.extract(each) for each in pixels]) - wanted).max()
    if not difference <= TOLERANCE * np.abs(wanted).max():
        raise JobError(
            f"the export differs from Keras by {difference:.2g}, largest feature {np.abs(wanted).max():.2g}:"
            " nothing was written"
        )
