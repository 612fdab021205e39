"""Broken images by the thousand: python -m tests.fuzz --cases 3000 --seed 0.

Real files of every format are flipped, cut and spliced, and decoded in a child process, as the job's later attempts do.
No case may crash or hang the decoder. Each gives an image or a rejection, the same whether JPEGs are shrunk while
loading or not, and an image exactly where Pillow's own `Image.open(…).load()` gives one.
"""

import argparse
import base64
import io
import struct
import sys
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from job.images.decode import DecodedImage
from job.images.rejection import DECODER_CRASHED, OVER_MEMORY, OVER_TIME, REASONS, TOO_MANY_PIXELS, Rejected
from job.images.sandbox import DecodeOptions, Decoder

ODD = Path(__file__).resolve().parents[2] / "shared" / "data" / "odd"
HANG_SECONDS = 10
# Small, so that small images are shrunk while loading as well.
SIDE = 8
MAX_PIXELS = 4_000_000
OPTIONS = [DecodeOptions(SIDE, mode, MAX_PIXELS, HANG_SECONDS, 1 << 30) for mode in ("fast", "exact")]


def seeds(heic: bytes = b"") -> dict[str, bytes]:
    """Return real files by name: files made here, and the odd ones of the optional test data."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).resize((96, 72), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    palette, gray = coarse.convert("P"), coarse.convert("L")
    layer = coarse.convert("RGBA")
    layer.putalpha(gray)
    deep = Image.fromarray((np.asarray(gray).astype(np.uint16)) * 257)
    other = coarse.transpose(Image.Transpose.ROTATE_180)
    animated = {"save_all": True, "append_images": [other]}
    files = {
        "baseline.jpg": encoded(coarse, "JPEG", exif=exif, icc_profile=profile),
        "progressive.jpg": encoded(coarse, "JPEG", progressive=True, quality=90),
        "restart.jpg": encoded(coarse, "JPEG", restart_marker_rows=1),
        "gray.jpg": encoded(gray, "JPEG"),
        "cmyk.jpg": encoded(coarse.convert("CMYK"), "JPEG"),
        "mpo.jpg": encoded(coarse, "MPO", **animated),
        "rgb.png": encoded(coarse, "PNG", exif=exif, icc_profile=profile),
        "palette.png": encoded(palette, "PNG", transparency=3),
        "alpha.png": encoded(layer, "PNG"),
        "deep.png": encoded(deep, "PNG"),
        "bits.png": encoded(coarse.convert("1"), "PNG"),
        "animated.png": encoded(coarse, "PNG", **animated),
        "palette.gif": encoded(palette, "GIF"),
        "animated.gif": encoded(palette, "GIF", save_all=True, append_images=[other.convert("P")]),
        "lossy.webp": encoded(coarse, "WEBP", exif=exif),
        "lossless.webp": encoded(layer, "WEBP", lossless=True),
        "animated.webp": encoded(coarse, "WEBP", **animated),
        "rgb.avif": encoded(coarse, "AVIF", speed=10),
        "alpha.avif": encoded(layer, "AVIF", speed=10),
        "rgb.bmp": encoded(coarse, "BMP"),
        "palette.bmp": encoded(palette, "BMP"),
        "rle.bmp": run_length_bmp(),
        "rgb.ppm": encoded(coarse, "PPM"),
        "bits.pbm": encoded(coarse.convert("1"), "PPM"),
        "plain.ppm": b"P3 4 2 255\n" + b" ".join(b"%d" % value for value in range(24)),
        "deep.pgm": b"P5 8 8 999\n" + struct.pack(">64H", *range(0, 960, 15)),
        "float.pfm": encoded(gray.convert("F"), "PPM"),
        "icon.png": encoded(layer, "ICO", sizes=[(32, 32)]),
        "targa.jpg": encoded(coarse, "TGA", compression="tga_rle"),
        "pcx.jpg": encoded(coarse, "PCX"),
        "sgi.jpg": encoded(coarse, "SGI"),
        "dds.jpg": encoded(layer, "DDS"),
        "jpeg2000.jpg": encoded(coarse, "JPEG2000"),
        "heic.heic": heic,
    }
    for kind in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "lzma", "zstd"):
        files[f"{kind}.tif"] = encoded(coarse, "TIFF", compression=kind)
    files["group4.tif"] = encoded(coarse.convert("1"), "TIFF", compression="group4")
    files["cmyk.tif"] = encoded(coarse.convert("CMYK"), "TIFF")
    files["float.tif"] = encoded(gray.convert("F"), "TIFF")
    files["pages.tif"] = encoded(coarse, "TIFF", save_all=True, append_images=[other.copy()])
    if ODD.is_dir():
        files |= {path.name: path.read_bytes() for path in sorted(ODD.iterdir()) if path.stat().st_size < 100_000}
    return {name: data for name, data in files.items() if data}


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.copy().save(file, kind, **options)  # a copy: saving leaves settings behind in the image
    return file.getvalue()


def run_length_bmp() -> bytes:
    """Return a BMP of 8 x 4 pixels in run-length encoding, which Pillow reads but does not write."""
    rows = b"".join(bytes([5, row, 0, 3, 1, 2, 3, 0, 0, 0]) for row in range(4)) + b"\0\1"
    colors = b"".join(bytes([index, 255 - index, index // 2, 0]) for index in range(256))
    size = 54 + len(colors) + len(rows)
    head = b"BM" + struct.pack("<IHHI", size, 0, 0, 54 + len(colors))
    return head + struct.pack("<IiiHHIIiiII", 40, 8, 4, 1, 8, 1, len(rows), 0, 0, 256, 0) + colors + rows


def flip(data: bytearray, rng: np.random.Generator, _: bytes) -> bytearray:
    """Change a few bytes: anywhere, or near the start where headers are."""
    end = len(data) if rng.random() < 0.5 else min(len(data), 256)
    for position in rng.integers(0, end, int(rng.integers(1, 12))):
        data[position] ^= int(rng.integers(1, 256))
    return data


def extreme(data: bytearray, rng: np.random.Generator, _: bytes) -> bytearray:
    """Write a number at which sums overflow."""
    number = [b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0", b"\xff\xff", b"\x80"]
    start = int(rng.integers(0, min(len(data), 512)))
    word = number[int(rng.integers(len(number)))]
    data[start : start + len(word)] = word
    return data


def cut(data: bytearray, rng: np.random.Generator, _: bytes) -> bytearray:
    """Cut off the end, or cut out a piece in the middle."""
    start = int(rng.integers(0, len(data)))
    return data[:start] if rng.random() < 0.5 else data[:start] + data[start + int(rng.integers(1, 200)) :]


def splice(data: bytearray, rng: np.random.Generator, other: bytes) -> bytearray:
    """Insert a piece of another file, or overwrite with it."""
    start, length = int(rng.integers(0, len(other))), int(rng.integers(1, 400))
    position, piece = int(rng.integers(0, len(data))), other[start : start + length]
    return data[:position] + piece + data[position + (len(piece) if rng.random() < 0.5 else 0) :]


def repeat(data: bytearray, rng: np.random.Generator, _: bytes) -> bytearray:
    """Repeat a piece."""
    start, length = int(rng.integers(0, len(data))), int(rng.integers(1, 200))
    return data[: start + length] + data[start:]


def mend(data: bytearray) -> bytearray:
    """Correct the checksums of a PNG, so that the damage reaches the decoder behind them."""
    start = 8
    while start + 12 <= len(data):
        (length,) = struct.unpack(">I", data[start : start + 4])
        if start + 12 + length > len(data):
            break
        end = start + 8 + length
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[start + 4 : end]))
        start = end + 4
    return data


CHANGES: list[Callable[[bytearray, np.random.Generator, bytes], bytearray]] = [flip, extreme, cut, splice, repeat]


def cases(files: dict[str, bytes], seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield names and broken files, without end."""
    rng, names, number = np.random.default_rng(seed), list(files), 0
    while True:
        name = names[number % len(names)]
        data = bytearray(files[name])
        changes = []
        for _ in range(int(rng.integers(1, 4))):
            change = CHANGES[int(rng.integers(len(CHANGES)))]
            if data:
                data = change(data, rng, files[names[int(rng.integers(len(names)))]])
                changes.append(change.__name__)
        if data.startswith(b"\x89PNG") and rng.random() < 0.7:
            data = mend(data)
        yield f"{number} {name} {'+'.join(changes)}", bytes(data)
        number += 1


def outcome(decoder: Decoder, data: bytes) -> str:
    """Return `ok` or the reason of the rejection; raises AssertionError for a malformed image."""
    try:
        image = decoder.decode(data)
    except Rejected as rejected:
        return rejected.reason if rejected.reason in REASONS and rejected.error else f"unknown: {rejected}"
    assert isinstance(image, DecodedImage)
    assert image.pixels.shape == (SIDE, SIDE, 3)
    assert image.width * image.height <= MAX_PIXELS
    return "ok"


def pillow_reads(data: bytes) -> bool:
    """Return whether Pillow itself loads a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data)) as image:
                image.load()
        except Exception:  # noqa: BLE001 - decoders raise anything
            return False
    return True


def judge(decoders: list[Decoder], data: bytes) -> tuple[str, str | None]:
    """Return a file's outcome, and what is wrong with it, if anything is."""
    outcomes = [outcome(decoder, data) for decoder in decoders]
    first = outcomes[0]
    for found in outcomes:
        if found in (DECODER_CRASHED, OVER_TIME) or found.startswith("unknown"):
            return first, found
    if TOO_MANY_PIXELS in outcomes or OVER_MEMORY in outcomes:
        return first, None if len(set(outcomes)) == 1 else f"fast and exact: {outcomes}"
    if len({found == "ok" for found in outcomes}) > 1:
        return first, f"fast and exact: {outcomes}"
    if (first == "ok") != pillow_reads(data):
        return first, f"{first}, and Pillow says otherwise"
    return first, None


def fuzz(count: int, seed: int, heic: bytes = b"", keep: Path | None = None) -> tuple[Counter[str], list[str]]:
    """Return the number of cases by outcome, and the faults; the files of faulty cases are written to `keep`."""
    outcomes: Counter[str] = Counter()
    wrong = []
    stream = cases(seeds(heic), seed)
    with Decoder(OPTIONS[0], isolated=True) as fast, Decoder(OPTIONS[1], isolated=True) as exact:
        for _ in range(count):
            name, data = next(stream)
            found, fault = judge([fast, exact], data)
            outcomes[found] += 1
            if fault:
                wrong.append(f"{name}: {fault}")
                if keep:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / name.replace(" ", "-")).write_bytes(data)
    return outcomes, wrong


def main() -> None:
    """Run the command."""
    from tests.job.images.test_decode import HEIC  # noqa: PLC0415 - the one HEIC that there is

    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=3000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="folder for the files of cases that go wrong")
    options = parser.parse_args()
    outcomes, wrong = fuzz(options.cases, options.seed, base64.b64decode(HEIC), options.keep)
    for line in wrong:
        print(line)
    print(f"{options.cases} cases, seed {options.seed}: {dict(outcomes.most_common())}; {len(wrong)} wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
