"""Axes and numbers that all figures share."""

from __future__ import annotations

import math

import pytest
from plotly.colors import sample_colorscale, unlabel_rgb

from core.common.theme import log_axis, new_figure, sequential, write_cells
from core.common.values import scientific


@pytest.mark.parametrize("values", [[0.14, 1.6], [1e-7, 0.3], [3, 3], [1e-38, 1], [], [0, None, 2e9]])
def test_a_logarithmic_axis_has_a_few_ticks_around_its_values(values: list[float | None]) -> None:
    axis = log_axis(values)
    low, high = axis["range"]
    assert all(low < math.log10(value) < high for value in values if value)
    assert 2 <= len(axis["tickvals"]) == len(set(axis["ticktext"])) <= 9
    for tick in axis["tickvals"]:
        assert low <= math.log10(tick) <= high
        assert f"{tick:e}"[0] in "125"
        assert high - low <= 2 or math.log10(tick) == pytest.approx(round(math.log10(tick)))


def test_numbers_with_a_power_of_ten_where_they_are_far_from_1() -> None:
    assert [scientific(value) for value in (0.0, 0.42, -1.04, 130.0)] == ["0", "0.42", "−1", "130"]
    assert [scientific(value, 3) for value in (2.6e-5, 1e-7, -3.25e12)] == ["2.6·10⁻⁵", "10⁻⁷", "−3.25·10¹²"]


def luminance(colour: str) -> float:
    """Relative, by WCAG 2. colour: `#rrggbb` or `rgb(r, g, b)`."""
    numbers = [int(colour[at : at + 2], 16) for at in (1, 3, 5)] if colour[0] == "#" else unlabel_rgb(colour)
    linear = [c / 12.92 if (c := number / 255) <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for number in numbers]
    return sum(share * value for share, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("dark", [False, True])
def test_words_on_a_heat_map_are_read_on_every_cell(dark: bool) -> None:
    figure, values = new_figure(dark=dark, height=100), list(range(101))
    write_cells(figure, values, [[str(value) for value in values]], [values], dark=dark)
    backgrounds = sample_colorscale(sequential(dark), [value / 100 for value in values])
    for note, background in zip(figure.layout.annotations, backgrounds, strict=True):
        low, high = sorted(map(luminance, (note.font.color, background)))
        assert (high + 0.05) / (low + 0.05) > 4.4, (note.text, background)
    figure = new_figure(dark=dark, height=100)
    write_cells(figure, [0, 1], [["", "5"]], [[3, 5]], dark=dark)
    assert [note.text for note in figure.layout.annotations] == ["5"]
