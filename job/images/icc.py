"""A picture's embedded colour profile -> what makes sRGB of its pixels, or None. Pillow's ImageCms (lcms2) only."""

from functools import lru_cache
from io import BytesIO
from typing import cast

from PIL import Image, ImageCms

# Profiles of cameras and screens have some kB, of presses one or two MB; nobody needs to take in more.
MAX_PROFILE_BYTES = 4 << 20

# What image editors do by default; of the profiles of cameras and screens all intents make the same.
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_GRAY = ("1", "L", "LA", "La", "I", "F")


def to_srgb(image: Image.Image) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """Return the mode in which an image is to be resized, and what turns pixels of that mode into sRGB.

    `("RGB", None)` for an image without a profile, or with one that is broken or made for another kind of colour: it is
    shown as if it were sRGB, as viewers do. L*a*b* images are their own profile.
    """
    if image.mode == "LAB":
        return "LAB", _transform(None, "LAB")
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or not 0 < len(profile) <= MAX_PROFILE_BYTES:
        return "RGB", None
    gray = image.mode in _GRAY or image.mode.startswith("I;")
    mode = "L" if gray else "CMYK" if image.mode == "CMYK" else "RGB"
    transform = _transform(profile, mode)
    return ("RGB", None) if transform is None else (mode, transform)


# Few: a transform for CMYK and its profile take some MB, and one archive has few kinds of cameras.
@lru_cache(maxsize=8)
def _transform(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        if profile is None:
            source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        else:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        return ImageCms.buildTransform(source, srgb, mode, "RGB", _INTENT, ImageCms.Flags.BLACKPOINTCOMPENSATION)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - broken, or for another kind of colour: it never costs the picture
        return None


def apply(image: Image.Image, transform: ImageCms.ImageCmsTransform | None) -> Image.Image:
    """Return an image, in the mode that `to_srgb` has named, as RGB."""
    if transform is not None:
        try:
            return cast("Image.Image", ImageCms.applyTransform(image, transform))
        except ImageCms.PyCMSError:
            pass
    # Pillow itself cannot leave L*a*b*: the lightness is what is left.
    return (image.getchannel(0) if image.mode == "LAB" else image).convert("RGB")
