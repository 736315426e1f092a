"""Which result is looked at: the example that ships, one of this machine by its address, or the list of them."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.common.errors import LabError
from core.compression.recipe import CompressConfig
from core.compression.results import CompressionResult
from core.compression.store import COMPRESSIONS, read_compression
from core.jobs import Run, RunStore
from core.training.figures import accuracy_curves, loss_curves, text_loss_curves
from pages.compression.help import compress_help
from pages.compression.made import Made
from pages.compression.new import TASKS
from pages.compression.url import RECIPE
from pages.compression.view import compress_view
from pages.shared.elements import SAVE_AND_RESET, show_figure
from pages.shared.job_panel import find_run, job_line
from pages.shared.job_parts import job_head, show_job_problem, stop_or_resume
from pages.shared.resources import dark, runs_now, store
from pages.shared.text import plain, show_error

POLL_S = 3.0


def example_view() -> None:
    """What ships."""
    task = st.segmented_control(
        "Example of",
        list(TASKS),
        default="images",
        required=True,
        format_func=TASKS.__getitem__,
        key="example-task",
        persist_state="session",
    )
    try:
        result = COMPRESSIONS.load_shipped(task)
    except LabError as error:
        st.info(f"{plain(error)} New recipe starts one; without training it takes a minute.")
    else:
        st.fragment(compress_view)(Made(result), f"shipped-{task}")
    compress_help()


def results_view() -> None:
    """The result of the address, or the list of those there are."""
    run_id = RECIPE.current()
    if run_id:
        # No link: one within the page would leave the run in the browser's address.
        if st.button("All results", key="all-results", icon=":material/arrow_back:", type="tertiary"):
            RECIPE.clear()
            st.rerun()
        _result(run_id)
    else:
        _list()
    compress_help()


def _list() -> None:
    try:
        recipes = [run for run in runs_now() if isinstance(run.config, CompressConfig)]
    except LabError as error:
        show_error(error)
        return
    if not recipes:
        st.info("Nothing was compressed here yet. New recipe starts one; Example shows what will be seen.")
    for run in recipes:
        job_line(run)


def _result(run_id: str) -> None:
    try:
        run = find_run(run_id)
        result = read_compression(store(), run_id)
        folder = store().folder(run_id)
    except LabError as error:
        show_error(error)
        return
    st.fragment(_head, run_every=POLL_S if run.active else None)(run_id, _seen(run, result), result)
    st.fragment(compress_view)(Made(result, run_id, folder), run_id)


def _seen(run: Run, result: CompressionResult) -> dict[str, Any]:
    """What the table and the figures of a recipe depend on."""
    return {"active": run.active, "measured": tuple(item.id for item in result.measured)}


def _head(run_id: str, drawn: dict[str, Any], result: CompressionResult) -> None:
    """How far the recipe is, and the curve of the step that trains; has all drawn again once there is more of it."""
    try:
        run = find_run(run_id)
        if run.active or drawn["active"]:
            result = read_compression(store(), run_id)
    except LabError as error:
        show_error(error)
        return
    if _seen(run, result) != drawn:
        st.rerun()
    job_head(run)
    with st.container(horizontal=True, gap="small"):
        stop_or_resume(run, "Resume" if run.started or run.step else "Start")
    show_job_problem()
    if run.active and run.status != "queued":
        _live(run, result)


def _live(run: Run, result: CompressionResult) -> None:
    """The curves of the variant that is being made, if it is one that trains."""
    done = {item.id for item in result.measured}
    steps = result.config.parsed()
    making = next((variant for variant in result.config.variants() if variant.id not in done), None)
    if making is None or not steps[making.number - 1].trains:
        return
    rows = _rows(run, making.id)
    if not rows:
        st.caption("Curves appear with the first figures of the training.")
        return
    epochs = getattr(steps[making.number - 1], "epochs", None)
    drawings = [text_loss_curves] if result.task == "text" else [accuracy_curves, loss_curves]
    revision = f"{run.id}-{making.id}"
    st.caption(plain(f"Training now: {making.title}"))
    for column, draw in zip(st.columns(len(drawings), gap="medium"), drawings, strict=True):
        with column:
            show_figure(
                draw(rows, dark=dark(), revision=revision, epochs=epochs, height=240),
                key=f"live-{draw.__name__}",
                buttons=SAVE_AND_RESET,
                alt=f"Training and validation over epochs of {making.title}; {len(rows)} rows so far",
            )


def _rows(run: Run, variant: str) -> list[dict[str, Any]]:
    try:
        return RunStore(store().folder(run.id) / "members").metrics(variant)
    except LabError:
        return []  # its folder is not there yet
