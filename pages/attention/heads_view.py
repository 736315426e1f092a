"""Attention / Heads: what each head of a language model looks at in a text."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.checkpoints.store import Checkpoint, CheckpointRef
from core.common.errors import LabError
from core.common.pixels import encode
from core.images.figures import percent
from core.models import LAYERS
from pages.attention.heads import ALL, Tile, heads
from pages.attention.prompt import ask_text, note_reading, spoken
from pages.shared.elements import download, folded
from pages.shared.resources import dark, loaded
from pages.shared.tables import csv_bytes, json_bytes
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import give, linked
from pages.shared.url_values import number, one_of
from pages.shared.warmup import until_ready

if TYPE_CHECKING:
    from core.attention.text import TextHeads

HEAD, AT = "attention-head", "attention-at"
MOST_CHARACTERS, MOST_WEIGHTS = 300, 4_000_000
"""Of a longer text the end is read: each weight goes to the browser as a byte."""
PNG_PX = 600


def heads_view() -> None:
    answer = st.container()
    asked = ask_text()
    if asked is None:
        return
    reference, text = asked
    with answer:
        try:
            until_ready()
            found = heads_of(reference.card.fingerprint, text, _checkpoint=loaded(reference))
            tiles, first = tiles_of(reference.card.fingerprint, text, _checkpoint=loaded(reference), _found=found)
        except LabError as error:
            show_error(error)
            return
        of = (reference.card.fingerprint, text)
        names = [tile.name for tile in tiles]
        linked("head", HEAD, one_of(names, "head"), first, of=of, options=names)
        last = len(found.text) - 1
        linked("at", AT, number(0, last, "the character"), last, of=of, options=range(last + 1))
        heads(
            "attention-heads",
            found,
            tiles,
            st.session_state[HEAD],
            st.session_state[AT],
            next_character(reference, found),
            dark=dark(),
            on_head=partial(give, HEAD),
            on_at=partial(give, AT),
        )
        st.caption(
            "Each map is one head: a row for each character, strong where it looks. Head 0.1 is head 1 of layer 0. A head "
            "that looks somewhere need not matter: see What heads do. The words under the maps are of this text alone."
        )
        if reference.card.model_config.get(LAYERS):
            st.caption("Heads were removed from this network; the others are numbered anew from 0.")
        note_reading(reference, text, found.text)
    folded(
        "Files",
        lambda: _files(found, st.session_state[HEAD]),
        key="attention-files",
        param="files",
        icon=":material/download:",
    )


def next_character(reference: CheckpointRef, found: TextHeads) -> str:
    """What the model expects after the text."""
    best = int(found.probabilities.argmax())
    character = spoken(reference.card.text_data.vocabulary[best])
    return f"After this text the model expects {character}, with {percent(float(found.probabilities[best]))}."


@st.cache_resource(max_entries=16, show_spinner=False)
def heads_of(fingerprint: str, text: str, *, _checkpoint: Checkpoint) -> TextHeads:
    """Raises LabError."""
    from core.attention.text import require_text_attention, text_heads
    from core.models.heads import attention_layers

    require_text_attention(_checkpoint.card)
    count = 1 + sum(layer.heads for layer in attention_layers(_checkpoint.model).values())
    return text_heads(_checkpoint, text[-min(MOST_CHARACTERS, math.isqrt(2 * MOST_WEIGHTS // count)) :])


@st.cache_resource(max_entries=16, show_spinner=False)
def tiles_of(fingerprint: str, text: str, *, _checkpoint: Checkpoint, _found: TextHeads) -> tuple[list[Tile], str]:
    """A tile for each head and one for all layers; and the head whose role is clearest."""
    from core.attention.job import measure_roles
    from core.attention.roles import ROLES, name_head
    from core.attention.worth import list_heads
    from core.data.text import encode

    tokens = encode(_found.text, _checkpoint.card.text_data.vocabulary)
    trained, untrained = measure_roles(_checkpoint, tokens)
    tiles, clear = [], {}
    for place, (layer, head) in enumerate(list_heads(_checkpoint.model)):
        name = f"{layer}.{head}"
        shares = {role: float(values[place]) for role, values in trained.items()}
        role = name_head(shares, untrained)
        most = role or max(shares, key=lambda each: shares[each])
        figures = f"{shares[most]:.0%} of its attention on this text, an untrained head gives {untrained[most]:.0%}"
        if role:
            clear[name] = shares[role]
            sentence = f"Head {name} looks {ROLES[role].words}: {figures}."
        else:
            sentence = f"Head {name} has no clear role here. It looks most {ROLES[most].words}: {figures}."
        label = f"Head {name}, {ROLES[role].title if role else 'no clear role'}"
        tiles.append(Tile(name=name, role=role, label=label, sentence=sentence))
    row = _found.rollout[-1]
    back = len(row) - 1 - int(row.argmax())
    where = f"{spoken(_found.text[-1 - back])}, {back} back" if back else "the last character itself"
    sentence = f"Through all layers the next character draws most on {where}: {row.max():.0%}."
    tiles.append(Tile(name=ALL, role="rollout", label="All layers together", sentence=sentence))
    return tiles, max(clear, key=lambda name: clear[name], default=tiles[0].name)


def _files(found: TextHeads, name: str) -> None:
    layer, _, head = name.partition(".")
    weights = found.rollout if name == ALL else found.weights[int(layer)][int(head)]
    words = "all layers" if name == ALL else f"head {name}"
    st.markdown(
        f"Row t says what character t of the text looks at. The table and the image are of {escape_markdown(words)}."
    )
    with st.container(horizontal=True, gap="small"):
        download("All heads (JSON)", lambda: json_bytes(found.to_dict()), "attention-heads.json", key="heads-json")
        download("The weights (CSV)", lambda: _csv(found.text, weights), f"attention-{name}.csv", key="heads-csv")
        download("The map (PNG)", lambda: _png(weights), f"attention-{name}.png", key="heads-png")


def _csv(text: str, weights: np.ndarray) -> bytes:
    return csv_bytes(
        {"position": at, "character": character} | {f"to_{place}": f"{value:.6f}" for place, value in enumerate(row)}
        for at, (character, row) in enumerate(zip(text, weights, strict=True))
    )


def _png(weights: np.ndarray) -> bytes:
    from PIL import Image

    side = max(1, PNG_PX // len(weights)) * len(weights)
    grey = Image.fromarray((255 * (1 - np.sqrt(weights))).astype(np.uint8))
    return encode(grey.resize((side, side), Image.Resampling.NEAREST), "PNG")
