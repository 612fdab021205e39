"""Spaces and distances against pandas, SciPy and numbers worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import fractional_matrix_power

from lookup.spaces import learn_space, nearest_distances


def test_the_space_is_the_inverse_root_of_the_covariance_within_labels() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 4, 500)
    values = (rng.normal(size=(500, 6)) * [5, 1, 1, 3, 1, 0.2] + labels[:, None] * 2).astype(np.float32)
    frame = pd.DataFrame(values)[labels >= 0]
    deviations = frame - frame.groupby(labels[labels >= 0]).transform("mean")
    within = deviations.T @ deviations / (len(frame) - 4)
    mean_variance = np.trace(within) / 6
    shrunk = 0.9 * within + 0.1 * mean_variance * np.eye(6)
    expected = fractional_matrix_power(shrunk / mean_variance, -0.5)
    assert np.allclose(learn_space(values, labels), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("labels", [[0, 1, 2], [-1, -1, -1], [0, 0, -1]])
def test_the_identity_where_there_is_nothing_to_learn(labels: list[int]) -> None:
    values = np.ones((3, 2), np.float32)  # two images of one label do not differ
    assert np.array_equal(learn_space(values, np.array(labels)), np.eye(2))


def test_distance_counts_the_residual_in_full() -> None:
    distance = nearest_distances(
        np.array([[0.0, 0.0]], np.float32), np.array([12.0]), np.array([[[3.0, 4.0], [30, 40]]], np.float32)
    )
    assert distance.tolist() == [13]
