"""What all configurations have in common, on one of three fields."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from core.common.errors import LabError
from core.common.settings import List, Settings, choices, field_help, fields_of


class Toy(Settings):
    rate: Annotated[float, Field(gt=0, le=10_000)]
    """How `fast`
    it goes."""
    sizes: Annotated[tuple[Annotated[int, Field(ge=1, le=9)], ...], List] = (1,)
    """Some sizes."""
    kind: Literal["a", "b"] = "a"
    """Which one."""
    more: dict[str, Any] = Field(default_factory=dict, alias="model_config")
    """Whatever else."""

    @classmethod
    def subject(cls) -> str:
        return " for toys"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, ("rate is missing for toys", "a number above 0 and at most 10,000")),
        ({"rate": None}, ("rate is missing for toys",)),
        ({"rate": 0}, ("rate=0 is not valid for toys", "above 0 and at most 10,000")),
        ({"rate": True}, ("rate=True is not valid",)),
        ({"rate": "3"}, ("rate='3' is not valid",)),
        ({"rate": float("nan")}, ("rate=nan is not valid",)),
        ({"rate": 1, "sizes": [1, 10]}, ("sizes=10 is not valid", "each a whole number from 1 to 9")),
        ({"rate": 1, "kind": "c"}, ("kind='c' is not valid", "one of a, b")),
        ({"rate": 1, "model_config": []}, ("model_config=[] is not valid", "a mapping")),
        (
            {"rate": 0, "pace": 1, "gait": 2},
            ("no setting named gait, pace for toys", "rate, sizes, kind, model_config"),
        ),
        ({"rate": "x" * 10_000}, ("rate='xxx",)),
    ],
)
def test_a_mistake_is_one_short_sentence(values: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(LabError, match=r"^[^\n]*\.$") as caught:
        Toy(**values)
    assert all(re.search(re.escape(word), str(caught.value)) for word in words), caught.value
    assert len(str(caught.value)) < 200


def test_what_is_no_mapping_is_told() -> None:
    with pytest.raises(LabError, match="mapping"):
        Toy.from_dict([1])


def test_it_survives_json_and_does_not_change() -> None:
    toy = Toy(rate=2, sizes=(3, 4), model_config={"x": [1]})
    assert Toy.from_dict(json.loads(json.dumps(toy.to_dict()))) == toy
    assert toy.to_dict()["model_config"] == {"x": [1]}
    assert toy.replace(kind="b", model_config={}) == Toy(rate=2, sizes=(3, 4), kind="b")
    with pytest.raises(LabError, match="rate=-1"):
        toy.replace(rate=-1)
    with pytest.raises(ValidationError):
        toy.rate = 3


def test_forms_and_flags_find_description_and_choices() -> None:
    fields = fields_of(Toy)
    assert list(fields) == ["rate", "sizes", "kind", "model_config"]
    assert field_help(fields["rate"]) == "How fast it goes."
    assert choices(fields["kind"]) == ("a", "b")
    assert choices(fields["rate"]) == ()
