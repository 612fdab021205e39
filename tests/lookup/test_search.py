"""Search against scikit-learn's, in several blocks, in another space, and at its edges."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from lookup import search
from lookup.index import Vectors
from lookup.search import Search
from tests.lookup.conftest import index_of


def random(n: int, k: int, seed: int) -> Vectors:
    return np.random.default_rng(seed).normal(size=(n, k)).astype(np.float32)


@pytest.mark.parametrize("rows", [7, 64, 10_000])
@pytest.mark.parametrize("spaced", [False, True])
def test_finds_what_scikit_learn_finds(monkeypatch: pytest.MonkeyPatch, rows: int, spaced: bool) -> None:
    monkeypatch.setattr(search, "_ROWS", rows)
    monkeypatch.setattr(search, "_POINTS", 5)
    known, asked = random(300, 12, 1), random(13, 12, 2)
    space = random(12, 12, 3) if spaced else None
    index = index_of([known[:100], known[100:103], known[103:]], [None] * 300)
    found = Search(index, space).nearest(asked, 9)
    seen, shown = (known @ space, asked @ space) if space is not None else (known, asked)
    far, near = NearestNeighbors(n_neighbors=9, metric="cosine").fit(seen).kneighbors(shown)
    assert np.array_equal(found.pictures, near)
    assert np.allclose(found.similarities, 1 - far, atol=1e-5)


def test_of_equally_near_pictures_the_first_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_ROWS", 2)
    same = np.tile(np.array([[3.0, 4.0]], np.float32), (6, 1))
    found = Search(index_of([same], [None] * 6)).nearest(same[:1], 4)
    assert found.pictures.tolist() == [[0, 1, 2, 3]]
    assert found.similarities.tolist() == [[1, 1, 1, 1]]


def test_fewer_pictures_than_asked_for() -> None:
    found = Search(index_of([random(2, 3, 4)], [None, None])).nearest(random(1, 3, 5), 5)
    assert sorted(found.pictures[0].tolist()) == [-1, -1, -1, 0, 1]
    assert np.isneginf(found.similarities[0, 2:]).all()


def test_a_picture_at_the_mean_is_like_nothing() -> None:
    known = np.array([[0, 0], [1, 0]], np.float32)
    found = Search(index_of([known], [None, None])).nearest(np.zeros((1, 2), np.float32), 2)
    assert found.similarities.tolist() == [[0, 0]]


def test_no_points() -> None:
    assert Search(index_of([random(2, 3, 4)], [None, None])).nearest(random(0, 3, 5), 5).pictures.shape == (0, 5)
