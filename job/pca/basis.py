"""The mathematics of PCA, NumPy only: moments that merge, a basis that is fitted, saved, loaded and applied.

Letters: n images, d features, k components. Everything is summed in float64.
"""

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from job.errors import JobError, RunError

FORMAT = 1

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """What PCA needs to know of a set of vectors; two sets' moments merge into those of their union.

    Attributes
    ----------
    n : int
        Number of vectors.
    origin, offset : float64 array [d]
        The mean is their sum. Kept apart, as the sum rounds away what a merge needs: where the mean is a million times
        the spread, one addition costs the eigenvalues four digits.
    scatter : float64 array [d, d]
        Sum of the outer products of the centred vectors.
    """

    n: int
    origin: Floats
    offset: Floats
    scatter: Floats

    @property
    def mean(self) -> Floats:
        """Return the mean [d]."""
        return self.origin + self.offset

    @classmethod
    def empty(cls, d: int) -> "Moments":
        """Return the moments of no vector."""
        return cls(0, np.zeros(d), np.zeros(d), np.zeros((d, d)))

    @classmethod
    def of(cls, block: NDArray[np.floating[Any]]) -> "Moments":
        """Return the moments of a block of vectors [n, d], centred before it is squared: large means cost no digits."""
        if not len(block):
            return cls.empty(block.shape[1])
        values = np.asarray(block, np.float64)
        origin = values.mean(axis=0)
        centred = values - origin
        # A second pass takes away what rounding left in the mean (the corrected two-pass algorithm, Chan et al. 1983).
        offset = centred.mean(axis=0)
        centred -= offset
        return cls(len(block), origin, offset, centred.T @ centred)

    def merge(self, other: "Moments") -> "Moments":
        """Return the moments of the union.

        Chan, Golub and LeVeque, "Algorithms for computing the sample variance", The American Statistician 37 (1983),
        equation 1.5, for vectors.
        """
        if not self.n or not other.n:
            return other if not self.n else self
        n = self.n + other.n
        apart = (other.origin - self.origin) + (other.offset - self.offset)
        scatter = self.scatter + other.scatter
        scatter += np.outer(apart, apart * (self.n * other.n / n))
        # Weighed from the larger set: its mean moves the least.
        if self.n >= other.n:
            return Moments(n, self.origin, self.offset + apart * (other.n / n), scatter)
        return Moments(n, other.origin, other.offset - apart * (self.n / n), scatter)


def merge_all(moments: list[Moments]) -> Moments:
    """Return the moments of the union of one or more sets, merged pairwise: rounding grows with the logarithm."""
    while len(moments) > 1:
        pairs = [a.merge(b) for a, b in zip(moments[::2], moments[1::2], strict=False)]
        moments = pairs + moments[len(pairs) * 2 :]
    return moments[0]


@dataclass(frozen=True)
class Basis:
    """Principal components, and where they come from.

    Attributes
    ----------
    mean : float64 array [d]
    components : float64 array [k, d]
        Orthonormal rows, by falling variance; the largest loading of each is positive.
    explained_variance : float64 array [k]
        Variances along the components, divisor n - 1.
    total_variance : float
        Sum of all d variances, divisor n - 1.
    n : int
        Number of vectors that it was fitted to.
    fingerprint : str
        Of the model that made the vectors.
    settings : dict
        The run's settings.
    """

    mean: Floats
    components: Floats
    explained_variance: Floats
    total_variance: float
    n: int
    fingerprint: str
    settings: dict[str, Any]

    @property
    def explained_variance_ratio(self) -> Floats:
        """Return each component's share of the total variance [k], 0 to 1."""
        return self.explained_variance / self.total_variance

    def project(self, vectors: NDArray[np.floating[Any]]) -> Floats:
        """Return the coordinates [n, k] float64 of vectors [n, d], centred.

        Spark ML's PCA does not centre what it projects: its values are these plus `components @ mean`.
        """
        return self.split(vectors)[0]

    def split(self, vectors: NDArray[np.floating[Any]]) -> tuple[Floats, Floats]:
        """Return the coordinates [n, k] of vectors [n, d], and the lengths [n] of what the components leave of them."""
        centred = np.asarray(vectors, np.float64) - self.mean
        coordinates: Floats = centred @ self.components.T
        rest = np.einsum("nd,nd->n", centred, centred) - np.einsum("nk,nk->n", coordinates, coordinates)
        return coordinates, np.sqrt(np.maximum(rest, 0))

    def orthonormal_error(self) -> float:
        """Return the largest deviation of `components @ components.T` from the identity."""
        return float(np.abs(self.components @ self.components.T - np.eye(len(self.components))).max())

    def to_bytes(self) -> bytes:
        """Return the basis as an .npz file, exact to reload."""
        about = {"format": FORMAT, "n": self.n, "fingerprint": self.fingerprint, "settings": self.settings}
        file = io.BytesIO()
        np.savez(
            file,
            mean=self.mean,
            components=self.components,
            explained_variance=self.explained_variance,
            total_variance=np.float64(self.total_variance),
            about=np.array(json.dumps(about)),
        )
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, source: str) -> "Basis":
        """Read what `to_bytes` has made; `source` names it in errors.

        Raises
        ------
        JobError
            Where it is damaged or of another version.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                about = json.loads(str(arrays["about"]))
                found = about["format"]
                basis = cls(
                    mean=arrays["mean"],
                    components=arrays["components"],
                    explained_variance=arrays["explained_variance"],
                    total_variance=float(arrays["total_variance"]),
                    n=about["n"],
                    fingerprint=about["fingerprint"],
                    settings=about["settings"],
                )
        except Exception as error:  # noqa: BLE001 - NumPy and zipfile raise a dozen kinds on damaged files
            raise JobError(f"{source} is damaged: {' '.join(str(error).split())[:200]}") from None
        if found != FORMAT:
            raise JobError(f"{source} has format {found}, this version reads format {FORMAT}")
        return basis


def rank(variances: Floats) -> int:
    """Return how many of the variances [d], falling, stand above rounding.

    The eigenvalues of a float64 scatter matrix are good to some d times the machine's precision of the largest: what is
    smaller cannot be told from none.
    """
    if not len(variances) or variances[0] <= 0:
        return 0
    return int(np.count_nonzero(variances > len(variances) * np.finfo(np.float64).eps * variances[0]))


def fit(
    moments: Moments, components: int | None, variance: float | None, fingerprint: str, settings: dict[str, Any]
) -> Basis:
    """Fit principal components to moments.

    Parameters
    ----------
    components : int, optional
        How many to keep. Where the data have fewer, in rank, all of them are kept: look at `len(basis.components)`.
    variance : float, optional
        In its place: keep the fewest that hold this share of the variance.

    Raises
    ------
    RunError
        For fewer than two vectors, or vectors that are all alike.
    """
    if moments.n < 2:
        raise RunError(f"PCA needs at least two usable images, and there {_are(moments.n)}")
    # One thread: 0.25 s for d = 1280; several threads that wait for each other on busy cores took 6 to 12 s.
    with threadpool_limits(1, "blas"):
        values, vectors = np.linalg.eigh(moments.scatter / (moments.n - 1))
    # eigh gives rising order; rounding may leave tiny negative values where there is no variance.
    values, vectors = np.clip(values[::-1], 0, None), vectors[:, ::-1]
    usable = min(rank(values), moments.n - 1)
    if not usable:
        raise RunError(f"the features of all {moments.n} images are the same: there is no variance for PCA to explain")
    total = float(values.sum())
    if variance is not None:
        shares = np.cumsum(values[:usable]) / total
        # Rounding may leave the sum of all a hair under 1.
        k = min(int(np.searchsorted(shares, variance - 1e-12)) + 1, usable)
    else:
        k = min(components or usable, usable)
    chosen = vectors[:, :k].T
    largest = chosen[np.arange(k), np.abs(chosen).argmax(axis=1)]
    chosen = np.ascontiguousarray(chosen * np.where(largest < 0, -1.0, 1.0)[:, None])
    return Basis(moments.mean, chosen, values[:k].copy(), total, moments.n, fingerprint, settings)


def _are(n: int) -> str:
    return "is none" if n == 0 else "is one"
