"""Convolution / Change it: a kernel, a channel or a pooling, and what that does to this answer and to 1,000 others."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from core.common.errors import LabError
from core.common.progress import Progress
from core.common.theme import colour_of
from core.convolution.arithmetic import MOST_SIDE, PRESETS, parse_kernel, write_kernel
from core.convolution.config import POOLINGS_WORDS, Edit, EditConfig, parse_edits, write_edits
from core.images.figures import before_after, percent
from core.jobs import RunStore
from pages.convolution.help import edit_help
from pages.shared.elements import show_figure
from pages.shared.network_query import FIRST, NetworkQuery, ask_network, has_dataset
from pages.shared.number_field import linked_number
from pages.shared.registry import page_link
from pages.shared.resources import dark, dataset, forget_runs, may_store
from pages.shared.tasks import background, drop_previous
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import give, linked
from pages.shared.url_values import one_of

if TYPE_CHECKING:
    from core.checkpoints.store import Checkpoint
    from core.convolution.edits import Comparison

EDITS, LAYER, CHANNEL, INPUT, KERNEL = "edits", "edit-layer", "edit-channel", "edit-input", "edit-kernel"
SAVED, PROBLEM, MEASURE = "edit-saved", "edit-problem", "edit-measure"
FIRST_EDITS = (Edit(what="zero", layer="conv1", channel=28),)
"""What the page opens with."""
SHOWN = 5
"""Classes in the chart."""


def edit_view() -> None:
    answer, controls = st.columns([12, 7], gap="large")
    with controls:
        place = st.container()
        asked = ask_network()
    if asked is None:
        return
    first = FIRST_EDITS if asked.reference.name == FIRST else ()
    linked(EDITS, EDITS, parse_edits, first, write=write_edits, of=asked.key)
    edits: tuple[Edit, ...] = st.session_state[EDITS]
    tab = st.session_state.setdefault("edit-tab", secrets.token_hex(4))  # Stop is for this one
    key = f"edit-accuracy-{tab}-{asked.key}-{write_edits(edits)}"
    drop_previous(key, MEASURE)
    with place:
        _controls(asked, edits)
    with answer:
        try:
            made = changed(asked.key, write_edits(edits), _asked=asked)
        except LabError as error:
            show_error(error)
            st.button("Start again", key="edit-clear", on_click=give, args=(EDITS, ()))
            return
        _answer(asked, made)
        _changes(edits, first)
        if edits:
            measured = _accuracy(key, asked, made)
            _save(asked, edits, measured)
    edit_help()


@st.cache_resource(max_entries=16, show_spinner=False)
def changed(key: str, edits: str, *, _asked: NetworkQuery) -> Checkpoint:
    """The changed network. Raises LabError."""
    from core.convolution.edits import apply_edits

    return apply_edits(_asked.checkpoint, parse_edits(edits))


def _answer(asked: NetworkQuery, made: Checkpoint) -> None:
    from core.convolution.edits import probabilities

    before = probabilities(asked.checkpoint, asked.pixels, asked.temperature)
    now = probabilities(made, asked.pixels, asked.temperature)
    target, winner = int(before.argmax()), int(now.argmax())
    name = escape_markdown(asked.classes[target])
    words = f"{name} · {percent(float(before[target]))}"
    if made.model is not asked.checkpoint.model and st.session_state[EDITS]:
        words += f" → {percent(float(now[target]))}"
        words += f", now says {escape_markdown(asked.classes[winner])}" if winner != target else ""
    st.markdown(f"## {words}")
    shown = [int(place) for place in np.argsort(-before, kind="stable")[:SHOWN]]
    shown += [] if winner in shown else [winner]
    rows = [(asked.classes[place], float(before[place]), float(now[place])) for place in shown]
    card = asked.reference.card
    show_figure(
        before_after(
            rows, asked.classes[winner], dark=dark(), colour=colour_of(card.model, dark=dark()), calibrated=False
        ),
        key="edit-bars",
        buttons=(),
        alt="Probabilities before and now: "
        + ", ".join(f"{label} {percent(was)} and {percent(is_now)}" for label, was, is_now in rows),
    )


def _changes(edits: tuple[Edit, ...], first: tuple[Edit, ...]) -> None:
    """What is changed, each with a way back."""
    if first and edits == first:
        st.caption("An example to start with: undo it, or add a change of your own.")
    elif first and not edits:
        example = f"Show an example: {first[0].words}"
        st.button(example, key="edit-example", icon=":material/lightbulb:", on_click=give, args=(EDITS, first))
    with st.container(horizontal=True, gap="small"):
        for place, edit in enumerate(edits):
            st.button(
                f"Undo: {escape_markdown(edit.label)}",
                key=f"edit-remove-{place}",
                icon=":material/undo:",
                help=escape_markdown(f"{edit.words.capitalize()}."),
                on_click=_remove,
                args=(place,),
            )


def _controls(asked: NetworkQuery, edits: tuple[Edit, ...]) -> None:
    if problem := st.session_state.pop(PROBLEM, ""):
        show_error(problem)
    layers = changeable(asked.key, _asked=asked)
    linked("layer", LAYER, one_of(layers, "layer"), next(iter(layers)), of=asked.key, options=layers)
    layer = st.selectbox("Layer", layers, key=LAYER, persist_state="session")
    shape = layers[layer]
    if not shape:
        with st.container(horizontal=True, gap="small"):
            for kind, words in POOLINGS_WORDS.items():
                _add_button(words.capitalize(), edits, what="pooling", layer=layer, pooling=kind)
        return
    outputs, inputs, side, _ = shape
    with st.container(horizontal=True):
        common: dict[str, Any] = {"of": (asked.key, layer), "step": 1, "width": 130}
        channel = linked_number("Channel", 0, outputs - 1, 0, param="channel", key=CHANNEL, **common)
        source = linked_number("Input channel", 0, inputs - 1, 0, param="from", key=INPUT, **common)
    _add_button("Zero this channel", edits, what="zero", layer=layer, channel=channel)
    if side > MOST_SIDE:
        return
    weights = asked.checkpoint.model.get_submodule(layer).weight[channel, source].double().numpy()
    trained = _lines(weights)
    linked("kernel", KERNEL, str, trained, of=(asked.key, layer, channel, source))
    text = st.text_area("Kernel", key=KERNEL, persist_state="session", height="content", help="One row a line.")
    scale = float(np.abs(weights).sum())
    with st.container(horizontal=True, gap="small"):
        _add_button(
            "Use these numbers",
            edits,
            what="kernel",
            layer=layer,
            channel=channel,
            input=source,
            kernel="; ".join(text.splitlines()),
        )
        options = {"Mirror": weights[:, ::-1], "Negate": -weights, "Zeros": 0 * weights}
        if side == 3:
            preset = parse_kernel(PRESETS["Blur"])
            options["Blur"] = preset * scale / np.abs(preset).sum()
        for name, kernel in options.items():
            st.button(name, key=f"edit-preset-{name}", on_click=give, args=(KERNEL, _lines(kernel)))


def _lines(kernel: np.ndarray) -> str:
    return write_kernel(kernel).replace("; ", "\n")


def _add_button(label: str, edits: tuple[Edit, ...], **values: Any) -> None:
    st.button(label, key=f"edit-add-{label}", on_click=_add, args=(edits, values))


def _add(edits: tuple[Edit, ...], values: dict[str, Any]) -> None:
    try:
        new = (*edits, Edit.from_dict(values))
        parse_edits(write_edits(new))  # not too many
    except LabError as error:
        st.session_state[PROBLEM] = str(error)
        return
    give(EDITS, new)


def _remove(place: int) -> None:
    edits = st.session_state[EDITS]
    give(EDITS, (*edits[:place], *edits[place + 1 :]))


@st.cache_data(max_entries=16, show_spinner=False)
def changeable(key: str, *, _asked: NetworkQuery) -> dict[str, tuple[int, ...]]:
    """Convolutions with the shapes of their weights, and max poolings that can be replaced with none."""
    from core.attribution.networks import convolutions
    from core.convolution.shift import poolings

    model = _asked.checkpoint.model
    found = {name: tuple(model.get_submodule(name).weight.shape) for name in convolutions(model)}
    return found | dict.fromkeys(poolings(_asked.checkpoint), ())


def _accuracy(key: str, asked: NetworkQuery, made: Checkpoint) -> Comparison | None:
    """Measured as soon as something is changed; None while that is under way, and after it was stopped or failed."""
    if not has_dataset(asked):
        return None
    edits = write_edits(st.session_state[EDITS])

    def work(report: Progress) -> Comparison:
        return comparison(asked.key, edits, report, _asked=asked, _made=made)

    found: Comparison | None = background(key, MEASURE, work, label="Measure accuracy")
    if found is None:
        return None
    low, high = found.interval_points
    sure = "" if found.p_value < 0.05 else " This may be luck."
    p = "< 0.0001" if found.p_value < 0.0001 else f"= {found.p_value:.2g}"
    st.markdown(
        f"Accuracy **{100 * found.before:.1f}% → {100 * found.after:.1f}%** on {found.images:,} test images "
        f"({low:+.1f} to {high:+.1f} points), McNemar's p {p}: {found.lost} lost, {found.gained} gained.{sure}".replace(
            "-", "−"
        )
    )
    return found


@st.cache_data(max_entries=64, show_spinner=False)
def comparison(key: str, edits: str, _report: Progress, *, _asked: NetworkQuery, _made: Checkpoint) -> Comparison:
    """Before and after; tabs with the same edits share it."""
    from core.convolution.edits import compare, first_test_logits

    before = logits_before(key, _report, _asked=_asked)
    test = dataset(_asked.reference.card.dataset.name).test
    after, seconds = first_test_logits(_made, test, _report)
    return compare(before, after, test.labels[: len(after)], seconds)


@st.cache_data(max_entries=8, show_spinner=False)
def logits_before(key: str, _report: Progress, *, _asked: NetworkQuery) -> np.ndarray:
    """(N, classes) of the network as it is."""
    from core.convolution.edits import first_test_logits

    test = dataset(_asked.reference.card.dataset.name).test
    return first_test_logits(_asked.checkpoint, test, _report)[0]


def _save(asked: NetworkQuery, edits: tuple[Edit, ...], measured: Comparison | None) -> None:
    card = asked.reference.card
    if st.button("Keep as a checkpoint", key="edit-save", icon=":material/save:", type="primary"):
        from core.convolution.edits import save_edited

        try:
            config = EditConfig(
                checkpoint=asked.reference.name, edits=edits, model=card.model, dataset=card.dataset.name
            )
            run_id = save_edited(config, measured=measured, user=may_store())
            st.session_state[SAVED] = (asked.key, edits), run_id, RunStore().get(run_id).name
            forget_runs()
        except LabError as error:
            show_error(error)
    saved_from, run_id, name = st.session_state.get(SAVED, (None, "", ""))
    if saved_from == (asked.key, edits):
        st.markdown(f"Kept as **{escape_markdown(name)}**.")
        with st.container(horizontal=True):
            page_link("images", "Classify", checkpoint=run_id)
            page_link("images", "Evaluate", view="Evaluate", checkpoint=run_id)
            page_link("attribution", "Explain", checkpoint=run_id)
            page_link("convolution", "Change it further", view="Change it", checkpoint=run_id)
