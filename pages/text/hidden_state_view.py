"""Text / Inside the RNN: what one unit learned to follow, what the others hold, and how far back the gradient reaches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.common.values import signed
from core.language import hidden_state
from core.language.figures import SPELLED_OUT, hidden_heatmap, unit_over_text
from core.language.hidden_state import Follower, HiddenStates
from pages.shared.checkpoint_picker import checkpoint_picker, describe, is_recurrent
from pages.shared.copy_link import not_in_link
from pages.shared.elements import download, show_figure
from pages.shared.resources import dark, loaded
from pages.shared.text import show_error, show_reading
from pages.shared.url import linked, linked_flag, linked_fragment
from pages.shared.url_values import TEXT_CHARACTERS, one_of, short_text, write_short_text
from pages.shared.warmup import until_ready
from pages.text.hidden_state_help import EXAMPLE, how_it_works
from pages.text.hidden_state_reach import as_csv, fresh_network, reach, states_of

SORTED = {
    "best": "What it learned best",
    "variance": "Variance",
    "quotes": "Quotes",
    "line": "Position in line",
    "speaker": "Speaker name",
    "word": "Inside a word",
    "capitals": "Capital letters",
}
FOLLOWS = {
    "quotes": "whether a quote is open",
    "line": "how long the line is already",
    "speaker": "whether a speaker is being named",
    "word": "whether it is inside a word",
    "capitals": "whether a letter is a capital",
}
"""What a unit follows, as a sentence says it."""
VALUES = {"h": "Output h", "c": "Memory c"}
COUNTS = (12, 24, 48)
TALLEST_PX = 560
LEAST_TO_TELL = 100
UNIT = "Its number in the layer, from 0. The list has the order that the units are sorted by."
CLEARLY = 0.1
"""How much closer than the best unit of an untrained network a unit must follow something to have learned it."""


def inside_view() -> None:
    answer, form = st.columns([2, 1], gap="large")
    with form:
        reference = checkpoint_picker(
            "Checkpoint", "inside-checkpoint", param="checkpoint", task="text", fits=is_recurrent
        )
        if reference is None:
            return
        linked("text", "inside-text", short_text, EXAMPLE, write=write_short_text)
        text = st.text_area("Text to read", height=220, key="inside-text", persist_state="session")
        if len(text or "") > TEXT_CHARACTERS and text != EXAMPLE:
            not_in_link(f"The text is not in the link: it has more than {TEXT_CHARACTERS} characters.")
    found = None
    with answer:
        try:
            hidden_state.require_recurrent(reference.card)
            until_ready()
            checkpoint = loaded(reference)
            with st.spinner("Reading the text"):
                found = states_of(reference.card.fingerprint, text or "", _checkpoint=checkpoint)
        except LabError as error:
            show_error(error)
    if found is not None:
        with form:
            layer, symbol, by, count = _controls(found)
        _units(answer, form, checkpoint, found, layer, symbol, by, count)
        with _fold("How far back does learning reach?", "reach") as fold:
            if fold.open:
                linked_fragment(reach)(reference, text or "")
    with form:
        st.caption(describe(reference))
    how_it_works()


def _fold(label: str, param: str) -> Any:
    """What is drawn on demand: its `open` says whether it is wanted. param: what the address says of it."""
    linked_flag(param, f"inside-{param}")
    return st.expander(label, key=f"inside-{param}", on_change="rerun", icon=":material/expand_content:")


def learned(best: Sequence[Follower]) -> Follower | None:
    """The unit that is furthest above what an untrained network does anyway; None where none is clearly above it."""
    top = max(best, key=lambda each: abs(each.r) - each.untrained_baseline, default=None)
    return top if top is not None and abs(top.r) - top.untrained_baseline >= CLEARLY else None


def sentence(best: Sequence[Follower]) -> str:
    """What the network learned to follow, with its figures."""
    top = learned(best)
    if top is None:
        return "No unit of this layer follows this text clearly better than one of an untrained network."
    return (
        f"Unit {top.unit} follows {FOLLOWS[top.tracker]}: correlation {abs(top.r):.2f}, against "
        f"{top.untrained_baseline:.2f} in an untrained network."
    )


def _controls(found: HiddenStates) -> tuple[int, str, str, int]:
    """Index of the layer, `h` or `c`, what to sort by, and how many units to show."""
    layers = list(range(1, len(found.states) + 1))
    linked("layer", "inside-layer", one_of(layers, "layer"), layers[-1], options=layers)
    symbol = "h"
    with st.container(horizontal=True, gap="medium"):
        layer = st.segmented_control("Layer", layers, required=True, key="inside-layer", persist_state="session")
        if found.cells is not None:
            linked("show", "inside-show", one_of(VALUES, "value"), "h")
            symbol = st.segmented_control(
                "Show",
                list(VALUES),
                required=True,
                format_func=lambda name: VALUES[name],
                key="inside-show",
                persist_state="session",
                help="h is what the next layer and the prediction see; c is the memory behind it, which only gates touch.",
            )
    linked("sort", "inside-sort", one_of(SORTED, "order"), next(iter(SORTED)))
    by = st.selectbox(
        "Sort units by",
        list(SORTED),
        format_func=lambda name: SORTED[name],
        key="inside-sort",
        persist_state="session",
        help="By how much a unit varies, or how closely it follows a property of the text.",
    )
    linked("units", "inside-count", one_of(COUNTS, "number of units"), 24)
    count = st.segmented_control(
        "Units in the heatmap", COUNTS, required=True, key="inside-count", persist_state="session"
    )
    return layer - 1, symbol, by, count


def _units(
    answer: Any, form: Any, checkpoint: Checkpoint, found: HiddenStates, layer: int, symbol: str, by: str, count: int
) -> None:
    """The sentence and one unit over the text; the heatmap and the table on demand."""
    values = found.of(symbol)[layer]
    best = _best(checkpoint, found, layer, symbol)
    if by == "best":
        top = learned(best)
        by = top.tracker if top else "variance"
    feature = hidden_state.text_features(found.text).get(by)
    score = None if feature is None else hidden_state.correlations(values, feature)
    units = hidden_state.ordering(values, by, found.text).tolist()
    # Another order begins with its first unit, which is the one that the sentence names.
    order = (checkpoint.card.fingerprint, found.text, layer, symbol, by)
    linked("unit", "inside-unit", one_of(units, "unit"), units[0], options=units, of=order)
    with form:
        unit = st.selectbox("Unit shown", units, key="inside-unit", width=160, help=UNIT, persist_state="session")
    with answer:
        if len(found.text) < LEAST_TO_TELL:
            st.markdown(
                f"#### In fewer than {LEAST_TO_TELL} characters some unit follows anything: give a longer text."
            )
        else:
            st.markdown(f"#### {sentence(best)}")
        show_reading(found.replaced, found.line_breaks, "the text")
        if feature is not None and np.ptp(feature) == 0:
            st.info(f"*{SORTED[by]}* never changes in this text, so no unit can follow it: give a text where it does.")
        _over_text(found.text, values, unit, symbol)
    with _fold("Heatmap of the units", "map") as fold:
        if fold.open:
            _heatmap(found.text, values, units[:count], layer, symbol, (by, feature, score))
    with _fold("Best unit for each property, beside an untrained network", "table") as fold:
        if fold.open:
            _table(best, values.shape[1])


def _over_text(text: str, values: np.ndarray, unit: int, symbol: str) -> None:
    st.markdown(f"**Unit {unit} over the text**")
    figure = unit_over_text(values[:, unit], text, dark=dark(), symbol=symbol)
    # A long text scrolls inside a box, so that what comes below stays near.
    with st.container(height=TALLEST_PX if figure.layout.height > TALLEST_PX else "content", border=False):
        show_figure(
            figure,
            key="inside-over-text",
            buttons=(),
            alt=f"The text, each character in the colour of {symbol} of unit {unit} after it",
        )
    st.caption("The colour shows the unit after each character. A correlation of 1 is perfect, 0 is none.")


def _heatmap(
    text: str,
    values: np.ndarray,
    units: list[int],
    layer: int,
    symbol: str,
    order: tuple[str, np.ndarray | None, np.ndarray | None],
) -> None:
    """order: what the units are sorted by, its value at every character, and their correlations with it."""
    by, feature, score = order
    labels = [f"{unit}" if score is None else f"{unit}  {signed(score[unit], 2)}" for unit in units]
    show_figure(
        hidden_heatmap(
            values[:, units],
            text,
            labels,
            dark=dark(),
            symbol=symbol,
            tracked=None if feature is None else (SORTED[by], feature),
        ),
        key="inside-heatmap",
        buttons=(),
        alt=f"Heatmap of {symbol} of {len(units)} units over {len(text)} characters, sorted by {SORTED[by]}",
    )
    words = "those that vary most on top" if score is None else f"best correlation *r* with *{SORTED[by]}* on top"
    zoom = " Drag to zoom, double-click to go back." if len(text) > SPELLED_OUT else ""
    st.caption(
        f"{len(units)} of {values.shape[1]} units of layer {layer + 1}, {words}; a column is the state after that character."
        f"{zoom}"
    )
    columns = {f"unit_{unit}": [f"{value:.6g}" for value in values[:, unit]] for unit in units}
    name = f"layer-{layer + 1}-{symbol}"
    table = as_csv({"character": list(text)} | columns)
    download("The heatmap's values (CSV)", table, f"{name}.csv", key=f"download-{name}")


def _best(checkpoint: Checkpoint, found: HiddenStates, layer: int, symbol: str) -> list[Follower]:
    """The best unit for each property beside an untrained network's; none where the text is too short to tell."""
    if len(found.text) < LEAST_TO_TELL:
        return []
    fresh = fresh_network(checkpoint.card.model.removeprefix("char_"), checkpoint.card.fingerprint, _like=checkpoint)
    untrained = states_of(fresh.card.fingerprint, found.text, _checkpoint=fresh).of(symbol)[layer]
    return hidden_state.best_units(found.of(symbol)[layer], untrained, found.text)


def _table(best: Sequence[Follower], units: int) -> None:
    if not best:
        st.caption(f"It needs {LEAST_TO_TELL} characters, and something in the text that changes.")
        return
    st.dataframe(
        {
            "best unit for": [SORTED[each.tracker] for each in best],
            "unit": [each.unit for each in best],
            "r": [each.r for each in best],
            "|r| untrained": [each.untrained_baseline for each in best],
        },
        hide_index=True,
        column_config={name: st.column_config.NumberColumn(format="%.2f") for name in ("r", "|r| untrained")},
        key="inside-followers",
    )
    st.caption(
        f"Of {units} units one always fits by chance: the last column is the best unit of an untrained network of the same "
        "shape on the same text. Only what is clearly above it was learned; a longer text tells more."
    )
