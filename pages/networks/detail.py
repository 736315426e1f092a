"""One network: what it is made of, and the pages that it can go through."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from core.checkpoints.store import RUNTIME_ONLY, CheckpointRef
from core.common.errors import LabError
from core.common.values import scientific
from core.data.dataset import NO_DATASET, ImageCard
from core.networks.store import delete, facts_of, kept_networks
from pages.shared.checkpoint_picker import describe
from pages.shared.downloads import EXPORT_ICON
from pages.shared.registry import page_link
from pages.shared.text import escape_markdown, show_error, unique_labels
from pages.shared.url import linked, set_address

MOST_OPERATORS = 12
KEY = "network"


def detail() -> None:
    """Raises LabError where a network is gone."""
    found = {reference.name: reference for reference in kept_networks()}
    if not found:
        st.markdown("There are no networks here yet: bring one under All networks.")
        return
    names = list(found)
    if st.session_state.get(KEY) not in found:
        st.session_state.pop(KEY, None)
    linked(KEY, KEY, partial(_known, names), names[0], options=names)
    labels = unique_labels({name: reference.label for name, reference in found.items()})
    name = st.selectbox("Network", names, format_func=lambda each: labels[each], key=KEY)
    reference, facts = found[name], facts_of(name)
    st.markdown(f"#### {escape_markdown(reference.label)}: {describe(reference)}")
    if reference.card.task == "images":
        _pages(reference)
    show_facts(facts)
    show_answer(facts)
    if reference.card.task == "images":
        _reading(reference.card.image_data)
    _delete(reference)


def _known(names: list[str], text: str) -> str:
    if text not in names:
        raise LabError("This network is not here any more: choose another.")
    return text


def _pages(reference: CheckpointRef) -> None:
    card, name = reference.card, reference.name
    measured = card.dataset.name != NO_DATASET
    with st.container(horizontal=True, gap="small"):
        page_link("images", "Classify", checkpoint=name)
        if measured:
            page_link("images", "Evaluate", view="Evaluate", checkpoint=name)
            page_link("shift", "Shift", view="New measurement", checkpoints=name)
        page_link("attribution", "Attribution", view="Explain", checkpoint=name)
        if measured:
            if card.model != RUNTIME_ONLY:
                page_link("features", "Features", checkpoint=name)
            page_link("compression", "Compression", view="New recipe", checkpoint=name)
            page_link("hardware", "Hardware", view="New grid", checkpoint=name)
        page_link("compression", "Export", icon=EXPORT_ICON, view="Export", checkpoint=name)
    sentences = []
    if not measured:
        sentences.append(
            "No dataset here has its classes: Evaluate, Shift, Features and Compression need images with labels."
        )
    if card.model == RUNTIME_ONLY:
        why = escape_markdown(str(card.model_config.get("reason", "")))
        sentences.append(
            f"It runs only in ONNX Runtime ({why}): it has no gradients and no layers here, so Features cannot show it, and "
            "Attribution explains it by Occlusion, Feature Ablation, LIME and KernelSHAP."
        )
    for sentence in sentences:
        st.info(sentence)


def _reading(data: ImageCard) -> None:
    """How it is given images, as it was said when it came."""
    mean, std = (", ".join(f"{value:.3g}" for value in values) for values in (data.mean, data.std))
    square = "all of it on grey" if data.fit == "whole" else "its central square"
    classes = ", ".join(data.classes[:MOST_OPERATORS]) + (", …" if len(data.classes) > MOST_OPERATORS else "")
    st.caption(
        escape_markdown(
            f"It gets {square} of a photo in {data.image_size}×{data.image_size} pixels, less a mean of {mean} and divided by "
            f"{std} (pixels from 0 to 1). Its classes: {classes}. To change any of that, import the file again."
        )
    )


def show_facts(facts: dict[str, Any]) -> None:
    """What a file says of itself."""
    kind = facts.get("kind")
    if kind == "onnx":
        operators = facts["operators"]
        few = ", ".join(f"{number} {name}" for name, number in list(operators.items())[:MOST_OPERATORS])
        more = f" and {len(operators) - MOST_OPERATORS} other kinds" if len(operators) > MOST_OPERATORS else ""
        lines = [
            f"ONNX, {facts['parameters']:,} parameters.",
            f"Input: {facts['input']}. Output: {facts['output']}.",
            f"Operators: {few}{more}.",
        ]
    elif kind == "weights":
        lines = [f"Weights: {facts['tensors']:,} tensors, {facts['parameters']:,} numbers."]
        if facts.get("classes"):
            lines.append(facts["recognised"])
    elif kind == "checkpoint":
        lines = ["A checkpoint of this lab, with its card."]
    else:
        lines = []
    st.markdown("\n".join(f"- {escape_markdown(line)}" for line in lines))


def show_answer(answer: dict[str, Any]) -> None:
    """What was changed, and how far it answers as its own runtime does."""
    lines = [*answer.get("notes", ())]
    if answer.get("difference") is not None:
        lines.append(
            f"Compared with the file as it came, its answers differ by {_small(answer['difference'])} at most."
        )
    if answer.get("twin_difference") is not None:
        lines.append(
            f"Converted to PyTorch for gradients and layers, its logits differ by {_small(answer['twin_difference'])} at most."
        )
    if answer.get("only_answers"):
        lines.append(f"It is not converted to PyTorch: {answer['only_answers']}.")
    if lines:
        st.markdown("\n".join(f"- {escape_markdown(line)}" for line in lines))


def _small(value: float) -> str:
    return "0" if value == 0 else scientific(value, 1)


def _delete(reference: CheckpointRef) -> None:
    with st.popover("Delete", icon=":material/delete:", type="tertiary"):
        st.markdown("It is removed from this server. What was made from it stays.")
        if st.button("Delete it", key="delete-network", type="primary"):
            try:
                delete(reference.name)
            except LabError as error:
                show_error(error)
                return
            set_address({"view": "All networks"})
            st.rerun()
