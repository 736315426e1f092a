"""What the views ask: a checkpoint, one of its layers, a unit of it. They share one choice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from core.attribution.networks import float_twin_note
from core.checkpoints.store import Checkpoint, CheckpointRef
from core.common.errors import LabError
from pages.shared.checkpoint_picker import checkpoint_picker
from pages.shared.network_query import FIRST
from pages.shared.number_field import number_field
from pages.shared.resources import loaded
from pages.shared.tasks import drop, find, start, start_button, watch
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import give, linked
from pages.shared.url_values import number, one_of
from pages.shared.warmup import until_ready

if TYPE_CHECKING:
    from core.common.progress import Progress
    from core.features.units import Layer

LAYER, CHANNEL, WORKING = "features-layer", "features-channel", "features-working"
GRACE_S = 0.4
"""What is over by then is not shown as under way."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LayerQuery:
    reference: CheckpointRef
    checkpoint: Checkpoint
    layer: Layer

    @property
    def key(self) -> str:
        """Of the layer of just these weights."""
        return f"{self.reference.card.fingerprint}-{self.layer.name}"

    @property
    def dataset(self) -> str:
        return self.reference.card.dataset.name


def ask_network() -> tuple[CheckpointRef, Checkpoint] | None:
    """Draw the control of the checkpoint; None, with a sentence on the page, where there is none that can be read."""
    reference = checkpoint_picker("Checkpoint", "checkpoint", param="checkpoint", prefer=FIRST)
    if reference is None:
        return None
    until_ready()
    try:
        checkpoint = loaded(reference)
    except LabError as error:
        show_error(error)
        return None
    if twin := float_twin_note(reference.card, "numbers"):
        st.caption(escape_markdown(twin))
    return reference, checkpoint


def ask_layer() -> LayerQuery | None:
    """The same with a layer."""
    network = ask_network()
    if network is None:
        return None
    reference, checkpoint = network
    fingerprint = reference.card.fingerprint
    try:
        layers = {layer.name: layer for layer in layers_in(fingerprint, _checkpoint=checkpoint)}
    except LabError as error:
        show_error(error)
        return None
    from core.features.units import usual_layer

    usual = usual_layer(list(layers.values())).name
    linked("layer", LAYER, one_of(layers, "layer"), usual, of=fingerprint, options=layers)
    name = st.selectbox(
        "Layer", layers, format_func=lambda name: layer_words(layers[name]), key=LAYER, persist_state="session"
    )
    linked("channel", CHANNEL, number(0, 100_000, "the channel"), 0, of=(fingerprint, name))
    if st.session_state[CHANNEL] >= layers[name].channels:
        give(CHANNEL, 0, again=False)
    return LayerQuery(reference=reference, checkpoint=checkpoint, layer=layers[name])


def ask_channel(asked: LayerQuery) -> int:
    """Draw the control of the channel, or of the class."""
    if asked.layer.classes:
        names = asked.reference.card.image_data.classes
        options = range(len(names))
        return int(
            st.selectbox("Class", options, format_func=lambda place: names[place], key=CHANNEL, persist_state="session")
        )
    last = asked.layer.channels - 1
    return int(number_field("Channel", 0, last, key=CHANNEL, step=1))


def layer_words(layer: Layer) -> str:
    """`relu2 · after conv2 · 64 channels`."""
    if layer.classes:
        return f"Classes · {layer.channels}"
    return f"{layer.name} · {f'after {layer.follows}' if layer.follows else layer.kind} · {layer.channels}"


@st.cache_data(max_entries=16, show_spinner=False)
def layers_in(fingerprint: str, *, _checkpoint: Checkpoint) -> list[Layer]:
    """Raises LabError."""
    from core.features.units import layers_of

    return layers_of(_checkpoint)


def background(key: str, slot: str, work: Callable[[Progress], Any], *, label: str, begin: bool = True) -> Any | None:
    """The result of a task, or None with its progress, or what became of it, on the page. slot: a session has one task of it;
    another key ends the one before. label: of the button that starts it where it did not begin by itself, or was stopped."""
    place = f"{WORKING}-{slot}"
    previous = st.session_state.get(place, key)
    task = find(previous)
    if previous != key and task is not None and not task.done:
        drop(previous)
    st.session_state[place] = key
    if begin and find(key) is None:
        start(key, work).wait(GRACE_S)
    if watch(key):
        return None
    task = find(key)
    if task is None or task.result is None:
        start_button(label, key, work, button=f"start-{slot}", icon=":material/play_arrow:")
        return None
    return task.result
