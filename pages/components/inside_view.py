"""Text / Inside the RNN: what its cells hold while it reads, and how far back its gradient reaches."""

from __future__ import annotations

import csv
import io

import numpy as np
import streamlit as st

from core.checkpoints import Checkpoint, CheckpointRef, list_checkpoints
from core.errors import LabError
from core.explanation.recurrent import (
    CELLS,
    HiddenStates,
    correlations,
    gradient_norms,
    hidden_states,
    ordering,
    require_recurrent,
    trackers,
    untrained,
)
from core.models import MODELS
from core.plots.recurrent import cell_over_text, gradient_curves, hidden_heatmap
from pages.components.checkpoint_picker import checkpoint_picker, describe
from pages.components.resources import dark, loaded
from pages.components.text import plain, show_error
from pages.components.warmup import until_ready

EXAMPLE = """ROMEO:
She said to me: 'Come not before the bell,
For all my father's men keep watch till dawn.'
What shall I do? O, speak, and counsel me.

FRIAR LAURENCE:
Go home, young man; and when the night is old
Say to her nurse: 'He waits beside the wall.'
"""
SORTED = {
    "variance": "Variance",
    "quotes": "Quotes",
    "line": "Position in line",
    "speaker": "Speaker name",
    "word": "Inside a word",
    "capitals": "Capital letters",
}
VALUES = {"h": "Output h", "c": "Memory c"}
OPTIONS = {"displayModeBar": False}
SOME_BACK = 50


def inside_view() -> None:
    """The whole of the view."""
    left, right = st.columns([1, 2], gap="large")
    with left:
        reference = checkpoint_picker("Checkpoint", "inside-checkpoint", param="checkpoint", task="text")
        if reference is None:
            return
        st.caption(describe(reference))
        text = st.text_area("Text to read", EXAMPLE, height=220, key="inside-text", persist_state="session")
    with right:
        try:
            require_recurrent(reference.card)
            until_ready()
            checkpoint = loaded(reference)
            found = states_of(reference.card.fingerprint, text, _checkpoint=checkpoint)
        except LabError as error:
            show_error(error)
            found = None
    if found is not None:
        with left:
            layer, symbol, by, count = _controls(found)
        with right:
            _cells(checkpoint, found, layer, symbol, by, count)
        _reach(reference, text)
    _how_it_works()


def _controls(found: HiddenStates) -> tuple[int, str, str, int]:
    """Index of the layer, `h` or `c`, what to sort by, and how many cells to show."""
    layers = list(range(1, len(found.states) + 1))
    if st.session_state.get("inside-layer") not in layers:
        st.session_state["inside-layer"] = layers[-1]  # another checkpoint had more
    with st.container(horizontal=True, gap="medium"):
        layer = st.segmented_control("Layer", layers, required=True, key="inside-layer", persist_state="session")
        symbol = "h"
        if found.cells is not None:
            symbol = st.segmented_control(
                "Show",
                list(VALUES),
                default="h",
                required=True,
                format_func=VALUES.get,
                key="inside-show",
                persist_state="session",
                help="h is what the next layer and the next character see; c is the memory behind it, which only gates touch.",
            )
    by = st.selectbox(
        "Sort cells by",
        list(SORTED),
        format_func=SORTED.get,
        key="inside-sort",
        persist_state="session",
        help="How much a cell varies, or how well it follows something that can be counted in the text.",
    )
    count = st.segmented_control(
        "Cells shown", [12, 24, 48], default=24, required=True, key="inside-count", persist_state="session"
    )
    return layer - 1, symbol, by, count


def _cells(checkpoint: Checkpoint, found: HiddenStates, layer: int, symbol: str, by: str, count: int) -> None:
    text, values = found.text, _values(found, symbol)[layer]
    known = trackers(text)
    cells = ordering(values, by, text)[:count]
    score = correlations(values, known[by]) if by in known else None
    if found.replaced:
        shown = ", ".join(f"{_sign(old)} as {_sign(new)}" for old, new in found.replaced[:12])
        st.info(f"The model never saw some of these characters and reads them as others: {shown}.")
    if score is not None and not score.any():
        st.info(f"Nothing in this text differs in *{SORTED[by]}*, so no cell can follow it: give a text where it does.")
    st.plotly_chart(
        hidden_heatmap(
            values[:, cells],
            text,
            [f"{cell}" if score is None else f"{cell}  {score[cell]:+.2f}".replace("-", "−") for cell in cells],
            dark=dark(),
            symbol=symbol,
            tracked=(SORTED[by], known[by]) if by in known else None,
        ),
        theme=None,
        key="inside-heatmap",
        config=OPTIONS,
        alt=f"Heatmap of {symbol} of {len(cells)} cells over {len(text)} characters, sorted by {SORTED[by]}",
    )
    st.caption(
        f"{len(cells)} of {values.shape[1]} cells, "
        + ("those that vary most on top." if score is None else f"sorted by how well they follow *{SORTED[by]}*, with r.")
        + " Each column is the state after that character; drag to zoom, double-click to go back."
    )
    _table(checkpoint, found, values, known, layer, symbol)
    st.markdown("#### One cell over the text")
    row = st.selectbox(
        "Cell",
        range(len(cells)),
        format_func=lambda index: f"Row {index + 1}: cell {cells[index]}",
        key="inside-row",
        label_visibility="collapsed",
    )
    st.plotly_chart(
        cell_over_text(values[:, cells[row]], text, dark=dark(), symbol=symbol),
        theme=None,
        key="inside-text-map",
        config=OPTIONS,
        alt=f"The text, each character coloured by {symbol} of cell {cells[row]} after it",
    )
    st.download_button(
        "Heatmap (CSV)",
        heatmap_csv(values[:, cells], text, cells),
        f"cells-layer-{layer + 1}-{symbol}.csv",
        "text/csv",
        key="inside-download",
        icon=":material/download:",
        on_click="ignore",
    )


def _table(
    checkpoint: Checkpoint,
    found: HiddenStates,
    values: np.ndarray,
    known: dict[str, np.ndarray],
    layer: int,
    symbol: str,
) -> None:
    fresh = fresh_network(checkpoint.model.cell, checkpoint.card.fingerprint, _like=checkpoint)
    chance = _values(states_of(fresh.card.fingerprint, found.text, _checkpoint=fresh), symbol)[layer]
    ...


def _values(found: HiddenStates, symbol: str) -> np.ndarray:
    return found.cells if symbol == "c" and found.cells is not None else found.states
