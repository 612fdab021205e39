"""A model folder in, features out: reads and verifies `model.tflite` and `model.json`, runs LiteRT on one thread."""

import hashlib
import io
import json
import zipfile
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from job import storage
from job.errors import JobError
from job.images.decode import DECODER_VERSION
from job.images.sandbox import DecodeOptions
from job.settings import Settings

FORMAT = 1
TFLITE = "model.tflite"
DESCRIPTION = "model.json"


@dataclass(frozen=True)
class ModelDescription:
    """What `model.json` says.

    Attributes
    ----------
    architecture : str
        `MobileNetV2`.
    alpha : float
        Width multiplier.
    input_size : int
        Side of the square input, in pixels.
    features : int
        Length of the vector that the network gives.
    weights : str
        Where the weights come from: `embedded`, `imagenet` or a file's name.
    weights_note : str
        One sentence for people.
    weights_sha256, tflite_sha256 : str
        Hexadecimal digests of the weights and of `model.tflite`.
    preprocessing : str
        How pixels become the network's input.
    format : int
        Version of this description.
    """

    architecture: str
    alpha: float
    input_size: int
    features: int
    weights: str
    weights_note: str
    weights_sha256: str
    preprocessing: str
    tflite_sha256: str
    format: int = FORMAT

    @property
    def name(self) -> str:
        """Return the model's short name for people, such as `MobileNetV2 alpha 0.35, 224 x 224, embedded weights`."""
        return (
            f"{self.architecture} alpha {self.alpha:g}, {self.input_size} x {self.input_size}, {self.weights} weights"
        )


@dataclass(frozen=True)
class Model:
    """A verified model folder: its description and the bytes of its two files."""

    description: ModelDescription
    tflite: bytes
    json: bytes

    def fingerprint(self, *decoding: object) -> str:
        """Return the first 16 hex digits of a SHA-256 over the network and all that `decoding` says of the pixels."""
        parts = json.dumps([self.description.tflite_sha256, *decoding])
        return hashlib.sha256(parts.encode()).hexdigest()[:16]


def read_model(folder: str) -> Model:
    """Read a model folder, or a .zip of one, local or on S3, and verify it.

    Raises
    ------
    JobError
        Where the folder is absent, damaged, or of another version.
    """
    hint = f"build one with: python -m bootstrap.model --weights embedded --output {folder}"
    try:
        text, tflite = _unzipped(folder) if folder.endswith(".zip") else _files(folder)
    except zipfile.BadZipFile as error:
        raise JobError(f"the model at {folder} is damaged: {error}") from None
    except (FileNotFoundError, NotADirectoryError) as error:
        raise JobError(f"no model at {folder}: {error.filename or DESCRIPTION} is missing; {hint}") from None
    except OSError as error:
        raise JobError(f"cannot read the model at {folder}: {error}") from None
    description = _describe(folder, text)
    if hashlib.sha256(tflite).hexdigest() != description.tflite_sha256:
        raise JobError(f"the model at {folder} is damaged: {TFLITE} is not the file that {DESCRIPTION} names; {hint}")
    return Model(description, tflite, text)


def _files(folder: str) -> tuple[bytes, bytes]:
    """Return description and network."""
    return storage.read(storage.join(folder, DESCRIPTION)), storage.read(storage.join(folder, TFLITE))


def _unzipped(path: str) -> tuple[bytes, bytes]:
    """Return description and network: what was deployed is a folder, zipped by the CDK."""
    with zipfile.ZipFile(io.BytesIO(storage.read(path))) as archive:
        for name in (DESCRIPTION, TFLITE):
            if name not in archive.namelist():
                raise FileNotFoundError(2, "not in the archive", name)
        return archive.read(DESCRIPTION), archive.read(TFLITE)


def _describe(folder: str, text: bytes) -> ModelDescription:
    try:
        fields: dict[str, Any] = json.loads(text)
        found = fields["format"]
    except (ValueError, TypeError, KeyError):
        raise JobError(f"the model at {folder} is damaged: {DESCRIPTION} is not a model's description") from None
    if found != FORMAT:
        raise JobError(
            f"the model at {folder} has format {found}, this version reads format {FORMAT}; build it anew with"
            " python -m bootstrap.model"
        )
    known = ModelDescription.__dataclass_fields__.keys()
    try:
        return ModelDescription(**{name: value for name, value in fields.items() if name in known})
    except TypeError as error:
        raise JobError(f"the model at {folder} is damaged: {DESCRIPTION}: {error}") from None


def describe(description: ModelDescription) -> bytes:
    """Return the bytes of `model.json` for a description."""
    return (json.dumps(asdict(description), indent=2) + "\n").encode()


class FeatureExtractor:
    """LiteRT with a model loaded: one picture at a time on one thread, as one task has one core.

    Batch 1 on one thread was the fastest of what was measured: 149 images a second a core for MobileNetV2 1.0.
    """

    def __init__(self, model: Model) -> None:
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - slow to load, and only workers infer

        try:
            self._interpreter = Interpreter(model_content=model.tflite, num_threads=1)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise JobError(f"LiteRT cannot load the model: {error}") from None
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._values = np.empty(self._interpreter.get_input_details()[0]["shape"], np.float32)

    def features(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features [d] float32 of one picture's pixels [input_size, input_size, 3] uint8."""
        np.divide(pixels, np.float32(127.5), out=self._values[0])
        self._values -= 1
        self._interpreter.set_tensor(self._input, self._values)
        self._interpreter.invoke()
        result: NDArray[np.float32] = self._interpreter.get_tensor(self._output)[0]
        return result


def fingerprint(model: Model, settings: Settings) -> str:
    """Return what tells features apart that may not be mixed: the network and how pixels are made for it."""
    return model.fingerprint(DECODER_VERSION, settings.mode, settings.max_pixels)


def decode_options(model: Model, settings: Settings) -> DecodeOptions:
    """Return how images are decoded for a model."""
    size = model.description.input_size
    return DecodeOptions(size, settings.mode, settings.max_pixels, settings.decode_seconds, settings.decode_bytes)


def model_summary(model: Model) -> dict[str, Any]:
    """Return what `run.json` says of the model."""
    told = model.description
    return {
        "name": told.architecture,
        "alpha": told.alpha,
        "input_size": told.input_size,
        "features": told.features,
        "weights": told.weights,
        "weights_note": told.weights_note,
        "weights_sha256": told.weights_sha256,
        "sha256": told.tflite_sha256,
    }
