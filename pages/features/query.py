"""What the views ask: a checkpoint, one of its layers, a unit of it. They share one choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from core.attribution.networks import float_twin_note
from core.checkpoints.backbone import BACKBONES, fetch_backbone, is_fetched
from core.checkpoints.store import Checkpoint, CheckpointRef
from core.common.errors import LabError
from core.features.source import ImageSource, source_of
from pages.shared.checkpoint_picker import checkpoint_picker
from pages.shared.network_query import FIRST
from pages.shared.number_field import number_field
from pages.shared.resources import loaded
from pages.shared.tasks import asked, start_button, watch
from pages.shared.text import escape_markdown, show_error, size
from pages.shared.url import give, linked
from pages.shared.url_values import number, one_of
from pages.shared.warmup import until_ready

if TYPE_CHECKING:
    from core.common.progress import Progress
    from core.features.units import Layer

LAYER, CHANNEL = "features-layer", "features-channel"


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
    def source(self) -> ImageSource:
        return source_of(self.reference.card)

    @property
    def dataset(self) -> str:
        """Whose test images the units are shown."""
        return self.source.dataset

    @property
    def shown_images(self) -> str:
        """`CIFAR-10 test images`, with what is done to those of another dataset."""
        size = f", enlarged to {self.reference.card.image_data.image_size} px" if self.source.foreign else ""
        return f"{escape_markdown(self.source.title)} test images{size}"


def ask_network() -> tuple[CheckpointRef, Checkpoint] | None:
    """Draw the control of the checkpoint; None, with a sentence on the page, where there is none that can be read."""
    fetched = [name for name in BACKBONES if is_fetched(name)]
    for name in fetched:
        if asked(f"fetch-{name}") and not st.session_state.get(f"chosen-{name}"):
            st.session_state[f"chosen-{name}"] = True
            give("checkpoint", name)
    reference = checkpoint_picker("Checkpoint", "checkpoint", param="checkpoint", prefer=FIRST, also=fetched)
    for name in BACKBONES.keys() - set(fetched):
        _offer_backbone(name)
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


def _offer_backbone(name: str) -> None:
    """A button that fetches ImageNet's weights, so that the list has them."""
    key, backbone = f"fetch-{name}", BACKBONES[name]
    if not watch(key, quiet=True):

        def work(report: Progress) -> None:
            fetch_backbone(name, report)

        start_button(
            "Add ImageNet weights",
            key,
            work,
            button=f"offer-{name}",
            type="tertiary",
            icon=":material/download:",
            help=f"Fetches {backbone.title}, {size(backbone.mirrors[0].archive.size_bytes)}.",
        )


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
