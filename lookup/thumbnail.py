"""A picture's bytes in, a small JPEG out, by way of a child process."""

import io

from PIL import Image

from job.images.sandbox import DecodeOptions, Decoder

_QUALITY = 80
_MEMORY_BYTES = 1 << 30


def thumbnails(side: int, max_pixels: int, seconds: float = 10.0) -> Decoder:
    """Return what decodes pictures to squares of `side` pixels, within limits; to be closed."""
    return Decoder(DecodeOptions(side, "fast", max_pixels, seconds, _MEMORY_BYTES), isolated=True)


def thumbnail(decoder: Decoder, data: bytes) -> bytes:
    """Return a picture as a small JPEG; raises `Rejected` for one that cannot be used."""
    file = io.BytesIO()
    Image.fromarray(decoder.decode(data).pixels).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
