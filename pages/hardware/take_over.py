"""What a recommendation offers: a training that opens with its settings, or code and a file to answer with."""

from __future__ import annotations

import streamlit as st

from core.checkpoints.store import CheckpointRef, find_checkpoint
from core.common.commands import command_line
from core.common.errors import LabError
from core.hardware.recommend import Advice, start_words, train_settings, usage
from core.hardware.results import HardwareResult
from core.hardware.setups import Setup
from core.training.recipes import RECIPES, own_recipe
from pages.shared.elements import download
from pages.shared.registry import page_link
from pages.shared.resources import loaded
from pages.shared.tables import file_stem
from pages.shared.text import escape_markdown
from pages.shared.train_form import form_query

TRAINING_THREADS = "A training uses all cores, divided by the runs at once: LAB_SLOTS sets those."


def take_over(found: HardwareResult, advice: Advice, key: str) -> None:
    """Draws the box below the figure."""
    setup, row = advice.setup, advice.row
    with st.container(border=True, key=f"use-{key}"):
        st.markdown(f"**Use this: {escape_markdown(setup.words)}**")
        cost = (
            f"Accuracy {row.accuracy_words}, the default {advice.reference.accuracy_words}."
            if row.right is not None
            else ""
        )
        st.caption(
            escape_markdown(
                " ".join(filter(None, (f"{advice.speedup.words} times as fast.", cost, start_words(advice))))
            )
        )
        if setup.work == "training":
            _training(found, advice)
        else:
            _inference(found, advice, key)


def _training(found: HardwareResult, advice: Advice) -> None:
    query = train_query(found, advice)
    if query is None:
        st.caption("The settings of this checkpoint's training are not known: choose them under Images, Train.")
        return
    page_link("images", "Train with this", icon=":material/model_training:", view="Train", **query)
    if advice.setup.threads != advice.reference.setup.threads:
        st.caption(TRAINING_THREADS)


def train_query(found: HardwareResult, advice: Advice) -> dict[str, str] | None:
    """The address of a training of the checkpoint's model with these settings; None where its recipe is not known."""
    model = found.config.model
    recipes = RECIPES.get(model, {})
    try:
        own = own_recipe(find_checkpoint(found.config.checkpoint).card)
    except LabError:
        own = None
    recipe = recipes.get(own.recipe if own else "default") or recipes.get("default")
    return None if recipe is None else form_query(recipe.replace(**train_settings(advice.setup)))


def _inference(found: HardwareResult, advice: Advice, key: str) -> None:
    setup, name = advice.setup, found.config.checkpoint
    if setup.runtime == "onnx":
        _file(setup, name, key)
    st.code(usage(setup, name), language="python", wrap_lines=True)


def _file(setup: Setup, name: str, key: str) -> None:
    """The ONNX file by a click, or what makes it."""
    try:
        reference = find_checkpoint(name)
    except LabError:
        st.caption("The checkpoint is not on this machine.")
        return
    if setup.precision == "int8" and not reference.card.in_int8:
        page_link(
            "compression", "Make it int8", icon=":material/compress:", view="New recipe", checkpoint=name, preset="int8"
        )
        st.code(command_line("compress", "start", checkpoint=name, recipe="int8"), language="sh", wrap_lines=True)
        return
    file = f"{'int8' if setup.precision == 'int8' else 'net'}.onnx"
    stem = file_stem(name, "net")
    download("ONNX file", lambda: _exported(reference), file, key=f"onnx-{key}-{stem}", primary=True)
    st.code(command_line("export", checkpoint=name, format="onnx", output=file), language="sh", wrap_lines=True)


def _exported(reference: CheckpointRef) -> bytes:
    from core.compression.onnx.export import export_onnx

    return export_onnx(loaded(reference))
