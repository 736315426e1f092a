"""The Regularization page: the study that ships, and those of this machine."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path

import pytest

from core.checkpoints.store import MEMBERS
from core.jobs import LocalEngine, RunStore
from core.regularization.analysis import summary
from core.regularization.store import STUDIES
from core.training.config import TrainConfig
from pages.regularization.files import curve_rows, run_rows, table_row
from pages.shared.resources import forget_runs
from pages.shared.tables import csv_bytes
from tests.app.conftest import Open, at_tab, chart, click, read, rerun, sources, table, texts, unfold, write_checkpoint
from tests.app.studies import CONFIG, accuracy, progress, result_of, ship, store_study

TABS = ("Curves", "Training images", "Strength", "Classes", "Checkpoints", "Files")
HEADLINE = "## With 500 images flip + crop helps most: 40% → 50%."
ARMS = "arms-shipped-example"
"""The expander of all arms."""


@pytest.fixture
def example(lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One study that ships, of made-up figures."""
    folder = lab_home / "shipped-studies"
    ship(folder, result_of(name="Made up"))
    monkeypatch.setattr(STUDIES, "shipped", folder)
    return folder


# The study that ships


def test_the_example_opens_at_once_without_a_dataset_or_a_run(open_page: Open, example: Path, lab_home: Path) -> None:
    at = open_page("regularization")
    said = texts(at)
    assert "by more than luck?" in said
    assert HEADLINE in said
    assert "2 of 4 arms help, 1 hurts." in said
    assert "Simple CNN on CIFAR-10 · 3 seeds" in said
    assert len(at.get("plotly_chart")) == 1
    assert not at.table
    said = texts(unfold(at, ARMS))
    assert "two cores" in said
    assert "on the 10,000 test images, which were looked at once" in said
    assert not at.error
    assert "study" not in at.query_params
    assert not (lab_home / "runs").exists()
    (example / "example.json").write_text('{"format": 99}')
    assert "no study that this version can read" in read(open_page("regularization").info[0].value)


def test_what_ships_with_this_copy_can_be_read(open_page: Open) -> None:
    at = open_page("regularization")
    assert not at.error
    drawn = chart(at, 0)
    assert drawn["layout"]["height"] < 500, "the five best and the worst"
    unfold(at, ARMS)
    assert len(at.table[0].value) > 5
    assert "test images" in texts(at)


def test_arms_are_sorted_by_verdict(open_page: Open, example: Path) -> None:
    shown = table(unfold(open_page("regularization"), ARMS))
    assert shown["Arm"] == [
        "Flip + crop",
        "Dropout",
        "No regularization",
        "L2 (weight decay)",
        "Dropout and flip + crop",
    ]
    assert [cell.strip(":[]*").partition("[**")[2] or cell for cell in shown["Verdict"]] == [
        "helps",
        "helps",
        "baseline",
        "within seed noise",
        "hurts",
    ]
    assert shown["Strength"] == ["2", "0.5 (best of 2, the strongest)", "–", "0.1", "dropout 0.3, augment 2"]
    assert shown["Accuracy"][2].startswith("40.0 ± 2.")
    assert shown["Gap"][2] == "50.0"
    assert shown["Effect (points)"][0].startswith("+10.0 ± ")
    at = rerun(open_page("regularization").segmented_control(key="size-shipped-example").set_value(2000))
    assert "## With 2,000 images flip + crop helps most: 60% → 70%." in texts(at)
    assert table(unfold(at, ARMS))["Accuracy"][2].startswith("60.0 ± 2.")


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_of_the_example_opens(open_page: Open, example: Path, tab: str) -> None:
    at = at_tab(open_page("regularization"), "shipped-example", tab)
    assert not at.error
    assert HEADLINE in texts(at)
    charts = len(at.get("plotly_chart"))
    assert charts == {"Curves": 6, "Checkpoints": 1, "Files": 1}.get(tab, 2)
    assert len(at.download_button) == (5 if tab == "Files" else 0)


def test_a_technique_is_worth_images(open_page: Open, example: Path) -> None:
    at = at_tab(open_page("regularization"), "shipped-example", "Training images")
    # 50% lies half-way between the 40% of 500 images and the 60% of 2,000, on a logarithmic axis: at 1,000.
    assert "With flip + crop, 500 images do as well as about 1,000 without." in texts(at)


def test_the_strength_is_looked_at_with_its_numbers(open_page: Open, example: Path) -> None:
    at = at_tab(open_page("regularization"), "shipped-example", "Strength")
    slider = at.select_slider(key="strength-shipped-example")
    assert slider.value == "0.5"
    figures = {metric.label: (metric.value, metric.delta) for metric in at.metric}
    assert figures["Validation accuracy"][0] == "45.0%"
    slider.set_value("0.1").run()
    figures = {metric.label: (metric.value, metric.delta) for metric in at.metric}
    assert figures["Validation accuracy"] == ("42.0%", "+2.0 points")
    assert figures["Gap"] == ("+48.0 points", "−2.0 points")


# The studies of this machine


def test_a_link_opens_its_study(open_page: Open, example: Path) -> None:
    run_id = store_study(result_of(name="Mine *here*"))
    at = open_page("regularization", study=run_id)
    assert at.segmented_control(key="view").value == "Studies"
    assert "#### Mine *here* :green-badge[" in texts(at)
    assert "Mine \\*here\\*" in sources(at)
    assert HEADLINE in texts(at)
    assert f"add-seed-{run_id}" not in [button.key for button in at.button], "three seeds are enough"
    assert table(unfold(at, f"arms-{run_id}"))["Arm"][0] == "Flip + crop"
    click(at, "all-studies")
    assert "study" not in at.query_params
    assert not at.table


def test_studies_are_listed_with_links(open_page: Open) -> None:
    assert "There are no studies here yet" in texts(open_page("regularization", view="Studies"))
    run_id = store_study(result_of())
    training = RunStore().create(TrainConfig(), "A training")
    forget_runs()
    at = open_page("regularization", study=training)
    assert [link.proto.query_string for link in at.get("page_link")] == [f"view=Train&run={training}"]
    at = open_page("regularization", view="Studies")
    links = [link.proto.query_string for link in at.get("page_link") if link.proto.query_string]
    assert links == [f"view=Studies&study={run_id}"]
    assert "runs 36 of 36" in texts(at)


def test_a_study_that_has_not_begun_says_what_to_wait_for(open_page: Open) -> None:
    run_id = store_study(result_of(), over=0, status="stopped")
    at = open_page("regularization", study=run_id)
    assert "Nothing is measured yet" in texts(at)
    assert not at.table
    assert at.button(key="resume").label == "Start"


def test_a_study_half_way_speaks_of_validation_and_gives_no_verdict_yet(open_page: Open) -> None:
    result = result_of()
    untested = tuple(
        dataclasses.replace(item, test_accuracy=None, test_loss_nats=None, test_per_class=()) for item in result.members
    )
    run_id = store_study(dataclasses.replace(result, members=untested), over=12, status="stopped", message="Stopped.")
    at = unfold(open_page("regularization", study=run_id), f"arms-{run_id}")
    said = texts(at)
    assert "runs 12 of 36" in progress(at)
    assert not at.info
    assert "No verdict yet" in said
    assert "on validation so far" in said
    assert at.button(key="resume").label == "Resume"


def test_one_seed_gives_no_verdict(open_page: Open) -> None:
    run_id = store_study(result_of(CONFIG.replace(seeds=1)))
    at = unfold(open_page("regularization", study=run_id), f"arms-{run_id}")
    assert "No verdict: one seed cannot separate an effect from chance." in texts(at)
    assert "one seed says nothing about luck; run at least 3" in read(at.info[0].value)
    assert set(table(at)["Verdict"]) == {"baseline", "no verdict"}
    assert set(table(at)["Effect (points)"]) == {"–"}


def test_two_seeds_say_so_and_a_button_adds_one(open_page: Open, submitted: list[str]) -> None:
    run_id = store_study(result_of(CONFIG.replace(seeds=2)))
    at = open_page("regularization", study=run_id)
    assert "## With 500 images flip + crop helps most, on two seeds (40% → 50%): add one." in texts(at)
    assert "[**helps on two seeds**]" in table(unfold(at, f"arms-{run_id}"))["Verdict"][0]
    click(at, f"add-seed-{run_id}")
    assert submitted == [run_id]
    assert RunStore().config(run_id) == CONFIG
    assert "runs 24 of 36" in progress(at)


def test_a_running_study_can_be_stopped(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[str] = []
    monkeypatch.setattr(LocalEngine, "stop", lambda self, run_id: stopped.append(run_id))
    run_id = store_study(result_of(), over=7, status="queued", ticket=1)
    monkeypatch.setattr(LocalEngine, "tick", lambda self: None)
    at = open_page("regularization", study=run_id)
    assert "Waiting in the queue" in progress(at)
    assert not [button.key for button in at.button if button.key.startswith("add-")]
    click(at, "stop")
    assert stopped == [run_id]


def test_a_study_of_another_version_is_one_sentence(open_page: Open) -> None:
    run_id = store_study(result_of())
    path = RunStore().folder(run_id) / "config.json"
    values = json.loads(path.read_text())
    values["config"]["optimiser"] = "lion"
    path.write_text(json.dumps(values))
    at = open_page("regularization", study=run_id)
    assert "setting named optimiser in this version" in read(at.error[0].value)
    assert not open_page("regularization", view="Studies").error


def test_arms_sizes_and_seeds_are_added_to_a_study(open_page: Open, submitted: list[str]) -> None:
    run_id = store_study(result_of())
    at = open_page("regularization", study=run_id)
    prefix = f"add-{run_id}-36"
    assert at.button(key=f"{prefix}-start").disabled
    at.multiselect(key=f"{prefix}-alone").set_value(["augment"]).run()
    assert "The study has the arm augment=2 already" in read(at.error[0].value)
    at.text_input(key=f"{prefix}-strength-augment").set_value("4").run()
    at.text_input(key=f"{prefix}-sizes").set_value("1000")
    at.number_input(key=f"{prefix}-seeds").set_value(4).run()
    # 7 variants × 3 sizes × 4 seeds, of which 36 are there.
    assert "48 runs" in texts(at)
    click(at, f"{prefix}-start")
    assert submitted == [run_id]
    assert RunStore().config(run_id) == CONFIG.extended(arms=("augment=4",), train_sizes=(1000,), seeds=4)
    assert "runs 36 of 84" in progress(at)
    assert not at.error  # the form is empty again


def test_every_arm_leads_to_its_network(open_page: Open, example: Path) -> None:
    assert "comes as figures alone" in texts(at_tab(open_page("regularization"), "shipped-example", "Checkpoints"))
    run_id = store_study(result_of())
    member = next(item for item in CONFIG.members() if item.variant.spec == "dropout=0.5" and item.train_size == 500)
    write_checkpoint(RunStore().folder(run_id) / MEMBERS / member.id / "best")
    at = at_tab(open_page("regularization", study=run_id), run_id, "Checkpoints")
    links = [link.proto for link in at.get("page_link") if link.proto.page == "images" and link.proto.query_string]
    assert [link.label for link in links] == ["Dropout 0.5"]
    opened = open_page("images", checkpoint=f"{run_id}/{member.id}")
    assert opened.selectbox(key="checkpoint").value == f"{run_id}/{member.id}"
    assert f"{run_id}%2F{member.id}" in links[0].query_string.replace("/", "%2F")


def test_files_hold_what_the_page_claims() -> None:
    result = result_of()

    def written(rows: object) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(csv_bytes(rows).decode())))  # type: ignore[arg-type]

    runs = written(run_rows(result))
    assert len(runs) == 36
    found = next(
        row for row in runs if (row["variant"], row["train_size"], row["seed"]) == ("dropout=0.5", "2000", "1")
    )
    assert float(found["test_accuracy"]) == accuracy("dropout=0.5", 2000, 1)
    assert float(found["test_accuracy_cat"]) == pytest.approx(accuracy("dropout=0.5", 2000, 1) + 0.1)
    assert float(found["val_gap"]) == pytest.approx(0.9 - accuracy("dropout=0.5", 2000, 1))
    curves = written(curve_rows(result))
    assert len(curves) == 72
    assert {(row["step"], row["train_accuracy"]) for row in curves} == {("10", "0.5"), ("20", "0.9")}
    arms = written(map(table_row, summary(result)))
    best = next(row for row in arms if row["arm"] == "augment=2" and row["train_size"] == "500")
    assert best["verdict_kind"] == "helps"
    assert float(best["verdict_effect"]) == pytest.approx(0.1, abs=0.001)
