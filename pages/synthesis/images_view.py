"""Synthesis / Images: images of every class."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.common.pixels import enlarge, from_png
from core.common.progress import Progress
from core.synthesis.results import ImageSet
from pages.shared.elements import clickable_image, download
from pages.shared.tasks import background
from pages.shared.text import escape_markdown
from pages.shared.url import give
from pages.synthesis.query import CLASS, NOISE, GeneratorQuery, ask_generator

ROWS, STRIP_PX = 5, 300
"""Images of a class, and how wide they are together."""
MOST_CLASSES = 20


def images_view() -> None:
    answer, controls = st.columns([3, 1], gap="medium")
    with controls:
        asked = ask_generator()
    if asked is None:
        return
    with answer:
        shipped = asked.shipped_set()
        sheet = _sheet_of(shipped) if shipped else _make_sheet(asked)
        if sheet is not None:
            _draw(asked, sheet, shipped.headline if shipped else _headline(asked))


def _make_sheet(asked: GeneratorQuery) -> np.ndarray | None:
    """(ROWS, classes, S, S, 3) uint8; None, with its progress on the page, while it is not there."""
    checkpoint = asked.load()
    if checkpoint is None:
        return None
    shown = min(len(asked.classes), MOST_CLASSES)

    def work(report: Progress) -> np.ndarray:
        from core.inference.generator import make_images

        rows = []
        for row in range(ROWS):
            report(row / ROWS, "making images")
            made = make_images(
                checkpoint.model,
                checkpoint.card.pixel_data,
                np.arange(shown),
                seed=asked.seed,
                steps=asked.steps,
                guidance=asked.guidance,
                first=row * len(asked.classes),
            )
            rows.append(made)
        return np.stack(rows)

    found: np.ndarray | None = background(f"images-{asked.key}", "make-images", work, label="Make images")
    return found


def _sheet_of(found: ImageSet) -> np.ndarray:
    """The same of a set that is kept."""
    sheet = from_png(found.sheet)
    side = sheet.shape[0] // ROWS
    return sheet.reshape(ROWS, side, len(found.classes), side, 3).swapaxes(1, 2)


def _draw(asked: GeneratorQuery, sheet: np.ndarray, headline: str) -> None:
    st.markdown(f"## {headline}")
    with st.container(horizontal=True, gap="small"):
        for place in range(sheet.shape[1]):
            label = asked.classes[place]
            strip = np.concatenate(list(sheet[:, place]), axis=1)
            clickable_image(
                enlarge(strip, 2 * STRIP_PX),
                escape_markdown(label),
                key=f"strip-{place}",
                alt=f"{ROWS} generated images of {label}",
                on_click=_open,
                args=(label, place),
                width=STRIP_PX,
            )
    if len(asked.classes) > sheet.shape[1]:
        st.caption(f"The first {sheet.shape[1]} of {len(asked.classes)} classes.")
    st.caption("Each image starts from different noise. Click a class to follow its first image.")
    rows = np.concatenate([np.concatenate(list(row), axis=1) for row in sheet], axis=0)
    download("Images (PNG)", enlarge(rows, 8 * rows.shape[1] // sheet.shape[1]), "generated.png", key="sheet-png")


def _headline(asked: GeneratorQuery) -> str:
    how = {0.0: "without a class in mind", 1.0: "by the plain flow"}.get(
        asked.guidance, f"at guidance {asked.guidance:g}"
    )
    return f"Images that {escape_markdown(asked.reference.card.title[:60])} makes {how}"


def _open(label: str, place: int) -> None:
    """The way to the first image of a class, whose noise has its number."""
    give("view", "From noise")
    give(CLASS, label)
    give(NOISE, place)
