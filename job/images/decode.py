"""Encoded bytes in, pixels out, or the reason why not. Pillow only; neither Spark nor storage."""

import ctypes
import io
import warnings
from dataclasses import dataclass
from typing import cast

import numpy as np
import pi_heif
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from job.compat import free_webp_decoder
from job.images import icc
from job.images.rejection import DAMAGED, NOT_AN_IMAGE, TOO_MANY_PIXELS, TRUNCATED, ZERO_BYTES, Rejected
from job.settings import DEFAULT_MAX_PIXELS

# One task has one core: threads would only add memory.
pi_heif.register_heif_opener(decode_threads=1)
Image.init()

# Part of the fingerprint: raise it whenever the same bytes would give other pixels, or another color histogram.
DECODER_VERSION = 3

# Pillow hands EPS to Ghostscript, which runs the program in the file: too dangerous for unknown files.
REFUSED_FORMATS = ("EPS",)

# Shrink-on-load keeps at least this many times the side needed: cosine to the full decode >= 0.9996 on 8-13 Mpx photos
# (benchmarks.photos).
DRAFT_FACTOR = 3

# Large images are converted to RGB a strip at a time, so that there is never a second copy of the whole.
STRIP_PIXELS = 1 << 18

# After an image of this many pixels the memory that it took is returned to the system.
LARGE_PIXELS = 16_000_000

_ORIENTATION_TAG = 0x0112
# EXIF orientation -> the transposition from the stored pixels to the upright image (Exif 2.32, tag 274).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image.

    Attributes
    ----------
    pixels : uint8 array, shape (input_size, input_size, 3)
        RGB, upright, on white where the image is transparent.
    width, height : int
        In pixels as stored in the file, before orientation and resizing.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int


def decode(
    data: bytes,
    input_size: int,
    mode: str = "fast",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    *,
    strip_pixels: int = STRIP_PIXELS,
) -> DecodedImage:
    """Decode an image of any format that Pillow or pi-heif reads and resize it (bicubic) to a square.

    Parameters
    ----------
    data : bytes
        The whole file; its content decides the format, not its name.
    input_size : int
        Side of the square that the network takes, in pixels; the aspect ratio is not kept.
    mode : {"fast", "exact"}
        `fast` lets libjpeg shrink JPEGs while loading, to no less than 3 times `input_size`; `exact` decodes in full.
    max_pixels : int
        Images with more pixels are rejected before they are decoded.
    strip_pixels : int
        Pixels of a large image that are converted at a time.

    Raises
    ------
    Rejected
        With the reason, for bytes that are no usable image: those that Pillow's own `Image.open(…).load()` refuses.
    MemoryError
        When memory runs out; the caller knows whether that is the image's fault.
    """
    if not data:
        raise Rejected(ZERO_BYTES, "the file is empty")
    with warnings.catch_warnings():
        # Pillow warns of odd metadata and large images and reads on; a log of millions of images has no use for that.
        warnings.simplefilter("ignore")
        image = _open(data, max_pixels)
        width, height = image.size
        try:
            if mode == "fast":
                image.draft("RGB", (DRAFT_FACTOR * input_size, DRAFT_FACTOR * input_size))
            free_webp_decoder(image)
            image.load()
            square = _square(image, input_size, strip_pixels)
            # Turning the small square instead of the whole image gives the same up to the rounding of the resize.
            transposition = _UPRIGHT.get(_orientation(image))
            pixels = np.asarray(square if transposition is None else square.transpose(transposition))
        except Exception as error:  # noqa: BLE001 - decoders raise anything on broken data; each error is the image's fault
            raise _rejected(error, DAMAGED) from None
        finally:
            image.close()  # frees its memory even while a traceback or a cycle still refers to it
            if width * height >= LARGE_PIXELS:
                _trim_heap()
    return DecodedImage(pixels, width, height)


def _open(data: bytes, max_pixels: int) -> Image.Image:
    """Open an image, which reads its header only."""
    try:
        image = Image.open(io.BytesIO(data), formats=[name for name in Image.ID if name not in REFUSED_FORMATS])
    except Image.DecompressionBombError as error:
        raise Rejected(TOO_MANY_PIXELS, str(error)) from None
    except UnidentifiedImageError:
        raise Rejected(NOT_AN_IMAGE, "no known image format") from None
    except Exception as error:  # noqa: BLE001 - a hostile header may raise anything; the file is no image
        raise _rejected(error, DAMAGED) from None
    width, height = image.size
    if width * height > max_pixels:
        raise Rejected(TOO_MANY_PIXELS, f"{width} x {height} pixels, more than the limit of {max_pixels}")
    return image


def _square(image: Image.Image, side: int, strip_pixels: int = STRIP_PIXELS) -> Image.Image:
    """Return the loaded image as an RGB square in sRGB, transparency laid over white, 16-bit samples scaled to 8."""
    mode, transform = icc.to_srgb(image)
    width, height = image.size
    rows = max(1, strip_pixels // width)
    flat = image.mode == mode and not image.has_transparency_data
    if flat or rows >= height:
        small = (image if flat else _flat(image, mode)).resize((side, side), Image.Resampling.BICUBIC)
    else:
        # Pillow resizes across, then down, and rounds in between: across by strips, then down is the same, bit by bit.
        narrow = Image.new(mode, (side, height))
        scale = _scale(image)
        for top in range(0, height, rows):
            strip = _flat(image.crop((0, top, width, min(top + rows, height))), mode, scale)
            narrow.paste(strip.resize((side, strip.height), Image.Resampling.BICUBIC), (0, top))
        small = narrow.resize((side, side), Image.Resampling.BICUBIC)
    return icc.apply(small, transform)


def _scale(image: Image.Image) -> float:
    """Return the factor from one-channel samples of more than 8 bits to 0..255."""
    if image.mode != "F":
        return 255 / 65535  # integer modes hold 16-bit samples
    # Floats count as 0 to 1 where none is above 1, else as 0 to 255.
    _, highest = image.getextrema()
    return 255 if float(cast("float", highest)) <= 1 else 1


def _flat(image: Image.Image, mode: str, scale: float | None = None) -> Image.Image:
    """Return the image in a mode of 8 bits a sample, without transparency."""
    try:
        return _converted(image, mode, scale)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - Pillow has read it, so it is usable; a few it cannot convert (no palette)
        samples = np.asarray(image)
        first = samples if samples.ndim == 2 else samples[..., 0]
        return Image.fromarray(np.clip(first, 0, 255).astype(np.uint8)).convert(mode)


def _converted(image: Image.Image, mode: str, scale: float | None) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        samples = np.asarray(image).astype(np.float64)
        scale = _scale(image) if scale is None else scale
        gray = np.clip(np.nan_to_num(np.rint(samples * scale)), 0, 255)
        transparent = image.info.get("transparency")
        if isinstance(transparent, int):  # the one sample that a 16-bit PNG calls transparent
            gray[samples == transparent] = 255
        return Image.fromarray(gray.astype(np.uint8)).convert(mode)
    if image.has_transparency_data:
        try:
            layer = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        except (ValueError, TypeError, KeyError, IndexError):
            pass  # a transparent color that makes no sense for the mode: the image is opaque
        else:
            white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
            return Image.alpha_composite(white, layer).convert("RGB").convert(mode)
    return image.convert(mode)


def _trim_heap() -> None:
    """Have glibc return free memory below the top of its heap: up to a whole image, on top of the next one."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 where there is none or where the EXIF block is broken."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001 - whatever a broken EXIF block raises, it never rejects a readable image
        return 1


def _rejected(error: Exception, otherwise: str) -> Exception:
    """Return the rejection that a decoder's error means, or a MemoryError where memory ran out."""
    words = " ".join(str(error).split()) or type(error).__name__
    lower = words.lower()
    if "security limit" in lower:  # libheif's bounds on what a file may claim; it calls them memory errors
        return Rejected(TOO_MANY_PIXELS if "image size" in lower else otherwise, words)
    if isinstance(error, MemoryError) or "out of memory" in lower or "memory alloc" in lower:
        return MemoryError(words)
    if isinstance(error, EOFError) or "truncated" in lower or "end of file" in lower:
        return Rejected(TRUNCATED, words)
    return Rejected(otherwise, words)
