"""The recipe: MobileNetV2, alpha 0.35, learns that two views of one rendered fruit are alike and other fruits are not.

Supervised contrastive loss (Khosla et al. 2020) on the pooled features themselves, which is how they are used: by the
cosine between them. Close relatives share a batch. Images grow from small to the 224 pixels of real use.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bootstrap.embedded.orchard import FAMILY, Orchard, plant

ALPHA = 0.35
INPUT_SIZE = 224  # pixels
WARM_UP_STEPS = 200  # over which the learning rate rises
FLOOR_RATE = 1e-6


@dataclass(frozen=True)
class Stage:
    """A part of the training: share of the time, side of the images in pixels, fruits and views in a batch."""

    share: float
    size: int
    fruits: int
    views: int


@dataclass(frozen=True)
class Recipe:
    """What decides the result beside the orchard and the time."""

    stages: tuple[Stage, ...] = (
        Stage(0.55, 112, 32, 4),
        Stage(0.2, 160, 24, 4),
        Stage(0.25, 224, 16, 4),
    )
    relatives: int = 2  # fruits of a family that share a batch
    rate: float = 3e-3
    weight_decay: float = 1e-4
    temperature: float = 0.1
    average: float = 0.998  # decay of the running mean of the weights, per step
    momentum: float = 0.95  # of batch normalization
    seed: int = 1


@dataclass(frozen=True)
class TrainingPace:
    """What a training does beside its steps.

    Attributes
    ----------
    report_seconds : float
        Between lines of progress.
    save_seconds : float
        Between checkpoints: the time that an interruption costs at most.
    input_size : int
        Side in pixels of the images that the final network takes.
    calibration_batches : int
        Batches over which the statistics of batch normalization are measured at the end.
    """

    report_seconds: float = 20.0
    save_seconds: float = 60.0
    input_size: int = INPUT_SIZE
    calibration_batches: int = 40


PACE = TrainingPace()


def train(
    folder: Path,
    minutes: float,
    orchard: Orchard,
    recipe: Recipe,
    report: Callable[[str], None],
    pace: TrainingPace = PACE,
) -> Any:
    """Train from nothing, or go on from the last checkpoint in a folder.

    Parameters
    ----------
    folder : Path
        For the rendered images and the checkpoints.
    minutes : float
        Time to train, rendering and the final calibration not counted.
    orchard : Orchard
        The fruits to train on.
    recipe : Recipe
        What decides the result beside them.
    report : callable
        Called with a line of progress now and then.
    pace : TrainingPace
        How often it reports and saves, and how it ends.

    Returns
    -------
    keras.Model
        MobileNetV2 without top, average pooling; its weights are the running mean of those trained.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf  # noqa: PLC0415  (seconds to load, and needed only here)

    images = plant(folder / "pictures", orchard, lambda done, of: report(f"rendered {done} of {of} files"))
    tf.keras.utils.set_random_seed(recipe.seed)
    state = _State(tf, recipe, folder / "checkpoints")
    if state.restored:
        report(f"going on at step {state.step}, {state.seconds / 60:.1f} minutes trained")
    _run_steps(state, images, minutes * 60, orchard, report, pace)
    _calibrate(tf, state.mean, images, recipe, pace)
    final = build(tf, (pace.input_size, pace.input_size, 3), recipe.momentum)
    final.set_weights(state.mean.get_weights())
    return final


class _State:
    """A training as it stands: networks, optimizer, time and steps so far, and their checkpoints."""

    def __init__(self, tf: Any, recipe: Recipe, checkpoints: Path) -> None:
        self.tf, self.recipe = tf, recipe
        network = build(tf, (None, None, 3), recipe.momentum)
        self.mean = build(tf, (None, None, 3), recipe.momentum)
        optimizer = tf.keras.optimizers.AdamW(recipe.rate, weight_decay=recipe.weight_decay)
        optimizer.build(network.trainable_variables)
        self._seconds, self._steps = tf.Variable(0.0, dtype=tf.float64), tf.Variable(0, dtype=tf.int64)
        checkpoint = tf.train.Checkpoint(
            network=network, mean=self.mean, optimizer=optimizer, seconds=self._seconds, steps=self._steps
        )
        self._manager = tf.train.CheckpointManager(checkpoint, str(checkpoints), max_to_keep=1)
        self.restored = bool(self._manager.restore_or_initialize())
        self._train_step = _make_step(tf, network, self.mean, optimizer, recipe)

    @property
    def step(self) -> int:
        """Return how many steps were trained."""
        return int(self._steps)

    @property
    def seconds(self) -> float:
        """Return how many seconds were trained, as of the last checkpoint."""
        return float(self._seconds)

    def advance(self, batch: NDArray[np.uint8], labels: NDArray[np.int32], rate: float, size: int) -> float:
        """Train one step on a batch resized to `size` pixels; return its loss."""
        tf = self.tf
        loss = self._train_step(tf.constant(batch), tf.constant(labels), tf.constant(rate, tf.float32), size=size)
        self._steps.assign_add(1)
        return float(loss)

    def save(self, seconds: float) -> None:
        """Write a checkpoint that holds the seconds of training so far."""
        self._seconds.assign(seconds)
        self._manager.save()


def _run_steps(
    state: _State,
    images: NDArray[np.uint8],
    total: float,
    orchard: Orchard,
    report: Callable[[str], None],
    pace: TrainingPace,
) -> None:
    """Train until `total` seconds are over, those of earlier calls included."""
    recipe, loss = state.recipe, 0.0
    reported = saved = time.monotonic()
    begun = saved - state.seconds
    while (now := time.monotonic()) - begun < total:
        progress = (now - begun) / total
        stage = stage_at(recipe, progress)
        # The batch follows from the number of the step, so a training that goes on sees the images it would have.
        rng = np.random.default_rng((recipe.seed, state.step))
        chosen, labels = choose(orchard, stage, recipe.relatives, rng)
        batch = flip(images[chosen[:, 0], chosen[:, 1]], rng)
        value = state.advance(batch, labels, learning_rate(recipe, state.step, progress), stage.size)
        loss = value if loss == 0 else 0.98 * loss + 0.02 * value
        if now - reported > pace.report_seconds:
            reported = now
            report(
                f"{(now - begun) / 60:5.1f} of {total / 60:g} min  step {state.step}  {stage.size} px  loss {loss:.3f}"
            )
        if now - saved > pace.save_seconds:
            saved = now
            state.save(now - begun)
    state.save(total)


def learning_rate(recipe: Recipe, step: int, progress: float) -> float:
    """Return the rate of a step: it rises at first, then falls as a cosine over the time, 0 to 1."""
    warm_up = min(1.0, (step + 1) / WARM_UP_STEPS)
    return float(recipe.rate * warm_up * (0.5 + 0.5 * np.cos(np.pi * progress)) + FLOOR_RATE)


def describe(orchard: Orchard, recipe: Recipe, minutes: float) -> str:
    """Write the settings as one line of JSON."""
    return json.dumps({"minutes": minutes, "orchard": asdict(orchard), "recipe": asdict(recipe)})


def build(tf: Any, shape: tuple[int | None, int | None, int], momentum: float) -> Any:
    """Make an untrained network; quicker batch normalization than Keras' 0.999 suits a short training."""
    network = tf.keras.applications.MobileNetV2(
        alpha=ALPHA, weights=None, include_top=False, pooling="avg", input_shape=shape
    )
    for layer in network.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = momentum
    return network


def stage_at(recipe: Recipe, progress: float) -> Stage:
    """Find the stage for a share of the time, 0 to 1."""
    ends = np.cumsum([stage.share for stage in recipe.stages])
    return recipe.stages[min(int(np.searchsorted(ends, progress, "right")), len(recipe.stages) - 1)]


def choose(
    orchard: Orchard, stage: Stage, relatives: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Choose fruits with some of their relatives: (n, 2) fruit and view, (n,) labels."""
    families = rng.choice(orchard.fruits // FAMILY, stage.fruits // relatives, replace=False)
    fruits = (families[:, None] * FAMILY + np.argsort(rng.random((len(families), FAMILY)))[:, :relatives]).ravel()
    seen = np.argsort(rng.random((len(fruits), orchard.views)))[:, : stage.views]
    chosen = np.stack([np.repeat(fruits, stage.views), seen.ravel()], 1)
    return chosen, np.repeat(np.arange(len(fruits), dtype=np.int32), stage.views)


def flip(batch: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Mirror and turn each image at random: eight images from one."""
    for number, how in enumerate(rng.integers(0, 8, len(batch))):
        image = batch[number]
        image = image[::-1] if how & 1 else image
        image = image[:, ::-1] if how & 2 else image
        batch[number] = (image.transpose(1, 0, 2) if how & 4 else image).copy()
    return batch


def _pixels(tf: Any, batch: Any, size: int) -> Any:
    """Resize a batch to size x size, bicubic as in real use, and scale it to -1 to 1."""
    large = tf.image.resize(tf.cast(batch, tf.float32), (size, size), "bicubic")
    return tf.clip_by_value(tf.round(large), 0.0, 255.0) / 127.5 - 1.0


def _make_step(tf: Any, network: Any, mean: Any, optimizer: Any, recipe: Recipe) -> Any:
    @tf.function  # type: ignore[untyped-decorator]
    def step(batch: Any, labels: Any, rate: Any, *, size: int) -> Any:
        optimizer.learning_rate.assign(rate)
        with tf.GradientTape() as tape:
            features = network(_pixels(tf, batch, size), training=True)
            loss = contrast(tf, features, labels, recipe.temperature)
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        # Early on the mean follows quickly, or it would remember the untrained weights.
        count = tf.cast(optimizer.iterations, tf.float32)
        decay = tf.minimum(recipe.average, (1.0 + count) / (10.0 + count))
        for slow, fast in zip(mean.weights, network.weights, strict=True):
            slow.assign(decay * slow + (1.0 - decay) * fast)
        return loss

    return step


def contrast(tf: Any, features: Any, labels: Any, temperature: float) -> Any:
    """Return the supervised contrastive loss.

    Parameters
    ----------
    tf : module
        TensorFlow.
    features : float32 tensor, shape (n, d)
        Pooled features.
    labels : int32 tensor, shape (n,)
        Which fruit; each at least twice.
    temperature : float
        Divides the cosines.

    Returns
    -------
    float32 tensor, shape ()
        Mean over the images of -log of the share that their fruit's other views have in the softmax, in nats.
    """
    unit = tf.math.l2_normalize(features, -1, epsilon=1e-8)
    self_mask = tf.eye(tf.shape(unit)[0])
    similarity = tf.matmul(unit, unit, transpose_b=True) / temperature - 1e9 * self_mask
    same = tf.cast(labels[:, None] == labels[None], tf.float32) - self_mask
    log_share = similarity - tf.reduce_logsumexp(similarity, 1, keepdims=True)
    return -tf.reduce_mean(tf.reduce_sum(tf.where(same > 0, log_share, 0.0), 1) / tf.reduce_sum(same, 1))


def _calibrate(tf: Any, mean: Any, images: NDArray[np.uint8], recipe: Recipe, pace: TrainingPace) -> None:
    """Measure batch normalization's statistics anew, for the averaged weights at the size of real use."""
    rng = np.random.default_rng((recipe.seed, 0xCA))
    layers = [layer for layer in mean.layers if isinstance(layer, tf.keras.layers.BatchNormalization)]
    for number in range(pace.calibration_batches):
        for layer in layers:
            layer.momentum = number / (number + 1)  # a plain mean over the batches
        fruits, seen = rng.integers(0, images.shape[0], 64), rng.integers(0, images.shape[1], 64)
        mean(_pixels(tf, images[fruits, seen], pace.input_size), training=True)
