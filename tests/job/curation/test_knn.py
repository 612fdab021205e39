"""Neighbours and what they tell, beside scikit-learn and SciPy, and on planted faults."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from job.curation.knn import ConfusedLabels, confused_labels, label_issues, nearest, outliers, wilson
from job.curation.near_duplicates import SAME_BYTES, SAME_PICTURE, near_duplicates


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(700, 20)).astype(np.float32)


def test_neighbours_are_those_of_scikit_learn(vectors: np.ndarray) -> None:
    found = nearest(vectors, 12)
    distances, indexes = NearestNeighbors(n_neighbors=12, algorithm="brute").fit(vectors.astype(float)).kneighbors()
    np.testing.assert_array_equal(found.indexes, indexes)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-12)


def test_far_from_the_origin_copies_are_at_no_distance(vectors: np.ndarray) -> None:
    far = np.concatenate([vectors, vectors[:3]]).astype(np.float64) + 1e4
    found = nearest(far, 1)
    assert found.indexes[:3, 0].tolist() == [700, 701, 702]
    assert found.distances[:3, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_vectors_have_few_neighbours(vectors: np.ndarray, count: int) -> None:
    found = nearest(vectors[:count], 10)
    assert found.indexes.shape == found.distances.shape == (count, max(0, count - 1))
    assert outliers(found) == []


@pytest.mark.parametrize(("right", "total"), [(0, 7), (7, 7), (3, 7), (496, 496), (99_000, 100_000)])
def test_the_interval_is_wilsons(right: int, total: int) -> None:
    found, expected = wilson(right, total), binomtest(right, total).proportion_ci(method="wilson")
    assert found.value == right / total
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_leave_one_out_is_right_as_often_as_with_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(4), 60)
    vectors = rng.normal(size=(4, 8))[labels] + rng.normal(size=(240, 8))
    predicted = cross_val_predict(KNeighborsClassifier(1), vectors, labels, cv=LeaveOneOut())
    pairs = confused_labels(labels, nearest(vectors, 10))
    assert sum(len(pair.pictures) for pair in pairs) == (predicted != labels).sum() > 20
    for pair in pairs:
        assert set(pair.pictures) == set(np.flatnonzero((labels == pair.label) & (predicted == pair.other)))
        assert pair.total == 60


def test_the_pair_that_is_confused_most_comes_first() -> None:
    vectors = np.array([[0.0], [0.1], [10.0], [10.1], [10.2], [0.2]])
    labels = np.array([0, 0, 1, 1, 1, 1])
    # The last one lies among those of label 0; the second of label 0 is nearest to it or to the first, as near.
    assert confused_labels(labels, nearest(vectors, 1))[0] == ConfusedLabels(1, 0, [5], 4)


def test_swapped_labels_are_suspected_and_nothing_else() -> None:
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(3), 50)
    vectors = 5 * np.eye(3, 6)[labels] + 0.3 * rng.normal(size=(150, 6))
    swapped = rng.choice(150, 9, replace=False)
    given = labels.copy()
    given[swapped] = (given[swapped] + 1) % 3
    found = label_issues(given, nearest(vectors, 10))
    assert {one.picture for one in found} == set(swapped.tolist())
    assert all(one.suggested == labels[one.picture] for one in found)
    assert [one.share for one in found] == sorted((one.share for one in found), reverse=True)


def test_an_outlier_is_told_by_how_many_times_as_far_it_is() -> None:
    vectors = np.array([[float(number)] for number in range(11)] + [[40.0]])
    # The five nearest of 5 lie at 1, 1, 2, 2, 3: 1.8; those of 40 at 30 to 34: 32. The median of all is 2.3.
    means = sorted(np.sort(np.abs(vectors - vectors.T), axis=1)[:, 1:6].mean(axis=1))
    [(picture, score)] = outliers(nearest(vectors, 5))
    assert picture == 11
    assert score == pytest.approx(32 / ((means[5] + means[6]) / 2))


def test_copies_are_those_of_the_same_bytes_or_of_nearly_the_same_brightness(vectors: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    some = np.concatenate([vectors[:50], vectors[:4] + np.float32(0.01)])
    cells = rng.uniform(0, 255, (54, 24, 24)).astype(np.float32)
    cells[50:] = cells[:4]
    cells[51, 3, 3] += 3  # one cell
    cells[52, 3, 3] += 5
    cells[53] = np.nan  # could not be fetched
    digests = [bytes([number]) for number in range(54)]
    digests[50] = digests[0]
    digests[53] = digests[3] = b""
    found = near_duplicates(nearest(some, 20), cells, digests)
    assert [(one.first, one.second, one.kind) for one in found] == [(0, 50, SAME_BYTES), (1, 51, SAME_PICTURE)]
    assert [one.difference for one in found] == pytest.approx([0, 3], abs=1e-4)


def test_files_of_the_same_bytes_are_found_however_many_there_are() -> None:
    vectors = np.zeros((60, 2))
    found = near_duplicates(nearest(vectors, 20), np.zeros((60, 24, 24), np.float32), [b"x"] * 60)
    assert {(one.first, one.second) for one in found} == {(0, number) for number in range(1, 60)}
