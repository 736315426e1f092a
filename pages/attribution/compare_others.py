"""Which checkpoints can be asked the same question: those listed, and what recipes and studies of this machine made."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import streamlit as st

from core.checkpoints.store import CheckpointRef, find_checkpoint, list_checkpoints
from core.common.errors import LabError
from core.compression.recipe import CompressConfig
from core.regularization.study import StudyConfig
from pages.attribution.query import AttributionQuery, probabilities_of
from pages.shared.checkpoint_picker import accuracy
from pages.shared.image_view import look
from pages.shared.resources import runs_now
from pages.shared.text import escape_markdown, unique_labels
from pages.shared.url import linked

PARAM, KEY, FIRST = "with", "compare-with", "compare-with-first"
MOST = 3
"""Beside the first: four cards stand in a row."""


def require_same_question(first: CheckpointRef, other: CheckpointRef) -> None:
    """Raises LabError where the other knows other classes, or sees images of another size."""
    one, two = first.card.image_data, other.card.image_data
    names = other.label[:100], first.label[:100]
    if set(one.classes) != set(two.classes):
        raise LabError(
            f"{names[0]} knows other classes than {names[1]} and cannot be asked the same question: compare checkpoints that "
            "were trained on the same classes."
        )
    if one.image_size != two.image_size:
        raise LabError(
            f"{names[0]} sees {two.image_size}x{two.image_size} pixels and {names[1]} {one.image_size}x{one.image_size}, so "
            "their maps cannot be laid on each other: compare checkpoints that see images of one size."
        )


def asked_of(asked: AttributionQuery, reference: CheckpointRef) -> AttributionQuery:
    """The same question, put to another checkpoint. Raises LabError where it is none for that."""
    require_same_question(asked.reference, reference)
    data = reference.card.image_data
    seen = look(asked.image.data, data.image_size, asked.image.square)
    return dataclasses.replace(
        asked,
        reference=reference,
        seen=seen,
        probabilities=probabilities_of(reference.card.fingerprint, seen.pixels, _reference=reference),
        target=data.classes.index(asked.label),
    )


def choose_others(first: CheckpointRef) -> list[CheckpointRef]:
    """The widget. Begins with what was made from the first one; an address that names some wins once."""
    options = comparable(first)
    asked_for = dict.fromkeys(st.query_params.get(PARAM, "").split(","))
    named = [name for name in asked_for if name and name != first.name][:MOST]
    wrong: list[LabError] = []
    for name in named:
        if name not in options:
            try:
                found = find_checkpoint(name)
                require_same_question(first, found)
                options[name] = found
            except LabError as error:
                wrong.append(error)
    default = _default(first, options)
    if linked(PARAM, KEY, lambda _: named, default, write=",".join):
        for error in wrong:
            st.warning(escape_markdown(error))
    elif st.session_state.get(FIRST) != first.name:
        st.session_state[KEY] = default
    st.session_state[FIRST] = first.name
    st.session_state[KEY] = [name for name in st.session_state[KEY] if name in options]
    labels = unique_labels(
        {name: " · ".join(filter(None, (each.label, accuracy(each.card)))) for name, each in options.items()}
    )
    chosen = st.multiselect(
        "Compare with",
        list(options),
        max_selections=MOST,
        format_func=lambda name: labels.get(name, name),
        key=KEY,
        persist_state="session",
        wrap=True,
        help="Checkpoints that know the same classes.",
    )
    return [options[name] for name in chosen]


def comparable(first: CheckpointRef) -> dict[str, CheckpointRef]:
    """All others that can be asked the same question, by name."""
    found = {}
    parts = list(_made_here())
    wholes = {reference.name.partition("/")[0] for reference in parts}  # a recipe's own checkpoint is its last variant
    listed = [reference for reference in list_checkpoints(task="images") if reference.name not in wholes]
    for reference in (*listed, *parts):
        try:
            require_same_question(first, reference)
        except LabError:
            continue
        if reference.name != first.name:
            found[reference.name] = reference
    return found


def _made_here() -> Iterator[CheckpointRef]:
    """The variants of recipes and the networks of studies on this machine, called after their run."""
    for run in runs_now():
        parts: dict[str, str] = {}
        if isinstance(run.config, CompressConfig) and run.task == "images":
            parts = {variant.id: variant.title for variant in run.config.variants()}
        elif isinstance(run.config, StudyConfig):
            parts = {member.id: member.title for member in run.config.members()}
        for part, title in parts.items():
            try:
                found = find_checkpoint(f"{run.id}/{part}")
            except LabError:
                continue  # not made yet
            card = dataclasses.replace(found.card, title=f"{run.name}: {title}")
            yield dataclasses.replace(found, card=card)


def _default(first: CheckpointRef, options: dict[str, CheckpointRef]) -> list[str]:
    """Its original and what else was made from that; without any, the next in the list."""
    original = _original(first)
    family = [name for name, other in options.items() if original in (name, _original(other))]
    return family[:MOST] or list(options)[:1]


def _original(reference: CheckpointRef) -> str:
    """Name of the checkpoint that this one was made from, or its own."""
    return str(reference.card.compression.get("original") or reference.card.parent or reference.name)
