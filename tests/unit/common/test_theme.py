"""Axes and numbers that all figures share."""

from __future__ import annotations

import math

import pytest

from core.common.theme import log_axis
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
