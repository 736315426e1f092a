"""Gradient descent / Surface: the loss on a plane through one or two checkpoints."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from core.checkpoints.store import list_checkpoints
from core.common.commands import changed_settings
from core.common.errors import LabError
from core.descent.config import SurfaceConfig
from core.descent.figures import surface_3d_figure, surface_figure
from core.descent.kind import SURFACE
from core.descent.results import Surface, read_surface
from core.jobs import Run, RunStore
from pages.shared.checkpoint_picker import checkpoint_picker
from pages.shared.copy_link import not_in_link
from pages.shared.elements import download, folded, show_figure
from pages.shared.resources import dark
from pages.shared.run_controls import note_nothing_yet, start_job_button
from pages.shared.settings_form import settings_form
from pages.shared.tables import file_stem, json_bytes
from pages.shared.text import escape_markdown, label_error, show_error
from pages.shared.url import give, linked
from pages.shared.url_settings import Changes, keep_settings, linked_settings
from pages.shared.url_values import one_of

LABELS = {"split": "Images from", "extent": "Half side", "points": "Points a side"}
NAMES = ("directions", "points", "extent", "images", "split", "seed")
"""What the address carries of a new surface, beside its checkpoints."""
SET = "surface-set"
LOOKS = ("Contours", "3-D")
SPLITS = {"train": "training", "validation": "validation"}


def read(runs: RunStore, run_id: str) -> Surface:
    """What there is of a surface. Raises LabError."""
    return read_surface(runs.folder(run_id), runs.config(run_id))


def surface_view(found: Surface, key: str, run: Run | None) -> None:
    found = replace(found, planes=tuple(plane for plane in found.planes if plane.loss_nats))
    planes = found.planes
    if not planes:
        note_nothing_yet(run, "Nothing is measured yet.", "The first row appears in a few seconds.")
        return
    st.markdown(f"## {escape_markdown(found.answer)}")
    linked("as", "surface-look", one_of(LOOKS, "look"), LOOKS[0])
    look = st.segmented_control(
        "Look", LOOKS, required=True, key="surface-look", label_visibility="collapsed", persist_state="session"
    )
    draw = surface_figure if look == LOOKS[0] else surface_3d_figure
    columns = st.columns([3, 2], vertical_alignment="center") if len(planes) == 1 else st.columns(len(planes))
    for place, sentence in enumerate(found.sentences):
        with columns[place]:
            show_figure(
                draw(found, place, dark=dark()),
                key=f"surface-{key}-{place}-{LOOKS.index(look)}",
                alt=f"Loss on a plane through the weights. {sentence}",
            )
        with columns[-1 if len(planes) == 1 else place]:
            st.markdown(escape_markdown(sentence))
    config = found.config
    sample = f"{config.images:,} {SPLITS[config.split]} images"
    st.caption(
        f"Mean loss of {sample} at {config.points}×{config.points} points, seed {config.seed}"
        + (" · one trained network each, so chance may decide" if len(planes) > 1 else "")
        + "".join(f" · {escape_markdown(found.made[name])}" for name in ("hardware", "date") if found.made.get(name))
    )
    folded("Files", lambda: _files(found, key), key=f"files-{key}", param="files", icon=":material/download:")


def _files(found: Surface, key: str) -> None:
    name = f"surface-{file_stem(' '.join(found.config.checkpoints), 'plane')}.json"
    download("All numbers (JSON)", json_bytes(found.to_dict()), name, key=f"json-{key}")


def _fill(changes: Changes) -> None:
    """Put settings into the form, before it is drawn."""
    config = SurfaceConfig().replace(**changes)
    for name in NAMES:
        give(f"surface-{name}", getattr(config, name))


def new_surface_view() -> None:
    linked_settings(SET, "usual", SurfaceConfig(), NAMES, _fill, shows=lambda config: True)
    first = checkpoint_picker("Checkpoint", "surface-checkpoint", param="checkpoint")
    if first is None:
        return
    others = {"": "None"} | {
        item.name: item.label for item in list_checkpoints(task="images") if item.name != first.name
    }
    linked("beside", "surface-second", one_of(others, "checkpoint"), "", options=others)
    second = st.selectbox(
        "Beside it", list(others), format_func=others.__getitem__, key="surface-second", persist_state="session"
    )
    usual = SurfaceConfig().to_dict()
    values: dict[str, Any] = settings_form(SurfaceConfig, NAMES[:1], usual, "surface-{}", labels=LABELS)
    start = st.container()
    with st.expander("More settings", icon=":material/tune:", key="surface-more"):
        with st.container(horizontal=True):
            values |= settings_form(SurfaceConfig, NAMES[1:], usual, "surface-{}", labels=LABELS)
        st.text_input("Name", key="surface-name", placeholder=first.label)
    with start:
        config = None
        try:
            config = SurfaceConfig(**values, checkpoints=(first.name, *([second] if second else [])))
        except LabError as error:
            show_error(label_error(error, LABELS | {"images": "Images", "seed": "Seed"}))
            not_in_link("Settings that are not valid are not in the link: it has those before.")
        if config:
            changed = changed_settings(config, SurfaceConfig())
            keep_settings(SET, "usual", {name: changed[name] for name in NAMES if name in changed})
            points = config.points**2 * len(config.checkpoints)
            st.caption(f"{points:,} points of {config.images:,} images: {points * config.images:,} forward passes.")
        start_job_button("Compute the surface", SURFACE, config, key="start-surface", name_key="surface-name")
