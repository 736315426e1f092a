"""Flags that are made from the fields of a configuration, and how their values are read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from cyclopts import CycloptsError
from pydantic import Field

from core.common.commands import Pairs, Whole, between, new_app, takes_settings, usage_error
from core.common.errors import LabError
from core.common.settings import List, Settings


class Toy(Settings):
    model_settings: dict[str, Any] = Field(default_factory=dict, alias="model_config")
    """Of the model."""
    epochs: Annotated[float, Field(gt=0)] = 2.5
    """Passes over `the data`."""
    steps: int = 3
    """Steps."""
    kind: Literal["none", "some"] = "none"
    """Which."""
    compile: bool = False
    """Faster."""
    sizes: Annotated[tuple[Annotated[int, Field(ge=1)], ...], List] = (1, 2)
    """Sizes."""
    arms: Annotated[tuple[str, ...], List] = ("a",)
    """Arms."""


def run(line: str) -> Any:
    app = new_app("lab", "A toy.")

    @app.command
    @takes_settings(Toy)
    def start(*, settings: dict[str, Any] | None = None) -> dict[str, Any]:
        """Start."""
        return settings or {}

    @app.command
    @takes_settings(Toy, ("steps",), defaults=False)
    def other(
        *,
        options: Pairs | None = None,
        count: Annotated[Whole, between(0, 5)] = 0,
        settings: dict[str, Any] | None = None,
    ) -> Any:
        """Another."""
        return options, count, settings

    return app(line.split())


def test_only_what_is_given_is_a_setting_and_has_its_type() -> None:
    assert run("start") == {}
    given = run(
        "start --model-config depth=2 --model-config name=x --epochs 1 --steps 7 --kind some --compile --sizes 5,6 --sizes 7"
    )
    assert dict(given.pop("model_config")) == {"depth": 2, "name": "x"}
    assert given == {"epochs": 1.0, "steps": 7, "kind": "some", "compile": True, "sizes": (5, 6, 7)}
    assert Toy(**given).sizes == (5, 6, 7)
    assert run("start --no-compile --kind none --arms a,b=1/2") == {
        "compile": False,
        "kind": "none",
        "arms": ("a", "b=1/2"),
    }
    assert run("other --options a=1 --options b=[2] --count 4 --steps 5") == ([("a", 1), ("b", [2])], 4, {"steps": 5})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("start --steps 1.5", "'1.5' is not a whole number"),
        ("start --epochs x", "--epochs"),
        ("start --kind other", '"none", "some"'),
        ("start --sizes 1,x", "whole numbers"),
        ("start --model-config depth", "KEY=VALUE"),
        ("start --no-arms", "--no-arms"),
        ("other --epochs 1", "--epochs"),
        ("other --count -1", "a whole number from 0 to 5"),
        ("other --count x", "'x' is not a whole number"),
    ],
)
def test_what_is_wrong_is_one_line_that_says_where_to_look(line: str, words: str) -> None:
    with pytest.raises(CycloptsError) as found:
        run(line)
    said = usage_error(found.value)
    assert words in said
    assert said.endswith(f"See python -m core {line.split()[0]} --help")
    assert "\n" not in said


def test_a_range_is_the_models_own_sentence() -> None:
    with pytest.raises(LabError, match="epochs must be a number above 0"):
        Toy(**run("start --epochs 0"))


def test_help_says_what_the_fields_say(capsys: pytest.CaptureFixture[str]) -> None:
    run("start --help")
    help_text = " ".join(capsys.readouterr().out.split())
    assert "--model-config KEY=VALUE: Of the model." in help_text
    assert "--epochs FLOAT: Passes over the data. [default: 2.5]" in help_text
    assert "--kind CHOICE: Which. [default: none] [choices: none, some]" in help_text
    assert "--compile, --no-compile: Faster." in help_text
    assert "--sizes A,B: Sizes. [default: 1,2]" in help_text
    run("other --help")
    assert "--steps INT: Steps." in capsys.readouterr().out
