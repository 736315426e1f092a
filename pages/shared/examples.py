"""Images to try without a photo at hand: drawn here, so that nothing has to be fetched. Pure functions of Pillow."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache

from PIL import Image, ImageDraw, ImageFilter

SIDE = 256


@cache
def examples() -> dict[str, bytes]:
    """Title -> PNG. Four of them are drawn CIFAR-10 classes, one is none of the ten."""
    return {title: _png(draw) for title, draw in _DRAWINGS.items()}


def _sky(top: tuple[int, int, int], bottom: tuple[int, int, int]) -> Image.Image:
    column = Image.new("RGB", (1, SIDE))
    for y in range(SIDE):
        share = y / (SIDE - 1)
        column.putpixel((0, y), tuple(round(a + (b - a) * share) for a, b in zip(top, bottom, strict=True)))
    return column.resize((SIDE, SIDE))


def _airplane() -> Image.Image:
    image = _sky((96, 150, 214), (196, 220, 240))
    draw = ImageDraw.Draw(image)
    draw.polygon([(150, 128), (92, 54), (74, 54), (104, 128)], fill=(176, 182, 190))
    draw.ellipse((26, 108, 236, 148), fill=(236, 238, 241))
    draw.polygon([(60, 122), (18, 72), (40, 72), (92, 116)], fill=(206, 60, 52))
    draw.polygon([(156, 134), (92, 206), (72, 206), (106, 134)], fill=(200, 205, 212))
    draw.ellipse((206, 116, 230, 128), fill=(50, 62, 80))
    for x in range(88, 196, 16):
        draw.ellipse((x, 119, x + 6, 125), fill=(70, 84, 104))
    return image


def _ship() -> Image.Image:
    image = _sky((150, 190, 224), (222, 232, 238))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 168, SIDE, SIDE), fill=(38, 84, 124))
    draw.polygon([(14, 138), (242, 138), (216, 190), (40, 190)], fill=(150, 40, 36))
    draw.polygon([(14, 138), (242, 138), (238, 148), (18, 148)], fill=(240, 240, 240))
    draw.rectangle((70, 100, 190, 138), fill=(238, 238, 234))
    draw.rectangle((92, 74, 166, 100), fill=(226, 226, 222))
    draw.rectangle((116, 40, 142, 74), fill=(206, 120, 40))
    for x in range(82, 184, 18):
        draw.rectangle((x, 112, x + 9, 121), fill=(60, 80, 104))
    for y in range(196, 252, 14):
        draw.line([(0, y), (SIDE, y + 4)], fill=(66, 116, 156), width=3)
    return image


def _car() -> Image.Image:
    image = _sky((188, 208, 222), (226, 230, 230))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 176, SIDE, SIDE), fill=(104, 106, 110))
    draw.polygon([(70, 122), (98, 80), (176, 80), (206, 122)], fill=(186, 26, 30))
    draw.polygon([(80, 120), (102, 88), (134, 88), (134, 120)], fill=(172, 204, 224))
    draw.polygon([(142, 120), (142, 88), (172, 88), (194, 120)], fill=(172, 204, 224))
    draw.rounded_rectangle((18, 118, 240, 180), radius=22, fill=(204, 30, 34))
    draw.rectangle((18, 150, 240, 160), fill=(150, 20, 24))
    draw.ellipse((226, 130, 242, 146), fill=(250, 238, 180))
    for x in (48, 168):
        draw.ellipse((x, 152, x + 48, 200), fill=(28, 28, 30))
        draw.ellipse((x + 14, 166, x + 34, 186), fill=(188, 190, 194))
    return image


def _bird() -> Image.Image:
    image = _sky((134, 168, 112), (186, 202, 150)).filter(ImageFilter.GaussianBlur(3))
    draw = ImageDraw.Draw(image)
    draw.line([(0, 214), (SIDE, 196)], fill=(96, 70, 46), width=14)
    draw.polygon([(86, 142), (18, 196), (34, 206), (110, 178)], fill=(66, 76, 98))
    draw.ellipse((70, 92, 190, 196), fill=(90, 110, 146))
    draw.ellipse((112, 120, 192, 196), fill=(214, 142, 92))
    draw.ellipse((148, 56, 212, 118), fill=(84, 104, 140))
    draw.polygon([(206, 82), (240, 92), (206, 98)], fill=(72, 62, 52))
    draw.ellipse((184, 76, 194, 86), fill=(14, 14, 16))
    for x in (122, 148):
        draw.line([(x, 190), (x, 208)], fill=(60, 50, 42), width=5)
    return image


def _apple() -> Image.Image:
    image = Image.new("RGB", (SIDE, SIDE), (235, 230, 220))
    draw = ImageDraw.Draw(image)
    draw.ellipse((60, 70, 150, 220), fill=(190, 40, 40))
    draw.ellipse((106, 70, 196, 220), fill=(190, 40, 40))
    draw.rectangle((124, 40, 132, 90), fill=(90, 60, 40))
    draw.ellipse((132, 45, 175, 70), fill=(80, 140, 60))
    return image


def _png(draw: Callable[[], Image.Image]) -> bytes:
    buffer = io.BytesIO()
    draw().save(buffer, "PNG")
    return buffer.getvalue()


_DRAWINGS: dict[str, Callable[[], Image.Image]] = {
    "airplane": _airplane,
    "ship": _ship,
    "car": _car,
    "bird": _bird,
    "apple": _apple,
}
