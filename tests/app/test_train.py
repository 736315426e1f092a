"""Images / Train: from the form to a run on disk, and back from an address to its live view."""

from __future__ import annotations

import dataclasses
import json
import platform
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import streamlit as st

from core.checkpoints.store import find_checkpoint, read_card
from core.common.report import Chart
from core.common.settings import fields_of
from core.jobs import RunStore
from core.models import MODELS
from core.training.config import IMAGES_ONLY, TEXT_ONLY, TrainConfig
from core.training.kind import DIVERGED, PAGES
from core.training.recipes import RECIPES, fit_to_data, recipe_from
from core.training.sample_answers import SampleImages, add_answers, write_sample_images
from pages.shared.run_report import run_report
from pages.shared.train_form import GROUPS, SHOWN
from tests.app.conftest import (
    Open,
    click,
    follow,
    link,
    read,
    rerun,
    sources,
    texts,
    write_checkpoint,
    write_three_epochs,
)


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
    write_checkpoint(folder / "best", title=name, val_accuracy=0.75)
    return run_id


@pytest.mark.parametrize(("model", "recipe"), [(model, recipe) for model in RECIPES for recipe in RECIPES[model]])
def test_start_makes_exactly_the_run_that_the_recipe_describes(
    open_page: Open, submitted: list[str], model: str, recipe: str
) -> None:
    task = MODELS[model].task
    at = open_page(PAGES.get(task, task), view="Train")
    if RECIPES[model][recipe].init_from:
        at.selectbox(key="images-start").set_value(RECIPES[model][recipe].init_from).run()
    else:
        at.selectbox(key="model" if task == "images" else f"{task}-model").set_value(model).run()
    at.selectbox(key=f"recipe-{model}").set_value(recipe).run()
    click(at, "start")
    assert not at.error
    assert submitted == [run.id for run in RunStore().list()]
    kept = {"snapshots": 6} if task == "images" else {}  # a recipe keeps none
    assert RunStore().config(submitted[0]) == RECIPES[model][recipe].replace(**kept)
    assert at.query_params["run"] == submitted[0]


def test_what_a_start_from_imagenet_brings_is_drawn_once_it_is_opened(open_page: Open) -> None:
    assert "images of a class, ImageNet's weights reach" not in texts(open_page("images", view="Train"))
    at = open_page("images", view="Train", starts="1")
    assert "With 10 images of a class, ImageNet's weights reach 74%" in texts(at)


def test_every_setting_reaches_the_run(open_page: Open, submitted: list[str]) -> None:
    at = open_page("images", view="Train")
    at.number_input(key="epochs-simple_cnn-quick").set_value(2.5)
    at.number_input(key="seed-simple_cnn-quick").set_value(7)
    at.selectbox(key="device").set_value("cpu")
    at.selectbox(key="optimizer-simple_cnn-quick").set_value("sgd")
    at.number_input(key="lr-simple_cnn-quick").set_value(0.05)
    at.checkbox(key="compile-simple_cnn-quick").set_value(True)
    at.number_input(key="snapshots-simple_cnn-quick").set_value(3)
    at.text_input(key="run-name").set_value("My *run*")
    click(at, "start")
    run = RunStore().get(submitted[0])
    expected = {"epochs": 2.5, "seed": 7, "device": "cpu", "optimizer": "sgd", "lr": 0.05, "compile": True}
    expected |= {"snapshots": 3}
    assert run.config == RECIPES["simple_cnn"]["quick"].replace(**expected)
    assert run.name == "My *run*"
    assert "My \\*run\\*" in sources(at)


@pytest.mark.parametrize(("task", "meaningless"), [("images", TEXT_ONLY), ("text", (*IMAGES_ONLY, "head_lr"))])
def test_every_field_that_means_something_has_a_widget_with_its_explanation(
    open_page: Open, task: str, meaningless: tuple[str, ...]
) -> None:
    at = open_page(task, view="Train")
    widgets = [*at.selectbox, *at.number_input, *at.checkbox, *at.text_input]
    helped = {widget.key.split("-")[0] for widget in widgets if widget.help}
    missing = set(fields_of(TrainConfig)) - helped
    assert missing == {"model", "recipe", "dataset", "model_config", "init_from", "train_layers", *meaningless}


@pytest.mark.parametrize(
    ("task", "preset", "field", "label", "value"),
    [
        ("images", "simple_cnn-quick", "epochs", "Epochs", -1.0),
        ("images", "simple_cnn-quick", "crop_padding", "Crop shift", 99),
        ("images", "simple_cnn-quick", "snapshots", "Snapshots", 51),
        ("images", "simple_cnn-quick", "lr", "Learning rate", 0.0),
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
    assert figures["Best validation (kept)"] == "75.0%"
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
    assert {name: at.number_input(key=f"{name}-simple_cnn-quick").disabled for name in grey} == grey
    at.selectbox(key="optimizer-simple_cnn-quick").set_value("muon").run()
    assert not at.number_input(key="head_lr-simple_cnn-quick").disabled
    at.number_input(key="head_lr-simple_cnn-quick").set_value(-1.0).run()
    assert at.button(key="start").disabled
    at.selectbox(key="optimizer-simple_cnn-quick").set_value("adamw").run()
    assert not at.button(key="start").disabled  # what is grey cannot be mended, so it does not count


def test_what_was_entered_survives_a_wrong_path_and_a_look_at_another_recipe(
    open_page: Open, submitted: list[str], tiny_dataset_folder: Path
) -> None:
    at = open_page("images", view="Train")
    at.number_input(key="epochs-simple_cnn-quick").set_value(7.0).run()
    at.number_input(key="lr-simple_cnn-quick").set_value(0.25).run()
    at.selectbox(key="dataset").set_value("A folder of mine").run()
    at.text_input(key="folder").set_value("/nowhere").run()
    at.selectbox(key="recipe-simple_cnn").set_value("default").run()
    at.selectbox(key="recipe-simple_cnn").set_value("quick").run()
    at.text_input(key="folder").set_value(str(tiny_dataset_folder)).run()
    click(at, "start")
    config = RunStore().config(submitted[0])
    assert (config.recipe, config.epochs, config.lr) == ("quick", 7.0, 0.25)


def test_epochs_follow_the_size_of_the_data_until_a_person_says_otherwise(
    open_page: Open, tiny_dataset_folder: Path
) -> None:
    at = open_page("images", view="Train", dataset="folder")
    at.selectbox(key="device").set_value("cpu")
    epochs = at.number_input(key="epochs-simple_cnn-quick")
    assert epochs.value == 3
    at.text_input(key="folder").set_value("/nowhere").run()
    assert "There is no folder /nowhere" in read(at.error[0].value)
    assert at.button(key="start").disabled
    at.text_input(key="folder").set_value(f"{tiny_dataset_folder}/").run()
    fitted = fit_to_data(RECIPES["simple_cnn"]["quick"], 162)
    assert at.number_input(key="epochs-simple_cnn-quick").value == fitted.epochs > 100
    assert at.number_input(key="eval_every-simple_cnn-quick").value == fitted.eval_every > 10
    assert "Suggested for 162 training images: 300 epochs instead of the recipe's 3 on CIFAR-10." in texts(at)
    assert " on this machine." in texts(at), "the images are counted"
    assert "72.6" not in texts(at), "what the recipe gave was on another dataset"
    at.number_input(key="epochs-simple_cnn-quick").set_value(4.0).run()
    assert "Suggested for" not in texts(at)
    assert at.number_input(key="eval_every-simple_cnn-quick").value == 1, "so few epochs have an evaluation each"
    at.selectbox(key="dataset").set_value("cifar10").run()
    assert at.number_input(key="epochs-simple_cnn-quick").value == 4
    assert "72.6" not in texts(at), "nor with so many epochs"
    click(at, "back-to-recipe")
    assert at.number_input(key="epochs-simple_cnn-quick").value == 3
    assert "This run: 3 epochs" in texts(at)
    assert "72.6" in texts(at)
    assert not [button for button in at.button if button.key == "back-to-recipe"]


def test_every_field_has_one_place_in_the_form() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted([*SHOWN, *grouped]) == sorted(fields_of(TrainConfig))


def test_a_group_says_what_was_changed_in_it(open_page: Open) -> None:
    at = open_page("images", view="Train")
    assert "not in the link" not in texts(at)
    assert [box.label for box in at.expander if box.label.startswith("Optimizer")] == ["Optimizer"]
    at.selectbox(key="optimizer-simple_cnn-quick").set_value("muon").run()
    at.number_input(key="head_lr-simple_cnn-quick").set_value(0.5).run()
    at.number_input(key="cutout-simple_cnn-quick").set_value(4).run()
    titles = [box.label for box in at.expander]
    assert "not in the link" not in texts(at)
    assert "Optimizer · 2 changed" in titles
    assert "Augmentation · 1 changed" in titles
    assert "Changed: Optimizer muon (was adamw), Rate of the head 0.5 (was 0), Cutout 4 (was 0)." in texts(at)
    at.selectbox(key="optimizer-simple_cnn-quick").set_value("sgd").run()
    assert "Optimizer · 1 changed" in [box.label for box in at.expander], "what is idle does not count"
    click(at, "back-to-recipe")
    assert not [box.label for box in at.expander if "changed" in box.label]


def test_the_address_carries_model_recipe_and_dataset(open_page: Open) -> None:
    at = open_page("images", view="Train", model="fast_resnet", recipe="long", dataset="folder")
    boxes = ("model", "recipe-fast_resnet", "dataset")
    assert [at.selectbox(key=key).value for key in boxes] == ["fast_resnet", "long", "A folder of mine"]
    at.selectbox(key="model").set_value("simple_cnn").run()
    at.selectbox(key="recipe-simple_cnn").set_value("textbook").run()
    assert (at.query_params["recipe"], at.query_params["dataset"]) == ("textbook", "folder")
    at.selectbox(key="model").set_value("resnet18").run()
    assert not at.warning, "a recipe of another model stands for the first"
    assert at.selectbox(key="recipe-resnet18").value == "quick"
    for view in ("Evaluate", "Train"):
        rerun(at.segmented_control(key="view").set_value(view))
    assert [at.selectbox(key=key).value for key in ("model", "dataset")] == ["resnet18", "A folder of mine"]
    at = open_page("images", view="Train", recipe="![x](http:evil.example)")
    assert "There is no recipe" in read(at.warning[0].value)
    assert at.selectbox(key="recipe-simple_cnn").value == "quick"


def with_status(lab_home: Path, run_id: str, **status: object) -> str:
    path = lab_home / "runs" / run_id / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | status))
    st.cache_resource.clear()
    return run_id


def test_what_came_of_a_run_stands_beside_chance(open_page: Open, lab_home: Path) -> None:
    run_id = finished_run(lab_home)
    at = open_page("images", view="Train", run=run_id)
    assert "## 75.0% of validation images right; guessing gives 10%" in texts(at)
    assert "A validation figure: the dataset has no test images." in texts(at)
    last = finished_run(lab_home, keep="last")
    write_checkpoint(lab_home / "runs" / last / "best", val_accuracy=0.68)  # those that Classify and Download take
    assert "## 68.0% of validation images right" in texts(open_page("images", view="Train", run=last))
    at = open_page("images", view="Train", run=with_status(lab_home, run_id, test_accuracy=0.7124))
    assert "## 71.2% of test images right; guessing gives 10%" in texts(at)
    assert "A validation figure" not in texts(at)
    assert "95% interval 70.3% to 72.1%, from 10,000 test images." in texts(at)
    said = texts(open_page("images", view="Train"))
    assert "71.2% test" in said
    assert "75.00% validation" in said, "the other run has no test accuracy"


def run_page(lab_home: Path, run_id: str) -> str:
    """The report of a run as HTML, without its figures."""
    run, card = RunStore().get(run_id), find_checkpoint(run_id).card
    report = run_report(run, "71.2% of test images right", card)
    return (
        dataclasses.replace(report, blocks=[each for each in report.blocks if not isinstance(each, Chart)])
        .html()
        .decode()
    )


def test_the_report_of_a_run_says_interval_augmentation_and_what_was_changed(lab_home: Path) -> None:
    run_id = with_status(lab_home, finished_run(lab_home, lr=0.001, seed=3), test_accuracy=0.7124)
    shown, _, folded = run_page(lab_home, run_id).partition("<details>")
    assert "95% interval 70.3% to 72.1%, from 10,000 test images." in shown
    assert "test-time augmentation (flip)" in shown
    (table,) = re.findall("<tbody>.*?</tbody>", shown)
    assert re.findall("<td>(.*?)</td>", table) == ["Learning rate", "0.001", "0.006"]
    assert "<td>Random seed</td><td>3</td>" in folded or "<td>Seed</td><td>3</td>" in folded
    assert "Window" not in folded, "a setting of text"


def test_the_report_of_a_recipe_as_it_is_says_so(lab_home: Path) -> None:
    said = run_page(lab_home, finished_run(lab_home, tta="none"))
    assert "test-time augmentation" not in said
    assert "Settings that differ" in said, "the recipe has flip"
    assert "All settings are those of the recipe." in run_page(lab_home, finished_run(lab_home, seed=2))


def test_a_finished_run_says_its_test_accuracy_once(open_page: Open, lab_home: Path) -> None:
    run_id = finished_run(lab_home)
    figures = {"val_accuracy": 0.75, "test_accuracy": 0.7, "test_images": 1000}
    write_checkpoint(lab_home / "runs" / run_id / "best", **figures)
    message = "No gain in 5 evaluations; test accuracy 70.0% (95% interval 67.1% to 72.8%, 1,000 images)."
    with_status(lab_home, run_id, test_accuracy=0.7, message=message)
    said = texts(open_page("images", view="Train", run=run_id))
    assert said.count("70.0%") == 1
    assert "## 70.0% of test images right" in said
    assert "95% interval 67.1% to 72.8%, from 1,000 test images." in said
    assert "No gain in 5 evaluations." in said, "why it ended"


def test_the_sample_images_are_those_of_the_kept_weights(open_page: Open, lab_home: Path) -> None:
    run_id = finished_run(lab_home)
    folder = lab_home / "runs" / run_id
    at = open_page("images", view="Train", run=run_id)
    assert "images shown" not in texts(at), "an older run has none"
    pixels = np.zeros((3, 32, 32, 3), np.uint8)
    classes, hostile = ("ant", "bee", "![x](http:evil.example)"), "![x](http:evil.example)"
    write_sample_images(
        folder, SampleImages(split="test", pixels=pixels, labels=("ant", "bee", hostile), classes=classes)
    )
    for epoch, answers in ((0, [0, 1, 0]), (2, [0, 1, 2])):
        add_answers(folder, 10 * epoch, epoch, answers)
    at = rerun(at)
    # Those of the checkpoint, which says that it is of step 0.
    assert (
        "**2 of the 3 test images shown are right** with the kept weights, of epoch 0. It trains on the validation images too."
        in texts(at)
    )
    assert "![" not in sources(at)
    assert ":material/close: ant, not" in sources(at)
    (folder / "answers.jsonl").write_text('{"step": 0, "epoch": 1, "answers": [0, 1, 99]}')
    assert "images shown" not in texts(rerun(at)), "nor has a damaged one"


def test_changed_settings_are_in_the_link(open_page: Open, submitted: list[str]) -> None:
    at = open_page("images", view="Train", recipe="default")
    assert "set" not in link(at)
    for kind, name, value in (
        ("number_input", "lr", 0.05),
        ("number_input", "epochs", 5.0),
        ("checkbox", "compile", True),
    ):
        getattr(at, kind)(key=f"{name}-simple_cnn-default").set_value(value)
    rerun(at.selectbox(key="device").set_value("cpu"))
    assert json.loads(link(at)["set"]) == {"epochs": 5, "device": "cpu", "lr": 0.05, "compile": True}
    said = "Changed: Learning rate 0.05 (was 0.004), torch.compile True (was False)."
    assert said in texts(at)
    stranger = open_page("images", **link(at))
    assert not stranger.warning
    assert said in texts(stranger)
    assert "Optimizer · 1 changed" in [box.label for box in stranger.expander]
    assert link(stranger) == link(at)
    click(stranger, "start")
    changed = {"epochs": 5.0, "device": "cpu", "lr": 0.05, "compile": True, "snapshots": 6}
    assert RunStore().config(submitted[0]) == RECIPES["simple_cnn"]["default"].replace(**changed)


def test_back_restores_settings_and_they_stay_on_their_page(open_page: Open) -> None:
    at = open_page("images", view="Train")
    rate = "lr-simple_cnn-quick"
    usual = at.number_input(key=rate).value
    for value in (0.05, 0.5):
        rerun(at.number_input(key=rate).set_value(value))
    at.query_params["set"] = '{"lr":0.05}'  # Back
    assert rerun(at).number_input(key=rate).value == 0.05
    del at.query_params["set"]
    assert rerun(at).number_input(key=rate).value == usual
    rerun(at.number_input(key=rate).set_value(0.5))
    rerun(at.selectbox(key="recipe-simple_cnn").set_value("default"))
    assert "set" not in link(at), "another recipe has its own values"
    rerun(at.selectbox(key="recipe-simple_cnn").set_value("quick"))
    assert link(at)["set"] == '{"lr":0.5}'
    rerun(at.selectbox(key="recipe-simple_cnn").set_value("default"))
    del at.query_params["recipe"]  # Back to where nothing was changed yet
    assert rerun(at).number_input(key=rate).value == usual
    assert "set" not in link(at)
    rerun(at.number_input(key=rate).set_value(0.5))
    rerun(at.segmented_control(key="view").set_value("Evaluate"))
    assert "set" not in link(at)
    follow(at, "text", view="Train")
    assert "set" not in link(at)
    follow(at, "images")
    rerun(at.segmented_control(key="view").set_value("Train"))
    assert at.number_input(key=rate).value == 0.5, "who comes back finds the form as it was"


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ('{"epochs": -1, "lr": 0.5}', {"lr": 0.5}),
        ('{"epochs": "5", "<b>": 1, "lr": 0.5}', {"lr": 0.5}),
        ('{"optimizer": "gone", "device": "cuda:7", "seed": 0}', {}),
        ('{"model": "resnet18", "window": 7}', {}),  # of another parameter, of another task
        ('{"lr": NaN, "seed": true, "cutout": {}, "flip": []}', {}),
        ('{"lr": 1e999, "seed": 99999999999999999999}', {}),
        ("[1, 2]", {}),
        ("{", {}),
        ("[" * 700, {}),
        ('{"seed": %s}' % ("9" * 790), {}),
        ('{"lr": 0.5%s}' % (" " * 900), {}),
    ],
)
def test_settings_of_a_link_that_are_not_valid_are_left_out_with_a_sentence(
    open_page: Open, given: str, left: dict[str, float]
) -> None:
    at = open_page("images", view="Train", set=given)
    assert len(at.warning) == 1
    assert not at.error
    assert "<b>" not in at.warning[0].value
    assert json.loads(link(at).get("set", "{}")) == left
    assert len(rerun(at).warning) == 1
    rerun(at.number_input(key="seed-simple_cnn-quick").set_value(8))
    assert not at.warning


def test_a_value_that_is_not_valid_is_not_in_the_link(open_page: Open) -> None:
    at = open_page("images", view="Train", set='{"lr":0.5}')
    rerun(at.number_input(key="epochs-simple_cnn-quick").set_value(-1.0))
    assert link(at)["set"] == '{"lr":0.5}'
    assert "A value that is not valid is not in the link." in texts(at)


def test_edit_and_run_again_opens_the_form_as_the_run_was_made(
    open_page: Open, lab_home: Path, submitted: list[str], tiny_dataset_folder: Path
) -> None:
    changed = {"epochs": 5.0, "lr": 0.25, "cutout": 4, "seed": 3, "device": "cpu", "average": "none", "keep": "last"}
    run_id = finished_run(lab_home, dataset=f"folder:{tiny_dataset_folder}", **changed)
    at = click(open_page("images", view="Train", run=run_id), "edit-run")
    assert "run" not in at.query_params
    assert "#### New run" in texts(at)
    click(at, "start")
    assert RunStore().config(submitted[0]) == RunStore().config(run_id)
    gone = finished_run(lab_home, device="cuda:7")
    at = click(open_page("images", view="Train", run=gone), "edit-run")
    assert at.selectbox(key="device").value == "auto", "that device is not here any more"
    other = finished_run(lab_home, model_config={"widths": [8, 8]})
    at = open_page("images", view="Train", run=other)
    assert not [button for button in at.button if button.key == "edit-run"], "the form has no field for this"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (f"{DIVERGED} at step 3.", f"{DIVERGED} at step 3. Learning rate was 9; the recipe's is 0.006."),
        ("batch_size=128 is not valid: x.", "batch_size=128 is not valid: x."),  # the recipe has the same
        ("The disk is full.", "The disk is full."),
    ],
)
def test_after_a_failure_the_recipe_is_a_way_out(open_page: Open, lab_home: Path, message: str, said: str) -> None:
    run_id = with_status(lab_home, finished_run(lab_home, lr=9.0), status="failed", message=message)
    at = open_page("images", view="Train", run=run_id)
    assert [read(error.value) for error in at.error] == [said]
    assert at.button(key="edit-run")


def test_a_link_brings_a_snapshot_and_the_list_does_not(open_page: Open, lab_home: Path) -> None:
    run_id = finished_run(lab_home)
    write_checkpoint(lab_home / "runs" / run_id / "epochs" / "2", title="Mine (epoch 2)")
    assert open_page("images", view="Evaluate").selectbox(key="evaluated").options == ["Mine · 12.3%"]
    box = open_page("images", view="Evaluate", checkpoint=f"{run_id}/epoch-2").selectbox(key="evaluated")
    assert box.value == f"{run_id}/epoch-2"
    assert "Mine (epoch 2) · 12.3%" in box.options


def test_what_snapshots_cost_is_said_where_they_are_kept(open_page: Open) -> None:
    at = open_page("images", view="Train")
    assert "3 × 170 kB, about 509 kB on disk" in texts(at), "there are two evaluations before the last"
    at.number_input(key="epochs-simple_cnn-quick").set_value(40.0).run()
    assert "7 × 170 kB, about 1.2 MB on disk" in texts(at)
    at.number_input(key="snapshots-simple_cnn-quick").set_value(0).run()
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


@pytest.fixture
def parent(lab_home: Path) -> str:
    """A finished run whose card says how it was trained."""
    run_id = finished_run(lab_home, cutout=5)
    folder = RunStore().folder(run_id) / "best"
    card = dataclasses.replace(read_card(folder), recipe=RunStore().config(run_id).to_dict())
    (folder / "card.json").write_text(card.to_json())
    return run_id


def test_a_finished_run_is_trained_for_longer(open_page: Open, submitted: list[str], parent: str) -> None:
    at = open_page("images", view="Train", run=parent)
    files = {button.proto.label: button.proto.disabled for button in at.get("download_button")}
    assert files["TensorBoard"] is False
    click(at, "longer")
    assert at.query_params["from"] == parent
    assert at.selectbox(key="images-how").value == "longer"
    click(at, "start")
    config = RunStore().config(submitted[0])
    assert config == recipe_from(read_card(RunStore().folder(parent) / "best"), parent, "longer").replace(snapshots=6)
    assert (config.cutout, config.dataset) == (5, "cifar10")


def test_a_head_is_trained_on_a_checkpoint_without_augmentation(
    open_page: Open, submitted: list[str], parent: str
) -> None:
    at = open_page("images", view="Train", **{"from": parent, "recipe": "head"})
    key = f"{{}}-simple_cnn-head-{parent}"
    assert at.selectbox(key=key.format("flip")).disabled
    assert at.number_input(key=key.format("body_lr_factor")).disabled
    click(at, "start")
    config = RunStore().config(submitted[0])
    assert (config.init_from, config.train_layers, config.flip) == (parent, "head", "none")


def test_imagenet_weights_that_have_to_be_fetched_are_announced(open_page: Open, lab_home: Path) -> None:
    at = open_page("images", view="Train", **{"from": "efficientnet_lite0"})
    assert "ImageNet weights are fetched when it starts (17 MB)" in texts(at)
