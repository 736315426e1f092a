"""Uploads that break other apps: each is shown right or refused in one sentence, and the next one is answered."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.steps import answer, no_overflow, press, upload
from tests.tiny import photo

JPEG = photo()


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_of_zeros(width: int, height: int) -> bytes:
    """A valid 1-bit PNG of any size, written without holding its pixels: the classic decompression bomb."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def sixteen_bit() -> bytes:
    return encoded(Image.fromarray(np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)))


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(Image.open(io.BytesIO(JPEG)), "JPEG", exif=exif.tobytes())


def animated() -> bytes:
    frames = [Image.new("RGB", (48, 48), (shade, 80, 160)) for shade in (0, 120, 240)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


REFUSED = {
    "truncated.jpg": JPEG[: len(JPEG) // 3],
    "text.png": b"This is a shopping list, not an image.\n" * 40,
    "bomb.png": png_of_zeros(30_000, 30_000),
}
SHOWN = {
    "cmyk.jpg": (encoded(Image.new("CMYK", (80, 60), (120, 20, 0, 30)), "JPEG"), "80×60 JPEG, CMYK"),
    "deep.png": (sixteen_bit(), "64×64 PNG, 16-bit"),
    "turned.jpg": (turned(), "480×640 JPEG, rotated"),
    "moving.gif": (animated(), "48×48 GIF, first frame of 3"),
    "line.png": (encoded(Image.new("RGB", (1, 5000), (9, 200, 30))), "1×5000 PNG"),
}
"""File, and how the page describes it."""


def test_what_is_no_image_is_refused_in_a_sentence(page: Page) -> None:
    page.goto("/images")
    upload(page, "notes.txt", "text/plain", b"hello")
    expect(page.get_by_text("not allowed")).to_be_visible()
    alert = page.get_by_test_id("stMain").get_by_test_id("stAlert")
    for name, data in REFUSED.items():
        upload(page, name, "image/png" if name.endswith("png") else "image/jpeg", data)
        expect(alert, name).to_contain_text(f"{name}: ")
        sentence = alert.inner_text()
        assert 20 < len(sentence) < 300, f"{name}: {sentence}"
        assert "Error" not in sentence, f"a sentence for people names no exception: {sentence}"
        expect(answer(page), name).to_have_count(0)
    upload(page, "car.jpg", "image/jpeg", JPEG)
    expect(answer(page)).to_be_visible()
    expect(page.get_by_text("car.jpg, 640×480 JPEG")).to_be_visible()


def test_unusual_images_are_answered(page: Page) -> None:
    page.goto("/images")
    kinds = {"gif": "image/gif", "jpg": "image/jpeg", "png": "image/png"}
    for name, (data, shown) in SHOWN.items():
        upload(page, name, kinds[name.rpartition(".")[2]], data)
        expect(page.get_by_text(f"What you gave: {name}, {shown}"), name).to_be_visible()
        expect(answer(page), name).to_be_visible()


def test_several_images_become_rows_and_one_opens(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/images?several=1")
    given = {"car.jpg": JPEG, "text.png": REFUSED["text.png"], "deep.png": sixteen_bit()}
    page.locator(".st-key-many-0 input[type=file]").set_input_files(
        [{"name": name, "mimeType": "image/png", "buffer": data} for name, data in given.items()]
    )
    expect(page.get_by_role("heading", name="3 images: ")).to_be_visible()
    expect(page.get_by_text("1 could not be read: open it to see why.")).to_be_visible()
    no_overflow(page)
    page.get_by_role("button", name="Open", exact=True).last.click(trial=True)  # once the cards have stopped moving
    page.get_by_text("deep.png").first.click(force=True)  # its button lies over the whole card
    expect(page.get_by_text("deep.png, 64×64 PNG, 16-bit")).to_be_visible()
    expect(answer(page)).to_be_visible()
    press(page, "many-back")
    expect(page.get_by_role("heading", name="3 images: ")).to_be_visible()
