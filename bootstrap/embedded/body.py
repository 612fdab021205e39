"""One fruit as a cloud of colored points on its surface, grown from the traits of its kind."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bootstrap.embedded.species import Species

Array = NDArray[np.float32]
Generator = np.random.Generator

POINTS = 44_000  # about two for each visible pixel of a ball that fills 100 x 100
TWO_PI = 2 * np.pi


@dataclass(frozen=True)
class Body:
    """One fruit.

    Attributes
    ----------
    points : float32 array, shape (n, 9)
        Position, outward unit normal and color (RGB, 0 to 1) of each surface point; the body lies
        within the unit ball around the origin.
    gloss, sharpness : float
        Strength and exponent of the highlight.
    """

    points: Array
    gloss: float
    sharpness: float


def grow(kind: Species, seed: int) -> Body:
    """Grow one fruit of a kind.

    Parameters
    ----------
    kind : Species
        Its traits.
    seed : int
        Another seed puts lumps, blotches and dots elsewhere.
    """
    rng = np.random.default_rng((seed, 0xB))
    points = _bunch(kind, rng) if kind.berries > 1 else _single(kind, rng, POINTS)
    low, high = points[:, :3].min(0), points[:, :3].max(0)
    points[:, :3] -= (low + high) / 2
    points[:, :3] /= np.sqrt((points[:, :3] ** 2).sum(1).max())
    return Body(points, kind.gloss, kind.sharpness)


def _single(kind: Species, rng: Generator, count: int) -> Array:
    """Grow one body with its stalk, leaves and hairs, shape (n, 9)."""
    rows = 96 if count > POINTS / 2 else 40
    polar, around = np.meshgrid(
        np.linspace(0, np.pi, rows + 1, dtype=np.float32),
        np.linspace(0, TWO_PI, 2 * rows + 1, dtype=np.float32),
        indexing="ij",
    )
    grid = _surface(kind, polar, around, rng)
    position, normal, row, column = _scatter(grid, count)
    polar_at = row * np.float32(np.pi / rows)
    around_at = column * np.float32(np.pi / rows)
    color = _colors(kind, polar_at, around_at, rng)
    parts = [np.hstack([position, normal, color])]

    ends = {True: (grid[0, 0], _unit(grid[0, 0] - grid[rows // 3].mean(0)))}
    ends[False] = (grid[-1, 0], _unit(grid[-1, 0] - grid[-rows // 3].mean(0)))
    if kind.stalk_length:
        parts.append(_stalk(kind, *ends[True], rng))
    if kind.leaves:
        parts.append(_leaves(kind, *ends[kind.leaves_on_top], rng))
    if kind.hairs:
        parts.append(_hairs(kind, parts[0], rng))
    return np.vstack(parts).astype(np.float32)


def _surface(kind: Species, polar: Array, around: Array, rng: Generator) -> Array:
    """Return positions on a grid of polar angle and angle around the axis, shape (rows + 1, columns + 1, 3)."""
    sine, cosine = np.sin(polar), np.cos(polar)
    power = 2 / kind.squareness
    width = np.maximum(sine, 0) ** power
    height = np.sign(cosine) * np.abs(cosine) ** power
    width = width * np.clip(1 - kind.taper * height, 0.15, None)
    width = width * (1 - kind.neck * np.exp(-(((height - 0.65) / 0.3) ** 2)))
    hollow = np.exp(-((width / 0.4) ** 2))
    height = height - np.where(cosine > 0, kind.dimple_top, -kind.dimple_bottom) * hollow
    if kind.lobes:
        width = width * (1 + kind.lobe_depth * np.cos(kind.lobes * around) * sine)
    direction = np.stack([sine * np.cos(around), sine * np.sin(around), cosine], -1)
    swell = 1 + kind.lumps * _noise(direction.reshape(-1, 3), 0.9, rng).reshape(polar.shape)
    if kind.cell_height:
        edge, _ = _cells(kind.cells, polar, around)
        swell = swell + kind.cell_height * (1 - 2 * edge**2)
    x, y, z = width * np.cos(around) * swell, width * np.sin(around) * swell, height * kind.aspect * swell
    x = x * kind.flatness
    if kind.bend:
        radius = 2 * kind.aspect / kind.bend
        x, z = (radius + x) * np.cos(z / radius) - radius, (radius + x) * np.sin(z / radius)
    return np.stack([x, y, z], -1).astype(np.float32)


def _colors(kind: Species, polar: Array, around: Array, rng: Generator) -> Array:
    """Return the color at points given by polar angle and angle around the axis, shape (n, 3)."""
    sine, height = np.sin(polar), np.cos(polar)
    direction = np.stack([sine * np.cos(around), sine * np.sin(around), height], -1)
    side = _unit(rng.normal(size=3) * (1, 1, 0.5))
    mix = 0.5 + kind.bias + 0.5 * kind.gradient * height + kind.blush * (direction @ side.astype(np.float32))
    if kind.blotch:
        mix = mix + kind.blotch * _noise(direction, kind.blotch_size, rng)
        mix = mix + 0.5 * kind.blotch * _noise(direction, kind.blotch_size / 3, rng)
    color = _blend(_rgb(kind.skin), _rgb(kind.second), np.clip(mix, 0, 1))
    if kind.stripes:
        wobble = kind.stripe_waves * _noise(direction, 0.25, rng)
        wave = 0.5 + 0.5 * np.cos(kind.stripes * around + wobble)
        color = _blend(color, _rgb(kind.marks), kind.stripe_share * wave**2 * np.minimum(1, 2 * sine))
    if kind.dots:
        color = _blend(color, _rgb(kind.marks), kind.dots * _dots(direction, kind.dot_size, rng))
    if kind.net:
        edge, middle = _cells(kind.cells, polar, around)
        share = kind.net * edge**3 if kind.net > 0 else -kind.net * middle
        color = _blend(color, _rgb(kind.marks), share)
    for _ in range(kind.scars):
        center, size = _unit(rng.normal(size=3)).astype(np.float32), rng.uniform(0.03, 0.15)
        near = np.clip((direction @ center - np.cos(size)) * 8 / size, 0, 1)
        color = _blend(color, _rgb(kind.marks) * 0.6, 0.8 * near)
    if kind.calyx:
        color = _blend(color, _rgb(kind.stalk_color) * 0.6, np.exp(-(((np.pi - polar) / kind.calyx) ** 2)))
    if kind.dimple_top:
        color = _blend(color, _rgb(kind.stalk_color), 0.6 * np.exp(-((polar / 0.18) ** 2)))
    if kind.grain:
        color = color * (1 + kind.grain * _noise(direction, kind.grain_size, rng))[:, None]
    return np.clip(color, 0, 1).astype(np.float32)


def _stalk(kind: Species, foot: Array, axis: Array, rng: Generator) -> Array:
    """Grow a bent tube on the top pole, shape (n, 9)."""
    along, around = np.meshgrid(
        np.linspace(-0.1, 1, 13, dtype=np.float32), np.linspace(0, TWO_PI, 17, dtype=np.float32), indexing="ij"
    )
    across, other = _frame(axis)
    lean = rng.uniform(-0.4, 0.4, 2)
    radius = kind.stalk_width * (1 + 0.6 * along**4)
    center = along[..., None] * axis + (along**2)[..., None] * (lean[0] * across + lean[1] * other)
    ring = np.cos(around)[..., None] * across + np.sin(around)[..., None] * other
    grid = foot + kind.stalk_length * center + radius[..., None] * ring
    # The grid runs from the foot up, the body's from the top down: its normals point inwards.
    position, normal, row, _ = _scatter(grid[::-1].astype(np.float32), 1500)
    color = _rgb(kind.stalk_color) * (0.8 + 0.4 * (row / 12))[:, None]
    tip = foot + kind.stalk_length * (axis + lean[0] * across + lean[1] * other)
    cap = tip + ring[0][None] * np.linspace(0, 1.6 * kind.stalk_width, 6, dtype=np.float32)[:, None, None]
    cap = cap.reshape(-1, 3)
    lid = np.hstack([cap, np.broadcast_to(axis, cap.shape), np.broadcast_to(_rgb(kind.stalk_color), cap.shape)])
    return np.vstack([np.hstack([position, normal, color]), lid])


def _leaves(kind: Species, foot: Array, axis: Array, rng: Generator) -> Array:
    """Grow leaves around a pole, each seen from both sides, shape (n, 9)."""
    across, other = _frame(axis)
    along, aside = np.meshgrid(
        np.linspace(0, 1, 13, dtype=np.float32), np.linspace(-1, 1, 9, dtype=np.float32), indexing="ij"
    )
    parts = []
    for leaf in range(kind.leaves):
        angle = TWO_PI * (leaf + rng.uniform(-0.3, 0.3)) / kind.leaves
        lift = kind.leaf_lift + rng.normal(0, 0.15)
        length = kind.leaf_length * rng.uniform(0.8, 1.15)
        out, beside = np.cos(angle) * across + np.sin(angle) * other, np.cos(angle) * other - np.sin(angle) * across
        reach, droop = length * along * np.cos(lift), length * (along * np.sin(lift) - 0.25 * along**2)
        width = 0.22 * length * np.sin(np.pi * along**0.7) * aside
        grid = foot + 0.05 * axis + reach[..., None] * out + droop[..., None] * axis + width[..., None] * beside
        position, normal, row, column = _scatter(grid.astype(np.float32), 900)
        shade = 0.75 + 0.3 * row / 12 - 0.15 * (np.abs(column - 4) < 0.5)
        color = _rgb(kind.leaf_color) * (shade * rng.uniform(0.85, 1.15))[:, None]
        parts += [np.hstack([position, normal, color]), np.hstack([position, -normal, color])]
    return np.vstack(parts)


def _hairs(kind: Species, body: Array, rng: Generator) -> Array:
    """Grow soft spines on the body, shape (n, 9)."""
    roots = body[rng.integers(0, len(body), kind.hairs)]
    along = np.linspace(0, 1, 14, dtype=np.float32)[None, :, None]
    tips = roots[:, 3:6] + 0.4 * rng.normal(size=(kind.hairs, 3))
    position = roots[:, None, :3] + kind.hair_length * along * tips[:, None]
    normal = np.broadcast_to(_unit(tips)[:, None], position.shape)
    color = np.broadcast_to(roots[:, None, 6:] * 0.6 + 0.4 * _rgb(kind.marks), position.shape)
    return np.concatenate([position, normal, color], -1).reshape(-1, 9)


def _bunch(kind: Species, rng: Generator) -> Array:
    """Grow berries in a bunch: many bodies of one kind, shape (n, 9)."""
    centers = np.zeros((1, 3))
    stretch = np.array([1, 1, kind.bunch_aspect])
    size = 0.95 * kind.berries ** (1 / 3)
    while len(centers) < kind.berries:
        tries = rng.uniform(-size, size, (64, 3)) * stretch
        for position in tries[(((tries / stretch) ** 2).sum(1)) < size**2]:
            if len(centers) < kind.berries and ((centers - position) ** 2).sum(1).min() > 1.5**2:
                centers = np.vstack([centers, position])
        size *= 1.06
    berry = _single(kind, rng, int(1.5 * POINTS / kind.berries))
    parts = []
    for center in centers:
        turn = random_rotation(rng)
        part = berry.copy()
        part[:, :3] = part[:, :3] @ turn.T + center
        part[:, 3:6] = part[:, 3:6] @ turn.T
        part[:, 6:] *= rng.uniform(0.85, 1.1) + rng.normal(0, 0.02, 3)
        parts.append(part)
    return np.clip(np.vstack(parts), -100, 100).astype(np.float32)


def random_rotation(rng: Generator) -> Array:
    """Draw a rotation, every one equally likely.

    Returns
    -------
    float32 array, shape (3, 3)
        An orthonormal matrix of determinant 1.
    """
    a, b, c, d = _unit(rng.normal(size=4))
    return np.array(
        [
            [1 - 2 * (c * c + d * d), 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), 1 - 2 * (b * b + d * d), 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), 1 - 2 * (b * b + c * c)],
        ],
        np.float32,
    )


def _scatter(grid: Array, count: int) -> tuple[Array, Array, Array, Array]:
    """Spread points evenly over a grid's surface: position (n, 3), normal (n, 3), row (n,), column (n,)."""
    corner = grid[:-1, :-1].reshape(-1, 3)
    down = (grid[1:, :-1] - grid[:-1, :-1]).reshape(-1, 3)
    right = (grid[:-1, 1:] - grid[:-1, :-1]).reshape(-1, 3)
    # Quads at the top pole have no upper edge: take the lower one.
    right_low = (grid[1:, 1:] - grid[1:, :-1]).reshape(-1, 3)
    normal = np.cross(down, (right + right_low) / 2)
    area = np.sqrt((normal**2).sum(1))
    total = np.cumsum(area, dtype=np.float64)
    steps = np.arange(count)
    quad = np.searchsorted(total, (steps + 0.5) * (total[-1] / count))
    quad = np.minimum(quad, len(area) - 1)
    # A sequence of low discrepancy (Roberts' R2) leaves fewer holes than random positions in the quads.
    s = ((steps * 0.7548776662466927) % 1).astype(np.float32)
    t = ((steps * 0.5698402909980532) % 1).astype(np.float32)
    edge = right[quad] * (1 - s)[:, None] + right_low[quad] * s[:, None]
    position = corner[quad] + s[:, None] * down[quad] + t[:, None] * edge
    columns = grid.shape[1] - 1
    unit = normal[quad] / np.maximum(area[quad], 1e-12)[:, None]
    return position, unit, (quad // columns + s).astype(np.float32), (quad % columns + t).astype(np.float32)


def _noise(direction: Array, size: float, rng: Generator) -> Array:
    """Return smooth noise of about -0.5 to 0.5 at points of the unit ball (n, 3); size is that of its patches."""
    cells = max(2, int(np.ceil(2 / size)))
    lattice = rng.random((cells + 1) ** 3, dtype=np.float32) - np.float32(0.5)
    position = (direction + 1) * np.float32(cells / 2 * 0.9999)
    low = np.floor(np.clip(position, 0, cells - 1e-3)).astype(np.int32)
    part = position - low
    part = part * part * (3 - 2 * part)
    index = (low[:, 0] * (cells + 1) + low[:, 1]) * (cells + 1) + low[:, 2]
    x, y, z = part.T
    value = np.zeros(len(direction), np.float32)
    for i, wx in ((0, 1 - x), (1, x)):
        for j, wy in ((0, 1 - y), (1, y)):
            at = index + (i * (cells + 1) + j) * (cells + 1)
            value += wx * wy * (lattice[at] * (1 - z) + lattice[at + 1] * z)
    return np.asarray(value * np.float32(1.6), np.float32)


def _dots(direction: Array, size: float, rng: Generator) -> Array:
    """Return the share of dots, 0 to 1, at points of the unit ball: one dot in each cell of a lattice."""
    cells = max(2, int(1 / size))
    position = (direction + 1) * np.float32(cells / 2 * 0.9999)
    low = np.floor(position).astype(np.int32)
    centers = rng.uniform(0.25, 0.75, (cells**3, 3)).astype(np.float32)
    center = centers[(low[:, 0] * cells + low[:, 1]) * cells + low[:, 2]]
    distance = np.sqrt(((position - low - center) ** 2).sum(1))
    return np.asarray(np.clip((0.32 - distance) * 6, 0, 1), np.float32)


def _cells(rows: int, polar: Array, around: Array) -> tuple[Array, Array]:
    """Lay offset rows of cells around the axis; return nearness to the edge and to the middle, both 0 to 1."""
    position = polar * (rows / np.pi)
    row = np.minimum(np.floor(position), rows - 1)
    columns = np.maximum(3, np.round(2 * rows * np.sin((row + 0.5) * np.pi / rows)))
    across = around * (columns / TWO_PI) + 0.5 * (row % 2)
    u, v = 2 * (position - row) - 1, 2 * (across % 1) - 1
    distance = np.sqrt(u * u + v * v)
    return np.asarray(np.clip(distance, 0, 1)), np.asarray(np.clip((0.45 - distance) * 5, 0, 1))


def _blend(base: Array, over: Array, share: Array) -> Array:
    return np.asarray(base + (over - base) * share[:, None], np.float32)


def _rgb(color: tuple[float, float, float]) -> Array:
    return np.array(color, np.float32)


def _unit(vector: NDArray[np.floating]) -> Array:
    length = np.sqrt((vector**2).sum(-1, keepdims=True))
    return np.asarray(vector / np.maximum(length, 1e-9), np.float32)


def _frame(axis: Array) -> tuple[Array, Array]:
    """Return two unit vectors across an axis."""
    start = np.array([1, 0, 0] if abs(axis[0]) < 0.7 else [0, 1, 0], np.float32)
    across = _unit(np.cross(axis, start))
    return across, np.cross(axis, across)
