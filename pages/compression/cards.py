"""The variants that most people look for, a card each: the same accuracy, the fastest, the smallest."""

from __future__ import annotations

import streamlit as st

from core.common.errors import LabError
from core.common.values import signed
from core.compression.analysis import (
    ABOUT,
    FAR,
    MOST_NATS_LOST,
    MOST_POINTS_LOST,
    byte_words,
    faster_by,
    method_words,
    picks,
    times,
)
from core.compression.recipe import PRESETS
from core.compression.results import CompressionResult, Measurement
from core.compression.steps import read_step
from pages.compression.result_files import ResultFiles
from pages.shared.downloads import checkpoint_zip
from pages.shared.elements import download
from pages.shared.registry import page_link
from pages.shared.tables import file_stem
from pages.shared.text import NATS, UNBROKEN, escape_markdown

CARD_PX = 270
"""Three beside each other at 1280."""
TITLES = {"same": "Same accuracy", "fastest": "Fastest", "smallest": "Smallest"}


def cards(made: ResultFiles, key: str) -> None:
    """A card for each variant that is the best at something. One that is best at two things has one card."""
    found: dict[str, tuple[Measurement, list[str]]] = {}
    for role, item in picks(made.result).items():
        found.setdefault(item.id, (item, []))[1].append(role)
    with st.container(horizontal=True, gap="small"):
        for item, roles in found.values():
            with st.container(border=True, width=CARD_PX, gap="xsmall"):
                _card(made, item, roles, key)
    if found and "same" not in picks(made.result) and made.result.first and made.result.first.images:
        st.markdown(f"No variant keeps the {_kept(made.result)}: each loses more than noise.")


def rule(role: str, result: CompressionResult) -> str:
    """How the variant of a card is chosen, in a sentence."""
    if role == "same":
        return f"The smallest stored file of those whose {_kept(result)} is within the noise of the original's."
    most = f"{FAR * MOST_NATS_LOST:g} nats" if result.task == "text" else f"{FAR * MOST_POINTS_LOST:g} points"
    least = "highest measured speed" if role == "fastest" else "smallest stored file"
    return f"The {least} of the variants that lose at most {most}."


def _kept(result: CompressionResult) -> str:
    return "loss" if result.task == "text" else "accuracy"


def _card(made: ResultFiles, item: Measurement, roles: list[str], key: str) -> None:
    result = made.result
    titles = TITLES | {"same": f"Same {_kept(result)}"}
    alone = len(result.variants) == 1  # nothing to be best of
    words = "The variant" if alone else ", ".join([titles[roles[0]], *(titles[role].lower() for role in roles[1:])])
    why = [*(rule(role, result) for role in roles), *([NATS] if result.task == "text" else [])]
    st.markdown(f"**{words}**", help=" ".join(why))
    st.markdown(f"{item.number}: {escape_markdown(method_words(item))}")
    st.markdown("  \n".join(line.replace(" ", UNBROKEN) for line in figures_lines(item)))
    try:
        reference = made.reference(item)
    except LabError as error:
        missing = escape_markdown(error)
        if preset := preset_of(item):
            query = {"view": "New recipe", "checkpoint": result.config.checkpoint, "preset": preset}
            page_link("compression", "Make it", icon=":material/compress:", help=missing, **query)
        else:
            st.caption("Figures only.", help=missing)
        return
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        download(
            "Download",
            lambda: checkpoint_zip(str(reference.folder), reference.card.to_json(), _reference=reference),
            f"{file_stem(reference.name, 'checkpoint')}.zip",
            key=f"card-{item.id}-{key}",
            help="The checkpoint: its card and its weights as safetensors. ONNX is under Files.",
        )
        if result.task == "text":
            page_link("text", "Write", icon=":material/edit:", view="Write", checkpoint=reference.name)
            return
        page_link("images", "Classify", view="Classify", checkpoint=reference.name)


def preset_of(item: Measurement) -> str:
    """The preset that makes a variant; empty for none."""
    made = tuple(read_step(step) for step in item.steps)
    return next((name for name, preset in PRESETS.items() if preset.steps == made), "")


def figures_lines(item: Measurement) -> list[str]:
    """Size, speed and quality of a variant, in Markdown; what was not measured is left out."""
    stored, running = item.stored_bytes, item.size_bytes or item.stored_bytes
    more = f", {byte_words(running)} running" if abs(running - stored) > ABOUT * stored else ""
    lines = [f"**{byte_words(stored)}** stored{more}"]
    if ratio := faster_by(item):
        lines.append("same speed" if abs(ratio - 1) <= ABOUT else f"**{times(ratio)}×** as fast")
    if item.loss_nats is not None:
        change = "" if item.delta_nats is None else f" ({signed(item.delta_nats, 3)})"
        lines.append(f"**{item.loss_nats:.3f} nats** loss{change}")
    elif item.accuracy is not None:
        change = "" if item.delta_points is None else f" ({signed(item.delta_points, 1)})"
        lines.append(f"**{100 * item.accuracy:.1f}%** right{change}")
    return lines
