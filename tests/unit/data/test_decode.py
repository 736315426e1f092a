"""Images of every kind, and bytes that are no image: each is shown right or refused in one sentence."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core.common.errors import LabError
from core.data.decode import FORMATS, FORMATS_FOR_PEOPLE, MAX_BYTES, SUFFIXES, DecodedImage, decode_image, fit_to_model
from tests.unit.failures import refusal

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's about damaged metadata


pillow_heif.register_heif_opener()  # which lets Pillow also write such files


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(height: int, width: int) -> np.ndarray:
    """Smooth colours with a red top left, a green top right and a blue bottom: (height, width, 3) uint8."""
    y, x = np.mgrid[0 : 1 : complex(0, height), 0 : 1 : complex(0, width)]
    rgb = np.stack([(1 - x) * (1 - y), x * (1 - y), y], axis=-1)
    return (rgb * 255).astype(np.uint8)


PHOTO = photo(40, 60)


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG with whatever header is asked for; `rows` are the raw scan lines."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def assert_close(result: DecodedImage, expected: np.ndarray, tolerance: float = 0.0) -> None:
    assert result.rgb.dtype == np.uint8
    assert result.rgb.shape == expected.shape
    assert np.abs(result.rgb.astype(int) - expected).mean() <= tolerance


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 90}, 4),
        ("JPEG", {"quality": 95}, 4),
        ("JPEG", {"quality": 95, "progressive": True}, 4),
        ("GIF", {}, 12),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, 0),
        ("TIFF", {"compression": "jpeg"}, 4),
        ("AVIF", {"quality": 95}, 4),
        ("HEIF", {"quality": 95}, 4),
    ],
)
def test_each_format_is_shown_as_it_is(kind: str, options: dict[str, Any], tolerance: float) -> None:
    result = decode_image(encode(Image.fromarray(PHOTO), kind, **options))
    assert result.format == FORMATS[kind].title
    assert result.notes == ()
    assert_close(result, PHOTO, tolerance)


@pytest.mark.parametrize("kind", ["PPM", "ICO", "TGA", "PDF"])
def test_other_formats_are_not_opened(kind: str) -> None:
    with pytest.raises(LabError, match=f"choose a {FORMATS_FOR_PEOPLE} image") as caught:
        decode_image(encode(Image.fromarray(PHOTO), kind))
    if kind == "PDF":
        assert "This file is a PDF" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"hello, I am a text file named .png", "is not an image we can read"),
        (b"\x89PNG\r\n\x1a\n", "damaged|cut off|not an image"),
        (b"\xff\xd8\xff", "damaged|cut off|not an image"),
        (b"\0\0\0\x18ftypheic", "This HEIC file"),
        (b"\0\0\0\x18ftypmif1", "This HEIC file"),
        (b"\0\0\0\x18ftypavif", "This AVIF file"),
        (b"II*\0 no more", "This TIFF file|damaged"),
        (b"\0\0\0\x18ftypisom", "a video file"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG file"),
        (b"\x80\x04\x95pickle", "is not an image we can read"),
        (b"\0" * (MAX_BYTES + 1), "at most 20"),
    ],
)
def test_bytes_that_are_no_image(data: bytes, words: str) -> None:
    with refusal(words):
        decode_image(data)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.95])
def test_truncated_files_are_refused(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind)
    with pytest.raises(LabError, match="cut off|damaged"):
        decode_image(data[: int(len(data) * share)])


@pytest.mark.parametrize("kind", FORMATS)
def test_what_stands_behind_an_image_is_not_read(kind: str) -> None:
    data = encode(Image.fromarray(PHOTO), kind)
    assert (decode_image(data + b"trailing " * 1000).rgb == decode_image(data).rgb).all()


@pytest.mark.parametrize("side", [30_000, 65_000])
def test_a_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    data = png(side, side, 8, 2, b"\0" * 1000)
    assert len(data) < 200
    with pytest.raises(LabError, match="million pixels|million are read"):
        decode_image(data)


def test_an_image_just_above_the_cap_is_told_its_size() -> None:
    with pytest.raises(LabError, match="8000×6251 pixels and at most 50 million"):
        decode_image(png(8000, 6251, 8, 2, b""))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_exif_rotation_is_applied(orientation: int, kind: str) -> None:
    """The stored pixels are what a camera held that way would write; the result is the upright image."""
    upright = Image.fromarray(PHOTO)
    inverse = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if inverse is None else upright.transpose(inverse)
    exif = Image.Exif()
    exif[0x0112] = orientation
    exact = kind in ("PNG", "TIFF")
    result = decode_image(encode(stored, kind, exif=exif.tobytes(), **({} if exact else {"quality": 95})))
    assert_close(result, PHOTO, 0 if exact else 6)
    if kind != "HEIF":  # turned by the library, without a word
        assert ("rotated as its EXIF says" in result.notes) == (orientation != 1)


def test_a_senseless_exif_orientation_changes_nothing_and_a_broken_block_hides_nothing() -> None:
    for value in (0, 9, 65535):
        exif = Image.Exif()
        exif[0x0112] = value
        result = decode_image(encode(Image.fromarray(PHOTO), "PNG", exif=exif))
        assert_close(result, PHOTO)
        assert result.notes == ()
    data = encode(Image.fromarray(PHOTO), "JPEG", quality=95, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert_close(decode_image(data), PHOTO, 4)


def test_cmyk_looks_like_the_colours_it_prints() -> None:
    cmyk = Image.fromarray(PHOTO).convert("CMYK")
    result = decode_image(encode(cmyk, "JPEG", quality=95))
    assert result.notes == ("CMYK converted to RGB",)
    assert_close(result, PHOTO, 6)


def test_16_bits_are_scaled_not_clipped() -> None:
    values = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    result = decode_image(encode(Image.fromarray(values), "PNG"))
    assert result.notes == ("16-bit reduced to 8",)
    expected = np.round(values / 257)[:, :, None].repeat(3, axis=2)
    assert np.abs(result.rgb - expected).max() <= 1
    assert (result.rgb.min(), result.rgb.max()) == (0, 255)
    # In colour, and with a transparent value.
    rows = b"".join(b"\0" + row.tobytes() for row in PHOTO.astype(">u2") * 257)
    result = decode_image(png(60, 40, 16, 2, rows))
    assert result.notes == ("16-bit reduced to 8",)
    assert_close(result, PHOTO)
    values = np.array([[0, 1000], [30_000, 65_535]], np.uint16)
    result = decode_image(encode(Image.fromarray(values), "PNG", transparency=1000))
    assert (result.rgb[0, 1].tolist(), result.rgb[1, 0].tolist()) == ([255, 255, 255], [117, 117, 117])
    assert "transparency on white" in result.notes


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparent_pixels_are_mixed_with_white(kind: str) -> None:
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:, :, 0], rgba[:, :, 3] = 200, 128
    options = {"lossless": True} if kind == "WEBP" else {}
    result = decode_image(encode(Image.fromarray(rgba), kind, **options))
    assert np.abs(result.rgb[0, 0].astype(int) - [227, 127, 127]).max() <= 1
    assert result.notes == ("transparency on white",)
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    result = decode_image(encode(palette, "PNG", transparency=bytes([255, 0])))
    assert result.rgb.tolist() == [[[255, 0, 0], [255, 255, 255]]]
    assert result.notes == ("transparency on white",)


@pytest.mark.parametrize(
    ("mode", "pixel", "expected"),
    [
        ("1", 1, [255, 255, 255]),
        ("L", 90, [90, 90, 90]),
        ("LA", (90, 255), [90, 90, 90]),
        ("LA", (90, 0), [255, 255, 255]),
        ("P", 0, [0, 0, 0]),
        ("RGB", (1, 2, 3), [1, 2, 3]),
        ("RGBA", (1, 2, 3, 255), [1, 2, 3]),
        ("RGBA", (1, 2, 3, 0), [255, 255, 255]),
        ("I;16", 257 * 77, [77, 77, 77]),
    ],
)
def test_every_png_mode_becomes_rgb(mode: str, pixel: Any, expected: list[int]) -> None:
    result = decode_image(encode(Image.new(mode, (3, 2), pixel), "PNG"))
    assert result.rgb.shape == (2, 3, 3)
    assert result.rgb[0, 0].tolist() == expected
    transparent = isinstance(pixel, tuple) and pixel[-1] == 0
    assert ("transparency on white" in result.notes) == transparent, "an opaque alpha channel is not worth a note"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_the_first_frame_of_an_animation_is_shown_and_said(kind: str) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
    result = decode_image(data)
    assert "first frame of 3" in result.notes
    assert np.abs(result.rgb[10, 10].astype(int) - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize(("kind", "note"), [("TIFF", "first page of several"), ("HEIF", "main image of 3")])
def test_of_several_images_one_is_shown_and_said(kind: str, note: str) -> None:
    pages = [Image.new("RGB", (64, 64), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    result = decode_image(encode(pages[0], kind, save_all=True, append_images=pages[1:]))
    assert note in result.notes
    assert np.abs(result.rgb[10, 10].astype(int) - [255, 0, 0]).max() <= 3


def test_values_of_a_tiff_are_brought_to_8_bits() -> None:
    ramp = np.linspace(0, 60_000, 64 * 48).reshape(48, 64)
    result = decode_image(encode(Image.fromarray(ramp.astype(np.uint16)), "TIFF"))
    assert result.notes == ("16-bit reduced to 8",)
    assert np.abs(result.rgb[..., 0] - np.round(ramp / 257)).max() <= 1
    for kind in (np.int32, np.float32):
        result = decode_image(encode(Image.fromarray(ramp.astype(kind) - 100), "TIFF"))
        assert result.notes == ("brightness stretched from -100 to 5.99e+04", "32-bit reduced to 8")
        assert np.abs(result.rgb[..., 0] - ramp / 60_000 * 255).max() <= 1
    flat = np.full((4, 4), np.nan, np.float32)
    assert decode_image(encode(Image.fromarray(flat), "TIFF")).rgb.max() == 0
    cmyk = Image.fromarray(PHOTO).convert("CMYK")
    result = decode_image(encode(cmyk, "TIFF", compression="tiff_lzw"))
    assert result.notes == ("CMYK converted to RGB",)
    assert_close(result, PHOTO, 1)


def test_a_raw_file_is_not_shown_as_its_thumbnail() -> None:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags = ImageFileDirectory_v2()
    tags[50706] = bytes([1, 4, 0, 0])
    with refusal("raw file"):
        decode_image(encode(Image.fromarray(PHOTO), "TIFF", tiffinfo=tags))


def test_what_is_read_is_said_everywhere() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    assert FORMATS_FOR_PEOPLE in readme
    assert {".png", ".jpg", ".tiff", ".heic", ".avif"} <= {*SUFFIXES}


def test_a_gif_of_many_frames_is_not_counted_through() -> None:
    frame = b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"
    head = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff"
    result = decode_image(head + frame * 400_000 + b";")
    assert result.notes == ("first frame of an animation",)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5000), (5000, 1), (31, 33), (32, 32), (3, 200), (2000, 10)])
def test_extreme_shapes_are_shown_and_fitted(width: int, height: int) -> None:
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[:] = (10, 200, 30)
    result = decode_image(encode(Image.fromarray(rgb), "PNG"))
    assert_close(result, rgb)
    assert ("long and narrow: the model sees one square of it only" in result.notes) == (max(width, height) > 100)
    fitted = fit_to_model(result.rgb)
    assert fitted.shape == (32, 32, 3)
    assert fitted.dtype == np.uint8
    assert np.all(fitted == (10, 200, 30))


def test_the_model_sees_the_centre_with_pixels_averaged() -> None:
    rgb = np.zeros((40, 120, 3), np.uint8)
    rgb[:, 40:80] = 255
    assert np.all(fit_to_model(rgb) == 255)
    assert np.all(fit_to_model(rgb.transpose(1, 0, 2)) == 255)
    exact = photo(32, 32)
    assert fit_to_model(exact) is exact
    checks = np.indices((320, 320)).sum(axis=0) % 2 * 255
    fitted = fit_to_model(checks[:, :, None].repeat(3, axis=2).astype(np.uint8))
    assert np.abs(fitted.astype(int) - 128).max() <= 3


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 5), (5, 5, 4)])
def test_pixels_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(LabError, match="are not an image"):
        fit_to_model(np.zeros(shape, np.uint8))
    with pytest.raises(LabError, match="are not an image"):
        fit_to_model(np.zeros((5, 5, 3)))


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 90}), ("PNG", {"compress_level": 1}), ("WEBP", {"method": 0})]
)
@pytest.mark.parametrize("shape", [(1500, 2000), (1100, 2900)])
def test_large_images_are_reduced_and_look_the_same_to_the_model(
    kind: str, options: dict[str, Any], shape: tuple[int, int]
) -> None:
    large = photo(*shape)
    large[:: shape[0] // 8] = 255  # some structure
    result = decode_image(encode(Image.fromarray(large), kind, **options))
    assert f"reduced from {shape[1]}×{shape[0]} pixels while reading" in result.notes
    assert min(result.rgb.shape[:2]) >= 512
    assert result.rgb.shape[1] / result.rgb.shape[0] == pytest.approx(shape[1] / shape[0], rel=0.01)
    difference = np.abs(fit_to_model(result.rgb).astype(int) - fit_to_model(large))
    assert difference.mean() < 2


def test_a_large_rotated_jpeg_keeps_both_notes() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    result = decode_image(encode(Image.fromarray(photo(1500, 2000)), "JPEG", exif=exif))
    assert result.notes == ("rotated as its EXIF says", "reduced from 2000×1500 pixels while reading")
    assert result.rgb.shape[0] > result.rgb.shape[1]


def valid_files() -> list[bytes]:
    image = Image.fromarray(PHOTO)
    frames = [Image.new("RGB", (20, 20), (60 * index, 0, 0)) for index in range(3)]
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        encode(image, "PNG", exif=exif),
        encode(image.convert("P"), "PNG", transparency=3),
        encode(Image.fromarray(np.arange(900, dtype=np.uint16).reshape(30, 30)), "PNG"),
        encode(image, "JPEG", exif=exif),
        encode(image.convert("CMYK"), "JPEG", progressive=True),
        encode(image, "WEBP"),
        encode(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        encode(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        encode(image, "BMP"),
        encode(image.convert("P"), "BMP"),
        encode(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        encode(image, "TIFF", exif=exif),
        encode(image.convert("CMYK"), "TIFF", compression="tiff_lzw"),
        encode(image, "AVIF"),
        encode(image.convert("RGBA"), "HEIF", exif=exif.tobytes()),
    ]


VALID = valid_files()
EDIT = st.tuples(
    st.sampled_from(["set", "cut", "insert", "repeat"]), st.floats(0, 1), st.binary(min_size=1, max_size=8)
)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(range(len(VALID))), st.lists(EDIT, min_size=1, max_size=6), st.booleans())
def test_mutated_files_are_decoded_or_refused_in_one_sentence(
    which: int, edits: list[tuple[str, float, bytes]], in_header: bool
) -> None:
    data = VALID[which]
    for kind, place, content in edits:
        at = int(place * (min(len(data), 80) if in_header else len(data)))
        if kind == "set":
            data = data[:at] + content + data[at + len(content) :]
        elif kind == "cut":
            data = data[:at] + data[at + 4 * len(content) :]
        elif kind == "insert":
            data = data[:at] + content + data[at:]
        else:
            data = data[:at] + data[at // 2 :]
    assert_decoded_or_refused(data)


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(
        [
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff\xe0",
            b"RIFF\x40\0\0\0WEBP",
            b"BM",
            b"GIF89a",
            b"II*\0",
            b"\0\0\0\x18ftypheic",
            b"\0\0\0\x18ftypavif",
            b"",
        ]
    ),
    st.binary(max_size=300),
)
def test_random_bytes_behind_a_signature(start: bytes, rest: bytes) -> None:
    assert_decoded_or_refused(start + rest)


def assert_decoded_or_refused(data: bytes) -> None:
    try:
        result = decode_image(data)
    except LabError:
        with refusal():
            decode_image(data)
        return
    assert result.rgb.dtype == np.uint8
    assert result.rgb.ndim == 3
    assert fit_to_model(result.rgb).shape == (32, 32, 3)
