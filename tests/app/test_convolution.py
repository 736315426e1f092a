"""The page about convolution: what the browser is given is what core computes, and every choice is in the address."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.checkpoints.store import Checkpoint, find_checkpoint, load_checkpoint
from core.common.errors import LabError
from core.common.progress import Progress
from core.convolution.arithmetic import PRESETS, WindowSettings, compute, digits, parse_kernel
from core.convolution.config import Edit, parse_edits
from core.convolution.edits import apply_edits, probabilities
from core.convolution.layers import activations
from core.convolution.shift import shifted_answers, variants
from core.data.dataset import Split
from core.data.decode import decode_image, fit_to_model
from core.images.figures import percent
from core.jobs import RunStore
from pages.convolution import edit_view
from pages.convolution.shift_view import WITH
from pages.shared.examples import examples
from pages.shared.network_query import FIRST_IMAGE
from pages.shared.tasks import Stopped
from tests.app.conftest import Open, click, link, rerun, texts, write_checkpoint

PIXELS = fit_to_model(decode_image(examples()[FIRST_IMAGE]).rgb)
pytestmark = pytest.mark.usefixtures("warm")


@pytest.fixture
def made(lab_home: Path) -> Checkpoint:
    """Of a checkpoint that ships, under the name of the one that the room starts with."""
    write_checkpoint(lab_home / "none" / "simple_cnn")
    return load_checkpoint(find_checkpoint("simple_cnn"))


def element(at: AppTest, key: str) -> Any:
    return next(found for found in at.get("bidi_component") if found.key == key)


def shown(at: AppTest, key: str) -> dict[str, Any]:
    """What the browser is given."""
    found: dict[str, Any] = json.loads(element(at, key).proto.json)
    return found


def floats(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")


def test_the_sum_of_a_digit_is_there_at_once(open_page: Open) -> None:
    at = open_page("convolution")
    data = shown(at, "conv-window")
    expected = compute(digits()[3][None], parse_kernel(PRESETS["Vertical edges"])[None], WindowSettings())
    np.testing.assert_array_equal(floats(data["inputs"]).reshape(8, 8), digits()[3])
    terms: list[Any] = [expected.at(row, column)["terms"] for row in range(6) for column in range(6)]
    assert data["termLimit"] == max(abs(term["term"]) for found in terms for term in found)
    assert data["at"] == [3, 3]
    np.testing.assert_array_equal(floats(data["output"]).reshape(6, 6), expected.output[0])
    assert expected.size_formula in texts(at)
    at.session_state["conv-check"] = True
    assert "float64" in texts(rerun(at))


def test_a_typed_kernel_is_in_the_address_and_a_bad_one_is_one_sentence(open_page: Open) -> None:
    at = open_page("convolution", kernel="0 1; 1 0", preset="My own", stride="2")
    assert shown(at, "conv-window")["k"] == 2
    at = rerun(at.text_input(key="conv-kernel").set_value("1 2; 3 4"))
    assert floats(shown(at, "conv-window")["kernel"]).tolist() == [1, 2, 3, 4]
    assert link(at)["kernel"] == "1 2; 3 4"
    at = rerun(at.text_input(key="conv-kernel").set_value("__import__('os')"))
    assert [error.value for error in at.error] != []
    at = rerun(at.selectbox(key="conv-preset").set_value("Outline"))
    assert not at.error
    assert shown(at, "conv-window")["k"] == 3
    at = rerun(at.selectbox(key="conv-operation").set_value("max"))
    assert shown(at, "conv-window")["operation"] == "max"


def test_the_output_that_was_chosen_is_in_the_address(open_page: Open) -> None:
    at = open_page("convolution", at="0,5")
    assert shown(at, "conv-window")["at"] == [0, 5]
    at = rerun(at.number_input(key="conv-digit-3").set_value(7))
    assert link(at)["at"] == "0,5"
    at = rerun(at.number_input(key="conv-stride-1").set_value(2))
    assert shown(at, "conv-window")["at"] == [1, 1]
    assert "at" not in link(at)
    for bad in ("0,6", "3", "-1,0", "a,b", "0,1,2"):
        at = open_page("convolution", at=bad)
        assert len(at.warning) == 1
        assert shown(at, "conv-window")["at"] == [3, 3]


def test_a_bad_kernel_leaves_the_chosen_output(open_page: Open) -> None:
    at = open_page("convolution", at="0,5")
    at = rerun(at.text_input(key="conv-kernel").set_value("1 0"))
    assert at.error
    assert link(at)["at"] == "0,5"
    at = rerun(at.text_input(key="conv-kernel").set_value("1 0 0; 0 1 0; 0 0 1"))
    assert shown(at, "conv-window")["at"] == [0, 5]
    at = open_page("convolution", at="0,5", kernel="nonsense")
    at = rerun(at.text_input(key="conv-kernel").set_value("1 0 0; 0 1 0; 0 0 1"))
    assert shown(at, "conv-window")["at"] == [0, 5]


def test_a_number_out_of_its_range_is_said(open_page: Open) -> None:
    at = open_page("convolution", operation="average")
    at = rerun(at.number_input(key="conv-size-2").set_value(9))
    assert len(at.error) == 1
    assert shown(at, "conv-window")["k"] == 7
    assert link(at)["size"] == "7"


def test_a_link_with_a_kernel_alone_computes_it(open_page: Open) -> None:
    at = open_page("convolution", kernel="0 1; 1 0")
    assert floats(shown(at, "conv-window")["kernel"]).tolist() == [0, 1, 1, 0]
    assert link(at)["preset"] == "My own"
    at = open_page("convolution", preset="Identity")
    assert floats(shown(at, "conv-window")["kernel"]).tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert at.text_input(key="conv-kernel").value == PRESETS["Identity"]


def test_every_layer_shows_its_maps(open_page: Open, made: Checkpoint) -> None:
    at = open_page("convolution", view="Through a network", layer="relu2", channel="7")
    data = shown(at, "layer-maps")
    np.testing.assert_array_equal(
        floats(data["maps"]).reshape(data["shape"]), activations(made, "relu2", PIXELS[None])[0]
    )
    assert data["channel"] == 7
    assert data["rows"][0] == [0, 7]
    assert "not on this machine" in texts(at)
    at = open_page("convolution", view="Through a network", layer="nowhere", channel="-3")
    assert len(at.warning) == 2


def test_a_change_moves_the_answer_and_is_kept_as_a_checkpoint(open_page: Open, made: Checkpoint) -> None:
    at = open_page("convolution", view="Change it", edits="[]", layer="conv1", channel="2")
    before = probabilities(made, PIXELS, 2.0)
    target = int(before.argmax())
    assert f"{made.card.image_data.classes[target]} · {percent(float(before[target]))}" in texts(at)
    at = click(at, "edit-add-Zero this channel")
    edits = (Edit(what="zero", layer="conv1", channel=2),)
    assert parse_edits(link(at)["edits"]) == edits
    rerun(at.text_area(key="edit-kernel").set_value("1 nan; 0 1"))
    assert "not a number" in texts(click(at, "edit-add-Use these numbers"))
    now = probabilities(apply_edits(made, edits), PIXELS, 2.0)
    assert f"→ {percent(float(now[target]))}" in texts(at)
    at = click(at, "edit-save")
    (run,) = RunStore().list()
    card = find_checkpoint(run.id).card
    assert (card.parent, run.config.edits) == ("simple_cnn", edits)
    assert run.name == "conv1 channel 2 zero"
    assert f"Kept as **{run.name}**" in texts(at)
    assert {found.proto.page for found in at.get("page_link")} == {"images", "attribution", "convolution"}
    at = rerun(rerun(at).selectbox(key="checkpoint").set_value(run.id))
    at = rerun(at.selectbox(key="checkpoint").set_value("simple_cnn"))
    assert not at.get("page_link")
    assert "→" not in texts(click(at, "edit-remove-0"))


def test_an_accuracy_that_failed_can_be_measured_again(
    open_page: Open, made: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise LabError("Fetch it first.")

    monkeypatch.setattr(edit_view, "has_dataset", lambda asked: True)
    monkeypatch.setattr(edit_view, "dataset", missing)
    at = open_page("convolution", view="Change it")
    assert [error.value for error in at.error] == ["Fetch it first."]
    labels = np.arange(4)
    monkeypatch.setattr(
        edit_view,
        "dataset",
        lambda name: SimpleNamespace(test=Split(images=np.repeat(PIXELS[None], 4, 0), labels=labels)),
    )
    at = click(at, "edit-measure")
    for _ in range(100):
        if "on 4 test images" in texts(at):
            break
        at = rerun(at)
    assert "on 4 test images" in texts(at)
    assert not at.error


def test_another_change_ends_the_measurement_before_it(
    open_page: Open, made: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[Progress] = []
    begun, go_on = threading.Event(), threading.Event()

    def slow(checkpoint: Checkpoint, split: Split, report: Progress) -> None:
        reports.append(report)
        begun.set()
        go_on.wait(10)
        report(0.5, "answering")  # raises: nothing of this is cached

    monkeypatch.setattr(edit_view, "has_dataset", lambda asked: True)
    monkeypatch.setattr(edit_view, "dataset", lambda name: SimpleNamespace(test=None))
    monkeypatch.setattr("core.convolution.edits.first_test_logits", slow)
    at = open_page("convolution", view="Change it")
    assert begun.wait(5)
    at = click(at, "edit-remove-0")
    with pytest.raises(Stopped):
        reports[0](0.5, "answering")
    go_on.set()


def test_a_stop_in_one_tab_leaves_the_other(open_page: Open, made: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[Progress] = []
    begun = threading.Semaphore(0)
    go_on = threading.Event()

    def slow(checkpoint: Checkpoint, split: Split, report: Progress) -> None:
        reports.append(report)
        begun.release()
        go_on.wait(10)
        report(0.5, "answering")

    monkeypatch.setattr(edit_view, "has_dataset", lambda asked: True)
    monkeypatch.setattr(edit_view, "dataset", lambda name: SimpleNamespace(test=None))
    monkeypatch.setattr("core.convolution.edits.first_test_logits", slow)
    first = open_page("convolution", view="Change it")
    assert begun.acquire(timeout=5)
    open_page("convolution", view="Change it")
    click(first, next(button.key for button in first.button if button.label == "Stop"))
    with pytest.raises(Stopped):
        reports[0](0.5, "answering")
    go_on.set()
    assert begun.acquire(timeout=5)
    reports[1](0.5, "answering")


def test_the_example_can_be_undone_and_shown_again(open_page: Open, made: Checkpoint) -> None:
    at = open_page("convolution", view="Change it")
    assert "example" in texts(at)
    at = click(at, "edit-remove-0")
    assert "→" not in texts(at)
    assert "→" in texts(click(at, "edit-example"))


def test_a_link_with_changes_that_do_not_fit_says_so(open_page: Open, made: Checkpoint) -> None:
    at = open_page("convolution", view="Change it", edits='[{"what":"zero","layer":"conv9"}]')
    assert "no convolution of this network" in texts(at)
    assert "·" in texts(click(at, "edit-clear"))
    assert open_page("convolution", view="Change it", edits="{").warning


def test_shifts_are_those_of_core(open_page: Open, made: Checkpoint) -> None:
    at = open_page("convolution", view="Shift", reach="2")
    told = texts(at)
    for kind, network in variants(made).items():
        found = shifted_answers(network, PIXELS, 2, 2.0)
        changed = int((found.answers != found.answers[2, 2]).sum())
        assert f"{changed}{' of 24 shifts' * (kind == 'max')} with {WITH[kind]}" in told
    rows = shown(at, "shift-board")["rows"]
    for row, network in zip(rows, variants(made).values(), strict=True):
        found = shifted_answers(network, PIXELS, 2, 2.0)
        assert row["answers"] == found.answers.ravel().tolist()
        expected = found.probabilities[..., found.answers[2, 2]]
        np.testing.assert_allclose(floats(row["probabilities"]).reshape(5, 5), expected, atol=1e-6)
