"""Images of a body: seen from any side, under a light, through a camera.

A body is a cloud of surface points. A view turns the cloud, keeps what faces the camera, lets nearer points hide
farther ones and averages those that share a pixel; that takes 2 to 3 ms for 100 x 100 pixels on one core.
"""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from bootstrap.embedded.body import Array, Body, Generator, grow, random_rotation
from bootstrap.embedded.species import draw

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Camera:
    """Light and camera; the defaults are a studio: white background, soft light from above, no flaws.

    Attributes
    ----------
    size : int
        Side of the image, pixels.
    fill : float
        Share of the side that the fruit's longer side takes; more than 1 crops it.
    light : (float, float, float)
        Direction to the light: right, down, towards the camera.
    ambient : float
        Share of the light that comes from everywhere.
    tint : (float, float, float)
        Factors on red, green and blue: exposure and white balance.
    background : (float, float, float)
        RGB, 0 to 1.
    blur, noise : float
        Gaussian blur's radius in pixels; standard deviation of the sensor's noise, 0 to 1.
    quality : int
        JPEG quality, 0 for none.
    """

    size: int = 100
    fill: float = 0.98
    light: tuple[float, float, float] = (-0.3, -0.5, 0.8)
    ambient: float = 0.5
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    blur: float = 0.0
    noise: float = 0.0
    quality: int = 0


def draw_camera(rng: Generator) -> Camera:
    """Draw a camera with the mild flaws that training should not mind; color stays telling."""
    plain = rng.random() < 0.85
    ground = (1.0, 1.0, 1.0) if plain else tuple(np.clip(rng.uniform(0.5, 1) + rng.normal(0, 0.05, 3), 0, 1))
    light = (float(rng.normal(-0.1, 0.45)), float(rng.normal(-0.35, 0.3)), float(rng.uniform(0.45, 1)))
    tint = np.exp(rng.normal(0, 0.06)) * np.exp(rng.normal(0, 0.02, 3))
    return Camera(
        fill=float(rng.uniform(0.9, 1.03)),
        light=light,
        ambient=float(rng.uniform(0.3, 0.75)),
        tint=(float(tint[0]), float(tint[1]), float(tint[2])),
        background=(float(ground[0]), float(ground[1]), float(ground[2])),
        blur=float(rng.uniform(0, 0.9)) if rng.random() < 0.5 else 0.0,
        noise=float(rng.uniform(0, 0.02)) if rng.random() < 0.5 else 0.0,
        quality=int(rng.integers(60, 96)) if rng.random() < 0.7 else 0,
    )


def render(species_seed: int, view_seed: int) -> Pixels:
    """Render a fruit drawn from one seed, from a side and through a camera drawn from another.

    Returns
    -------
    uint8 array, shape (100, 100, 3)
        RGB.
    """
    rng = np.random.default_rng((species_seed, view_seed, 0xC))
    body = grow(draw(species_seed), species_seed)
    return photograph(body, random_rotation(rng), draw_camera(rng), rng)


def photograph(body: Body, rotation: Array, camera: Camera, rng: Generator) -> Pixels:
    """Render a body.

    Parameters
    ----------
    body : Body
        The fruit.
    rotation : float32 array, shape (3, 3)
        Turns the body; afterwards x points right, y down and z to the camera.
    camera : Camera
        Light and camera.
    rng : numpy.random.Generator
        For the sensor's noise.

    Returns
    -------
    uint8 array, shape (size, size, 3)
        RGB.
    """
    # Columns are kept apart, (3, n) instead of (n, 3): sums and extremes over rows of three are slow.
    seen = body.points[np.flatnonzero(body.points[:, 3:6] @ rotation[2] > 0)]
    position = rotation @ seen[:, :3].T
    color = _lit(np.ascontiguousarray(seen[:, 6:].T), rotation @ seen[:, 3:6].T, body, camera)
    cover, image = _splat(position, color, camera)
    tint, ground = np.array(camera.tint, np.float32), np.array(camera.background, np.float32)
    image = image * tint * cover[..., None] + ground * (1 - cover[..., None])
    if camera.noise:
        image = image + np.float32(camera.noise) * rng.standard_normal(image.shape, np.float32)
    pixels = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    return _develop(pixels, camera)


def _lit(color: Array, normal: Array, body: Body, camera: Camera) -> Array:
    """Return the color (3, n) under the camera's light: Lambert's law and a highlight around the half vector."""
    light = np.array(camera.light, np.float32)
    light /= np.sqrt((light**2).sum())
    lambert = np.maximum(light @ normal, 0)
    lit = color * (camera.ambient + 1.15 * (1 - camera.ambient) * lambert)
    if body.gloss:
        half = light + np.array([0, 0, 1], np.float32)
        half /= np.sqrt((half**2).sum())
        # exp(s (x - 1)) is close to Blinn's x ** s and several times faster.
        lit += body.gloss * np.exp(np.float32(body.sharpness) * (half @ normal - 1))
    return np.asarray(lit, np.float32)


def _splat(position: Array, color: Array, camera: Camera) -> tuple[Array, Array]:
    """Return the cover (size, size), 0 to 1, and color (size, size, 3) of the points nearest to the camera."""
    size = camera.size
    low, high = position[:2].min(1), position[:2].max(1)
    # A body seen from its end is not enlarged without limit: its points would come apart.
    scale = camera.fill * size / max(float((high - low).max()), 0.8)
    middle = (low + high) / 2
    # Two pixels of margin all around catch what lies outside and let holes be filled up to the edge.
    side = size + 4
    at = (position[:2] - middle[:, None]) * np.float32(scale) + np.float32(size / 2 + 2)
    at = np.clip(at, 0, side - 1).astype(np.int64)
    pixel = at[1] * side + at[0]
    depth = np.full(side * side, -np.inf, np.float32)
    np.maximum.at(depth, pixel, position[2])
    front = np.flatnonzero(position[2] > depth[pixel] - np.float32(3 / scale))
    pixel, color = pixel[front], color[:, front]
    layers = [np.bincount(pixel, channel, side * side) for channel in color]
    layers.append(np.bincount(pixel, minlength=side * side))
    sums: Array = np.stack(layers, -1).reshape(side, side, 4).astype(np.float32)
    count = sums[..., 3]
    around = _box(sums)
    hole = (count == 0) & (_box(np.asarray(count > 0, np.float32)) > 4.5)
    sums = np.where(hole[..., None], around, sums)
    solid = (sums[..., 3] > 0).astype(np.float32)
    # The outline is softened by what a neighbor covers, in the neighbors' color.
    cover = np.where(solid > 0, np.minimum(1, 0.35 + _box(solid) / 9), 0)
    image = sums[..., :3] / np.maximum(sums[..., 3:], 1e-6)
    inner = slice(2, -2)
    return np.asarray(cover[inner, inner], np.float32), np.asarray(image[inner, inner], np.float32)


def _box(image: Array) -> Array:
    """Return sums over 3 x 3 neighbors."""
    rows = image.copy()
    rows[1:] += image[:-1]
    rows[:-1] += image[1:]
    total = rows.copy()
    total[:, 1:] += rows[:, :-1]
    total[:, :-1] += rows[:, 1:]
    return total


def _develop(pixels: Pixels, camera: Camera) -> Pixels:
    """Apply blur and JPEG compression, where the camera has them."""
    if not camera.blur and not camera.quality:
        return pixels
    image = Image.fromarray(pixels)
    if camera.blur:
        image = image.filter(ImageFilter.GaussianBlur(camera.blur))
    if camera.quality:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=camera.quality)
        image = Image.open(file)
    return np.asarray(image)
