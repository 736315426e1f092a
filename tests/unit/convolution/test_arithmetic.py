"""The sum term by term: equal to PyTorch's own functions, and plain about what cannot be computed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.common.errors import LabError
from core.convolution.arithmetic import (
    PRESETS,
    WindowSettings,
    compute,
    digits,
    image_channels,
    parse_kernel,
    write_kernel,
)

SETTINGS = [
    (stride, padding, dilation, k)
    for stride in (1, 2, 3)
    for padding in (0, 1)
    for dilation in (1, 2)
    for k in (1, 2, 3, 5)
]


def image(channels: int = 3, height: int = 11, width: int = 13) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(channels, height, width))


@pytest.mark.parametrize(("stride", "padding", "dilation", "k"), SETTINGS)
def test_outputs_equal_pytorchs(stride: int, padding: int, dilation: int, k: int) -> None:
    inputs, kernel = image(), np.random.default_rng(1).normal(size=(3, k, k))
    x, w = torch.from_numpy(inputs), torch.from_numpy(kernel)
    where = {"stride": stride, "padding": padding, "dilation": dilation}
    made = compute(inputs, kernel, WindowSettings(bias=0.5, **where))
    expected = F.conv2d(x[None], w[None], torch.tensor([0.5], dtype=torch.float64), **where)[0].numpy()
    np.testing.assert_allclose(made.output, expected, rtol=0, atol=1e-12)
    for row, column in ((0, 0), (made.output.shape[1] - 1, made.output.shape[2] - 1)):
        found: Any = made.at(row, column)
        assert math.fsum(term["term"] for term in found["terms"]) + 0.5 == pytest.approx(
            expected[0, row, column], abs=1e-12
        )
        assert all(term["term"] == term["weight"] * term["value"] for term in found["terms"])
    assert made.size_formula.endswith(f"= {expected.shape[2]}")
    if 2 * padding > k:
        return
    pooled = compute(inputs, None, WindowSettings(operation="max", size=k, **where))
    np.testing.assert_array_equal(pooled.output, F.max_pool2d(x, k, **where).numpy())
    if dilation == 1:
        mean = compute(inputs, None, WindowSettings(operation="average", size=k, **where))
        np.testing.assert_allclose(mean.output, F.avg_pool2d(x, k, stride, padding).numpy(), rtol=0, atol=1e-12)


def test_a_max_pooling_at_the_edge_has_terms_outside_that_never_win() -> None:
    found: Any = compute(-1 - image(1) ** 2, None, WindowSettings(operation="max", padding=1)).at(0, 0)
    outside = [term for term in found["terms"] if term["value"] is None]
    assert len(outside) == 5
    assert all(term["term"] is None for term in outside)
    assert found["output"] == max(term["term"] for term in found["terms"] if term["term"] is not None)


@pytest.mark.parametrize(
    ("inputs", "kernel", "settings", "words"),
    [
        (image(1, 4, 4), np.ones((1, 5, 5)), {}, "output is empty"),
        (image(1, 4, 4), np.ones((1, 3, 3)), {"dilation": 3}, "output is empty"),
        (image(1, 4, 4) * np.nan, np.ones((1, 3, 3)), {}, "not finite"),
        (image(1, 4, 4), np.full((1, 3, 3), np.inf), {}, "not finite"),
        (image(3, 4, 4), np.ones((1, 3, 3)), {}, "needs 3 square parts"),
        (image(1, 4, 4), None, {"operation": "max", "size": 3, "padding": 2}, "more than half"),
        (image(1, 4, 4), None, {"operation": "average", "dilation": 2}, "no dilation"),
    ],
)
def test_what_cannot_be_computed_is_one_sentence(
    inputs: np.ndarray, kernel: np.ndarray | None, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(LabError, match=words):
        compute(inputs, kernel, WindowSettings(**settings))


def test_a_stride_larger_than_the_image_leaves_one_output() -> None:
    made = compute(image(1, 4, 4), np.ones((1, 3, 3)), WindowSettings(stride=8))
    assert made.output.shape == (1, 1, 1)
    for place in ((1, 0, 0), (0, -1, 0), (0, 0, 1)):
        with pytest.raises(LabError, match="There is no output"):
            made.at(*place)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 2; 3",
        "1 2 3; 4 5 6",
        "1 nan; 2 3",
        "a",
        "1e999",
        "__import__('os')",
        "9" * 10_000,
        "; ".join(["1 " * 8] * 8),
    ],
)
def test_a_kernel_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(LabError):
        parse_kernel(text)


def test_kernels_are_written_as_they_are_read() -> None:
    for text in PRESETS.values():
        np.testing.assert_array_equal(parse_kernel(write_kernel(parse_kernel(text))), parse_kernel(text))
    np.testing.assert_array_equal(parse_kernel("1,2\n3,-4e-1"), [[1, 2], [3, -0.4]])


def test_the_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    np.testing.assert_array_equal(digits(), load_digits().images[:10])
    assert load_digits().target[:10].tolist() == list(range(10))


def test_grey_is_the_luma_that_pillow_takes() -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    grey = image_channels(pixels, colour=False)[0] * 255
    assert np.abs(grey - np.asarray(Image.fromarray(pixels).convert("L"))).max() <= 0.51
    np.testing.assert_array_equal(image_channels(pixels, colour=True)[2] * 255, pixels[..., 2])
