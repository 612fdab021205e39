"""Train the embedded model again from nothing, or evaluate it.

    python -m bootstrap.embedded train --minutes 22
    python -m bootstrap.embedded train --minutes 22 --resume
    python -m bootstrap.embedded evaluate

`train` renders its images (a few minutes, once), trains for the minutes given and writes a model folder; it needs
TensorFlow. Interrupted, it goes on with --resume. `evaluate` says how well a model tells rendered fruit apart that
training never saw and, where they are on this machine, the 496 real images that nothing was trained or chosen on.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bootstrap.embedded.evaluation import Embed, Features, real_figures, rendered_figures
from bootstrap.embedded.orchard import Orchard
from bootstrap.embedded.training import ALPHA, INPUT_SIZE, Recipe, describe, train
from bootstrap.model import EMBEDDED_FOLDER, EMBEDDED_NOTE, PREPROCESSING, import_network, save, sha256
from job.errors import JobError
from job.features.extractor import FeatureExtractor
from job.features.model import ModelDescription, read_model
from job.features.silenced import silenced
from job.images.decode import decode

REAL = Path("../shared/data/fruits360-test496")


def run_training(output: Path, minutes: float, *, resume: bool) -> None:
    """Train and write a model folder `model` below the output.

    Parameters
    ----------
    output : Path
        For images, checkpoints and the model.
    minutes : float
        Time to train, rendering not counted.
    resume : bool
        Whether to go on with what an interrupted call left.
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
    tell(f"settings {ours}")
    model = train(output, minutes, orchard, recipe, tell)
    tflite = network.export(model)
    weights = sha256(b"".join(np.ascontiguousarray(weight).tobytes() for weight in model.get_weights()))
    features = int(model.output_shape[-1])
    description = ModelDescription(
        "MobileNetV2", ALPHA, INPUT_SIZE, features, "embedded", EMBEDDED_NOTE, weights, PREPROCESSING, sha256(tflite)
    )
    save(output / "model", tflite, description, lambda part: network.check(model, part))
    shutil.rmtree(checkpoints)
    tell(f"{output / 'model'}: written after {(time.monotonic() - begun) / 60:.1f} minutes")
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


def tell(line: str) -> None:
    """Print a line of progress with the time, at once."""
    print(time.strftime("%H:%M:%S"), line, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        "python -m bootstrap.embedded", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
    try:
        if options.command == "train":
            run_training(options.output, options.minutes, resume=options.resume)
        else:
            run_evaluation(options.model, options.real)
    except JobError as error:
        print(f"bootstrap.embedded: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("bootstrap.embedded: interrupted; --resume goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
