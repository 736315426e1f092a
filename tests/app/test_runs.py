"""The Runs page."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from streamlit.proto.Common_pb2 import StringTriggerValue
from streamlit.testing.v1 import AppTest

from core.checkpoints.store import Card
from core.jobs import RunStore
from core.training.config import TrainConfig
from pages.runs.table import row
from pages.runs.view import SETTING, differences, unique_names
from pages.shared.resources import forget_runs
from pages.shared.run_labels import address
from pages.shared.tables import csv_bytes
from tests.app.compressions import result_of as compressed
from tests.app.compressions import store_recipe
from tests.app.conftest import Open, arrive, click, follow, mark, rerun, select, texts
from tests.app.studies import result_of, store_study
from tests.app.test_text_train import finished_text_run
from tests.app.test_train import finished_run


def rename_dialog() -> None:
    from core.jobs import RunStore
    from pages.runs.actions import ask_rename

    ask_rename(RunStore().list()[0])


def delete_dialog() -> None:
    import streamlit as st

    from core.jobs import RunStore
    from pages.runs.actions import ask_delete

    ask_delete([run for run in RunStore().list() if run.name == st.session_state["doomed"]])


def test_an_empty_table_says_what_to_do(open_page: Open) -> None:
    at = open_page("runs")
    assert "#### Nothing was trained here yet." in texts(at)
    assert "its run appears here as soon as it is started" in texts(at)
    assert {link.proto.page for link in at.get("page_link")} == {"images", "text"}


def test_the_table_shows_each_run(open_page: Open, lab_home: Path) -> None:
    finished_run(lab_home, "First")
    RunStore().create(TrainConfig(), "Second")
    table = open_page("runs").dataframe[0].value
    assert sorted(table["Name"]) == ["First", "Second"]
    by_name = table.set_index("Name")
    assert by_name.loc["First", "Best val."] == pytest.approx(75.0)
    assert by_name.loc["First", "Status"] == "Finished"
    assert by_name.loc["Second", "Status"] == "Stopped"


def test_selected_runs_show_what_differs_and_only_that(open_page: Open, lab_home: Path) -> None:
    finished_run(lab_home, "Low", lr=0.001)
    finished_run(lab_home, "Setting", lr=0.1, seed=4)
    at = select(open_page("runs"), 0, 1)
    table = at.table[0].value
    assert sorted(table[SETTING]) == ["lr", "seed"]
    assert set(table.columns) == {SETTING, "Low", "Setting"}
    assert table.set_index(SETTING).loc["lr", "Low"] == "0.001"


def test_rename(open_page: Open, lab_home: Path) -> None:
    run_id = finished_run(lab_home, "Old")
    at = mark(select(open_page("runs"), 0), 0)
    click(at, "rename")
    assert at.text_input(key="new-name").value == "Old"

    at = AppTest.from_function(rename_dialog).run()
    at.text_input(key="new-name").set_value("New")
    click(at, "save-name")
    assert RunStore().get(run_id).name == "New"
    at.text_input(key="new-name").set_value("")
    click(at, "save-name")
    assert len(at.error) == 1
    assert RunStore().get(run_id).name == "New"


def test_delete_asks_first(open_page: Open, lab_home: Path) -> None:
    kept, gone = finished_run(lab_home, "Kept"), finished_run(lab_home, "Gone")
    at = open_page("runs")
    place = list(at.dataframe[0].value["Name"]).index("Gone")
    mark(select(at, place), place)
    click(at, "delete")
    assert "This removes Gone: figures, logs and checkpoints. It cannot be undone." in texts(at)
    assert {run.id for run in RunStore().list()} == {kept, gone}

    at = AppTest.from_function(delete_dialog)
    at.session_state["doomed"] = "Gone"
    at.run()
    click(at, "confirm-delete")
    assert [run.id for run in RunStore().list()] == [kept]


def test_a_selection_never_slides_to_another_run(open_page: Open, lab_home: Path) -> None:
    """Positions shift when a run appears on top; what was selected by position must not name another run then."""
    chosen = finished_run(lab_home, "Chosen")
    at = select(open_page("runs"), 0)
    assert at.button(key="delete")
    RunStore().create(TrainConfig(), "Newcomer")
    forget_runs()
    rerun(at)
    assert list(at.dataframe[0].value["Name"]) == ["Newcomer", "Chosen"]
    assert at.session_state["runs-chosen"] == [chosen]
    assert at.button(key="delete")


def test_a_damaged_run_is_in_the_table_and_can_be_deleted(open_page: Open, lab_home: Path) -> None:
    run_id = finished_run(lab_home, "Broken")
    path = lab_home / "runs" / run_id / "config.json"
    values = json.loads(path.read_text())
    values["config"]["epochs"] = -1
    path.write_text(json.dumps(values))
    at = select(open_page("runs"), 0)
    assert list(at.dataframe[0].value["Name"]) == ["Broken"]
    assert at.button(key="delete")
    assert not at.error


def test_a_study_is_in_the_table_with_what_it_compares_and_opens_on_its_page(open_page: Open, lab_home: Path) -> None:
    finished_run(lab_home, "Training")
    run_id = store_study(result_of(name="Study"), over=7, status="stopped")
    at = open_page("runs", group="Images")
    shown = at.dataframe[0].value.set_index("Name")
    assert shown.loc["Training", "Done"] == "epoch 3 of 3"
    assert "What" not in shown
    at = open_page("runs", group="Studies")
    assert "#### 2 runs, none under way: Images 1, Studies 1." in texts(at)
    shown = at.dataframe[0].value.set_index("Name")
    assert shown.loc["Study", "Done"] == "runs 7 of 36"
    assert shown.loc["Study", "Model"] == "simple_cnn"
    assert shown.loc["Study", "What"].startswith("L2 (weight decay), Dropout, Flip + crop")
    assert not {"Best val.", "Last val.", "Val. loss", "Test"} & set(shown)
    place = list(shown.index).index("Study")
    at = mark(select(at, place), place)
    assert "select it alone, and open it" in texts(at)
    assert not at.get("plotly_chart")
    at = arrive(click(at, "open"))
    assert at.title[0].value == "Regularization"
    assert "#### Study :orange-badge[" in texts(at)
    assert at.query_params["study"] == run_id


def test_text_and_images_stand_apart_each_with_its_dataset_and_best(open_page: Open, lab_home: Path) -> None:
    finished_text_run(lab_home, "Poet")
    finished_run(lab_home, "Low")
    finished_run(lab_home, "High *run*")
    path = RunStore().folder(next(run.id for run in RunStore().list() if run.name.startswith("High"))) / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"best_val_accuracy": 0.8}))
    at = open_page("runs", group="Text")
    assert "#### 3 runs, none under way: Images 2, Text 1." in texts(at)
    assert "Best on Tiny Shakespeare: **Poet**, 1.800 nats validation." in texts(at)
    table = at.dataframe[0].value
    assert list(table["Name"]) == ["Poet"]
    assert list(table)[:4] == ["Name", "Dataset", "Status", "Val. loss"]
    at.session_state["runs-group"] = "Images"
    table = rerun(at).dataframe[0].value
    assert set(table["Name"]) == {"Low", "High *run*"}
    assert list(table)[:4] == ["Name", "Dataset", "Status", "Best val."]
    assert set(table["Dataset"]) == {"CIFAR-10"}
    assert "Best on CIFAR-10: **High *run***, 80.0% validation." in texts(at)
    assert "group" not in at.query_params  # that of the newest run needs no word


def test_the_best_is_the_one_on_test_images_and_a_tie_is_said(open_page: Open, lab_home: Path) -> None:
    """10,000 test images: 80% has the interval 79.2% to 80.8%."""

    def said(**tested: float) -> str:
        for run in RunStore().list():
            path = RunStore().folder(run.id) / "status.json"
            figures = {"best_val_accuracy": 0.99} if run.name == "Unmeasured" else {"test_accuracy": tested[run.name]}
            path.write_text(json.dumps(json.loads(path.read_text()) | figures))
        forget_runs()
        at = open_page("runs", group="Images")
        assert list(at.dataframe[0].value)[3] == "Test"
        return texts(at)

    for name in ("One", "Two", "Unmeasured"):
        finished_run(lab_home, name)
    assert "Best on CIFAR-10: **One**, 80.0% test." in said(One=0.8, Two=0.79)
    tie = said(One=0.795, Two=0.8)
    assert "Tie on CIFAR-10: **Two**, **One**; best 80.0% test (95% interval 79.2% to 80.8%)." in tie
    assert "Best on CIFAR-10" not in tie


def test_losses_that_read_the_same_tie(open_page: Open, lab_home: Path) -> None:
    for name in ("Poet", "Bard"):
        finished_text_run(lab_home, name)
    said = texts(open_page("runs", group="Text"))
    assert "Tie on Tiny Shakespeare: " in said
    assert "best 1.800 nats validation (the same figure)." in said


def test_a_name_opens_its_run_and_back_finds_the_group(open_page: Open, lab_home: Path) -> None:
    run_id = finished_text_run(lab_home, "Poet")
    finished_run(lab_home, "Newest")
    at = open_page("runs", group="Text")
    key = next(key for key in at.dataframe[0].proto.button_click_widgets.values())
    states = at._tree.get_widget_states()
    states.widgets.add(id=key, string_trigger_value=StringTriggerValue(data=json.dumps({"row": 0, "label": "Poet"})))
    at._run(states)
    assert not at.exception, at.exception
    assert arrive(at).title[0].value == "Text"
    assert at.query_params["run"] == run_id
    follow(at, "runs", group="Text")
    assert list(at.dataframe[0].value["Name"]) == ["Poet"]


def test_only_the_link_to_the_open_run_looks_current(open_page: Open, lab_home: Path) -> None:
    run_id = finished_run(lab_home, "Mine")
    styles = "".join(element.proto.body for element in open_page("images", view="Train", run=run_id).get("html"))
    assert f':not([href*="={run_id}"])' in styles
    at = open_page("images", view="Train", run='20261129-"]{}')
    assert not any("2026" in element.proto.body for element in at.get("html"))


def test_the_table_as_a_file_has_no_figures_of_a_training_for_a_study() -> None:
    values = row(RunStore().get(store_study(result_of(), over=7)))
    assert (values["runs_done"], values["recipe"]) == (7, "regularization study")
    assert values["compares"] == "none l2=0.1 dropout=0.1/0.5 augment=2 dropout=0.3+augment=2"
    assert {values.get(name) for name in ("epoch", "seed", "val_tta", "test_tta", "best_val_accuracy")} == {None}


def test_a_recipe_is_in_the_table_with_what_it_does_and_opens_on_its_page(open_page: Open, shipped: Card) -> None:
    run_id = store_recipe(compressed(name="Smaller"))
    at = open_page("runs")
    shown = at.dataframe[0].value.set_index("Name")
    assert shown.loc["Smaller", "What"] == "prune 50% of the weights, fine-tune for 2 epochs, float16"
    assert shown.loc["Smaller", "Done"] == "variants 3 of 3"
    assert address(RunStore().get(run_id))[1] == {"view": "Results", "recipe": run_id}
    values = row(RunStore().get(run_id))
    assert (values["variants_done"], values["checkpoint"], values["recipe"]) == (3, "tiny", "custom")
    assert [values.get(name) for name in ("epoch", "val_tta", "test_tta", "runs_done")] == [None] * 4


def test_differences_names_and_csv(lab_home: Path) -> None:
    configs = [TrainConfig(lr=lr).to_dict() for lr in (0.1, 0.2, 0.1)]
    assert differences(configs) == ["lr"]
    assert differences(configs[:1]) == []
    store = RunStore()
    for _ in range(2):
        store.create(TrainConfig(), "Same")
    assert len(set(unique_names(store.list()).values())) == 2
    rows = list(csv.DictReader(io.StringIO(csv_bytes([{"a": 1, "b": 'x,"y'}, {"a": 2, "c": None}]).decode())))
    assert rows == [{"a": "1", "b": 'x,"y', "c": ""}, {"a": "2", "b": "", "c": ""}]
