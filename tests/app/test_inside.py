"""Text / Inside the RNN: the cells that are shown are core's, and what may be wrong with a text or a checkpoint."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.checkpoints.store import Checkpoint, load_checkpoint, save_checkpoint
from core.language.hidden_state import (
    Follower,
    best_units,
    correlations,
    gradient_norms,
    hidden_states,
    ordering,
    text_features,
    untrained,
)
from core.models import build_model
from pages.text.hidden_state_help import EXAMPLE
from pages.text.hidden_state_reach import as_csv, share
from pages.text.hidden_state_view import learned, sentence
from tests.app.conftest import Open, chart, read, rerun, sources, texts, write_text_checkpoint

pytestmark = pytest.mark.slow

VIEW = "Inside the RNN"
HOSTILE = "![x](http://evil.example/x.png) <b>é"


@pytest.fixture(autouse=True)
def _models(lab_home: Path, warm: None) -> None:
    """An LSTM and an RNN; no import is waited for."""
    for model in ("char_lstm", "char_rnn"):
        write_text_checkpoint(lab_home / "none" / model, model=model, title=f"Tiny {model}")


def loaded(lab_home: Path, name: str = "char_lstm") -> Checkpoint:
    return load_checkpoint(str(lab_home / "none" / name))


def unfolded(at: AppTest) -> AppTest:
    """With all that is drawn on demand."""
    for name in ("map", "table", "reach"):
        at.session_state[f"inside-{name}"] = True
    return rerun(at)


def rows(at: AppTest) -> list[str]:
    """What stands beside the rows of the heatmap."""
    return chart(at, 1)["layout"]["yaxis"]["ticktext"]


def test_the_cells_and_their_order_are_cores(open_page: Open, lab_home: Path) -> None:
    at = unfolded(open_page("text", view=VIEW, checkpoint="char_lstm"))
    assert not at.error, at.error
    found = hidden_states(loaded(lab_home), EXAMPLE)
    rerun(at.selectbox(key="inside-sort").set_value("variance"))
    by_variance = ordering(found.states[1], "variance", found.text)
    assert rows(at) == [f"{cell}" for cell in by_variance]  # 24 cells in all
    at.selectbox(key="inside-sort").set_value("speaker")
    at.segmented_control(key="inside-show").set_value("c")
    at.segmented_control(key="inside-layer").set_value(1)
    rerun(at.segmented_control(key="inside-count").set_value(12))
    values = found.cells[0]
    cells = ordering(values, "speaker", found.text)[:12]
    r = correlations(values, text_features(found.text)["speaker"])
    assert rows(at) == ["Speaker name", *(f"{cell}  {r[cell]:+.2f}".replace("-", "−") for cell in cells)]
    assert f"Unit {cells[0]} over the text" in texts(at)
    assert at.selectbox(key="inside-unit").value == cells[0], "one number in the title and in the selector"
    rerun(at.selectbox(key="inside-unit").set_value(int(cells[2])))
    assert f"Unit {cells[2]} over the text" in texts(at)
    assert at.query_params["unit"] in (f"{cells[2]}", [f"{cells[2]}"])
    rerun(at.selectbox(key="inside-sort").set_value("variance"))
    assert at.selectbox(key="inside-unit").value == ordering(values, "variance", found.text)[0]


def follower(tracker: str, r: float, untrained_baseline: float) -> Follower:
    return Follower(tracker=tracker, unit=7, r=r, untrained_baseline=untrained_baseline)


@pytest.mark.parametrize(
    ("best", "said"),
    [
        (
            [follower("speaker", 0.65, 0.44), follower("word", -0.594, 0.09), follower("quotes", 0.25, 0.56)],
            "Unit 7 follows whether it is inside a word: correlation 0.59, against 0.09 in an untrained network.",
        ),
        ([follower("word", 0.59, 0.5)], "No unit of this layer follows this text clearly better"),
        ([], "No unit of this layer follows this text clearly better"),
    ],
)
def test_the_sentence_names_the_unit_that_is_furthest_above_chance(best: list[Follower], said: str) -> None:
    assert sentence(best).startswith(said)


def test_it_opens_on_one_unit_and_folds_the_rest(open_page: Open, lab_home: Path) -> None:
    at = open_page("text", view=VIEW, checkpoint="char_lstm")
    own, fresh = (hidden_states(each, EXAMPLE) for each in (loaded(lab_home), untrained("lstm", loaded(lab_home))))
    best = best_units(own.states[1], fresh.states[1], own.text)
    assert f"#### {sentence(best)}" in texts(at)
    top = learned(best)
    unit = top.unit if top else ordering(own.states[1], "variance", own.text)[0]
    assert f"Unit {unit} over the text" in texts(at)
    assert len(at.get("plotly_chart")) == 1
    assert not at.dataframe


def test_chance_is_an_untrained_network(open_page: Open, lab_home: Path) -> None:
    at = unfolded(open_page("text", view=VIEW, checkpoint="char_lstm"))
    fresh = hidden_states(untrained("lstm", loaded(lab_home)), EXAMPLE)
    table = at.dataframe[0].value
    own = hidden_states(loaded(lab_home), EXAMPLE)
    quotes = text_features(own.text)["quotes"]
    first = table.iloc[0]
    assert first["best unit for"] == "Quotes"
    assert first["unit"] == ordering(own.states[1], "quotes", own.text)[0]
    assert first["|r| untrained"] == pytest.approx(np.abs(correlations(fresh.states[1], quotes)).max())
    assert "an untrained network" in texts(at)


def test_curves_of_this_one_and_others(open_page: Open, lab_home: Path) -> None:
    at = unfolded(open_page("text", view=VIEW, checkpoint="char_lstm"))
    assert [trace["name"] for trace in chart(at, 2)["data"]] == ["Tiny char_lstm", "Untrained RNN", "Untrained LSTM"]
    assert [trace["line"]["dash"] for trace in chart(at, 2)["data"]] == ["solid", "dash", "dash"]
    rerun(at.multiselect(key="inside-compare").set_value(["char_rnn", "untrained gru"]))
    traces = {trace["name"]: trace for trace in chart(at, 2)["data"]}
    assert list(traces) == ["Tiny char_lstm", "Tiny char_rnn", "Untrained GRU"]
    norms = gradient_norms(loaded(lab_home, "char_rnn"), EXAMPLE)
    assert f"Tiny char_rnn {share(norms[50])}" in texts(at).replace("**", "")
    # A checkpoint that is gone is no longer among those to compare with.
    shutil.rmtree(lab_home / "none" / "char_rnn")
    rerun(at)
    assert at.multiselect(key="inside-compare").value == ["untrained gru"]


def test_a_checkpoint_with_fewer_layers(open_page: Open, lab_home: Path) -> None:
    card = loaded(lab_home).card
    config = card.model_config | {"layers": 1, "width": 10}
    flat = dataclasses.replace(card, title="Flat", model="char_gru", model_config=config)
    save_checkpoint(lab_home / "none" / "flat", build_model("char_gru", config), flat)
    at = unfolded(open_page("text", view=VIEW, checkpoint="char_lstm"))
    at.selectbox(key="inside-sort").set_value("variance")
    at.segmented_control(key="inside-layer").set_value(2)
    at.segmented_control(key="inside-show").set_value("c")
    rerun(at.selectbox(key="inside-unit").set_value(20))
    rerun(at.selectbox(key="inside-checkpoint").set_value("flat"))
    assert not at.error, at.error
    assert "units of layer 1, those that vary most on top" in texts(at)
    assert len(rows(at)) == 10
    assert at.selectbox(key="inside-unit").value == int(rows(at)[0])


@pytest.mark.parametrize(
    ("text", "words", "charts"),
    [("", "no text to read", 0), ("a" * 2001, "2,001 characters", 0), ("a", "give at least 3 characters", 2)],
)
def test_texts_that_cannot_be_read(open_page: Open, text: str, words: str, charts: int) -> None:
    """One that is too short for gradients still has its cells."""
    at = unfolded(open_page("text", view=VIEW, checkpoint="char_lstm"))
    rerun(at.text_area(key="inside-text").set_value(text))
    (error,) = at.error
    assert words in read(error.value)
    assert len(at.get("plotly_chart")) == charts
    assert not rerun(at.text_area(key="inside-text").set_value("Now there is one.")).error


def test_unknown_characters_and_hostile_texts(open_page: Open) -> None:
    at = open_page("text", view=VIEW, checkpoint="char_lstm")
    rerun(at.text_area(key="inside-text").set_value(HOSTILE + "\t\u200b" + "".join(map(chr, range(0x4E00, 0x4E20)))))
    assert not at.error, at.error
    assert "“é” as “e”" in texts(at)
    assert "a tab as a space, U+200B as a space" in texts(at)
    assert "and " in at.info[0].value.rpartition(", ")[2]
    assert "![x](" not in sources(at)
    assert "<b>é" not in json.dumps(chart(at, 0))


def test_a_tracker_that_never_changes_says_so(open_page: Open) -> None:
    at = unfolded(open_page("text", view=VIEW, checkpoint="char_rnn"))
    rerun(at.text_area(key="inside-text").set_value("no name and no quote here"))
    assert not at.dataframe, "in so short a text some unit follows anything"
    assert "In fewer than 100 characters some unit follows anything: give a longer text." in texts(at)
    at.text_area(key="inside-text").set_value("no name and no quote here, " * 5)
    rerun(at.selectbox(key="inside-sort").set_value("quotes"))
    assert "never changes in this text" in texts(at)
    assert "Quotes" not in list(at.dataframe[0].value["best unit for"])
    assert not [each for each in at.segmented_control if each.key == "inside-show"]  # an RNN has no c


def test_a_transformer_has_no_hidden_state(open_page: Open, lab_home: Path) -> None:
    write_text_checkpoint(lab_home / "none" / "gpt", model="char_gpt", title="Looker")
    at = unfolded(open_page("text", view=VIEW, checkpoint="gpt"))
    assert [read(error.value) for error in at.error] == [
        "Looker is a GPT and carries no hidden state from character to character: choose an RNN, a GRU or an LSTM."
    ]
    assert not at.get("plotly_chart")
    rerun(at.selectbox(key="inside-checkpoint").set_value("char_rnn"))
    assert "gpt" not in at.multiselect(key="inside-compare").options


def test_the_table_for_download() -> None:
    table = list(csv.DictReader(io.StringIO(as_csv({"character": list('a"\n,'), "unit_3": ["0.5", "1"]}))))
    assert [row["character"] for row in table] == ["a", '"', "\n", ","]
    assert [row["unit_3"] for row in table] == ["0.5", "1", "", ""]


@pytest.mark.parametrize(
    ("value", "words"),
    [(1, "100%"), (0.4567, "46%"), (0.0456, "4.6%"), (0.00123, "0.12%"), (6.7e-7, "1 in 1,500,000"), (0, "nothing")],
)
def test_small_shares_in_words(value: float, words: str) -> None:
    assert share(value) == words
