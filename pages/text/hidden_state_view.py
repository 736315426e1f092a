"""Text / Inside the RNN: what its cells hold while it reads, and how far back its gradient reaches."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.common.values import signed
from core.language import hidden_state
from core.language.figures import SPELLED_OUT, cell_over_text, hidden_heatmap
from core.language.hidden_state import HiddenStates
from pages.shared.checkpoint_picker import checkpoint_picker, describe
from pages.shared.elements import download, show_figure
from pages.shared.resources import dark, loaded
from pages.shared.text import replaced_words, show_error
from pages.shared.warmup import until_ready
from pages.text.hidden_state_help import EXAMPLE, how_it_works
from pages.text.hidden_state_reach import as_csv, fresh_network, reach, states_of

SORTED = {
    "variance": "Variance",
    "quotes": "Quotes",
    "line": "Position in line",
    "speaker": "Speaker name",
    "word": "Inside a word",
    "capitals": "Capital letters",
}
VALUES = {"h": "Output h", "c": "Memory c"}
TALLEST_PX = 560
LEAST_TO_TELL = 100


def inside_view() -> None:
    left, right = st.columns([1, 2], gap="large")
    with left:
        reference = checkpoint_picker(
            "Checkpoint", "inside-checkpoint", param="checkpoint", task="text", recurrent=True
        )
        if reference is None:
            return
        st.caption(describe(reference))
        text = st.text_area("Text to read", EXAMPLE, height=220, key="inside-text", persist_state="session")
    with right:
        found = None
        try:
            hidden_state.require_recurrent(reference.card)
            until_ready()
            checkpoint = loaded(reference)
            with st.spinner("Reading the text"):
                found = states_of(reference.card.fingerprint, text or "", _checkpoint=checkpoint)
        except LabError as error:
            show_error(error)
    if found is not None:
        with left:
            layer, symbol, by, count = _controls(found)
        with right:
            _cells(checkpoint, found, layer, symbol, by, count)
        st.fragment(reach)(reference, text or "")
    how_it_works()


def _controls(found: HiddenStates) -> tuple[int, str, str, int]:
    """Index of the layer, `h` or `c`, what to sort by, and how many cells to show."""
    layers = list(range(1, len(found.states) + 1))
    if st.session_state.get("inside-layer") not in layers:
        st.session_state["inside-layer"] = layers[-1]  # the last one; another checkpoint may have had more
    symbol = "h"
    with st.container(horizontal=True, gap="medium"):
        layer = st.segmented_control("Layer", layers, required=True, key="inside-layer", persist_state="session")
        if found.cells is not None:
            symbol = st.segmented_control(
                "Show",
                list(VALUES),
                default="h",
                required=True,
                format_func=lambda name: VALUES[name],
                key="inside-show",
                persist_state="session",
                help="h is what the next layer and the prediction see; c is the memory behind it, which only gates touch.",
            )
    by = st.selectbox(
        "Sort cells by",
        list(SORTED),
        format_func=lambda name: SORTED[name],
        key="inside-sort",
        persist_state="session",
        help="How much a cell varies, or how well it follows something that can be counted in the text.",
    )
    count = st.segmented_control(
        "Cells shown", [12, 24, 48], default=24, required=True, key="inside-count", persist_state="session"
    )
    return layer - 1, symbol, by, count


def _cells(checkpoint: Checkpoint, found: HiddenStates, layer: int, symbol: str, by: str, count: int) -> None:
    text, values = found.text, found.of(symbol)[layer]
    feature = hidden_state.text_features(text).get(by)
    cells = hidden_state.ordering(values, by, text)[:count]
    if found.replaced:
        st.info(replaced_words(found.replaced, "the text"), icon=":material/swap_horiz:")
    if feature is not None and np.ptp(feature) == 0:
        st.info(f"*{SORTED[by]}* never changes in this text, so no cell can follow it: give a text where it does.")
    score = None if feature is None else hidden_state.correlations(values, feature)
    labels = [f"{cell}" if score is None else f"{cell}  {signed(score[cell], 2)}" for cell in cells]
    st.markdown(f"#### What layer {layer + 1} holds")
    show_figure(
        hidden_heatmap(
            values[:, cells],
            text,
            labels,
            dark=dark(),
            symbol=symbol,
            tracked=None if feature is None else (SORTED[by], feature),
        ),
        key="inside-heatmap",
        buttons=(),
        alt=f"Heatmap of {symbol} of {len(cells)} cells over {len(text)} characters, sorted by {SORTED[by]}",
    )
    order = "those that vary most on top" if score is None else f"best correlation *r* with *{SORTED[by]}* on top"
    zoom = " Drag to zoom, double-click to go back." if len(text) > SPELLED_OUT else ""
    st.caption(f"{len(cells)} of {values.shape[1]} cells, {order}; a column is the state after that character.{zoom}")
    _followers(checkpoint, found, layer, symbol)
    if st.session_state.get("inside-row", 1) > len(cells):
        st.session_state["inside-row"] = 1  # there were more rows
    # The title names the cell. The options do not: a browser keeps showing the one it has when cells are sorted anew.
    title = st.empty()
    row = st.selectbox("Row of the map", range(1, len(cells) + 1), key="inside-row", width=160)
    cell = cells[row - 1]
    title.markdown(f"#### Cell {cell} over the text")
    figure = cell_over_text(values[:, cell], text, dark=dark(), symbol=symbol)
    # A long text scrolls in a box of its own, so that what comes below stays near.
    with st.container(height=TALLEST_PX if figure.layout.height > TALLEST_PX else "content", border=False):
        show_figure(
            figure,
            key="inside-over-text",
            buttons=(),
            alt=f"The text, each character in the colour of {symbol} of cell {cell} after it",
        )
    columns = {f"cell_{cell}": [f"{value:.6g}" for value in values[:, cell]] for cell in cells}
    name = f"layer-{layer + 1}-{symbol}"
    table = as_csv({"character": list(text)} | columns)
    download("The heatmap's values (CSV)", table, f"{name}.csv", key=f"download-{name}")


def _followers(checkpoint: Checkpoint, found: HiddenStates, layer: int, symbol: str) -> None:
    if len(found.text) < LEAST_TO_TELL:
        st.caption(f"In fewer than {LEAST_TO_TELL} characters some cell follows anything: give a longer text.")
        return
    fresh = fresh_network(checkpoint.card.model.removeprefix("char_"), checkpoint.card.fingerprint, _like=checkpoint)
    untrained_baseline = states_of(fresh.card.fingerprint, found.text, _checkpoint=fresh).of(symbol)[layer]
    best = hidden_state.best_units(found.of(symbol)[layer], untrained_baseline, found.text)
    if not best:
        return
    st.dataframe(
        {
            "best cell for": [SORTED[each.tracker] for each in best],
            "cell": [each.cell for each in best],
            "r": [each.r for each in best],
            "|r| untrained": [each.untrained_baseline for each in best],
        },
        hide_index=True,
        column_config={name: st.column_config.NumberColumn(format="%.2f") for name in ("r", "|r| untrained")},
        key="inside-followers",
    )
    st.caption(
        f"Of {untrained_baseline.shape[1]} cells one always fits by chance: the last column is the best cell of an "
        "untrained network of the same shape on the same text. Only what is clearly above it was learned; a longer "
        "text tells more."
    )
