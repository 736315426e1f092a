"""Results on disk: facts and parts of a run's folder, damaged or not, and examples that ship."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.common.errors import LabError
from core.common.results import FACTS, ResultStore, check_format


@dataclass(frozen=True)
class Weight:
    kg: float


def parse(values: dict[str, float]) -> Weight:
    return Weight(**values)


@pytest.fixture
def store(tmp_path: Path) -> ResultStore[Weight, Weight]:
    return ResultStore("weighing", tmp_path, parse, part_file="weight.json", parse_part=parse)


DAMAGED = ["", "{", "[]", "null", "3", '"x"', "[" * 100_000, '{"banana": 1}', "\xff"]


def test_facts_are_added_and_replaced(store: ResultStore[Weight, Weight], tmp_path: Path) -> None:
    assert store.read_facts(tmp_path) == {"classes": [], "made": {}}
    store.write_facts(tmp_path, classes=["cat", "dog"], made={"date": "2026-01-01"}, extra=1)
    store.write_facts(tmp_path, extra=2)
    assert store.read_facts(tmp_path) == {"classes": ["cat", "dog"], "made": {"date": "2026-01-01"}, "extra": 2}


def test_data_are_kept_and_others_refused(store: ResultStore[Weight, Weight], tmp_path: Path) -> None:
    begun = {"classes": "cat\ndog", "test_images": "1"}
    store.write_facts(tmp_path, extra=1)
    store.check_data(tmp_path, "Pets", begun)
    store.check_data(tmp_path, "Pets", begun)
    for other in (begun | {"test_images": "2"}, begun | {"classes": "dog\ncat"}, {"classes": "cat\ndog"}):
        with pytest.raises(
            LabError, match=r"^The data of Pets have changed since this weighing began: .* a new weighing\.$"
        ):
            store.check_data(tmp_path, "Pets", other)
    facts = store.read_facts(tmp_path)
    assert (facts["data"], facts["extra"]) == (begun, 1)


@pytest.mark.parametrize("content", [*DAMAGED, '{"classes": 3}', '{"made": []}', '{"made": null}'])
def test_damaged_facts_are_empty(store: ResultStore[Weight, Weight], tmp_path: Path, content: str) -> None:
    (tmp_path / FACTS).write_text(content, encoding="latin-1")
    facts = store.read_facts(tmp_path)
    assert (facts["classes"], facts["made"]) == ([], {})


def test_a_part_is_read_once_and_again_when_its_file_has_changed(
    store: ResultStore[Weight, Weight], tmp_path: Path
) -> None:
    assert store.read_part(tmp_path) is None
    for kg in (1.5, 2.5):
        store.write_part(tmp_path, Weight(kg))
        assert store.read_part(tmp_path) == Weight(kg)
        assert store.read_part(tmp_path) is store.read_part(tmp_path)


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_part_is_none(store: ResultStore[Weight, Weight], tmp_path: Path, content: str) -> None:
    (tmp_path / store.part_file).write_text(content, encoding="latin-1")
    assert store.read_part(tmp_path) is None


def test_examples_are_found_by_name(store: ResultStore[Weight, Weight], tmp_path: Path) -> None:
    assert store.shipped_names() == ()
    for name in ("one", "two"):
        (tmp_path / f"{name}.json").write_text('{"kg": 3.5}')
    assert store.shipped_names() == ("one", "two")
    assert store.load_shipped("one") == Weight(3.5)
    assert store.load_shipped("one") is store.load_shipped("one")
    with pytest.raises(LabError, match="choose one of one, two"):
        store.load_shipped(f"../{tmp_path.name}/one")


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_example_is_told(store: ResultStore[Weight, Weight], tmp_path: Path, content: str) -> None:
    (tmp_path / "one.json").write_text(content, encoding="latin-1")
    with pytest.raises(LabError, match="weighing .* cannot be read"):
        store.load_shipped("one")


@pytest.mark.parametrize("values", [None, 5, [], {"format": 1}, {"format": "2"}, {"format": None}])
def test_another_format_is_refused(values: object) -> None:
    with pytest.raises(LabError, match="weighing that this version"):
        check_format(values, 2, "weighing")


def test_values_without_a_number_are_of_the_first_format() -> None:
    assert check_format({"kg": 1}, 1, "weighing") == {"kg": 1}
    assert check_format(json.loads('{"format": 2}'), 2, "weighing") == {"format": 2}
