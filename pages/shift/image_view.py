"""Shift / Your image: one image through all corruptions at once, and where the answer changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.common.pixels import enlarge
from core.shift.catalogue import CORRUPTIONS, RECOMPUTED, SEVERITIES
from pages.shared.elements import folded, show_figure, show_image, show_table
from pages.shared.network_query import ask_checkpoint, ask_image
from pages.shared.number_field import number_field
from pages.shared.resources import dark
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import linked
from pages.shared.url_values import number

if TYPE_CHECKING:
    from core.shift.image import ContactSheet

SEED, MOST_SEED = "shift-seed", 2**31 - 1
ORIGINAL_PX = 96
SHEET_PX = 440
"""Five square images, and the names of the corruptions."""


def image_view() -> None:
    answer, controls = st.columns([2, 1], gap="medium")
    with controls:
        reference = ask_checkpoint()
        asked = None if reference is None else ask_image(reference, "", examples_too=True)
        if asked is None:
            return
        linked("seed", SEED, number(0, MOST_SEED, "the seed"), 0)
        seed = int(number_field("Seed", 0, MOST_SEED, key=SEED, step=1))
    with answer:
        try:
            found = sheet_of(asked.key, asked.pixels, seed, _checkpoint=asked.checkpoint)
        except LabError as error:
            show_error(error)
            return
        _draw(found)


@st.cache_resource(max_entries=16, show_spinner=False)
def sheet_of(fingerprint: str, pixels: np.ndarray, seed: int, *, _checkpoint: Checkpoint) -> ContactSheet:
    """Raises LabError."""
    from core.shift.image import contact_sheet

    return contact_sheet(_checkpoint, pixels, seed)


def _draw(found: ContactSheet) -> None:
    from core.shift.figures import Tile, sheet

    st.markdown(f"## {escape_markdown(found.answer)}")
    said = f"{found.clean.label} · {100 * found.clean.probability:.0f}%"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        show_image(enlarge(found.clean.pixels, 2 * ORIGINAL_PX), width=ORIGINAL_PX, alt=f"The original image: {said}")
        st.markdown(f"**Original**: {escape_markdown(said)}", width="content")
    st.caption(
        f"Columns are severities, from 1 (weak) to 5 (strong). A frame marks another answer than for the original. {RECOMPUTED}."
    )
    rows = [
        [
            Tile(
                pixels=item.pixels,
                words=item.label,
                marked=item.flips,
                more=f"{CORRUPTIONS[name].title}, severity {item.severity}: {item.label} {100 * item.probability:.0f}%"
                + (", flagged as none of these" if item.flagged else ""),
            )
            for item in row
        ]
        for name, row in found.rows.items()
    ]
    names = ["<br>".join(CORRUPTIONS[name].title.split()) for name in found.rows]
    with st.container(width=SHEET_PX):
        show_figure(
            sheet(rows, names, [f"{severity}" for severity in SEVERITIES], dark=dark()),
            key="shift-sheet",
            alt=f"95 corrupted versions of the image. {found.answer}. "
            + "; ".join(f"{CORRUPTIONS[name].title}: {_changes(found, name)}" for name in found.rows),
        )
    folded("As a table", lambda: _table(found), key="shift-table", param="table")


def _changes(found: ContactSheet, name: str) -> str:
    at = found.flips_at(name)
    return "stays" if at is None else f"changes at {at}"


def _table(found: ContactSheet) -> None:
    show_table(
        {
            "Corruption": [CORRUPTIONS[name].title for name in found.rows],
            "Answer": [_changes(found, name) for name in found.rows],
            "At severity 5": [
                f"{escape_markdown(row[-1].label)} · {100 * row[-1].probability:.0f}%" for row in found.rows.values()
            ],
            "Flagged": [f"{sum(item.flagged for item in row)} of 5" for row in found.rows.values()],
        },
        key="shift-flips",
    )
