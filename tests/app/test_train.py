"""Images / Train: from the form to a run on disk, and back from an address to its live view."""

from __future__ import annotations

import dataclasses
import json
import platform
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import streamlit as st

from core.common.settings import fields_of
from core.jobs import RunStore
from core.models import MODELS
from core.training.config import IMAGES_ONLY, TEXT_ONLY, TrainConfig
from core.training.recipes import RECIPES
from tests.app.conftest import Open, click, read, sources, texts, write_checkpoint, write_three_epochs


def finished_run(lab_home: Path, name: str = "Mine", **changes: object) -> str:
    """A run as a worker leaves it: three epochs of figures, and a checkpoint."""
    run_id = RunStore().create(RECIPES["simple_cnn"]["quick"].replace(**changes), name)
    folder = write_three_epochs(
        run_id,
        lambda epoch: {"train_loss_nats": 2.0 / epoch, "train_accuracy": 0.3 * epoch},
        lambda epoch: (
            {"train_loss_nats": 2.2 / epoch, "train_accuracy": 0.28 * epoch, "val_loss_nats": 2.1 / epoch}
            | {"val_accuracy": 0.25 * epoch}
        ),
        best_val_accuracy=0.75,
        last_val_accuracy=0.75,
        last_train_loss_nats=0.667,
    )
    write_checkpoint(folder / "best", title=name)
    return run_id


@pytest.mark.parametrize(("model", "recipe"), [(model, recipe) for model in RECIPES for recipe in RECIPES[model]])
def test_start_makes_exactly_the_run_that_the_recipe_describes(
    open_page: Open, submitted: list[str], model: str, recipe: str
) -> None:
    task = MODELS[model].task
    at = open_page(task, view="Train")
    at.selectbox(key="model" if task == "images" else "text-model").set_value(model).run()
    at.selectbox(key=f"recipe-{model}").set_value(recipe).run()
    click(at, "start")
    assert not at.error
    assert submitted == [run.id for run in RunStore().list()]
    kept = {"snapshots": 6} if task == "images" else {}  # a recipe keeps none
    assert RunStore().config(submitted[0]) == RECIPES[model][recipe].replace(**kept)
    assert at.query_params["run"] == submitted[0]


def test_every_setting_reaches_the_run(open_page: Open, submitted: list[str]) -> None:
    at = open_page("images", view="Train")
    at.number_input(key="epochs-simple_cnn-default").set_value(2.5)
    at.number_input(key="seed-simple_cnn-default").set_value(7)
    at.selectbox(key="device").set_value("cpu")
    at.selectbox(key="optimizer-simple_cnn-default").set_value("sgd")
    at.number_input(key="lr-simple_cnn-default").set_value(0.05)
    at.checkbox(key="compile-simple_cnn-default").set_value(True)
    at.number_input(key="snapshots-simple_cnn-default").set_value(3)
    at.text_input(key="run-name").set_value("My *run*")
    click(at, "start")
    run = RunStore().get(submitted[0])
    expected = {"epochs": 2.5, "seed": 7, "device": "cpu", "optimizer": "sgd", "lr": 0.05, "compile": True}
    expected |= {"snapshots": 3}
    assert run.config == RECIPES["simple_cnn"]["default"].replace(**expected)
    assert run.name == "My *run*"
    assert "My \\*run\\*" in sources(at)


@pytest.mark.parametrize(("task", "meaningless"), [("images", TEXT_ONLY), ("text", (*IMAGES_ONLY, "head_lr"))])
def test_every_field_that_means_something_has_a_widget_with_its_explanation(
    open_page: Open, task: str, meaningless: tuple[str, ...]
) -> None:
    at = open_page(task, view="Train")
    widgets = [*at.selectbox, *at.number_input, *at.checkbox]
    helped = {widget.key.split("-")[0] for widget in widgets if widget.help}
    missing = set(fields_of(TrainConfig)) - helped
    assert missing == {"model", "recipe", "dataset", "model_config", *meaningless}


@pytest.mark.parametrize(
    ("task", "preset", "field", "label", "value"),
    [
        ("images", "simple_cnn-default", "epochs", "Epochs", -1.0),
        ("images", "simple_cnn-default", "crop_padding", "Crop shift", 99),
        ("images", "simple_cnn-default", "snapshots", "Snapshots", 51),
        ("images", "simple_cnn-default", "lr", "Learning rate", 0.0),
        ("text", "char_lstm-quick", "window", "Window", 0),
        ("text", "char_lstm-quick", "state_reset", "State reset", 1.5),
    ],
)
def test_a_wrong_value_is_one_sentence_in_the_words_of_the_form_and_nothing_starts(
    open_page: Open, submitted: list[str], task: str, preset: str, field: str, label: str, value: float
) -> None:
    at = open_page(task, view="Train")
    at.number_input(key=f"{field}-{preset}").set_value(value).run()
    assert at.number_input(key=f"{field}-{preset}").label.startswith(label)
    assert len(at.error) == 1
    said = read(at.error[0].value)
    assert f"{label} must be" in said
    assert not re.search(rf"\b{field}\b", said)
    assert at.button(key="start").disabled
    assert not submitted


def test_a_folder_needs_a_path(open_page: Open, submitted: list[str], tiny_dataset_folder: Path) -> None:
    at = open_page("images", view="Train")
    at.selectbox(key="dataset").set_value("A folder of mine").run()
    assert "Give the path of a folder" in read(at.error[0].value)
    at.text_input(key="folder").set_value(str(tiny_dataset_folder / "train" / "circle")).run()
    assert "at least 2 are needed" in read(at.error[0].value)
    assert at.button(key="start").disabled
    at.text_input(key="folder").set_value(str(tiny_dataset_folder)).run()
    click(at, "start")
    assert RunStore().config(submitted[0]).dataset == f"folder:{tiny_dataset_folder}"


def test_what_a_run_says_is_no_markup(open_page: Open, lab_home: Path) -> None:
    hostile = "![x](http://evil.example/x.png)"
    run_id = finished_run(lab_home, hostile, dataset=f"folder:/{hostile}")
    path = lab_home / "runs" / run_id / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"message": hostile}))
    at = open_page("images", view="Train", run=run_id)
    assert texts(at).count(hostile) >= 3
    assert "![" not in sources(at)


def test_an_address_finds_its_run(open_page: Open, lab_home: Path) -> None:
    at = open_page("images", view="Train", run=finished_run(lab_home))
    said = texts(at)
    assert "#### Mine :green-badge[" in said
    assert "Trained for 3 epochs." in said
    figures = {metric.label: metric.value for metric in at.metric}
    assert figures["Best validation"] == "75.0%"
    # Training accuracy in the last quarter before the evaluation was 90%, validation 75%.
    assert figures["Gap"] == "+15.0 pts"


@pytest.mark.parametrize(("button", "picker"), [("use", "checkpoint"), ("evaluate-run", "evaluated")])
def test_a_trained_checkpoint_is_one_press_from_its_use(
    open_page: Open, lab_home: Path, button: str, picker: str
) -> None:
    run_id = finished_run(lab_home)
    write_checkpoint(lab_home / "none" / "other")
    at = click(open_page("images", view="Train", run=run_id), button)
    assert at.selectbox(key=picker).value == run_id


def test_fields_without_effect_are_greyed(open_page: Open) -> None:
    at = open_page("images", view="Train")
    grey = {"bias_lr": True, "head_lr": True, "average_decay": False, "lr": False}
    assert {name: at.number_input(key=f"{name}-simple_cnn-default").disabled for name in grey} == grey
    at.selectbox(key="optimizer-simple_cnn-default").set_value("muon").run()
    assert not at.number_input(key="head_lr-simple_cnn-default").disabled
    at.number_input(key="head_lr-simple_cnn-default").set_value(-1.0).run()
    assert at.button(key="start").disabled
    at.selectbox(key="optimizer-simple_cnn-default").set_value("adamw").run()
    assert not at.button(key="start").disabled  # what is grey cannot be mended, so it does not count


def test_what_was_entered_survives_a_wrong_path_and_a_look_at_another_recipe(
    open_page: Open, submitted: list[str], tiny_dataset_folder: Path
) -> None:
    at = open_page("images", view="Train")
    at.number_input(key="epochs-simple_cnn-default").set_value(7.0).run()
    at.number_input(key="lr-simple_cnn-default").set_value(0.25).run()
    at.selectbox(key="dataset").set_value("A folder of mine").run()
    at.text_input(key="folder").set_value("/nowhere").run()
    at.selectbox(key="recipe-simple_cnn").set_value("quick").run()
    at.selectbox(key="recipe-simple_cnn").set_value("default").run()
    at.text_input(key="folder").set_value(str(tiny_dataset_folder)).run()
    click(at, "start")
    config = RunStore().config(submitted[0])
    assert (config.recipe, config.epochs, config.lr) == ("default", 7.0, 0.25)


def test_the_time_of_a_folder_is_known_once_a_run_has_counted_its_images(
    open_page: Open, lab_home: Path, tiny_dataset_folder: Path
) -> None:
    at = open_page("images", view="Train")
    at.selectbox(key="device").set_value("cpu")
    at.selectbox(key="dataset").set_value("A folder of mine").run()
    at.text_input(key="folder").set_value("/nowhere").run()
    assert "There is no folder /nowhere" in read(at.error[0].value)
    assert at.button(key="start").disabled
    at.text_input(key="folder").set_value(f"{tiny_dataset_folder}/").run()
    assert "unknown until" in texts(at)
    card = write_checkpoint(lab_home / "none" / "earlier")
    data = dataclasses.replace(card.dataset, name=f"folder:{tiny_dataset_folder}", sizes={"train": 162})
    (lab_home / "none" / "earlier" / "card.json").write_text(dataclasses.replace(card, dataset=data).to_json())
    at.run()
    assert "Time: about" in texts(at)


def test_a_link_brings_a_snapshot_and_the_list_does_not(open_page: Open, lab_home: Path) -> None:
    run_id = finished_run(lab_home)
    write_checkpoint(lab_home / "runs" / run_id / "epochs" / "2", title="Mine (epoch 2)")
    assert open_page("images", view="Evaluate").selectbox(key="evaluated").options == ["Mine · 12.3% test"]
    box = open_page("images", view="Evaluate", checkpoint=f"{run_id}/epoch-2").selectbox(key="evaluated")
    assert box.value == f"{run_id}/epoch-2"
    assert "Mine (epoch 2) · 12.3% test" in box.options


def test_what_snapshots_cost_is_said_where_they_are_kept(open_page: Open) -> None:
    at = open_page("images", view="Train")
    assert "7 × 170 kB, about 1.2 MB on disk" in texts(at)
    at.number_input(key="epochs-simple_cnn-default").set_value(3.0).run()
    assert "3 × 170 kB, about 509 kB on disk" in texts(at), "there are two evaluations before the last"
    at.number_input(key="snapshots-simple_cnn-default").set_value(0).run()
    assert "on disk" not in texts(at)
    at.selectbox(key="model").set_value("fast_resnet").run()
    at.selectbox(key="recipe-fast_resnet").set_value("long").run()
    assert "7 times the size of its weights on disk" in texts(at)
    assert "Snapshots, to see" not in texts(open_page("text", view="Train"))


@pytest.mark.parametrize(("system", "machine", "offered"), [("Darwin", "arm64", True), ("Linux", "aarch64", False)])
def test_the_gpu_of_a_mac_is_offered(
    open_page: Open, monkeypatch: pytest.MonkeyPatch, system: str, machine: str, offered: bool
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert ("mps" in open_page("images", view="Train").selectbox(key="device").options) is offered


def test_a_worker_without_a_sign_of_life_is_told_of(
    open_page: Open, lab_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = finished_run(lab_home)
    for silent_s, told in ((5, False), (600, True)):
        heartbeat = datetime.now(UTC) - timedelta(seconds=silent_s)
        run = dataclasses.replace(RunStore().get(run_id), status="running", heartbeat=heartbeat)
        monkeypatch.setattr(RunStore, "list", lambda self, run=run: [run])
        st.cache_resource.clear()
        assert ("No update for 10 min" in texts(open_page("images", view="Train", run=run_id))) is told
        status = open_page("runs").dataframe[0].value["Status"][0]
        assert status == ("Running, silent for 10 min" if told else "Running")


def test_a_test_accuracy_is_told_from_validation(open_page: Open, lab_home: Path) -> None:
    run_id = finished_run(lab_home, tta="flip")
    assert "without test-time" not in texts(open_page("images", view="Train", run=run_id))
    path = lab_home / "runs" / run_id / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"test_accuracy": 0.7}))
    st.cache_resource.clear()
    assert "without test-time augmentation" in texts(open_page("images", view="Train", run=run_id))


@pytest.mark.parametrize(("train_on", "told"), [("train", False), ("train+validation", True)])
def test_validation_figures_of_a_run_that_trains_on_it_are_called_void(
    open_page: Open, lab_home: Path, train_on: str, told: bool
) -> None:
    at = open_page("images", view="Train", run=finished_run(lab_home, train_on=train_on))
    assert ("say nothing about images it has not seen" in texts(at)) is told
