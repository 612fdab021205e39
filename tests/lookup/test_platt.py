"""Platt's scaling against scikit-learn, and at its edges."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from lookup.platt import PlattScaling


def test_it_is_a_logistic_regression_on_platts_targets() -> None:
    rng = np.random.default_rng(1)
    margins = rng.random(2_000)
    right = rng.random(2_000) < 1 / (1 + np.exp(-(4 * margins - 1)))
    found = PlattScaling.fit(margins, right)
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
    confidence = PlattScaling.fit(np.linspace(0.5, 1, 99), np.ones(99, bool)).confidence(np.array([0.5, 1.0]))
    assert (confidence > 0.95).all()
    assert (confidence < 1).all()


def test_a_larger_margin_never_means_less() -> None:
    margins = np.array([0.1, 0.2, 0.8, 0.9])
    found = PlattScaling.fit(margins, np.array([True, True, False, False]))
    assert found.slope == 0
    assert found.confidence(margins) == pytest.approx([0.5] * 4)
