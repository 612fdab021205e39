"""Encoded images in, coordinates out: through the decoding, the model and the basis of an output's results."""

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
from job.results.coordinates import locate
from job.results.index import IndexDescription
from job.results.run_record import RunRecord


@dataclass(frozen=True)
class Embedding:
    """An image as the index holds it: see `job.results.coordinates.locate`.

    Attributes
    ----------
    coordinates : float32 array, shape (c,)
    residual : float
    """

    coordinates: NDArray[np.float32]
    residual: float


@dataclass(frozen=True)
class Pipeline:
    """The steps from an encoded image to its embedding, the same as for the results of an output.

    Attributes
    ----------
    decoding : DecodeOptions
    model : Model
    basis : Basis
    """

    decoding: DecodeOptions
    model: Model
    basis: Basis

    def limited(self, max_pixels: int, seconds: float) -> "Pipeline":
        """Return the pipeline with tighter limits: it rejects more images, and embeds the others the same."""
        decoding = replace(
            self.decoding,
            max_pixels=min(max_pixels, self.decoding.max_pixels),
            seconds=min(seconds, self.decoding.seconds),
        )
        return replace(self, decoding=decoding)


def read_pipeline(output: str, run: RunRecord, description: IndexDescription) -> Pipeline:
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
            f"the results were not made with the model in {folder} and this version's decoder;"
            " run python -m job run again with the model to use from now on"
        )
    address = run.basis_address(output)
    try:
        data = storage.read(address)
    except (FileNotFoundError, NotADirectoryError):
        raise JobError(f"no basis at {address}; run python -m job reduce to write it again") from None
    if sha256(data).hexdigest() != description.basis_sha256:
        raise JobError(f"{address} is not the basis of the index; run python -m job reduce to write both again")
    return Pipeline(decode_options(model, run.settings), model, Basis.from_bytes(data, address))


class Embedder:
    """Embeds images one at a time; to be closed, or used in a `with` statement.

    A child process decodes them: an image that crashes or hangs the decoder costs that image only.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._basis = pipeline.basis
        with silenced():  # LiteRT names its delegate on standard error
            self._extractor = FeatureExtractor(pipeline.model)
        self._decoder = Decoder(pipeline.decoding, isolated=True)

    def __enter__(self) -> "Embedder":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the child process."""
        self.close()

    def close(self) -> None:
        """End the child process."""
        self._decoder.close()

    def embed(self, data: bytes) -> Embedding:
        """Return the embedding of an image; raises `Rejected` with the reason for one that cannot be used."""
        pixels = self._decoder.decode(data).pixels
        features, colors = self._extractor.extract(pixels), color_histogram(pixels)
        coordinates, residuals = locate(self._basis, features[None], colors[None])
        return Embedding(coordinates[0], float(residuals[0]))


class EmbedderPool:
    """A number of embedders that threads share; to be closed, or used in a `with` statement.

    Parameters
    ----------
    pipeline : Pipeline
    size : int
        Number of images that are embedded at a time; more than one a core is not faster.
    """

    def __init__(self, pipeline: Pipeline, size: int) -> None:
        self._size = size
        self._idle: SimpleQueue[Embedder] = SimpleQueue()
        for _ in range(size):
            self._idle.put(Embedder(pipeline))

    def __enter__(self) -> "EmbedderPool":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the child processes."""
        self.close()

    def close(self) -> None:
        """End the child processes, each as soon as its image is done."""
        for _ in range(self._size):
            self._idle.get().close()

    def embed(self, data: bytes) -> Embedding:
        """Return the embedding of an image, as `Embedder.embed` does; waits for an idle embedder."""
        embedder = self._idle.get()
        try:
            return embedder.embed(data)
        finally:
            self._idle.put(embedder)
