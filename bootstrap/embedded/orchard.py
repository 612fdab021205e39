"""Rendered images to train and to judge on: families of close relatives, each fruit seen from many sides."""

import hashlib
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bootstrap.embedded import body, species
from bootstrap.embedded.renderer import Camera, Pixels, draw_camera, photograph

FAMILY = 4  # fruits in a family: a kind drawn anew and three that differ from it in one group of traits
FRUITS_PER_FILE = 64
UNSEEN = 1_000_000  # fruits from this number on are never trained on
SIDE = 100  # of an image, pixels


@dataclass(frozen=True)
class Orchard:
    """The images to train on: how many fruits, how many random views of each, and their seed."""

    fruits: int = 6144
    views: int = 12
    seed: int = 1


def kind_of(fruit: int, seed: int = 1) -> species.Species:
    """Return the traits of a fruit by its number; every fourth founds a family, the next three are its relatives."""
    founder = species.draw(fruit // FAMILY + UNSEEN * 10 * seed)
    return founder if fruit % FAMILY == 0 else species.vary(founder, fruit + UNSEEN * 10 * seed)


def plant(
    folder: Path, orchard: Orchard, report: Callable[[int, int], None], fruits_per_file: int = FRUITS_PER_FILE
) -> NDArray[np.uint8]:
    """Render an orchard into files of a folder, or find it there.

    Parameters
    ----------
    folder : Path
        Where to; a call that was interrupted is continued.
    orchard : Orchard
        What to render.
    report : callable
        Called with the number of files done and of all.
    fruits_per_file : int
        How many fruits each file holds; the fruits of a file are rendered by one process.

    Returns
    -------
    uint8 array, shape (fruits, views, 100, 100, 3)
        RGB.
    """
    rendered = folder / f"{orchard.fruits}x{orchard.views}-{orchard.seed}-{fingerprint()[:12]}"
    rendered.mkdir(parents=True, exist_ok=True)
    files = [rendered / f"{start:06d}.npy" for start in range(0, orchard.fruits, fruits_per_file)]
    missing = [
        (file, range(int(file.stem), min(int(file.stem) + fruits_per_file, orchard.fruits)), orchard)
        for file in files
        if not file.exists()
    ]
    report(len(files) - len(missing), len(files))
    if missing:
        with multiprocessing.get_context("spawn").Pool(min(os.cpu_count() or 1, len(missing))) as pool:
            for done, _ in enumerate(pool.imap_unordered(_render_chunk, missing), 1):
                report(len(files) - len(missing) + done, len(files))
    images = np.empty((orchard.fruits, orchard.views, SIDE, SIDE, 3), np.uint8)
    for file in files:
        chunk = np.load(file)
        images[int(file.stem) : int(file.stem) + len(chunk)] = chunk
    return images


def _render_chunk(task: tuple[Path, range, Orchard]) -> None:
    file, fruits, orchard = task
    images = np.stack([views(fruit, orchard.views, orchard.seed) for fruit in fruits])
    part = file.with_suffix(".part")
    with part.open("wb") as out:
        np.save(out, images)
    part.replace(file)


def views(fruit: int, count: int, seed: int = 1) -> NDArray[np.uint8]:
    """Render random views of a fruit through random cameras, shape (count, 100, 100, 3)."""
    rng = np.random.default_rng((fruit, seed, 0xD))
    grown = body.grow(kind_of(fruit, seed), fruit)
    return np.stack([photograph(grown, body.random_rotation(rng), draw_camera(rng), rng) for _ in range(count)])


def turntables(fruit: int, plain: int, other: int, seed: int = 1) -> tuple[list[Pixels], list[Pixels]]:
    """Render a fruit turning about an upright axis, then about another axis and under another light.

    This is how real fruit is photographed for Fruits-360. The second list shows sides that the first one lacks.

    Returns
    -------
    two lists of uint8 arrays, shape (100, 100, 3)
        `plain` and `other` images, RGB uint8 (100, 100, 3).
    """
    rng = np.random.default_rng((fruit, seed, 0xE))
    grown = body.grow(kind_of(fruit, seed), fruit)
    pose = body.random_rotation(rng)
    lights = [(-0.2, -0.5, 0.8), (0.5, -0.3, 0.7)]
    images = []
    for light, count, axis in zip(lights, (plain, other), (1, 0), strict=True):
        camera = Camera(light=light, ambient=float(rng.uniform(0.3, 0.6)), quality=85)
        turns = 2 * np.pi * (np.arange(count) + rng.random()) / count
        # Turning about the second axis passes the first circle twice; 20 degrees around it are left out.
        if axis == 0:
            turns = np.sign(np.sin(turns)) * (np.pi / 9 + np.abs(np.mod(turns, np.pi)) * 7 / 9)
        images.append([photograph(grown, _turn(axis, t) @ pose, camera, rng) for t in turns])
    return images[0], images[1]


def _turn(axis: int, angle: float) -> NDArray[np.float32]:
    """Return the rotation by an angle in radians about x (0) or y (1), shape (3, 3)."""
    first, second = (1, 2) if axis == 0 else (2, 0)
    turn = np.eye(3, dtype=np.float32)
    turn[first, first] = turn[second, second] = np.cos(angle)
    turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
    return turn


def fingerprint(seed: int = 1) -> str:
    """Return a SHA-256 of a few rendered images, so that those of another renderer are not used."""
    return hashlib.sha256(b"".join(views(fruit, 2, seed).tobytes() for fruit in range(0, 24, 3))).hexdigest()
