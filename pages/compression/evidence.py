"""What a result says beside its table: where it went, which classes pay, what got faster or slower, what a teacher added."""

from __future__ import annotations

import streamlit as st

from core.compression.analysis import students_words
from core.compression.figures_effects import damage, ratios
from core.compression.figures_layers import WHAT, histograms, layer_bars
from core.compression.figures_students import soft_labels
from core.compression.figures_students import students as students_figure
from pages.compression.result_files import ResultFiles, choose_variant
from pages.shared.elements import show_figure
from pages.shared.resources import dark
from pages.shared.text import escape_markdown
from pages.shared.url import linked
from pages.shared.url_values import one_of, several_of, write_several

WHAT_WORDS = {"parameters": "Parameters", "macs": "Multiply-adds", "zeros": "Zeros"}
MOST_LAYERS = 6
"""In the figure of weights."""
MOST_CLASSES = 3
"""Variants in the figure of classes to begin with."""


def layers(made: ResultFiles, key: str) -> None:
    """Layer by layer, before and after."""
    first, item = made.result.first, choose_variant(made, f"layers-{key}")
    if first is None or item is None:
        return
    if not first.layers or not item.layers:
        st.caption("Layers of this variant were not counted.")
        return
    if item.model != first.model:
        st.caption("A student is another network than its teacher: layers of one name need not match.")
    linked("what", f"what-{key}", one_of(WHAT_WORDS, "figure"), "parameters")
    what = st.segmented_control(
        "Of each layer",
        list(WHAT_WORDS),
        required=True,
        format_func=WHAT_WORDS.__getitem__,
        key=f"what-{key}",
        persist_state="session",
    )
    show_figure(
        layer_bars(first.layers, item.layers, what, dark=dark()),
        key=f"bars-{key}",
        alt=f"{WHAT[what]} of each layer, before and after {item.title}",
    )
    names = [layer.name for layer in (*first.layers, *item.layers) if layer.histogram]
    largest = sorted((layer for layer in first.layers if layer.histogram), key=lambda layer: -layer.parameters)[:2]
    parse, usual = several_of(names, "layer", MOST_LAYERS), [layer.name for layer in largest]
    linked("weights", f"histograms-{key}", parse, usual, write=write_several)
    shown = st.multiselect(
        "Weights of",
        list(dict.fromkeys(names)),
        max_selections=MOST_LAYERS,
        key=f"histograms-{key}",
        placeholder="Choose layers",
        persist_state="session",
    )
    if shown:
        show_figure(
            histograms(first.layers, item.layers, shown, dark=dark()),
            key=f"weights-{key}",
            alt=f"Histograms of the weights of {', '.join(shown)}, before and after {item.title}",
        )


def classes(made: ResultFiles, key: str) -> None:
    """Which classes pay for it."""
    result = made.result
    options = [item.id for item in result.variants if item.per_class]
    if not options:
        st.caption("Classes are compared on test images, once a variant is measured on them.")
        return
    parse, usual = several_of(options, "variant", len(options)), options[-MOST_CLASSES:]
    linked("variants-shown", f"damaged-{key}", parse, usual, write=write_several, of=len(options))
    shown = st.multiselect(
        "Variants",
        options,
        format_func=made.label,
        key=f"damaged-{key}",
        persist_state="session",
    )
    show_figure(
        damage(result, shown, dark=dark()),
        key=f"damage-{key}",
        alt=f"Change of each class's accuracy against the original, of {', '.join(map(made.label, shown)) or 'nothing'}",
    )
    if result.first is not None and result.first.images:
        st.caption(
            f"Of {result.first.images:,} test images, some {result.first.images // max(1, len(result.classes)):,} a class: a "
            "point or two of a single class may be luck."
        )


def speed(made: ResultFiles, key: str) -> None:
    """Ratios to the original, and what got slower, in words."""
    result = made.result
    if not result.variants:
        st.caption("No variant is measured yet.")
        return
    show_figure(
        ratios(result, dark=dark()),
        key=f"ratios-{key}",
        alt="How many times as small and as fast as the original each variant is; the table above has the figures",
    )
    said = [
        f"- **{escape_markdown(made.label(item.id))}:** {escape_markdown(' '.join(item.notes))}"
        for item in result.measured
        if item.notes
    ]
    if said:
        st.markdown("**What to know**\n\n" + "\n".join(said))
    threads = {item.threads for item in result.measured}
    st.caption(
        f"Latencies with {' or '.join(map(str, sorted(threads)))} {'thread' if threads == {1} else 'threads'} on the CPU, in "
        "turn with the original (A B A B) after a warm-up. On another processor the ratios are other ones: int8 needs "
        "instructions for it to be fast."
    )


def students(made: ResultFiles, key: str) -> None:
    """What the teacher was worth, and what it finds plausible."""
    result = made.result
    st.markdown(f"**{escape_markdown(students_words(result))}**")
    show_figure(
        students_figure(result, dark=dark()),
        key=f"students-{key}",
        alt=f"Students with and without a teacher, seed by seed. {students_words(result)}",
    )
    st.caption(
        "Student and control have the same first weights, the same order of images and the same number of steps; the control "
        "learns from the labels alone."
    )
    if result.soft_labels:
        st.markdown("**What the teacher finds plausible**")
        show_figure(
            soft_labels(result, dark=dark()),
            key=f"soft-{key}",
            alt="Mean probability that the teacher gives to each class, for training images of each class",
        )
        st.caption("Which wrong classes an image resembles is what a student learns from a teacher beyond the labels.")
