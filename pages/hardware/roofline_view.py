"""Hardware / Roofline: each layer of a checkpoint below what the machine can do."""

from __future__ import annotations

import streamlit as st

from core.common.errors import LabError
from core.hardware.figures import KIND_TITLES, roofline_figure
from core.hardware.results import HardwareResult, Roofline
from pages.hardware.sources import grid_labels, open_grid, pick
from pages.shared.elements import folded, show_figure, show_table
from pages.shared.resources import dark
from pages.shared.text import escape_markdown, show_error


def roofline_view() -> None:
    labels = grid_labels()
    if not labels:
        st.info("There is no roofline yet: New grid measures one.")
        return
    name = pick("Grid", "of", labels, next(iter(labels)))
    try:
        result = open_grid(name)
    except LabError as error:
        show_error(error)
        return
    if result.roofline is None:
        st.info("This grid has no roofline yet: it is measured last.")
        return
    _draw(result, result.roofline, name)


def _draw(result: HardwareResult, found: Roofline, key: str) -> None:
    st.markdown(f"## {escape_markdown(found.answer())}")
    machine = escape_markdown(result.machine.title) if result.machine else "Unknown machine"
    st.caption(
        f"{escape_markdown(result.title)}, batches of {found.batch_size}, {found.threads} threads. {machine}. Measured peaks: "
        f"{found.gflops_per_s:.0f} GFLOP/s, {found.gbytes_per_s:.1f} GB/s. The larger a mark, the more time."
    )
    show_figure(
        roofline_figure(found, dark=dark()),
        key=f"roofline-{key}",
        alt="Roofline: "
        + "; ".join(f"{layer.name} {100 * found.share(layer):.0f}% of the roof" for layer in found.layers),
    )
    folded("Layers", lambda: _layers(found, key), key=f"layers-{key}", param="layers")


def _layers(found: Roofline, key: str) -> None:
    layers = sorted(found.layers, key=lambda layer: -layer.ms)
    show_table(
        {
            "Layer": [escape_markdown(layer.name) for layer in layers],
            "Kind": [KIND_TITLES.get(layer.kind, layer.kind) for layer in layers],
            "Time": [f"{layer.ms:.2f} ms" for layer in layers],
            "FLOP/byte": [f"{layer.intensity:.1f}" for layer in layers],
            "GFLOP/s": [f"{layer.gflops_per_s:.1f}" for layer in layers],
            "Of the roof": [f"{100 * found.share(layer):.0f}%" for layer in layers],
            "Bound by": ["memory" if found.memory_bound(layer) else "arithmetic" for layer in layers],
        },
        key=f"layers-table-{key}",
    )
    st.caption("Sums of residual branches and reshapes are left out: they are no layers of their own.")
