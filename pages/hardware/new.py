"""Hardware / New grid: which checkpoint, which settings, what to expect of them here, and how long that takes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import streamlit as st

from core.checkpoints.store import CheckpointRef
from core.common.devices import cores, offered_devices
from core.common.errors import LabError
from core.common.values import plural
from core.hardware.cli import new_config
from core.hardware.config import HardwareConfig, default_threads
from core.hardware.estimate import grid_seconds
from core.hardware.expect import expect, slow_warning
from core.hardware.kind import HARDWARE
from core.hardware.machine import Machine, read_machine
from core.hardware.setups import FORMATS, PRECISIONS, RUNTIMES, WORKS
from pages.hardware.sources import reasons
from pages.shared.checkpoint_picker import checkpoint_picker
from pages.shared.elements import folded, show_table
from pages.shared.network_query import FIRST
from pages.shared.run_controls import start_job_button
from pages.shared.settings_form import settings_form
from pages.shared.text import duration, escape_markdown, show_error
from pages.shared.url import linked
from pages.shared.url_values import several_of, write_several

BATCHES = (1, 8, 16, 32, 64, 128, 256, 512)
MORE = ("training_batch", "rounds", "images", "limit_s", "roofline", "seed")
LABELS = {"limit_s": "Give up after (s)", "training_batch": "Training batch", "images": "Test images"}


def new_view() -> None:
    left, right = st.columns([1, 1], gap="large")
    with left:
        reference = checkpoint_picker("Checkpoint", "checkpoint", param="checkpoint", prefer=FIRST)
        if reference is None:
            return
        start = st.container()
        values = _choices(reference)
    with right:
        machine = this_machine()
        st.markdown(f"**This machine: {escape_markdown(machine.title)}**")
        st.caption(f"{escape_markdown(machine.feature_words)}.")
    with start:
        config = None
        try:
            config = new_config(reference.name, **values)
            st.markdown(
                f"**{plural(len(config.setups), 'cell')}, about {duration(grid_seconds(config))}** on a quiet machine."
            )
        except LabError as error:
            show_error(error)
        start_job_button("Measure", HARDWARE, config, key="start-hardware", name_key="hardware-name")
    if config is not None:
        with right:
            for warning in dict.fromkeys(filter(None, (slow_warning(setup, machine) for setup in config.setups))):
                st.warning(escape_markdown(warning), icon=":material/hourglass_bottom:")
        folded("What to expect", lambda: _table(config, machine), key="hardware-expect", param="expect")


@st.cache_resource(show_spinner=False)
def this_machine() -> Machine:
    return read_machine()


def _choices(reference: CheckpointRef) -> dict[str, Any]:
    usual = HardwareConfig()
    values: dict[str, Any] = {
        "works": _several("Measure", "works", WORKS, usual.works),
        "runtimes": _several("Runtimes", "runtimes", RUNTIMES, usual.runtimes),
        "precisions": _several("Precisions", "precisions", PRECISIONS, usual.precisions),
    }
    with st.expander("More settings", icon=":material/tune:", key="hardware-more"):
        counts = {str(count): str(count) for count in sorted({*_powers(cores()), *default_threads()})}
        values["threads"] = _numbers(_several("Threads", "threads", counts, map(str, default_threads())))
        values["formats"] = _several("Memory layouts", "formats", FORMATS, usual.formats)
        sizes = {str(size): str(size) for size in BATCHES}
        values["batch_sizes"] = _numbers(_several("Images of one call", "batches", sizes, map(str, usual.batch_sizes)))
        devices = {name: name for name in offered_devices() if name != "auto"}
        values["devices"] = _several("Devices", "devices", devices, usual.devices)
        with st.container(horizontal=True):
            values |= settings_form(HardwareConfig, MORE, usual.to_dict(), "hardware-{}", labels=LABELS)
        st.text_input("Name", key="hardware-name", placeholder="Hardware")
    return values


def _several(label: str, name: str, options: dict[str, str], usual: Collection[str] | Any) -> tuple[str, ...]:
    """Some of these options; the address carries them."""
    key = f"hardware-{name}"
    linked(name, key, several_of(options, label.lower(), len(options)), list(usual), write=write_several)
    st.session_state[key] = [item for item in st.session_state[key] if item in options]
    chosen = st.multiselect(label, list(options), format_func=options.__getitem__, key=key, persist_state="session")
    return tuple(item for item in options if item in chosen)


def _numbers(texts: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(map(int, texts))


def _powers(most: int) -> list[int]:
    """1, 2, 4, … up to a number."""
    return [1 << power for power in range(most.bit_length()) if 1 << power <= most]


def _table(config: HardwareConfig, machine: Machine) -> None:
    pairs = [(setup, config.reference(setup)) for setup in config.setups]
    rows = [(setup, expect(setup, base, machine)) for setup, base in pairs if setup != base]
    show_table(
        {
            "Cell": [f"{WORKS[setup.work]}: {setup.words}" for setup, _ in rows],
            "Times as fast": [expected.words for _, expected in rows],
        },
        key="hardware-expect-table",
    )
    st.caption(
        f"Against PyTorch in float32 with all cores. {reasons(rows)} Rules of thumb: the result shows which held."
    )
