"""Colours of a profile against the arithmetic of its definition: primaries, transfer curve, then sRGB's."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from core.data.decode import decode_image

D50 = (0.9642, 1.0, 0.8249)
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141))
DISPLAY_P3 = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
"""XYZ of red, green and blue, adapted to D50: what these profiles say of themselves."""
ADOBE_GAMMA = 563 / 256
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def profile(
    title: str, primaries: tuple[tuple[float, ...], ...], curve: tuple[float, ...], space: bytes = b"RGB "
) -> bytes:
    """A version 4 ICC profile for displays. primaries: XYZ of each channel; none for grey. curve: one exponent, or the five
    numbers of sRGB's kind. Source: ICC.1:2022, sections 7 to 10."""

    def text(words: str) -> bytes:
        coded = words.encode("utf-16-be")
        return b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(coded), 28) + coded

    bend = b"para" + struct.pack(">IHH", 0, 0 if len(curve) == 1 else 3, 0) + fixed(*curve)
    tags = {b"desc": text(title), b"cprt": text("none"), b"wtpt": b"XYZ " + bytes(4) + fixed(*D50)}
    for name, xyz in zip((b"r", b"g", b"b"), primaries, strict=False):
        tags |= {name + b"XYZ": b"XYZ " + bytes(4) + fixed(*xyz), name + b"TRC": bend}
    if not primaries:
        tags[b"kTRC"] = bend
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        table += tag + struct.pack(">II", at + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = (
        struct.pack(">I4sI4s4s4s", at + len(body), bytes(4), 0x04300000, b"mntr", space, b"XYZ ") + bytes(12) + b"acsp"
    )
    head = head.ljust(68, b"\0") + fixed(*D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


P3 = profile("Display P3", DISPLAY_P3, SRGB_CURVE)
ADOBE = profile("Adobe RGB (1998)", ADOBE_RGB, (ADOBE_GAMMA,))


def decode_srgb(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def encode_srgb(light: np.ndarray) -> np.ndarray:
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def in_srgb(rgb: np.ndarray, primaries: Any, to_light: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What sRGB calls these colours. rgb: (..., 3), 0 to 255."""
    xyz = to_light(rgb / 255) @ np.array(primaries)
    return encode_srgb(xyz @ np.linalg.inv(np.array(SRGB))) * 255


COLOURS = np.array([[[150, 90, 60], [60, 140, 90]], [[90, 90, 160], [200, 180, 150]]], np.uint8)
"""Inside sRGB in each of these spaces, so nothing is clipped."""


def encode(pixels: np.ndarray, kind: str, icc: bytes, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels.repeat(16, axis=0).repeat(16, axis=1))
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    image.save(buffer, kind, icc_profile=icc, **options)
    return buffer.getvalue()


def middles(rgb: np.ndarray) -> np.ndarray:
    """The colour in the middle of each block of `encode`."""
    return rgb[8::16, 8::16].astype(int)


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 1),
        ("TIFF", {}, 1),
        ("WEBP", {"lossless": True}, 1),
        ("JPEG", {"quality": 100, "subsampling": 0}, 3),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}, 3),
        ("HEIF", {"quality": -1, "chroma": 444}, 3),
    ],
)
def test_display_p3_becomes_srgb_in_every_format(kind: str, options: dict[str, Any], tolerance: int) -> None:
    result = decode_image(encode(COLOURS, kind, P3, **options))
    expected = in_srgb(COLOURS, DISPLAY_P3, decode_srgb)
    assert np.abs(expected - COLOURS).max() > 8, "the planted colours tell the spaces apart"
    assert result.notes == ("converted from Display P3",)
    assert np.abs(middles(result.rgb) - expected).max() <= tolerance


def test_adobe_rgb_becomes_srgb_and_what_lies_outside_is_clipped() -> None:
    result = decode_image(encode(COLOURS, "PNG", ADOBE))
    expected = in_srgb(COLOURS, ADOBE_RGB, lambda values: values**ADOBE_GAMMA)
    assert result.notes == ("converted from Adobe RGB (1998)",)
    assert np.abs(middles(result.rgb) - expected).max() <= 1
    green = np.array([[[0, 255, 0]]], np.uint8)
    assert middles(decode_image(encode(green, "PNG", ADOBE)).rgb).tolist() == [[[0, 255, 0]]]


def test_transparency_is_kept_and_pixels_of_a_palette_are_converted() -> None:
    expected = in_srgb(COLOURS[0, 0], DISPLAY_P3, decode_srgb)
    clear = np.dstack([COLOURS, np.array([[255, 0], [255, 128]], np.uint8)])
    result = decode_image(encode(clear, "PNG", P3))
    assert result.notes == ("converted from Display P3", "transparency on white")
    assert np.abs(middles(result.rgb)[0, 0] - expected).max() <= 1
    assert middles(result.rgb)[0, 1].tolist() == [255, 255, 255]
    palette = Image.new("P", (4, 4))
    palette.putpalette(COLOURS[0, 0].tolist())
    buffer = io.BytesIO()
    palette.save(buffer, "PNG", icc_profile=P3)
    assert np.abs(decode_image(buffer.getvalue()).rgb[0, 0] - expected).max() <= 1


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_grey_profile_changes_the_brightness_of_grey(kind: type) -> None:
    icc = profile("Gray Gamma 1.0", (), (1.0,), b"GRAY")
    top = np.iinfo(kind).max
    grey = np.array([[top // 4, top // 2]], kind)
    result = decode_image(encode(grey, "PNG", icc))
    expected = encode_srgb(grey / top) * 255
    assert "converted from Gray Gamma 1.0" in result.notes
    assert np.abs(middles(result.rgb)[..., 0] - expected).max() <= 2
    assert np.ptp(result.rgb, axis=2).max() == 0, "grey stays grey"


def test_srgb_is_not_touched_and_not_mentioned() -> None:
    everything = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    for icc in (profile("sRGB", SRGB, SRGB_CURVE), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()):
        result = decode_image(encode(everything, "PNG", icc))
        assert result.notes == ()
        assert (middles(result.rgb) == everything).all()


@pytest.mark.parametrize(
    "icc",
    [
        b"not a profile",
        P3[:200],
        P3[:128] + bytes(len(P3) - 128),
        profile("Gray", (), (2.2,), b"GRAY"),
        P3 + bytes(4_000_000),
    ],
    ids=["text", "cut off", "zeros", "of grey", "huge"],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_broken_or_foreign_profile_is_ignored(icc: bytes, kind: str) -> None:
    result = decode_image(encode(COLOURS, kind, icc))
    assert result.notes == ()
    assert (middles(result.rgb) == COLOURS).all()


def test_the_name_of_a_profile_is_one_short_line() -> None:
    for title, shown in (("evil\n\x07name" + "x" * 90, "evil name"), (" \n ", "its own colour profile")):
        (note,) = decode_image(encode(COLOURS, "PNG", profile(title, DISPLAY_P3, SRGB_CURVE))).notes
        assert note.startswith(f"converted from {shown}")
        assert note.isprintable()
        assert len(note) <= 60
