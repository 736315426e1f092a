"""The Compression page: a new recipe, from the form to its run folder."""

from __future__ import annotations

import re

import pytest
from streamlit.testing.v1 import AppTest

from core.checkpoints.store import Card
from core.compression.kind import COMPRESS
from core.compression.recipe import PRESETS, CompressConfig
from core.compression.steps import STEPS, Cluster, Distill, HuffmanCode, Int8, PruneChannels, PruneGradually
from core.jobs import RunStore
from pages.compression import cost
from pages.compression.cost import time_range
from pages.compression.fields import LABELS
from pages.shared.text import UNBROKEN
from tests.app.conftest import Open, click, follow, link, read, rerun, sources, texts, unfold


@pytest.fixture
def new(open_page: Open, warm: None, shipped: Card) -> AppTest:
    return open_page("compression", view="New recipe")


def step_titles(at: AppTest) -> list[str]:
    """The steps in the form, in order."""
    return [text.value.strip("*") for text in at.markdown if re.match(r"\*\*\d\. ", text.value)]


def setting(at: AppTest, kind: str, name: str, place: int = 0) -> object:
    """The widget of a setting, of the place-th step that has it."""
    return [
        item for item in getattr(at, kind) if (item.key or "").startswith("step-") and item.key.endswith(f"-{name}")
    ][place]


def test_start_makes_the_preset(new: AppTest, submitted: list[str]) -> None:
    assert step_titles(new) == ["1. int8"], "the quickest"
    assert "**1 variant**, no training, **20 s to 2 min**." in texts(new)
    click(new, "preset-fastest")
    assert step_titles(new) == ["1. Prune channels", "2. Fine-tune", "3. int8"]
    assert "**3 variants**" in texts(new)
    assert "8 epochs of training" in texts(new)
    click(new, "start-recipe")
    assert submitted == [run.id for run in RunStore().list()]
    assert RunStore().get(submitted[0]).kind == COMPRESS.name
    config = RunStore().config(submitted[0])
    assert (config.checkpoint, config.recipe, config.model) == ("tiny", "fastest", "simple_cnn")
    assert config.parsed() == PRESETS["fastest"].steps
    assert new.segmented_control(key="view").value == "Results"
    assert new.query_params["recipe"] in (submitted[0], [submitted[0]])
    assert "#### Simple CNN, Fastest on this CPU" in texts(new)


@pytest.mark.parametrize("preset", [name for name, item in PRESETS.items() if item.task == "images"])
def test_every_preset_of_images_can_be_started(new: AppTest, submitted: list[str], preset: str) -> None:
    click(new, f"preset-{preset}")
    assert not new.error
    click(new, "start-recipe")
    assert RunStore().config(submitted[0]).recipe == preset


def test_every_choice_reaches_the_run(new: AppTest, submitted: list[str]) -> None:
    click(new, "preset-fastest")
    setting(new, "number_input", "amount").set_value(0.3)
    setting(new, "selectbox", "importance").set_value("taylor")
    setting(new, "number_input", "images").set_value(64)
    (tune,) = (row.number for row in new.session_state["recipe-steps-images"] if row.step.title == "Fine-tune")
    click(new, f"recipe-out-{tune}")
    new.text_input(key="recipe-name").set_value("My *recipe*")
    new.number_input(key="recipe-seed").set_value(5)
    new.number_input(key="recipe-threads").set_value(2)
    new.selectbox(key="recipe-device").set_value("cpu")
    click(new, "start-recipe")
    config = RunStore().config(submitted[0])
    assert config.parsed() == (PruneChannels(amount=0.3, importance="taylor"), Int8(images=64))
    assert (config.recipe, config.seed, config.threads, config.device) == ("custom", 5, 2, "cpu")
    assert "My \\*recipe\\*" in sources(new)


def test_steps_are_added_moved_and_taken_out(new: AppTest, submitted: list[str]) -> None:
    click(new, "preset-half")
    new.selectbox(key="recipe-more-images").set_value("low_rank").run()
    click(new, "recipe-add")
    assert [title[3:] for title in step_titles(new)] == ["float16", "Low rank"]
    number = max(
        int(button.key.rpartition("-")[2]) for button in new.button if (button.key or "").startswith("recipe-up-")
    )
    click(new, f"recipe-up-{number}")
    assert [title[3:] for title in step_titles(new)] == ["Low rank", "float16"]
    click(new, f"recipe-out-{number}")
    assert [title[3:] for title in step_titles(new)] == ["float16"]
    assert "**1 variant**, no training, **20 s to 2 min**." in texts(new)
    click(new, "start-recipe")
    assert RunStore().config(submitted[0]).recipe == "half"


def test_steps_that_make_no_recipe_are_one_sentence(new: AppTest) -> None:
    new.selectbox(key="recipe-more-images").set_value("float16").run()
    click(new, "recipe-add")
    assert "int8 must be the last step" in read(new.error[0].value)
    click(new, "preset-half")
    click(new, next(button.key for button in new.button if (button.key or "").startswith("recipe-out-")))
    assert "A recipe has 1 to 12 steps" in read(new.error[0].value)
    assert new.button(key="start-recipe").disabled


BAD = {
    "amount 0": ("fastest", "number_input", "amount", 0.0, "Amount 0.0 is not valid for prune channels"),
    "one image": ("int8", "number_input", "images", 1, "Images to calibrate 1 is not valid for int8"),
    "no JSON": ("student", "text_input", "student_config", "{", "are no JSON"),
}


@pytest.mark.parametrize(("preset", "kind", "name", "value", "sentence"), BAD.values(), ids=BAD)
def test_a_bad_value_is_one_sentence_and_nothing_is_lost(
    new: AppTest, preset: str, kind: str, name: str, value: object, sentence: str
) -> None:
    click(new, f"preset-{preset}")
    setting(new, kind, name).set_value(value).run()
    assert not new.exception, new.exception
    assert len(new.error) == 1
    assert sentence in read(new.error[0].value)
    assert new.button(key="start-recipe").disabled
    assert setting(new, kind, name).value == value


def test_text_has_presets_and_steps_of_its_own(open_page: Open, warm: None, scribe: Card, submitted: list[str]) -> None:
    at = open_page("compression", view="New recipe", checkpoint="scribe")
    assert at.segmented_control(key="compress-task").value == "text"
    assert [button.label for button in at.button if (button.key or "").startswith("preset-")] == [
        item.title for item in PRESETS.values() if item.task == "text"
    ]
    assert STEPS["prune_channels"].title not in at.selectbox(key="recipe-more-text").options
    click(at, "preset-text_student")
    click(at, "start-recipe")
    (step,) = RunStore().config(submitted[0]).parsed()
    assert isinstance(step, Distill)
    assert step.student_config == {"width": 256, "layers": 1, "embedding": 64}


def test_the_other_kind_of_network_takes_its_own_checkpoint(new: AppTest, scribe: Card) -> None:
    rerun(new.segmented_control(key="compress-task").set_value("text"))
    assert not new.warning
    assert new.selectbox(key="compress-text").value == "scribe"


def test_a_link_names_a_preset(open_page: Open, warm: None, shipped: Card) -> None:
    at = open_page("compression", view="New recipe", preset="half")
    assert step_titles(at) == ["1. float16"]
    assert at.button(key="preset-half").proto.type == "primary"
    assert step_titles(click(at, "preset-int8")) == ["1. int8"]
    follow(at, "compression", view="New recipe", preset="quantized")
    assert step_titles(at) == ["1. Quantization-aware training", "2. int8"]
    at = open_page("compression", view="New recipe", preset="tiny")
    assert "There is no preset 'tiny'" in read(at.warning[0].value)
    assert step_titles(at) == ["1. int8"]


def test_changed_steps_are_in_the_link(new: AppTest, open_page: Open, submitted: list[str]) -> None:
    click(new, "preset-fastest")
    assert set(link(new)) == {"view", "preset"}
    setting(new, "number_input", "amount").set_value(0.3)
    setting(new, "selectbox", "importance").set_value("taylor")
    click(new, "recipe-out-3")
    rerun(new.number_input(key="recipe-threads").set_value(2))
    assert "not in the link" not in texts(new)
    stranger = open_page("compression", **link(new))
    assert not stranger.warning
    assert "The steps differ from the preset's" in texts(stranger)
    assert link(stranger) == link(new)
    click(stranger, "start-recipe")
    config = RunStore().config(submitted[0])
    assert config.parsed() == (PruneChannels(amount=0.3, importance="taylor"), Int8())
    assert (config.recipe, config.threads) == ("custom", 2)
    address = {"view": "New recipe", "preset": "fastest", "set": link(new)["set"]}
    assert link(click(new, "preset-half"))["set"] == '{"threads":2}', "another preset has its own steps"
    new.query_params.clear()
    new.query_params.update(address)  # Back
    assert step_titles(rerun(new)) == ["1. Prune channels", "2. int8"]
    rerun(setting(new, "number_input", "amount").set_value(0.0))
    assert link(new)["set"] == address["set"]
    assert "Settings that are not valid are not in the link" in texts(new)


@pytest.mark.parametrize(
    "given",
    [
        '{"steps": [{"step": "<b>"}]}',
        '{"steps": [{"step": "int8"}, {"step": "float16"}]}',
        '{"steps": [], "threads": 0}',
        '{"steps": [{"step": "distill", "student_config": {"a": [1]}, "seeds": 99}]}',
        '{"checkpoint": "other"}',
        "7",
    ],
)
def test_a_link_to_a_recipe_that_cannot_be_is_a_sentence(
    open_page: Open, warm: None, shipped: Card, given: str
) -> None:
    at = open_page("compression", view="New recipe", set=given)
    assert len(at.warning) == 1
    assert not at.error
    assert "set" not in link(at)
    assert step_titles(at) == ["1. int8"]


def test_a_run_of_the_page_that_was_cut_short_leaves_the_form_usable(new: AppTest) -> None:
    del new.session_state["recipe-set-images-came"]
    assert step_titles(rerun(new)) == ["1. int8"]
    assert not new.exception


def test_what_the_scan_takes_out_is_in_the_link(new: AppTest, open_page: Open) -> None:
    assert not [item for item in new.segmented_control if item.key == "scan-kind"]
    rerun(unfold(new, "sensitivity").segmented_control(key="scan-kind").set_value("channels"))
    assert set(link(new)) == {"view", "scan", "scan-kind"}
    assert open_page("compression", **link(new)).segmented_control(key="scan-kind").value == "channels"
    assert len(open_page("compression", **link(new) | {"scan-kind": "<b>"}).warning) == 1


def test_steps_that_are_too_many_for_a_link_are_named(new: AppTest) -> None:
    for _ in range(10):
        new.selectbox(key="recipe-more-images").set_value("prune_channels").run()
        click(new, "recipe-add")
        rows = new.session_state["recipe-steps-images"]
        new.session_state["recipe-steps-images"] = [rows[-1], *rows[:-1]]
    rerun(new)
    assert not new.error
    assert "set" not in link(new)
    assert "The changed settings are not in the link" in texts(new)


def test_every_button_has_a_name(new: AppTest) -> None:
    assert all(button.label.strip() for button in new.button)


RANGES = {
    (30, 90): "30 s to 2 min",
    (372, 1200): "6 to 20 min",
    (40, 50): "40 to 50 s",
    (3000, 7500): "50 min to 2 h 5 min",
}


@pytest.mark.parametrize(("ends", "said"), RANGES.items(), ids=str)
def test_a_range_of_time_in_words(ends: tuple[float, float], said: str) -> None:
    assert time_range(*ends) == said


def test_the_time_is_one_range_over_training_and_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_seconds", lambda *_: 600.0)
    steps = tuple(step.to_dict() for step in PRESETS["fastest"].steps)
    config = CompressConfig(checkpoint="tiny", steps=steps, model="simple_cnn", dataset="cifar10")
    # 0.7 × 600 s + 3 × 30 s, and 2 × 600 s + 3 × 90 s.
    assert cost.cost_line(config).replace(UNBROKEN, " ") == "**3 variants**, 8 epochs of training, **8 to 25 min**."


def test_every_setting_of_every_step_has_a_label_and_a_sentence() -> None:
    for kind in STEPS.values():
        assert set(kind.model_fields) <= set(LABELS)
        assert all(info.description for info in kind.model_fields.values()), kind
    assert {type(step) for step in PRESETS["smallest"].steps} == {PruneGradually, Cluster, HuffmanCode}
