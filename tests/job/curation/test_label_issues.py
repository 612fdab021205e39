"""Confused labels beside scikit-learn's leave-one-out, and planted label errors."""

import numpy as np
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from job.curation.knn import nearest
from job.curation.label_issues import ConfusedLabels, confused_labels, label_issues


def test_leave_one_out_is_right_as_often_as_with_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(4), 60)
    vectors = rng.normal(size=(4, 8))[labels] + rng.normal(size=(240, 8))
    predicted = cross_val_predict(KNeighborsClassifier(1), vectors, labels, cv=LeaveOneOut())
    pairs = confused_labels(labels, nearest(vectors, 10))
    assert sum(len(pair.images) for pair in pairs) == (predicted != labels).sum() > 20
    for pair in pairs:
        assert set(pair.images) == set(np.flatnonzero((labels == pair.label) & (predicted == pair.other)))
        assert pair.total == 60


def test_the_pair_that_is_confused_most_comes_first() -> None:
    vectors = np.array([[0.0], [0.1], [10.0], [10.1], [10.2], [0.2]])
    labels = np.array([0, 0, 1, 1, 1, 1])
    # The last image lies among those of label 0. The second of label 0 is as near to it as to the first.
    assert confused_labels(labels, nearest(vectors, 1))[0] == ConfusedLabels(1, 0, [5], [1], 4)


def test_swapped_labels_are_found_and_nothing_else() -> None:
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(3), 50)
    vectors = 5 * np.eye(3, 6)[labels] + 0.3 * rng.normal(size=(150, 6))
    swapped = rng.choice(150, 9, replace=False)
    given = labels.copy()
    given[swapped] = (given[swapped] + 1) % 3
    found = label_issues(given, nearest(vectors, 10))
    assert {issue.image for issue in found} == set(swapped.tolist())
    assert all(issue.suggested == labels[issue.image] for issue in found)
    assert [issue.share for issue in found] == sorted((issue.share for issue in found), reverse=True)
