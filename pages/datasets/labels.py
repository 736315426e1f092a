"""What a first classifier says of a dataset: doubtful labels, hard classes, and what more photos would bring."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import streamlit as st

from core.common.progress import Progress
from core.common.values import plural
from core.images.diagnosis import Diagnosis, Forecast, diagnose_dataset
from pages.datasets.samples import sheet
from pages.shared import tasks
from pages.shared.elements import show_image
from pages.shared.text import escape_markdown

SHOWN = 12
"""Doubtful labels that are shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    diagnosis: Diagnosis
    classes: tuple[str, ...]
    doubts: list[tuple[str, bytes]]
    """File and picture of the surest doubts."""


def judge(name: str, report: Progress) -> Judged:
    """Raises LabError."""
    found, dataset = diagnose_dataset(name, report)
    files = (*dataset.train.files, *dataset.validation.files)
    doubts = [(files[doubt.index], sheet([dataset.image(doubt.index)])) for doubt in found.doubts[:SHOWN]]
    return Judged(diagnosis=found, classes=dataset.card.classes, doubts=doubts)


def labels_section(name: str, state: str) -> None:
    """A button that starts it, and what came of it. state: another text whenever the images are others."""
    key = f"judge-{name}-{state}"
    st.markdown("##### Labels, hard classes, more photos")
    if tasks.watch(key):
        return
    task = tasks.find(key)
    if task is None or task.result is None:
        tasks.start_button(
            "Check the labels",
            key,
            partial(judge, name),
            button="check-labels",
            icon=":material/rule:",
            help="A quick classifier judges each photo without training on it: some seconds for 200 photos.",
        )
        return
    _shown(task.result)


def _shown(judged: Judged) -> None:
    found, classes = judged.diagnosis, [escape_markdown(title) for title in judged.classes]
    count = len(found.doubts)
    st.markdown(
        f"- **{plural(count, 'label')}** to look at: another class seems likelier." if count else "- No doubtful label."
    )
    hardest = found.classes[0]
    taken = f", most often taken for {classes[hardest.confused_with]}" if hardest.confused_with is not None else ""
    low, high = hardest.interval
    st.markdown(
        f"- Hardest class: **{classes[hardest.label]}**, {hardest.accuracy:.0%} recognised ({low:.0%} to {high:.0%}){taken}."
    )
    st.markdown(f"- {forecast_words(found.forecast)}")
    if judged.doubts:
        with st.expander("Labels to look at", icon=":material/rule:"):
            for (file, picture), doubt in zip(judged.doubts, found.doubts, strict=False):
                with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                    show_image(picture, width=64, alt=file[:300])
                    st.markdown(
                        f"{escape_markdown(file)}  \nLabel {classes[doubt.label]}, looks like **{classes[doubt.likely]}** "
                        f"({doubt.probability:.0%})"
                    )
            if count > len(judged.doubts):
                st.caption(f"and {count - len(judged.doubts)} more")


def forecast_words(forecast: Forecast) -> str:
    """What twice the photos would bring, and how many halve the error, in Markdown."""
    value, low, high = forecast.doubled
    words = (
        f"Twice the photos: about **{value:.0%}** right ({low:.0%} to {high:.0%}), now {forecast.accuracies[-1]:.0%}."
    )
    if forecast.factor is None:
        return words
    times, least, most = forecast.factor
    if math.isinf(times):
        return f"{words} More photos alone are not expected to halve the error."
    upper = "no limit in sight" if math.isinf(most) else f"{most:.1f}"
    return f"{words} Half the error takes about {times:.1f} times the photos ({least:.1f} to {upper})."
