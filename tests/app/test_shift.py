"""The Shift page: what it shows is what core computes, every choice is in the address, bad input is one sentence."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from core.checkpoints.store import find_checkpoint, load_checkpoint
from core.data import DATASETS
from core.jobs import RunStore
from core.shift import emoji as emoji_module
from core.shift import official
from core.shift.catalogue import COMMON, CORRUPTIONS, RECOMPUTED
from core.shift.cli import new_config
from core.shift.config import ShiftConfig
from core.shift.cost import measurement_seconds
from core.shift.emoji import EXAMPLES, NAMES, VENDORS, Emoji, example_emoji
from core.shift.image import contact_sheet
from core.shift.kind import SHIFT
from core.shift.renditions import RENDITIONS, measure_renditions
from core.shift.results import CLEAN, MEASUREMENTS, part_folder
from pages.shared.text import duration
from pages.shift import renditions_view
from tests.app.conftest import Open, chart, click, link, read, rerun, texts, unfold
from tests.unit.shift.conftest import small_data, write_network
from tests.unit.shift.test_results import RESULT

pytestmark = pytest.mark.usefixtures("warm")
CORRUPT_S = dict.fromkeys(CORRUPTIONS, 0.1)
"""Seconds for an image."""


@pytest.fixture
def networks(lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Two checkpoints that ship, and their small dataset in CIFAR-10's place; no table ships."""
    data = small_data()
    source = dataclasses.replace(DATASETS["cifar10"], load=lambda _: data, is_ready=lambda: True)
    monkeypatch.setitem(DATASETS, "cifar10", source)
    for place, name in enumerate(("simple_cnn", "other")):
        write_network(lab_home / "none" / name, place, data)
    monkeypatch.setattr(MEASUREMENTS, "shipped", lab_home / "no-tables")
    monkeypatch.setattr(RENDITIONS, "shipped", lab_home / "no-renditions")
    return "simple_cnn", "other"


@pytest.fixture
def table(networks: tuple[str, ...], lab_home: Path) -> None:
    """The planted result as what ships."""
    (lab_home / "no-tables").mkdir()
    for name in ("checkpoints", "arms"):
        (lab_home / "no-tables" / f"{name}.json").write_text(json.dumps(RESULT.to_dict()))


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> list[Emoji]:
    random = np.random.default_rng(0)
    made = [
        Emoji(name=name, label=label, vendor=vendor, rgba=random.integers(0, 256, (64, 64, 4), dtype=np.uint8))
        for vendor in VENDORS
        for name, label in NAMES
    ]
    monkeypatch.setattr(renditions_view, "has_emoji", lambda: True)
    monkeypatch.setattr(renditions_view, "load_emoji", lambda *_: made)
    return made


def test_what_ships_answers_at_once(open_page: Open, table: None) -> None:
    at = open_page("shift")
    assert at.selectbox(key="shift-of-shipped-checkpoints").value == "b"
    assert RESULT.answer(1) in read(texts(at))
    assert RESULT.mean(1).percent in read(texts(at))
    assert RECOMPUTED in texts(at)
    assert "severities 1 (weak) to 5 (strong)" in texts(at)
    assert "73.5%" in texts(at)
    assert len(at.get("plotly_chart")) == 2
    at = rerun(at.selectbox(key="shift-of-shipped-checkpoints").set_value("a"))
    assert RESULT.answer(0) in read(texts(at))
    assert link(at)["network"] == "a"
    at = unfold(at, "warning-shipped-checkpoints")
    found = RESULT.warning(0)
    assert f"flags {100 * found.wrong:.0f}% of wrong answers and {100 * found.right:.0f}% of right ones" in texts(at)
    at = rerun(at.segmented_control(key="example-task").set_value("arms"))
    assert link(at)["of"] == "arms"


def test_nothing_ships(open_page: Open, networks: tuple[str, ...]) -> None:
    assert "make one of your own" in read(texts(open_page("shift")))
    assert "There is nothing to compare yet" in texts(open_page("shift", view="Compare"))


def test_a_comparison_is_paired(open_page: Open, table: None) -> None:
    at = open_page("shift", view="Compare")
    assert at.selectbox(key="shift-base").value == "a"
    gap = RESULT.difference(0, 1)
    assert f"B gains most: {gap.points.partition(' ')[0]} points" in read(texts(at))
    at = rerun(at.selectbox(key="shift-base").set_value("b"))
    assert "A costs most" in texts(at)
    assert link(at)["base"] == "b"
    at = unfold(at, "families-checkpoints")
    assert list(at.table[0].value) == ["Checkpoint", "Noise", "Weather"]
    names = [name for name in RESULT.common if name == "fog"]
    assert at.table[0].value["Weather"].tolist() == [RESULT.difference(1, 0, names, comparisons=2).points]
    at = open_page("shift", view="Compare", base="nobody")
    assert len(at.warning) == 1


def test_one_image_through_all_corruptions(open_page: Open, networks: tuple[str, ...]) -> None:
    at = open_page("shift", view="Your image", seed="4")
    assert not at.error
    assert "corrupted versions" in texts(at)
    assert len(at.get("plotly_chart")) == 1
    at = unfold(at, "shift-table")
    from core.data.decode import decode_image, model_input
    from pages.shared.examples import examples

    pixels = model_input(decode_image(examples()["bird"]).rgb, 32)
    found = contact_sheet(load_checkpoint(find_checkpoint("simple_cnn")), pixels, 4)
    assert found.answer in read(texts(at))
    assert [item.alt for element in at.get("image") for item in element.proto.imgs if "original" in item.alt]
    words = [word.removeprefix("<b>").removesuffix("</b>") for word in chart(at, 0)["data"][0]["text"]]
    assert words == [item.label for row in found.rows.values() for item in row]
    changes = ["stays" if (at_ := found.flips_at(name)) is None else f"changes at {at_}" for name in found.rows]
    assert at.table[0].value["Answer"].tolist() == changes
    assert link(at)["seed"] == "4"
    assert len(open_page("shift", view="Your image", seed="x").warning) == 1


def test_drawings_are_measured_where_they_are_here(
    open_page: Open, networks: tuple[str, ...], drawings: list[Emoji], lab_home: Path
) -> None:
    at = open_page("shift", view="Renditions")
    found = measure_renditions(load_checkpoint(find_checkpoint("simple_cnn")), drawings)
    assert found.answer in read(texts(at))
    assert len(at.get("plotly_chart")) == 1
    at = unfold(at, "shift-classes")
    assert at.table[0].value["Class"].tolist() == list(found.by("label"))
    at = rerun(at.segmented_control(key="shift-look").set_value("twitter-grey"))
    assert link(at)["look"] == "twitter-grey"
    at = unfold(at, "shift-new-test")
    assert "it could not be fetched where this was made" in texts(at)
    # Twelve figures of what ships stand for just these weights.
    (lab_home / "no-renditions").mkdir()
    shipped = dataclasses.replace(found, title="As it ships", fingerprint=find_checkpoint("other").card.fingerprint)
    (lab_home / "no-renditions" / "other.json").write_text(json.dumps(shipped.to_dict()))
    assert "As it ships names" in texts(open_page("shift", view="Renditions", checkpoint="other"))


def test_drawings_that_ship_are_measured_and_the_others_are_offered(
    open_page: Open, networks: tuple[str, ...], lab_home: Path
) -> None:
    assert not emoji_module.has_emoji()
    at = open_page("shift", view="Renditions")
    checkpoint = load_checkpoint(find_checkpoint("simple_cnn"))
    found = measure_renditions(checkpoint, example_emoji())
    assert found.answer in read(texts(at))
    assert len(chart(at, 0)["data"][0]["text"]) == len(EXAMPLES)
    assert "Ten of 52 emoji are measured here" in read(texts(at))
    assert "emoji-datasource-google-16.0.0 (74 MB)" in read(texts(at))
    assert at.button(key="fetch-emoji").label.startswith("Fetch the emoji (136")
    assert not official.has_new_test()
    # What ships is of all emoji, of which ten are shown.
    (lab_home / "no-renditions").mkdir()
    items = tuple(dataclasses.replace(found.items[0], name=name, label=label) for name, label in NAMES)
    shipped = dataclasses.replace(found, items=(*found.items, *items), fingerprint=checkpoint.card.fingerprint)
    (lab_home / "no-renditions" / "simple_cnn.json").write_text(json.dumps(shipped.to_dict()))
    assert "You see ten of the 52 emoji" in read(texts(open_page("shift", view="Renditions")))


def test_a_measurement_is_started_and_shown_as_it_grows(
    open_page: Open, networks: tuple[str, ...], submitted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.shift.cost.corrupt_seconds", lambda side: CORRUPT_S)
    monkeypatch.setattr("core.inference.cost.answer_seconds", lambda checkpoint: 0.5)
    at = open_page("shift", view="New measurement", checkpoints="simple_cnn,other")
    at = rerun(at.number_input(key="shift-images").set_value(12))
    assert "912 images to make" in read(texts(at))
    config = new_config(networks, images=12)
    assert f"**About {duration(measurement_seconds(config, CORRUPT_S, [0.5, 0.5]))}** on this machine." in texts(at)
    at = rerun(at.checkbox(key="shift-four").check())
    assert link(at)["four"] == "1"
    rerun(at.button(key="start-shift").click())
    (run_id,) = submitted
    config = RunStore().config(run_id)
    assert isinstance(config, ShiftConfig)
    assert (config.checkpoints, config.images, len(config.corruptions)) == (networks, 12, 19)
    assert "Nothing is measured yet" in texts(open_page("shift", measurement=run_id))
    folder = RunStore().folder(run_id)
    for name in (CLEAN, "fog"):
        part_folder(folder, name).mkdir()
        MEASUREMENTS.write_part(part_folder(folder, name), RESULT.parts[name])
    at = open_page("shift", measurement=run_id)
    assert "fog costs most" in texts(at)
    assert SHIFT.page(RunStore().get(run_id))[1]["measurement"] == run_id
    at = open_page("shift", view="Compare", **{"from": run_id})
    assert "gains most" in texts(at)


def test_bad_input_is_one_sentence(open_page: Open, networks: tuple[str, ...]) -> None:
    at = open_page("shift", view="New measurement")
    at = rerun(at.number_input(key="shift-images").set_value(0))
    assert len(at.error) == 1
    assert at.button(key="start-shift").disabled
    at = rerun(at.number_input(key="shift-images").set_value(5))
    at = rerun(at.multiselect(key="shift-checkpoints").set_value([]))
    assert "No checkpoint is given" in read(texts(at))
    at = rerun(at.selectbox(key="shift-files").set_value("official"))
    assert "are not on this machine" in texts(at)
    assert new_config(("simple_cnn",)).corruptions == COMMON
    other = RunStore().create(new_config(("simple_cnn",)), kind=SHIFT.name)
    assert not open_page("shift", measurement=other).exception
    assert "There is no run" in read(texts(open_page("shift", measurement="nothing"))) or open_page("shift").title


def test_the_form_opens_from_the_list(open_page: Open, networks: tuple[str, ...]) -> None:
    run_id = RunStore().create(new_config(("simple_cnn",)), "Mine", kind=SHIFT.name)
    at = open_page("shift", measurement=run_id)
    at = click(at, "all-measurements")
    assert at.segmented_control(key="view").value == "Measurements"
