"""Make a model folder: MobileNetV2 without its classifier as `model.tflite`, and `model.json` that describes it.

    python -m bootstrap.model --weights embedded --output build/model
    python -m bootstrap.model --weights imagenet --alpha 1.0 --input-size 224 --output build/model
    python -m bootstrap.model --weights my.weights.h5 --alpha 0.5 --output build/model

embedded   comes with this repository, alpha 0.35 at 224 pixels; it needs neither TensorFlow nor the network. It was
           trained on rendered fruit only: good for trying the pipeline and for simple images.
imagenet   for real use: Keras' own weights, from its cache or its server; needs TensorFlow.
FILE.h5    weights of MobileNetV2(include_top=False) that Keras saved; needs TensorFlow.

What is exported is compared with Keras on rendered images before it is kept. Where the same model is already in the
folder, nothing is done. Anything wrong is one line, exit code 2, and leaves the folder as it was.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from bootstrap.folder import replaced
from job.errors import JobError
from job.features.model import DESCRIPTION, TFLITE, ModelDescription, describe, read_model
from job.features.silenced import silenced

ALPHA = 1.0
INPUT_SIZE = 224  # pixels
IMAGENET_ALPHAS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
IMAGENET_SIZES = (96, 128, 160, 192, 224)
EMBEDDED_FOLDER = Path(__file__).parent / "embedded"
EMBEDDED_NOTE = (
    "trained on rendered fruit only, not on ImageNet: good for trying the pipeline and for simple pictures;"
    " WEIGHTS=imagenet for real use"
)
PREPROCESSING = "RGB, x / 127.5 - 1"


@dataclass(frozen=True)
class ModelSpec:
    """What was asked for.

    Attributes
    ----------
    weights : str
        `embedded`, `imagenet` or the path of a file of weights.
    alpha, input_size : float and int, or None
        Width multiplier and side of the input in pixels; None where nothing was said.
    """

    weights: str
    alpha: float | None = None
    input_size: int | None = None


def make(spec: ModelSpec, folder: Path) -> tuple[ModelDescription, bool]:
    """Make a model folder, which appears whole or not at all.

    Parameters
    ----------
    spec : ModelSpec
        Which model.
    folder : Path
        Where to.

    Returns
    -------
    Description, bool
        What `model.json` says, and whether anything was made: False where the same model was there already.

    Raises
    ------
    JobError
        For a model that cannot be made; the folder is then as it was.
    """
    if folder.exists() and not folder.is_dir():
        raise JobError(f"{folder} is a file: choose another --output")
    if folder.is_dir() and (strange := {path.name for path in folder.iterdir()} - {TFLITE, DESCRIPTION}):
        raise JobError(f"{folder} holds files that are no model's, such as {min(strange)}: choose another --output")
    if spec.weights == "embedded":
        return _embedded(spec, folder)
    alpha = ALPHA if spec.alpha is None else spec.alpha
    size = INPUT_SIZE if spec.input_size is None else spec.input_size
    _check_numbers(alpha, size)
    if spec.weights == "imagenet":
        if alpha not in IMAGENET_ALPHAS or size not in IMAGENET_SIZES:
            raise JobError(
                f"there are no ImageNet weights for alpha {alpha:g} and input size {size}: Keras has alpha"
                f" {', '.join(map(str, IMAGENET_ALPHAS))} and input size {', '.join(map(str, IMAGENET_SIZES))}"
            )
        wanted = _description(alpha, size, "imagenet", "Keras' ImageNet weights", "")
        if (found := _found(folder)) and replace(found, weights_sha256="", tflite_sha256="", features=0) == wanted:
            return found, False
        network = import_network()
        file = network.imagenet_file(alpha, size)
        wanted = replace(wanted, weights_sha256=sha256(file.read_bytes()))
    else:
        file = Path(spec.weights)
        try:
            data = file.read_bytes()
        except OSError as error:
            raise JobError(
                f"cannot read the weights {file}: {error.strerror}; --weights is embedded, imagenet or a file"
            ) from None
        wanted = _description(alpha, size, file.name, f"read from the file {file.name}", sha256(data))
        if (found := _found(folder)) and replace(found, tflite_sha256="", features=0) == wanted:
            return found, False
        network = import_network()
    model = network.build(alpha, size)
    network.load_weights(model, file, alpha)
    tflite = network.export(model)
    made = replace(wanted, features=int(model.output_shape[-1]), tflite_sha256=sha256(tflite))
    save(folder, tflite, made, lambda part: network.check(model, part))
    return made, True


def save(
    folder: Path, tflite: bytes, description: ModelDescription, check: Callable[[Path], None] | None = None
) -> None:
    """Write a model folder beside its place, check it, then put it there by renaming.

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
        (part / DESCRIPTION).write_bytes(describe(description))
        read_model(str(part))
        if check is not None:
            check(part)


def _embedded(spec: ModelSpec, folder: Path) -> tuple[ModelDescription, bool]:
    source = read_model(str(EMBEDDED_FOLDER))
    own = source.description
    if spec.alpha not in (None, own.alpha) or spec.input_size not in (None, own.input_size):
        raise JobError(
            f"the embedded model has alpha {own.alpha:g} and input size {own.input_size} and no other:"
            " leave out --alpha and --input-size, or take --weights imagenet or a file"
        )
    if _found(folder) == own:
        return own, False
    save(folder, source.tflite, own)
    return own, True


def _description(alpha: float, size: int, weights: str, note: str, digest: str) -> ModelDescription:
    return ModelDescription("MobileNetV2", alpha, size, 0, weights, note, digest, PREPROCESSING, "")


def _found(folder: Path) -> ModelDescription | None:
    """Read what a folder holds already, None where that is no whole model."""
    try:
        return read_model(str(folder)).description
    except JobError:
        return None


def _check_numbers(alpha: float, size: int) -> None:
    if not 0 < alpha <= 4:
        raise JobError(f"--alpha {alpha:g} is out of range: more than 0, at most 4")
    if not 32 <= size <= 1024:
        raise JobError(f"--input-size {size} is out of range: 32 to 1024 pixels")


def import_network() -> ModuleType:
    """Load what needs TensorFlow, or say how to have it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with silenced():
            from bootstrap import network  # noqa: PLC0415 - TensorFlow takes seconds and may be missing
    except ImportError as error:
        raise JobError(
            f"these weights need TensorFlow, which is not here ({error}): pip install -r requirements.txt"
        ) from None
    return network


def sha256(data: bytes) -> str:
    """Return the digest in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        "python -m bootstrap.model", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", default="embedded", help="embedded, imagenet or a file (default: %(default)s)")
    parser.add_argument("--alpha", type=float, help=f"width multiplier (default: {ALPHA}; embedded has its own)")
    parser.add_argument(
        "--input-size", type=int, help=f"side of the input in pixels (default: {INPUT_SIZE}; embedded has its own)"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for model.tflite and model.json")
    options = parser.parse_args(arguments)
    try:
        made, anew = make(ModelSpec(options.weights, options.alpha, options.input_size), options.output)
    except JobError as error:
        print(f"bootstrap.model: {error}", file=sys.stderr)
        return error.exit_status
    print(f"{options.output}: {made.name}" + (f"; {made.weights_note}" if anew else " (already there)"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
