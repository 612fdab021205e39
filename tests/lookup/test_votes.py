"""Votes against numbers worked out by hand."""

import numpy as np
import pytest

from lookup.votes import vote


def test_a_vote_by_hand() -> None:
    # 1 against exp(-1) + exp(-1): the two that are a little less similar lose to the one.
    counted = vote(np.array([[4, 2, 2]]), np.array([[0.9, 0.88, 0.88]]))
    assert counted.labels.tolist() == [4]
    assert counted.margins[0] == pytest.approx((1 - 2 / np.e) / (1 + 2 / np.e), abs=1e-6)


def test_images_without_label_do_not_vote() -> None:
    counted = vote(np.array([[-1, 3], [-1, -1]]), np.array([[0.9, 0.1], [0.5, 0.4]]))
    assert counted.labels.tolist() == [3, -1]
    assert counted.margins.tolist() == [1, 0]
