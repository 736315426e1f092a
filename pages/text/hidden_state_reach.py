"""How far back gradients reach in one recurrent network and in others, and what Inside the RNN keeps of its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import streamlit as st

from core.checkpoints.store import Checkpoint, CheckpointRef, list_checkpoints
from core.common.errors import LabError
from core.language import hidden_state
from core.language.figures import gradient_curves
from core.language.hidden_state import CELLS, HiddenStates
from core.models import MODELS
from pages.shared.elements import download, show_figure
from pages.shared.resources import dark, loaded
from pages.shared.tables import csv_bytes
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import linked
from pages.shared.url_values import several_of, write_several

FRESH = {f"untrained {cell}": f"Untrained {MODELS[model].title}" for cell, model in CELLS.items()}
USUAL = ["untrained rnn", "untrained lstm"]
MOST = 5
"""Networks beside the chosen one."""
BACK = 50
"""Characters back at which the caption reads the curves."""


def reach(reference: CheckpointRef, text: str) -> None:
    """Gradient curves of this checkpoint and of those chosen beside it. A fragment: the rest of the page stays as it is."""
    st.markdown("#### How far back does learning reach?")
    trained = {each.name: each for each in list_checkpoints(task="text") if each.card.model in CELLS.values()}
    trained.pop(reference.name, None)
    chosen = _compared([*FRESH, *trained], trained)
    curves: dict[str, np.ndarray] = {}
    models: dict[str, str] = {}
    with st.spinner("Following gradients back through the text"):
        for name in (reference.name, *chosen):
            try:
                network = _network(name, reference, trained)
                norms = gradients_of(network.card.fingerprint, text, _checkpoint=network)
            except LabError as error:
                show_error(error)
                break
            title = network.card.title[:40]
            title = title if title not in curves else f"{title} · {name}"
            curves[title], models[title] = norms, network.card.model
    if curves:
        _curves(curves, models)


def _compared(options: list[str], trained: dict[str, CheckpointRef]) -> list[str]:
    linked("compare", "inside-compare", several_of(options, "network", MOST), USUAL, write=write_several)
    kept = st.session_state["inside-compare"]
    st.session_state["inside-compare"] = [name for name in kept if name in options]  # a run may be gone
    chosen = st.multiselect(
        "Compare with",
        options,
        format_func=lambda name: FRESH.get(name) or f"{trained[name].label} · {name}",
        max_selections=MOST,
        key="inside-compare",
        persist_state="session",
    )
    st.caption(
        "Untrained networks have the shape of this checkpoint, and the weights that its training would have started from."
    )
    return chosen


def _network(name: str, reference: CheckpointRef, trained: dict[str, CheckpointRef]) -> Checkpoint:
    if name in FRESH:
        return fresh_network(name.split()[1], reference.card.fingerprint, _like=loaded(reference))
    return loaded(reference if name == reference.name else trained[name])


def _curves(curves: dict[str, np.ndarray], models: dict[str, str]) -> None:
    show_figure(
        gradient_curves(curves, dark=dark(), models=models, untrained=set(FRESH.values())),
        key="inside-gradients",
        buttons=(),
        alt="Norm of the gradient against characters back in time, on a log scale: " + ", ".join(curves),
    )
    lag = min(BACK, *(len(norms) - 1 for norms in curves.values()))
    left = ", ".join(f"{escape_markdown(name)} **{share(norms[lag])}**" for name, norms in curves.items())
    st.caption(f"What is left of the gradient {lag} characters back: {left}.")
    columns = {name: [f"{value:.6g}" for value in norms] for name, norms in curves.items()}
    longest = max(map(len, columns.values()))
    table = {"characters_back": [str(lag) for lag in range(longest)]} | columns
    download("The curves (CSV)", as_csv(table), "gradients.csv", key="download-gradients")


def share(value: float) -> str:
    """A share for people, however small: `5.2%`, `1 in 1,500,000`."""
    if value >= 0.001:
        return f"{100 * value:.2g}%" if value < 0.0995 else f"{100 * value:.0f}%"
    if value < 1e-12:
        return "nothing"
    return f"1 in {float(f'{1 / value:.1e}'):,.0f}"


def as_csv(columns: Mapping[str, Sequence[str]]) -> str:
    """A table as CSV, one line a row, names first; shorter columns end in empty fields."""
    longest = max(map(len, columns.values()), default=0)
    return csv_bytes(
        {name: values[row] for name, values in columns.items() if row < len(values)} for row in range(longest)
    ).decode()


@st.cache_data(max_entries=8, show_spinner=False)
def states_of(fingerprint: str, text: str, *, _checkpoint: Checkpoint) -> HiddenStates:
    """What this checkpoint's units hold along this text. Raises LabError."""
    return hidden_state.hidden_states(_checkpoint, text)


@st.cache_data(max_entries=64, show_spinner=False)
def gradients_of(fingerprint: str, text: str, *, _checkpoint: Checkpoint) -> np.ndarray:
    """Its gradient norms, see core.language.hidden_state. Raises LabError."""
    return hidden_state.gradient_norms(_checkpoint, text)


@st.cache_resource(max_entries=6, show_spinner=False)
def fresh_network(cell: str, fingerprint: str, *, _like: Checkpoint) -> Checkpoint:
    """An untrained network of the shape of the checkpoint with this fingerprint."""
    seed = _like.card.seed
    return hidden_state.untrained(cell, _like, seed if isinstance(seed, int) and 0 <= seed < 2**31 else 0)
