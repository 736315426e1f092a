"""PNG files with more beside the image than Pillow takes: shown as every viewer shows them."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from core.common.errors import LabError
from core.data.decode import decode_image
from core.data.png_chunks import LARGEST_PROFILE, SIGNATURE, without_side_notes

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
LONG = b"workflow " * 400_000
"""More than Pillow takes as one text, and packed a thousandth of it."""


def chunk(kind: bytes, content: bytes, *, sound: bool = True) -> bytes:
    checksum = zlib.crc32(kind + content) ^ (not sound)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(*extra: bytes, at_end: bool = False, **options: Any) -> bytes:
    """A PNG with chunks between its header and its pixels, or behind those."""
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "PNG", **options)
    data = buffer.getvalue()
    at = len(data) - 12 if at_end else 33
    return data[:at] + b"".join(extra) + data[at:]


TEXTS = {
    "tEXt": chunk(b"tEXt", b"workflow\0" + LONG),
    "zTXt": chunk(b"zTXt", b"workflow\0\0" + zlib.compress(LONG)),
    "iTXt": chunk(b"iTXt", b"workflow\0\0\0\0\0" + LONG),
    "packed iTXt": chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(LONG)),
    "iCCP": chunk(b"iCCP", b"large\0\0" + zlib.compress(bytes(LARGEST_PROFILE + 1))),
    "broken zTXt": chunk(b"zTXt", b"workflow\0\0 no zlib stream"),
    "wrong checksum": chunk(b"tEXt", b"workflow\0short", sound=False),
    "unknown": chunk(b"quRK", b"x" * 100, sound=False),
    "wrong iCCP": chunk(b"iCCP", b"name\0\0" + zlib.compress(b"profile"), sound=False),
    "wrong tRNS": chunk(b"tRNS", b"\0\1\0\2\0\3", sound=False),
    "wrong acTL": chunk(b"acTL", struct.pack(">II", 3, 0), sound=False),
    "much text": b"".join(chunk(b"zTXt", b"k%d\0\0" % i + zlib.compress(bytes(900_000))) for i in range(90)),
}


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("what", TEXTS)
def test_what_stands_beside_the_image_never_hides_it(what: str, at_end: bool) -> None:
    result = decode_image(png(TEXTS[what], at_end=at_end))
    assert (result.rgb == PIXELS).all()
    assert result.notes == ()


def test_a_damaged_critical_chunk_is_refused() -> None:
    data = png()
    for at in (20, data.index(b"IDAT") + 100, len(data) - 1):  # in the header, in the pixels, at the end
        broken = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(LabError, match="is damaged"):
            decode_image(broken)


def test_what_is_seen_is_kept() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    info = PngImagePlugin.PngInfo()
    info.add_text("note", "hello")
    data = png(exif=exif, transparency=tuple(int(value) for value in PIXELS[0, 0]), pnginfo=info)
    assert b"hello" in data
    cleaned = without_side_notes(data)
    assert b"hello" not in cleaned
    assert set(decode_image(data).notes) == {"rotated as its EXIF says", "transparency on white"}
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    assert without_side_notes(buffer.getvalue()) == buffer.getvalue()


def test_only_the_first_colour_profile_is_kept() -> None:
    first, second = (chunk(b"iCCP", name + b"\0\0" + zlib.compress(name)) for name in (b"one", b"two"))
    assert without_side_notes(png(first, second, second)) == png(first)


def test_what_is_no_list_of_chunks_comes_back_as_it_is() -> None:
    data = png()
    for odd in (SIGNATURE, data[:-20], data[:50], SIGNATURE + b"\xff" * 40):
        assert without_side_notes(odd) == odd
    assert without_side_notes(data + b"trailing data") == data
