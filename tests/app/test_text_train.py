"""Text / Train: from a recipe or an uploaded text to a run, and from a run to a model that writes."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.data import load_text
from core.jobs import RunStore
from core.models import MODELS
from core.training.config import IMAGES_ONLY, TEXT_ONLY
from core.training.recipes import RECIPES, fit_to_data
from pages.runs.view import SETTING
from pages.shared.dataset_field import TEXT_FILE
from tests.app.conftest import (
    HOSTILE,
    Open,
    arrive,
    click,
    mark,
    read,
    rerun,
    select,
    sources,
    texts,
    write_text_checkpoint,
    write_three_epochs,
)
from tests.app.test_train import finished_run
from tests.tiny_text import play

PLAY = play(5_000).encode()
REFUSED = {
    "binary": (bytes(range(256)) * 20, "not plain text"),
    "three characters": (b"abc", "at least 1,000 are needed"),
    "Latin-1": (("Où est le café? " * 100).encode("latin-1"), "not UTF-8"),
    "UTF-16": (play(2_000).encode("utf-16"), "UTF-16"),
    "nothing": (b"", "is empty"),
    "one character": (b"a" * 2_000, "repeats one character"),
}


def give(at: AppTest, data: bytes, name: str = "play.txt") -> AppTest:
    """Choose a file in the upload box of the form."""
    rerun(at.file_uploader(key="text-upload").set_value((name, data, "text/plain")))
    return at


def upload_form(open_page: Open) -> AppTest:
    at = open_page("text", view="Train")
    at.selectbox(key="text-dataset").set_value(TEXT_FILE).run()
    return at


def sample(epoch: int, text: str) -> str:
    return json.dumps({"step": 10 * epoch, "epoch": float(epoch), "text": text}) + "\n"


def finished_text_run(lab_home: Path, name: str = "Poet", **changes: object) -> str:
    """A run as a worker leaves it: three epochs of figures and samples, and a checkpoint."""
    run_id = RunStore().create(RECIPES["char_gru"]["quick"].replace(**changes), name)
    train, validation = {1: 2.4, 2: 1.9, 3: 1.6}, {1: 2.6, 2: 2.2, 3: 1.8}
    status = {"best_val_loss_nats": 1.8, "last_val_loss_nats": 1.8, "last_train_loss_nats": 1.5}
    folder = write_three_epochs(
        run_id,
        lambda epoch: {"train_loss_nats": train[epoch], "train_accuracy": 0.1 * epoch},
        lambda epoch: (
            {"train_loss_nats": train[epoch], "train_accuracy": 0.1 * epoch}
            | {"val_loss_nats": validation[epoch], "val_accuracy": 0.1 * epoch}
        ),
        **status | {"best_val_accuracy": 0.3, "last_val_accuracy": 0.3, "examples_per_s": 12_345.0},
    )
    (folder / "samples.jsonl").write_text("".join(sample(epoch, f"What epoch {epoch} wrote") for epoch in (1, 2, 3)))
    write_text_checkpoint(folder / "best", title=name, val_accuracy=0.3)
    return run_id


# The form


def test_the_quick_recipe_on_tiny_shakespeare_comes_first(open_page: Open, submitted: list[str]) -> None:
    at = open_page("text", view="Train")
    assert "Tiny Shakespeare is fetched when it is first needed (up to 1 MB)." in texts(at)
    assert " on this machine." in texts(at)
    click(at, "start")
    assert RunStore().config(submitted[0]) == RECIPES["char_lstm"]["quick"]
    assert at.query_params["run"] == submitted[0]


def test_only_language_models_and_their_fields_are_offered(open_page: Open) -> None:
    at = open_page("text", view="Train")
    titles = at.selectbox(key="text-model").options
    assert titles == [MODELS[name].title for name in MODELS if MODELS[name].task == "text"]
    for model in (name for name in MODELS if MODELS[name].task == "text"):
        at.selectbox(key="text-model").set_value(model).run()
        for recipe in RECIPES[model]:
            at.selectbox(key=f"recipe-{model}").set_value(recipe).run()
            keys = {widget.key for widget in [*at.selectbox, *at.number_input, *at.checkbox]}
            assert {f"{name}-{model}-{recipe}" for name in TEXT_ONLY} <= keys
            assert not {f"{name}-{model}-{recipe}" for name in IMAGES_ONLY} & keys
            assert "muon" not in at.selectbox(key=f"optimizer-{model}-{recipe}").options
    at = open_page("images", view="Train")
    keys = {widget.key for widget in [*at.selectbox, *at.number_input, *at.checkbox]}
    assert not {f"{name}-simple_cnn-quick" for name in TEXT_ONLY} & keys
    assert "muon" in at.selectbox(key="optimizer-simple_cnn-quick").options


def test_every_setting_reaches_the_run(open_page: Open, submitted: list[str]) -> None:
    at = open_page("text", view="Train")
    at.selectbox(key="text-model").set_value("char_gru").run()
    at.selectbox(key="text-dataset").set_value("shakespeare_complete")
    at.number_input(key="epochs-char_gru-quick").set_value(2.5)
    at.number_input(key="seed-char_gru-quick").set_value(7)
    at.number_input(key="batch_size-char_gru-quick").set_value(16)
    at.number_input(key="window-char_gru-quick").set_value(64)
    at.number_input(key="state_reset-char_gru-quick").set_value(0.1)
    at.selectbox(key="optimizer-char_gru-quick").set_value("sgd")
    at.text_input(key="run-name").set_value("My *run*")
    click(at, "start")
    run = RunStore().get(submitted[0])
    expected = {"epochs": 2.5, "seed": 7, "batch_size": 16, "window": 64, "state_reset": 0.1, "optimizer": "sgd"}
    assert run.config == RECIPES["char_gru"]["quick"].replace(dataset="shakespeare_complete", **expected)
    assert run.name == "My *run*"
    assert "My \\*run\\*" in sources(at)


# A text of one's own


def test_an_uploaded_text_becomes_a_dataset(open_page: Open, submitted: list[str], lab_home: Path) -> None:
    at = upload_form(open_page)
    assert "Choose a text file" in read(at.error[0].value)
    assert at.button(key="start").disabled
    give(at, b"\xef\xbb\xbf" + PLAY.replace(b"\n", b"\r\n"))
    assert not at.error
    click(at, "start")
    config = RunStore().config(submitted[0])
    fitted = fit_to_data(RECIPES["char_lstm"]["quick"], round(0.9 * len(PLAY)))
    assert config == fitted.replace(dataset=config.dataset)
    assert config.dataset.startswith(f"text:{lab_home}")
    data = load_text(config.dataset)
    assert (data.text.encode(), data.card.title) == (PLAY, "play.txt")
    # It can be chosen again without the file.
    at = open_page("text", view="Train")
    assert "play.txt" in at.selectbox(key="text-dataset").options
    at.selectbox(key="text-dataset").set_value(config.dataset).run()
    word = at.query_params["dataset"]
    assert "/" not in word, "where it lies is nobody's business"
    assert open_page("text", view="Train", dataset=word).selectbox(key="text-dataset").value == config.dataset
    click(at, "start")
    assert RunStore().config(submitted[1]).dataset == config.dataset
    at = open_page("text", view="Train")
    at.selectbox(key="text-dataset").set_value(config.dataset).run()
    Path(config.dataset.removeprefix("text:")).unlink()
    rerun(at)  # that it went away is no exception


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_text_is_one_sentence_and_the_form_keeps_what_was_typed(
    open_page: Open, submitted: list[str], what: str
) -> None:
    data, words = REFUSED[what]
    at = upload_form(open_page)
    at.number_input(key="epochs-char_lstm-quick").set_value(7.0)
    at.number_input(key="window-char_lstm-quick").set_value(32).run()
    give(at, data)
    assert len(at.error) == 1
    said = read(at.error[0].value)
    assert words in said
    assert said.startswith("play.txt ")
    assert "\n" not in at.error[0].value
    assert at.button(key="start").disabled
    assert at.selectbox(key="text-dataset").value == TEXT_FILE
    give(at, PLAY)
    assert not at.error
    click(at, "start")
    config = RunStore().config(submitted[0])
    assert (config.epochs, config.window) == (7.0, 32)
    assert load_text(config.dataset).text.encode() == PLAY


def test_a_bad_file_after_a_good_one_starts_nothing(open_page: Open, submitted: list[str]) -> None:
    at = give(upload_form(open_page), PLAY)
    assert not at.button(key="start").disabled
    give(at, b"abc")
    assert at.button(key="start").disabled
    at.file_uploader(key="text-upload").clear().run()
    assert "Choose a text file" in read(at.error[0].value)
    assert at.button(key="start").disabled


def test_the_name_of_an_upload_is_no_markup(open_page: Open, submitted: list[str]) -> None:
    at = give(upload_form(open_page), b"abc", f"{HOSTILE}.txt")
    assert HOSTILE in texts(at)
    assert "![" not in sources(at)
    give(at, PLAY, f"{HOSTILE}.txt")
    click(at, "start")
    assert "![" not in sources(at)


# A run


def test_a_finished_run_shows_nats_bits_and_samples(open_page: Open, lab_home: Path) -> None:
    at = open_page("text", view="Train", run=finished_text_run(lab_home))
    said = texts(at)
    assert "#### Poet :green-badge[" in said
    assert "Trained for 3 epochs." in said
    assert "## 30.0% of validation characters right; guessing gives 2.2%" in said
    assert {metric.label: metric.value for metric in at.metric} == {
        "Best val. (nats)": "1.800",
        "In bits": f"{1.8 / math.log(2):.2f}",
        "Train (nats)": "1.600",
        # Training loss in the last quarter before the evaluation was 1.6, validation 1.8.
        "Gap (nats)": "+0.200",
    }
    spec = at.get("plotly_chart")[0].proto.spec
    assert "loss (nats)" in spec
    assert "bits per character" in spec
    assert "12,345 characters/s" in at.get("progress")[0].proto.text
    assert at.slider(key="sample-at").value == 3
    assert [element.value for element in at.text] == ["What epoch 3 wrote"]
    at.slider(key="sample-at").set_value(1).run()
    assert [element.value for element in at.text] == ["What epoch 1 wrote"]


def test_samples_follow_the_run_unless_one_was_chosen(open_page: Open, lab_home: Path) -> None:
    run_id = finished_text_run(lab_home)
    path = lab_home / "runs" / run_id / "samples.jsonl"
    at = open_page("text", view="Train", run=run_id)
    path.write_text(path.read_text() + sample(4, "What epoch 4 wrote"))
    at.run()
    assert [element.value for element in at.text] == ["What epoch 4 wrote"]
    at.slider(key="sample-at").set_value(2).run()
    path.write_text(path.read_text() + sample(5, "What epoch 5 wrote"))
    at.run()
    assert [element.value for element in at.text] == ["What epoch 2 wrote"]


def test_a_run_without_figures_says_when_they_come(open_page: Open, lab_home: Path) -> None:
    run_id = finished_text_run(lab_home)
    folder = lab_home / "runs" / run_id
    (folder / "samples.jsonl").write_text("")
    assert "after the first evaluation" in texts(open_page("text", view="Train", run=run_id))
    (folder / "samples.jsonl").write_text(sample(1, "One") + '{"step": 20, "epoch": "x", "text": 3}\nhalf a li')
    at = open_page("text", view="Train", run=run_id)
    assert [element.value for element in at.text] == ["One"]
    assert not [slider for slider in at.slider if slider.key == "sample-at"]
    (folder / "metrics.jsonl").write_text("")
    assert "Curves appear with the first figures" in texts(open_page("text", view="Train", run=run_id))


def test_what_a_run_says_is_no_markup(open_page: Open, lab_home: Path) -> None:
    run_id = finished_text_run(lab_home, HOSTILE, dataset=f"text:/{HOSTILE}")
    folder = lab_home / "runs" / run_id
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps(status | {"message": HOSTILE}))
    (folder / "samples.jsonl").write_text(sample(1, HOSTILE))
    at = open_page("text", view="Train", run=run_id)
    assert texts(at).count(HOSTILE) >= 3
    assert "![" not in sources(at)
    assert [element.value for element in at.text] == [HOSTILE]


def test_a_trained_model_is_one_press_from_writing(open_page: Open, lab_home: Path, warm: None) -> None:
    run_id = finished_text_run(lab_home)
    write_text_checkpoint(lab_home / "none" / "other")
    at = open_page("text", view="Train", run=run_id)
    click(at, "use")
    assert at.segmented_control(key="view").value == "Write"
    assert at.selectbox(key="checkpoint").value == run_id
    at.number_input(key="write-length").set_value(5)
    click(at, "write")
    assert at.session_state["writing"].checkpoint.name == run_id
    at = click(open_page("text", view="Train", run=run_id), "pair-run")
    assert at.segmented_control(key="view").value == "Side by side"
    assert (at.selectbox(key="pair-first").value, at.selectbox(key="pair-second").value) == (run_id, "other")


def test_a_model_that_is_still_training_writes_with_its_last_state(
    open_page: Open, lab_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = finished_text_run(lab_home)
    write_text_checkpoint(lab_home / "runs" / run_id / "last", seed=1, title="Poet, last")
    run = dataclasses.replace(RunStore().get(run_id), status="running")
    monkeypatch.setattr(RunStore, "list", lambda self: [run])
    at = open_page("text", view="Train", run=run_id)
    click(at, "use")
    assert at.selectbox(key="checkpoint").value == f"{run_id}/last"


@pytest.mark.parametrize(("page", "other"), [("text", "images"), ("images", "text")])
def test_a_run_looked_at_on_the_page_of_another_task_is_shown_all_the_same(
    open_page: Open, lab_home: Path, page: str, other: str
) -> None:
    """A link that a person changed by hand."""
    run_id = finished_run(lab_home) if other == "images" else finished_text_run(lab_home)
    at = open_page(page, view="Train", run=run_id)
    assert "Trained for 3 epochs." in texts(at)
    click(at, "use")


def test_only_runs_of_the_task_are_listed_as_recent(open_page: Open, lab_home: Path) -> None:
    poet, classifier = finished_text_run(lab_home), finished_run(lab_home)
    for page, present, absent in (("text", poet, classifier), ("images", classifier, poet)):
        links = [link.proto.query_string for link in open_page(page, view="Train").get("page_link")]
        assert any(present in link for link in links)
        assert not any(absent in link for link in links)
    assert "1.800 nats validation" in texts(open_page("text", view="Train"))


# Runs


def test_the_tables_of_runs_hold_both_kinds_apart(open_page: Open, lab_home: Path) -> None:
    finished_text_run(lab_home)
    finished_run(lab_home)
    finished_run(lab_home, "Other", lr=0.1)
    table = open_page("runs", group="Text").dataframe[0].value.set_index("Name")
    assert table.loc["Poet", "Val. loss"] == pytest.approx(1.8)
    assert table.loc["Poet", "Model"] == "char_gru"
    at = open_page("runs", group="Images")
    assert at.dataframe[0].value.set_index("Name").loc["Mine", "Best val."] == pytest.approx(75.0)
    assert list(select(at, 0, 1).table[0].value[SETTING]) == ["lr"]


@pytest.mark.parametrize(("task", "title"), [("text", "Text"), ("images", "Images")])
def test_runs_opens_a_run_on_its_own_page(open_page: Open, lab_home: Path, task: str, title: str) -> None:
    run_id = finished_text_run(lab_home) if task == "text" else finished_run(lab_home)
    at = arrive(click(mark(select(open_page("runs"), 0), 0), "open"))
    assert at.title[0].value == title
    assert "Trained for 3 epochs." in texts(at)
    assert at.query_params["run"] == run_id
