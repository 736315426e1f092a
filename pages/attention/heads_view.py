"""Attention / Heads: what each head of a language model looks at in a text."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.attention.config import head_names
from core.attention.results import HeadReport, HeadWorth, find_report
from core.attention.roles import ROLES, name_head
from core.checkpoints.store import Checkpoint, CheckpointRef
from core.common.errors import LabError
from core.common.pixels import encode
from core.images.figures import percent
from core.models import LAYERS
from pages.attention.heads import ALL, Tile, heads
from pages.attention.prompt import ask_text, note_reading, spoken
from pages.shared.elements import download, folded
from pages.shared.resources import dark, loaded, store
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
            report = find_report(reference.card.fingerprint, store())
            shares = shares_of(reference.card.fingerprint, text, _checkpoint=loaded(reference), _found=found)
            tiles, first = tiles_of(found, *shares, report)
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
        names = (
            f"The words under the maps were measured {measured_on(report)} of {escape_markdown(report.dataset)}."
            if report
            else "The words under the maps are of this text alone; New measurement finds them on more text."
        )
        st.caption(
            "Each map is one head: a row for each character, strong where it looks. Head 0.1 is head 1 of layer 0. A head "
            f"that looks somewhere need not matter: see What heads do. {names}"
        )
        if removed := reference.card.model_config.get(LAYERS):
            known = all("kept" in change for change in removed.values())
            st.caption(
                "Heads were removed from this network; the others "
                + ("keep their numbers." if known else "are numbered anew from 0.")
            )
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

    require_text_attention(_checkpoint.card)
    count = 1 + len(head_names(_checkpoint.model))
    return text_heads(_checkpoint, text[-min(MOST_CHARACTERS, math.isqrt(2 * MOST_WEIGHTS // count)) :])


@st.cache_resource(max_entries=16, show_spinner=False)
def shares_of(
    fingerprint: str, text: str, *, _checkpoint: Checkpoint, _found: TextHeads
) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Role -> share of the attention on this text: of each head, and the mean of untrained ones."""
    from core.attention.roles import text_roles

    trained, untrained = text_roles(_checkpoint, _found)
    return [
        {role: float(shares[place]) for role, shares in trained.items()} for place in range(len(_found.heads))
    ], untrained


def tiles_of(
    found: TextHeads, shares: list[dict[str, float]], untrained: dict[str, float], report: HeadReport | None
) -> tuple[list[Tile], str]:
    """A tile for each head and one for all layers; and the head whose role is clearest on this text.

    shares, untrained: on this text. report: names the heads where there is one; otherwise this text does.
    """
    measured = {head.name: head for head in report.heads} if report else {}
    tiles, clear = [], {}
    for name, here in zip(found.heads, shares, strict=True):
        role = role_here = name_head(here, untrained)
        sentence, detail = _describe(name, role, here, untrained, "on this text"), ""
        if report and name in measured:
            role, detail = measured[name].role, _on_this_text(measured[name], role_here, here)
            sentence = _describe(name, role, measured[name].shares, report.untrained, measured_on(report))
        if role:
            clear[name] = here.get(role, 0.0)
        label = f"Head {name}, {ROLES[role].title if role else 'no clear role'}"
        tiles.append(Tile(name=name, role=role, label=label, sentence=sentence, detail=detail))
    row = found.rollout[-1]
    back = len(row) - 1 - int(row.argmax())
    where = f"{spoken(found.text[-1 - back])}, {back} back" if back else "the last character itself"
    sentence = f"Through all layers the next character draws most on {where}: {row.max():.0%}."
    tiles.append(Tile(name=ALL, role="rollout", label="All layers together", sentence=sentence, detail=""))
    return tiles, max(clear, key=lambda name: clear[name], default=tiles[0].name)


def measured_on(report: HeadReport) -> str:
    return f"on {report.role_characters:,} characters" if report.role_characters else "on many characters"


def _describe(name: str, role: str, shares: dict[str, float], untrained: dict[str, float], where: str) -> str:
    most = role or max(shares, key=lambda each: shares[each])
    figures = f"{shares[most]:.0%} of its attention {where}, an untrained head gives {untrained[most]:.0%}"
    if role:
        return f"Head {name} looks {ROLES[role].words}: {figures}."
    return f"Head {name} has no clear role. It looks most {ROLES[most].words}: {figures}."


def _on_this_text(head: HeadWorth, role_here: str, here: dict[str, float]) -> str:
    """What a head whose role was measured does here."""
    if head.role and head.role not in here:
        return "On this text: it has no such place."
    shown = head.role or role_here
    if role_here not in ("", head.role):
        other = f"On this text it looks {ROLES[role_here].words}: {here[role_here]:.0%}"
        return f"{other}; {ROLES[head.role].words} {here[head.role]:.0%}." if head.role else f"{other}."
    return f"On this text: {here[shown]:.0%}." if shown else "On this text: no clear role either."


def _files(found: TextHeads, name: str) -> None:
    weights = found.rollout if name == ALL else np.concatenate(found.weights)[found.heads.index(name)]
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
