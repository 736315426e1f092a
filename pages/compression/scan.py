"""Before deciding: what each layer can lose, one pruned at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from core.checkpoints.store import CheckpointRef
from core.common.errors import LabError
from core.common.progress import Progress
from core.compression.figures_layers import sensitivity_curves
from core.compression.measuring.sensitivity import KINDS, SensitivityRow, sensitivity, text_sensitivity
from core.data import DATASETS
from core.data.text import with_vocabulary
from pages.shared import tasks
from pages.shared.dataset_fetch import dataset_or_offer
from pages.shared.elements import download, folded, show_figure
from pages.shared.resources import dark, dataset, loaded, text_dataset
from pages.shared.tables import csv_bytes
from pages.shared.url import linked
from pages.shared.url_values import one_of
from pages.shared.warmup import warmup

MOST_IMAGES = 500
MOST_CHARACTERS = 5_000
WORDS = {"weights": "Single weights", "channels": "Whole channels"}


def scan(reference: CheckpointRef) -> None:
    """The folded scan: a button, its progress, its curves."""
    folded(
        "What can each layer lose?",
        lambda: _scan(reference),
        key="sensitivity",
        param="scan",
        icon=":material/stacked_line_chart:",
    )


def _scan(reference: CheckpointRef) -> None:
    st.caption(
        "Prunes one layer at a time. Where a line falls early, prune that layer less. "
        + (
            f"On {MOST_CHARACTERS:,} characters of the validation part."
            if reference.card.task == "text"
            else f"On {MOST_IMAGES} validation images, so a point or two is luck."
        )
    )
    kind = "weights"
    if reference.card.task == "images":
        linked("scan-kind", "scan-kind", one_of(KINDS, "part to take out"), "weights")
        kind = st.segmented_control(
            "Take out",
            KINDS,
            required=True,
            format_func=WORDS.__getitem__,
            key="scan-kind",
            persist_state="session",
        )
    key = f"scan-{reference.card.fingerprint}-{kind}"
    if tasks.watch(key):
        return
    task = tasks.find(key)
    if task and task.result:
        _curves(reference, task.result)
        return
    name = reference.card.dataset.name
    if name in DATASETS and not dataset_or_offer(name, "scan on its validation part", "scan"):
        return
    tasks.start_button("Scan", key, _work(reference, kind), button="scan", icon=":material/search:")


def _curves(reference: CheckpointRef, rows: tuple[SensitivityRow, ...]) -> None:
    show_figure(
        sensitivity_curves(rows, dark=dark()),
        key="sensitivity-curves",
        alt=f"What pruning each layer of {reference.label} alone does, against the amount pruned",
    )
    download("Scan (CSV)", csv_bytes(row.to_dict() for row in rows), "sensitivity.csv", key="scan-csv")


def _work(reference: CheckpointRef, kind: str) -> Callable[[Progress], Any]:
    warm = warmup()

    def work(report: Progress) -> tuple[SensitivityRow, ...]:
        report(0.0, "loading")
        warm.hold()
        checkpoint, name = loaded(reference), reference.card.dataset.name
        if reference.card.task == "text":
            known = with_vocabulary(text_dataset(name), reference.card.text_data.vocabulary)
            if known is None:
                raise LabError(
                    f"{reference.label} does not know all characters of its text: put the text back as it was."
                )
            tokens = known.validation
            return text_sensitivity(checkpoint, tokens, most_characters=MOST_CHARACTERS, on_progress=report)
        part = dataset(name).validation
        return sensitivity(checkpoint, part.images, part.labels, kind=kind, most_images=MOST_IMAGES, on_progress=report)

    return work
