"""The renderer: the same seeds give the same pixels, everywhere nearly so; what it draws is a fruit seen in 3-D."""

import hashlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bootstrap.embedded.body import Array, grow, random_rotation
from bootstrap.embedded.orchard import FAMILY, kind_of, turntables, views
from bootstrap.embedded.renderer import Camera, Pixels, photograph, render
from bootstrap.embedded.species import Species, draw, vary

EXPECTED = [
    [244, 123, 109, 214, 99, 87, 235, 90, 78, 211, 72, 62],
    [188, 104, 98, 183, 107, 102, 174, 109, 103, 169, 103, 98],
    [165, 132, 119, 153, 132, 118, 176, 136, 126, 167, 141, 126],
    [192, 118, 124, 223, 133, 148, 160, 106, 107, 180, 116, 124],
]
RED, GREEN = (0.8, 0.1, 0.1), (0.1, 0.7, 0.1)


def turned(axis: str, degrees: float) -> Array:
    angle = np.radians(degrees)
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    turn = np.eye(3, dtype=np.float32)
    turn[first, first] = turn[second, second] = np.cos(angle)
    turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
    return turn


def plain(kind: Species, rotation: Array, **camera: Any) -> Pixels:
    return photograph(grow(kind, 1), rotation, Camera(**camera), np.random.default_rng(0))


def covered(image: Pixels) -> NDArray[np.bool_]:
    return np.asarray((image < 250).any(-1))


def test_same_seeds_same_bytes_in_another_process() -> None:
    code = "import sys; from bootstrap.embedded.renderer import render; sys.stdout.buffer.write(render(5, 7).tobytes())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert hashlib.sha256(other).digest() == hashlib.sha256(render(5, 7).tobytes()).digest()


def test_other_seeds_other_images() -> None:
    digests = {render(species, view).tobytes() for species in range(4) for view in range(3)}
    assert len(digests) == 12


def test_images_are_those_of_the_committed_model() -> None:
    """Quarters' mean colors of four fruits: rounding may differ between processors, another renderer more."""
    means = np.stack([views(fruit, 1)[0].reshape(2, 50, 2, 50, 3).mean((1, 3)) for fruit in (0, 1, 6, 11)])
    np.testing.assert_allclose(means.reshape(4, 12).round(1), EXPECTED, atol=1.0)


def test_opposite_sides_show_opposite_colors() -> None:
    kind = Species(skin=RED, second=GREEN, gradient=3.0)
    top, bottom = plain(kind, turned("x", 0)), plain(kind, turned("x", 180))
    assert top[50, 50, 1] > 2 * top[50, 50, 0]
    assert bottom[50, 50, 0] > 2 * bottom[50, 50, 1]


def test_long_body_is_long_from_the_side_and_round_from_the_end() -> None:
    kind = Species(aspect=3.0)
    side, end = covered(plain(kind, turned("x", 90))), covered(plain(kind, turned("x", 0)))
    assert side.any(1).sum() > 90
    assert 0.28 < side.any(0).sum() / side.any(1).sum() < 0.38
    assert abs(int(end.any(0).sum()) - int(end.any(1).sum())) <= 2


def test_fruit_fills_the_frame_without_holes() -> None:
    cover = covered(plain(Species(gloss=0.0), turned("x", 30)))
    assert 96 <= cover.any(0).sum() <= 100
    y, x = np.mgrid[:100, :100] - 49.5
    assert cover[x**2 + y**2 < 45**2].all()


def test_light_comes_from_where_the_camera_says() -> None:
    image = plain(Species(gloss=0.0), np.eye(3, dtype=np.float32), light=(-1, 0, 0.5)).astype(float)
    assert image[50, 15:45].mean() > 1.3 * image[50, 55:85].mean()


def test_nearer_berries_hide_farther_ones() -> None:
    rotation = random_rotation(np.random.default_rng(3))
    bunch = grow(Species(berries=12), 1)
    front = bunch.points[bunch.points[:, 3:6] @ rotation[2] > 0]
    marked = np.array(front)
    depth = front[:, :3] @ rotation[2]
    marked[:, 6:] = np.where((depth > np.median(depth))[:, None], RED, GREEN)
    image = photograph(type(bunch)(marked, 0.0, 1.0), rotation, Camera(), np.random.default_rng(0)).astype(int)
    red = (image[..., 0] > image[..., 1]) & covered(image)
    # Painted in any other order, the half of the points that is farther would show on half of the pixels.
    assert red.sum() > 0.6 * covered(image).sum()


@pytest.mark.parametrize("effect", [{"blur": 1.0}, {"noise": 0.05}, {"quality": 30}, {"tint": (1.1, 1.0, 0.9)}])
def test_camera_effects_change_the_image_and_keep_its_sense(effect: dict[str, Any]) -> None:
    still = plain(draw(3), turned("x", 50)).astype(float)
    changed = plain(draw(3), turned("x", 50), **effect).astype(float)
    assert 0 < np.abs(still - changed).mean() < 20


def test_background() -> None:
    assert tuple(plain(Species(), turned("x", 0), background=(0, 0, 1))[0, 0]) == (0, 0, 255)


def test_relatives_differ_in_few_traits() -> None:
    kind = draw(11)
    names = set(Species.__dataclass_fields__)
    for seed in range(20):
        changed = {name for name in names if getattr(vary(kind, seed), name) != getattr(kind, name)}
        assert len(changed) <= 10
    assert kind_of(4) == kind_of(4)
    assert kind_of(FAMILY) != kind_of(0)


def test_rotations_are_rotations_and_spread_over_all_sides() -> None:
    rng = np.random.default_rng(0)
    turns = np.stack([random_rotation(rng) for _ in range(2000)])
    np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), np.broadcast_to(np.eye(3), turns.shape), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(turns), 1, atol=1e-5)
    assert np.abs(turns.mean(0)).max() < 0.06


def test_second_turntable_shows_sides_that_the_first_lacks() -> None:
    first, second = turntables(2, 6, 4)
    assert len(first) == 6
    assert len(second) == 4
    nearest = [min(np.abs(a.astype(int) - b).mean() for a in first) for b in second]
    assert min(nearest) > 3
