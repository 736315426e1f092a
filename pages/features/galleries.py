"""Features / New gallery and Galleries: optimised images of several channels, as a run."""

from __future__ import annotations

import streamlit as st

from core.common.errors import LabError
from core.common.pixels import from_png
from core.features.config import GalleryConfig
from core.features.kind import GALLERY
from core.features.results import Gallery, read_gallery
from core.jobs import Run, RunStore
from pages.features.images import column, show_rgb
from pages.features.query import ask_layer
from pages.features.unit_view import times
from pages.shared.elements import download, folded
from pages.shared.registry import page_link
from pages.shared.run_controls import note_nothing_yet, start_job_button
from pages.shared.settings_form import settings_form
from pages.shared.tables import file_stem, json_bytes
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import linked
from pages.shared.url_values import number

COUNT, USUAL_COUNT = "gallery-count", 16


def read(runs: RunStore, run_id: str) -> Gallery:
    """What there is of a gallery. Raises LabError."""
    return read_gallery(runs.folder(run_id), runs.config(run_id))


def new_gallery_view() -> None:
    asked = ask_layer()
    if asked is None:
        return
    most = asked.layer.channels
    linked("count", COUNT, number(1, most, "the channels"), min(USUAL_COUNT, most), of=asked.key)
    count = int(st.number_input("Channels, from the first on", 1, most, key=COUNT, persist_state="session"))
    with st.expander("More settings", icon=":material/tune:", key="gallery-more"):
        with st.container(horizontal=True):
            values = settings_form(GalleryConfig, ("steps", "seed"), GalleryConfig().to_dict(), "gallery-{}", labels={})
        st.text_input("Name", key="gallery-name", placeholder=asked.reference.label)
    config = None
    try:
        config = GalleryConfig.of(asked.reference, asked.layer.name, range(count), **values)
    except LabError as error:
        show_error(error)
    start_job_button("Make the gallery", GALLERY, config, key="start-gallery", name_key="gallery-name")


def gallery_view(found: Gallery, key: str, run: Run | None) -> None:
    config = found.config
    if not found.units:
        note_nothing_yet(run, "No channel is done yet.", "The first ones take longest: they need all test images.")
        return
    beaten = sum((unit.multiple or 0) > (unit.random.multiple or 0) for unit in found.units)
    st.markdown(f"## {beaten} of {len(found.units)} images drive their unit further than in a random network")
    with st.container(horizontal=True, gap="small"):
        for unit in found.units:
            with column():
                show_rgb(from_png(unit.image), alt=f"Image optimised for {unit.title}")
                page_link(
                    "features",
                    f"{unit.channel} · {times(unit)}",
                    view="Unit",
                    checkpoint=config.checkpoint,
                    layer=config.layer,
                    channel=str(unit.channel),
                )
    made = " · ".join(escape_markdown(found.made[name]) for name in ("hardware", "date") if found.made.get(name))
    st.caption(f"{config.steps} steps, seed {config.seed}. {made}")
    folded("Files", lambda: _files(found, key), key=f"files-{key}", param="files", icon=":material/download:")


def _files(found: Gallery, key: str) -> None:
    name = file_stem(f"gallery {found.config.layer}", "gallery")
    download("All numbers and images (JSON)", json_bytes(found.to_dict()), f"{name}.json", key=f"json-{key}")
