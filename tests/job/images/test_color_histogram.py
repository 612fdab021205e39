"""Shares of colors: by hand, by Python's own color arithmetic, and in a run's features."""

import colorsys

import numpy as np
import pytest

from job.images.color_histogram import COLOR_BINS, HUES, SATURATIONS, color_histogram


def striped(*colors: tuple[int, int, int], side: int = 96) -> np.ndarray:
    """Return a square image of upright stripes as broad as each other."""
    stripes = np.repeat(np.array(colors, np.uint8), side // len(colors), axis=0)
    return np.tile(stripes, (side, 1, 1))


@pytest.mark.parametrize("hue", range(HUES))
@pytest.mark.parametrize("saturation", range(SATURATIONS))
@pytest.mark.parametrize("value", [0.8, 1])
def test_each_color_has_its_place_in_any_light(hue: int, saturation: int, value: float) -> None:
    red, green, blue = colorsys.hsv_to_rgb(hue / HUES, (saturation + 0.8) / SATURATIONS, value)
    shares = color_histogram(striped((round(255 * red), round(255 * green), round(255 * blue))))
    assert shares.nonzero()[0].tolist() == [4 * hue + saturation, 128 + min(int(32 * value), 31)]
    assert shares.dtype == np.float32


def test_shares_of_four_stripes() -> None:
    shares = color_histogram(striped((255, 255, 255), (255, 0, 0), (0, 0, 255), (0, 0, 0)))
    # White and black have no saturation; blue is two thirds of a turn from red: 21.3 of 32.
    hues, values = {0: 0.5, 3: 0.25, 4 * 21 + 3: 0.25}, {128: 0.25, 128 + 31: 0.75}
    assert {int(place): shares[place] for place in shares.nonzero()[0]} == hues | values


@pytest.mark.parametrize("side", [1, 31, 32, 96, 224, 320])
def test_any_side(side: int) -> None:
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    shares = color_histogram(pixels)
    assert shares.shape == (COLOR_BINS,)
    assert shares[:128].sum() == pytest.approx(1, abs=1e-6)
    assert shares[128:].sum() == pytest.approx(1, abs=1e-6)


def test_large_images_are_counted_in_part_and_alike() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (32, 32, 3), np.uint8)
    assert np.array_equal(color_histogram(small.repeat(7, axis=0).repeat(7, axis=1)), color_histogram(small))
