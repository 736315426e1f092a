"""One convolution or pooling on one image, and the terms of any of its sums. NumPy in float64: no network is needed.

Indices count from 0, and the kernel is not flipped, as in PyTorch:
`y[i, j] = Σ w[c, m, n] · x[c, i·s + m·d − p, j·s + n·d − p] + b`.
"""

from __future__ import annotations

import gzip
import itertools
import math
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from core.common.errors import LabError
from core.common.settings import Settings

Operation = Literal["convolution", "max", "average"]
PRESETS: dict[str, str] = {
    "Vertical edges": "-1 0 1; -2 0 2; -1 0 1",
    "Horizontal edges": "-1 -2 -1; 0 0 0; 1 2 1",
    "Outline": "0 -1 0; -1 4 -1; 0 -1 0",
    "Sharpen": "0 -1 0; -1 5 -1; 0 -1 0",
    "Blur": "0.0625 0.125 0.0625; 0.125 0.25 0.125; 0.0625 0.125 0.0625",
    "Identity": "0 0 0; 0 1 0; 0 0 0",
}
"""Kernels by name: Sobel's two, Laplace's, and what is made of them."""
MOST_SIDE = 7
"""Of a kernel that somebody types."""
MOST_CHARACTERS = 1000
MOST_VALUE = 1e6
DIGITS = 10
DIGIT_SIDE = 8


class WindowSettings(Settings):
    """How a window moves over an image."""

    operation: Operation = "convolution"
    """What is done with the values in the window."""
    size: Annotated[int, Field(ge=1, le=MOST_SIDE)] = 3
    """Height and width of a pooling's window; a convolution has its kernel's."""
    stride: Annotated[int, Field(ge=1, le=8)] = 1
    """Pixels that the window moves from one output to the next."""
    padding: Annotated[int, Field(ge=0, le=8)] = 0
    """Pixels added at each edge: zeros, or for max pooling nothing at all."""
    dilation: Annotated[int, Field(ge=1, le=4)] = 1
    """Distance of neighbouring values of the window, pixels; average pooling has 1."""
    bias: Annotated[float, Field(ge=-MOST_VALUE, le=MOST_VALUE)] = 0.0
    """Added to every sum of a convolution."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sums:
    """All outputs of one kernel, or of pooling each channel. O: output channels, 1 for a convolution."""

    settings: WindowSettings
    inputs: np.ndarray
    """(C, H, W) float64."""
    kernel: np.ndarray
    """(C, K, K) float64; of a pooling (C, K, K) ones, or 1/K² for the average."""
    parts: np.ndarray
    """(C, H', W') float64: what each channel gives."""
    largest_terms: np.ndarray
    """(C,) float64: the largest size of a term of each channel; of max pooling zeros."""
    output: np.ndarray
    """(O, H', W') float64."""

    @property
    def size_formula(self) -> str:
        """The output's height and width, with the numbers of this one; one of the two where they are the same."""
        sides = list(dict.fromkeys(zip(self.inputs.shape[1:], self.output.shape[1:], strict=True)))
        made, k = self.settings, self.kernel.shape[-1]
        return ", ".join(
            f"⌊({n} + 2·{made.padding} − {made.dilation}·({k} − 1) − 1) / {made.stride}⌋ + 1 = {out}"
            for n, out in sides
        )

    def at(self, row: int, column: int, channel: int = 0) -> dict[str, object]:
        """One output and its terms, as plain values. Raises LabError for a place outside the output."""
        count, height, width = self.output.shape
        if not (0 <= row < height and 0 <= column < width and 0 <= channel < count):
            raise LabError(
                f"There is no output {channel},{row},{column}: channels run from 0 to {count - 1}, rows to {height - 1}, "
                f"columns to {width - 1}."
            )
        made, k = self.settings, self.kernel.shape[-1]
        channels = range(len(self.inputs)) if made.operation == "convolution" else (channel,)
        rows: list[dict[str, object]] = []
        for c, m, n in itertools.product(channels, range(k), range(k)):
            y, x = (
                start * made.stride + step * made.dilation - made.padding for start, step in ((row, m), (column, n))
            )
            inside = 0 <= y < self.inputs.shape[1] and 0 <= x < self.inputs.shape[2]
            value = float(self.inputs[c, y, x]) if inside else None if made.operation == "max" else 0.0
            weight = float(self.kernel[c, m, n])
            term = None if value is None else weight * value
            rows.append(
                {"channel": c, "m": m, "n": n, "row": y, "column": x, "value": value, "weight": weight, "term": term}
            )
        return {"output": float(self.output[channel, row, column]), "bias": made.bias, "terms": rows}


def output_side(side: int, kernel: int, settings: WindowSettings) -> int:
    """Height or width of the output. Raises LabError where there is none."""
    reach = settings.dilation * (kernel - 1) + 1
    if side + 2 * settings.padding < reach:
        raise LabError(
            f"The window spans {reach} pixels, the image with its padding only {side + 2 * settings.padding}, so the output is "
            "empty: take a smaller kernel or dilation, or more padding."
        )
    return (side + 2 * settings.padding - reach) // settings.stride + 1


def compute(inputs: np.ndarray, kernel: np.ndarray | None, settings: WindowSettings) -> Sums:
    """inputs: (C, H, W). kernel: (C, K, K) of a convolution, None for pooling.

    Raises LabError for values that are not finite, a kernel of other channels, an empty output, and a pooling whose padding
    is more than half its window, as PyTorch does.
    """
    made = settings
    channels = len(inputs)
    if made.operation == "convolution":
        if kernel is None or kernel.shape[0] != channels or kernel.shape[1] != kernel.shape[2]:
            raise LabError(f"The kernel does not fit: it needs {channels} square parts, one for each channel.")
        weights = kernel.astype(np.float64)
    else:
        if 2 * made.padding > made.size:
            raise LabError(
                f"padding={made.padding} is more than half of the window of {made.size}: take at most {made.size // 2}."
            )
        if made.operation == "average" and made.dilation != 1:
            raise LabError("Average pooling has no dilation: set it to 1.")
        weights = np.full((channels, made.size, made.size), 1 / made.size**2 if made.operation == "average" else 1.0)
    if not (np.isfinite(inputs).all() and np.isfinite(weights).all()):
        raise LabError("The image or the kernel holds values that are not finite numbers: replace them.")
    k, d = weights.shape[-1], made.dilation
    height, width = (output_side(side, k, made) for side in inputs.shape[1:])
    edge = -np.inf if made.operation == "max" else 0.0
    p, s = made.padding, made.stride
    padded = np.pad(inputs.astype(np.float64), ((0, 0), (p, p), (p, p)), constant_values=edge)
    parts, largest = np.full((channels, height, width), edge), np.zeros(channels)
    for m, n in itertools.product(range(k), range(k)):
        values = padded[:, m * d : m * d + (height - 1) * s + 1 : s, n * d : n * d + (width - 1) * s + 1 : s]
        if made.operation == "max":
            np.maximum(parts, values, out=parts)
            continue
        terms = weights[:, m, n, None, None] * values
        parts += terms
        largest = np.maximum(largest, np.abs(terms).max((1, 2)))
    output = parts.sum(0)[None] + made.bias if made.operation == "convolution" else parts
    return Sums(settings=made, inputs=inputs, kernel=weights, parts=parts, largest_terms=largest, output=output)


def parse_kernel(text: str) -> np.ndarray:
    """`0 1 0; 1 2 1; 0 1 0` to (K, K) float64. Raises LabError for anything that is no square of finite numbers."""
    if len(text) > MOST_CHARACTERS:
        raise LabError(
            f"The kernel is longer than {MOST_CHARACTERS:,} characters: type at most {MOST_SIDE}×{MOST_SIDE} numbers."
        )
    rows = [line.replace(",", " ").split() for line in text.replace("\n", ";").split(";") if line.strip(" ,")]
    if not 1 <= len(rows) <= MOST_SIDE or any(len(row) != len(rows) for row in rows):
        raise LabError(
            f"The kernel is not a square of 1×1 to {MOST_SIDE}×{MOST_SIDE} numbers: write rows between semicolons, as in "
            "0 1 0; 1 2 1; 0 1 0."
        )
    return np.array([[_number(word) for word in row] for row in rows])


def write_kernel(kernel: np.ndarray) -> str:
    """(K, K) as `parse_kernel` reads it, with six digits."""
    return "; ".join(" ".join(f"{value:.6g}" for value in row) for row in kernel)


def digits() -> np.ndarray:
    """(10, 8, 8) float64, 0..16: one handwritten digit of each kind, from the file that comes with scikit-learn.

    Source: Alpaydin & Kaynak, Optical Recognition of Handwritten Digits, UCI 1998.
    """
    spec = find_spec("sklearn")
    assert spec is not None
    assert spec.origin
    with gzip.open(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz", "rt") as file:
        rows = [next(file).split(",")[: DIGIT_SIDE**2] for _ in range(DIGITS)]  # the first ten are 0 to 9
    return np.array(rows, dtype=np.float64).reshape(DIGITS, DIGIT_SIDE, DIGIT_SIDE)


def image_channels(pixels: np.ndarray, *, colour: bool) -> np.ndarray:
    """An image (H, W, 3) uint8 as (1 or 3, H, W) float64, 0..1; grey is the luma of ITU-R BT.601."""
    values = pixels / 255.0
    return values.transpose(2, 0, 1) if colour else (values @ np.array([0.299, 0.587, 0.114]))[None]


def _number(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not abs(value) <= MOST_VALUE:
        raise LabError(f"{word[:40]!r} is not a number from {-MOST_VALUE:g} to {MOST_VALUE:g}: correct the kernel.")
    return value
