"""An image's embedded color profile in, the transform of its pixels to sRGB out. Pillow's ImageCms (lcms2) only."""

from functools import lru_cache
from io import BytesIO
from typing import cast

from PIL import Image, ImageCms

# Profiles of cameras and screens have some kB, those of presses one or two MB; a larger one is not worth parsing.
MAX_PROFILE_BYTES = 4 << 20

# The default of image editors; for the profiles of cameras and screens all intents give the same.
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_GRAY = ("1", "L", "LA", "La", "I", "F")


def to_srgb(image: Image.Image) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """Return the mode to resize an image in, and the transform of that mode's pixels to sRGB.

    An image without a profile, or whose profile is broken or made for other color models, gives `("RGB", None)`: it
    counts as sRGB, as in viewers. L*a*b* images need no profile.
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


# A small cache: a CMYK transform and its profile take some MB, and one archive has few kinds of cameras.
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
    except Exception:  # noqa: BLE001 - broken, or for another color model: it never costs the image
        return None


def apply(image: Image.Image, transform: ImageCms.ImageCmsTransform | None) -> Image.Image:
    """Return an image, in the mode that `to_srgb` returned, as RGB."""
    if transform is not None:
        try:
            return cast("Image.Image", ImageCms.applyTransform(image, transform))
        except ImageCms.PyCMSError:
            pass
    # Pillow itself cannot convert from L*a*b*; its lightness serves as gray.
    return (image.getchannel(0) if image.mode == "LAB" else image).convert("RGB")
