"""Pixels in, the shares of their colours out: what a network's features tell little of. NumPy and Pillow only."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Steps of hue and of saturation tell apart what shape and texture do not (Swain and Ballard, Color indexing,
# International Journal of Computer Vision 7 (1991) 11-32). Not of value: it changes with the light.
HUES, SATURATIONS = 32, 4
COLOURS = HUES * SATURATIONS

# About so many pixels across and down are counted: more are slower and tell no more.
_ACROSS = 32

# Bits of each channel that are looked at: a table of so many colours answers in a third of the time.
_BITS = 6
_CHANNELS = np.array([1 << 2 * _BITS, 1 << _BITS, 1], np.int32)


def colour_shares(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the share of each colour in a picture's pixels: float32 [128], sum 1.

    Parameters
    ----------
    pixels : uint8 array [side, side, 3]
        RGB; of a large picture every so-manieth pixel is counted.

    Returns
    -------
    float32 array [128]
        Place 4 h + s: the hue is h/32 of a turn from red, rounded, the saturation between s/4 and (s + 1)/4, as in
        Pillow's mode HSV, of pixels rounded to 64 steps a channel. Grey has the hue of red.
    """
    step = max(1, len(pixels) // _ACROSS)
    few = (pixels[step // 2 :: step, step // 2 :: step] >> 8 - _BITS).astype(np.int32)
    places = _places()[(few @ _CHANNELS).ravel()]
    counts = np.bincount(places, minlength=COLOURS)
    shares: NDArray[np.float32] = (counts / len(places)).astype(np.float32)
    return shares


@cache
def _places() -> NDArray[np.uint8]:
    """Return the place of each colour of 6 bits a channel."""
    levels = np.arange(1 << 8 - _BITS - 1, 256, 1 << 8 - _BITS, dtype=np.uint8)  # the middle of each step
    colours = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(1, -1, 3)
    hue, saturation, _ = np.moveaxis(np.asarray(Image.fromarray(colours).convert("HSV"))[0], 1, 0)
    nearest = (hue + np.uint8(4)) >> 3  # beyond 255 it begins at 0 again, as hues do
    places: NDArray[np.uint8] = SATURATIONS * nearest + (saturation >> 6)
    return places
