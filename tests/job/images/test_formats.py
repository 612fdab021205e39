"""Every mode in every format: usable exactly where Pillow's own load is, whole images and strips alike."""

import base64
import io
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from pyspark.sql import SparkSession

from job.features.table import read_features
from job.images import decode as decoding
from job.images.decode import decode
from job.images.rejection import Rejected
from job.settings import Settings
from job.stages.featurize import featurize
from tests.conftest import shared
from tests.fuzz import pillow_reads
from tests.job.images.test_decode import HEIC, color, encoded, farthest, png, reason, scene, square

MODES = [
    *("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "PA", "RGBX", "RGBa", "La"),
    *("I;16", "I;16L", "I;16B"),
]
COMPRESSIONS = (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "group3", "group4", "jpeg", "zstd", "lzma")


def made(mode: str, width: int = 60, height: int = 40) -> Image.Image:
    """Return an image of a mode, noise where no conversion leads to it."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    base = Image.fromarray(noise)
    if mode == "LAB":
        return Image.merge("LAB", base.split())
    if mode.startswith("I;16"):
        return Image.frombytes(mode, base.size, np.ascontiguousarray(noise[..., :2]).tobytes())
    if mode in ("I", "F"):
        return base.convert("L").convert(mode)
    through = {"La": "LA", "RGBa": "RGBA", "PA": "P"}.get(mode)
    return (base.convert(through) if through else base).convert(mode)


def status(data: bytes, mode: str) -> bool:
    try:
        decode(data, 8, mode)
    except Rejected:
        return False
    return True


def test_every_mode_in_every_format_is_usable_where_pillow_reads_it(capfd: pytest.CaptureFixture[str]) -> None:
    Image.init()
    files: dict[tuple[str, str, Any], bytes] = {}
    for mode in MODES:
        for kind in sorted(set(Image.SAVE) - {"PDF", "EPS", "PALM"}):
            for compression in COMPRESSIONS if kind == "TIFF" else (None,):
                try:
                    data = encoded(made(mode), kind, **({"compression": compression} if compression else {}))
                except Exception:  # noqa: BLE001 - not every format takes every mode
                    continue
                files[mode, kind, compression] = data
    capfd.readouterr()  # libtiff says on standard error what it cannot write
    wrong = [
        (name, draft)
        for name, data in files.items()
        for draft in ("fast", "exact")
        if status(data, draft) != pillow_reads(data)
    ]
    assert wrong == []
    assert len(files) > 150
    assert sum(map(pillow_reads, files.values())) > 140
    # Pillow hands EPS to Ghostscript, which runs it as a program.
    assert reason(encoded(made("RGB"), "EPS")) == "not an image"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("transparent", [None, 7, b"\0\xff", (1, 2, 3)], ids=str)
def test_large_images_come_out_of_strips_as_whole(mode: str, transparent: Any) -> None:
    image = made(mode)
    if transparent is not None:
        image.info["transparency"] = transparent
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = np.asarray(decoding._square(image, 16))
        for rows in (1, 7, 39):
            np.testing.assert_array_equal(np.asarray(decoding._square(image, 16, 60 * rows)), whole)
    assert whole.shape == (16, 16, 3)


def test_a_floating_point_image_has_one_scale_for_all_its_strips() -> None:
    samples = np.full((40, 60), 0.5, np.float32)
    samples[-1] = 200
    data = encoded(Image.fromarray(samples), "TIFF")
    whole = decode(data, 8).pixels
    np.testing.assert_array_equal(decode(data, 8, strip_pixels=60 * 5).pixels, whole)
    assert whole[0].max() <= 1


@pytest.mark.parametrize("value", [0, 1, 100, 254, 255, 256, 999, 65535])
def test_pnm_of_every_depth(value: int) -> None:
    width = 1 if value < 256 else 2
    for share in (0, 1):
        data = b"P5 4 4 %d\n" % max(value, 1) + (share * max(value, 1)).to_bytes(width, "big") * 16
        assert color(data) == (255 * share,) * 3
    for broken in (b"P5 4 4 0\n" + bytes(16), b"P5 4 4 65536\n" + bytes(64), b"P5 0 4 255\n", b"P6 4 4\n"):
        assert not pillow_reads(broken)
        assert not status(broken, "fast")


@pytest.mark.parametrize("turns", range(4))
def test_heic_that_says_how_it_is_turned_is_turned_once(turns: int) -> None:
    data = bytearray(base64.b64decode(HEIC))
    # The property that crops becomes one that turns anticlockwise by so many quarters (ISO/IEC 23008-12, 6.5.10).
    place = data.index(b"clap")
    data[place : place + 5] = b"irot" + bytes([turns])
    red = decode(bytes(data), 32).pixels[..., 0].astype(int)
    # Uncropped it has 64 x 64 pixels, of which the left quarter is red.
    stored = np.rot90(red, -turns)
    assert stored[:, 1:6].min() > 150
    assert stored[:, 11:].max() < 100


def test_a_palette_that_is_lost_is_shown_as_gray() -> None:
    icon = encoded(made("P"), "ICNS")
    with Image.open(io.BytesIO(icon)) as image:
        image.load()
    assert decode(icon, 8).pixels.shape == (8, 8, 3)


def test_warnings_that_someone_made_errors_reject_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    broken_exif = encoded(scene(), "JPEG", quality=98, subsampling=0, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    large = png(9500, 9500, bytes(1189 * 9500), bits=1, kind=0)  # where Pillow warns of a bomb
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert farthest(decode(broken_exif, 48), square(scene(), 48)) <= 4
        assert decode(large, 8).width == 9500


def test_an_exif_block_that_raises_anything_rejects_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (ValueError, RuntimeError, AttributeError, ZeroDivisionError, RecursionError, UserWarning):

        def broken(_: Image.Image, error: type[Exception] = error) -> Image.Exif:
            raise error("x")

        with monkeypatch.context() as patch:
            patch.setattr(Image.Image, "getexif", broken)
            assert farthest(decode(encoded(scene(), "PNG"), 48), square(scene(), 48)) == 0


def test_a_size_that_libheif_does_not_believe_is_too_many_pixels() -> None:
    data = bytearray(base64.b64decode(HEIC))
    place = data.index(b"ispe") + 8
    data[place : place + 8] = b"\x00\x7f\xff\xff\xff\x00\x00\x00"
    assert not pillow_reads(bytes(data))
    assert reason(bytes(data)) == "too many pixels"


def test_memory_that_is_short_is_not_the_images_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(scene(), "PNG")
    for error in (MemoryError(), OSError("decoder error -9: out of memory error"), RuntimeError("Out of memory")):

        def short(*_: object, error: Exception = error) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(Image.Image, "load", short)
            patch.setattr("PIL.ImageFile.ImageFile.load", short)
            with pytest.raises(MemoryError):
                decode(data, 8)


PEAK = """
import sys
from pathlib import Path
from job.images.decode import decode
def most():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
data = Path(sys.argv[1]).read_bytes()
decode(data, 8, "exact")
Path("/proc/self/clear_refs").write_text("5")
before = most()
for _ in range(3):
    decode(data, 8, "exact")
print(most() - before)
"""


@pytest.mark.parametrize(
    ("kind", "mode", "bytes_a_pixel"),
    [
        ("PNG", "RGBA", 4),
        ("PNG", "P", 1),
        ("PNG", "I;16", 2),
        ("PNG", "RGB", 4),
        ("TIFF", "CMYK", 4),
        ("WEBP", "RGB", 12),
    ],
)
def test_decoding_holds_one_image_at_a_time(tmp_path: Path, kind: str, mode: str, bytes_a_pixel: int) -> None:
    side = 3000
    image = Image.new("RGB", (side, side), (1, 2, 3)).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.zeros((side, side), np.uint16))
    options = {"lossless": True, "quality": 0, "method": 0} if kind == "WEBP" else {}
    (tmp_path / "image").write_bytes(encoded(image, kind, **options))
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / "image")], capture_output=True, text=True, check=True
    )
    raw = side * side * 4 if kind == "TIFF" else 0  # the file itself, as large as the image
    assert int(done.stdout) < bytes_a_pixel * side * side + raw + (24 << 20)


def test_each_odd_file_is_one_row_with_the_status_of_pillows_own_load(
    spark: SparkSession, tiny_model: Path, tmp_path: Path
) -> None:
    folder = shared("data/odd")
    settings = Settings(images=str(folder), model=str(tiny_model), output=str(tmp_path / "out"))
    featurize(spark, settings)
    table = read_features(str(tmp_path / "out"))
    assert isinstance(table, pa.Table)
    frame: pd.DataFrame = table.to_pandas()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            str(path): "ok" if pillow_reads(path.read_bytes()) else "rejected"
            for path in folder.iterdir()
            if path.name.lower().endswith(settings.endings)
        }
    assert len(frame) == len(expected) == 40
    assert dict(zip(frame["path"], frame["status"], strict=True)) == expected
