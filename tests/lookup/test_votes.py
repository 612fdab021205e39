"""Votes, spaces, distances and calibrations against numbers worked out by hand, pandas, SciPy and scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import fractional_matrix_power
from sklearn.linear_model import LogisticRegression

from lookup.votes import calibrate, distances, learn_space, vote


def test_a_vote_by_hand() -> None:
    # 1 against exp(-1) + exp(-1): the two that are a little less alike lose to the one.
    counted = vote(np.array([[4, 2, 2]]), np.array([[0.9, 0.88, 0.88]]))
    assert counted.labels.tolist() == [4]
    assert counted.margins[0] == pytest.approx((1 - 2 / np.e) / (1 + 2 / np.e), abs=1e-6)


def test_pictures_without_label_do_not_vote() -> None:
    counted = vote(np.array([[-1, 3], [-1, -1]]), np.array([[0.9, 0.1], [0.5, 0.4]]))
    assert counted.labels.tolist() == [3, -1]
    assert counted.margins.tolist() == [1, 0]


def test_the_space_evens_out_what_pictures_of_one_label_differ_by() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 4, 500)
    values = (rng.normal(size=(500, 6)) * [5, 1, 1, 3, 1, 0.2] + labels[:, None] * 2).astype(np.float32)
    frame = pd.DataFrame(values)[labels >= 0]
    apart = frame - frame.groupby(labels[labels >= 0]).transform("mean")
    within = apart.T @ apart / (len(frame) - 4)
    even = np.trace(within) / 6
    shrunk = 0.9 * within + 0.1 * even * np.eye(6)
    expected = fractional_matrix_power(shrunk / even, -0.5)
    assert np.allclose(learn_space(values, labels), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("labels", [[0, 1, 2], [-1, -1, -1], [0, 0, -1]])
def test_no_space_where_nothing_tells_it(labels: list[int]) -> None:
    values = np.ones((3, 2), np.float32)  # of two pictures of one label, no difference
    assert np.array_equal(learn_space(values, np.array(labels)), np.eye(2))


def test_distance_counts_the_residual_in_full() -> None:
    far = distances(
        np.array([[0.0, 0.0]], np.float32), np.array([12.0]), np.array([[[3.0, 4.0], [30, 40]]], np.float32)
    )
    assert far.tolist() == [13]


def test_calibration_is_a_logistic_regression_on_platts_targets() -> None:
    rng = np.random.default_rng(1)
    margins = rng.random(2_000)
    right = rng.random(2_000) < 1 / (1 + np.exp(-(4 * margins - 1)))
    found = calibrate(margins, right)
    # Each vote twice, weighted by its target, is the same likelihood.
    good = right.sum()
    targets = np.where(right, (good + 1) / (good + 2), 1 / (len(right) - good + 2))
    model = LogisticRegression(C=np.inf, tol=1e-10).fit(
        np.concatenate([margins, margins])[:, None], np.repeat([1, 0], 2_000), np.concatenate([targets, 1 - targets])
    )
    assert found.slope == pytest.approx(model.coef_[0, 0], rel=1e-3)
    assert found.offset == pytest.approx(model.intercept_[0], rel=1e-2)
    assert np.allclose(found.confidence(margins), model.predict_proba(margins[:, None])[:, 1], atol=1e-3)


def test_where_all_votes_were_right_confidence_stays_below_one() -> None:
    confidence = calibrate(np.linspace(0.5, 1, 99), np.ones(99, bool)).confidence(np.array([0.5, 1.0]))
    assert (confidence > 0.95).all()
    assert (confidence < 1).all()


def test_a_larger_margin_never_means_less() -> None:
    margins = np.array([0.1, 0.2, 0.8, 0.9])
    found = calibrate(margins, np.array([True, True, False, False]))
    assert found.slope == 0
    assert found.confidence(margins) == pytest.approx([0.5] * 4)
