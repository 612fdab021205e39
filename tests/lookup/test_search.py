"""Search against scikit-learn's, in several blocks, in another space, and at its edges."""

import io
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from job.progress import Progress
from lookup import classifier as catalogue
from lookup import search
from lookup.__main__ import main
from lookup.ivf import RECALL, Approximate
from lookup.search import Search
from lookup.votes import Vectors
from tests.lookup.conftest import index_of

EYE = np.eye(2, dtype=np.float32)


def random(n: int, k: int, seed: int) -> Vectors:
    return np.random.default_rng(seed).normal(size=(n, k)).astype(np.float32)


@pytest.mark.parametrize("rows", [7, 64, 10_000])
@pytest.mark.parametrize("spaced", [False, True])
def test_finds_what_scikit_learn_finds(monkeypatch: pytest.MonkeyPatch, rows: int, spaced: bool) -> None:
    monkeypatch.setattr(search, "_ROWS", rows)
    monkeypatch.setattr(search, "_POINTS", 5)
    known, asked = random(300, 12, 1), random(13, 12, 2)
    space = random(12, 12, 3) if spaced else np.eye(12, dtype=np.float32)
    index = index_of([known[:100], known[100:103], known[103:]], [None] * 300)
    found = Search(index, space).nearest(asked, 9)
    seen, shown = known @ space, asked @ space
    far, near = NearestNeighbors(n_neighbors=9, metric="cosine").fit(seen).kneighbors(shown)
    assert np.array_equal(found.pictures, near)
    assert np.allclose(found.similarities, 1 - far, atol=1e-5)


def test_pictures_that_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_ROWS", 2)
    same = np.tile(np.array([[3.0, 4.0]], np.float32), (6, 1))
    found = Search(index_of([same], [None] * 6), EYE).nearest(same[:1], 4)
    assert found.pictures.tolist() == [[0, 1, 2, 3]]
    assert found.similarities.tolist() == [[1, 1, 1, 1]]


def test_fewer_pictures_than_asked_for() -> None:
    found = Search(index_of([random(2, 3, 4)], [None, None]), np.eye(3, dtype=np.float32)).nearest(random(1, 3, 5), 5)
    assert sorted(found.pictures[0].tolist()) == [-1, -1, -1, 0, 1]
    assert np.isneginf(found.similarities[0, 2:]).all()


def test_a_picture_at_the_mean_is_like_nothing() -> None:
    known = np.array([[0, 0], [1, 0]], np.float32)
    found = Search(index_of([known], [None, None]), EYE).nearest(np.zeros((1, 2), np.float32), 2)
    assert found.similarities.tolist() == [[0, 0]]


def test_no_points() -> None:
    search_in = Search(index_of([random(2, 3, 4)], [None, None]), np.eye(3, dtype=np.float32))
    assert search_in.nearest(random(0, 3, 5), 5).pictures.shape == (0, 5)


def test_beyond_a_size_nearly_all_true_neighbours_are_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    known = (rng.normal(size=(40, 12))[rng.integers(0, 40, 20_000)] + rng.normal(size=(20_000, 12)) / 3).astype(
        np.float32
    )
    index, space = index_of([known[:15_000], known[15_000:]], [None] * 20_000), random(12, 12, 3)
    said = io.StringIO()
    near = Approximate(index, space, tmp_path / "cache", Progress(said))
    assert "placing" in said.getvalue()
    asked = known[:300] + random(300, 12, 4) / np.float32(10)
    found, true = near.nearest(asked, 30), Search(index, space).nearest(asked, 30)
    share = np.mean([np.isin(*rows).mean() for rows in zip(true.pictures, found.pictures, strict=True)])
    assert share == pytest.approx(near.recall, abs=0.03)
    assert near.recall >= RECALL
    same = found.pictures == true.pictures
    assert np.allclose(found.similarities[same], true.similarities[same], atol=1e-5)

    again = Approximate(index, space, tmp_path / "cache", Progress(said))
    assert said.getvalue().count("placing") == 1
    assert said.getvalue().count("of the 30 nearest") == 2
    assert np.array_equal(again.nearest(asked, 30).pictures, found.pictures)
    assert again.recall == near.recall

    [file] = (tmp_path / "cache").glob("*.faiss")
    beginning = file.read_bytes()[:1000]
    file.unlink()  # not shortened in place: faiss' own threads still read ahead in what `again` has mapped
    file.write_bytes(beginning)
    mended = Approximate(index, space, tmp_path / "cache", Progress(said))
    assert said.getvalue().count("placing") == 2
    assert np.array_equal(mended.nearest(asked, 30).pictures, found.pictures)


def test_a_catalogue_of_many_pictures_searches_in_cells(
    output: Path, fruit: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(catalogue, "EXACT_UP_TO", 100)
    assert main(["classify", str(fruit[1] / "Lemon" / "25.jpg"), "--output", str(output)]) == 0
    said = capsys.readouterr()
    assert "search is approximate" in said.err
    assert "25.jpg: Lemon" in said.out
