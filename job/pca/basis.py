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
    """Number, mean and scatter of a set of vectors; the moments of two sets merge into those of their union.

    Attributes
    ----------
    n : int
        Number of vectors.
    origin, offset : float64 arrays, shape (d,)
        Their sum is the mean. They are kept apart because the sum loses digits that a merge needs: where the mean is a
        million times the spread, one addition costs the eigenvalues four digits.
    scatter : float64 array, shape (d, d)
        Sum of the outer products of the centered vectors.
    """

    n: int
    origin: Floats
    offset: Floats
    scatter: Floats

    @property
    def mean(self) -> Floats:
        """Return the mean: float64 array, shape (d,)."""
        return self.origin + self.offset

    @classmethod
    def empty(cls, d: int) -> "Moments":
        """Return the moments of no vector."""
        return cls(0, np.zeros(d), np.zeros(d), np.zeros((d, d)))

    @classmethod
    def of(cls, block: NDArray[np.floating[Any]]) -> "Moments":
        """Return the moments of a block of vectors, an array of shape (n, d).

        The block is centered before it is squared, so that a large mean costs no digits.
        """
        if not len(block):
            return cls.empty(block.shape[1])
        values = np.asarray(block, np.float64)
        origin = values.mean(axis=0)
        centered = values - origin
        # A second pass removes the rounding error of the mean (the corrected two-pass algorithm, Chan et al. 1983).
        offset = centered.mean(axis=0)
        centered -= offset
        return cls(len(block), origin, offset, centered.T @ centered)

    def merge(self, other: "Moments") -> "Moments":
        """Return the moments of the union.

        Chan, Golub and LeVeque, "Algorithms for computing the sample variance", The American Statistician 37 (1983),
        equation 1.5, for vectors.
        """
        if not self.n or not other.n:
            return other if not self.n else self
        n = self.n + other.n
        difference = (other.origin - self.origin) + (other.offset - self.offset)
        scatter = self.scatter + other.scatter
        scatter += np.outer(difference, difference * (self.n * other.n / n))
        # From the mean of the larger set, which moves the least.
        if self.n >= other.n:
            return Moments(n, self.origin, self.offset + difference * (other.n / n), scatter)
        return Moments(n, other.origin, other.offset - difference * (self.n / n), scatter)


def merge_all(moments: list[Moments]) -> Moments:
    """Return the moments of the union of one or more sets.

    They are merged pairwise, so that rounding grows with the logarithm of their number.
    """
    while len(moments) > 1:
        pairs = [a.merge(b) for a, b in zip(moments[::2], moments[1::2], strict=False)]
        moments = pairs + moments[len(pairs) * 2 :]
    return moments[0]


@dataclass(frozen=True)
class Basis:
    """Principal components, and the data that they were fitted to.

    Attributes
    ----------
    mean : float64 array, shape (d,)
        Mean of the vectors.
    components : float64 array, shape (k, d)
        Orthonormal rows, by falling variance; the largest loading of each is positive.
    explained_variance : float64 array, shape (k,)
        Variances along the components, divisor n - 1.
    total_variance : float
        Sum of all d variances, divisor n - 1.
    n : int
        Number of vectors.
    fingerprint : str
        Fingerprint of the model and the decoding that made the vectors.
    settings : dict
        Settings of the run that fitted them.
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
        """Return each component's share of the total variance: float64 array, shape (k,), from 0 to 1."""
        return self.explained_variance / self.total_variance

    def project(self, vectors: NDArray[np.floating[Any]]) -> Floats:
        """Return the centered coordinates of vectors, shape (n, d): float64 array, shape (n, k).

        Spark ML's PCA does not center the vectors that it projects: its values are these plus `components @ mean`.
        """
        return self.decompose(vectors)[0]

    def decompose(self, vectors: NDArray[np.floating[Any]]) -> tuple[Floats, Floats]:
        """Return the coordinates of vectors, and their distances from the space that the components span.

        Parameters
        ----------
        vectors : floating array, shape (n, d)

        Returns
        -------
        coordinates : float64 array, shape (n, k)
        residuals : float64 array, shape (n,)
        """
        centered = np.asarray(vectors, np.float64) - self.mean
        coordinates: Floats = centered @ self.components.T
        rest = np.einsum("nd,nd->n", centered, centered) - np.einsum("nk,nk->n", coordinates, coordinates)
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
        """Read the bytes that `to_bytes` returned; `source` names them in errors.

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
    """Return how many of the variances (float64 array, shape (d,), falling) are above rounding.

    The eigenvalues of a float64 scatter matrix are accurate to about d times the machine precision of the largest:
    smaller ones cannot be distinguished from zero.
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
        Number to keep. Where the rank of the data is lower, there are fewer: `len(basis.components)`.
    variance : float, optional
        Keep instead the fewest that hold this share of the variance.

    Raises
    ------
    RunError
        For fewer than two vectors, or vectors that are all alike.
    """
    if moments.n < 2:
        raise RunError(f"PCA needs at least two usable images, and there {_are(moments.n)}")
    # One thread takes 0.25 s for d = 1280; several threads that wait for each other on busy cores took 6 to 12 s.
    with threadpool_limits(1, "blas"):
        values, vectors = np.linalg.eigh(moments.scatter / (moments.n - 1))
    # eigh returns rising order; rounding may make zero variances slightly negative.
    values, vectors = np.clip(values[::-1], 0, None), vectors[:, ::-1]
    usable = min(rank(values), moments.n - 1)
    if not usable:
        raise RunError(f"the features of all {moments.n} images are the same: there is no variance for PCA to explain")
    total = float(values.sum())
    if variance is not None:
        shares = np.cumsum(values[:usable]) / total
        # Rounding may leave the last sum slightly below 1.
        k = min(int(np.searchsorted(shares, variance - 1e-12)) + 1, usable)
    else:
        k = min(components or usable, usable)
    chosen = vectors[:, :k].T
    largest = chosen[np.arange(k), np.abs(chosen).argmax(axis=1)]
    chosen = np.ascontiguousarray(chosen * np.where(largest < 0, -1.0, 1.0)[:, None])
    return Basis(moments.mean, chosen, values[:k].copy(), total, moments.n, fingerprint, settings)


def _are(n: int) -> str:
    return "is none" if n == 0 else "is one"
