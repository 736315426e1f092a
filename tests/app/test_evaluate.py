"""Images / Evaluate, and the tasks that pages run in the background."""

from __future__ import annotations

import csv
import dataclasses
import io
import shutil
import threading
import time
import zipfile
from pathlib import Path

import pytest
import streamlit as st

from core.checkpoints.store import Card, find_checkpoint, load_checkpoint
from core.common.errors import LabError
from core.common.progress import Progress
from core.common.values import wilson
from core.data import DATASETS
from core.inference.evaluation_store import kept_evaluation
from pages.images.evaluate_task import evaluation_work, task_key
from pages.shared import tasks
from pages.shared.downloads import checkpoint_zip, per_class_csv
from pages.shared.resources import dataset
from tests.app.conftest import Open, click, rerun, texts, wait_for
from tests.tiny import write_class_folders
from tests.unit.builders import synthetic


def test_without_the_images_they_are_offered(open_page: Open, shipped: Card) -> None:
    at = open_page("images", view="Evaluate")
    assert "evaluate on its test images" in at.info[0].value
    assert at.button(key="fetch-evaluate")


def test_what_the_card_knows_is_the_answer_at_once(open_page: Open, shipped: Card, lab_home: Path) -> None:
    at = open_page("images", view="Evaluate")
    [metric] = at.metric
    assert (metric.label, metric.value) == ("Test accuracy on 10,000 images", "12.3%")
    low, high = wilson(1234, 10_000)
    assert metric.delta == f"95% interval {100 * low:.1f} to {100 * high:.1f}%"
    assert f"Measured when this checkpoint was made on {shipped.created[:10]}" in texts(at)
    folder = lab_home / "none" / "tiny"
    (folder / "card.json").write_text(dataclasses.replace(shipped, metrics={}).to_json())
    at = open_page("images", view="Evaluate")
    assert not at.metric
    assert "Not measured on test images yet" in texts(at)


def test_the_figures_are_those_of_core(open_page: Open, ten_classes: None, lab_home: Path) -> None:
    from core.inference.evaluation import evaluate

    at = open_page("images", view="Evaluate")
    click(at, "evaluate")
    reference = find_checkpoint(str(lab_home / "none" / "tiny"))
    task = tasks.find(task_key(reference))
    assert task
    wait_for(lambda: task.done)
    assert task.error is None
    rerun(at)
    expected = evaluate(load_checkpoint(reference), DATASETS["cifar10"].load(None).test)
    figures = {metric.label: metric.value for metric in at.metric}
    assert figures["Test accuracy on 80 images"] == f"{100 * expected.accuracy:.1f}%"
    assert figures["Test loss"] == f"{expected.loss_nats:.3f} nats"
    again = kept_evaluation(reference.card)
    assert again is not None
    assert dataclasses.replace(again, seconds=0) == dataclasses.replace(expected, seconds=0)
    rows = list(csv.DictReader(io.StringIO(per_class_csv(again))))
    assert [row["class"] for row in rows] == list(reference.card.image_data.classes)
    assert float(rows[0]["accuracy"]) == pytest.approx(expected.per_class[0].accuracy, abs=1e-6)


def test_a_kept_result_belongs_to_this_card_only(ten_classes: None, lab_home: Path) -> None:
    reference = find_checkpoint(str(lab_home / "none" / "tiny"))
    evaluation_work(reference)(lambda *_: None)
    assert kept_evaluation(reference.card) is not None
    calibration = dataclasses.replace(reference.card.calibration, temperature=1.5)
    for change in ({"weights_sha256": "0" * 64}, {"calibration": calibration}, {"tta": "flip"}):
        other = dataclasses.replace(reference, card=dataclasses.replace(reference.card, **change))
        assert kept_evaluation(other.card) is None
        assert task_key(other) != task_key(reference)
    int8 = dataclasses.replace(reference.card, onnx_file="model.onnx", onnx_sha256="0" * 64)
    [path] = (lab_home / "evaluations").iterdir()
    path.rename(path.with_name(f"{int8.fingerprint[:32]}.json"))
    assert kept_evaluation(int8) is None, "that name is of its float twin"


def test_a_checkpoint_calibrated_on_test_images_is_judged_on_the_others(
    open_page: Open, ten_classes: None, lab_home: Path
) -> None:
    reference = find_checkpoint(str(lab_home / "none" / "tiny"))
    n = len(DATASETS["cifar10"].load(None).test)
    half = n // 2
    calibration = dataclasses.replace(reference.card.calibration, energy_threshold=0.0, images=half, split="test")
    for known, words in (
        (n, f"Loss and calibration are of the {half} images it was not calibrated on."),
        (n + 1, "The test set has changed since: loss and calibration may count images it was calibrated on."),
    ):
        data = dataclasses.replace(reference.card.dataset, sizes={"test": known})
        card = dataclasses.replace(reference.card, calibration=calibration, dataset=data)
        (reference.folder / "card.json").write_text(card.to_json())
        evaluation_work(find_checkpoint(reference.name))(lambda *_: None)
        said = texts(open_page("images", view="Evaluate"))
        assert words in said
        assert f"of {half if known == n else n} images, all of them false alarms" in said


def test_two_fields_choose_the_images_that_are_shown_and_the_address_follows(
    open_page: Open, ten_classes: None, lab_home: Path
) -> None:
    reference = find_checkpoint(str(lab_home / "none" / "tiny"))
    classes = reference.card.image_data.classes
    evaluation_work(reference)(lambda *_: None)
    result = kept_evaluation(reference.card)
    assert result
    at = open_page("images", view="Evaluate")
    assert f"Most confident mistakes: {len(result.mistakes)}" in texts(at)
    true, answer = result.labels[0], result.answers[0]
    wanted = result.images_of(true, answer)
    at.selectbox(key="cell-true").set_value(true)
    rerun(at.selectbox(key="cell-answer").set_value(answer))
    links = [item.proto.query_string for item in at.get("page_link") if item.proto.label == "Why?"]
    assert links == [f"view=Explain&checkpoint=tiny&image={item.index}" for item in wanted[:12]]
    assert at.query_params["true"] == classes[true]
    again = open_page("images", view="Evaluate", true=classes[true], answer=classes[answer])
    assert again.selectbox(key="cell-answer").value == answer
    assert f": {len(wanted)}" in texts(again)
    rerun(again.selectbox(key="cell-true").set_value(-1))
    assert f"Images taken for {classes[answer]}: {len(result.images_of(None, answer))}" in texts(again)


def test_mistakes_on_images_that_have_changed_are_not_shown(open_page: Open, ten_classes: None, lab_home: Path) -> None:
    reference = find_checkpoint(str(lab_home / "none" / "tiny"))
    evaluation_work(reference)(lambda *_: None)
    assert "has changed since" not in texts(open_page("images", view="Evaluate"))
    fewer = synthetic(train=40, held_out=4, classes=4)
    DATASETS["cifar10"] = dataclasses.replace(DATASETS["cifar10"], load=lambda _: fewer)
    st.cache_resource.clear()
    assert "The dataset has changed since" in texts(open_page("images", view="Evaluate"))


def test_a_damaged_result_is_evaluated_again(open_page: Open, ten_classes: None, lab_home: Path) -> None:
    reference = find_checkpoint(str(lab_home / "none" / "tiny"))
    evaluation_work(reference)(lambda *_: None)
    [path] = (lab_home / "evaluations").iterdir()
    path.write_text('{"n": ')
    assert kept_evaluation(reference.card) is None
    assert open_page("images", view="Evaluate").button(key="evaluate")


def test_the_downloaded_checkpoint_loads(ten_classes: None, lab_home: Path, tmp_path: Path) -> None:
    import torch

    reference = find_checkpoint(str(lab_home / "none" / "tiny"))
    data = checkpoint_zip(str(reference.folder), reference.card.to_json(), _reference=reference)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(tmp_path / "unpacked")
    mine, theirs = load_checkpoint(reference).model, load_checkpoint(str(tmp_path / "unpacked")).model
    for left, right in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(left, right)


def test_a_folder_that_changed_is_read_again(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "shapes", train=6, test=2)
    before = dataset(f"folder:{root}")
    assert dataset(f"folder:{root}") is before
    shutil.copytree(root / "train" / "circle", root / "train" / "blob")
    shutil.copytree(root / "test" / "circle", root / "test" / "blob")
    assert dataset(f"folder:{root}").card.classes == ("blob", "circle", "cross", "square")


def test_classes_that_do_not_match_are_refused(ten_classes: None, lab_home: Path) -> None:
    reference = find_checkpoint(str(lab_home / "none" / "tiny"))
    data = DATASETS["cifar10"].load(None)
    changed = dataclasses.replace(data, card=dataclasses.replace(data.card, classes=("a", "b")))
    DATASETS["cifar10"] = dataclasses.replace(DATASETS["cifar10"], load=lambda _: changed)
    with pytest.raises(LabError, match="other classes"):
        evaluation_work(reference)(lambda *_: None)


def test_a_task_is_joined_not_doubled_and_begins_again_once_it_was_dropped() -> None:
    begun = []
    go = threading.Event()

    def work(report: Progress) -> None:
        begun.append(1)
        while True:
            report(0.5, "counting")
            go.set()
            time.sleep(0.005)

    first, second = tasks.start("test", work), tasks.start("test", work)
    assert first is second
    assert go.wait(10)
    assert first.sentence().startswith("Counting: 50%")
    tasks.drop("test")
    wait_for(lambda: first.done)
    assert (first.stopped, first.error, begun) == (True, None, [1])
    assert tasks.find("test") is None
    go.clear()
    third = tasks.start("test", work)
    assert go.wait(10)
    third.stop()
    wait_for(lambda: third.done)
    assert (third.stopped, third is first, begun) == (True, False, [1, 1])


def test_what_goes_wrong_in_a_task_is_a_sentence() -> None:
    def refuse(report: Progress) -> None:
        raise LabError("No network: connect, then try again.")

    def crash(report: Progress) -> None:
        raise RuntimeError("deep inside")

    for key, work, said in (
        ("refuse", refuse, "No network: connect, then try again."),
        ("crash", crash, "deep inside"),
    ):
        task = tasks.start(key, work)
        wait_for(lambda task=task: task.done)
        assert said in (task.error or "")
