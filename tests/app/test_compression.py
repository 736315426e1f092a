"""The Compression page: the result that ships, and those of this machine."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.checkpoints.store import Card, find_checkpoint
from core.compression.analysis import answer, csv_rows, headline
from core.compression.kind import COMPRESS
from core.compression.results import merged
from core.compression.steps import Distill, Float16
from core.compression.store import COMPRESSIONS
from core.compression.targets import TARGETS
from core.jobs import LocalEngine, RunStore
from core.training.config import TrainConfig
from pages.compression import disagreements
from pages.compression.compare_image import probabilities
from pages.compression.result_files import ResultFiles
from pages.compression.view import compress_table
from pages.shared import tasks
from pages.shared.resources import forget_runs
from pages.shared.run_labels import address, done, fraction, where
from pages.shared.tables import csv_bytes
from tests.app.compressions import STEPS, answers, config_of, result_of, ship, store_recipe, write_curve
from tests.app.conftest import (
    Open,
    at_tab,
    click,
    random_image,
    read,
    rerun,
    sources,
    table,
    texts,
    unfold,
    write_text_checkpoint,
)
from tests.app.studies import progress
from tests.unit.compression import synthetic_results as made_up

VARIANTS = "variants-shipped-images"
"""The expander of all variants."""
TABS = ("Layers", "Classes", "Speed", "Same image", "Files")


@pytest.fixture
def example(lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One result that ships, of made-up figures."""
    folder = lab_home / "shipped-recipes"
    ship(folder, result_of())
    monkeypatch.setattr(COMPRESSIONS, "shipped", folder)
    yield folder
    tasks._tasks().clear()


# The result that ships


def test_the_example_opens_at_once_without_a_dataset_or_a_run(open_page: Open, example: Path, lab_home: Path) -> None:
    at = open_page("compression")
    said = texts(at)
    assert "How small can it get, and how fast?" in said
    assert f"## {answer(result_of())}" in said
    assert not at.table
    said = texts(unfold(at, VARIANTS))
    assert headline(result_of()) in said
    assert "two cores" in said
    assert not at.error
    assert not (lab_home / "runs").exists()
    (example / "images.json").write_text('{"format": 99}')
    assert "this version" in read(open_page("compression").info[0].value)
    (example / "images.json").unlink()
    assert "New recipe starts one" in read(open_page("compression").info[0].value)


def test_the_table_has_a_row_for_the_original_and_every_variant(open_page: Open, example: Path) -> None:
    at = unfold(open_page("compression"), VARIANTS)
    shown = table(at)
    assert len(shown) == 5
    assert shown["Variant"] == ["original", "1 prune 50% of the weights", "2 fine-tune for 2 epochs", "3 float16"]
    assert shown["Stored"] == ["7.91 MB", "3.95 MB", "1.98 MB", "988 kB"]
    assert shown["Change"][1].startswith("−0.50 points (−0.70 to −0.30)")
    seen = set(shown)
    for group in ("Size", "Speed", "Quality", "Steps"):
        rerun(at.segmented_control(key="columns-shipped-images").set_value(group))
        assert len(table(at)) <= 5
        seen |= set(table(at))
        if group == "Quality":
            assert table(at)["p"][1] == "<0.001"
    assert seen == set(compress_table(result_of())), "every column is somewhere"


def test_the_image_takes_the_cost_that_is_chosen(open_page: Open, example: Path) -> None:
    at = open_page("compression")
    drawn = {at.get("plotly_chart")[0].proto.spec}
    for cost in ("stored_bytes", "torch_b1", "onnx_b1", "onnx_b64"):
        rerun(at.segmented_control(key="cost-shipped-images").set_value(cost))
        drawn.add(at.get("plotly_chart")[0].proto.spec)
    assert len(drawn) == 5


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_of_the_example_opens(open_page: Open, example: Path, warm: None, tab: str) -> None:
    at = at_tab(open_page("compression"), "shipped-images", tab)
    assert not at.error
    charts = len(at.get("plotly_chart"))
    assert charts == {"Layers": 3, "Classes": 2, "Speed": 2}.get(tab, 1)
    assert len(at.download_button) == (3 if tab == "Files" else 0), "of what ships here, no network is with it"
    said = texts(at)
    if tab == "Speed":
        assert "- **3 float16:** Slower than the original in ONNX Runtime at batch 1: 0.50 times as fast." in said
    if tab == "Same image":
        assert "answers to the test images are not kept with this result" in said
    if tab == "Files":
        assert "comes as figures alone" in said


# The cards


def cards(at: AppTest) -> list[str]:
    """What the cards are for, in order."""
    roles = ("Same ", "Fastest", "Smallest")
    return [text.value.strip("*") for text in at.markdown if text.value.strip("*").startswith(roles)]


def test_a_card_for_each_thing_that_people_look_for(
    open_page: Open, example: Path, shipped: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, pruned, tuned, half = (item for item in result_of().measured)
    same = dataclasses.replace(pruned, delta_points=-0.1, p_value=0.4)
    quick = dataclasses.replace(
        tuned, latency_ms=made_up.latencies(5.0, 160.0, 1.2, 125.0, of=(10.0, 320.0, 4.8, 250.0))
    )
    ship(example, dataclasses.replace(result_of(), measured=(first, same, quick, half)))
    at = open_page("compression")
    assert cards(at) == ["Same accuracy", "Fastest", "Smallest"]
    assert [text.proto.help for text in at.markdown if text.value == "**Smallest**"] == [
        "The smallest stored file of the variants that lose at most 10 points."
    ]
    said = texts(at)
    assert "1: Prune weights" in said
    assert "4.0× as fast" in said.replace("**", "")
    makes = [link for link in at.get("page_link") if link.proto.label == "Make it"]
    assert said.count("Figures only.") + len(makes) == 3
    assert all(link.proto.help for link in makes), "why there is nothing to download"
    ship(example, result_of())
    at = open_page("compression")
    assert cards(at) == ["Smallest"], "none is faster than the original"
    assert [link for link in at.get("page_link") if link.proto.label == "Make it"] == [], "no preset makes these"
    ship(example, result_of(config_of(steps=(Float16(),))))
    at = open_page("compression")
    assert "**The variant**" in texts(at)
    (link,) = (link.proto for link in at.get("page_link") if link.proto.label == "Make it")
    assert link.query_string == "view=New+recipe&checkpoint=tiny&preset=half"
    assert "No variant keeps the accuracy: each loses more than noise." in texts(at)
    run_id = store_recipe(result_of())
    at = open_page("compression", recipe=run_id)
    assert [button.label for button in at.download_button] == ["Download"]
    links = [link.proto.query_string.replace("%2F", "/") for link in at.get("page_link") if link.proto.query_string]
    assert f"view=Classify&checkpoint={run_id}/3-float16" in links


# Those of this machine


def test_a_link_opens_its_result(open_page: Open, shipped: Card) -> None:
    assert "There are no results here yet" in texts(open_page("compression", view="Results"))
    run_id = store_recipe(result_of(name="Mine *here*"))
    forget_runs()
    at = open_page("compression", recipe=run_id)
    assert at.segmented_control(key="view").value == "Results"
    assert "Mine \\*here\\*" in sources(at)
    assert len(table(unfold(at, f"variants-{run_id}"))["Variant"]) == 4
    click(at, "all-results")
    assert "recipe" not in at.query_params
    assert not at.table
    links = [link.proto.query_string for link in at.get("page_link") if link.proto.query_string]
    assert links == [f"view=Results&recipe={run_id}"]
    assert "variants 3 of 3" in texts(at)
    training = RunStore().create(TrainConfig(), "A training")
    at = open_page("compression", recipe=training)
    assert [link.proto.query_string for link in at.get("page_link")] == [f"view=Train&run={training}"]


def test_a_recipe_half_way_shows_its_curve_and_what_is_measured(
    open_page: Open, shipped: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[str] = []
    monkeypatch.setattr(LocalEngine, "stop", lambda self, run_id: stopped.append(run_id))
    monkeypatch.setattr(LocalEngine, "tick", lambda self: None)
    run_id = store_recipe(result_of(), over=1)
    write_curve(run_id, "2-fine_tune")
    run = dataclasses.replace(
        RunStore().get(run_id), status="running", stage="fine-tune for 2 epochs: training", seconds_left=90.0
    )
    assert (fraction(run), done(run)) == (0.333, "variants 1 of 3")
    assert where(run) == "33% · variants 1 of 3 · fine\\-tune for 2 epochs\\: training · 1 min 30 s left"
    monkeypatch.setattr(RunStore, "list", lambda self: [run])
    at = open_page("compression", recipe=run_id)
    assert "variants 1 of 3" in progress(at)
    assert table(unfold(at, f"variants-{run_id}"))["Variant"] == ["original", "1 prune 50% of the weights"]
    said = texts(at)
    assert "## So far, of 1 of 3 variants: Prune weights: " in said
    assert "Training now: prune 50% of the weights, fine-tune for 2 epochs" in said
    assert "1 of 3 variants is measured so far" in said
    assert len(unfold(at, f"more-{run_id}").get("plotly_chart")) == 2 + 3
    click(at, "stop")
    assert stopped == [run_id]


def test_a_recipe_that_was_stopped_or_has_not_begun_goes_on(
    open_page: Open, shipped: Card, submitted: list[str]
) -> None:
    run_id = store_recipe(result_of(), over=2, status="stopped", message="Stopped.")
    at = open_page("compression", recipe=run_id)
    assert at.button(key="resume").label == "Resume"
    click(at, "resume")
    assert submitted == [run_id]
    at = open_page("compression", recipe=RunStore().create(config_of(), "Soon", kind=COMPRESS.name))
    assert "Nothing is measured yet" in texts(at)
    assert "Tiny on CIFAR-10 · prune 50% of the weights" in texts(at), "its title, not its name"
    assert at.button(key="resume").label == "Start"
    assert not at.table


def test_students_are_shown_where_there_was_a_teacher(open_page: Open, example: Path) -> None:
    ship(example, made_up.distilled())
    at = at_tab(open_page("compression"), "shipped-images", "Students")
    assert "The teacher helped" in texts(at)
    assert len(at.get("plotly_chart")) == 3
    assert isinstance(made_up.distilled().config.parsed()[0], Distill)


def test_a_language_model_has_costs_and_tabs_of_its_own(open_page: Open, example: Path) -> None:
    ship(example, made_up.text())
    at = open_page("compression")
    rerun(at.segmented_control(key="example-task").set_value("text"))
    assert [tab.label for tab in unfold(at, "more-shipped-text").tabs] == ["Layers", "Speed", "Files"]
    assert at.segmented_control(key="cost-shipped-text").options == ["Stored", "Running"]
    assert "**Same loss, fastest**" not in sources(at), "its loss is more than noise"
    assert "No variant keeps the loss" in texts(at)
    assert "Loss (nats)" in table(unfold(at, "variants-shipped-text"))


# Same image, and the files


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch, shipped: Card) -> str:
    """A recipe over 30 test images that are on this machine."""
    data = _images()
    monkeypatch.setattr(disagreements, "dataset_or_offer", lambda *_: True)
    monkeypatch.setattr(disagreements, "dataset", lambda name: data)
    return store_recipe(result_of())


def _images() -> object:
    from types import SimpleNamespace

    pixels = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
    test = SimpleNamespace(images=pixels, labels=np.arange(30) % 10)
    return SimpleNamespace(test=test, card=SimpleNamespace(classes=made_up.CLASSES))


def test_images_on_which_they_disagree(open_page: Open, warm: None, answered: str) -> None:
    at = at_tab(open_page("compression", recipe=answered), answered, "Same image")
    box = next(box for box in at.selectbox if box.key and box.key.startswith("same-"))
    box.set_value("3-float16").run()
    assert not at.exception, at.exception
    disagreements = int((answers(0) != answers(3)).sum())
    assert (
        f"**{disagreements} of 30**: the original is right on {disagreements} of them, the variant on 0, neither on 0."
        in texts(at)
    )
    assert len([caption for caption in at.caption if "original: " in caption.value]) == disagreements
    at.segmented_control(key=f"differ-{answered}").set_value("Variant right").run()
    assert "There is none of these." in texts(at)


def test_both_answers_and_both_maps(open_page: Open, warm: None, answered: str) -> None:
    at = at_tab(open_page("compression", recipe=answered), answered, "Same image")
    rerun(at.file_uploader(key="upload").upload("some.png", random_image(), "image/png"))
    said = texts(at)
    assert "**Original**" in said
    assert "rank correlation is" in said
    assert "not calibrated" in said
    assert len(at.get("plotly_chart")) == 1 + 4


def test_probabilities_are_those_of_one_view(shipped: Card) -> None:
    from core.checkpoints.store import load_checkpoint
    from core.inference.images import classify

    checkpoint = load_checkpoint("tiny")
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    found = probabilities(checkpoint.card.fingerprint, pixels, 2.0, _checkpoint=checkpoint)
    np.testing.assert_allclose(found, classify(checkpoint, pixels[None], "none")[0].probabilities, atol=1e-6)


def test_a_network_is_exported_compared_and_offered(
    open_page: Open, warm: None, answered: str, lab_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = at_tab(open_page("compression", recipe=answered), answered, "Files")
    links = [link.proto.query_string for link in at.get("page_link") if "view=Classify" in link.proto.query_string]
    assert len(links) == 1 + len(cards(at))
    assert len(at.download_button) == 4 + len(cards(at))
    click(at, f"make-{answered}")
    task = next(iter(tasks._tasks().values()))
    task._thread.join(120)
    assert task.error is None
    rerun(at)
    said = texts(at)
    assert "compared with PyTorch on 64 random images: the largest difference of a logit is" in said
    assert "onnxruntime.InferenceSession(" in at.code[1].value
    at.segmented_control(key=f"target-{answered}").set_value("card").run()
    click(at, f"make-{answered}")
    list(tasks._tasks().values())[-1]._thread.join(120)
    rerun(at)
    assert len(list((lab_home / "exports").glob("*.md"))) == 1
    assert len(list((lab_home / "exports").glob("*.onnx"))) == 1
    tasks._tasks().clear()


def test_a_full_disk_is_one_sentence(
    open_page: Open, warm: None, answered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pages.compression.export.write_atomic", full)
    at = at_tab(open_page("compression", recipe=answered), answered, "Files")
    click(at, f"make-{answered}")
    next(iter(tasks._tasks().values()))._thread.join(120)
    at.run()
    assert "No space left on device" in read(at.error[0].value)
    tasks._tasks().clear()


def test_files_hold_what_the_page_claims() -> None:
    result = result_of()
    rows = list(csv.DictReader(io.StringIO(csv_bytes(csv_rows(result)).decode())))
    assert [row["id"] for row in rows] == ["original", "1-prune_weights", "2-fine_tune", "3-float16"]
    assert float(rows[2]["delta_points"]) == -1.0
    assert json.loads(json.dumps(result.to_dict()))["measured"][3]["stored_bytes"] == 988_125


def test_a_variant_is_found_by_name_and_never_another_network(shipped: Card, lab_home: Path) -> None:
    result = result_of()
    run_id = store_recipe(result)
    made = ResultFiles(result, run_id, RunStore().folder(run_id))
    assert made.reference(result.variants[0]).name == f"{run_id}/1-prune_weights"
    assert made.reference(result.measured[0]).name == "tiny"
    assert find_checkpoint(f"{run_id}/3-float16").card.compression["steps"] == [step.to_dict() for step in STEPS]
    assert address(RunStore().get(run_id)) == ("compression", {"view": "Results", "recipe": run_id})
    write_text_checkpoint(lab_home / "none" / "tiny")
    with pytest.raises(ValueError, match="another network now"):
        made.reference(result.measured[0])


def test_what_ships_leads_to_the_checkpoints_that_ship_with_it(shipped: Card, lab_home: Path) -> None:
    result = result_of()
    made = ResultFiles(result)
    with pytest.raises(ValueError, match="comes as figures alone"):
        made.reference(result.variants[2])
    run_id = store_recipe(result)
    shutil.copytree(RunStore().folder(run_id) / "members" / "3-float16" / "best", lab_home / "none" / "smallest")
    assert made.reference(result.variants[2]).name == "smallest"
    with pytest.raises(ValueError, match="comes as figures alone"):
        made.reference(result.variants[1])


def test_recipes_side_by_side_say_so(open_page: Open, example: Path) -> None:
    other = result_of(config_of(steps=(Float16(),), recipe="half"))
    ship(example, merged("Two recipes", [result_of(), other]))
    at = unfold(open_page("compression"), VARIANTS)
    assert "several recipes side by side" in texts(at)
    assert table(at)["Variant"][-1] == "4 float16"
    rerun(at.segmented_control(key="columns-shipped-images").set_value("Steps"))
    assert table(at)["All that was done"][3:] == [
        "prune 50% of the weights, fine-tune for 2 epochs, float16",
        "float16",
    ]


def test_any_checkpoint_is_exported_without_a_recipe(open_page: Open, warm: None, shipped: Card, scribe: Card) -> None:
    at = click(open_page("compression", view="Export", checkpoint="tiny"), "make-any")
    next(iter(tasks._tasks().values()))._thread.join(120)
    rerun(at)
    assert "the largest difference of a logit is" in texts(at)
    assert at.segmented_control(key="target-any").options == [target.title for target in TARGETS.values()]
    tasks._tasks().clear()
    at = open_page("compression", view="Export", task="text")
    assert TARGETS["web"].title not in at.segmented_control(key="target-any").options
