"""The model card as Markdown: every figure of the card is in it, and nothing of the card is markup."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.checkpoints.model_card import model_card
from core.checkpoints.public import public_card
from core.checkpoints.store import CheckpointRef, list_checkpoints
from core.data import load_images
from tests.unit.checkpoints.conftest import card


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from leaves(each)
    elif value is not None and value != "":
        yield value


@pytest.mark.parametrize(
    "reference", [ref for ref in list_checkpoints() if ref.origin == "shipped"], ids=lambda ref: ref.name
)
def test_every_figure_of_what_ships_is_in_its_card(reference: CheckpointRef) -> None:
    text = model_card(reference.card)
    values = json.loads(reference.card.to_json())
    cells = set(re.findall(r"\| (.*) \|$", text.replace("\\", ""), re.MULTILINE))
    figures = {part for cell in cells for part in cell.split(" | ")[-1].split(", ")}
    checked = 0
    for part in ("metrics", "calibration", "recipe", "versions", "compression"):
        for figure in leaves(values[part]):
            wanted = f"{figure:.6g}" if isinstance(figure, float) else str(figure)
            assert wanted in figures or not isinstance(figure, int | float), f"{part}: {figure}"
            assert wanted in text.replace("\\", ""), f"{part}: {figure}"
            checked += 1
    assert checked > 20
    assert f"{reference.card.parameters:,}" in text
    assert reference.card.weights_sha256 in text


def test_what_a_card_holds_is_no_markup_and_no_folder() -> None:
    hostile = card(
        title="<script>x</script> | [a](b)",
        parent="/home/someone/secret/net",
        recipe={"dataset": "folder:/home/someone/secret/cats", "epochs": 3},
        metrics={"te|st": "a\n\n# heading", "test_accuracy": 0.5},
    )
    text = model_card(hostile)
    assert "<script>" not in text
    assert "\n# heading" not in text
    assert "secret" not in text
    assert "| te\\|st | a \\# heading |" in text
    assert "0.5" in text


def test_a_folder_of_ones_own_is_named_without_what_is_above_it(tiny_dataset_folder: Path) -> None:
    data = load_images(f"folder:{tiny_dataset_folder}").card
    mine = dataclasses.replace(
        card(recipe={"dataset": data.name, "init_from": "fast_resnet"}, parent="20260101-000000-net-abcdef/last"),
        dataset=data,
    )
    for text in (model_card(mine), public_card(mine).to_json()):
        assert str(tiny_dataset_folder.parent) not in text
        assert tiny_dataset_folder.name in text
        assert "20260101-000000-net-abcdef/last" in text
        assert "fast_resnet" in text.replace("\\", "")


def test_sections_without_content_are_left_out() -> None:
    text = model_card(dataclasses.replace(card(), metrics={}, notes=""))
    assert "## Figures" not in text
    assert "## Notes" not in text
    assert "## Network" in text
