"""Shows how much memory Spark's Python workers take at most: python -m benchmarks.worker_memory.

With ordinary small images; with 100,000 of them in one folder; with images of 50 megapixels of every format,
several of them in each task. The bound: 300 MB plus three times the largest image's decoded size, as decoders hold
it: 4 bytes a pixel; 250 MB for the ordinary ones. WebP is nearest to the bound: its decoder holds the file and the
image twice, and hands over a copy.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import inputs
from benchmarks.harness import MEGABYTE, bench, parser, watched

WIDTH, HEIGHT = 8192, 6144
SMALL = 100
ORDINARY_MEGABYTES = 250
BASE_MEGABYTES = 300
TIMES = 3
BYTES_A_PIXEL = 4


def write_large(folder: Path, copies: int) -> None:
    """Write images of 50 megapixels with some noise, one of each kind, and links to them."""
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
    """Write `count` small JPEGs of 50 contents into one folder."""
    rng = np.random.default_rng(0)
    for index in range(50):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8)).resize((SMALL, SMALL))
        coarse.save(folder / f"{index:06d}.jpg", quality=90)
    for index in range(50, count):
        shutil.copyfile(folder / f"{index % 50:06d}.jpg", folder / f"{index:06d}.jpg")


def peak_memory(images: Path, model: Path, output: Path, mode: str) -> float:
    """Run the featurize stage; return the peak memory of a worker, in MB resident."""
    options = ["--images", str(images), "--model", str(model), "--output", str(output), "--mode", mode]
    command = [sys.executable, "-m", "job", "featurize", *options]
    job = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # noqa: S603 - our own command
    with watched(job.pid) as peaks:
        _, words = job.communicate()
    if job.returncode:
        sys.exit(words.decode())
    return peaks["worker"]


def main() -> None:
    """Run the command."""
    command = parser("worker_memory", __doc__, rounds=1)
    command.add_argument(
        "--images", type=int, default=4_000, help="how many ordinary small ones (default: %(default)s)"
    )
    command.add_argument("--copies", type=int, default=4, help="large images of each kind (default: %(default)s)")
    command.add_argument("--small", type=int, default=100_000, help="small files in one folder (default: %(default)s)")
    command.add_argument("--alpha", type=float, default=1.0, help="the network's width (default: %(default)s)")
    options = command.parse_args()
    ordinary = inputs.images(options.images)
    large = inputs.made_once(
        inputs.INPUTS / f"large-{options.copies}", lambda folder: write_large(folder, options.copies)
    )
    small = inputs.made_once(
        inputs.INPUTS / f"small-{options.small}", lambda folder: write_small(folder, options.small)
    )
    largest = BASE_MEGABYTES + TIMES * WIDTH * HEIGHT * BYTES_A_PIXEL / MEGABYTE
    cases = (
        (f"{options.images:,} images of 100 x 100", ordinary, "fast", ORDINARY_MEGABYTES),
        (f"{options.small:,} of them in one folder", small, "fast", BASE_MEGABYTES),
        ("50 megapixels, fast", large, "fast", largest),
        ("50 megapixels, exact", large, "exact", largest),
    )
    model = inputs.random_model(options.alpha)
    with bench("worker_memory", options) as found:
        for name, images, mode, bound in cases:
            with tempfile.TemporaryDirectory() as output:
                found.claim(name, peak_memory(images, model, Path(output), mode), "MB", at_most=bound)


if __name__ == "__main__":
    main()
