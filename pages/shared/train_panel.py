"""One training, live: where it is, how fast, how long still, its curves, and Stop or Resume."""

from __future__ import annotations

import streamlit as st

from core.checkpoints.store import Card, find_checkpoint
from core.common.errors import LabError
from core.common.values import finite, signed
from core.data import dataset_title
from core.jobs import Run
from core.jobs.tensorboard import MISSING, can_write_events, zipped_events
from core.models import MODELS
from core.training.figures import accuracy_curves, loss_curves, train_at_evaluations
from core.training.kind import setting_at_fault
from core.training.recipes import RECIPES
from core.training.sample_answers import read_answers
from pages.shared.downloads import EXPORT_ICON, checkpoint_zip
from pages.shared.elements import SAVE_AND_RESET, download, show_figure, show_image
from pages.shared.generator_run import generator_figures
from pages.shared.registry import switch_page
from pages.shared.report import report_button
from pages.shared.resources import dark, store
from pages.shared.run_controls import job_line, live_job
from pages.shared.run_labels import address
from pages.shared.run_report import augmentation_words, interval_words, run_report
from pages.shared.start_field import START_PARAM
from pages.shared.tables import file_stem
from pages.shared.text import NATS, VALIDATION_PLAIN, escape_markdown
from pages.shared.text_run import METRIC_PX, text_figures
from pages.shared.train_form import can_show, fill_folder, form_query, labels, value_words

PARAM = "run"
USES = {
    "images": (
        ("use", ":material/image_search:", "images", "Classify"),
        ("explain-run", ":material/center_focus_strong:", "attribution", "Explain"),
        ("evaluate-run", ":material/fact_check:", "images", "Evaluate"),
        ("compress-run", ":material/compress:", "compression", "Compress"),
        ("export-run", EXPORT_ICON, "compression", "Export"),
    ),
    "text": (
        ("use", ":material/edit:", "text", "Write"),
        ("pair-run", ":material/compare_arrows:", "text", "Side by side"),
        ("inside-run", ":material/psychology:", "text", "Inside the RNN"),
        ("compress-run", ":material/compress:", "compression", "Compress"),
        ("export-run", EXPORT_ICON, "compression", "Export"),
    ),
    "generation": (("use", ":material/palette:", "synthesis", "Images"),),
}
"""What a run's checkpoint is good for: key, icon, page, and what the button says, which is the view."""
VIEWS = {"Compress": "New recipe"}
"""Where it is not."""
WHILE_ACTIVE = 2
"""How many of them there are before the run has ended."""
IMAGE_PX, ROW_PX, LABEL_CHARACTERS = 72, 500, 24
"""Of the watched images: six in a row, on a phone four."""
POLL_S = 2.0
LATER_POLL_S = 5.0
"""After the first minute: drawing both curves costs server and browser some 0.2 s of a core that the run could use."""
EVENTS_HELP = "The metrics as event files. Unpack them, then: tensorboard --logdir FOLDER."


def train_panel(run: Run) -> None:
    """The live view of a run; refreshes itself while the run is under way."""
    if address(run)[1] != {"view": "Train", PARAM: run.id}:  # a link may name a run of another view
        job_line(run)
        return
    poll_s = POLL_S if run.seconds < 60 else LATER_POLL_S
    live_job(run, answer=_answer, live=_live, buttons=_buttons, message=_message, poll_s=poll_s)


def _message(run: Run) -> str:
    """What it says beside its answer; after a failure with the recipe's value for the setting that this is about."""
    if run.status == "finished" and answer_words(run):
        return f"{run.message.partition('; ')[0].rstrip('.')}."  # why it ended; the figure behind it stands above all
    recipe = RECIPES.get(run.facts.model, {}).get(run.facts.recipe)
    if run.status != "failed" or recipe is None:
        return run.message
    name = setting_at_fault(run.config, run.message)
    was, its = (config.to_dict().get(name) for config in (run.config, recipe))
    if not name or was == its:
        return run.message
    if name == "lr" and run.config.optimizer != recipe.optimizer:
        was, its = f"{was:g} with {run.config.optimizer}", f"{its:g} with {recipe.optimizer}"
    return f"{run.message} {labels()[name]} was {value_words(was)}; the recipe's is {value_words(its)}."


def _card(run: Run) -> Card | None:
    """Of the checkpoint that the run keeps, as it is now."""
    try:
        return find_checkpoint(run.id).card if run.has_checkpoint else None
    except LabError:
        return None  # being replaced just now


def _answer(run: Run) -> None:
    """The sentence, and where its figure is not what one would expect, why."""
    said = answer_words(run)
    if not said:
        return
    st.markdown(f"## {'So far ' if run.active else ''}{said}")
    card = _card(run)
    if not run.active and card and (interval := interval_words(run, card)):
        st.caption(interval)
    if run.task == "images" and run.figure("test_accuracy") is None and not run.active:
        why = (
            "the dataset has no test images" if run.status == "finished" else "only a finished run is measured on test"
        )
        st.caption(f"A validation figure: {why}.")


def answer_words(run: Run) -> str:
    """How often the kept weights are right, beside chance, on test images once that was measured; empty before."""
    card, test = _card(run), run.figure("test_accuracy")
    if card is None:
        return ""
    if run.task == "generation":
        error = run.figure("best_val_loss_nats")
        return (
            "" if error is None else f"{error:.3f} mean squared error of its velocities; knowing nothing gives about 2"
        )
    validation = card.metrics.get("val_accuracy")  # the run's best may be of other weights than those that it keeps
    if test is None and (not finite(validation) or run.config.train_on != "train"):
        return ""
    if card.task == "text":
        chance, what = 1 / len(card.text_data.vocabulary), "of validation characters right"
    else:
        chance, what = 1 / len(card.image_data.classes), f"of {'validation' if test is None else 'test'} images right"
    return f"{_percent(validation if test is None else test)} {what}; guessing gives {100 * chance:.2g}%"


def _live(run: Run) -> None:
    rows = store().metrics(run.id)
    if run.task == "text":
        text_figures(run, rows)
    elif run.task == "generation":
        generator_figures(run, rows)
    else:
        _figures(run, rows)
        _watched(run)
    if said := augmentation_words(run):
        st.caption(said)
    _facts(run)


def _buttons(run: Run) -> None:
    """What can be done with it next."""
    if run.has_checkpoint:
        recurrent = run.facts.model in MODELS and MODELS[run.facts.model].recurrent
        uses = [use for use in USES[run.task] if recurrent or use[3] != "Inside the RNN"]
        for key, icon, page, label in uses[: WHILE_ACTIVE if run.active else None]:
            if st.button(label, key=key, icon=icon):
                query = {"view": VIEWS.get(label, label), "checkpoint": f"{run.id}/last" if run.active else run.id}
                switch_page(page, **query | ({PARAM: run.id} if page == address(run)[0] else {}))
        if not run.active:
            download("Download", lambda: _zipped(run.id), f"{file_stem(run.name, 'checkpoint')}.zip", key="save-run")
            download(
                "TensorBoard",
                lambda: zipped_events(store(), run.id),
                f"{file_stem(run.name, 'run')}-events.zip",
                key="save-events",
                disabled=not can_write_events(),
                help=EVENTS_HELP if can_write_events() else MISSING,
            )
            report_button(lambda: run_report(run, answer_words(run), _card(run)), f"{run.name}-report", key="run")
    longer = run.status == "finished" and run.has_checkpoint
    if longer and st.button("Train for longer", key="longer", icon=":material/forward:"):
        switch_page(address(run)[0], view="Train", **{START_PARAM: run.id, "recipe": "longer"})
    if run.active or not can_show(run.config):
        return
    icon = ":material/edit_note:"
    # The folder is named before this page, which may hold the form too, is drawn.
    if st.button("Edit and run again", key="edit-run", icon=icon, on_click=fill_folder, args=(run.config,)):
        switch_page(address(run)[0], view="Train", **form_query(run.config))


def _zipped(run_id: str) -> bytes:
    reference = find_checkpoint(run_id)
    return checkpoint_zip(str(reference.folder), reference.card.to_json(), _reference=reference)


def _watched(run: Run) -> None:
    """A few images that it does not train on, and what it says to them: while it runs the last weights, then the best."""
    card = None if run.active else _card(run)
    found = read_answers(store().folder(run.id), card.step if card else None)
    if found is None:
        return
    why = "" if found.split == "validation" else " It trains on the validation images too."
    which = "with the kept weights, of" if card and card.step == found.step else "after"
    right = f"**{found.right} of the {len(found.labels)} {found.split} images shown are right**"
    st.markdown(f"{right} {which} epoch {found.epoch:.3g}.{why}")
    with st.container(horizontal=True, gap="xsmall", width=ROW_PX):
        for image, label, answer in zip(found.images, found.labels, found.answers):
            with st.container(width=IMAGE_PX + 4, gap="xxsmall"):
                show_image(image, width=IMAGE_PX, alt=f"{label}, predicted {answer}")
                says = ":material/check:" if answer == label else f":material/close: {_short(answer)}, not"
                st.caption(f"{says} {_short(label)}")


def _short(label: str) -> str:
    cut = label if len(label) <= LABEL_CHARACTERS else f"{label[: LABEL_CHARACTERS - 1]}…"
    return escape_markdown(cut)


def _figures(run: Run, rows: list[dict]) -> None:
    train = (train_at_evaluations(rows, "train_accuracy") or [None])[-1]
    validation = run.figure("last_val_accuracy")
    gap = "–" if train is None or validation is None else f"{signed(100 * (train - validation))} pts"
    loss = "–" if run.figure("last_train_loss_nats") is None else f"{run.figure('last_train_loss_nats'):.3f}"
    best, last = (
        f"{which} validation{' (kept)' if run.config.keep == which.lower() else ''}" for which in ("Best", "Last")
    )
    # A row that wraps: four beside each other, on a phone two and two.
    with st.container(horizontal=True, gap="medium"):
        for label, value, meaning in (
            (best, _percent(run.figure("best_val_accuracy")), VALIDATION_PLAIN),
            (last, _percent(run.figure("last_val_accuracy")), VALIDATION_PLAIN),
            ("Train loss (nats)", loss, NATS),
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
    augmented = "augmented images" if config.train_layers == "all" else "images"
    st.caption(
        f"Training figures are taken on {augmented} while the weights still move"
        + (", and its loss includes label smoothing" if config.label_smoothing else "")
        + "; validation on plain images it never trains on. So training may look worse at first."
        if config.train_on == "train"
        else "This run trains on the validation images too, so its validation figures say nothing about images it has "
        "not seen; only the test accuracy at its end does."
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}%"
