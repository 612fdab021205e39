"""The embedded model's recipe: what a batch holds, what the loss asks for, what an interruption leaves, the figures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bootstrap.embedded import orchard, training
from bootstrap.embedded.__main__ import embedder, main, run_training
from bootstrap.embedded.evaluation import components, leave_one_out, nearest_is_right, real_figures
from bootstrap.embedded.orchard import FAMILY, Orchard, plant
from bootstrap.embedded.training import Recipe, Stage, TrainingPace, choose, contrast, flip, stage_at
from bootstrap.model import EMBEDDED_FOLDER
from job.errors import JobError

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "fruits360-test496"


def test_nothing_is_trained_on_what_is_judged() -> None:
    assert Orchard().fruits < orchard.UNSEEN
    trained = {orchard.kind_of(fruit) for fruit in range(64)}
    assert trained.isdisjoint(orchard.kind_of(orchard.UNSEEN + fruit) for fruit in range(64))


def test_interrupted_rendering_is_taken_up(tmp_path: Path) -> None:
    small = Orchard(fruits=12, views=2)
    reported: list[tuple[int, int]] = []

    def render() -> NDArray[np.uint8]:
        return plant(tmp_path, small, lambda *progress: reported.append(progress), fruits_per_file=4)

    whole = render().copy()
    assert reported == [(0, 3), (1, 3), (2, 3), (3, 3)]
    files = sorted(tmp_path.rglob("*.npy"))
    kept = files[0].stat().st_mtime_ns
    files[1].unlink()
    reported.clear()
    np.testing.assert_array_equal(render(), whole)
    assert reported == [(2, 3), (3, 3)]
    assert files[0].stat().st_mtime_ns == kept
    assert whole.shape == (12, 2, 100, 100, 3)
    assert len({image.tobytes() for fruit in whole for image in fruit}) == 24


def test_batch_holds_relatives_and_each_view_once() -> None:
    chosen, labels = choose(Orchard(fruits=64, views=6), Stage(1, 96, 8, 3), 2, np.random.default_rng(0))
    assert chosen.shape == (24, 2)
    assert len({tuple(pair) for pair in chosen}) == 24
    assert (np.bincount(labels) == 3).all()
    fruits = chosen[::3, 0]
    assert len(set(fruits)) == 8
    assert (np.bincount(fruits // FAMILY)[np.unique(fruits // FAMILY)] == 2).all()
    for label in range(8):
        assert len(set(chosen[labels == label, 0])) == 1


def test_flips_keep_pixels_and_make_all_eight() -> None:
    image = np.arange(5 * 5 * 3, dtype=np.uint8).reshape(5, 5, 3)
    batch = flip(np.stack([image] * 200), np.random.default_rng(0))
    assert len({each.tobytes() for each in batch}) == 8
    assert (np.sort(batch.reshape(200, -1), 1) == np.sort(image.ravel())).all()


def test_stages_follow_one_another() -> None:
    recipe = Recipe(stages=(Stage(0.5, 96, 8, 2), Stage(0.3, 128, 8, 2), Stage(0.2, 224, 8, 2)))
    sizes = [stage_at(recipe, progress).size for progress in (0.0, 0.49, 0.51, 0.79, 0.81, 0.999, 1.0)]
    assert sizes == [96, 96, 128, 128, 224, 224, 224]
    assert sum(stage.share for stage in Recipe().stages) == pytest.approx(1)
    assert Recipe().stages[-1].size == training.INPUT_SIZE


def test_loss_against_a_plain_sum() -> None:
    """Khosla et al. 2020, equation 2, written out as loops."""
    tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed", exc_type=ImportError)
    rng = np.random.default_rng(0)
    features = rng.random((6, 5)).astype(np.float32)
    labels = np.array([0, 0, 0, 1, 1, 1], np.int32)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    wanted = 0.0
    for i in range(6):
        others = [j for j in range(6) if j != i]
        below = sum(np.exp(unit[i] @ unit[j] / 0.1) for j in others)
        friends = [j for j in others if labels[j] == labels[i]]
        wanted -= sum(np.log(np.exp(unit[i] @ unit[j] / 0.1) / below) for j in friends) / len(friends) / 6
    assert float(contrast(tf, tf.constant(features), tf.constant(labels), 0.1)) == pytest.approx(wanted, rel=1e-4)


def test_figures() -> None:
    gallery = np.array([[1, 0], [0, 1]], np.float32)
    asked = np.array([[2, 0.1], [0.1, 5], [3, 1]], np.float32)
    assert nearest_is_right(gallery, ["a", "b"], asked, ["a", "b", "b"]) == pytest.approx(2 / 3)
    assert leave_one_out(np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], np.float32), ["a", "a", "b", "b"]) == 1
    assert leave_one_out(np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], np.float32), ["a", "b", "a", "b"]) == 0
    features = np.random.default_rng(0).normal(5, 1, (20, 8)).astype(np.float32)
    projected = components(features, 8)
    distance = np.linalg.norm(features[:, None] - features, axis=-1)
    np.testing.assert_allclose(np.linalg.norm(projected[:, None] - projected, axis=-1), distance, atol=1e-4)


def test_committed_model_on_the_496_real_images() -> None:
    if not REAL.is_dir():
        pytest.skip(f"the 496 real images are not at {REAL}")
    figures = real_figures(embedder(EMBEDDED_FOLDER), REAL)
    assert figures["real, leave-one-out, features"] >= 0.998
    assert figures["real, leave-one-out, 50 components"] >= 0.995
    assert figures["real, views 0-99 to all others"] >= 0.9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--minutes", "0"], "--minutes 0 is out of range"),
        (["train", "--minutes", "nan"], "--minutes nan is out of range"),
        (["train", "--resume"], "holds no interrupted training"),
        (["evaluate", "--model", "nowhere"], "no model at"),
    ],
)
@pytest.mark.tensorflow
def test_refusals_are_one_line(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore")  # TensorFlow warns of itself
def test_interrupted_training_goes_on(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed", exc_type=ImportError)
    pace = TrainingPace(report_seconds=0, save_seconds=0, input_size=32, calibration_batches=2)
    small, recipe = Orchard(fruits=8, views=4), Recipe(stages=(Stage(1, 32, 4, 2),))
    saved = tmp_path / "checkpoints" / "checkpoint"
    lines: list[str] = []

    def killed_later(line: str) -> None:
        if saved.exists() and " step " in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(tmp_path, 10, small, recipe, killed_later, pace)
    done = float(tf.train.load_variable(str(tmp_path / "checkpoints"), "seconds/.ATTRIBUTES/VARIABLE_VALUE"))
    # All its minutes are over already, so it only restores the checkpoint and finishes.
    model = training.train(tmp_path, done / 60, small, recipe, lines.append, pace)
    assert any(line.startswith("going on at step ") for line in lines)
    assert not any(" px " in line for line in lines)
    assert model.output_shape == (None, 1280)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.mark.filterwarnings("ignore")  # TensorFlow's converter warns of itself
def test_interrupted_training_is_not_lost(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed", exc_type=ImportError)
    output = tmp_path / "out"

    def killed(*_: Any) -> None:
        (output / "checkpoints").mkdir(exist_ok=True)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_training(output, 1, resume=False, fit=killed)
    with pytest.raises(JobError, match="holds an interrupted training: go on with --resume"):
        run_training(output, 1, resume=False, fit=killed)
    with pytest.raises(JobError, match="holds a training with other settings"):
        run_training(output, 2, resume=True, fit=killed)
    with pytest.raises(KeyboardInterrupt):
        run_training(output, 1, resume=True, fit=killed)
