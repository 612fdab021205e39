"""Search against scikit-learn's, in several blocks, in another space, and at its edges."""

import io
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from job.progress import Progress
from lookup.classifier import Classifier
from lookup.embed import Embedder
from lookup.ivf import RECALL, IvfIndex
from lookup.search import ExactSearch
from lookup.spaces import Vectors
from tests.lookup.conftest import index_of

EYE = np.eye(2, dtype=np.float32)


def random(n: int, k: int, seed: int) -> Vectors:
    return np.random.default_rng(seed).normal(size=(n, k)).astype(np.float32)


@pytest.mark.parametrize("rows", [7, 64, 10_000])
@pytest.mark.parametrize("spaced", [False, True])
def test_finds_what_scikit_learn_finds(rows: int, spaced: bool) -> None:
    known, queries = random(300, 12, 1), random(13, 12, 2)
    space = random(12, 12, 3) if spaced else np.eye(12, dtype=np.float32)
    index = index_of([known[:100], known[100:103], known[103:]], [None] * 300)
    found = ExactSearch(index, space, block_rows=rows, block_queries=5).nearest(queries, 9)
    peer = NearestNeighbors(n_neighbors=9, metric="cosine").fit(known @ space)
    distances, near = peer.kneighbors(queries @ space)
    assert np.array_equal(found.rows, near)
    assert np.allclose(found.similarities, 1 - distances, atol=1e-5)


def test_equal_images_come_in_order() -> None:
    same = np.tile(np.array([[3.0, 4.0]], np.float32), (6, 1))
    found = ExactSearch(index_of([same], [None] * 6), EYE, block_rows=2).nearest(same[:1], 4)
    assert found.rows.tolist() == [[0, 1, 2, 3]]
    assert found.similarities.tolist() == [[1, 1, 1, 1]]


def test_fewer_images_than_asked_for() -> None:
    found = ExactSearch(index_of([random(2, 3, 4)], [None, None]), np.eye(3, dtype=np.float32)).nearest(
        random(1, 3, 5), 5
    )
    assert sorted(found.rows[0].tolist()) == [-1, -1, -1, 0, 1]
    assert np.isneginf(found.similarities[0, 2:]).all()


def test_an_image_at_the_mean_is_like_nothing() -> None:
    known = np.array([[0, 0], [1, 0]], np.float32)
    found = ExactSearch(index_of([known], [None, None]), EYE).nearest(np.zeros((1, 2), np.float32), 2)
    assert found.similarities.tolist() == [[0, 0]]


def test_no_queries() -> None:
    search = ExactSearch(index_of([random(2, 3, 4)], [None, None]), np.eye(3, dtype=np.float32))
    assert search.nearest(random(0, 3, 5), 5).rows.shape == (0, 5)


def test_an_ivf_index_finds_nearly_all_true_neighbors(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    known = (rng.normal(size=(40, 12))[rng.integers(0, 40, 20_000)] + rng.normal(size=(20_000, 12)) / 3).astype(
        np.float32
    )
    index, space = index_of([known[:15_000], known[15_000:]], [None] * 20_000), random(12, 12, 3)
    said = io.StringIO()
    ivf = IvfIndex(index, space, tmp_path / "cache", Progress(said))
    assert "assigning" in said.getvalue()
    queries = known[:300] + random(300, 12, 4) / np.float32(10)
    found, exact = ivf.nearest(queries, 30), ExactSearch(index, space).nearest(queries, 30)
    share = np.mean([np.isin(*rows).mean() for rows in zip(exact.rows, found.rows, strict=True)])
    assert share == pytest.approx(ivf.recall, abs=0.03)
    assert ivf.recall >= RECALL
    same = found.rows == exact.rows
    assert np.allclose(found.similarities[same], exact.similarities[same], atol=1e-5)

    again = IvfIndex(index, space, tmp_path / "cache", Progress(said))
    assert said.getvalue().count("assigning") == 1
    assert said.getvalue().count("of the 30 nearest") == 2
    assert np.array_equal(again.nearest(queries, 30).rows, found.rows)
    assert again.recall == ivf.recall

    [file] = (tmp_path / "cache").glob("*.faiss")
    beginning = file.read_bytes()[:1000]
    file.unlink()  # not shortened in place: faiss' own threads still read ahead in what `again` has mapped
    file.write_bytes(beginning)
    rebuilt = IvfIndex(index, space, tmp_path / "cache", Progress(said))
    assert said.getvalue().count("assigning") == 2
    assert np.array_equal(rebuilt.nearest(queries, 30).rows, found.rows)


def test_a_classifier_of_many_images_searches_in_cells(output: Path, fruit: tuple[Path, Path]) -> None:
    said = io.StringIO()
    classifier = Classifier(str(output), Progress(said), exact_up_to=100)
    with Embedder(classifier.pipeline) as embedder:
        [prediction] = classifier.classify([embedder.embed((fruit[1] / "Lemon" / "25.jpg").read_bytes())], 5)
    assert "search is approximate" in said.getvalue()
    assert prediction.label == "Lemon"
    assert len(prediction.neighbors) == 5
