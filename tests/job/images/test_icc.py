"""Embedded color profiles, made here byte by byte, against color arithmetic in floating point."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from job.images import icc
from job.images.decode import decode
from tests.job.images.test_decode import encoded, farthest, scene, square

Array = NDArray[np.float64]

# Columns: what full red, green and blue are in XYZ, adapted to D50 (the ICC's sRGB, Display P3, Adobe RGB 1998).
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
DISPLAY_P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
ADOBE = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])


def fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def xyz(values: Array) -> bytes:
    return b"XYZ \0\0\0\0" + fixed(*values)


def gamma(exponent: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256)) + b"\0\0"


def profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Return an ICC profile, version 2.4 (ICC.1:2001-04, clause 6)."""
    white = {b"wtpt": xyz(np.array([0.9642, 1.0, 0.8249])), b"desc": b"desc\0\0\0\0\0\0\0\2x\0" + bytes(79)}
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags | white)
    for name, content in (tags | white).items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    rest = struct.pack(">4sI4s4s4s", b"\0\0\0\0", 0x02400000, kind, space, connection) + bytes(12) + b"acsp" + bytes(28)
    rest += fixed(0.9642, 1.0, 0.8249) + bytes(48)
    content = struct.pack(">I", len(tags | white)) + table + body
    return struct.pack(">I", 4 + len(rest) + len(content)) + rest + content


def rgb_profile(primaries: Array, exponent: float) -> bytes:
    columns = {b"rXYZ": xyz(primaries[:, 0]), b"gXYZ": xyz(primaries[:, 1]), b"bXYZ": xyz(primaries[:, 2])}
    curves = dict.fromkeys([b"rTRC", b"gTRC", b"bTRC"], gamma(exponent))
    return profile(b"mntr", b"RGB ", b"XYZ ", columns | curves)


def gray_profile(exponent: float) -> bytes:
    return profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": gamma(exponent)})


# What the press of the test makes of each ink alone: L*, a*, b*.
INKS = {"cyan": (60, -35, -45), "magenta": (50, 70, 0), "yellow": (90, -5, 85), "black": (0, 0, 0)}


def cmyk_profile() -> bytes:
    """Return a press as a table of two points an ink; of several inks it shows the last."""
    corners = []
    for corner in np.ndindex(2, 2, 2, 2):
        printed = [lab for lab, ink in zip(INKS.values(), corner, strict=True) if ink]
        lab = printed[-1] if printed else (100, 0, 0)
        corners += [round(lab[0] * 2.55), lab[1] + 128, lab[2] + 128]
    straight = bytes(range(256))
    head = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    return profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": head + straight * 4 + bytes(corners) + straight * 3})


def shown(stored: Any, primaries: Array, exponent: float) -> Array:
    """Return the sRGB bytes of RGB bytes of another space (IEC 61966-2-1 for the curve of sRGB)."""
    linear = (np.asarray(stored, np.float64) / 255) ** exponent @ primaries.T @ np.linalg.inv(SRGB).T
    return curve(np.clip(linear, 0, 1))


def curve(linear: Array) -> Array:
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def lab_shown(lab: tuple[float, float, float]) -> Array:
    """Return the sRGB bytes of a color in CIELAB under D50."""
    y = (lab[0] + 16) / 116
    cubes = [y + lab[1] / 500, y, y - lab[2] / 200]
    linear = [value**3 if value > 6 / 29 else 3 * (6 / 29) ** 2 * (value - 4 / 29) for value in cubes]
    return curve(np.clip(np.linalg.inv(SRGB) @ (np.array(linear) * [0.9642, 1, 0.8249]), 0, 1))


COLORS = [(200, 100, 50), (90, 160, 60), (30, 60, 200), (128, 128, 128), (255, 255, 255), (0, 0, 0), (250, 240, 20)]


@pytest.mark.parametrize(("primaries", "exponent"), [(DISPLAY_P3, 2.2), (ADOBE, 2.19921875)], ids=["P3", "Adobe"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_a_profile_is_brought_to_srgb(kind: str, primaries: Array, exponent: float) -> None:
    embedded = rgb_profile(primaries, exponent)
    options = {"lossless": True} if kind == "WEBP" else {}
    for stored in COLORS:
        data = encoded(Image.new("RGB", (9, 9), stored), kind, icc_profile=embedded, **options)
        np.testing.assert_allclose(decode(data, 4).pixels[0, 0], shown(stored, primaries, exponent), atol=2)
    # A test with colors that every space shows alike would prove nothing.
    assert np.abs(shown(COLORS[1], primaries, exponent) - COLORS[1]).max() > 15


def test_jpeg_palette_and_transparency_have_their_profiles_applied_as_well() -> None:
    embedded = rgb_profile(ADOBE, 2.2)
    expected = shown((200, 100, 50), ADOBE, 2.2)
    flat = Image.new("RGB", (16, 16), (200, 100, 50))
    for image, kind in (
        (flat, "JPEG"),
        (flat.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
        (flat.convert("RGBA"), "PNG"),
    ):
        data = encoded(
            image, kind, icc_profile=embedded, **({"quality": 100, "subsampling": 0} if kind == "JPEG" else {})
        )
        np.testing.assert_allclose(decode(data, 8).pixels[4, 4], expected, atol=3)
    clear = encoded(Image.new("RGBA", (9, 9), (200, 100, 50, 0)), "PNG", icc_profile=embedded)
    assert (decode(clear, 8).pixels == 255).all()


def test_gray_and_its_profile() -> None:
    for value, expected in ((0, 0), (128, 188), (255, 255)):  # 128 / 255 of the light is 188 in sRGB
        data = encoded(Image.new("L", (9, 9), value), "PNG", icc_profile=gray_profile(1.0))
        np.testing.assert_allclose(decode(data, 4).pixels[0, 0], [expected] * 3, atol=1)
    deep = Image.fromarray(np.full((9, 9), 128 * 257, np.uint16))
    data = encoded(deep, "PNG", icc_profile=gray_profile(1.0))
    np.testing.assert_allclose(decode(data, 4).pixels[0, 0], [188] * 3, atol=1)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_look_as_their_press_prints_them(kind: str) -> None:
    embedded = cmyk_profile()
    for index, lab in enumerate(INKS.values()):
        inks = tuple(255 * (index == place) for place in range(4))
        options = {"quality": 100} if kind == "JPEG" else {}
        data = encoded(Image.new("CMYK", (16, 16), inks), kind, icc_profile=embedded, **options)
        np.testing.assert_allclose(decode(data, 4).pixels[0, 0], lab_shown(lab), atol=4)
    paper = encoded(Image.new("CMYK", (16, 16)), kind, icc_profile=embedded)
    assert (decode(paper, 4).pixels >= 253).all()


def test_lab_images_have_the_colors_that_they_name() -> None:
    for lab in ((60, -35, -45), (50, 60, 20), (90, -5, 60), (100, 0, 0)):
        stored = (round(lab[0] * 2.55), lab[1] + 128, lab[2] + 128)
        data = encoded(Image.new("LAB", (9, 9), stored), "TIFF")
        np.testing.assert_allclose(decode(data, 4).pixels[0, 0], lab_shown(lab), atol=3)


def test_the_profile_of_srgb_itself_changes_next_to_nothing() -> None:
    embedded = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert farthest(decode(encoded(scene(), "PNG", icc_profile=embedded), 48), square(scene(), 48)) <= 1


WHOLE = rgb_profile(ADOBE, 2.2)
IGNORED = {
    "empty": b"",
    "rubbish": b"not a profile",
    "cut short": WHOLE[: len(WHOLE) // 2],
    "header only": WHOLE[:128],
    "tags past the end": WHOLE[:132] + b"\xff" * 48 + WHOLE[180:],
    "no colors": profile(b"mntr", b"RGB ", b"XYZ ", {}),
    "of gray": gray_profile(1.0),
    "of inks": cmyk_profile(),
    "a link between two devices": profile(b"link", b"RGB ", b"RGB ", {}),
    "huge": WHOLE + bytes(icc.MAX_PROFILE_BYTES),
}


@pytest.mark.parametrize("name", IGNORED)
def test_a_profile_that_cannot_be_used_is_ignored(name: str) -> None:
    # In a PNG Pillow itself takes no profile above 1 MB, and rejects the image.
    for kind in ("TIFF" if name == "huge" else "PNG", "JPEG"):
        options = {} if kind != "JPEG" else {"quality": 98, "subsampling": 0}
        if kind == "JPEG" and name == "huge":
            continue  # more than a JPEG's markers hold
        data = encoded(scene(), kind, icc_profile=IGNORED[name], **options)
        assert farthest(decode(data, 48), square(scene(), 48)) <= (0 if kind != "JPEG" else 4)


def test_a_profile_of_rgb_is_ignored_in_images_of_gray_and_of_inks() -> None:
    for image in (scene().convert("L"), scene().convert("CMYK")):
        plain = decode(encoded(image, "TIFF"), 48)
        found = decode(encoded(image, "TIFF", icc_profile=WHOLE), 48)
        assert farthest(found, plain.pixels.astype(np.int64)) == 0


def test_a_transform_is_made_once_a_profile() -> None:
    data = encoded(scene(), "PNG", icc_profile=rgb_profile(DISPLAY_P3, 1.8))
    icc._transform.cache_clear()
    for _ in range(5):
        decode(data, 32)
    assert icc._transform.cache_info()[:2] == (4, 1)
    # Profiles of an archive with many kinds of them do not pile up.
    for index in range(20):
        decode(encoded(scene(), "PNG", icc_profile=rgb_profile(ADOBE, 1.5 + index / 20)), 32)
    assert icc._transform.cache_info().currsize <= 8


def test_the_profiles_of_the_tests_are_what_pillow_takes_them_for() -> None:
    for made, space in ((WHOLE, "RGB"), (gray_profile(1.0), "GRAY"), (cmyk_profile(), "CMYK")):
        assert ImageCms.ImageCmsProfile(io.BytesIO(made)).profile.xcolor_space.strip() == space
