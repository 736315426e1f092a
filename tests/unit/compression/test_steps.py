"""Steps of recipes that earlier versions wrote, and that every step can be done."""

from __future__ import annotations

from typing import Any

import pytest

from core.common.errors import LabError
from core.compression.steps import STEPS, Distill, Int8, Step, check_retired, read_step


@pytest.mark.parametrize(
    ("written", "step"),
    [
        ({"step": "int8", "images": 64, "method": "minmax"}, Int8(images=64)),
        ({"step": "distill", "seeds": 1, "features": 0.0}, Distill(seeds=1)),
    ],
)
def test_settings_of_earlier_versions_are_read_where_they_change_nothing(written: dict[str, Any], step: Step) -> None:
    assert read_step(written) == step
    check_retired([written])


@pytest.mark.parametrize(
    ("written", "name"),
    [({"step": "int8", "method": "entropy"}, "method"), ({"step": "distill", "features": 0.5}, "features")],
)
def test_results_of_settings_that_are_gone_are_read_and_recipes_refused(written: dict[str, Any], name: str) -> None:
    assert name not in read_step(written).to_dict()
    with pytest.raises(LabError, match=name):
        check_retired([{"step": "float16"}, written])


@pytest.mark.parametrize("name", STEPS)
def test_every_step_can_be_applied(name: str) -> None:
    assert STEPS[name].apply is not Step.apply
