"""Pixels in, the shares of their colours out: what a network's features tell little of. NumPy and Pillow only."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Two histograms: of hue and saturation, which stay when the light changes, and of value, which tells brown from orange
# (after Swain and Ballard, Color indexing, International Journal of Computer Vision 7 (1991) 11-32).
HUES, SATURATIONS, VALUES = 32, 4, 32
COLOR_BINS = HUES * SATURATIONS + VALUES

# About so many pixels across and down are counted: more are slower and tell no more.
_ACROSS = 32

# Bits of each channel that are looked at: a table of so many colours answers in a third of the time.
_BITS = 6
_CHANNELS = np.array([1 << (2 * _BITS), 1 << _BITS, 1], np.int32)


def color_histogram(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the shares of the colours in a picture's pixels: float32 [160].

    Parameters
    ----------
    pixels : uint8 array [side, side, 3]
        RGB; of a large picture every so-manieth pixel is counted.

    Returns
    -------
    float32 array [160]
        Of hue and saturation [128], sum 1, at place 4 h + s: the hue is h/32 of a turn from red, rounded, the
        saturation between s/4 and (s + 1)/4; grey has the hue of red. Then of value [32], sum 1, at place v: between
        v/32 and (v + 1)/32. All as in Pillow's mode HSV, of pixels rounded to 64 steps a channel.
    """
    step = max(1, len(pixels) // _ACROSS)
    few = (pixels[step // 2 :: step, step // 2 :: step] >> (8 - _BITS)).astype(np.int32)
    places = _places()[(few @ _CHANNELS).ravel()]
    counts = np.bincount(places, minlength=HUES * SATURATIONS * VALUES).reshape(-1, VALUES)
    shares: NDArray[np.float32] = (np.concatenate([counts.sum(1), counts.sum(0)]) / len(places)).astype(np.float32)
    return shares


@cache
def _places() -> NDArray[np.uint16]:
    """Return the place of each colour of 6 bits a channel, by hue, saturation, value."""
    width = 1 << (8 - _BITS)
    levels = np.arange(width // 2, 256, width, dtype=np.uint8)  # the middle of each step
    colours = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(1, -1, 3)
    hue, saturation, value = np.moveaxis(np.asarray(Image.fromarray(colours).convert("HSV"))[0], 1, 0).astype(np.uint16)
    nearest = (hue + 4) // 8 % HUES
    places: NDArray[np.uint16] = (SATURATIONS * nearest + saturation // 64) * VALUES + value // 8
    return places
