"""Groups against SciPy's connected components, folds that split none, cross-validation against scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from lookup.cross_validation import (
    FOLDS,
    LabeledSample,
    cross_validate,
    draw_sample,
    grouped_folds,
    naive_folds,
    near_duplicate_groups,
    out_of_distribution_distances,
)
from lookup.votes import FADING, VOTERS
from tests.lookup.conftest import index_of


@pytest.fixture(scope="module")
def sample() -> LabeledSample:
    """Return ten labels of ten fruits of six frames each, some labels near each other."""
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(10), 60)
    centres = rng.normal(size=(10, 8)) + 1
    fruits = np.repeat(rng.normal(size=(100, 8)) * 0.9, 6, axis=0)
    frames = rng.normal(size=(600, 8)) * 0.12
    values = (centres[labels] + fruits + frames).astype(np.float32)
    order = rng.permutation(600)
    names = [f"label {label}" for label in labels[order]]
    return draw_sample(index_of([values[order]], names, rng.random(600)), 1_000)  # type: ignore[arg-type]


def test_groups_are_the_connected_components_of_near_images(sample: LabeledSample) -> None:
    gaps = euclidean_distances(sample.components.astype(float)) ** 2
    within = [gaps[np.ix_(sample.labels == label, sample.labels == label)] for label in range(10)]
    spreads = np.array([block.sum() / (len(block) * (len(block) - 1)) for block in within])[sample.labels]
    near = csr_matrix(gaps <= 0.1 * np.minimum(spreads[:, None], spreads))
    count, expected = connected_components(near)
    assert 50 < count < 300
    assert len(np.unique(sample.groups)) == count
    assert adjusted_rand_score(expected, sample.groups) == 1
    in_small_blocks = near_duplicate_groups(sample.components, sample.labels, block_rows=7)
    assert np.array_equal(in_small_blocks, sample.groups)


def test_a_long_chain_of_frames_is_one_group() -> None:
    turns = np.linspace(0, 2 * np.pi, 60)
    values = np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)
    assert set(near_duplicate_groups(values, np.zeros(60, int))) == {0}


def test_labels_that_occur_once_are_groups_of_their_own() -> None:
    values = np.eye(6, dtype=np.float32)
    assert near_duplicate_groups(values, np.arange(6)).tolist() == [0, 1, 2, 3, 4, 5]


def test_no_group_is_split(sample: LabeledSample) -> None:
    folds = grouped_folds(sample)
    assert all(len(set(folds[sample.groups == group])) == 1 for group in set(sample.groups))
    assert np.bincount(folds, minlength=FOLDS).min() > 60
    for label in range(10):  # each label's groups are spread
        assert len(set(folds[sample.labels == label])) == FOLDS


def test_random_folds_are_even(sample: LabeledSample) -> None:
    assert np.bincount(naive_folds(sample)).tolist() == [120] * FOLDS


def test_names_are_those_of_scikit_learn(sample: LabeledSample) -> None:
    folds = grouped_folds(sample)
    found = cross_validate(sample, folds, learned=False)

    def weigh(gaps: NDArray[np.float64]) -> NDArray[np.float64]:
        weights: NDArray[np.float64] = np.exp((gaps.min(axis=1, keepdims=True) - gaps) / FADING)
        return weights

    peer = KNeighborsClassifier(VOTERS, metric="cosine", weights=weigh)
    expected = cross_val_predict(peer, sample.components, sample.labels, cv=PredefinedSplit(folds))
    assert np.mean(found.votes == expected) > 0.995  # ties and rounding apart
    assert np.array_equal(found.right, found.votes == sample.labels)
    assert 0.3 < found.right.mean() < 1
    # The nearest by direction need not be the nearest by distance, but is never nearer.
    others = np.where(folds[:, None] == folds, np.inf, euclidean_distances(sample.components.astype(float)))
    least = np.hypot(others.min(axis=1), sample.residuals)
    assert (found.distances >= least - 1e-5).all()
    assert np.median(found.distances / least) < 1.2


def test_the_space_is_learned_without_the_fold_that_is_named(sample: LabeledSample) -> None:
    folds = grouped_folds(sample)
    wrong = replace(sample, labels=np.where(folds == 0, 99, sample.labels))
    before, after = (cross_validate(given, folds, learned=True).votes[folds == 0] for given in (sample, wrong))
    assert np.array_equal(before, after)


def test_colors_separate_labels_that_the_components_do_not() -> None:
    rng = np.random.default_rng(3)
    red = np.arange(200) % 2 == 0
    shape = rng.normal(size=(200, 4))
    colors = np.stack([red, ~red], axis=1) * 3 + rng.normal(size=(200, 2)) / 10
    index = index_of(
        [np.hstack([shape, colors]).astype(np.float32)], ["cherry" if is_red else "plum" for is_red in red], n_colors=2
    )
    sample = draw_sample(index, 200)
    folds = naive_folds(sample)
    assert cross_validate(sample, folds, learned=True).right.mean() == 1
    assert 0.3 < cross_validate(sample, folds, learned=False).right.mean() < 0.7
    # Distances and near-duplicates are defined by the components alone.
    gaps = euclidean_distances(shape) + np.where(red[:, None] == red, np.inf, 0)
    assert np.allclose(out_of_distribution_distances(sample), gaps.min(axis=1), atol=1e-4)


def test_distance_to_another_label(sample: LabeledSample) -> None:
    gaps = euclidean_distances(sample.components.astype(float))
    gaps[sample.labels[:, None] == sample.labels] = np.inf
    assert np.allclose(out_of_distribution_distances(sample), np.hypot(gaps.min(axis=1), sample.residuals), atol=1e-4)


def test_a_label_of_one_group_is_known_to_be_one() -> None:
    values = np.eye(4, dtype=np.float32)[[0, 0, 1, 2, 3]]
    sample = draw_sample(index_of([values], ["a", "a", "b", "b", None]), 10)
    assert sample.of_several_groups.tolist() == [False, False, True, True]


def test_a_sample_is_the_same_each_time() -> None:
    values = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    index = index_of([values], [f"{row % 3}" if row % 10 else None for row in range(100)])
    first, second = draw_sample(index, 20), draw_sample(index, 20)
    assert np.array_equal(first.components, second.components)
    assert len(first.labels) == 20
    assert (first.labels >= 0).all()
