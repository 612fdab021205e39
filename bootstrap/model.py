"""Make a model folder: MobileNetV2 without its classifier as `model.tflite`, and `model.json` that describes it.

    python -m bootstrap.model --weights embedded --output build/model
    python -m bootstrap.model --weights imagenet --alpha 1.0 --input-size 224 --output build/model
    python -m bootstrap.model --weights my.weights.h5 --alpha 0.5 --output build/model

embedded   comes with this repository: alpha 0.35 at 224 pixels. It needs neither TensorFlow nor the network. It was
           trained on rendered fruit only: use it to try the pipeline, and for simple images.
imagenet   for real use: Keras' own weights, from its cache or its server. It needs TensorFlow.
FILE.h5    weights of MobileNetV2(include_top=False) that Keras saved. They need TensorFlow.

Before an export is kept, it is compared with Keras on rendered images. If the folder already holds the same model,
the command does nothing. An error is one line and exit status 2, and leaves the folder as it was.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from bootstrap.folder import replaced
from job.command_line import add_version, exit_status, new_log
from job.errors import JobError
from job.features.model import DESCRIPTION, TFLITE, ModelDescription, read_model
from job.features.silenced import silenced

ALPHA = 1.0
INPUT_SIZE = 224  # pixels
IMAGENET_ALPHAS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
IMAGENET_SIZES = (96, 128, 160, 192, 224)
EMBEDDED_FOLDER = Path(__file__).parent / "embedded"
EMBEDDED_NOTE = (
    "trained on rendered fruit only, not on ImageNet: good for trying the pipeline and for simple images;"
    " WEIGHTS=imagenet for real use"
)
PREPROCESSING = "RGB, x / 127.5 - 1"


@dataclass(frozen=True)
class ModelSpec:
    """The model to make.

    Attributes
    ----------
    weights : str
        `embedded`, `imagenet` or the path of a file of weights.
    alpha, input_size : float and int, or None
        Width multiplier and side of the input in pixels; None for the default.
    """

    weights: str
    alpha: float | None = None
    input_size: int | None = None


class NetworkModule(Protocol):
    """What needs TensorFlow: the functions of `bootstrap.network`."""

    def build(self, alpha: float, input_size: int) -> Any:
        """Make a network with random weights."""

    def imagenet_file(self, alpha: float, input_size: int) -> Path:
        """Find Keras' file of ImageNet weights."""

    def load_weights(self, model: Any, file: Path, alpha: float) -> None:
        """Give a network the weights of a file."""

    def export(self, model: Any) -> bytes:
        """Turn a network into a `.tflite`."""

    def check(self, model: Any, folder: Path) -> None:
        """Compare a model folder with the network that it was exported from."""


@dataclass(frozen=True)
class _KerasModel:
    """A model to build with Keras.

    Attributes
    ----------
    description : ModelDescription
        What `model.json` shall say; empty or 0 where only building it shows that.
    file : Path or None
        The weights; None for Keras' own of ImageNet.
    """

    description: ModelDescription
    file: Path | None

    def describes(self, found: ModelDescription) -> bool:
        """Return whether a model that is there is this one, as far as can be seen without building it."""
        digest = found.weights_sha256 if self.description.weights_sha256 else ""
        return replace(found, n_features=0, tflite_sha256="", weights_sha256=digest) == self.description


def import_network() -> NetworkModule:
    """Load what needs TensorFlow.

    Raises
    ------
    JobError
        Where TensorFlow is not installed; it says how to install it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with silenced():
            from bootstrap import network  # noqa: PLC0415 - TensorFlow takes seconds and may be missing
    except ImportError as error:
        raise JobError(
            f"these weights need TensorFlow, which is not here ({error}): pip install -r requirements.txt"
        ) from None
    return network


def make(
    spec: ModelSpec, folder: Path, load_network: Callable[[], NetworkModule] = import_network
) -> tuple[ModelDescription, bool]:
    """Make a model folder, which appears whole or not at all.

    Parameters
    ----------
    spec : ModelSpec
        Which model.
    folder : Path
        Where to write it.
    load_network : callable
        Loads what needs TensorFlow; called only where a model has to be built.

    Returns
    -------
    ModelDescription, bool
        What `model.json` says, and whether anything was made: False where the same model was there already.

    Raises
    ------
    JobError
        For a model that cannot be made; the folder is then as it was.
    """
    _check_folder(folder)
    if spec.weights == "embedded":
        return _copy_embedded(spec, folder)
    wanted = _choose(spec)
    if (found := _found(folder)) and wanted.describes(found):
        return found, False
    return _build(wanted, folder, load_network()), True


def save(
    folder: Path, tflite: bytes, description: ModelDescription, check: Callable[[Path], None] | None = None
) -> None:
    """Write a model folder beside its place, check it, then rename it.

    Parameters
    ----------
    folder : Path
        Where to; what is there is replaced.
    tflite : bytes
        The network.
    description : ModelDescription
        What `model.json` shall say.
    check : callable or None
        Called with the folder before it takes its place; raises `JobError` where the model is not good.
    """
    with replaced(folder) as part:
        (part / TFLITE).write_bytes(tflite)
        (part / DESCRIPTION).write_bytes(description.to_bytes())
        read_model(str(part))
        if check is not None:
            check(part)


def _check_folder(folder: Path) -> None:
    """Refuse to replace anything that is not a model folder."""
    if folder.exists() and not folder.is_dir():
        raise JobError(f"{folder} is a file: choose another --output")
    if folder.is_dir() and (strange := {path.name for path in folder.iterdir()} - {TFLITE, DESCRIPTION}):
        raise JobError(f"{folder} holds files that are no model's, such as {min(strange)}: choose another --output")


def _copy_embedded(spec: ModelSpec, folder: Path) -> tuple[ModelDescription, bool]:
    source = read_model(str(EMBEDDED_FOLDER))
    embedded = source.description
    if spec.alpha not in (None, embedded.alpha) or spec.input_size not in (None, embedded.input_size):
        raise JobError(
            f"the embedded model has alpha {embedded.alpha:g} and input size {embedded.input_size} and no other:"
            " leave out --alpha and --input-size, or take --weights imagenet or a file"
        )
    if _found(folder) == embedded:
        return embedded, False
    save(folder, source.tflite, embedded)
    return embedded, True


def _choose(spec: ModelSpec) -> _KerasModel:
    """Return the model that Keras has to build, from ImageNet's weights or a file's."""
    alpha = ALPHA if spec.alpha is None else spec.alpha
    size = INPUT_SIZE if spec.input_size is None else spec.input_size
    if not 0 < alpha <= 4:
        raise JobError(f"--alpha {alpha:g} is out of range: more than 0, at most 4")
    if not 32 <= size <= 1024:
        raise JobError(f"--input-size {size} is out of range: 32 to 1024 pixels")
    if spec.weights == "imagenet":
        return _imagenet(alpha, size)
    return _from_file(Path(spec.weights), alpha, size)


def _imagenet(alpha: float, size: int) -> _KerasModel:
    if alpha not in IMAGENET_ALPHAS or size not in IMAGENET_SIZES:
        raise JobError(
            f"there are no ImageNet weights for alpha {alpha:g} and input size {size}: Keras has alpha"
            f" {', '.join(map(str, IMAGENET_ALPHAS))} and input size {', '.join(map(str, IMAGENET_SIZES))}"
        )
    return _KerasModel(_description(alpha, size, "imagenet", "Keras' ImageNet weights", ""), None)


def _from_file(file: Path, alpha: float, size: int) -> _KerasModel:
    try:
        digest = sha256(file.read_bytes())
    except OSError as error:
        raise JobError(
            f"cannot read the weights {file}: {error.strerror}; --weights is embedded, imagenet or a file"
        ) from None
    return _KerasModel(_description(alpha, size, file.name, f"read from the file {file.name}", digest), file)


def _build(wanted: _KerasModel, folder: Path, network: NetworkModule) -> ModelDescription:
    """Build, export and save a model; return its whole description."""
    alpha, size = wanted.description.alpha, wanted.description.input_size
    file = wanted.file or network.imagenet_file(alpha, size)
    model = network.build(alpha, size)
    network.load_weights(model, file, alpha)
    tflite = network.export(model)
    description = replace(
        wanted.description,
        n_features=int(model.output_shape[-1]),
        weights_sha256=wanted.description.weights_sha256 or sha256(file.read_bytes()),
        tflite_sha256=sha256(tflite),
    )
    save(folder, tflite, description, lambda part: network.check(model, part))
    return description


def _description(alpha: float, size: int, weights: str, note: str, digest: str) -> ModelDescription:
    return ModelDescription("MobileNetV2", alpha, size, 0, weights, note, digest, PREPROCESSING, "")


def _found(folder: Path) -> ModelDescription | None:
    """Return the description of the model that a folder holds, None where it holds no whole model."""
    try:
        return read_model(str(folder)).description
    except JobError:
        return None


def sha256(data: bytes) -> str:
    """Return the digest in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def main(arguments: list[str] | None = None, *, prog: str = "python -m bootstrap.model") -> int:
    """Run the command; return its exit status. Help texts call the program `prog`."""
    parser = argparse.ArgumentParser(
        prog,
        description=(__doc__ or "").replace("python -m bootstrap.model", prog),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_version(parser)
    parser.add_argument("--weights", default="embedded", help="embedded, imagenet or a file (default: %(default)s)")
    parser.add_argument("--alpha", type=float, help=f"width multiplier (default: {ALPHA}; embedded has its own)")
    parser.add_argument(
        "--input-size", type=int, help=f"side of the input in pixels (default: {INPUT_SIZE}; embedded has its own)"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for model.tflite and model.json")
    options = parser.parse_args(arguments)

    def command() -> None:
        description, made = make(ModelSpec(options.weights, options.alpha, options.input_size), options.output)
        note = f"; {description.weights_note}" if made else " (already there)"
        print(f"{options.output}: {description.name}{note}")

    return exit_status(command, new_log())


if __name__ == "__main__":
    sys.exit(main())
