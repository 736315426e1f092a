"""Backpropagation / Accumulation: one batch against micro-batches, by gradient, memory, and bits per character."""

from __future__ import annotations

import statistics

import streamlit as st

from core.backprop.memory import IMAGES, measure_memory
from core.backprop.results import ACCUMULATIONS, ONE, Accumulation, Comparison, Training
from core.common.errors import LabError
from core.common.values import plus_minus, scientific, t_half_width
from pages.backprop.help import accumulation_help
from pages.shared.elements import show_figure, show_table
from pages.shared.network_query import ask_checkpoint
from pages.shared.resources import dark
from pages.shared.tasks import find, start_button, watch
from pages.shared.text import escape_markdown, show_error, size
from pages.shared.url import linked, linked_fragment
from pages.shared.url_values import one_of

COUNT = "backprop-micro"
FIRST = 8


def accumulation_page() -> None:
    try:
        found = ACCUMULATIONS.load_shipped("accumulation")
    except LabError as error:
        show_error(error)
        return
    linked_fragment(_accumulation)(found)
    accumulation_help()


def _accumulation(found: Accumulation) -> None:
    from core.backprop.figures import accumulation_figure

    answer = st.container()
    counts = sorted({each.micro_batches for each in found.comparisons})
    linked("k", COUNT, one_of(counts, "number of micro-batches"), FIRST, options=counts)
    k = int(st.select_slider("Micro-batches k", counts, key=COUNT, persist_state="session", width=400))
    words = sentence(found, k)
    norm = found.of("images, batch norm", k)
    with answer:
        st.markdown(f"## {words}")
        show_figure(
            accumulation_figure(found, k, dark=dark()),
            key="backprop-accumulation",
            alt=f"Difference from the whole batch's gradient by number of micro-batches. {words}",
        )
        st.caption(f"With batch norm the gradient differs by {norm.right:.0%}, however it is divided.")
    _memory(found, k)
    if found.trainings:
        _trainings(found)


def _memory(found: Accumulation, k: int) -> None:
    """What the passes keep as it ships, beside what a process needs here."""
    st.markdown(f"**Memory of {k} micro-batches**")
    place = st.container()
    rows = {
        "GRU, 32 texts, kept between passes": _kept(found.of("texts", k)),
        f"Simple CNN, {IMAGES} images, kept between passes": _kept(found.of("images", k)),
    }
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if reference := ask_checkpoint():
            name, key = reference.name, f"accumulation-{reference.card.fingerprint}-{k}"
            start_button("Measure here", key, lambda report: measure_memory(name, k, report), button="backprop-measure")
    if reference and not watch(key) and (task := find(key)) and task.result:
        rows[f"**{escape_markdown(reference.card.title)}, {IMAGES} images, peak measured here**"] = task.result
    with place:
        show_table(
            {
                "Memory": list(rows),
                "One batch": [size(whole) for whole, _ in rows.values()],
                f"{k} micro-batches": [size(part) for _, part in rows.values()],
                "Less by": [f"{whole / part:.1f} ×" for whole, part in rows.values()],
            },
            key="backprop-memory",
        )


def _kept(row: Comparison) -> tuple[float, float]:
    return row.memory_bytes, row.memory * row.memory_bytes


def _trainings(found: Accumulation) -> None:
    rows = found.trainings
    st.markdown(f"**After {found.steps} steps of training on texts**")
    show_table(
        {
            "Gradient": [row.how if row.how == ONE else f"{row.how}, k = {row.micro_batches}" for row in rows],
            "Bits per character": [f"{statistics.fmean(row.bits):.3f}" for row in rows],
            "Costs": [_cost(found, row) for row in rows],
        },
        key="backprop-bits",
    )
    seeds = len(rows[0].bits)
    st.caption(f"Mean of {seeds} seeds; the cost is the paired difference to one batch, with its 95% interval.")


def _cost(found: Accumulation, row: Training) -> str:
    if row.how == ONE:
        return "–"
    costs = found.cost(row)
    half = t_half_width(costs)
    mean = statistics.fmean(costs)
    return plus_minus(mean, half, 3) if half is not None else f"{mean:+.3f}"


def sentence(found: Accumulation, k: int) -> str:
    """Whether accumulation is the same."""
    texts = found.of("texts", k)
    return (
        f"{k} micro-batches give the same gradient to {scientific(texts.right)}; the mean of their means is off by "
        f"{texts.means:.1%}."
    )
