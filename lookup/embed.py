"""Encoded pictures in, coordinates out: through the decoding, the model and the basis that an output's results have."""

from dataclasses import dataclass, replace
from hashlib import sha256
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from job import storage
from job.errors import JobError
from job.features.extractor import FeatureExtractor
from job.features.model import Model, decode_options, fingerprint, read_model
from job.features.silenced import silenced
from job.images.color_histogram import color_histogram
from job.images.sandbox import DecodeOptions, Decoder
from job.pca.basis import Basis
from job.results.index import IndexDescription, locate
from job.results.run_record import RunRecord


@dataclass(frozen=True)
class Point:
    """Where a picture lies: its coordinates float32 [c] and its residual, see `job.results.index.locate`."""

    coordinates: NDArray[np.float32]
    residual: float


@dataclass(frozen=True)
class Recipe:
    """What turns a picture into a point, as the results of an output were made: to be shared by `Embedder`s.

    Attributes
    ----------
    way : DecodeOptions
        How pictures are decoded, and within which limits.
    model : Model
    basis : Basis
    """

    way: DecodeOptions
    model: Model
    basis: Basis

    def limited(self, max_pixels: int, seconds: float) -> "Recipe":
        """Return the recipe with tighter limits: which pictures are refused changes, what they become does not."""
        way = replace(self.way, max_pixels=min(max_pixels, self.way.max_pixels), seconds=min(seconds, self.way.seconds))
        return replace(self, way=way)


def read_recipe(output: str, run: RunRecord, description: IndexDescription) -> Recipe:
    """Read the model, the basis and the decoding of an output's results.

    Raises
    ------
    JobError
        Where they are absent, damaged, or not those that the index was made with.
    """
    folder = storage.join(output, "model")
    model = read_model(folder)
    if fingerprint(model, run.settings) != description.fingerprint:
        raise JobError(
            f"the model in {folder} or this version's decoder is not what made the results there;"
            " run python -m job run again with the model that shall be used"
        )
    address = run.basis_address(output)
    try:
        data = storage.read(address)
    except (FileNotFoundError, NotADirectoryError):
        raise JobError(f"no basis at {address}; python -m job reduce makes it anew") from None
    if sha256(data).hexdigest() != description.basis_sha256:
        raise JobError(f"{address} is not the basis that the index was made with; python -m job reduce makes both anew")
    return Recipe(decode_options(model, run.settings), model, Basis.from_bytes(data, address))


class Embedder:
    """Turns pictures into points, one at a time; to be closed, or used in a `with` statement.

    Decoding is done by a child process: a picture that crashes or hangs the decoder costs that one only.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        with silenced():  # LiteRT tells on standard error which delegate it has
            self._extractor = FeatureExtractor(recipe.model)
        self._decoder = Decoder(recipe.way, isolated=True)

    def __enter__(self) -> "Embedder":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the child process."""
        self.close()

    def close(self) -> None:
        """End the child process."""
        self._decoder.close()

    def point(self, data: bytes) -> Point:
        """Return where a picture lies; raises `Rejected` with the reason for one that cannot be used."""
        pixels = self._decoder.decode(data).pixels
        features, colours = self._extractor.extract(pixels), color_histogram(pixels)
        coordinates, residuals = locate(self._recipe.basis, features[None], colours[None])
        return Point(coordinates[0], float(residuals[0]))


class Embedders:
    """A few embedders that threads share; to be closed, or used in a `with` statement.

    Parameters
    ----------
    recipe : Recipe
    count : int
        How many pictures are worked on at a time: one a core is as quick as it gets.
    """

    def __init__(self, recipe: Recipe, count: int) -> None:
        self._count = count
        self._idle: SimpleQueue[Embedder] = SimpleQueue()
        for _ in range(count):
            self._idle.put(Embedder(recipe))

    def __enter__(self) -> "Embedders":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the child processes."""
        self.close()

    def close(self) -> None:
        """End the child processes, each as soon as it has done what it does."""
        for _ in range(self._count):
            self._idle.get().close()

    def point(self, data: bytes) -> Point:
        """Return where a picture lies, as `Embedder.point` does; waits for an embedder that is idle."""
        embedder = self._idle.get()
        try:
            return embedder.point(data)
        finally:
            self._idle.put(embedder)
