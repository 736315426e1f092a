"""Colours as a file's ICC profile means them, brought to sRGB: what screens, datasets and networks take for granted."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from core.common.values import one_line

if TYPE_CHECKING:
    from PIL import Image as PillowImage

MODES = ("L", "RGB", "CMYK")
MAX_PROFILE_BYTES = 4_000_000
"""Those of printing presses have 0.5 to 3 MB."""
SEEN_LEVELS = 2
"""Of 255: a smaller change is rounding, and an image whose profile is sRGB stays as it is."""
NAME_CHARACTERS = 40


def to_srgb(image: PillowImage.Image, profile: bytes) -> tuple[PillowImage.Image, str] | None:
    """The image in sRGB (mode RGB) and the name of the profile it came with.

    image: of a mode in `MODES`. None where the profile changes nothing that can be seen, is broken, or is of another kind
    of image. Converted by Little CMS, relative colorimetric with black point compensation.
    """
    from PIL import ImageChops, ImageCms

    if image.mode not in MODES or not 0 < len(profile) <= MAX_PROFILE_BYTES:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(
            image,
            source,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        name = _clean(ImageCms.getProfileDescription(source))
    except Exception:  # a broken profile is no reason to refuse the image
        return None
    if converted is None:
        return None
    if image.mode != "CMYK":  # without its profile a CMYK image has no colours to compare with
        bands = ImageChops.difference(image.convert("RGB"), converted).getextrema()
        if all(isinstance(high, int | float) and high <= SEEN_LEVELS for _, high in bands):  # type: ignore[misc]
            return None
    return converted, name


def _clean(name: str) -> str:
    """A profile's name for a sentence: it is whatever the file says."""
    return one_line(name, NAME_CHARACTERS) or "its own colour profile"
