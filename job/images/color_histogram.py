"""Pixels in, their color histogram out: what a network's features say little about. NumPy and Pillow only."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Two histograms: of hue and saturation, which stay when the light changes, and of value, which separates brown from
# orange (after Swain and Ballard, Color indexing, International Journal of Computer Vision 7 (1991) 11-32).
HUES, SATURATIONS, VALUES = 32, 4, 32
COLOR_BINS = HUES * SATURATIONS + VALUES

# Pixels counted across and down, about: more are slower and change nothing.
_SAMPLED_SIDE = 32

# Bits of each channel that count: a table of that many colors takes a third of the time.
_BITS = 6
_CHANNELS = np.array([1 << (2 * _BITS), 1 << _BITS, 1], np.int32)


def color_histogram(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the histogram of an image's colors.

    Parameters
    ----------
    pixels : uint8 array, shape (side, side, 3)
        RGB; large images are subsampled to about 32 pixels a side.

    Returns
    -------
    float32 array, shape (160,)
        First hue and saturation, 128 bins with the sum 1: bin 4 h + s holds hues near h/32 of a turn from red and
        saturations from s/4 to (s + 1)/4; gray has the hue of red. Then value, 32 bins with the sum 1: bin v holds
        values from v/32 to (v + 1)/32. All as in Pillow's mode HSV, for pixels rounded to 64 levels a channel.
    """
    step = max(1, len(pixels) // _SAMPLED_SIDE)
    sampled = (pixels[step // 2 :: step, step // 2 :: step] >> (8 - _BITS)).astype(np.int32)
    bins = _bins()[(sampled @ _CHANNELS).ravel()]
    counts = np.bincount(bins, minlength=HUES * SATURATIONS * VALUES).reshape(-1, VALUES)
    shares: NDArray[np.float32] = (np.concatenate([counts.sum(1), counts.sum(0)]) / len(bins)).astype(np.float32)
    return shares


@cache
def _bins() -> NDArray[np.uint16]:
    """Return the bin, by hue, saturation and value, of each color of 6 bits a channel."""
    width = 1 << (8 - _BITS)
    levels = np.arange(width // 2, 256, width, dtype=np.uint8)  # the middle of each level
    colors = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(1, -1, 3)
    hue, saturation, value = np.moveaxis(np.asarray(Image.fromarray(colors).convert("HSV"))[0], 1, 0).astype(np.uint16)
    nearest = (hue + 4) // 8 % HUES
    bins: NDArray[np.uint16] = (SATURATIONS * nearest + saturation // 64) * VALUES + value // 8
    return bins
