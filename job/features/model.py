"""The model folder: `model.tflite`, and `model.json` that describes it; reads and verifies both."""

import hashlib
import io
import json
import zipfile
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from job import storage
from job.errors import JobError
from job.features.snapshot import ModelSummary
from job.settings import Settings

if TYPE_CHECKING:
    from job.images.sandbox import DecodeOptions

FORMAT = 1
TFLITE = "model.tflite"
DESCRIPTION = "model.json"


@dataclass(frozen=True)
class ModelDescription:
    """The content of `model.json`.

    Attributes
    ----------
    architecture : str
        `MobileNetV2`.
    alpha : float
        Width multiplier.
    input_size : int
        Side of the square input, in pixels.
    n_features : int
        Length of the vector that the network gives; `features` in JSON.
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
    n_features: int
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

    def to_json(self) -> dict[str, Any]:
        """Return the description as JSON-ready values."""
        return {_JSON_KEYS.get(name, name): value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "ModelDescription":
        """Return the description that `to_json` gave; keys that it does not know are left out.

        Raises
        ------
        KeyError
            For a description that lacks a value.
        """
        return cls(**{each.name: values[_JSON_KEYS.get(each.name, each.name)] for each in fields(cls)})

    def to_bytes(self) -> bytes:
        """Return the bytes of `model.json`."""
        return (json.dumps(self.to_json(), indent=2) + "\n").encode()


_JSON_KEYS = {"n_features": "features"}


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
        values: dict[str, Any] = json.loads(text)
        found = values["format"]
    except (ValueError, TypeError, KeyError):
        raise JobError(f"the model at {folder} is damaged: {DESCRIPTION} is not a model's description") from None
    if found != FORMAT:
        raise JobError(
            f"the model at {folder} has format {found}, this version reads format {FORMAT}; build it anew with"
            " python -m bootstrap.model"
        )
    try:
        return ModelDescription.from_json(values)
    except KeyError as error:
        raise JobError(f"the model at {folder} is damaged: {DESCRIPTION}: {error.args[0]} is missing") from None


def fingerprint(model: Model, settings: Settings) -> str:
    """Return what tells features apart that may not be mixed: the network and how pixels are made for it."""
    from job.images.decode import DECODER_VERSION  # noqa: PLC0415 - reading a model folder needs no Pillow

    return model.fingerprint(DECODER_VERSION, settings.mode, settings.max_pixels)


def decode_options(model: Model, settings: Settings) -> "DecodeOptions":
    """Return how images are decoded for a model."""
    from job.images.sandbox import DecodeOptions  # noqa: PLC0415 - as above

    size = model.description.input_size
    return DecodeOptions(size, settings.mode, settings.max_pixels, settings.decode_seconds, settings.decode_bytes)


def model_summary(model: Model) -> ModelSummary:
    """Return what `_CURRENT.json` and `run.json` keep of the model's description."""
    description = model.description
    return ModelSummary(
        name=description.architecture,
        alpha=description.alpha,
        input_size=description.input_size,
        n_features=description.n_features,
        weights=description.weights,
        weights_note=description.weights_note,
        weights_sha256=description.weights_sha256,
        sha256=description.tflite_sha256,
    )
