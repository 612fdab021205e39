"""A model folder that infers in a blink: a random network of 16 features on 32 x 32 pixels, made by Keras once.

They lie in `tests/models/`, so that tests need no TensorFlow. `python -m tests.tiny_model` makes them again.
"""

import hashlib
from pathlib import Path

from job.features.model import ModelDescription

MODELS = Path(__file__).parent / "models"
SEEDS = (1, 2)
N_FEATURES = 16


def make_tiny_model(folder: Path, seed: int) -> Path:
    """Write a model folder with one of the networks."""
    tflite = (MODELS / f"tiny-{seed}.tflite").read_bytes()
    description = ModelDescription(
        architecture="tiny",
        alpha=1.0,
        input_size=32,
        n_features=N_FEATURES,
        weights=f"random, seed {seed}",
        weights_note="for tests",
        weights_sha256="0" * 64,
        preprocessing="RGB, x / 127.5 - 1",
        tflite_sha256=hashlib.sha256(tflite).hexdigest(),
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.tflite").write_bytes(tflite)
    (folder / "model.json").write_bytes(description.to_bytes())
    return folder


def build(seed: int) -> bytes:
    """Return the network of a seed as Keras and the converter make it: one convolution, average pooling."""
    import keras  # noqa: PLC0415 - takes seconds

    from bootstrap.network import export  # noqa: PLC0415

    keras.utils.set_random_seed(seed)
    network = keras.Sequential(
        [
            keras.layers.Input((32, 32, 3)),
            keras.layers.Conv2D(N_FEATURES, 3, strides=2, activation="relu6"),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    return export(network)


if __name__ == "__main__":
    for seed in SEEDS:
        (MODELS / f"tiny-{seed}.tflite").write_bytes(build(seed))
