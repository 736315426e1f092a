"""One training, live: where it is, how fast, how long still, its curves, and Stop or Resume."""

from __future__ import annotations

import streamlit as st

from core.common.values import signed
from core.data import dataset_title
from core.jobs import Run
from core.training.figures import accuracy_curves, loss_curves, train_at_evaluations
from pages.shared.elements import SAVE_AND_RESET, show_figure
from pages.shared.registry import switch_page
from pages.shared.resources import dark, store
from pages.shared.run_controls import job_line, live_job
from pages.shared.run_labels import address
from pages.shared.text import VALIDATION_PLAIN, escape_markdown
from pages.shared.text_run import METRIC_PX, text_figures

PARAM = "run"
USES = {
    "images": (
        ("use", "Classify with this checkpoint", ":material/image_search:", "Classify"),
        ("evaluate-run", "Evaluate it", ":material/fact_check:", "Evaluate"),
    ),
    "text": (
        ("use", "Write with this checkpoint", ":material/edit:", "Write"),
        ("compare-run", "Side by side", ":material/compare_arrows:", "Side by side"),
    ),
}
"""What a run's checkpoint is good for: key, label, icon, view."""
POLL_S = 2.0
LATER_POLL_S = 5.0
"""After the first minute: drawing both curves costs server and browser some 0.2 s of a core that the run could use."""


def train_panel(run: Run) -> None:
    """The live view of a run; refreshes itself while the run is under way."""
    if address(run)[1] != {"view": "Train", PARAM: run.id}:  # a link may name a run of another view
        job_line(run)
        return
    live_job(run, live=_live, buttons=_uses, poll_s=POLL_S if run.seconds < 60 else LATER_POLL_S)


def _live(run: Run) -> None:
    rows = store().metrics(run.id)
    if run.task == "text":
        text_figures(run, rows)
    else:
        _figures(run, rows)
    if run.figure("test_accuracy") is not None and run.config.tta != "none":
        st.caption(
            f"The test accuracy is with test-time augmentation ({escape_markdown(run.config.tta)}). {VALIDATION_PLAIN}"
        )
    _facts(run)


def _uses(run: Run) -> None:
    if run.has_checkpoint:
        for key, label, icon, view in USES[run.task]:
            if st.button(label, key=key, icon=icon):
                last = run.status == "running" and view in ("Classify", "Write")
                switch_page(run.task, view=view, run=run.id, checkpoint=f"{run.id}/last" if last else run.id)


def _figures(run: Run, rows: list[dict]) -> None:
    train = (train_at_evaluations(rows, "train_accuracy") or [None])[-1]
    validation = run.figure("last_val_accuracy")
    gap = "–" if train is None or validation is None else f"{signed(100 * (train - validation))} pts"
    loss = "–" if run.figure("last_train_loss_nats") is None else f"{run.figure('last_train_loss_nats'):.3f}"
    # A row that wraps: four beside each other, on a phone two and two.
    with st.container(horizontal=True, gap="medium"):
        for label, value, meaning in (
            ("Best validation", _percent(run.figure("best_val_accuracy")), VALIDATION_PLAIN),
            ("Last validation", _percent(run.figure("last_val_accuracy")), VALIDATION_PLAIN),
            ("Train loss (nats)", loss, None),
            ("Gap", gap, "Training accuracy shortly before the last evaluation, minus validation accuracy."),
        ):
            st.metric(label, value, help=meaning, width=METRIC_PX)
    if not rows:
        st.caption("Curves appear with the first figures.")
        return
    left, right = st.columns(2, gap="medium")
    with left:
        show_figure(
            accuracy_curves(rows, dark=dark(), revision=run.id, epochs=run.config.epochs, height=300),
            key="accuracy-curves",
            buttons=SAVE_AND_RESET,
            alt=f"Accuracy over epochs; best validation {_percent(run.figure('best_val_accuracy'))}",
        )
    with right:
        show_figure(
            loss_curves(rows, dark=dark(), revision=run.id, epochs=run.config.epochs, height=300),
            key="loss-curves",
            buttons=SAVE_AND_RESET,
            alt="Training and validation loss over epochs",
        )


def _facts(run: Run) -> None:
    config = run.config
    parts = [
        f"{config.model}, recipe {config.recipe}",
        f"dataset {dataset_title(config.dataset)}",
        f"seed {config.seed}",
    ]
    parts += [f"on {run.device}, {run.threads} threads"] if run.device else []
    parts += [f"torch {run.torch_version}"] if run.torch_version else []
    parts += [f"peak memory {run.peak_memory_bytes / 1e9:.1f} GB"] if run.peak_memory_bytes else []
    st.caption(escape_markdown(" · ".join(parts)))
    if run.task == "text":
        st.caption(
            "Training figures are taken with dropout on, if there is any, and while the weights still move"
            + (", and its loss includes label smoothing" if config.label_smoothing else "")
            + "; validation with all units on. So training may look worse at first."
        )
        return
    st.caption(
        "Training figures are taken on augmented images while the weights still move"
        + (", and its loss includes label smoothing" if config.label_smoothing else "")
        + "; validation on plain images it never trains on. So training may look worse at first."
        if config.train_on == "train"
        else "This run trains on the validation images too, so its validation figures say nothing about images it has "
        "not seen; only the test accuracy at its end does."
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}%"
