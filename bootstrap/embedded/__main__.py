"""Train the embedded model again from nothing, or evaluate it.

    python -m bootstrap.embedded train --minutes 22
    python -m bootstrap.embedded train --minutes 22 --resume
    python -m bootstrap.embedded evaluate

`train` renders its images (a few minutes, once), trains for the minutes given and writes a model folder. It needs
TensorFlow. After an interruption, --resume continues the training. `evaluate` measures how well a model distinguishes
rendered fruit that training never saw. Where they are on this machine, it also measures the 496 real images, on which
nothing was trained or chosen.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bootstrap.embedded.evaluation import Embed, Features, real_figures, rendered_figures
from bootstrap.embedded.orchard import Orchard
from bootstrap.embedded.training import ALPHA, INPUT_SIZE, Recipe, describe, train
from bootstrap.model import EMBEDDED_FOLDER, EMBEDDED_NOTE, PREPROCESSING, import_network, save, sha256
from job.command_line import add_version, exit_status, new_log
from job.errors import JobError
from job.features.extractor import FeatureExtractor
from job.features.model import ModelDescription, read_model
from job.features.silenced import silenced
from job.images.decode import decode

REAL = Path("../shared/data/fruits360-test496")


def run_training(output: Path, minutes: float, *, resume: bool, fit: Callable[..., Any] = train) -> None:
    """Train and write a model folder `model` below the output.

    Parameters
    ----------
    output : Path
        For images, checkpoints and the model.
    minutes : float
        Time to train, rendering not counted.
    resume : bool
        Whether to continue an interrupted training.
    fit : callable
        Trains: `train`.

    Raises
    ------
    JobError
        Where there is nothing to resume, or something that would be lost, or the output cannot be written.
    """
    if not minutes > 0:
        raise JobError(f"--minutes {minutes:g} is out of range: more than 0")
    network = import_network()
    orchard, recipe = Orchard(), Recipe()
    settings, checkpoints = output / "training.json", output / "checkpoints"
    ours = describe(orchard, recipe, minutes)
    if resume and not settings.exists():
        raise JobError(f"{output} holds no interrupted training: leave out --resume")
    if resume and settings.read_text() != ours:
        raise JobError(f"{output} holds a training with other settings: {settings.read_text()}")
    if not resume and checkpoints.exists():
        raise JobError(f"{output} holds an interrupted training: go on with --resume, or remove {checkpoints}")
    try:
        output.mkdir(parents=True, exist_ok=True)
        settings.write_text(ours)
    except OSError as error:
        raise JobError(f"cannot write {output}: {error.strerror}") from None
    begun = time.monotonic()
    report(f"settings {ours}")
    model = fit(output, minutes, orchard, recipe, report)
    tflite = network.export(model)
    weights = sha256(b"".join(np.ascontiguousarray(weight).tobytes() for weight in model.get_weights()))
    features = int(model.output_shape[-1])
    description = ModelDescription(
        "MobileNetV2", ALPHA, INPUT_SIZE, features, "embedded", EMBEDDED_NOTE, weights, PREPROCESSING, sha256(tflite)
    )
    save(output / "model", tflite, description, lambda part: network.check(model, part))
    shutil.rmtree(checkpoints)
    report(f"{output / 'model'}: written after {(time.monotonic() - begun) / 60:.1f} minutes")
    run_evaluation(output / "model", REAL)


def run_evaluation(folder: Path, real: Path) -> None:
    """Print the figures of a model folder on rendered fruit and, where they are present, on the 496 real images."""
    embed = embedder(folder)
    figures = rendered_figures(embed)
    if real.is_dir():
        figures |= real_figures(embed, real)
    else:
        print(f"no real images at {real}: skipped")
    for name, value in figures.items():
        print(f"{value:.4f}  {name}")


def embedder(folder: Path) -> Embed:
    """Load a model folder as the job does; gives a function from encoded images to features (n, d)."""
    model = read_model(str(folder))
    with silenced():  # LiteRT names its delegate
        extractor = FeatureExtractor(model)
        extractor.extract(np.zeros((model.description.input_size, model.description.input_size, 3), np.uint8))

    def embed(images: Sequence[bytes]) -> Features:
        return np.stack([extractor.extract(decode(data, model.description.input_size).pixels) for data in images])

    return embed


def report(line: str) -> None:
    """Print a line of progress with the time, at once."""
    print(time.strftime("%H:%M:%S"), line, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        "python -m bootstrap.embedded", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_version(parser)
    commands = parser.add_subparsers(dest="command", required=True)
    layout = argparse.ArgumentDefaultsHelpFormatter
    training = commands.add_parser("train", help="train from nothing and evaluate", formatter_class=layout)
    training.add_argument("--minutes", type=float, default=22, help="time to train, rendering not counted")
    training.add_argument("--output", type=Path, default=Path("build/embedded"), help="for images, checkpoints, model")
    training.add_argument("--resume", action="store_true", help="go on with an interrupted training")
    evaluation = commands.add_parser("evaluate", help="print a model's figures", formatter_class=layout)
    evaluation.add_argument("--model", type=Path, default=EMBEDDED_FOLDER, help="model folder")
    evaluation.add_argument("--real", type=Path, default=REAL, help="folder of the 496 real images")
    options = parser.parse_args(arguments)

    def command() -> None:
        if options.command == "train":
            run_training(options.output, options.minutes, resume=options.resume)
        else:
            run_evaluation(options.model, options.real)

    return exit_status(command, new_log(), interrupted="interrupted; --resume goes on")


if __name__ == "__main__":
    sys.exit(main())
