"""Encoded images in, small JPEGs out: a child process decodes them."""

import io

from PIL import Image

from job.images.sandbox import DecodeOptions, Decoder

_QUALITY = 80
_MEMORY_BYTES = 1 << 30


class Thumbnailer:
    """Makes square thumbnails; to be closed, or used in a `with` statement.

    Parameters
    ----------
    side : int
        Pixels of a side.
    max_pixels, seconds : int, float
        Limits of an image: its pixels, and the time that decoding it may take.
    """

    def __init__(self, side: int, max_pixels: int, seconds: float = 10.0) -> None:
        self._decoder = Decoder(DecodeOptions(side, "fast", max_pixels, seconds, _MEMORY_BYTES), isolated=True)

    def __enter__(self) -> "Thumbnailer":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the child process."""
        self.close()

    def close(self) -> None:
        """End the child process."""
        self._decoder.close()

    def thumbnail(self, data: bytes) -> bytes:
        """Return an image as a small JPEG; raises `Rejected` for one that cannot be used."""
        file = io.BytesIO()
        Image.fromarray(self._decoder.decode(data).pixels).save(file, "JPEG", quality=_QUALITY)
        return file.getvalue()
