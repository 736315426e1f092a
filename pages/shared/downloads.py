"""Everything that a page claims, as files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from core.checkpoints.store import CARD, CheckpointRef
from core.common.errors import LabError
from core.common.report import Report
from pages.shared.elements import download
from pages.shared.registry import page_link
from pages.shared.report import report_button
from pages.shared.tables import csv_bytes, file_stem, json_bytes
from pages.shared.text import show_error, size

EXPORT_ICON = ":material/deployed_code:"

if TYPE_CHECKING:
    from core.inference.evaluation import Evaluation


def downloads(reference: CheckpointRef, result: Evaluation | None, build: Callable[[], Report] | None = None) -> None:
    """Download buttons for the checkpoint and, if there is one, its evaluation. build: makes the report of that."""
    name = file_stem(reference.name, "checkpoint")
    with st.container(horizontal=True, gap="small"):
        try:
            download(
                f"Checkpoint ({size(reference.card.size_bytes)}, zip)",
                checkpoint_zip(str(reference.folder), reference.card.to_json(), _reference=reference),
                f"{name}.zip",
                key="download-checkpoint",
                help="card.json and the weights as safetensors: unpack it and give the folder as --checkpoint.",
            )
        except LabError as error:
            show_error(error)
        page_link("compression", "Export", icon=EXPORT_ICON, view="Export", checkpoint=reference.name)
        if result is None:
            return
        if build:
            report_button(build, f"{name}-evaluation", key="evaluation")
        download("Accuracy by class (CSV)", per_class_csv(result), f"{name}-classes.csv", key="download-classes")
        download(
            "Whole evaluation (JSON)",
            json_bytes(result.to_dict() | {"checkpoint": reference.name}),
            f"{name}-evaluation.json",
            key="download-evaluation",
        )


@st.cache_data(max_entries=4, show_spinner=False)
def checkpoint_zip(folder: str, card: str, *, _reference: CheckpointRef) -> bytes:
    """card.json, the weights and what else belongs to them, stored as they are. Raises LabError where they cannot be read."""
    buffer = io.BytesIO()
    try:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            # The card in hand, not the one on disk: a run may have replaced both since, and they belong together.
            archive.writestr(CARD, card)
            archive.writestr("README.txt", _readme(_reference))
            its = _reference.card
            for name in filter(None, (its.weights_file, its.onnx_file, its.features_file)):
                archive.write(_reference.folder / name, name)
    except OSError as error:
        raise LabError(
            f"The files of {_reference.name} cannot be read ({error.strerror or error}): pick it again."
        ) from error
    return buffer.getvalue()


def _readme(reference: CheckpointRef) -> str:
    """What is in the archive, and how to use it."""
    verb = "generate --prompt TEXT" if reference.card.task == "text" else "classify IMAGE"
    return (
        f"{reference.card.title}\n\n"
        f"{CARD}: architecture, data, settings and what was measured.\n"
        f"{reference.card.weights_file}: the weights (safetensors).\n"
        + (f"{reference.card.onnx_file}: the network as it runs in ONNX Runtime.\n" * bool(reference.card.onnx_file))
        + f"{reference.card.features_file}: features of training images, for its warning.\n"
        * bool(reference.card.features_file)
        + f"\nWith Bottleneck Lab: python -m core {verb} --checkpoint THIS_FOLDER\n"
    )


def per_class_csv(result: Evaluation) -> str:
    """One line per class: label, n, accuracy and its 95% interval, 0..1."""
    return csv_bytes(
        {"class": item.label, "n": item.n}
        | {
            name: f"{value:.6f}"
            for name, value in (("accuracy", item.accuracy), ("interval_low", item.low), ("interval_high", item.high))
        }
        for item in result.per_class
    ).decode()
