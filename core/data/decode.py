"""Bytes of unknown origin in, RGB pixels out, or one sentence why not. Pillow is imported on first use."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.common.errors import LabError
from core.data.colour_profile import to_srgb
from core.data.dataset import Fit
from core.data.png_chunks import SIGNATURE as PNG
from core.data.png_chunks import without_side_notes
from core.data.square import Square

if TYPE_CHECKING:
    from PIL import Image as PillowImage

MAX_BYTES = 20_000_000
MAX_PIXELS = 50_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFormat:
    """A kind of file that is read."""

    title: str
    """For people."""
    suffixes: tuple[str, ...]
    """What such files are called; what is in them decides."""


FORMATS = {
    "PNG": ImageFormat(title="PNG", suffixes=(".png",)),
    "JPEG": ImageFormat(title="JPEG", suffixes=(".jpg", ".jpeg", ".jfif")),
    "WEBP": ImageFormat(title="WebP", suffixes=(".webp",)),
    "BMP": ImageFormat(title="BMP", suffixes=(".bmp",)),
    "GIF": ImageFormat(title="GIF", suffixes=(".gif",)),
    "TIFF": ImageFormat(title="TIFF", suffixes=(".tif", ".tiff")),
    "AVIF": ImageFormat(title="AVIF", suffixes=(".avif",)),
    "HEIF": ImageFormat(title="HEIC", suffixes=(".heic", ".heif", ".hif")),
}
"""What is decoded, by Pillow's names. Sentences, upload boxes and folders follow from it."""
SUFFIXES = tuple(suffix for each in FORMATS.values() for suffix in each.suffixes)
_TITLES = [each.title for each in FORMATS.values()]
FORMATS_FOR_PEOPLE = f"{', '.join(_TITLES[:-1])} or {_TITLES[-1]}"
LARGE_PIXELS = 2_000_000
"""Above this, an image is reduced by a whole factor while it is read …"""
KEPT_SIDE = 512
"""… that leaves its shorter side at least this long: far more than a model sees, and quick."""
LONG_ASPECT = 3.0
LONGEST_PADDED = 1024
"""Longer side of an image that is put onto a square: padding a long, narrow one must not take a gigabyte."""
COUNTED_GIF_BYTES = 2_000_000
ORIENTATION_TAG, BITS_TAG, RAW_TAG = 0x0112, 258, 50706
"""Of EXIF and TIFF; the last is in every DNG, whose first image is a thumbnail."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DecodedImage:
    """An image as it is meant to be seen."""

    rgb: np.ndarray
    """(H, W, 3) uint8."""
    format: str
    """What the bytes were, one of `FORMATS`: its title."""
    size: tuple[int, int]
    """Width and height in the file, pixels."""
    notes: tuple[str, ...] = ()
    """What was done to it that a person should know, each a few words."""


def decode_image(data: bytes) -> DecodedImage:
    """Decode an image by its contents, never by its name. Raises LabError for anything that is not an image.

    Turned as its EXIF says, in the colours its profile means, put on white where it is transparent, first frame where it
    moves, reduced where it is large.
    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise LabError(f"The file is empty: choose a {FORMATS_FOR_PEOPLE} image.")
    if len(data) > MAX_BYTES:
        raise LabError(
            f"The file has {len(data) / 1e6:.0f} MB and at most {MAX_BYTES / 1e6:.0f} are read: choose a smaller one."
        )
    if data.startswith(PNG):
        data = without_side_notes(data)
    try:
        with Image.open(io.BytesIO(data), formats=_formats_to_try(data)) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise LabError(
                    f"The image has {width}×{height} pixels and at most {MAX_PIXELS // 10**6} million are read: scale it "
                    "down first."
                )
            if RAW_TAG in getattr(image, "tag_v2", ()):
                raise LabError("This is a camera's raw file: export it as JPEG or PNG first.")
            return _decode(image, data)
    except LabError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise LabError(
            f"The image has far more than the {MAX_PIXELS // 10**6} million pixels that are read: scale it down first."
        ) from error
    except UnidentifiedImageError as error:
        raise LabError(_what_it_is(data)) from error
    except MemoryError as error:
        raise LabError("There is not enough memory to read this image: scale it down first.") from error
    except Exception as error:  # hostile bytes make Pillow's parsers raise nearly anything
        cut = "truncated" in str(error).lower() or isinstance(error, EOFError)
        how = "is cut off before its end" if cut else "is damaged and cannot be decoded"
        raise LabError(f"The image {how}: save or download it again.") from error


def image_format(head: bytes) -> str | None:
    """What an image file's first 32 bytes say it is, whatever its name: None for anything that is no image."""
    if head[4:8] == b"ftyp":
        return "AVIF" if head[8:11] == b"avi" else "HEIC" if head[8:10] in (b"he", b"mi") else None
    if head[:4] == b"RIFF":
        return "WEBP" if head[8:12] == b"WEBP" else None
    starts = {b"\x89PNG\r\n": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"II*\0": "TIFF", b"MM\0*": "TIFF"}
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return "BMP"
    return next((name for start, name in starts.items() if head.startswith(start)), None)


def shorter_side(path: Path) -> int | None:
    """Of an image file, pixels, from its header alone; None where that cannot be read."""
    from PIL import Image

    try:
        with path.open("rb") as file:
            formats = _formats_to_try(file.read(32))
        with Image.open(path, formats=formats) as image:
            return min(image.size)
    except Exception:  # hostile bytes make Pillow's parsers raise nearly anything
        return None


def model_input(rgb: np.ndarray, size: int, fit: Fit = "crop", square: Square | None = None) -> np.ndarray:
    """What a network gets of an image (H, W, 3) uint8: (size, size, 3) uint8. square: of the image, or of all of it on grey."""
    return fit_to_model(pad_to_square(rgb) if fit == "whole" else rgb, size, square)


def pad_to_square(rgb: np.ndarray) -> np.ndarray:
    """The whole image (H, W, 3) uint8 in the middle of a mid-grey square (S, S, 3), reduced where it is very long."""
    from PIL import Image

    height, width = rgb.shape[:2]
    if height == width:
        return rgb
    photo = Image.fromarray(np.ascontiguousarray(rgb))
    photo.thumbnail((LONGEST_PADDED, LONGEST_PADDED), Image.Resampling.BICUBIC, reducing_gap=3.0)
    side = max(photo.size)
    square = Image.new("RGB", (side, side), (128, 128, 128))
    square.paste(photo, ((side - photo.width) // 2, (side - photo.height) // 2))
    return np.asarray(square)


def fit_to_model(rgb: np.ndarray, size: int = 32, square: Square | None = None) -> np.ndarray:
    """A square of `rgb` (H, W, 3) uint8, resized with antialiasing to (size, size, 3) uint8.

    square: by default the central one. An image that already has that size comes back untouched without it.
    """
    from PIL import Image

    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
        raise LabError(
            f"Pixels of shape {rgb.shape} and type {rgb.dtype} are not an image: (H, W, 3) of uint8 is needed."
        )
    if rgb.shape[:2] == (size, size) and square is None:
        return rgb
    seen = Image.fromarray(np.ascontiguousarray(crop_square(rgb, square)))
    return np.asarray(seen.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=3.0))


def crop_square(rgb: np.ndarray, square: Square | None = None) -> np.ndarray:
    """(S, S, 3): a square of an image (H, W, 3); by default the largest one in the middle."""
    if square is not None:
        return square.crop(rgb)
    height, width = rgb.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return rgb[top : top + side, left : left + side]


def _formats_to_try(data: bytes) -> tuple[str, ...]:
    """Those that the first bytes allow: the plugin for HEIC is loaded for such a file only."""
    boxes = ("AVIF", "HEIF")
    if data[4:8] != b"ftyp":
        return tuple(name for name in FORMATS if name not in boxes)
    _register_heif()
    return boxes


@cache
def _register_heif() -> None:
    import pi_heif

    pi_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)


def _decode(image: PillowImage.Image, data: bytes) -> DecodedImage:
    notes: list[str] = []
    name = "JPEG" if image.format == "MPO" else str(image.format)  # phones add a second image behind a JPEG
    if name != "JPEG" and getattr(image, "is_animated", False):
        notes.append(_frames_note(image, name, len(data)))
    original = image.size
    if name == "JPEG" and (factor := _reduction(*original)) > 1:
        image.draft(None, (original[0] // factor, original[1] // factor))  # the decoder skips what is not needed
    turn = _turn(image)
    image.load()
    photo = image
    if turn is not None:
        notes.append("rotated as its EXIF says")
        photo = image if name == "TIFF" else image.transpose(turn)  # Pillow turns a TIFF while it loads
    if photo.mode in ("RGB", "RGBA", "L", "LA", "CMYK", "I", "F") and "transparency" not in photo.info:
        photo = _reduced(photo)  # before copies in other modes are made
    photo = _reduced(_to_rgb(photo, notes))
    if photo.size not in (original, original[::-1]):
        notes.append(f"reduced from {original[0]}×{original[1]} pixels while reading")
    if (bits := _bits(image, name, data)) > 8:
        notes.append(f"{bits}-bit reduced to 8")
    if max(original) > LONG_ASPECT * min(original):
        notes.append("long and narrow: the model sees one square of it only")
    return DecodedImage(
        rgb=np.array(photo, dtype=np.uint8), format=FORMATS[name].title, size=original, notes=tuple(notes)
    )


def _bits(image: PillowImage.Image, name: str, data: bytes) -> int:
    """Of each value in the file; Pillow keeps the upper 8 of colours. 8 where the format has no more, or does not say."""
    if name == "PNG":
        return data[24]
    return max(image.tag_v2.get(BITS_TAG, (8,))) if name == "TIFF" else 8  # type: ignore[attr-defined]


def _reduction(width: int, height: int) -> int:
    """Whole factor by which an image of that size is reduced, 1 for none."""
    return max(1, min(width, height) // KEPT_SIDE) if width * height > LARGE_PIXELS else 1


def _reduced(image: PillowImage.Image) -> PillowImage.Image:
    factor = _reduction(*image.size)
    return image.reduce(factor) if factor > 1 else image


def _frames_note(image: PillowImage.Image, name: str, size_bytes: int) -> str:
    # Counting frames of a GIF or pages of a TIFF walks the whole file: a crafted one has a million.
    if name == "TIFF":
        return "first page of several"
    if name == "GIF" and size_bytes > COUNTED_GIF_BYTES:
        return "first frame of an animation"
    which = "main image" if name == "HEIF" else "first frame"
    return f"{which} of {getattr(image, 'n_frames', 1)}"


def _turn(image: PillowImage.Image) -> PillowImage.Transpose | None:
    """How the image has to be turned and mirrored by its EXIF orientation; None where that says nothing usable."""
    from PIL.Image import Transpose

    try:
        orientation = int(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # a broken EXIF block is no reason to refuse the image
        return None
    return {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation)


def _to_rgb(image: PillowImage.Image, notes: list[str]) -> PillowImage.Image:
    """Any mode to sRGB of 8 bits, on white where it is transparent; says in `notes` what a person should know."""
    from PIL import Image

    profile, alpha = image.info.get("icc_profile"), None
    if image.mode.startswith(("I", "F")):
        image = _grey_of_8_bits(image, notes)
    plain = "L" if image.mode in ("1", "L", "LA", "La") else "CMYK" if image.mode == "CMYK" else "RGB"
    if image.has_transparency_data:
        layer = image.convert("LA" if plain == "L" else "RGBA")
        alpha = layer.getchannel("A")
        image = layer
    image = image if image.mode == plain else image.convert(plain)
    found = to_srgb(image, profile) if isinstance(profile, bytes) else None
    if found:
        image, title = found
        notes.append(f"converted from {title}")
    elif plain == "CMYK":
        notes.append("CMYK converted to RGB")
    image = image.convert("RGB")
    if alpha is None or np.asarray(alpha).min() == 255:
        return image
    notes.append("transparency on white")
    return Image.composite(image, Image.new("RGB", image.size, (255, 255, 255)), alpha)


def _grey_of_8_bits(image: PillowImage.Image, notes: list[str]) -> PillowImage.Image:
    """Grey of 16 bits, or of 32 bits as measuring devices write it, to mode L."""
    from PIL import Image

    values = np.asarray(image)  # (H, W)
    if image.mode in ("I", "F"):
        values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        low, high = float(values.min()), float(values.max())
        notes.append(f"brightness stretched from {low:.4g} to {high:.4g}")
        return Image.fromarray(np.round((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8))
    to_eight = ((np.arange(65536) * 255 + 32767) // 65535).astype(np.uint8)
    if "transparency" in image.info:
        to_eight[image.info["transparency"] & 0xFFFF] = 255
        notes.append("transparency on white")
    return Image.fromarray(to_eight[values.astype(np.uint16)])


def _what_it_is(data: bytes) -> str:
    """A kind guess at what was given instead of an image we read, and what to do."""
    head, ours, kind = data[:64], "", "not an image we can read"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        ours = "TIFF"
    elif head[4:8] == b"ftyp":
        ours = {b"av": "AVIF", b"he": "HEIC", b"mi": "HEIC", b"ms": "HEIC"}.get(head[8:10], "")
        kind = "a video file"
    if ours:
        return f"This {ours} file is damaged or of a rare kind: save it as JPEG or PNG."
    known = {b"%PDF": "a PDF file", b"PK\x03\x04": "a ZIP file", b"<svg": "an SVG file", b"8BPS": "a Photoshop file"}
    kind = next((each for start, each in known.items() if head.startswith(start)), kind)
    return f"This file is {kind}: choose a {FORMATS_FOR_PEOPLE} image."
