"""The mathematics of PCA, against scikit-learn, NumPy and numbers worked by hand."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from job.errors import JobError, RunError
from job.pca.basis import Basis, Moments, fit, merge_all
from tests.job.pca.made_vectors import rotated

Floats = NDArray[np.float64]

# Of the largest eigenvalue: below it, or nearer than it to a neighbour, a component's direction is not determined.
DISTINCT = 1e-8


def fitted(x: NDArray[Any], components: int | None = None, variance: float | None = None) -> Basis:
    return fit(Moments.of(x), components, variance, "fingerprint", {})


def normal(rng: np.random.Generator) -> Floats:
    return rng.normal(size=(300, 30))


def tied(rng: np.random.Generator) -> Floats:
    """Return 64 vectors whose sample variances are 5, 5, 5, 2, 1 and 1, up to rounding."""
    design, _ = np.linalg.qr(np.hstack([np.ones((64, 1)), rng.normal(size=(64, 6))]))
    turn, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    result: Floats = design[:, 1:] * np.sqrt(63 * np.array([5.0, 5, 5, 2, 1, 1])) @ turn.T
    return result


def with_constants(rng: np.random.Generator) -> Floats:
    x = rng.normal(size=(100, 20))
    x[:, [3, 7, 11]] = [0.0, 0.1, 1e6 / 3]
    return x


class Case(NamedTuple):
    make: Callable[[np.random.Generator], Floats]
    distinct: int  # components that are compared one by one
    together: int  # components that are compared as subspaces
    rank: int


CASES = {
    "random": Case(normal, 30, 0, 30),
    "relu of float32": Case(lambda rng: np.maximum(normal(rng), 0).astype(np.float32), 30, 0, 30),
    "large mean": Case(lambda rng: normal(rng) + 1e6, 30, 0, 30),
    "large and different means": Case(lambda rng: normal(rng) + 1e6 * rng.normal(size=30), 30, 0, 30),
    "condition 1e4": Case(lambda rng: rotated(rng, np.logspace(0, -2, 30), 300), 30, 0, 30),
    "condition 1e12": Case(lambda rng: rotated(rng, np.logspace(0, -6, 30), 300), 19, 11, 30),
    "condition 1e12, large mean": Case(lambda rng: rotated(rng, np.logspace(0, -6, 30), 300) + 1e3, 19, 11, 30),
    "rank 5 of 30": Case(lambda rng: rng.normal(size=(200, 5)) @ rng.normal(size=(5, 30)), 5, 0, 5),
    "fewer vectors than features": Case(lambda rng: rng.normal(size=(20, 60)), 19, 0, 19),
    "fewer vectors, large mean": Case(lambda rng: rng.normal(size=(20, 60)) + 1e6, 19, 0, 19),
    "two vectors": Case(lambda rng: rng.normal(size=(2, 30)), 1, 0, 1),
    "constant columns": Case(with_constants, 17, 0, 17),
    "10 vectors 20 times": Case(lambda rng: np.tile(rng.normal(size=(10, 30)), (20, 1)), 9, 0, 9),
    "tied variances": Case(tied, 1, 5, 6),
}


def random_cuts(x: Floats, rng: np.random.Generator) -> list[Floats]:
    return np.split(x, np.sort(rng.integers(0, len(x) + 1, 12)))  # some cuts fall together: empty blocks


def shuffled(moments: list[Moments], rng: np.random.Generator) -> Moments:
    """Merge any two until one is left."""
    moments = list(moments)
    while len(moments) > 1:
        first = moments.pop(rng.integers(len(moments)))
        second = moments.pop(rng.integers(len(moments)))
        moments.append(first.merge(second))
    return moments[0]


def one_by_one(moments: list[Moments], rng: np.random.Generator) -> Moments:
    total = Moments.empty(len(moments[0].mean))
    for index in rng.permutation(len(moments)):
        total = total.merge(moments[index])
    return total


CUTS: dict[str, Callable[[Floats, np.random.Generator], list[Floats]]] = {
    "one block": lambda x, rng: [x],
    "two halves": lambda x, rng: np.array_split(x, 2),
    "random blocks, some empty": random_cuts,
    "a block for each row": lambda x, rng: np.split(x, len(x)),
    "empty blocks around": lambda x, rng: [x[:0], x[:1], x[:0], x[1:], x[:0]],
}
ORDERS: dict[str, Callable[[list[Moments], np.random.Generator], Moments]] = {
    "pairwise": lambda moments, rng: merge_all(moments),
    "one by one": one_by_one,
    "any two": shuffled,
}


def chains(values: Floats) -> list[list[int]]:
    """Group the components whose eigenvalues are too near to each other, or too small, to be told apart."""
    groups = [[0]]
    for index in range(1, len(values)):
        alike = values[index - 1] - values[index] <= DISTINCT * values[0]
        if alike or values[index - 1] <= DISTINCT * values[0]:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", CASES)
def test_equals_scikit_learn_for_any_blocks_and_any_order(name: str, cut: str, order: str) -> None:
    case, rng = CASES[name], np.random.default_rng(7)
    x = case.make(rng)
    basis = fit(ORDERS[order]([Moments.of(block) for block in CUTS[cut](x, rng)], rng), None, None, "", {})
    reference = PCA(svd_solver="full").fit(np.asarray(x, np.float64))

    assert basis.n == len(x)
    np.testing.assert_allclose(basis.mean, np.mean(x, axis=0, dtype=np.float64), rtol=1e-14, atol=1e-14)
    k, values = len(basis.components), reference.explained_variance_
    assert k == case.rank
    found = np.zeros_like(values)
    found[:k] = basis.explained_variance
    assert np.abs(found - values).max() <= 1e-12 * values[0]
    assert basis.total_variance == pytest.approx(values.sum(), rel=1e-12)

    ours, theirs = basis.project(x), reference.transform(np.asarray(x, np.float64))[:, :k]
    largest, distinct, together = np.abs(theirs).max(), 0, 0
    for group in chains(values[:k]):
        a, b = basis.components[group], reference.components_[group]
        if len(group) == 1 and values[group[0]] > DISTINCT * values[0]:
            sign = np.sign(a[0] @ b[0])
            assert np.abs(ours[:, group] - sign * theirs[:, group]).max() <= 1e-6 * largest
            distinct += 1
        else:
            assert np.abs(ours[:, group] @ a - theirs[:, group] @ b).max() <= 1e-6 * largest
            together += len(group)
    assert (distinct, together) == (case.distinct, case.together)


@pytest.mark.parametrize("name", CASES)
def test_components_are_orthonormal_with_their_largest_loading_positive(name: str) -> None:
    basis = fitted(CASES[name].make(np.random.default_rng(3)))
    for component in basis.components:
        assert max(component, key=abs) > 0
    product = basis.components @ basis.components.T
    np.testing.assert_allclose(product, np.identity(len(product)), atol=1e-13)
    assert basis.orthonormal_error() == pytest.approx(np.abs(product - np.identity(len(product))).max(), abs=1e-15)
    bent = Basis(**{**vars(basis), "components": basis.components * 1.5})
    assert bent.orthonormal_error() == pytest.approx(1.25)


# Values of features as they come, with repeats and zeros, and blocks of any size from none.
blocks_of_three = st.lists(
    st.lists(st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 3), max_size=6).map(
        lambda rows: np.array(rows, np.float64).reshape(-1, 3)
    ),
    min_size=1,
    max_size=6,
)


@given(blocks_of_three, st.randoms(use_true_random=False))
@examples(deadline=None, database=None, derandomize=True, max_examples=300)
def test_moments_of_the_parts_merge_in_any_order_into_those_of_the_whole(blocks: list[Floats], random: Any) -> None:
    whole, parts = np.concatenate(blocks), [Moments.of(block) for block in blocks]
    random.shuffle(parts)
    left = parts[0]
    for part in parts[1:]:
        left = left.merge(part)
    right = parts[-1]
    for part in parts[-2::-1]:
        right = part.merge(right)
    for moments in (left, right, merge_all(parts)):
        assert moments.n == len(whole)
        if len(whole) > 1:
            scale = float(np.abs(whole).max())
            np.testing.assert_allclose(moments.mean, whole.mean(axis=0), rtol=0, atol=1e-14 * scale)
            expected = np.cov(whole, rowvar=False) * (len(whole) - 1)
            np.testing.assert_allclose(moments.scatter, expected, rtol=0, atol=1e-13 * scale**2)


@pytest.mark.parametrize(("asked", "got"), [(1, 1), (19, 19), (20, 19), (60, 19), (None, 19)])
def test_more_components_than_the_data_have_gives_those_that_there_are(asked: int | None, got: int) -> None:
    x = np.random.default_rng(5).normal(size=(20, 60))
    basis = fitted(x, asked)
    assert basis.components.shape == (got, 60)
    assert basis.explained_variance.shape == (got,)
    assert basis.total_variance == pytest.approx(np.var(x, axis=0, ddof=1).sum())


@pytest.mark.parametrize(
    ("n", "words"), [(0, "at least two usable images, and there is none"), (1, "two usable images, and there is one")]
)
def test_fewer_than_two_vectors_are_refused(n: int, words: str) -> None:
    with pytest.raises(RunError, match=words):
        fitted(np.ones((n, 4)))


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e6 / 3, 1e-30])
@pytest.mark.parametrize("cuts", [1, 3, 17])
def test_vectors_that_are_all_the_same_are_refused(value: float, cuts: int) -> None:
    x = np.full((17, 5), value) * [1, 2, 0.7, 0.9, -3]
    moments = merge_all([Moments.of(block) for block in np.array_split(x, cuts)])
    with pytest.raises(RunError, match="features of all 17 images are the same"):
        fit(moments, 2, None, "", {})


# Scatter 18 along x and 2 along y: variances 6 and 2/3, shares 0.9 and 0.1.
CROSS = np.array([[13.0, 5], [7, 5], [10, 6], [10, 4]])


def test_shares_of_the_variance_as_worked_by_hand() -> None:
    basis = fitted(CROSS)
    np.testing.assert_allclose(basis.mean, [10, 5])
    np.testing.assert_allclose(basis.explained_variance, [6, 2 / 3])
    np.testing.assert_allclose(basis.explained_variance_ratio, [0.9, 0.1])
    np.testing.assert_allclose(basis.components, [[1, 0], [0, 1]], atol=1e-15)
    np.testing.assert_allclose(basis.project(CROSS), [[3, 0], [-3, 0], [0, 1], [0, -1]], atol=1e-14)
    first = fitted(CROSS, 1)
    np.testing.assert_allclose(first.explained_variance_ratio, [0.9])  # of all variance, not of what is kept
    np.testing.assert_allclose(first.project(np.array([[11.0, 99]], np.float32)), [[1]])


# 5 pairs of points on one axis, 3 on the next, 2 on the last: shares 0.5, 0.3, 0.2.
PAIRS = np.repeat(np.vstack([np.identity(3), -np.identity(3)]), [5, 3, 2, 5, 3, 2], axis=0)


@pytest.mark.parametrize(
    ("share", "k"),
    [(0.001, 1), (0.49, 1), (0.5, 1), (0.51, 2), (0.8, 2), (0.81, 3), (0.999999, 3), (1.0, 3)],
)
def test_a_share_of_the_variance_keeps_the_fewest_components_that_hold_it(share: float, k: int) -> None:
    for scale in (1, 0.1, 0.3, 0.7, 1 / 3, 1e-3, 1e3):  # rounding leaves sums a hair above or below the share
        assert len(fitted(PAIRS * scale + scale, None, share).components) == k


def test_all_of_the_variance_keeps_as_many_components_as_the_rank() -> None:
    assert len(fitted(CASES["rank 5 of 30"].make(np.random.default_rng(1)), None, 1.0).components) == 5


def stored() -> tuple[Basis, bytes]:
    moments = Moments.of(normal(np.random.default_rng(2)) + np.pi)
    basis = fit(moments, 4, None, "0123456789abcdef", {"variance": None, "images": "Äpfel", "limit": 7})
    return basis, basis.to_bytes()


def test_a_saved_basis_is_read_back_bit_for_bit() -> None:
    basis, data = stored()
    found = Basis.from_bytes(data, "a file")
    for name in ("mean", "components", "explained_variance"):
        array = getattr(found, name)
        assert array.dtype == np.float64
        assert array.shape == getattr(basis, name).shape
        assert array.tobytes() == getattr(basis, name).tobytes()
    assert found.total_variance.hex() == basis.total_variance.hex()
    assert (found.n, found.fingerprint) == (300, "0123456789abcdef")
    assert found.settings == {"variance": None, "images": "Äpfel", "limit": 7}
    x = normal(np.random.default_rng(4))
    assert found.project(x).tobytes() == basis.project(x).tobytes()


def test_damaged_bytes_are_no_basis() -> None:
    _, data = stored()
    place = data.index(b"components.npy") + 400  # inside the numbers
    flipped = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    other = io.BytesIO()
    np.savez(other, mean=np.zeros(3))
    for broken in (b"", b"not a basis", data[: len(data) // 2], flipped, other.getvalue()):
        with pytest.raises(JobError, match=r"^basis\.npz is damaged: .+") as caught:
            Basis.from_bytes(broken, "basis.npz")
        assert "\n" not in str(caught.value)


class Trap:
    """An object that makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.path,)


def test_code_hidden_in_a_basis_is_not_run(tmp_path: Path) -> None:
    _, data = stored()
    with np.load(io.BytesIO(data)) as arrays:
        fields = dict(arrays)
    file = io.BytesIO()
    np.savez(file, **fields | {"mean": np.array([Trap(tmp_path / "sprung")], dtype=object)})
    with pytest.raises(JobError, match=r"^basis\.npz is damaged: "):
        Basis.from_bytes(file.getvalue(), "basis.npz")
    assert not (tmp_path / "sprung").exists()


def test_a_basis_of_another_version_is_refused() -> None:
    _, data = stored()
    with np.load(io.BytesIO(data)) as arrays:
        fields = dict(arrays)
    fields["about"] = np.array(json.dumps(json.loads(str(fields["about"])) | {"format": 2}))
    file = io.BytesIO()
    np.savez(file, **fields)
    with pytest.raises(JobError, match=r"^basis\.npz has format 2, this version reads format 1$"):
        Basis.from_bytes(file.getvalue(), "basis.npz")


def test_the_cases_cover_what_they_say() -> None:
    made = {name: np.asarray(case.make(np.random.default_rng(7)), np.float64) for name, case in CASES.items()}
    for name, condition in (("condition 1e4", 1e4), ("condition 1e12", 1e12)):
        assert np.linalg.cond(made[name] - made[name].mean(axis=0)) ** 2 == pytest.approx(condition, rel=2)
    assert np.abs(made["large mean"].mean(axis=0)).min() > 9e5
    assert any(
        len(block) == 0 for block in CUTS["random blocks, some empty"](made["two vectors"], np.random.default_rng(7))
    )
