"""What a kind of fruit is like: traits as numbers, drawn from a seed, and changed one at a time.

Lengths are in units of the body's half width, colors are RGB from 0 to 1, shares go from 0 to 1.
"""

import colorsys
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

Color = tuple[float, float, float]
Generator = np.random.Generator

# Hues that fruit and vegetables have, commoner ones more than once: red, orange, yellow, green, a few purples.
_REDS = (0.0, 0.0, 0.015, 0.03, 0.03, 0.93, 0.95, 0.97, 0.98, 0.9)
_ORANGES = (0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.11, 0.12, 0.13)
_GREENS = (0.14, 0.15, 0.16, 0.18, 0.2, 0.22, 0.25, 0.28, 0.33)
_PURPLES = (0.72, 0.8)
HUES = (*_REDS, *_ORANGES, *_GREENS, *_PURPLES)


@dataclass(frozen=True)
class Species:
    """The traits of one kind of fruit; the defaults are a smooth yellow ball."""

    skin: Color = (0.9, 0.75, 0.2)
    second: Color = (0.9, 0.75, 0.2)  # what gradient, blush and blotches lead to
    marks: Color = (0.4, 0.25, 0.1)  # stripes, dots and the net between cells

    # Shape of the body, a closed surface around the axis from the bottom pole to the top pole.
    aspect: float = 1.0  # length over width
    flatness: float = 1.0  # depth over width
    squareness: float = 2.0  # exponent of the profile: 2 an ellipse, more a barrel, less a spindle
    taper: float = 0.0  # > 0: narrower at the top, as a pear
    neck: float = 0.0
    dimple_top: float = 0.0
    dimple_bottom: float = 0.0
    lobes: int = 0
    lobe_depth: float = 0.0
    lumps: float = 0.0
    bend: float = 0.0  # radians from pole to pole
    cells: int = 0  # rows of cells from pole to pole: drupelets, scales, seeds
    cell_height: float = 0.0  # < 0: pits

    # Color on the surface.
    bias: float = 0.0  # where between skin and second the middle lies
    gradient: float = 0.0  # pole to pole
    blush: float = 0.0  # on one side
    blotch: float = 0.0
    blotch_size: float = 0.5
    stripes: int = 0
    stripe_share: float = 0.0
    stripe_waves: float = 0.0
    dots: float = 0.0
    dot_size: float = 0.08
    net: float = 0.0  # the edges of cells (> 0) or their middles (< 0) in the color of the marks
    grain: float = 0.0
    grain_size: float = 0.05
    scars: int = 0
    gloss: float = 0.3
    sharpness: float = 30.0  # exponent of the highlight

    # What hangs on it.
    stalk_length: float = 0.0
    stalk_width: float = 0.06
    stalk_color: Color = (0.35, 0.25, 0.12)
    calyx: float = 0.0  # radius of the stain at the bottom pole, radians
    leaves: int = 0
    leaf_length: float = 0.6
    leaf_lift: float = 0.2  # radians above the plane across the axis
    leaf_color: Color = (0.25, 0.45, 0.15)
    leaves_on_top: bool = True
    hairs: int = 0
    hair_length: float = 0.0
    berries: int = 0  # > 1: a bunch of such bodies
    bunch_aspect: float = 1.0


def draw(seed: int) -> Species:
    """Draw a kind of fruit.

    Parameters
    ----------
    seed : int
        The same seed gives the same traits.
    """
    rng = np.random.default_rng((seed, 0xF))
    kind = Species()
    for change in TRAITS.values():
        kind = change(kind, rng)
    return kind


def vary(kind: Species, seed: int, changes: int = 1) -> Species:
    """Draw some traits of a kind anew: a close relative of it.

    Parameters
    ----------
    kind : Species
        The kind to start from.
    seed : int
        The same seed gives the same relative.
    changes : int
        How many groups of traits are drawn anew.
    """
    rng = np.random.default_rng((seed, 0xA))
    for name in rng.choice(list(TRAITS), changes, replace=False):
        kind = TRAITS[name](kind, rng)
    return kind


def draw_color(rng: Generator) -> Color:
    """Draw a color, mostly of a hue that fruit has."""
    hue = rng.random() if rng.random() < 0.08 else rng.choice(HUES) + rng.normal(0, 0.012)
    saturation = np.clip(rng.normal(0.72, 0.2), 0.05, 1)
    value = np.clip(rng.normal(0.68, 0.22), 0.1, 1)
    if 0.4 < hue % 1 < 0.88:  # blues and purples of fruit are dark and dull
        saturation, value = saturation * 0.7, value * 0.6
    return colorsys.hsv_to_rgb(float(hue % 1), float(saturation), float(value))


def near_color(color: Color, rng: Generator, spread: float) -> Color:
    """Draw a color close to another; spread 0.1 is a clear but small step."""
    hue, saturation, value = colorsys.rgb_to_hsv(*color)
    return colorsys.hsv_to_rgb(
        float((hue + rng.normal(0, 0.4 * spread)) % 1),
        float(np.clip(saturation + rng.normal(0, spread), 0.03, 1)),
        float(np.clip(value + rng.normal(0, spread), 0.08, 1)),
    )


def _chance(rng: Generator, share: float) -> bool:
    return bool(rng.random() < share)


def _draw_skin(kind: Species, rng: Generator) -> Species:
    skin = draw_color(rng)
    second = draw_color(rng) if _chance(rng, 0.35) else near_color(skin, rng, 0.14)
    return replace(kind, skin=skin, second=second)


def _shift_skin(kind: Species, rng: Generator) -> Species:
    return replace(kind, skin=near_color(kind.skin, rng, 0.12), second=near_color(kind.second, rng, 0.12))


def _draw_marks(kind: Species, rng: Generator) -> Species:
    return replace(kind, marks=draw_color(rng) if _chance(rng, 0.5) else near_color(kind.skin, rng, 0.3))


def _draw_profile(kind: Species, rng: Generator) -> Species:
    long = _chance(rng, 0.22)
    return replace(
        kind,
        aspect=float(np.exp(rng.normal(0.85, 0.3) if long else rng.normal(0.02, 0.18))),
        flatness=float(rng.uniform(0.7, 1)) if _chance(rng, 0.3) else 1.0,
        squareness=float(np.clip(rng.normal(2.1, 0.3), 1.5, 3.4)),
        taper=float(rng.normal(0, 0.12)) if _chance(rng, 0.7) else float(rng.uniform(0.2, 0.5)),
        neck=float(rng.uniform(0.1, 0.4)) if _chance(rng, 0.15) else 0.0,
        bend=float(rng.uniform(0.3, 1.6)) if long and _chance(rng, 0.5) else float(abs(rng.normal(0, 0.08))),
    )


def _draw_relief(kind: Species, rng: Generator) -> Species:
    lobed, celled = _chance(rng, 0.25), _chance(rng, 0.2)
    return replace(
        kind,
        dimple_top=float(rng.uniform(0.05, 0.4)) if _chance(rng, 0.4) else 0.0,
        dimple_bottom=float(rng.uniform(0.03, 0.3)) if _chance(rng, 0.35) else 0.0,
        lobes=int(rng.integers(2, 9)) if lobed else 0,
        lobe_depth=float(rng.uniform(0.02, 0.12)) if lobed else 0.0,
        lumps=float(rng.uniform(0.15, 0.5)) if _chance(rng, 0.12) else float(rng.uniform(0.01, 0.1)),
        cells=int(rng.integers(6, 16)) if celled else 0,
        cell_height=float(rng.uniform(-0.04, 0.1)) if celled else 0.0,
        net=float(rng.uniform(-0.9, 0.9)) if celled else 0.0,
    )


def _draw_areas(kind: Species, rng: Generator) -> Species:
    return replace(
        kind,
        bias=float(rng.normal(0, 0.25)),
        gradient=float(rng.normal(0, 0.5)) if _chance(rng, 0.5) else 0.0,
        blush=float(rng.uniform(0.3, 1)) if _chance(rng, 0.45) else 0.0,
        blotch=float(rng.uniform(0, 0.9)),
        blotch_size=float(np.exp(rng.uniform(np.log(0.12), np.log(0.9)))),
    )


def _draw_pattern(kind: Species, rng: Generator) -> Species:
    striped, dotted = _chance(rng, 0.22), _chance(rng, 0.4)
    return replace(
        kind,
        stripes=int(rng.integers(4, 24)) if striped else 0,
        stripe_share=float(rng.uniform(0.2, 0.9)) if striped else 0.0,
        stripe_waves=float(rng.uniform(0, 3)) if striped else 0.0,
        dots=float(rng.uniform(0.15, 0.8)) if dotted else 0.0,
        dot_size=float(np.exp(rng.uniform(np.log(0.05), np.log(0.16)))),
        grain=float(rng.uniform(0, 0.3)),
        grain_size=float(np.exp(rng.uniform(np.log(0.03), np.log(0.12)))),
        scars=int(rng.integers(1, 6)) if _chance(rng, 0.4) else 0,
    )


def _draw_surface(kind: Species, rng: Generator) -> Species:
    gloss = float(rng.uniform(0, 0.25)) if _chance(rng, 0.5) else float(rng.uniform(0.2, 0.7))
    hairy = _chance(rng, 0.06)
    return replace(
        kind,
        gloss=gloss,
        sharpness=float(np.exp(rng.uniform(np.log(8), np.log(120)))),
        hairs=int(rng.integers(60, 400)) if hairy else 0,
        hair_length=float(rng.uniform(0.08, 0.3)) if hairy else 0.0,
    )


def _draw_ends(kind: Species, rng: Generator) -> Species:
    leafy = _chance(rng, 0.16)
    return replace(
        kind,
        stalk_length=float(rng.uniform(0.05, 0.6)) if _chance(rng, 0.5) else 0.0,
        stalk_width=float(rng.uniform(0.03, 0.1)),
        stalk_color=near_color((0.35, 0.28, 0.12), rng, 0.15),
        calyx=float(rng.uniform(0.06, 0.3)) if _chance(rng, 0.55) else 0.0,
        leaves=int(rng.integers(3, 14)) if leafy else 0,
        leaf_length=float(rng.uniform(0.25, 1.1)),
        leaf_lift=float(rng.uniform(-0.2, 1.2)),
        leaf_color=near_color((0.25, 0.45, 0.15), rng, 0.12),
        leaves_on_top=_chance(rng, 0.75),
    )


def _draw_bunch(kind: Species, rng: Generator) -> Species:
    bunched = _chance(rng, 0.1)
    return replace(
        kind, berries=int(rng.integers(2, 30)) if bunched else 0, bunch_aspect=float(np.exp(rng.normal(0.1, 0.25)))
    )


# Drawn in this order for a new kind; one of them anew makes a close relative.
TRAITS: dict[str, Callable[[Species, Generator], Species]] = {
    "skin": _draw_skin,
    "shade": _shift_skin,
    "marks": _draw_marks,
    "profile": _draw_profile,
    "relief": _draw_relief,
    "areas": _draw_areas,
    "pattern": _draw_pattern,
    "surface": _draw_surface,
    "ends": _draw_ends,
    "bunch": _draw_bunch,
}
