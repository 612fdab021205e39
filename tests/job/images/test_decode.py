"""Decoding, against Pillow by other routes and against colors known by hand."""

import base64
import io
import struct
import zlib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from job.images.decode import DecodedImage, decode
from job.images.rejection import REASONS, Rejected
from job.settings import Settings
from tests.conftest import shared

# Pillow warns of odd EXIF blocks and large images, and reads on; in a run its words go to the log.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning"),
    pytest.mark.filterwarnings("ignore:Palette images with Transparency:UserWarning"),
]

Pixels = NDArray[Any]


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def scene(width: int = 60, height: int = 40) -> Image.Image:
    """Return a smooth image without symmetry, in which lossy formats lose little."""
    y, x = np.mgrid[0:height, 0:width]
    bands = [255 * x / width, 255 * y / height, 255 * (x + y) / (width + height)]
    return Image.fromarray(np.stack(bands, axis=-1).astype(np.uint8))


def square(image: Image.Image, side: int) -> Pixels:
    """Return what Pillow makes of an image that is RGB already."""
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC), np.int64)


def farthest(decoded: DecodedImage, expected: Pixels) -> int:
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.shape == expected.shape
    return int(np.abs(decoded.pixels.astype(np.int64) - expected).max())


def color(data: bytes) -> tuple[int, ...]:
    """Return the one color of an image of one color."""
    pixels = decode(data, 8).pixels.reshape(-1, 3)
    assert (pixels == pixels[0]).all()
    return tuple(pixels[0].tolist())


def reason(data: bytes, **options: Any) -> str:
    with pytest.raises(Rejected) as caught:
        decode(data, 32, **options)
    assert caught.value.reason in REASONS
    assert caught.value.error
    assert "\n" not in caught.value.error
    return caught.value.reason


LOSSLESS: dict[str, tuple[str, dict[str, Any]]] = {
    "PNG": ("PNG", {}),
    "WebP": ("WEBP", {"lossless": True}),
    "BMP": ("BMP", {}),
    "PPM": ("PPM", {}),
    "TIFF": ("TIFF", {}),
    "TIFF, LZW": ("TIFF", {"compression": "tiff_lzw"}),
    "TIFF, deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_give_exactly_the_pixels_that_were_stored(name: str) -> None:
    kind, options = LOSSLESS[name]
    decoded = decode(encoded(scene(), kind, **options), 48)
    assert farthest(decoded, square(scene(), 48)) == 0
    assert (decoded.width, decoded.height) == (60, 40)


@pytest.mark.parametrize(
    ("kind", "options", "bound"),
    [
        ("JPEG", {"quality": 98, "subsampling": 0}, 4),
        ("JPEG", {"quality": 98, "subsampling": 0, "progressive": True}, 4),
        ("WEBP", {"quality": 98}, 14),
        ("AVIF", {"quality": 98, "subsampling": "4:4:4"}, 8),
    ],
)
def test_lossy_formats_give_nearly_the_pixels_that_were_stored(kind: str, options: dict[str, Any], bound: int) -> None:
    decoded = decode(encoded(scene(), kind, **options), 48)
    assert farthest(decoded, square(scene(), 48)) <= bound
    assert (decoded.width, decoded.height) == (60, 40)


def test_gray_and_black_and_white_images_have_three_equal_channels() -> None:
    gray = scene().convert("L")
    expected = np.repeat(square(gray, 48)[:, :, None], 3, axis=2)
    assert farthest(decode(encoded(gray, "PNG"), 48), expected) == 0
    assert farthest(decode(encoded(gray, "PPM"), 48), expected) == 0
    assert farthest(decode(encoded(gray, "JPEG", quality=98), 48), expected) <= 4
    assert color(encoded(Image.new("1", (9, 9), 1), "PNG")) == (255, 255, 255)
    assert color(encoded(Image.new("1", (9, 9), 0), "TIFF")) == (0, 0, 0)


def test_cmyk_is_read_with_ink_as_ink() -> None:
    for data in (
        encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=98),
        encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "TIFF"),
    ):
        np.testing.assert_allclose(color(data), (255, 0, 0), atol=2)
    np.testing.assert_allclose(color(encoded(Image.new("CMYK", (16, 16), (0, 0, 0, 255)), "TIFF")), (0, 0, 0))


def test_palettes_give_the_colors_that_they_name() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        pixels = decode(encoded(image, kind), 2).pixels
        np.testing.assert_array_equal(pixels, [[[10, 20, 30], [200, 100, 50]]] * 2)


def rgba(*values: int) -> Image.Image:
    return Image.new("RGBA", (10, 10), values)


def test_transparent_parts_are_white_and_half_transparent_ones_half_white() -> None:
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        assert color(encoded(rgba(255, 0, 0, 0), kind, **options)) == (255, 255, 255)
        assert color(encoded(rgba(255, 0, 0, 255), kind, **options)) == (255, 0, 0)
        assert color(encoded(rgba(0, 0, 0, 128), kind, **options)) == (127, 127, 127)
    assert color(encoded(Image.new("LA", (10, 10), (0, 0)), "PNG")) == (255, 255, 255)
    assert color(encoded(Image.new("LA", (10, 10), (0, 51)), "PNG")) == (204, 204, 204)


def test_the_color_that_a_file_calls_transparent_is_white() -> None:
    image = Image.new("P", (10, 10), 1)
    image.putpalette([0, 0, 0, 0, 0, 255])
    for kind in ("PNG", "GIF"):
        assert color(encoded(image, kind, transparency=1)) == (255, 255, 255)
        assert color(encoded(image, kind, transparency=0)) == (0, 0, 255)
    assert color(encoded(Image.new("RGB", (10, 10), (1, 2, 3)), "PNG", transparency=(1, 2, 3))) == (255, 255, 255)
    assert color(encoded(Image.new("L", (10, 10), 7), "PNG", transparency=7)) == (255, 255, 255)
    for transparent, expected in ((256, 255), (257, 1)):
        data = png(
            1, 1, b"\0" + struct.pack(">H", 256), bits=16, kind=0, more=chunk(b"tRNS", struct.pack(">H", transparent))
        )
        assert color(data) == (expected,) * 3


@pytest.mark.parametrize(("sample", "expected"), [(0, 0), (257, 1), (32768, 128), (33000, 128), (65535, 255)])
def test_sixteen_bits_are_scaled_to_eight(sample: int, expected: int) -> None:
    gray = Image.fromarray(np.full((9, 9), sample, np.uint16))
    for kind in ("PNG", "TIFF"):
        assert color(encoded(gray, kind)) == (expected,) * 3
    assert color(b"P5 2 2 65535\n" + struct.pack(">4H", *[sample] * 4)) == (expected,) * 3
    assert color(png(1, 1, b"\0" + struct.pack(">3H", *[sample] * 3), bits=16, kind=2))[0] == pytest.approx(
        expected, abs=1
    )


@pytest.mark.parametrize(("sample", "expected"), [(0.5, 128), (1.0, 255), (2.0, 2), (300.0, 255), (-1.0, 0)])
def test_floating_point_images_are_taken_as_shares_or_as_bytes(sample: float, expected: int) -> None:
    assert color(encoded(Image.fromarray(np.full((9, 9), sample, np.float32)), "TIFF")) == (expected,) * 3


def test_the_first_image_of_an_animation_counts() -> None:
    first, second = Image.new("RGB", (10, 10), (255, 0, 0)), Image.new("RGB", (10, 10), (0, 0, 255))
    for kind, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})):
        assert color(encoded(first, kind, save_all=True, append_images=[second], **options)) == (255, 0, 0)


# 32 x 16 pixels, left half (200, 30, 30), right half (30, 40, 200); x265 at quality 90 by way of pillow-heif.
HEIC = """
AAAAHGZ0eXBoZWl4AAAAAG1pZjFoZWl4bWlhZgAAAX5tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAAAAAERA
AAEAAQAAAAABogABAAAAAAAAANoAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/mlwcnAAAADeaXBjbwAA
AHdodmNDAQQIAAAAnjgAAAAAHvAA/P/4+AAADwNgAAEAF0ABDAH//wQIAAADAJ44AAADAAAeugJAYQABACpCAQEECAAAAwCeOAAAAwAAHpAEECCy3VXT
XNwENBgQAAADAZAAAAMAEIBiAAEACEQBwXMYMBiQAAAAE2NvbHJuY2x4AAEADQAGgAAAABRpc3BlAAAAAAAAAEAAAABAAAAAKGNsYXAAAAAgAAAAAQAA
ABAAAAAB////4AAAAAL////QAAAAAgAAABBwaXhpAAAAAAMICAgAAAAYaXBtYQAAAAAAAAABAAEFgQIDBYQAAADibWRhdAAAANYoAa8GMhz79vCJIPC/
r4T///BV/ZftTtpOq+6cDS/t0U//7i6O31wj+jzv/RRYzSdI1xfs7tU2KkTQaNYJw/3lweuW5Mh/Vrf/fOn1mPxA+16PUt6Z76eLg7p6/JVpzTM6n4AQ
jkYn2oA2wdEIthWMkVrJXf9zlJsH+44yPIy/+kAJX/0vBsbJa2VmU45Uxa4WZ/tDFkEb2MAN6w+LjosE4AF/AAZqUafTxz1ANyXhP+S/SX+J9qHhTf/a
G6D+OOrIpenAxb6GDtnB65RCTTO+lpfSVHYw
"""


def test_heic_is_read() -> None:
    decoded = decode(base64.b64decode(HEIC), 32)
    assert (decoded.width, decoded.height) == (32, 16)
    halves = decoded.pixels[4:-4, 4:12], decoded.pixels[4:-4, 20:28]
    for half, expected in zip(halves, ((200, 30, 30), (30, 40, 200)), strict=True):
        np.testing.assert_allclose(half.reshape(-1, 3).mean(axis=0), expected, atol=6)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    width: int, height: int, rows: bytes, *, bits: int = 8, kind: int = 2, interlaced: bool = False, more: bytes = b""
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, int(interlaced))
    body = chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_interlaced_png_is_read() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    # The seven passes of Adam7 as the PNG specification has them: first row and column, then the steps.
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = b"".join(b"\0" + row.tobytes() for y, x, dy, dx in passes for row in pixels[y::dy, x::dx])
    assert farthest(decode(png(8, 8, rows, interlaced=True), 8), pixels.astype(np.int64)) == 0


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn stored pixels as Exif 2.32 defines its tag 274: which side of the scene the 0th row and column are."""
    return {
        1: pixels,  # row 0 top, column 0 left
        2: pixels[:, ::-1],  # top, right
        3: pixels[::-1, ::-1],  # bottom, right
        4: pixels[::-1],  # bottom, left
        5: pixels.transpose(1, 0, 2),  # left, top
        6: np.rot90(pixels, -1),  # right, top
        7: np.rot90(pixels, 2).transpose(1, 0, 2),  # right, bottom
        8: np.rot90(pixels),  # left, bottom
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "options", "bound"),
    [
        ("PNG", {}, 1),
        ("TIFF", {}, 1),
        ("WEBP", {"lossless": True}, 1),
        ("JPEG", {"quality": 98, "subsampling": 0}, 4),
        ("AVIF", {"quality": 98, "subsampling": "4:4:4"}, 8),
    ],
)
def test_images_are_turned_upright(kind: str, options: dict[str, Any], bound: int, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = Image.fromarray(np.ascontiguousarray(upright(np.asarray(scene()), orientation)))
    decoded = decode(encoded(scene(), kind, exif=exif, **options), 48)
    assert farthest(decoded, square(expected, 48)) <= bound


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert farthest(decode(encoded(scene(), "PNG", exif=exif), 48), square(scene(), 48)) == 0


def test_a_broken_exif_block_turns_nothing() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    block = exif.tobytes()
    in_letters = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI4sI", 0x0112, 2, 4, b"six\0", 0)
    for broken in (block[: len(block) // 2], b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0rubbish", in_letters):
        decoded = decode(encoded(scene(), "JPEG", quality=98, subsampling=0, exif=broken), 48)
        assert farthest(decoded, square(scene(), 48)) <= 4


BROKEN = {"broken.png": "not an image", "broken_data_stream.png": "damaged", "truncated_jpeg.jpg": "truncated"}


def odd() -> list[Path]:
    return [path for path in sorted(shared("data/odd").iterdir()) if path.name.lower().endswith(Settings().endings)]


def test_eight_orientations_of_one_photo_come_out_the_same() -> None:
    images = []
    for orientation in range(9):
        data = (shared("data/odd") / f"Landscape_{orientation}.jpg").read_bytes()
        turned = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        decoded = decode(data, 224, "exact")
        assert farthest(decoded, square(turned, 224)) <= 8  # the order of turning and resizing rounds differently
        assert np.abs(decoded.pixels.astype(np.int64) - square(turned, 224)).mean() < 0.2
        images.append(decoded.pixels.astype(np.int64))
    for pixels in images[1:]:
        assert np.abs(pixels - images[0]).mean() < 2  # each was compressed anew


def test_every_odd_file_is_decoded_or_rejected_as_pillow_itself_finds_it() -> None:
    files, usable = odd(), 0
    for path in files:
        data, fault = path.read_bytes(), BROKEN.get(path.name)
        with pytest.raises(OSError) if fault else nullcontext(), Image.open(io.BytesIO(data)) as image:  # noqa: PT011
            image.load()
        if fault:
            assert reason(data) == fault
            continue
        decoded = decode(data, 32)
        usable += 1
        assert decoded.pixels.shape == (32, 32, 3)
        assert (decoded.width, decoded.height) == image.size
    assert (usable, len(files)) == (37, 40)


def test_bytes_that_are_no_image_are_rejected_with_the_reason() -> None:
    assert reason(b"") == "zero bytes"
    assert reason(b"path;label\na.jpg;b\n") == "not an image"
    assert reason(bytes(1000)) == "not an image"
    assert reason(b"\x89PNG\r\n\x1a\n" + bytes(100)) == "not an image"
    whole = encoded(Image.effect_noise((200, 150), 60), "PNG")
    assert reason(whole[:2000] + bytes(500) + whole[2500:]) == "damaged"


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("GIF", {}), ("BMP", {}), ("TIFF", {}), ("PPM", {})],
)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_that_ends_early_is_truncated(kind: str, options: dict[str, Any], share: float) -> None:
    data = encoded(Image.effect_noise((200, 150), 60).convert("RGB"), kind, **options)
    for mode in ("fast", "exact"):
        assert reason(data[: int(len(data) * share)], mode=mode) == "truncated"


def test_a_jpeg_that_ends_inside_its_header_is_truncated() -> None:
    assert reason(encoded(scene(), "JPEG")[:100]) == "truncated"


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_webp_or_avif_that_ends_early_is_rejected(kind: str, share: float) -> None:
    data = encoded(Image.effect_noise((200, 150), 60).convert("RGB"), kind)
    assert reason(data[: int(len(data) * share)]) in {"truncated", "damaged", "not an image"}


def test_an_image_with_too_many_pixels_is_rejected_before_memory_is_taken_for_it() -> None:
    assert reason(png(60_000, 60_000, b"")) == "too many pixels"  # 10 GB, if it were decoded
    assert reason(png(1000, 1000, b""), max_pixels=999_999) == "too many pixels"
    assert reason(png(1000, 1000, b""), max_pixels=1_000_000) == "truncated"
    assert decode(encoded(scene(), "PNG"), 8, max_pixels=2400).width == 60
    assert reason(encoded(scene(), "PNG"), max_pixels=2399) == "too many pixels"


def test_exact_is_plain_pillow_bit_for_bit_and_fast_is_near_it() -> None:
    photos = sorted(shared("data/photos").glob("*.jpg"))[::2]
    assert len(photos) == 4
    for path in photos:
        data = path.read_bytes()
        exact, fast = decode(data, 224, "exact"), decode(data, 224, "fast")
        with Image.open(path) as image:
            stored = image.size
            plain = image.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
            plain.getexif()[0x0112] = image.getexif().get(0x0112, 1)
        assert farthest(exact, np.asarray(ImageOps.exif_transpose(plain), np.int64)) == 0
        assert (exact.width, exact.height) == (fast.width, fast.height) == stored
        difference = np.abs(fast.pixels - exact.pixels.astype(np.int64))
        assert 0 < difference.mean() < 0.25  # 0 would say that nothing was shrunk
        assert difference.max() <= 8


def test_fast_shrinks_no_image_below_three_times_the_side_that_is_needed() -> None:
    noise = Image.effect_noise((512, 512), 80).convert("RGB")
    data = encoded(noise, "JPEG", quality=90)
    # A half is 256 = 3 x 85 + 1, a quarter 128 = 3 x 42 + 2.
    for side, factor in ((86, 1), (85, 2), (43, 2), (42, 4)):
        with Image.open(io.BytesIO(data)) as image:
            image.draft("RGB", (512 // factor, 512 // factor))
            assert image.size == (512 // factor, 512 // factor)
            expected = square(image.convert("RGB"), side)
        assert farthest(decode(data, side, "fast"), expected) == 0
