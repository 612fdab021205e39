"""The extractor: the features that the network means, and what it cannot load."""

from pathlib import Path

import numpy as np
import pytest

from job.errors import JobError
from job.features.extractor import FeatureExtractor
from job.features.model import read_model
from tests.job.features.models import write_model


@pytest.mark.tensorflow
def test_the_extractor_gives_what_the_network_means(tiny_model: Path) -> None:
    """Work the test model with NumPy: one convolution 3 x 3, stride 2, relu6, the mean over all positions."""
    import keras  # noqa: PLC0415 - TensorFlow takes seconds to load

    keras.utils.set_random_seed(1)
    layer = keras.layers.Conv2D(16, 3, strides=2)
    layer.build((None, 32, 32, 3))
    kernel, bias = (np.asarray(weight, np.float64) for weight in layer.get_weights())

    extractor = FeatureExtractor(read_model(str(tiny_model)))
    rng = np.random.default_rng(2)
    for _ in range(3):  # no state is kept between images
        pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
        x = pixels / 127.5 - 1
        windows = np.array([[x[i : i + 3, j : j + 3] for j in range(0, 30, 2)] for i in range(0, 30, 2)])
        expected = np.clip(np.einsum("ijabc,abcf->ijf", windows, kernel) + bias, 0, 6).mean(axis=(0, 1))
        found = extractor.extract(pixels)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_the_features_of_one_image_are_not_overwritten_by_the_next(tiny_model: Path) -> None:
    extractor = FeatureExtractor(read_model(str(tiny_model)))
    first = extractor.extract(np.zeros((32, 32, 3), np.uint8))
    kept = first.copy()
    extractor.extract(np.full((32, 32, 3), 255, np.uint8))
    np.testing.assert_array_equal(first, kept)


def test_a_network_that_the_extractor_cannot_load_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"^LiteRT cannot load the model: "):
        FeatureExtractor(read_model(str(write_model(tmp_path / "m"))))
