"""Bytes of unknown origin in, RGB pixels out, or one sentence why not. Pillow is imported on first use."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.common.errors import LabError
from core.data.square import Square

if TYPE_CHECKING:
    from PIL import Image as PillowImage

MAX_BYTES = 20_000_000
MAX_PIXELS = 50_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
"""What is decoded, whatever the file is called."""
FORMATS_FOR_PEOPLE = "PNG, JPEG, WebP, BMP or GIF"
LARGE_PIXELS = 2_000_000
"""Above this, an image is reduced by a whole factor while it is read …"""
KEPT_SIDE = 512
"""… that leaves its shorter side at least this long: far more than a model sees, and quick."""
LONG_ASPECT = 3.0
COUNTED_GIF_BYTES = 2_000_000
ORIENTATION_TAG = 0x0112


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DecodedImage:
    """An image as it is meant to be seen."""

    rgb: np.ndarray
    """(H, W, 3) uint8."""
    format: str
    """What the bytes were: PNG, JPEG, WEBP, BMP or GIF."""
    notes: tuple[str, ...] = ()
    """What was done to it that a person should know, each a few words."""


def decode_image(data: bytes) -> DecodedImage:
    """Decode an image by its contents, never by its name. Raises LabError for anything that is not an image.

    Turned as its EXIF says, put on white where it is transparent, first frame where it moves, reduced where it is large.
    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise LabError(f"The file is empty: choose a {FORMATS_FOR_PEOPLE} image.")
    if len(data) > MAX_BYTES:
        raise LabError(
            f"The file has {len(data) / 1e6:.0f} MB and at most {MAX_BYTES / 1e6:.0f} are read: choose a smaller one."
        )
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise LabError(
                    f"The image has {width}×{height} pixels and at most {MAX_PIXELS // 10**6} million are read: scale it "
                    "down first."
                )
            return _decode(image, data)
    except LabError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise LabError(
            f"The image has far more than the {MAX_PIXELS // 10**6} million pixels that are read: scale it down first."
        ) from error
    except UnidentifiedImageError as error:
        raise LabError(f"{_what_it_is(data)}: choose a {FORMATS_FOR_PEOPLE} image.") from error
    except MemoryError as error:
        raise LabError("There is not enough memory to read this image: scale it down first.") from error
    except Exception as error:  # hostile bytes make Pillow's parsers raise nearly anything
        cut = "truncated" in str(error).lower() or isinstance(error, EOFError)
        how = "is cut off before its end" if cut else "is damaged and cannot be decoded"
        raise LabError(f"The image {how}: save or download it again.") from error


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


def _decode(image: PillowImage.Image, data: bytes) -> DecodedImage:
    notes: list[str] = []
    name = "JPEG" if image.format == "MPO" else str(image.format)  # phones add a second image behind a JPEG
    if name != "JPEG" and getattr(image, "is_animated", False):
        notes.append(_animation_note(image, name, len(data)))
    original = image.size
    if name == "JPEG" and (factor := _reduction(*original)) > 1:
        image.draft(None, (original[0] // factor, original[1] // factor))  # the decoder skips what is not needed
    image.load()
    turned = _upright(image)
    if turned is not None:
        notes.append("rotated as its EXIF says")
    photo = image if turned is None else turned
    if photo.mode in ("RGB", "RGBA", "L", "LA", "CMYK") and "transparency" not in photo.info:
        photo = _reduced(photo)  # before copies in other modes are made
    photo = _reduced(_to_rgb(photo, notes))
    if photo.size not in (original, original[::-1]):
        notes.append(f"reduced from {original[0]}×{original[1]} pixels while reading")
    if name == "PNG" and data[24:25] == b"\x10":  # bit depth in the header; Pillow keeps the upper 8 bits of colours
        notes.append("16-bit reduced to 8")
    if max(original) > LONG_ASPECT * min(original):
        notes.append("long and narrow: the model sees one square of it only")
    return DecodedImage(rgb=np.array(photo, dtype=np.uint8), format=name, notes=tuple(notes))


def _reduction(width: int, height: int) -> int:
    """Whole factor by which an image of that size is reduced, 1 for none."""
    return max(1, min(width, height) // KEPT_SIDE) if width * height > LARGE_PIXELS else 1


def _reduced(image: PillowImage.Image) -> PillowImage.Image:
    factor = _reduction(*image.size)
    return image.reduce(factor) if factor > 1 else image


def _animation_note(image: PillowImage.Image, name: str, size_bytes: int) -> str:
    # Counting the frames of a GIF walks the whole file: a crafted one has a million.
    if name == "GIF" and size_bytes > COUNTED_GIF_BYTES:
        return "first frame of an animation"
    return f"first frame of {getattr(image, 'n_frames', 1)}"


def _upright(image: PillowImage.Image) -> PillowImage.Image | None:
    """The image turned and mirrored as its EXIF orientation says, or None where it says nothing usable."""
    from PIL.Image import Transpose

    try:
        orientation = image.getexif().get(ORIENTATION_TAG)
    except Exception:  # a broken EXIF block is no reason to refuse the image
        return None
    steps = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(steps[orientation]) if orientation in steps else None


def _to_rgb(image: PillowImage.Image, notes: list[str]) -> PillowImage.Image:
    """Any mode to RGB of 8 bits, on white where it is transparent; says in `notes` what a person should know."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16-bit grey, whatever the byte order
        grey = np.clip(np.asarray(image), 0, 65535).astype(np.uint16)  # (H, W)
        to_eight = ((np.arange(65536) * 255 + 32767) // 65535).astype(np.uint8)
        if "transparency" in image.info:
            to_eight[image.info["transparency"] & 0xFFFF] = 255
            notes.append("transparency on white")
        return Image.fromarray(to_eight[grey]).convert("RGB")
    if image.mode == "CMYK":
        notes.append("CMYK converted to RGB")
    if image.has_transparency_data:
        if image.mode == "La":
            image = image.convert("LA")
        layer = image.convert("RGBA")
        if np.asarray(layer.getchannel("A")).min() < 255:
            notes.append("transparency on white")
            white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
            return Image.alpha_composite(white, layer).convert("RGB")
        return layer.convert("RGB")
    return image.convert("RGB")


def _what_it_is(data: bytes) -> str:
    """A kind guess at what was given instead of an image we read."""
    head = data[:64]
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return f"This is {'an AVIF' if brand.startswith(b'avi') else 'a HEIC' if brand[:2] in (b'he', b'mi') else 'a video'} file"
    known = {b"II*\0": "a TIFF", b"MM\0*": "a TIFF", b"%PDF": "a PDF", b"PK\x03\x04": "a ZIP", b"<svg": "an SVG"}
    for start, kind in known.items():
        if head.startswith(start):
            return f"This is {kind} file"
    return "This file is not an image we can read"
