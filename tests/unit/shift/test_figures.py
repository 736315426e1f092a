"""Figures of the room: what they draw is what was measured, and every image is there."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from core.shift.figures import Tile, differences, falls, heat_map, sheet, tile_words, warnings_figure
from core.shift.results import CLEAN, unpack
from tests.unit.builders import trace
from tests.unit.shift.test_results import DONE, RESULT


@pytest.mark.parametrize("dark", [False, True])
def test_a_heat_map_has_the_clean_image_first(dark: bool) -> None:
    figure = heat_map(RESULT, 1, dark=dark)
    table = np.array(figure.data[0].z)
    assert table.shape == (len(DONE), 6)
    assert table[:, 0] == pytest.approx(100 * RESULT.accuracy(1))
    assert table[:, 1:] == pytest.approx(100 * RESULT.accuracies(1))
    assert [note.text for note in figure.layout.annotations] == [f"{value:.0f}" for value in table.ravel()]


def test_falls_and_differences_carry_their_intervals() -> None:
    figure = falls(RESULT, [1, 0], dark=False)
    corrupted = trace(figure, "corrupted")
    mean = RESULT.mean(1)
    assert corrupted.x[0] == pytest.approx(100 * mean.mean)
    assert corrupted.error_x.array[0] == pytest.approx(100 * (mean.high - mean.mean))
    assert trace(figure, "clean").x[1] == pytest.approx(100 * RESULT.accuracy(0))
    figure = differences(RESULT, 0, [1], dark=True)
    assert trace(figure, "corrupted").x[0] == pytest.approx(100 * RESULT.difference(0, 1).mean)
    assert trace(figure, "clean").x[0] == pytest.approx(100 * RESULT.clean_difference(0, 1).mean)


def test_the_warning_has_a_point_for_each_cell() -> None:
    figure = warnings_figure(RESULT, 0, dark=False)
    noise = trace(figure, "noise")
    assert len(noise.x) == 5
    assert noise.x[2] == pytest.approx(100 * (1 - RESULT.accuracy(0, "gaussian_noise", 3)))
    assert trace(figure, "clean").y[0] == pytest.approx(100 * unpack(RESULT.cell(0, CLEAN, 0).flags).mean())


def test_a_sheet_frames_what_is_marked() -> None:
    pixels = np.full((32, 32, 3), 90, np.uint8)
    rows = [
        [Tile(pixels=pixels, words=f"{x}", marked=(x, y) == (1, 0), more="<b>") for x in range(3)] for y in range(2)
    ]
    figure = sheet([rows[0], rows[1][:2]], ["one", "two"], ["a", "b", "c"], dark=False)
    assert len(figure.data[0].x) == 5
    assert [(shape.x0 < 1 < shape.x1, shape.y0 < 0 < shape.y1) for shape in figure.layout.shapes] == [(True, True)]
    assert figure.data[0].text[1] == "<b>1</b>"
    assert figure.data[0].customdata[0] == "&lt;b>"
    assert len(figure.layout.images) == 1


def test_the_words_below_an_image_are_whole() -> None:
    assert tile_words("automobile") == "automobile"
    assert tile_words("aquarium_fish") == "aquarium<br>fish"
    assert tile_words("a <class> whose name has no end").endswith("…")
    assert "<class" not in tile_words("a <class> whose name has no end")
    tile = Tile(pixels=np.full((32, 32, 3), 90, np.uint8), words="aquarium fish", marked=False, more="")
    one = sheet([[dataclasses.replace(tile, words="fish")]], [""], [], dark=False)
    assert sheet([[tile]], [""], [], dark=False).layout.height > one.layout.height, "a second line has room"
