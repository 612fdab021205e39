"""Shows what memory Spark's Python workers take at most: python -m benchmarks.worker_memory.

The bound: 300 MB plus three times the largest picture's decoded size, as decoders hold it: 4 bytes a pixel. First with
pictures of 50 megapixels of every format, several of them in each task; then with 100,000 small files in one folder.
WebP is nearest to the bound: its decoder holds the file and the picture twice, and hands over a copy.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.harness import MEGABYTE, watched
from benchmarks.inputs import random_model

WIDTH, HEIGHT = 8192, 6144
SMALL = 100
BASE_MEGABYTES = 300
TIMES = 3
BYTES_A_PIXEL = 4


def write_large(folder: Path, copies: int) -> None:
    """Write pictures of 50 megapixels with some noise, one of each kind, and links to them."""
    folder.mkdir()
    noise = np.random.default_rng(0).integers(-12, 13, (HEIGHT, WIDTH), np.int16)
    across = np.linspace(0, 255, WIDTH, dtype=np.int16)[None] + noise
    down = np.linspace(0, 255, HEIGHT, dtype=np.int16)[:, None] + noise
    bands = [np.clip(band, 0, 255).astype(np.uint8) for band in (across, down, 255 - across)]
    rgb = Image.fromarray(np.stack(bands, axis=-1))
    gray = rgb.convert("L")
    turned = Image.Exif()
    turned[0x0112] = 6
    rgb.save(folder / "baseline.jpg", quality=90, subsampling=0)
    rgb.save(folder / "progressive.jpg", quality=90, subsampling=0, progressive=True)
    rgb.convert("CMYK").save(folder / "cmyk.jpg", quality=90)
    rgb.save(folder / "rgb.png", compress_level=1)
    alpha = rgb.convert("RGBA")
    alpha.putalpha(gray)
    alpha.save(folder / "alpha.png", compress_level=1)
    rgb.convert("P").save(folder / "palette.gif")
    Image.fromarray(np.asarray(gray).astype(np.uint16) * 257).save(folder / "deep.png", compress_level=1)
    rgb.save(folder / "raw.tif")
    rgb.save(folder / "turned.tif", compression="tiff_lzw", exif=turned)
    gray.convert("F").save(folder / "float.tif")
    rgb.save(folder / "rgb.bmp")
    rgb.save(folder / "lossy.webp", quality=80, method=0)
    # Smooth: where the file of a lossless WebP has more than some 45 MB, holding it twice is too much for the bound.
    rgb.reduce(4).resize(rgb.size).save(folder / "lossless.webp", lossless=True, quality=0, method=0)
    rgb.save(folder / "rgb.avif", speed=10, quality=60)
    for path in sorted(folder.iterdir()):
        for copy in range(copies - 1):
            (folder / f"{copy}-{path.name}").hardlink_to(path)


def write_small(folder: Path, count: int) -> None:
    """Write so many small JPEGs of a few contents into one folder."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(50):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8)).resize((SMALL, SMALL))
        coarse.save(folder / f"{index:06d}.jpg", quality=90)
    for index in range(50, count):
        shutil.copyfile(folder / f"{index % 50:06d}.jpg", folder / f"{index:06d}.jpg")


def most_memory(images: Path, model: Path, output: Path, mode: str) -> tuple[float, float]:
    """Run the featurize stage; return the most memory that a worker has had, in MB, and the run's seconds."""
    options = ["--images", str(images), "--model", str(model), "--output", str(output), "--mode", mode]
    started = time.monotonic()
    job = subprocess.Popen([sys.executable, "-m", "job", "featurize", *options], stderr=subprocess.PIPE)  # noqa: S603
    with watched(job.pid) as most:
        _, words = job.communicate()
    if job.returncode:
        sys.exit(words.decode())
    return most["worker"], time.monotonic() - started


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m benchmarks.worker_memory", description=__doc__)
    parser.add_argument("--copies", type=int, default=4, help="large pictures of each kind (default: %(default)s)")
    parser.add_argument("--small", type=int, default=100_000, help="small pictures (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where to write them, some GB (default: a temporary folder)")
    parser.add_argument("--alpha", type=float, default=1.0, help="the network's width (default: %(default)s)")
    options = parser.parse_args()
    cases: list[tuple[str, str, int, Callable[[Path], None]]] = [
        ("50 megapixels", "exact", WIDTH * HEIGHT, lambda folder: write_large(folder, options.copies)),
        ("50 megapixels", "fast", WIDTH * HEIGHT, lambda folder: write_large(folder, options.copies)),
        (f"{options.small:,} small files", "fast", SMALL * SMALL, lambda folder: write_small(folder, options.small)),
    ]
    over = False
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        model = random_model(options.alpha)
        for name, mode, pixels, write in cases:
            images = Path(temporary, name.replace(" ", "-"))
            if not images.exists():
                write(images)
            most, seconds = most_memory(images, model, Path(temporary, f"{images.name}-{mode}"), mode)
            bound = BASE_MEGABYTES + TIMES * pixels * BYTES_A_PIXEL / MEGABYTE
            over |= most > bound
            print(f"{name}, {mode}: a worker took {most:.0f} MB at most; the bound is {bound:.0f} MB; {seconds:.0f} s")
    print(f"{os.cpu_count()} cores")
    sys.exit(1 if over else 0)


if __name__ == "__main__":
    main()
