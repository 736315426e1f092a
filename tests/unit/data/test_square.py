"""The square of a photo that a model sees: the pixels that NumPy cuts out, whatever is asked for."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from core.common.errors import LabError
from core.data.decode import crop_square, fit_to_model
from core.data.square import LEAST_PX, Square, parse_square

PHOTO = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)


def square(left: float, top: float, side: float) -> Square:
    return Square(left=left, top=top, side=side)


@pytest.mark.parametrize(
    ("asked", "left", "top", "side"),
    [
        ((0.1, 0.2, 0.5), 20, 20, 50),
        ((0, 0, 1), 0, 0, 100),
        ((1, 1, 0.25), 175, 75, 25),  # held inside
        ((0.9, 0, 1), 100, 0, 100),
        ((0.5, 0.5, 0.001), 100, 50, LEAST_PX),
    ],
)
def test_the_model_sees_the_pixels_that_numpy_cuts_out(
    asked: tuple[float, float, float], left: int, top: int, side: int
) -> None:
    cut = PHOTO[top : top + side, left : left + side]
    assert cut.shape == (side, side, 3)
    assert np.array_equal(crop_square(PHOTO, square(*asked)), cut)
    resized = Image.fromarray(cut).resize((32, 32), Image.Resampling.BICUBIC, reducing_gap=3.0)
    assert np.array_equal(fit_to_model(PHOTO, 32, square(*asked)), np.asarray(resized))


def test_the_central_square_is_the_default() -> None:
    assert np.array_equal(crop_square(PHOTO), PHOTO[:, 50:150])
    assert np.array_equal(fit_to_model(PHOTO, 32), fit_to_model(PHOTO, 32, square(0.25, 0, 1)))
    assert np.array_equal(
        fit_to_model(PHOTO.transpose(1, 0, 2)), fit_to_model(PHOTO.transpose(1, 0, 2), 32, square(0, 0.25, 1))
    )


def test_a_square_of_an_image_of_the_models_size_is_cut_too() -> None:
    small = PHOTO[:32, :32]
    assert np.array_equal(fit_to_model(small, 32, square(0, 0, 1)), small)
    assert not np.array_equal(fit_to_model(small, 32, square(0, 0, 0.5)), small)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 3), (1, 500), (7, 9), (512, 683)])
def test_a_square_lies_inside_photos_of_any_shape(height: int, width: int) -> None:
    rgb = np.zeros((height, width, 3), np.uint8)
    for asked in ((0, 0, 1), (1, 1, 1), (1, 0, 0.001), (0.333, 0.667, 0.4)):
        left, top, side = square(*asked).box(width, height)
        assert min(left, top) >= 0
        assert left + side <= width
        assert top + side <= height
        assert side >= min(LEAST_PX, height, width)
        assert fit_to_model(rgb, 32, square(*asked)).shape == (32, 32, 3)


@pytest.mark.parametrize("text", ["0.1,0.2,0.5", "0,0,1", "0.125,0,0.001"])
def test_a_square_is_read_as_it_is_written(text: str) -> None:
    assert str(parse_square(text)) == text


def test_a_square_is_written_with_three_decimals() -> None:
    assert str(square(1 / 3, 0.5, 2 / 3)) == "0.333,0.5,0.667"
    assert parse_square(" 0.1, 2e-1 ,.5") == square(0.1, 0.2, 0.5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nan,0,1",
        "0,nan,1",
        "0,0,nan",
        "inf,0,1",
        "-0.1,0,1",
        "0,1.001,1",
        "0,0,0",
        "0,0,2",
        "0,0",
        "0,0,1,1",
        "a,b,c",
    ]
    + ["0" * 5000 + ",0,1"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(LabError, match="numbers from 0 to 1"):
        parse_square(text)
