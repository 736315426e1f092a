"""Features / Layer: all channels of a layer, small, by what they respond to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from core.common.errors import LabError
from core.common.pixels import from_png
from core.common.progress import Progress
from core.data import dataset_state
from core.features.results import ChannelFacts, LayerFacts, Unit, crop, find_units
from pages.features.images import image_file
from pages.features.query import CHANNEL, LayerQuery, ask_layer
from pages.shared.dataset_fetch import dataset_or_offer
from pages.shared.elements import clickable_image, download, folded
from pages.shared.resources import dataset, store
from pages.shared.tables import csv_bytes, file_stem
from pages.shared.tasks import background
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import give, linked, linked_flag
from pages.shared.url_values import one_of

if TYPE_CHECKING:
    from core.data.dataset import Split
    from core.features.layer import ImageStatistics

BY, SHOW, ALL = "layer-by", "layer-show", "layer-all"
ORDERS = {"selectivity": "Class", "chroma": "Colour", "frequency": "Frequency", "channel": "Number"}
SHOWN = 40
THUMB_PX = 92


def layer_view() -> None:
    answer = st.container()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        asked = ask_layer()
    if asked is None or not dataset_or_offer(asked.dataset, "see what drives each channel", "layer"):
        return
    try:
        found = _facts(asked)
    except LabError as error:
        show_error(error)
        return
    if found is not None:
        answer.markdown(f"## {escape_markdown(found.answer)}")
        _draw(asked, found)


def _facts(asked: LayerQuery) -> LayerFacts | None:
    def work(report: Progress) -> LayerFacts:
        from core.features.layer import study_layer

        known = _statistics(asked.dataset, dataset_state(asked.dataset), asked.source.most)
        test = dataset(asked.dataset).test
        return study_layer(asked.checkpoint, asked.layer.name, test, known=known, on_progress=report)

    found: LayerFacts | None = background(f"layer-{asked.key}", "start-layer", work, label="Look at this layer")
    return found


@st.cache_resource(max_entries=2, show_spinner=False)
def _statistics(name: str, state: str, most: int) -> ImageStatistics:
    from core.features.layer import image_statistics

    return image_statistics(dataset(name).test, most)


def _draw(asked: LayerQuery, found: LayerFacts) -> None:
    units = find_units(store(), asked.reference.card.fingerprint, asked.layer.name)
    linked("by", BY, one_of(ORDERS, "order"), "selectivity", options=ORDERS)
    shows = ["Optimised", "Strongest real"] if units else ["Strongest real"]
    linked("show", SHOW, one_of(shows, "kind of image"), shows[0], options=shows)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        by = st.segmented_control(
            "Sort by", list(ORDERS), format_func=ORDERS.__getitem__, key=BY, required=True, persist_state="session"
        )
        if units:
            st.segmented_control("Images", shows, key=SHOW, required=True, persist_state="session")
    show = st.session_state[SHOW]
    reverse = by != "channel"
    rows = sorted(found.channels, key=lambda item: getattr(item, by), reverse=reverse)
    rows = sorted(rows, key=lambda item: item.dead and reverse)  # dead ones respond to nothing
    if show == "Optimised":
        rows = sorted(rows, key=lambda item: item.channel not in units)
    linked_flag("all", ALL)
    shown = rows if st.session_state[ALL] else rows[:SHOWN]
    test = dataset(asked.dataset).test
    with st.container(horizontal=True, gap="small"):
        for item in shown:
            _thumb(item, str(by), test, units.get(item.channel) if show == "Optimised" else None, asked)
    if len(rows) > SHOWN:
        st.toggle(f"Show all {len(rows)}", key=ALL, persist_state="session")
    optimised = len(units) if show == "Optimised" else None
    _explain(asked, found, by == "selectivity", optimised)
    folded("Files", lambda: _files(found), key="layer-files", param="files", icon=":material/download:")


def _thumb(item: ChannelFacts, by: str, test: Split, unit: Unit | None, asked: LayerQuery) -> None:
    names = asked.source.classes
    label = asked.reference.card.image_data.classes[item.channel] if asked.layer.classes else str(item.channel)
    what = "optimised image" if unit else f"strongest image, {names[int(test.labels[item.best])]}"
    rgb = test.images[item.best] if unit is None else from_png(unit.image)
    if unit is None and item.patch is not None:
        rgb = crop(rgb, item.patch, asked.reference.card.image_data.mean)
        what = f"part of its {what}"
    clickable_image(
        image_file(rgb, THUMB_PX),
        f"{escape_markdown(label)} · {_figure(item, by)}",
        key=f"channel-{item.channel}",
        alt=f"Channel {label}: {what}",
        on_click=_open_unit,
        args=(item.channel,),
        width=THUMB_PX,
    )


def _figure(item: ChannelFacts, by: str) -> str:
    if item.dead:
        return "dead"
    if by == "chroma":
        return item.hue
    if by == "frequency":
        return f"{item.frequency:.2f}"
    return escape_markdown(item.unit_class)


def _open_unit(channel: int) -> None:
    give(CHANNEL, channel)
    give("view", "Unit")


def _explain(asked: LayerQuery, found: LayerFacts, by_class: bool, optimised: int | None) -> None:
    """by_class: whether images carry classes. optimised: channels whose image is an optimised one; None where none is shown."""
    words = ["Under each: the class of most of its 100 strongest images."] if by_class else []
    if optimised is not None and optimised < len(found.channels):
        words.append(f"{optimised} of {len(found.channels)} channels have an optimised image and stand first.")
    side = max((item.patch[2] for item in found.channels if item.patch), default=0)
    if side and optimised != len(found.channels):
        words.append(f"Real images: the {side}×{side} pixels that drive it most; grey lies past the border.")
    if found.dead:
        words.append(f"Dead: {_some(found.dead)}.")
    if found.redundant:
        pairs = [f"{item.channel} with {item.twin}" for item in found.channels if item.twin is not None]
        words.append(f"Correlated above 0.95: {_some(pairs)}.")
    st.caption(" ".join([*words, f"Measured on {found.images:,} {asked.shown_images}; a click opens the unit."]))


def _some(items: list[int] | list[str]) -> str:
    return ", ".join(map(str, items[:12])) + (f" and {len(items) - 12} more" if len(items) > 12 else "")


def _files(found: LayerFacts) -> None:
    rows = [{name: getattr(item, name) for name in item.__slots__} for item in found.channels]
    download("All channels (CSV)", csv_bytes(rows), f"{file_stem(found.layer, 'layer')}.csv", key="layer-csv")
