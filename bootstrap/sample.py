"""Render the sample that `make run-local` works on: images of twelve fruits, one folder a label.

    python -m bootstrap.sample --output build/sample

360 images, 100 x 100 JPEG, white background: twelve labels, six fruits of each, five sides of each fruit. The same
call gives the same images; where they are already there it does nothing. They are drawn by the renderer that the
embedded model was trained with, but none of these fruits was in its training.
"""

import argparse
import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from bootstrap.embedded.body import grow, random_rotation
from bootstrap.embedded.renderer import Camera, photograph
from bootstrap.embedded.species import Generator, Species, near_color
from bootstrap.folder import replaced
from job.command_line import add_version, exit_status, new_log
from job.errors import JobError

FRUITS = 6  # of each label
SIDES = 5  # of each fruit
QUALITY = 90  # of the JPEGs

KINDS = {
    "Apple Golden": Species(
        skin=(0.86, 0.78, 0.3), second=(0.78, 0.7, 0.2), marks=(0.55, 0.42, 0.18), aspect=0.95, taper=-0.08,
        dimple_top=0.35, dimple_bottom=0.22, lobes=5, lobe_depth=0.015, lumps=0.05, blotch=0.5, blush=0.3,
        dots=0.5, dot_size=0.06, grain=0.06, gloss=0.25, sharpness=25, stalk_length=0.35, stalk_width=0.04, calyx=0.16,
    ),
    "Apple Red": Species(
        skin=(0.62, 0.05, 0.08), second=(0.85, 0.62, 0.25), marks=(0.85, 0.6, 0.4), aspect=0.93, taper=-0.1,
        dimple_top=0.35, dimple_bottom=0.22, lobes=5, lobe_depth=0.015, lumps=0.05, bias=-0.55, blush=0.5, blotch=0.5,
        stripes=34, stripe_share=0.2, stripe_waves=4, dots=0.35, dot_size=0.05, gloss=0.4, sharpness=40,
        stalk_length=0.35, stalk_width=0.04, calyx=0.15,
    ),
    "Aubergine": Species(
        skin=(0.16, 0.05, 0.17), second=(0.24, 0.08, 0.24), aspect=1.9, squareness=2.3, taper=0.28, bend=0.35,
        lumps=0.05, gloss=0.6, sharpness=45, stalk_length=0.5, stalk_width=0.14, stalk_color=(0.35, 0.42, 0.16),
        leaves=5, leaf_length=0.55, leaf_lift=-0.5, leaf_color=(0.35, 0.45, 0.18),
    ),
    "Banana": Species(
        skin=(0.9, 0.74, 0.12), second=(0.72, 0.7, 0.2), marks=(0.35, 0.2, 0.08), aspect=3.6, squareness=2.4, bend=1.3,
        lobes=5, lobe_depth=0.05, lumps=0.04, bias=-0.35, gradient=0.35, blotch=0.25, scars=5, grain=0.08, gloss=0.1,
        sharpness=15, stalk_length=0.7, stalk_width=0.2, stalk_color=(0.55, 0.48, 0.15), calyx=0.35,
    ),
    "Blackberry": Species(
        skin=(0.14, 0.06, 0.13), second=(0.3, 0.06, 0.14), marks=(0.04, 0.01, 0.04), aspect=1.25, taper=0.08, cells=8,
        cell_height=0.1, net=0.6, bias=-0.3, blotch=0.9, blotch_size=0.3, lumps=0.06, gloss=0.7, sharpness=30,
        leaves=5, leaf_length=0.45, leaf_lift=0.1, leaf_color=(0.4, 0.5, 0.2),
    ),
    "Clementine": Species(
        skin=(0.95, 0.45, 0.04), second=(0.92, 0.55, 0.08), marks=(0.75, 0.3, 0.02), aspect=0.82, dimple_top=0.12,
        dimple_bottom=0.1, lumps=0.06, blotch=0.4, dots=0.5, dot_size=0.05, grain=0.12, gloss=0.3, sharpness=20,
        stalk_length=0.06, stalk_width=0.07, stalk_color=(0.35, 0.45, 0.15), calyx=0.07,
    ),
    "Grape": Species(
        skin=(0.45, 0.12, 0.25), second=(0.3, 0.08, 0.25), aspect=1.15, blotch=0.8, grain=0.05, gloss=0.35,
        sharpness=35, berries=22, bunch_aspect=1.4,
    ),
    "Kiwi": Species(
        skin=(0.46, 0.35, 0.18), second=(0.38, 0.3, 0.14), marks=(0.25, 0.18, 0.08), aspect=1.3, flatness=0.92,
        squareness=2.3, lumps=0.05, blotch=0.6, blotch_size=0.25, grain=0.3, grain_size=0.04, gloss=0.02, calyx=0.13,
        dots=0.3, dot_size=0.05,
    ),
    "Lemon": Species(
        skin=(0.95, 0.85, 0.15), second=(0.88, 0.8, 0.12), marks=(0.8, 0.68, 0.08), aspect=1.35, squareness=1.7,
        neck=-0.12, lumps=0.06, blotch=0.4, dots=0.5, dot_size=0.06, grain=0.12, gloss=0.3, sharpness=18,
        stalk_length=0.07, stalk_width=0.08, stalk_color=(0.45, 0.5, 0.15), calyx=0.06,
    ),
    "Pear": Species(
        skin=(0.68, 0.72, 0.25), second=(0.8, 0.68, 0.25), marks=(0.45, 0.38, 0.15), aspect=1.35, taper=0.38, neck=0.2,
        dimple_bottom=0.15, lumps=0.1, blotch=0.5, blush=0.4, dots=0.7, dot_size=0.06, grain=0.08, gloss=0.2,
        sharpness=20, stalk_length=0.5, stalk_width=0.05, calyx=0.14,
    ),
    "Strawberry": Species(
        skin=(0.8, 0.06, 0.08), second=(0.88, 0.25, 0.18), marks=(0.9, 0.75, 0.3), aspect=1.2, squareness=1.9,
        taper=-0.35, lumps=0.14, cells=11, cell_height=-0.03, net=-0.9, bias=-0.4, gradient=0.4, gloss=0.45,
        sharpness=30, leaves=8, leaf_length=0.6, leaf_lift=0.15, stalk_length=0.4, stalk_width=0.05,
        stalk_color=(0.35, 0.5, 0.2),
    ),
    "Watermelon": Species(
        skin=(0.42, 0.58, 0.25), second=(0.5, 0.62, 0.3), marks=(0.06, 0.2, 0.07), aspect=1.15, lumps=0.03, blotch=0.5,
        stripes=10, stripe_share=0.95, stripe_waves=5, grain=0.15, gloss=0.2, sharpness=20, stalk_length=0.2,
        stalk_width=0.05, stalk_color=(0.4, 0.45, 0.2), calyx=0.06,
    ),
}  # fmt: skip


def render_images(fruits: int = FRUITS, sides: int = SIDES) -> Iterator[tuple[str, bytes]]:
    """Render the sample, one image after the other.

    Parameters
    ----------
    fruits, sides : int
        How many fruits of each label, and how many sides of each fruit.

    Yields
    ------
    str, bytes
        Path in the sample, as `Banana/03.jpg`, and a JPEG of 100 x 100 pixels.
    """
    for label, kind in KINDS.items():
        for fruit in range(fruits):
            rng = np.random.default_rng([fruit, *label.encode()])
            body = grow(_individual(kind, rng), int(rng.integers(1 << 30)))
            camera = Camera(light=(float(rng.normal(-0.2, 0.2)), -0.5, 0.8), tint=(float(rng.normal(1, 0.02)),) * 3)
            for side in range(sides):
                file = io.BytesIO()
                view = photograph(body, random_rotation(rng), camera, rng)
                Image.fromarray(view).save(file, "JPEG", quality=QUALITY)
                yield f"{label}/{fruit * sides + side:02d}.jpg", file.getvalue()


def _individual(kind: Species, rng: Generator) -> Species:
    """Return the traits of one fruit of a kind: slightly other colors and proportions."""
    return replace(
        kind,
        skin=near_color(kind.skin, rng, 0.03),
        second=near_color(kind.second, rng, 0.03),
        aspect=kind.aspect * float(np.exp(rng.normal(0, 0.04))),
    )


Render = Callable[[int, int], Iterator[tuple[str, bytes]]]


def write(folder: Path, fruits: int = FRUITS, sides: int = SIDES, render: Render = render_images) -> bool:
    """Render the sample into a folder, which appears whole or not at all.

    Parameters
    ----------
    folder : Path
        Where to; a sample that is there is replaced if it is incomplete or another renderer's.
    fruits, sides : int
        How many fruits of each label, and how many sides of each fruit.
    render : callable
        Renders the images: `render_images`.

    Returns
    -------
    bool
        Whether anything was rendered; False where the sample was there already.

    Raises
    ------
    JobError
        Where the folder holds anything that is no part of a sample, or cannot be written.
    """
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    expected = {f"{label}/{number:02d}.jpg" for label in KINDS for number in range(fruits * sides)}
    if strange := sorted(found - expected):
        raise JobError(f"{folder} holds files that are not the sample's, such as {strange[0]}: choose another --output")
    first, data = next(render(fruits, sides))
    # The first image, rendered anew, shows whether this renderer made what is there.
    if found == expected and (folder / first).read_bytes() == data:
        return False
    with replaced(folder) as part:
        for name, data in render(fruits, sides):
            path = part / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
    return True


def main(arguments: list[str] | None = None, *, prog: str = "python -m bootstrap.sample") -> int:
    """Run the command; return its exit status. Help texts call the program `prog`."""
    parser = argparse.ArgumentParser(
        prog,
        description=(__doc__ or "").replace("python -m bootstrap.sample", prog),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_version(parser)
    parser.add_argument(
        "--output", type=Path, default=Path("build/sample"), help="folder to fill (default: %(default)s)"
    )
    folder = parser.parse_args(arguments).output

    def command() -> None:
        rendered = write(folder)
        count = len(KINDS) * FRUITS * SIDES
        print(f"{folder}: {count} images, {len(KINDS)} labels" + ("" if rendered else " (already there)"))

    return exit_status(command, new_log())


if __name__ == "__main__":
    sys.exit(main())
