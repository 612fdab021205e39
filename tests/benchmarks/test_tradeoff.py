"""The trade-off: neighbors against scikit-learn's, intervals worked out by hand, the choice on made-up numbers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.model_selection import LeaveOneGroupOut, LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from benchmarks import tradeoff
from benchmarks.knn import difference, nearest, overlap, share
from benchmarks.labeled_sets import LabeledSet, draw, find, readable
from benchmarks.tradeoff import Row, cheapest, compare, not_worse
from job.curation.intervals import Interval
from submit import cost
from tests.conftest import make_images

IMAGES = 90


def vectors(seed: int, spread: float = 1.5) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """Return features of labels that overlap, so that some neighbors are wrong."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.array(["apple", "banana", "clementine"]), IMAGES // 3)
    centres = np.random.default_rng(0).normal(size=(3, 20))
    features = centres[np.repeat(np.arange(3), IMAGES // 3)] + spread * rng.normal(size=(IMAGES, 20))
    return features.astype(np.float32), labels


def test_accuracy_is_that_of_scikit_learn_leaving_one_out() -> None:
    features, labels = vectors(1)
    near = nearest(features, np.arange(IMAGES), 10)
    peer = KNeighborsClassifier(1, metric="cosine", algorithm="brute")
    predicted = cross_val_predict(peer, features, labels, cv=LeaveOneOut())
    assert 0.3 < np.mean(predicted == labels) < 0.95, "the vectors decide nothing"
    assert labels[near[:, 0]].tolist() == predicted.tolist()


def test_neighbors_are_those_of_scikit_learn_the_nearest_first() -> None:
    features, _ = vectors(2)
    expected = NearestNeighbors(n_neighbors=10, metric="cosine").fit(features).kneighbors(return_distance=False)
    assert nearest(features, np.arange(IMAGES), 10).tolist() == expected.tolist()


def test_a_neighbor_is_of_another_group() -> None:
    features, labels = vectors(3)
    groups = np.arange(IMAGES) // 6
    peer = KNeighborsClassifier(1, metric="cosine", algorithm="brute")
    predicted = cross_val_predict(peer, features, labels, cv=LeaveOneGroupOut(), groups=groups)
    near = nearest(features, groups, 10)
    assert labels[near[:, 0]].tolist() == predicted.tolist()
    assert not (groups[near] == groups[:, None]).any()
    # With two groups there are only as many neighbors as the smaller group has.
    assert nearest(features[:10], np.repeat([0, 1], [4, 6]), 10).shape == (10, 4)


def test_overlap_is_what_sets_have_in_common() -> None:
    # Both neighbors are the same in another order, then one of two.
    assert overlap(np.array([[1, 2], [0, 2]]), np.array([[2, 1], [2, 3]])) == pytest.approx(0.75)
    near = [nearest(vectors(seed)[0], np.arange(IMAGES), 10) for seed in (4, 5)]
    sets = [[set(row.tolist()) for row in rows] for rows in near]
    expected = np.mean([len(first & second) / 10 for first, second in zip(*sets, strict=True)])
    assert 0 < expected < 1
    assert overlap(near[0], near[1]) == pytest.approx(expected)


def test_the_interval_of_a_share_is_wilsons() -> None:
    # 8 of 10, z = 1.959964: (0.8 + 0.192073 +- z sqrt(0.016 + 0.0096036)) / 1.384146.
    found = share(np.arange(10) < 8)
    assert (found.value, found.low, found.high) == pytest.approx((0.8, 0.490162, 0.943318), abs=1e-6)
    # All of n: n / (n + z^2) to 1.
    found = share(np.ones(496, bool))
    assert (found.low, found.high) == pytest.approx((496 / 499.841459, 1), abs=1e-6)


def test_the_interval_of_a_difference_is_bonett_and_prices() -> None:
    # Of 100, 6 are right in the new network alone and 2 in the old one alone: 7/102 and 3/102;
    # 4/102 +- 1.959964 sqrt((10/102 - (4/102)^2) / 102) = 0.0392157 +- 0.0602858.
    old, new = np.ones(100, bool), np.ones(100, bool)
    old[:6], new[6:8] = False, False
    found = difference(new, old)
    assert (found.value, found.low, found.high) == pytest.approx((0.04, -0.0210701, 0.0995015), abs=1e-6)
    # The other way round it is the same with the other sign.
    back = difference(old, new)
    assert (back.value, back.low, back.high) == pytest.approx((-0.04, -0.0995015, 0.0210701), abs=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "passes"),
    [(-0.005, 0.005, True), (0.01, 0.05, True), (-0.02, 0.03, False), (-0.009, -0.001, False), (-0.3, -0.1, False)],
)
def test_not_worse_is_neither_a_loss_nor_perhaps_a_large_one(low: float, high: float, passes: bool) -> None:
    assert not_worse(Interval((low + high) / 2, low, high), margin=0.01) is passes


def test_the_cheapest_of_those_that_are_not_worse() -> None:
    nothing = Interval(0, 0, 0)
    reference = Row(1.0, 224, 90, usd=0.7, right=nothing, same=1, difference=nothing, not_worse=True)
    small = replace(reference, input_size=128, usd=0.3)
    bad = replace(reference, input_size=96, usd=0.2, not_worse=False)
    assert cheapest([reference, small, bad]) is small
    assert cheapest([reference, bad]) is reference
    assert cheapest([reference, replace(small, usd=0.9)]) is reference


def test_networks_are_compared_with_the_first() -> None:
    (good, labels), (noise, _) = vectors(6, spread=0.3), vectors(7, spread=30)
    given = LabeledSet([Path(str(number)) for number in range(IMAGES)], labels, np.arange(IMAGES))
    features = {(1.0, 224): good, (1.0, 96): noise, (0.5, 224): good}
    rates = {(1.0, 224): 100.0, (1.0, 96): 1000.0, (0.5, 224): 200.0}
    rows = compare(features, rates, given, margin=0.05)
    assert [(row.alpha, row.input_size) for row in rows] == list(features)
    assert [row.not_worse for row in rows] == [True, False, True]
    assert [row.same for row in rows][::2] == [1, 1]
    assert rows[1].same < 0.5
    assert rows[1].right.value < rows[0].right.value == 1
    assert [row.usd for row in rows] == [cost.estimate(1_000_000, rate).usd for rate in rates.values()]
    assert cheapest(rows) is rows[2]
    # So few images cannot rule out a loss, except for the reference itself.
    assert [row.not_worse for row in compare(features, rates, given, margin=0.001)] == [True, False, False]


def test_a_sample_is_drawn_again_from_the_same_seed_and_holds_as_many_of_each_label() -> None:
    found = {label: [Path(label, f"{number}.jpg") for number in range(10)] for label in "abcd"}
    found |= {"few": [Path("few/1.jpg"), Path("few/2.jpg")], "alone": [Path("alone/1.jpg")]}
    chosen = draw(found, 20, seed=1)
    counts = {label: sum(path.parent.name == label for path in chosen) for label in found}
    assert counts == {"a": 4, "b": 4, "c": 4, "d": 4, "few": 2, "alone": 0}
    assert chosen == draw(found, 20, seed=1) != draw(found, 20, seed=2)
    assert len(draw(found, 1000, seed=1)) == 42
    # Of more labels than the sample has room for, two images each.
    assert [len({path.parent for path in draw(found, count, seed=1)}) for count in (-1, 0, 1, 5)] == [0, 0, 0, 2]


def test_unusable_images_are_counted(tmp_path: Path) -> None:
    make_images(tmp_path, {"apple": 3, "banana": 3, "pear": 1})
    (tmp_path / "apple" / "broken.jpg").write_bytes(b"no image")
    (tmp_path / "apple" / "letter.txt").write_text("no image's name")
    (tmp_path / "plum").mkdir()
    (tmp_path / "plum" / "a.jpg").write_bytes((tmp_path / "apple" / "000.jpg").read_bytes())
    (tmp_path / "plum" / "b.jpg").write_bytes(b"")
    (tmp_path / "loose.jpg").write_bytes((tmp_path / "apple" / "000.jpg").read_bytes())
    by_label, unlabeled = find(tmp_path)
    assert unlabeled == 1
    assert {label: len(paths) for label, paths in by_label.items()} == {"apple": 4, "banana": 3, "pear": 1, "plum": 2}
    chosen, left = readable(draw(by_label, 100, seed=0), None)
    assert left == {"not an image": 1, "zero bytes": 1, "alone with its label": 1}
    assert chosen.labels.tolist() == ["apple"] * 3 + ["banana"] * 3
    assert chosen.groups.tolist() == list(range(6))


def test_a_series_is_what_names_have_in_common_within_a_label(tmp_path: Path) -> None:
    make_images(tmp_path, {"apple": 4, "banana": 4, "pear": 3})
    for name in ("apple/000", "apple/001", "banana/003"):
        (tmp_path / f"{name}.jpg").rename((tmp_path / name).with_name(f"r_{name[-3:]}.jpg"))
    chosen, left = readable(draw(find(tmp_path)[0], 100, seed=0), "^(r_)?")
    assert [path.name for path in chosen.paths][2:5] == ["r_000.jpg", "r_001.jpg", "000.jpg"]
    assert chosen.groups.tolist() == [0, 0, 1, 1, 2, 2, 2, 3]
    # A label of one series has no image that could be right.
    assert left == {"of the one group of its label": 3}
    # A name that the expression does not match is a series of its own.
    assert readable(draw(find(tmp_path)[0], 100, seed=0), "^r_")[0].groups.tolist() == [0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9]


def test_the_whole_command_says_and_keeps_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = make_images(tmp_path / "photos", {"apple": 8, "banana": 8})
    (images / "apple" / "broken.jpg").write_bytes(b"no image")
    monkeypatch.chdir(tmp_path)
    tradeoff.main(["--images", str(images), "--weights", "embedded", "--rounds", "1"])
    said = capsys.readouterr().out
    assert "16 of 17 labeled images, 2 labels\nleft out: 1 not an image\n" in said
    assert "stays above -0.01." in said
    assert "So few images cannot rule out a loss of 0.154: give more." in said
    saved = json.loads((tmp_path / "build/bench/tradeoff.json").read_text())
    [row] = saved["tables"][-1]["rows"]
    [timed] = saved["tables"][0]["medians"].values()
    assert (row["alpha"], row["input_size"], row["same"], row["not_worse"]) == (0.35, 224, 1, True)
    assert row["rate"] == pytest.approx(16 / timed)
    assert row["usd"] == pytest.approx(cost.estimate(1_000_000, 16 / timed).usd)


@pytest.mark.parametrize(
    ("labels", "words", "said"),
    [
        ({"a": 2, "b": 2}, ["--images", "nowhere"], "error: --images nowhere is no folder"),
        ({}, [], "no labeled images in .*: make a folder for each label"),
        ({"a": 1, "b": 1}, [], "these images show nothing: give at least two labels with two images each"),
        ({"a": 5}, [], "these images show nothing"),
        ({"a": 2, "b": 2}, ["--groups", "("], "missing \\), unterminated subpattern"),
        ({"a": 2, "b": 2}, ["--groups", "jpg"], "these images show nothing"),
        ({"a": 2, "b": 2}, ["--limit", "0"], "these images show nothing"),
        ({"a": 2, "b": 2}, ["--alpha", "0.5"], "the embedded weights have one width and size: leave out --alpha"),
        ({"a": 2, "b": 2}, ["--weights", "no.h5"], "cannot read the weights no.h5: No such file"),
    ],
)
def test_unusable_input_ends_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: dict[str, int], words: list[str], said: str
) -> None:
    (tmp_path / "photos").mkdir()
    images = make_images(tmp_path / "photos", labels)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=said):
        tradeoff.main(["--images", str(images), "--weights", "embedded", *words])
