"""The page about attention: what the browser is given is what core computes, and every choice is in the address."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from core.attention import text
from core.attention.explanation import explain_attention
from core.attention.image import image_heads
from core.attention.kind import HEADS
from core.attention.results import REPORTS, HeadReport, HeadWorth, Joint
from core.attention.text import text_heads
from core.checkpoints.store import Checkpoint, find_checkpoint, load_checkpoint, save_checkpoint
from core.common.progress import Progress
from core.data.decode import decode_image, fit_to_model
from core.jobs import RunStore
from core.models import build_model
from pages.attention import image_view
from pages.shared import tasks
from pages.shared.examples import examples
from pages.shared.network_query import FIRST_IMAGE
from tests.app.conftest import (
    Open,
    click,
    link,
    rerun,
    table,
    texts,
    unfold,
    wait_for,
    write_checkpoint,
    write_text_checkpoint,
)

pytestmark = pytest.mark.usefixtures("warm")
TEXT = "abc abc ab"


@pytest.fixture
def gpt(lab_home: Path) -> None:
    """A language model with one layer of two heads and 64 characters of context, that ships as `writer`."""
    write_text_checkpoint(lab_home / "none" / "writer", model="char_gpt", title="Writer")


def shown(at: AppTest, key: str) -> dict[str, Any]:
    """What the browser is given."""
    element: Any = next(found for found in at.get("bidi_component") if found.key == key)
    found: dict[str, Any] = json.loads(element.proto.json)
    return found


@pytest.mark.usefixtures("gpt")
def test_the_browser_gets_every_weight_and_a_sentence_for_every_head(open_page: Open) -> None:
    at = open_page("attention", prompt=TEXT)
    data = shown(at, "attention-heads")
    found = text_heads(load_checkpoint(find_checkpoint("writer")), TEXT)
    count = len(TEXT) * (len(TEXT) + 1) // 2
    weights = np.frombuffer(base64.b64decode(data["weights"]), np.uint8).reshape(3, count) / 255
    rows, columns = np.tril_indices(len(TEXT))
    expected = np.concatenate([found.weights[0], found.rollout[None]])[:, rows, columns]
    np.testing.assert_allclose(weights, expected, atol=0.5 / 255 + 1e-6)
    assert data["text"] == TEXT
    assert [tile["name"] for tile in data["tiles"]] == ["0.0", "0.1", "all"]
    assert all(tile["sentence"] for tile in data["tiles"])
    assert data["at"] == len(TEXT) - 1


@pytest.mark.usefixtures("gpt")
def test_head_character_and_text_are_in_the_address(open_page: Open) -> None:
    at = open_page("attention", prompt=TEXT, head="0.1", at="3")
    data = shown(at, "attention-heads")
    assert (data["head"], data["at"]) == ("0.1", 3)
    assert link(at) == {"prompt": TEXT, "head": "0.1", "at": "3"}
    at = rerun(at.text_area(key="attention-prompt").set_value("abc"))
    assert shown(at, "attention-heads")["at"] == 2
    for bad in ({"head": "7.7"}, {"at": "10"}, {"head": "<b>"}):
        at = open_page("attention", prompt=TEXT, **bad)
        assert len(at.warning) == 1
        assert not at.error


@pytest.mark.usefixtures("gpt")
def test_a_text_that_is_too_short_or_too_long_is_one_sentence(open_page: Open) -> None:
    at = open_page("attention", prompt="a")
    assert [error.value for error in at.error] != []
    assert not at.get("bidi_component")
    at = rerun(at.text_area(key="attention-prompt").set_value("abc def " * 1250))
    assert not at.error
    assert len(shown(at, "attention-heads")["text"]) == 64
    assert "Only the last 64 characters are read; 9,936 before them" in texts(at)
    assert "prompt" not in link(at)


@pytest.mark.usefixtures("gpt", "scribe", "shipped")
def test_a_network_without_attention_over_a_text_is_one_sentence(open_page: Open, lab_home: Path) -> None:
    at = open_page("attention")
    assert [option.split(" · ")[0] for option in at.selectbox(key="attention-checkpoint").options] == ["Writer"]
    at = open_page("attention", checkpoint="scribe")
    assert len(at.error) == 1
    assert "choose a GPT" in at.error[0].value
    write_checkpoint(lab_home / "none" / "seer")
    at = open_page("attention", checkpoint="seer")
    assert len(at.warning) == 1
    assert len(shown(at, "attention-heads")["text"]) == 64


def test_without_a_checkpoint_the_page_says_what_to_do(open_page: Open) -> None:
    assert "train one" in texts(open_page("attention"))


def write_report(folder: Path, fingerprint: str = "") -> HeadReport:
    """Of a network with one layer of two heads, of which one can go."""
    heads = tuple(
        HeadWorth(layer=0, head=head, cost_bits=cost, half_width=0.001, shares={"previous": share}, role=role)
        for head, cost, share, role in ((0, 1.5, 0.8, "previous"), (1, 0.002, 0.1, ""))
    )
    joint = (Joint(heads=("0.1",), cost_bits=0.002, half_width=0.001),)
    report = HeadReport(
        checkpoint="writer",
        fingerprint=fingerprint,
        title="Writer",
        dataset="Tiny Shakespeare",
        characters=5000,
        bits_per_character=2.5,
        heads=heads,
        untrained={"previous": 0.04},
        joint=joint,
        role_characters=4000,
    )
    (folder / "char_gpt.json").write_text(json.dumps(report.to_dict()))
    return report


@pytest.fixture
def ships(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of what ships, empty."""
    monkeypatch.setattr(REPORTS, "shipped", tmp_path)
    return tmp_path


@pytest.mark.usefixtures("ships")
def test_while_nothing_ships_the_page_says_how_to_measure(open_page: Open) -> None:
    assert "New measurement starts one" in texts(open_page("attention", view="What heads do"))


@pytest.mark.usefixtures("gpt")
def test_heads_are_named_priced_and_removed(open_page: Open, ships: Path) -> None:
    report = write_report(ships)
    at = open_page("attention", view="What heads do", table="1")
    assert report.answer in texts(at)
    assert table(at)["Role"] == ["Previous character", "none clear"]
    assert table(at)["In untrained heads"] == ["4%", "4%"]
    assert at.multiselect(key="heads-removed").value == ["0.1"]
    at = click(at, "remove-shipped-char_gpt")
    (run,) = RunStore().list()
    smaller: Any = load_checkpoint(find_checkpoint(run.id)).model
    assert [block.attention.heads for block in smaller.blocks] == [1]
    assert [(item.proto.page, item.proto.label) for item in at.get("page_link") if "with it" in item.proto.label]
    at = open_page("attention", view="Heads", checkpoint=run.id, prompt=TEXT)
    assert [tile["name"] for tile in shown(at, "attention-heads")["tiles"]] == ["0.0", "all"]
    at = open_page("attention", view="What heads do")
    at = click(at, "remove-shipped-char_gpt")
    assert "These heads were removed before" in texts(at)
    assert [each.id for each in RunStore().list()] == [run.id]


@pytest.mark.usefixtures("gpt")
def test_heads_have_the_names_that_were_measured(open_page: Open, ships: Path) -> None:
    at = open_page("attention", prompt=TEXT)
    assert "are of this text alone" in texts(at)
    assert not any(tile["detail"] for tile in shown(at, "attention-heads")["tiles"])
    write_report(ships, find_checkpoint("writer").card.fingerprint)
    at = open_page("attention", prompt=TEXT)
    first, second, _ = shown(at, "attention-heads")["tiles"]
    assert (first["role"], second["role"]) == ("previous", "")
    assert "80% of its attention on 4,000 characters, an untrained head gives 4%" in first["sentence"]
    assert "on this text" in first["detail"].lower()
    assert "measured on 4,000 characters" in texts(at)


@pytest.mark.usefixtures("gpt")
def test_the_attention_of_a_text_is_computed_once(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[Any] = []
    really = text.weights_of

    def count(model: Any, tokens: torch.Tensor) -> Any:
        computed.append(model)
        return really(model, tokens)

    monkeypatch.setattr(text, "weights_of", count)
    open_page("attention", prompt=TEXT + TEXT)
    assert len(computed) == 2, "and once of the untrained network"
    assert computed[0] is not computed[1]


@pytest.mark.usefixtures("gpt")
def test_no_layer_loses_all_its_heads(open_page: Open, ships: Path) -> None:
    write_report(ships)
    at = open_page("attention", view="What heads do", remove="0.0,0.1")
    at = click(at, "remove-shipped-char_gpt")
    assert "keep at least one" in at.error[0].value
    assert RunStore().list() == []


@pytest.mark.usefixtures("gpt")
def test_a_measurement_is_started_and_found_again(open_page: Open, submitted: list[str]) -> None:
    at = open_page("attention", view="New measurement", characters="2000")
    assert re.search(r"About \d+ s", texts(at))
    at = click(at, "start-heads")
    (run_id,) = submitted
    config: Any = RunStore().config(run_id)
    assert (config.checkpoint, config.characters) == ("writer", 2000)
    at = open_page("attention", view="Measurements", heads=run_id)
    assert "There is no result yet" in texts(at)
    for saved, label in ((0, "Start again"), (8, "Resume")):
        # A new run: one that was seen at rest is kept in memory, and a file changed by hand is found only in its turn.
        run_id = RunStore().create(config, kind=HEADS.name)
        status = RunStore().folder(run_id) / "status.json"
        values = {"status": "stopped", "started": 1.0, "step": 8, "saved_step": saved, "total_steps": 20}
        status.write_text(json.dumps(values))
        assert open_page("attention", view="Measurements", heads=run_id).button(key="resume").label == label
    at = rerun(open_page("attention", view="New measurement").number_input(key="heads-characters").set_value(10))
    assert len(at.error) == 1
    assert at.button(key="start-heads").disabled


@pytest.fixture
def seer(lab_home: Path) -> Checkpoint:
    """An untrained vision Transformer that ships."""
    torch.manual_seed(0)
    card = write_checkpoint(lab_home / "none" / "seer")
    config = {"width": 16}
    card = dataclasses.replace(card, title="Seer", model="compact_transformer", model_config=config)
    save_checkpoint(lab_home / "none" / "seer", build_model(card.model, config), card)
    return load_checkpoint(find_checkpoint("seer"))


def test_tokens_of_an_image_and_both_maps(open_page: Open, seer: Checkpoint) -> None:
    at = open_page("attention", view="On an image", token="9")
    data = shown(at, "attention-tokens")
    found = image_heads(seer, fit_to_model(decode_image(examples()[FIRST_IMAGE]).rgb))
    assert data["heads"] == ["0.0", "0.1", "1.0", "1.1"]
    rows = np.frombuffer(base64.b64decode(data["weights"]), np.uint8).reshape(5 * 64 + 2, 64) / 255
    rows = rows * np.array(data["most"])[:, None]
    np.testing.assert_allclose(rows[64:128], found.weights[0][1], atol=0.003)
    np.testing.assert_allclose(rows[-2], found.answer, atol=0.003)
    np.testing.assert_allclose(rows[-1], found.pooling, atol=0.003)
    assert data["at"] == 9
    assert link(at)["token"] == "9"
    wait_for(lambda: all(task.done for task in tasks._tasks().values()))
    at = rerun(at)
    assert "Attention Rollout**: score" in texts(at)
    assert "Gradient Rollout**: score" in texts(at)
    closer = [item.proto.query_string for item in at.get("page_link") if item.proto.label == "Look closer"]
    assert len(closer) == 2
    assert "closer=gradient_rollout" in closer[1]
    assert "example=bird" in closer[1]


@pytest.mark.usefixtures("ten_classes", "seer")
def test_accuracy_without_each_head_is_measured_on_demand(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_view, "MEASURED", 20)
    at = click(unfold(open_page("attention", view="On an image"), "head-accuracies"), "measure-accuracies")
    wait_for(lambda: all(task.done for task in tasks._tasks().values()))
    at = rerun(at)
    assert table(at)["Without head"] == ["0.0", "0.1", "1.0", "1.1"]
    assert "On 20 test images" in texts(at)


@pytest.mark.usefixtures("shipped")
def test_an_image_network_without_attention_is_one_sentence(open_page: Open) -> None:
    assert "train one" in texts(open_page("attention", view="On an image"))
    at = open_page("attention", view="On an image", checkpoint="tiny")
    assert "choose a Compact Transformer" in at.error[0].value


@pytest.mark.usefixtures("gpt")
def test_the_test_of_an_explanation_shows_both_attentions(open_page: Open) -> None:
    open_page("attention", view="Is it an explanation?", prompt=TEXT)
    wait_for(lambda: all(task.done for task in tasks._tasks().values()))
    at = open_page("attention", view="Is it an explanation?", prompt=TEXT)
    found = explain_attention(load_checkpoint(find_checkpoint("writer")), TEXT)
    assert found.answer in texts(at)
    data = shown(at, "attention-strips")
    assert data["text"] == TEXT
    np.testing.assert_allclose([row["values"] for row in data["rows"]], [found.usual, found.adversarial], atol=1e-5)
    assert link(at)["prompt"] == TEXT
    at.session_state["view"] = "Heads"
    at = rerun(at)
    assert at.text_area(key="attention-prompt").value == TEXT


@pytest.mark.usefixtures("gpt", "scribe")
@pytest.mark.parametrize(
    ("query", "sentence"), [({"prompt": "a"}, "two characters"), ({"checkpoint": "scribe"}, "choose a GPT")]
)
def test_what_cannot_be_tested_is_one_sentence(open_page: Open, query: dict[str, str], sentence: str) -> None:
    open_page("attention", view="Is it an explanation?", **query)
    wait_for(lambda: all(task.done for task in tasks._tasks().values()))
    at = open_page("attention", view="Is it an explanation?", **query)
    assert len(at.error) == 1
    assert sentence in at.error[0].value


@pytest.mark.usefixtures("gpt")
def test_another_text_ends_the_test_of_the_one_before(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(checkpoint: Checkpoint, text: str, seed: int, report: Progress) -> None:
        while text == TEXT:
            report(0.5, "searching other attention")
            time.sleep(0.01)

    monkeypatch.setattr("core.attention.explanation.explain_attention", endless)
    at = open_page("attention", view="Is it an explanation?", prompt=TEXT)
    (first,) = tasks._tasks().values()
    assert not first.done
    at = rerun(at.text_area(key="attention-prompt").set_value("cab cab cab"))
    wait_for(lambda: first.done)
    assert first.stopped
    assert first not in tasks._tasks().values()
    assert not at.get("bidi_component")
