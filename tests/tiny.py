"""A small data set that can be learned in seconds, written as a folder of class folders. All of it is drawn from a seed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("circle", "cross", "square")
COLOURS = {"circle": (210, 60, 50), "cross": (60, 160, 70), "square": (60, 90, 210)}


def draw(label: str, rng: np.random.Generator, size: int = 32) -> Image.Image:
    """One image, size×size RGB: a shape in its class's colour, with its place, scale, shade and background varied."""
    background = rng.integers(90, 170) + rng.normal(0, 12, (size, size, 3))
    image = Image.fromarray(np.clip(background, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    radius = size * rng.uniform(0.22, 0.36)
    x, y = rng.uniform(0.4, 0.6, 2) * size
    colour = tuple(int(np.clip(channel + rng.integers(-25, 26), 0, 255)) for channel in COLOURS[label])
    box = (x - radius, y - radius, x + radius, y + radius)
    if label == "circle":
        pen.ellipse(box, fill=colour)
    elif label == "square":
        pen.rectangle(box, fill=colour)
    else:
        width = max(2, int(radius * 0.6))
        pen.line((x - radius, y - radius, x + radius, y + radius), fill=colour, width=width)
        pen.line((x - radius, y + radius, x + radius, y - radius), fill=colour, width=width)
    return image


def write_class_folders(folder: Path, *, train: int = 60, test: int = 20, seed: int = 0) -> Path:
    """Write `train/<class>/*.png` and `test/<class>/*.png` with that many images a class; returns `folder`."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", train), ("test", test)):
        for label in CLASSES:
            target = folder / split / label
            target.mkdir(parents=True, exist_ok=True)
            for index in range(count):
                draw(label, rng).save(target / f"{index:04d}.png")
    return folder


def photo(kind: str = "JPEG", size: tuple[int, int] = (640, 480), seed: int = 0) -> bytes:
    """An encoded image of ordinary size: a blue body under a pale sky."""
    rng = np.random.default_rng(seed)
    width, height = size
    rows = np.linspace(225, 120, height)[:, None, None] * np.array([0.9, 0.97, 1.0])
    pixels = np.clip(np.broadcast_to(rows, (height, width, 3)) + rng.normal(0, 6, (height, width, 3)), 0, 255)
    image = Image.fromarray(pixels.astype(np.uint8))
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle((width * 0.2, height * 0.45, width * 0.8, height * 0.7), radius=30, fill=(40, 60, 150))
    for centre in (0.33, 0.67):
        x, y, radius = width * centre, height * 0.7, height * 0.08
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(20, 20, 20))
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()
