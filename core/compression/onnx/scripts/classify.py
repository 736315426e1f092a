"""Classify images as Bottleneck Lab does: probabilities, and a warning where an image is probably none of the classes.

    pip install numpy onnxruntime pillow
    python classify.py image.png [more images]
    python classify.py --json image.png

HEIC files need `pip install pi-heif` as well. The ONNX file lies beside this script, or is named by --model.
"""

from __future__ import annotations

import argparse
import io
import json
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageChops, ImageCms

MODEL = "net.onnx"
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
BOXED = ("AVIF", "HEIF")
MAX_BYTES, MAX_PIXELS = 20_000_000, 50_000_000
LARGE_PIXELS, KEPT_SIDE, LONGEST_PADDED = 2_000_000, 512, 1024
SHOWN = (b"tRNS", b"iCCP", b"eXIf", b"acTL", b"fcTL", b"fdAT")
MAX_UNPACKED_PROFILE, MAX_PROFILE, SEEN_LEVELS = 1_000_000, 4_000_000, 2
ORIENTATION, RAW = 0x0112, 50706
KEYS = ("labels", "mean", "std", "image_size", "fit", "temperature", "tta", "threshold", "distance")
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""EXIF orientation -> Pillow's number of the turn that undoes it."""


def read_image(data: bytes) -> np.ndarray:
    """Bytes of an image file to its pixels (H, W, 3) uint8: turned as its EXIF says, in sRGB, on white where it is transparent.
    Raises ValueError for what is refused."""
    if not 0 < len(data) <= MAX_BYTES:
        raise ValueError(f"it has {len(data):,} bytes: 1 to {MAX_BYTES:,} are read")
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        data = without_side_notes(data)
    with Image.open(io.BytesIO(data), formats=formats_to_try(data)) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ValueError(f"it has {width}x{height} pixels: at most {MAX_PIXELS:,} are read")
        if RAW in getattr(image, "tag_v2", ()):
            raise ValueError("it is a camera's raw file: export it as JPEG or PNG first")
        jpeg, factor = image.format in ("JPEG", "MPO"), reduction(width, height)
        if jpeg and factor > 1:
            image.draft(None, (width // factor, height // factor))  # the decoder skips what is not needed
        turn = turn_of(image)
        image.load()
        photo: Image.Image = image
        if turn is not None and image.format != "TIFF":  # Pillow turns a TIFF while it loads
            photo = image.transpose(Image.Transpose(turn))
        if photo.mode in ("RGB", "RGBA", "L", "LA", "CMYK", "I", "F") and "transparency" not in photo.info:
            photo = reduced(photo)
        return np.array(reduced(to_rgb(photo)), np.uint8)


def formats_to_try(data: bytes) -> tuple[str, ...]:
    if data[4:8] != b"ftyp":
        return FORMATS
    try:
        import pi_heif

        pi_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    except ImportError:
        if data[8:11] != b"avi":
            raise ValueError("it is a HEIC file: pip install pi-heif") from None
        return BOXED[:1]
    return BOXED


def without_side_notes(data: bytes) -> bytes:
    """A PNG without the chunks that no viewer shows: Pillow refuses images for long texts or wrong checksums in them."""
    at, kept, profiles = 8, [data[:8]], 0
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data) or not kind.isalpha():
            break
        critical = not kind[0] & 0x20
        if critical or kind in SHOWN:
            content = data[at + 4 : end - 4]
            sound = zlib.crc32(content) == int.from_bytes(data[end - 4 : end], "big")
            if critical and not sound:
                raise ValueError("it is damaged")
            profiles += sound and kind == b"iCCP"
            if sound and (kind != b"iCCP" or (profiles == 1 and unpacks(content[4:]))):
                kept.append(data[at:end])
        at = end
        if kind == b"IEND":
            return b"".join(kept)
    return b"".join((*kept, data[at:]))


def unpacks(profile: bytes) -> bool:
    """Whether a packed colour profile is small once it is unpacked."""
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(profile.partition(b"\0")[2][1:], MAX_UNPACKED_PROFILE)
    except zlib.error:
        return False
    return not unpacker.unconsumed_tail


def turn_of(image: Image.Image) -> int | None:
    try:
        return TURNS.get(int(image.getexif().get(ORIENTATION, 1)))
    except Exception:  # a broken EXIF block is no reason to refuse the image
        return None


def reduction(width: int, height: int) -> int:
    """Whole factor by which an image of that size is reduced, 1 for none."""
    return max(1, min(width, height) // KEPT_SIDE) if width * height > LARGE_PIXELS else 1


def reduced(image: Image.Image) -> Image.Image:
    factor = reduction(*image.size)
    return image.reduce(factor) if factor > 1 else image


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to sRGB of 8 bits, on white where it is transparent."""
    profile, alpha = image.info.get("icc_profile"), None
    if image.mode.startswith(("I", "F")):
        image = grey_of_8_bits(image)
    plain = "L" if image.mode in ("1", "L", "LA", "La") else "CMYK" if image.mode == "CMYK" else "RGB"
    if image.has_transparency_data:
        image = image.convert("LA" if plain == "L" else "RGBA")
        alpha = image.getchannel("A")
    image = image if image.mode == plain else image.convert(plain)
    image = to_srgb(image, profile).convert("RGB")
    if alpha is None or np.asarray(alpha).min() == 255:
        return image
    return Image.composite(image, Image.new("RGB", image.size, (255, 255, 255)), alpha)


def to_srgb(image: Image.Image, profile: Any) -> Image.Image:
    """The image in sRGB; as it is where its profile is broken, or changes nothing that can be seen."""
    if not isinstance(profile, bytes) or not 0 < len(profile) <= MAX_PROFILE:
        return image
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
        ImageCms.getProfileDescription(source)
    except Exception:  # a broken profile is no reason to refuse the image
        return image
    if converted is None or image.mode == "CMYK":  # without its profile a CMYK image has no colours to compare with
        return converted or image
    seen = np.asarray(ImageChops.difference(image.convert("RGB"), converted)).max() > SEEN_LEVELS
    return converted if seen else image


def grey_of_8_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits, or of 32 bits as measuring devices write it, to 8 bits."""
    values = np.asarray(image)
    if image.mode in ("I", "F"):
        values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        low, high = float(values.min()), float(values.max())
        return Image.fromarray(np.round((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8))
    to_eight = ((np.arange(65536) * 255 + 32767) // 65535).astype(np.uint8)
    if "transparency" in image.info:
        to_eight[image.info["transparency"] & 0xFFFF] = 255
    return Image.fromarray(to_eight[values.astype(np.uint16)])


def model_input(rgb: np.ndarray, side: int, fit: str) -> np.ndarray:
    """Pixels (H, W, 3) uint8 to what the network sees: the square in the middle, or all of it on grey; (side, side, 3) uint8."""
    height, width = rgb.shape[:2]
    if fit == "whole" and height != width:
        photo = Image.fromarray(rgb)
        photo.thumbnail((LONGEST_PADDED, LONGEST_PADDED), Image.Resampling.BICUBIC, reducing_gap=3.0)
        square = Image.new("RGB", (max(photo.size),) * 2, (128, 128, 128))
        square.paste(photo, ((square.width - photo.width) // 2, (square.height - photo.height) // 2))
        rgb = np.asarray(square)
        height, width = rgb.shape[:2]
    if (height, width) == (side, side):
        return rgb
    shorter = min(height, width)
    top, left = (height - shorter) // 2, (width - shorter) // 2
    seen = Image.fromarray(np.ascontiguousarray(rgb[top : top + shorter, left : left + shorter]))
    return np.asarray(seen.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0))


def open_network(path: str | Path) -> tuple[onnxruntime.InferenceSession, dict[str, Any]]:
    """The session and what the file says about itself."""
    options = onnxruntime.SessionOptions()
    # int8 only: x86 without VNNI would add up in 16 bits, which overflows. Elsewhere this only costs speed.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    texts = session.get_modelmeta().custom_metadata_map
    return session, {key: json.loads(texts[key]) for key in KEYS}


def views(images: np.ndarray, tta: str) -> tuple[np.ndarray, np.ndarray]:
    """What the network is asked about images (1, 3, H, W), the image itself first, and the weights of its answers."""
    shares = [(1.0, images)]
    if tta == "flip+shift":
        padded, side = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect"), images.shape[-1]
        moved = [padded[..., at : at + side, at : at + side] for at in (0, 2)]
        shares = [(0.5, images), *((0.25, view) for view in moved)]
    if tta != "none":
        shares = [(share / 2, each) for share, view in shares for each in (view, view[..., ::-1])]
    return np.concatenate([view for _, view in shares]), np.array([share for share, _ in shares])


def answer(session: Any, about: dict[str, Any], pixels: np.ndarray) -> tuple[np.ndarray, bool]:
    """Probabilities of the classes, and whether the image is probably none of them. pixels: (side, side, 3) uint8."""
    images = (pixels.astype(np.float32) / 255 - np.float32(about["mean"])) / np.float32(about["std"])
    images, shares = views(images.transpose(2, 0, 1)[None], about["tta"])
    logits, *distances = session.run(None, {"images": images})
    logits = shares @ logits.astype(np.float64)
    score, by = -log_sum_exp(logits), about["distance"]
    if by:  # the warning also goes by the distance to training images
        score = (score - by["energy_mean"]) / by["energy_sd"]
        score += (float(distances[0][0]) - by["distance_mean"]) / by["distance_sd"]
    scaled = logits / about["temperature"]
    warned = about["threshold"] is not None and score > about["threshold"]
    return np.exp(scaled - log_sum_exp(scaled)), bool(warned)


def log_sum_exp(values: np.ndarray) -> float:
    return float(values.max() + np.log(np.exp(values - values.max()).sum()))


def main() -> int:
    parser = argparse.ArgumentParser(description="Classify images: probabilities, and a warning for what is no class.")
    parser.add_argument("images", nargs="+", help="image files")
    parser.add_argument("--model", default=Path(__file__).with_name(MODEL), help="the ONNX file")
    parser.add_argument("--json", action="store_true", help="all probabilities, one line of JSON for each image")
    arguments = parser.parse_args()
    try:
        session, about = open_network(arguments.model)
    except Exception as error:  # ONNX Runtime has an exception class for each of its codes
        parser.error(f"{arguments.model} cannot be opened: {error}")
    refused = False
    for name in arguments.images:
        try:
            with open(name, "rb") as file:
                rgb = read_image(file.read(MAX_BYTES + 1))
        except Exception as error:  # damaged files make Pillow raise nearly anything
            print(f"{name} was not read: {str(error) or type(error).__name__}", file=sys.stderr)
            refused = True
            continue
        probabilities, warned = answer(session, about, model_input(rgb, about["image_size"], about["fit"]))
        found = dict(zip(about["labels"], probabilities.tolist(), strict=True))
        if arguments.json:
            print(json.dumps({"file": name, "probabilities": found, "probably_none_of_these": warned}))
            continue
        print(name)
        for label in sorted(found, key=lambda name: -found[name])[:5]:
            print(f"{found[label]:8.1%}  {label}")
        if warned:
            print("  Probably none of these classes.")
    return int(refused)


if __name__ == "__main__":
    sys.exit(main())
