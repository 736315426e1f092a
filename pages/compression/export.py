"""What a checkpoint leaves the lab as: choose a target, press, get a file that was read back, and the script that runs it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from core.checkpoints.store import CheckpointRef
from core.common.errors import LabError
from core.common.paths import ensure_folder, lab_home, write_atomic
from core.common.progress import Progress
from core.compression.analysis import byte_words
from core.compression.targets import TARGETS, WEIGHTS, ExportRequest, offered_precisions, offered_targets
from core.data import dataset_status
from core.inference.onnx_network import OPSET, OPSETS
from pages.shared import tasks
from pages.shared.elements import download
from pages.shared.resources import dataset, loaded
from pages.shared.tables import file_stem
from pages.shared.text import escape_markdown
from pages.shared.warmup import warmup

if TYPE_CHECKING:
    from core.data.dataset import ImageDataset

MOST_IMAGES = 256
"""To compare on, while somebody waits."""
KEEP = 16
"""Exported files on disk; the oldest go."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was read back."""

    path: Path
    size_bytes: int
    difference: float | None
    """Largest difference of a logit to PyTorch; None of a file that computes nothing."""
    compared: str
    """What they were compared on, in words."""
    script: str
    script_name: str
    notes: tuple[str, ...]


def export_panel(reference: CheckpointRef, key: str) -> None:
    """key: of the widgets."""
    card = reference.card
    offered = offered_targets(card)
    chosen = st.segmented_control(
        "Export as",
        offered,
        format_func=lambda name: TARGETS[name].title,
        required=True,
        default=offered[0],
        key=f"target-{key}",
        persist_state="session",
    )
    target = TARGETS[chosen or offered[0]]
    st.caption(target.about)
    request = ExportRequest(target=chosen or offered[0])
    if request.target == "onnx":
        request = _onnx_request(reference, key)
    parts = [file_stem(reference.name, "checkpoint")]
    if request.target == "onnx" and request.precision != offered_precisions(card)[0]:
        parts.append(str(request.precision))
    if request.opset != OPSET:
        parts.append(f"opset{request.opset}")
    if request.target == "web":
        parts.append("web")
    name = "-".join(parts) + target.suffix
    task_key = f"export-{card.fingerprint}-{request}"
    ready, task = exported(task_key), tasks.find(task_key)
    with st.container(horizontal=True, gap="small"):
        if ready:
            download(
                f"{target.title} ({byte_words(ready.size_bytes)})",
                ready.path.read_bytes,
                name,
                key=f"file-{key}",
                primary=True,
            )
            if ready.script:
                script_name = "-".join((*parts, ready.script_name))
                download(f"Script ({ready.script_name})", ready.script, script_name, key=f"script-{key}")
        elif task is None or task.done:
            tasks.start_button(
                "Make the file",
                task_key,
                export_work(reference, request, name),
                button=f"make-{key}",
                type="primary",
                icon=":material/deployed_code:",
                help="It is written, read back and compared before it is offered.",
            )
    if not tasks.watch(task_key) and ready:
        _checked(ready, reference)


def _onnx_request(reference: CheckpointRef, key: str) -> ExportRequest:
    precisions = offered_precisions(reference.card)
    with st.container(horizontal=True, gap="small"):
        precision = st.segmented_control(
            "Arithmetic",
            precisions,
            required=True,
            default=precisions[0],
            key=f"precision-{key}-{reference.card.fingerprint[:8]}",
            help="float16 halves the file. int8 quarters it and is measured on training images; a recipe with the step int8 "
            "also measures what it costs.",
            persist_state="session",
        )
        precision = precision or precisions[0]
        fixed = reference.card.has_one_file or precision == "int8"
        opset = st.selectbox(
            "Opset",
            OPSETS,
            index=OPSETS.index(OPSET),
            key=f"opset-{key}",
            help="The version of ONNX's operators. Older runtimes need a lower one.",
            disabled=fixed,
            width=120,
            persist_state="session",
        )
    return ExportRequest(precision=precision, opset=OPSET if fixed else opset)


def exported(task_key: str) -> Exported | None:
    """The file that a finished task made, if it is still there."""
    task = tasks.find(task_key)
    found = task.result if task and task.done else None
    return found if isinstance(found, Exported) and found.path.is_file() else None


def export_work(reference: CheckpointRef, request: ExportRequest, file_name: str) -> Callable[[Progress], Any]:
    """The work of the task. file_name: what the download will be called, for the script that loads it."""

    warm = warmup()

    def work(report: Progress) -> Exported:
        report(0.0, "loading")
        warm.hold()
        from core.compression.targets import export_file

        made = export_file(loaded(reference), request, file_name, _dataset(reference), report, MOST_IMAGES)
        report(0.95, "writing")
        path = _write(f"{reference.card.fingerprint[:32]}-{request.precision}-{request.opset}", file_name, made.data)
        return Exported(path, len(made.data), made.difference, made.compared, made.script, made.script_name, made.notes)

    return work


def _checked(ready: Exported, reference: CheckpointRef) -> None:
    """How the file was tried, and how it is run."""
    if ready.difference is not None:
        twin = "its float twin in " if reference.card.in_int8 else ""
        st.caption(
            f"Read back and compared with {twin}PyTorch on {ready.compared}: the largest difference of a logit is "
            f"{ready.difference:.2g}."
            if ready.compared != WEIGHTS
            else "Read back: all weights are the same."
        )
    for note in ready.notes:
        st.caption(escape_markdown(note))
    if ready.script:
        with st.expander("The script that answers with it"):
            st.code(ready.script, language="python", wrap_lines=True, height=400)


def _dataset(reference: CheckpointRef) -> ImageDataset | None:
    """The checkpoint's own, where it is on this machine."""
    name = reference.card.dataset.name
    try:
        if reference.card.task != "images" or not dataset_status(name).ready:
            return None
        return dataset(name)
    except LabError:
        return None


def _write(stem: str, file_name: str, data: bytes) -> Path:
    folder = ensure_folder(lab_home() / "exports")
    path = folder / f"{stem}{Path(file_name).suffix}"
    try:
        write_atomic(path, data)
        found = {}
        for item in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another session is at it, too
                if not item.name.startswith("."):
                    found[item] = item.stat().st_mtime
        for old in sorted(found, key=found.__getitem__, reverse=True)[KEEP:]:
            old.unlink(missing_ok=True)
    except OSError as error:
        raise LabError(
            f"The file cannot be written to {folder} ({error.strerror or error}): free space there."
        ) from error
    return path
