"""Text / Why this one: the values that are shown are core's, and what may be wrong with a prompt or a checkpoint."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.checkpoints.store import save_checkpoint
from core.compression.methods.int8 import to_int8
from core.compression.steps import Int8
from core.language.attribution import evidence, explain_next, next_characters
from pages.text.hidden_state_reach import as_csv
from pages.text.next_char_help import EXAMPLE, likely
from pages.text.next_char_view import columns
from tests.app.conftest import HOSTILE, Open, click, read, rerun, sources, table, texts, write_text_checkpoint
from tests.app.text_page import loaded, verse_data

VIEW = "Why this one"
PROMPT = "ANNA:\nthe night is o"


@pytest.fixture(autouse=True)
def _models(lab_home: Path, warm: None) -> None:
    """A GRU and a Transformer; no import is waited for."""
    for model in ("char_gru", "char_gpt"):
        write_text_checkpoint(lab_home / "none" / model, model=model, title=f"Tiny {model}")


def shown(at: AppTest) -> dict[str, Any]:
    """What the browser is given to colour."""
    return verse_data(at, "next-coloured")


def opened(open_page: Open, name: str = "char_gru", prompt: str = PROMPT) -> AppTest:
    at = open_page("text", view=VIEW, checkpoint=name)
    at.text_area(key="prompt").set_value(prompt)
    return rerun(at)


def test_values_and_evidence_are_cores(open_page: Open, lab_home: Path) -> None:
    at = opened(open_page)
    assert not at.error, at.error
    checkpoint = loaded(lab_home, "char_gru")
    found = explain_next(checkpoint, PROMPT)
    assert shown(at)["text"] == PROMPT
    np.testing.assert_allclose(shown(at)["values"], found.values, atol=1e-4)
    assert (shown(at)["following"], shown(at)["baseline"], shown(at)["unseen"]) == (found.target, " ", 0)
    checked = evidence(checkpoint, found)
    assert checked.verdict in texts(at)
    shares = table(at)
    assert shares["Replaced"] == ["1", "3"]
    assert shares["Largest values"] == [likely(row.largest) for row in checked.rows]
    assert shares["At random (mean of 20)"] == [likely(row.random) for row in checked.rows]
    assert shares["The last ones"] == [likely(row.last) for row in checked.rows]
    assert "the values sum to that up to 0.1%" in texts(at)
    assert [button.proto.label for button in at.get("download_button")] == ["The values (CSV)"]
    rows = list(csv.DictReader(io.StringIO(as_csv(columns(found)))))
    assert "".join(row["character"] for row in rows) == PROMPT
    assert [row["position"] for row in rows] == [str(place) for place in range(1, len(PROMPT) + 1)]
    np.testing.assert_allclose([float(row["bits"]) for row in rows], found.values, rtol=1e-5)


def test_every_setting_reaches_core(open_page: Open, lab_home: Path) -> None:
    at = opened(open_page)
    checkpoint = loaded(lab_home, "char_gru")
    options = [character for character, _ in next_characters(checkpoint, PROMPT).alternatives]
    assert at.pills(key="next-target").value == options[0]
    at.pills(key="next-target").set_value(options[2])
    at.segmented_control(key="next-method").set_value("occlusion")
    rerun(at.selectbox(key="next-baseline").set_value("e"))
    rerun(at.segmented_control(key="next-window").set_value(3))
    found = explain_next(checkpoint, PROMPT, target=options[2], method="occlusion", window=3, baseline="e")
    np.testing.assert_allclose(shown(at)["values"], found.values, atol=1e-4)
    assert shown(at)["following"] == options[2]
    assert "Occlusion." in texts(at)
    assert "sum to that" not in texts(at)
    # Another prompt begins with the most likely character again.
    rerun(at.text_area(key="prompt").set_value("BEN:\nI kn"))
    assert at.pills(key="next-target").value == explain_next(checkpoint, "BEN:\nI kn").target


def test_the_prompt_is_the_one_of_write(open_page: Open, lab_home: Path) -> None:
    at = open_page("text", view="Write", checkpoint="char_gru")
    rerun(at.text_area(key="prompt").set_value(PROMPT))
    rerun(at.segmented_control(key="view").set_value(VIEW))
    assert shown(at)["text"] == PROMPT
    click(at, "next-example")
    assert at.text_area(key="prompt").value == EXAMPLE
    assert shown(at)["text"] == next_characters(loaded(lab_home, "char_gru"), EXAMPLE).text


def test_a_transformers_context_and_a_long_prompt(open_page: Open, lab_home: Path) -> None:
    at = opened(open_page, "char_gpt", "the night is old and " * 20)
    assert not at.error, at.error
    assert shown(at)["unseen"] == 300 - 64
    assert not any(shown(at)["values"][: 300 - 64])
    assert "sees 64 characters back: the first 236" in texts(at)
    assert "Only the last 300 characters are read here; 120 before them are left out." in texts(at)


def test_an_int8_checkpoint_says_what_is_explained(open_page: Open, lab_home: Path) -> None:
    made = to_int8(loaded(lab_home, "char_gru"), None, Int8())
    save_checkpoint(lab_home / "none" / "small", made.model, made.card)
    at = opened(open_page, "small")
    assert not at.error, at.error
    assert "It writes in 8 bits" in texts(at)
    assert "It writes in 8 bits" not in texts(opened(open_page))


def test_prompts_that_cannot_be_explained(open_page: Open) -> None:
    at = opened(open_page, prompt="")
    assert [read(error.value) for error in at.error] == ["There is no text to explain: write a few characters."]
    rerun(at.text_area(key="prompt").set_value("  "))
    assert "which stands for nothing: choose another stand-in" in read(at.error[0].value)
    at.selectbox(key="next-baseline").set_value("\n")
    assert not rerun(at).error


def test_unknown_characters_and_hostile_prompts(open_page: Open) -> None:
    at = opened(open_page, prompt=f"{HOSTILE} <b>é\t*")
    assert not at.error, at.error
    assert "“é” as “e”" in texts(at)
    assert "![x](" not in sources(at)
    assert "<b>" not in sources(at)
