"""What TensorFlow is needed for: the export is Keras' network, weights of both formats fit or are refused."""

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from email.message import Message
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bootstrap.model import EMBEDDED_FOLDER, ModelSpec, make
from job.errors import JobError
from job.features.extractor import FeatureExtractor
from job.features.model import read_model
from job.images.decode import decode
from tests.bootstrap.conftest import Sample

pytestmark = pytest.mark.tensorflow

network = pytest.importorskip("bootstrap.network", reason="TensorFlow is not installed", exc_type=ImportError)

# TensorFlow's converter and LiteRT's interpreter warn of themselves in many voices; none is ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

ALPHA, SIZE = 0.35, 96


def altered(**functions: Any) -> Callable[[], Any]:
    """Return a loader of the functions of `bootstrap.network`, with some of them replaced."""
    return lambda: SimpleNamespace(**(vars(network) | functions))


@pytest.fixture(scope="module")
def keras_model() -> Any:
    """Random weights, statistics of batch normalization included."""
    network.keras.utils.set_random_seed(1)
    made = network.build(ALPHA, SIZE)
    rng = np.random.default_rng(1)
    made.set_weights([
        np.abs(w) + rng.uniform(0.5, 1.5, w.shape) if "variance" in v.path or "gamma" in v.path
        else w + rng.normal(0, 0.02, w.shape)
        for v, w in zip(made.weights, made.get_weights(), strict=True)
    ])  # fmt: skip
    return made


@pytest.fixture(scope="module")
def weights(keras_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a file, in Keras' new format."""
    path = tmp_path_factory.mktemp("weights") / "a.weights.h5"
    keras_model.save_weights(path)
    return path


@pytest.mark.parametrize("name", ["new.weights.h5", "old.h5", "new-format-under-another-name.h5"])
def test_weights_of_each_format_are_read(name: str, keras_model: Any, weights: Path, tmp_path: Path) -> None:
    file = tmp_path / name
    if name == "old.h5":
        with network.h5py.File(file, "w") as content:
            network.keras.src.legacy.saving.legacy_h5_format.save_weights_to_hdf5_group(content, keras_model)
    else:
        shutil.copyfile(weights, file)
    other = network.build(ALPHA, SIZE)
    network.load_weights(other, file, ALPHA)
    for got, wanted in zip(other.get_weights(), keras_model.get_weights(), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_export_gives_what_keras_gives(keras_model: Any, weights: Path, sample_images: Sample, tmp_path: Path) -> None:
    made, anew = make(ModelSpec(str(weights), ALPHA, SIZE), tmp_path / "m")
    assert anew
    written = json.loads((tmp_path / "m" / "model.json").read_text())
    assert written["weights"] == "a.weights.h5"
    assert (written["format"], written["alpha"], written["input_size"], written["features"]) == (1, ALPHA, SIZE, 1280)
    assert written["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m"]
    extractor = FeatureExtractor(read_model(str(tmp_path / "m")))
    chosen = [data for _, data in sample_images[7::40]]
    pixels = np.stack([decode(data, SIZE).pixels for data in chosen])
    wanted = keras_model.predict(pixels / np.float32(127.5) - 1, verbose=0)
    got = np.stack([extractor.extract(each) for each in pixels])
    assert np.abs(got - wanted).max() <= 1e-4 * np.abs(wanted).max()
    assert np.abs(wanted).max() > 0
    assert made.n_features == got.shape[1]
    # The same model is there already.
    before = (tmp_path / "m" / "model.tflite").stat().st_mtime_ns
    assert make(ModelSpec(str(weights), ALPHA, SIZE), tmp_path / "m") == (made, False)
    assert (tmp_path / "m" / "model.tflite").stat().st_mtime_ns == before
    # Another size is another model: it would be built.
    failing = altered(build=lambda *spec: pytest.fail(f"built {spec}"))
    with pytest.raises(pytest.fail.Exception, match=r"built \(0\.35, 128\)"):
        make(ModelSpec(str(weights), ALPHA, SIZE + 32), tmp_path / "m", failing)


def test_an_export_that_differs_is_not_kept(weights: Path, tmp_path: Path) -> None:
    other = (EMBEDDED_FOLDER / "model.tflite").read_bytes()
    with pytest.raises(JobError, match="differs from Keras"):
        make(ModelSpec(str(weights), ALPHA, 224), tmp_path / "m", altered(export=lambda _: other))
    assert list(tmp_path.iterdir()) == []


def test_weights_of_another_alpha_are_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"do not fit .* alpha 0\.5: is --alpha right\?"):
        make(ModelSpec(str(weights), 0.5, SIZE), tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_holds_no_weights_is_refused(keras_model: Any, tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"no HDF5")
    with pytest.raises(JobError, match="not an HDF5 file"):
        network.load_weights(keras_model, tmp_path / "a.h5", ALPHA)


def test_weights_that_are_not_finite_are_refused(keras_model: Any, tmp_path: Path) -> None:
    kept = keras_model.get_weights()
    keras_model.set_weights([kept[0] * np.nan, *kept[1:]])
    keras_model.save_weights(tmp_path / "nan.weights.h5")
    keras_model.set_weights(kept)
    with pytest.raises(JobError, match="not finite"):
        network.load_weights(network.build(ALPHA, SIZE), tmp_path / "nan.weights.h5", ALPHA)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Keras would keep its ImageNet weights."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path / "models" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"


class Answer(io.BytesIO):
    """The server's answer about a file."""

    headers = Message()


Answer.headers["x-goog-hash"] = "crc32c=AAAAAA=="
Answer.headers["x-goog-hash"] = "md5=lpbrMEu/MaRnR+fBUuYU3A=="


def answer(*_: Any, **__: Any) -> Answer:
    return Answer()


def test_imagenet_without_network_and_cache_fails(cache: Path, tmp_path: Path) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise OSError("offline")

    imagenet_file = partial(network.imagenet_file, open_url=offline)
    with pytest.raises(JobError, match="cannot fetch ImageNet weights: offline; get https://storage"):
        make(ModelSpec("imagenet"), tmp_path / "m", altered(imagenet_file=imagenet_file))
    assert not (tmp_path / "m").exists()
    cache.parent.mkdir()
    cache.write_bytes(b"weights")
    assert imagenet_file(1.0, 224) == cache


def test_imagenet_checksum_is_asked_of_the_server_and_compared(cache: Path) -> None:
    asked: dict[str, Any] = {}

    def get_file(*_: Any, **options: Any) -> str:
        asked.update(options)
        return str(cache)

    assert network.imagenet_file(1.0, 224, open_url=answer, get_file=get_file) == cache
    assert asked["hash_algorithm"] == "md5"
    assert asked["file_hash"] == "9696eb304bbf31a46747e7c152e614dc"


def test_imagenet_file_that_is_damaged_is_refused(cache: Path) -> None:
    """Keras' own comparison is at work here: a file of another checksum in its cache, and a server that has gone."""
    cache.parent.mkdir()
    cache.write_bytes(b"half a download")
    with pytest.raises(JobError, match="cannot fetch ImageNet weights"):
        network.imagenet_file(1.0, 224, server="http://127.0.0.1:9/", open_url=answer)
