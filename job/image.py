"""Encoded bytes in, pixels out, or the reason why not. Pillow only; neither Spark nor storage."""

import io
import struct
from dataclasses import dataclass

import numpy as np
import pi_heif
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from job.settings import DEFAULT_MAX_PIXELS

pi_heif.register_heif_opener()

# Part of the fingerprint: raise it whenever the same bytes would give other pixels.
DECODER_VERSION = 1

# The closed list of reasons for which an image is rejected.
ZERO_BYTES = "zero bytes"
NOT_AN_IMAGE = "not an image"
TRUNCATED = "truncated"
DAMAGED = "damaged"
TOO_MANY_PIXELS = "too many pixels"
GONE = "gone"
NAME_NOT_UTF8 = "name not UTF-8"
REASONS = (ZERO_BYTES, NOT_AN_IMAGE, TRUNCATED, DAMAGED, TOO_MANY_PIXELS, GONE, NAME_NOT_UTF8)

# Shrink-on-load keeps at least this many times the side needed: cosine to the full decode >= 0.9998 on 8-13 Mpx photos.
DRAFT_FACTOR = 4

_ORIENTATION_TAG = 0x0112
# EXIF orientation -> what turns the stored pixels into what a viewer shows (Exif 2.32, tag 274).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Rejected(Exception):  # noqa: N818 - an answer, not a fault
    """An image that cannot be used: `reason` from `REASONS`, `error` in free text."""

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(f"{reason}: {error}")
        self.reason = reason
        self.error = error


@dataclass(frozen=True)
class Picture:
    """A decoded image.

    Attributes
    ----------
    pixels : uint8 array [input_size, input_size, 3]
        RGB, upright, on white where the image is transparent.
    width, height : int
        Pixels as stored in the file, before orientation and resizing.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int


def decode(data: bytes, input_size: int, mode: str = "fast", max_pixels: int = DEFAULT_MAX_PIXELS) -> Picture:
    """Decode an image of any format that Pillow or pi-heif reads and resize it (bicubic) to a square.

    Parameters
    ----------
    data : bytes
        The whole file. Its content decides what it is, not its name.
    input_size : int
        Side of the square that the network takes, in pixels; the aspect ratio is not kept.
    mode : {"fast", "exact"}
        `fast` lets libjpeg shrink JPEGs while loading, to no less than 4 times `input_size`; `exact` decodes in full.
    max_pixels : int
        Images with more pixels are rejected before they are decoded.

    Raises
    ------
    Rejected
        With the reason, for bytes that give no usable image.
    """
    if not data:
        raise Rejected(ZERO_BYTES, "the file is empty")
    try:
        image = Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise Rejected(TOO_MANY_PIXELS, str(error)) from None
    except UnidentifiedImageError:
        raise Rejected(NOT_AN_IMAGE, "no known image format") from None
    except Exception as error:  # noqa: BLE001 - a hostile header may raise anything; whatever it is, it is no image
        raise Rejected(_reason(error, NOT_AN_IMAGE), _words(error)) from None
    width, height = image.size
    if width * height > max_pixels:
        raise Rejected(TOO_MANY_PIXELS, f"{width} x {height} pixels, more than the limit of {max_pixels}")
    try:
        if mode == "fast":
            image.draft("RGB", (DRAFT_FACTOR * input_size, DRAFT_FACTOR * input_size))
        square = _rgb(image).resize((input_size, input_size), Image.Resampling.BICUBIC)
    except Exception as error:  # noqa: BLE001 - decoders raise anything on broken data; each is this image's fault
        raise Rejected(_reason(error, DAMAGED), _words(error)) from None
    # Turning the small square instead of the whole picture gives the same up to the rounding of the resize.
    turn = _UPRIGHT.get(_orientation(image))
    return Picture(np.asarray(square if turn is None else square.transpose(turn)), width, height)


def _rgb(image: Image.Image) -> Image.Image:
    """Return the image as RGB, transparency laid over white, 16-bit samples scaled to 8."""
    if image.mode.startswith("I") or image.mode == "F":
        samples = np.asarray(image, dtype=np.float64)
        # Integer modes hold 16-bit samples; floats are taken as 0..1 where they fit in it, else as 0..255.
        scale = 255 / 65535 if image.mode != "F" else (255 if samples.size and samples.max() <= 1 else 1)
        gray = np.clip(np.rint(samples * scale), 0, 255)
        gray[samples == image.info.get("transparency", np.nan)] = (
            255  # the one sample that a 16-bit PNG calls transparent
        )
        return Image.fromarray(gray.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 where there is none or where the EXIF block is broken."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except (ValueError, TypeError, SyntaxError, struct.error, OSError, KeyError, IndexError, OverflowError):
        return 1


def _reason(error: Exception, otherwise: str) -> str:
    return TRUNCATED if "truncated" in str(error).lower() else otherwise


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
