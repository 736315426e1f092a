"""The page about backpropagation: what the browser is given is what core computes, and every choice is in the address."""

from __future__ import annotations

import json
import statistics
import threading
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.backprop.depth import depth_flow
from core.backprop.examples import EXAMPLES
from core.backprop.expression import parse_values
from core.backprop.graph import compute_graph
from core.backprop.network import trace, weight_gradient
from core.backprop.results import ACCUMULATIONS
from core.checkpoints.store import Checkpoint, find_checkpoint, load_checkpoint
from core.common.values import scientific
from core.data.decode import decode_image, fit_to_model
from core.language.recurrence import recurrent_step
from pages.shared.examples import examples
from pages.shared.tasks import THREAD
from pages.text.recurrence_view import sentence
from tests.app.conftest import Open, click, link, rerun, texts, wait_for, write_checkpoint, write_text_checkpoint

pytestmark = pytest.mark.usefixtures("warm")
GRAPH, DEPTH = "backprop-graph", "backprop-depth-board"


def shown(at: AppTest, key: str = GRAPH) -> dict[str, Any]:
    """What the browser is given."""
    found = next(found for found in at.get("bidi_component") if found.key == key)
    values: dict[str, Any] = json.loads(found.proto.json)
    return values


def test_the_page_opens_on_a_network_with_its_gradients_and_autograds(open_page: Open) -> None:
    at = open_page("backprop")
    data, example = shown(at), EXAMPLES["network"]
    graph = compute_graph(example.text, parse_values(example.values))
    for node, each in zip(data["nodes"], graph.nodes, strict=True):
        assert (node["value"], node["gradient"]) == (each.value, each.gradient)
        assert node["autograd"] == pytest.approx(each.gradient, rel=1e-14)
        if node["messages"]:
            assert node["messages"][-1]["sum"] == each.gradient
    assert data["nodes"][data["chosen"]]["name"] == "w11"
    assert f"{abs(graph.nodes[graph.place('w11')].gradient) * 0.01:.3g}" in texts(at)


def test_an_address_opens_the_same_graph(open_page: Open) -> None:
    at = open_page("backprop", f="h = a*b; h*h + a", values="a=2, b=3", graph="own", node="h", step="3")
    data = shown(at)
    assert data["nodes"][data["chosen"]]["name"] == "h"
    assert data["step"] == 3
    a = next(node for node in data["nodes"] if node["name"] == "a")
    assert a["gradient"] == 2 * 2 * 3 * 3 + 1
    assert sum(path["product"] for path in a["paths"]) == a["gradient"]
    assert link(at).items() >= {"f": "h = a*b; h*h + a", "node": "h", "step": "3"}.items()


@pytest.mark.parametrize(
    ("text", "values"), [("a/b", "a=1, b=0"), ("a*q", "a=1"), ("__import__('os')", "a=1"), ("a*a", "a"), ("", "a=1")]
)
def test_what_cannot_be_computed_is_one_sentence(open_page: Open, text: str, values: str) -> None:
    at = open_page("backprop", graph="own", f=text, values=values)
    assert len(at.error) == 1
    assert not at.get("bidi_component")
    at.text_input("backprop-graph-text").set_value("a*a")
    at.text_input("backprop-graph-values").set_value("a=3")
    assert shown(rerun(at))["nodes"][0]["gradient"] == 6


def test_names_of_a_new_expression_begin_at_1(open_page: Open) -> None:
    at = open_page("backprop", f="a*b", values="a=2, b=3", graph="own")
    at.text_input("backprop-graph-text").set_value("p = a*c; sin(p) + p")
    at = rerun(at)
    assert at.text_input("backprop-graph-values").value == "a=2, c=1"
    assert not at.error
    at.text_input("backprop-graph-text").set_value("d² · a")  # as people type it
    at = rerun(at)
    assert at.text_input("backprop-graph-values").value == "d=1, a=2"
    assert not at.error


def test_another_example_brings_its_values(open_page: Open) -> None:
    at = open_page("backprop")
    at.selectbox("backprop-graph-example").set_value("shared")
    data = shown(rerun(at))
    assert data["nodes"][data["chosen"]]["name"] == "w"
    assert len(data["nodes"][data["chosen"]]["paths"]) == 2
    assert link(at)["graph"] == "shared"


@pytest.fixture
def checkpoint(lab_home: Path) -> Checkpoint:
    write_checkpoint(lab_home / "none" / "simple_cnn")
    return load_checkpoint(find_checkpoint("simple_cnn"))


def test_a_network_and_one_of_its_weights(open_page: Open, checkpoint: Checkpoint) -> None:
    pixels = fit_to_model(decode_image(examples()["bird"]).rgb)
    at = open_page("backprop", view="Network", layer="conv2", w="3, 1, 2, 0", target="cat")
    found = weight_gradient(checkpoint, pixels, "conv2", (3, 1, 2, 0), 3)
    flow = trace(checkpoint, pixels, 3)
    assert scientific(found.gradient, 4) in texts(at)
    assert f"{flow.loss_nats:.4g}" in texts(at)
    at.text_input("backprop-index").set_value("3, 1, 9, 0")
    assert len(rerun(at).error) == 1


def test_depth_answers_for_each_initialisation(open_page: Open) -> None:
    def words() -> str:
        data = shown(at, DEPTH)
        return str(data["byDepth"][data["depths"].index(data["depth"])]["words"])

    at = open_page("backprop", view="Depth", depth="40")
    assert "vanishes" in words()
    at.button("backprop-He").click()
    at = rerun(at)
    assert "gets through" in words()
    assert link(at)["gain"] == "1.41"
    at.session_state["backprop-gain"] = 2.5
    at = rerun(at)
    assert "explodes" in words()


def test_the_browser_has_the_curve_of_every_place_of_each_slider(open_page: Open) -> None:
    data = shown(open_page("backprop", view="Depth", depth="7", gain="0.73", activation="tanh"), DEPTH)
    assert (data["depth"], data["gain"]) == (7, 0.73)
    for depth, frame, marks in zip(data["depths"], data["byDepth"], data["marks"], strict=True):
        assert frame["line"]["values"] == pytest.approx(depth_flow(depth, "tanh", 0.73).gradient_rms, rel=5e-3)
        assert marks[1]["values"] == pytest.approx(depth_flow(depth, "tanh", 2**0.5).gradient_rms, rel=5e-3)
    for gain, frame in zip(data["gains"], data["byGain"], strict=True):
        assert frame["line"]["values"] == pytest.approx(depth_flow(7, "tanh", gain).gradient_rms, rel=5e-3)
        assert scientific(depth_flow(7, "tanh", gain).share) in frame["words"]


def test_accumulation_shows_what_ships(open_page: Open) -> None:
    at = open_page("backprop", view="Accumulation", k="32")
    found = ACCUMULATIONS.load_shipped("accumulation")
    assert f"{found.of('texts', 32).means:.1%}" in texts(at)
    assert all(f"{statistics.fmean(row.bits):.3f}" in texts(at) for row in found.trainings)


def test_memory_measured_here_stands_beside_what_ships(
    open_page: Open, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    peaks = {"1": 50_000_000, "16": 5_000_000}
    monkeypatch.setattr("core.backprop.memory.measure_in_process", lambda *arguments: peaks[arguments[-1]])
    at = open_page("backprop", view="Accumulation", k="16")
    assert "measured here" not in texts(at)
    click(at, "backprop-measure")
    wait_for(lambda: not any(thread.name == THREAD for thread in threading.enumerate()))
    at.run()
    assert "measured here" in texts(at)
    assert "10.0 ×" in texts(at)


@pytest.mark.parametrize("model", ["char_rnn", "char_gru", "char_lstm"])
def test_a_character_is_one_step_of_a_cell(open_page: Open, lab_home: Path, model: str) -> None:
    write_text_checkpoint(lab_home / "none" / model, model=model)
    at = open_page("text", view="One step", checkpoint=model, text="at", unit="5")
    found = recurrent_step(load_checkpoint(find_checkpoint(model)), "at", 0, 5)
    assert all(scientific(gate.value, 3) in texts(at) for gate in found.gates)
    assert sentence(found) in texts(at)
    click(at, "step-next-0")
    assert link(at)["text"] == "at" + found.next[0][0]
    at.text_area("step-text").set_value("日at")
    assert "日" in texts(rerun(at)), "what the model does not know is named"
    at.text_area("step-text").set_value("")
    assert len(rerun(at).error) == 1
