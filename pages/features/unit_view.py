"""Features / Unit: the image optimised for a unit beside the real ones, with numbers that say how far to believe it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from core.common.errors import LabError
from core.common.pixels import from_png
from core.common.progress import Progress
from core.common.values import signed
from core.features.config import STEPS
from core.features.results import Control, Unit, find_units
from pages.features.images import column, image_bytes, show_real, show_rgb
from pages.features.query import LayerQuery, ask_channel, ask_layer
from pages.shared.dataset_fetch import dataset_or_offer
from pages.shared.elements import download, folded, show_table
from pages.shared.resources import dataset, store
from pages.shared.tables import file_stem, json_bytes
from pages.shared.tasks import background
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import give, linked, linked_flag
from pages.shared.url_values import number

if TYPE_CHECKING:
    from core.features.classes import Ablation

SEED, STEPS_KEY, DIVERSE = "features-seed", "features-steps", "features-diverse"
MOST_STEPS = 1024
USUAL: dict[str, Any] = {"seed": 0, "steps": STEPS, "diverse": False}
"""Settings of galleries."""


def unit_view() -> None:
    answer, controls = st.columns([3, 1], gap="medium")
    with controls:
        asked = ask_layer()
        if asked is None:
            return
        channel = ask_channel(asked)
        settings = _settings()
        st.button("All channels of this layer", icon=":material/apps:", key="to-layer", on_click=_open_layer)
    with answer:
        try:
            unit = unit_of(asked, channel, settings)
        except LabError as error:
            show_error(error)
            return
        if unit is not None:
            _draw(asked, unit)


def _settings() -> dict[str, Any]:
    linked("seed", SEED, number(0, 2**31 - 2, "the seed"), 0)
    linked("steps", STEPS_KEY, number(8, MOST_STEPS, "the steps"), STEPS)
    linked_flag("diverse", DIVERSE)
    with st.expander("More settings", icon=":material/tune:", key="features-more"):
        return {
            "seed": int(st.number_input("Seed", 0, 2**31 - 2, key=SEED, persist_state="session")),
            "steps": int(st.number_input("Steps", 8, MOST_STEPS, key=STEPS_KEY, persist_state="session")),
            "diverse": st.checkbox("Four images that differ", key=DIVERSE, persist_state="session"),
        }


def _open_layer() -> None:
    give("view", "Layer")


def unit_of(asked: LayerQuery, channel: int, settings: dict[str, Any]) -> Unit | None:
    """From a gallery, or computed now; None while it is not there. Raises LabError."""
    if settings == USUAL:
        kept = find_units(store(), asked.reference.card.fingerprint, asked.layer.name).get(channel)
        if kept is not None and (kept.seed, kept.steps) == (0, STEPS):
            return kept
    if not dataset_or_offer(asked.dataset, "find the images that drive a unit", "unit"):
        return None

    def work(report: Progress) -> Unit:
        from core.features.unit import study_unit

        test = dataset(asked.dataset).test
        return study_unit(asked.checkpoint, asked.layer.name, channel, test, on_progress=report, **settings)

    found: Unit | None = background(
        f"unit-{asked.key}-{channel}-{settings}", "start-unit", work, label="Look at this unit"
    )
    return found


def _draw(asked: LayerQuery, unit: Unit) -> None:
    st.markdown(f"## {escape_markdown(unit.answer)}")
    with st.container(horizontal=True, gap="small"):
        with column():
            show_rgb(from_png(unit.image), alt=f"Image optimised for {unit.title}")
            st.caption(f"**Optimised** for it: {times(unit)}")
        if _has_images(asked):
            test, classes = dataset(asked.dataset).test, asked.source.classes
            for places, word in ((unit.most, "most"), (unit.least, "least")):
                with column():
                    show_real(test, places, classes, f"The nine test images that drive {unit.title} {word}")
                    st.caption(f"**Real** images that drive it {word}")
        with column():
            show_rgb(from_png(unit.random.image), alt=f"Image optimised for {unit.title} of a random network")
            st.caption(f"**Random network**, the same unit: {times(unit.random)}")
    if unit.diverse:
        with st.container(horizontal=True, gap="small"):
            for place, text in enumerate(unit.diverse):
                with column():
                    show_rgb(from_png(text), alt=f"Diverse image {place + 1} for {unit.title}")
    st.markdown("\n".join(f"- {sentence}" for sentence in unit.changes) or "No image was found that drives it.")
    st.caption(
        f"× is the response in units of the strongest of {unit.images:,} {asked.shown_images} (random network: of "
        f"{unit.random.images:,}). The response is {'the logit' if asked.layer.classes else 'the mean of the map'}."
    )
    if not asked.layer.classes and not asked.source.foreign:
        folded("From the unit to the classes", lambda: _classes(asked, unit), key="unit-classes", param="classes")
    folded("Files", lambda: _files(unit), key="unit-files", param="files", icon=":material/download:")


def _has_images(asked: LayerQuery) -> bool:
    return dataset_or_offer(asked.dataset, "show the real images", "real")


def times(found: Unit | Control) -> str:
    """`5.2×`, or why there is no such number."""
    if found.response <= 0:
        return "its response is not above 0"
    return "no real image is above 0" if found.multiple is None else f"{found.multiple:.1f}×"


def _classes(asked: LayerQuery, unit: Unit) -> None:
    if not dataset_or_offer(asked.dataset, "measure the accuracy of each class", "classes"):
        return

    def work(report: Progress) -> Ablation:
        from core.features.classes import ablate

        test = dataset(asked.dataset).test
        return ablate(asked.checkpoint, unit.layer, unit.channel, test, on_progress=report)

    found: Ablation | None = background(
        f"ablate-{asked.key}-{unit.channel}", "start-ablation", work, label="Measure without this unit"
    )
    if found is None:
        return
    st.markdown(f"**{escape_markdown(found.answer)}.**")
    rows = sorted(found.classes, key=lambda item: item.points)
    columns = {
        "Class": [escape_markdown(item.label) for item in rows],
        "Accuracy": [f"{100 * item.before:.1f}% → {100 * item.after:.1f}%" for item in rows],
        "Change, points": [
            f"{signed(item.points)} ({signed(item.interval_points[0])} to {signed(item.interval_points[1])})"
            for item in rows
        ],
    }
    if rows[0].contribution is not None:
        columns["Adds to the logit"] = [signed(item.contribution or 0.0, 2) for item in rows]
    show_table(columns, key="ablation")
    st.caption(
        f"The channel is held at its mean over {found.mean_over:,} test images, and the accuracy is counted on "
        f"{found.images:,} of them. The intervals hold for all classes at once."
    )


def _files(unit: Unit) -> None:
    name = file_stem(f"{unit.layer}-{unit.channel}", "unit")
    with st.container(horizontal=True, gap="small"):
        image = image_bytes(unit.image)
        kind = "png" if image.startswith(b"\x89PNG") else "webp"
        download(f"Optimised image ({kind})", image, f"{name}.{kind}", key="unit-image")
        download("All numbers (JSON)", json_bytes(unit.to_dict()), f"{name}.json", key="unit-json")
