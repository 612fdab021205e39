"""A model folder: what is accepted, what is refused and how, and the features that the engine gives."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from job.errors import JobError
from job.features.model import FeatureExtractor, Model, ModelDescription, describe, read_model

# What is read here needs no network that runs.
NETWORK = b"not a network"


def folder_with(path: Path, **changes: Any) -> Path:
    description = ModelDescription("MobileNetV2", 0.35, 224, 1280, "embedded", "a note", "0" * 64, "RGB", "")
    fields = json.loads(describe(description)) | {"tflite_sha256": hashlib.sha256(NETWORK).hexdigest()} | changes
    path.mkdir()
    (path / "model.tflite").write_bytes(NETWORK)
    (path / "model.json").write_text(json.dumps({name: value for name, value in fields.items() if value is not ...}))
    return path


def test_a_model_folder_is_read_whole(tmp_path: Path) -> None:
    model = read_model(str(folder_with(tmp_path / "m", something_newer=1)))
    assert model.tflite == NETWORK
    assert model.json == (tmp_path / "m" / "model.json").read_bytes()
    told = model.description
    assert (told.alpha, told.input_size, told.features, told.weights) == (0.35, 224, 1280, "embedded")
    assert told.name == "MobileNetV2 alpha 0.35, 224 x 224, embedded weights"


def test_a_model_folder_on_s3_is_read_as_a_local_one(bucket: str, tmp_path: Path) -> None:
    from job import storage  # noqa: PLC0415 - the fixture has pointed it to the server

    local = folder_with(tmp_path / "m")
    for file in local.iterdir():
        storage.write(f"s3://{bucket}/m/{file.name}", file.read_bytes())
    assert read_model(f"s3://{bucket}/m") == read_model(str(local))


def test_a_zip_of_a_folder_is_read_as_the_folder(bucket: str, tmp_path: Path) -> None:
    from job import storage  # noqa: PLC0415 - the fixture has pointed it to the server

    local = folder_with(tmp_path / "m")
    zipped = Path(shutil.make_archive(str(tmp_path / "zipped"), "zip", local))
    storage.write(f"s3://{bucket}/m.zip", zipped.read_bytes())
    assert read_model(str(zipped)) == read_model(f"s3://{bucket}/m.zip") == read_model(str(local))


def test_a_zip_that_is_none_or_lacks_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.zip").write_bytes(b"no zip")
    with pytest.raises(JobError, match=r"the model at .*m\.zip is damaged: File is not a zip file"):
        read_model(str(tmp_path / "m.zip"))
    folder = folder_with(tmp_path / "m")
    (folder / "model.tflite").unlink()
    zipped = shutil.make_archive(str(tmp_path / "zipped"), "zip", folder)
    with pytest.raises(JobError, match=r"no model at .*zipped\.zip: model\.tflite is missing; build one"):
        read_model(zipped)
    with pytest.raises(JobError, match=r"no model at .*none\.zip: .*none\.zip is missing"):
        read_model(str(tmp_path / "none.zip"))


def spoil_network(folder: Path) -> None:
    (folder / "model.tflite").write_bytes(NETWORK[:-1] + b"K")


def drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(text: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / "model.json").write_text(text)

    return spoil


@pytest.mark.parametrize(
    ("changes", "spoil", "words"),
    [
        ({}, shutil.rmtree, r"^no model at {}: .*model\.json is missing; build one with: python -m bootstrap\.model"),
        ({}, drop("model.json"), r"^no model at {}: .*model\.json is missing; build one"),
        ({}, drop("model.tflite"), r"^no model at {}: .*model\.tflite is missing; build one"),
        (
            {},
            spoil_network,
            r"^the model at {} is damaged: model\.tflite is not the file that model\.json names; build",
        ),
        ({}, write("{"), r"^the model at {} is damaged: model\.json is not a model's description$"),
        ({}, write("[1]"), r"^the model at {} is damaged: model\.json is not a model's description$"),
        ({}, write("{}"), r"^the model at {} is damaged: model\.json is not a model's description$"),
        ({"format": 2}, None, r"^the model at {} has format 2, this version reads format 1; build it anew"),
        ({"alpha": ...}, None, r"^the model at {} is damaged: model\.json: .*alpha"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(
    tmp_path: Path, changes: dict[str, Any], spoil: Callable[[Path], None] | None, words: str
) -> None:
    folder = folder_with(tmp_path / "m", **changes)
    if spoil:
        spoil(folder)
    with pytest.raises(JobError, match=words.format(re.escape(str(folder)))) as caught:
        read_model(str(folder))
    assert caught.value.exit_status == 2
    assert "\n" not in str(caught.value)


def test_a_file_in_the_place_of_the_folder_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("")
    with pytest.raises(JobError, match=r"^no model at"):
        read_model(str(tmp_path / "m"))


def test_the_fingerprint_tells_apart_what_changes_the_numbers(tmp_path: Path) -> None:
    model = read_model(str(folder_with(tmp_path / "a")))
    renamed = read_model(str(folder_with(tmp_path / "b", weights_note="another")))
    other = Model(ModelDescription(**{**vars(model.description), "tflite_sha256": "1" * 64}), b"", b"")
    prints = [model.fingerprint(1, "fast", 9), model.fingerprint(2, "fast", 9), model.fingerprint(1, "exact", 9)]
    prints += [model.fingerprint(1, "fast", 8), other.fingerprint(1, "fast", 9)]
    assert len(set(prints)) == 5
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in prints)
    assert renamed.fingerprint(1, "fast", 9) == prints[0]


def test_the_engine_gives_what_the_network_means(tiny_model: Path) -> None:
    """Work the test model with NumPy: one convolution 3 x 3, stride 2, relu6, the mean over all places."""
    import keras  # noqa: PLC0415 - TensorFlow takes seconds to load

    keras.utils.set_random_seed(1)
    layer = keras.layers.Conv2D(16, 3, strides=2)
    layer.build((None, 32, 32, 3))
    kernel, bias = (np.asarray(weight, np.float64) for weight in layer.get_weights())

    engine = FeatureExtractor(read_model(str(tiny_model)))
    rng = np.random.default_rng(2)
    for _ in range(3):  # no state is kept between pictures
        pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
        x = pixels / 127.5 - 1
        places = np.array([[x[i : i + 3, j : j + 3] for j in range(0, 30, 2)] for i in range(0, 30, 2)])
        expected = np.clip(np.einsum("ijabc,abcf->ijf", places, kernel) + bias, 0, 6).mean(axis=(0, 1))
        found = engine.features(pixels)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_the_features_of_one_picture_are_not_overwritten_by_the_next(tiny_model: Path) -> None:
    engine = FeatureExtractor(read_model(str(tiny_model)))
    first = engine.features(np.zeros((32, 32, 3), np.uint8))
    kept = first.copy()
    engine.features(np.full((32, 32, 3), 255, np.uint8))
    np.testing.assert_array_equal(first, kept)


def test_a_network_that_the_engine_cannot_load_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"^LiteRT cannot load the model: "):
        FeatureExtractor(read_model(str(folder_with(tmp_path / "m"))))
