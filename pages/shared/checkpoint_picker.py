"""Pick a checkpoint: those that ship, the best of every run, and the last of a run still training. A link may bring another."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import streamlit as st

from core.checkpoints.store import RUNTIME_ONLY, Card, CheckpointRef, NoCheckpoint, find_checkpoint, list_checkpoints
from core.common.errors import LabError
from core.compression.recipe import is_compressed
from core.data import DATASETS
from core.data.dataset import NO_DATASET
from core.inference.evaluation_store import card_accuracy
from core.models import MODELS
from pages.shared.resources import runs_now
from pages.shared.text import escape_markdown, shorten, size, unique_labels
from pages.shared.url import linked

CHECKPOINT = "A checkpoint is a trained network: its weights, and a card that says how it was trained."
TITLE_CHARACTERS = 20
"""Of a run in the box, which also holds its accuracy."""
UNCALIBRATED = (
    "This checkpoint is uncalibrated: its probabilities are often too sure. A run calibrates its checkpoint when it finishes, "
    "if at least 100 images are left that it did not train on; 19 are enough for the none-of-these warning."
)


def checkpoint_picker(
    label: str,
    key: str,
    *,
    param: str,
    other: str | None = None,
    prefer: str = "",
    task: str = "images",
    fits: Callable[[Card], bool] = lambda card: True,
    originals: bool = False,
    always: bool = False,
    also: Collection[str] = (),
) -> CheckpointRef | None:
    """The chosen checkpoint of a task, or None (with a sentence on the page) where there is none yet.

    param: query parameter that carries the name, so that a link opens with the same choice.
    other: name of a checkpoint to compare with, so not the one to start from.
    prefer: name of the one to start from, where it is there.
    fits: whether one is offered; a link may still bring another.
    originals: leave out those in int8 or coded already, which cannot be compressed again; a link may still bring one.
    always: the address names the first one of the list too.
    also: names of further ones to offer.
    """
    references = {
        reference.name: reference
        for reference in list_checkpoints(task=task)
        if fits(reference.card) and not (originals and is_compressed(reference.card))
    }
    names = _run_names()
    for name in also:
        _add(references, name, task)
    for run_id, (_, active) in names.items():
        if active:
            _add(references, f"{run_id}/last", task)
    state = st.session_state
    if isinstance(state.get(key), str):  # a link brought it, and it is in no list
        _add(references, state[key], task)
    if state.get(key) not in references:  # of another task, whose pages use the same key, or gone
        state.pop(key, None)

    def find(name: str) -> str:
        if name not in references:
            try:
                _add(references, name, task, strict=True)
            except NoCheckpoint as error:  # its list holds those of other pages, too
                raise LabError(f"There is no checkpoint named {name[:60]!r}: the default is used.") from error
        return name

    fitting = (name for name in (prefer, *references) if name in references and name != other)
    default = next(fitting, next(iter(references), None))
    linked(param, key, find, None if always else default)
    if not references:
        st.info("There is no checkpoint yet: train one under Images or Text, and it can be picked here.")
        return None
    options = list(references)
    # Said again in each run: of one that was cut short the browser may not know yet what it chose.
    state[key] = state[key] if state[key] in references else default or options[0]
    labels = _labels(references, names)
    whole = escape_markdown(_title(references[state[key]], names))
    chosen = st.selectbox(
        label, options, format_func=lambda name: labels.get(name, name), key=key, help=f"{CHECKPOINT} Chosen: {whole}."
    )
    return references[chosen]


def uncalibrated(reference: CheckpointRef) -> str:
    """What to know of the probabilities of a checkpoint without a temperature."""
    if reference.origin == "network":
        return "Its probabilities are not calibrated. A full evaluation shows how far to trust them."
    return UNCALIBRATED


def is_recurrent(card: Card) -> bool:
    """Whether a network reads with a state that it carries on; `fits` of views that show one."""
    return card.model in MODELS and MODELS[card.model].recurrent


def describe(reference: CheckpointRef) -> str:
    """One line of Markdown about a checkpoint: parameters, size, accuracy and where it comes from."""
    card = reference.card
    parts = [f"{card.parameters:,} parameters"] if card.parameters else []
    if card.size_bytes:
        parts.append(size(card.onnx_bytes if card.model == RUNTIME_ONLY else card.size_bytes))
    parts.append(accuracy(reference.card))
    if reference.origin == "network":
        known = card.task != "images" or card.dataset.name != NO_DATASET
        parts.append("trained elsewhere" + (f", for {escape_markdown(card.dataset.title)}" if known else ""))
    else:
        parts.append(
            f"trained on {escape_markdown(card.dataset.title)}"
            + ("" if reference.origin == "shipped" else f", epoch {round(card.epoch, 2):g}")
        )
    return " · ".join(part for part in parts if part)


def calibrated_on(card: Card) -> str:
    """`set on 5,000 validation images`; where those are test images, which ones measured it."""
    images = card.calibration.set_on
    if card.calibration.split == "validation":
        return f"set on {images:,} validation images"
    return f"set on {images:,} test images, measured on the others"


def accuracy(card: Card) -> str:
    """`94.1% test` or `71.3% validation`, whichever the card knows; of a language model `2.09 bits/character`."""
    metrics = card.metrics
    if card.task == "text":
        loss = metrics.get("val_loss_nats")
        return "" if loss is None else f"{loss / math.log(2):.2f} bits/character"
    if card.task == "generation":
        return ""  # the error of its velocities says nothing to a person
    known = card_accuracy(card)
    value, name = (known.accuracy, "test") if known else (metrics.get("val_accuracy"), "validation")
    one_view = ", one view" if card.compression else ""
    return "" if value is None else f"{100 * value:.1f}% {name}{one_view}"


def _add(references: dict[str, CheckpointRef], name: str, task: str, *, strict: bool = False) -> None:
    try:
        found = find_checkpoint(name)
        _ = found.card.text_data if task == "text" else found.card.pixel_data  # says so where it is of the other kind
        found.card.check_task(task)
        references[name] = found
    except LabError:
        if strict:
            raise


def _run_names() -> dict[str, tuple[str, bool]]:
    try:
        return {run.id: (run.name, run.status in ("running", "stopping")) for run in runs_now()}
    except LabError:
        return {}


def _title(reference: CheckpointRef, names: dict[str, tuple[str, bool]]) -> str:
    """The name of its run; of a study, of one on the way and of one that ships its own."""
    run_id, _, which = reference.name.partition("/")
    return names[run_id][0] if run_id in names and which in ("", "best", "last") else reference.label


def _labels(references: dict[str, CheckpointRef], names: dict[str, tuple[str, bool]]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for name, reference in references.items():
        run_id, _, which = name.partition("/")
        active = which in ("", "best", "last") and names.get(run_id, ("", False))[1]
        # Short, and what tells two of them apart first: the box is narrow.
        figure = accuracy(reference.card)
        for word, short in ((" test", ""), ("validation", "val."), ("bits/character", "bits")):
            figure = figure.replace(word, short)
        title = _title(reference, names)
        parts = [title if reference.origin != "run" else shorten(title, TITLE_CHARACTERS), figure]
        if reference.card.task == "text" and reference.card.dataset.name not in DATASETS:
            parts.append(f"on {reference.card.dataset.title}")  # its figure is of another text than the others'
        if which == "last":
            parts.append("still training" if active else "last state")
        elif reference.origin == "run" and active:
            parts.append("best so far")
        labels[name] = " · ".join(filter(None, parts))
    return unique_labels(labels)
