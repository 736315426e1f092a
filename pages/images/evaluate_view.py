"""Images / Evaluate: one checkpoint on the test images, with intervals, and where it fails."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

import streamlit as st

from core.checkpoints.store import CheckpointRef
from core.common.errors import LabError
from core.common.pixels import preview
from core.common.theme import colour_of
from core.data import DATASETS, dataset_status
from core.data.dataset import NO_DATASET
from core.images.figures import percent
from core.images.figures_evaluation import confusion_matrix, per_class_bars, reliability
from core.inference.evaluation_store import CardAccuracy, card_accuracy, has_evaluation, kept_evaluation
from pages.images.evaluate_task import evaluation_work, same_images, task_key
from pages.images.report import evaluation_report, measured_on, tta_words
from pages.shared import tasks
from pages.shared.checkpoint_picker import checkpoint_picker, describe, uncalibrated
from pages.shared.dataset_fetch import dataset_or_offer
from pages.shared.downloads import downloads
from pages.shared.elements import show_figure, show_image
from pages.shared.registry import page_link
from pages.shared.resources import dark, dataset
from pages.shared.text import NATS, duration, escape_markdown, shorten, show_error
from pages.shared.url import linked, linked_fragment
from pages.shared.url_values import one_of
from pages.shared.warmup import until_ready

if TYPE_CHECKING:
    from core.data.dataset import ImageDataset
    from core.inference.evaluation import Evaluation, ImageAnswer

GALLERY = 12
MOST_BARS = 20
"""Classes whose accuracy is drawn."""
IMAGE_PX = 96
NAME_CHARACTERS = 22
"""Of a file's name below its image."""
TRUE, ANSWER, TRUE_KEY, ANSWER_KEY = "true", "answer", "cell-true", "cell-answer"
SHOWN, ANY = "cell-shown", -1


def evaluation_view() -> None:
    answer, controls = st.columns([2, 1], gap="large")  # on a phone the answer stands above what it is of
    with controls:
        reference = checkpoint_picker("Checkpoint", "evaluated", param="checkpoint")
        if reference is None:
            return
        st.caption(describe(reference))
        if reference.card.notes:
            with st.expander("How it was made", key="checkpoint-notes"):
                st.markdown(escape_markdown(reference.card.notes))
        if not reference.card.calibration.images:
            st.caption(uncalibrated(reference))
    result, known = None, card_accuracy(reference.card)
    with answer:
        if has_evaluation(reference.card):
            until_ready()
            result = kept_evaluation(reference.card)
        if result is not None:
            _headline(reference, result)
        else:
            if known is not None:
                _measured_before(reference, known)
            _offer(reference, known)
        downloads(reference, result, partial(evaluation_report, reference, result) if result else None)
    if result is not None:
        _evidence(reference, result)
    _how_it_works()


def _measured_before(reference: CheckpointRef, known: CardAccuracy) -> None:
    """The accuracy on its card: measured once, it is not measured again."""
    card = reference.card
    _accuracy(known.accuracy, known.interval, known.n)
    if reference.origin == "run":
        when = "at the end of its run"
    else:
        when = "when this checkpoint was made"
    day = f" on {escape_markdown(card.created[:10])}" if card.created else ""
    where = f", on {escape_markdown(card.hardware)}" if card.hardware else ""
    st.caption(f"Measured {when}{day}{where}. {tta_words(known.tta)}")


def _accuracy(accuracy: float, interval: tuple[float, float], n: int) -> None:
    low, high = interval
    st.metric(
        f"Test accuracy on {n:,} images",
        f"{100 * accuracy:.1f}%",
        delta=f"95% interval {100 * low:.1f} to {100 * high:.1f}%",
        delta_color="off",
        delta_arrow="off",
    )


def _offer(reference: CheckpointRef, known: CardAccuracy | None) -> None:
    """The full evaluation. known: what is known of it without."""
    card = reference.card
    if card.dataset.name == NO_DATASET:
        st.info("No dataset here has its classes, so there are no test images to evaluate it on.")
        return
    key = task_key(reference)
    if tasks.watch(key):
        return
    count = card.dataset.sizes.get("test")
    if known is None:
        st.markdown(
            f"**Not measured on test images yet.** {escape_markdown(card.dataset.title)} holds some back for this."
        )
    else:
        st.markdown("**Where does it fail?** A full evaluation shows classes, confusions, calibration and mistakes.")
    if card.dataset.name in DATASETS and not dataset_or_offer(
        card.dataset.name, "evaluate on its test images", "evaluate"
    ):
        return
    label = f"Evaluate on the {count:,} test images" if count else "Evaluate on the test images"
    until_ready()
    _evaluate_button(reference, label, kind="primary")


def _evaluate_button(reference: CheckpointRef, label: str, *, kind: Literal["primary", "secondary"]) -> None:
    key, icon = task_key(reference), ":material/fact_check:"
    tasks.start_button(label, key, evaluation_work(reference), button="evaluate", type=kind, icon=icon)


def _headline(reference: CheckpointRef, result: Evaluation) -> None:
    accuracy, loss, error = st.columns([2, 1, 1])
    with accuracy:
        _accuracy(result.accuracy, result.interval, result.n)
    kind = "calibrated" if reference.card.calibration.images else "uncalibrated"
    loss.metric("Test loss", f"{result.loss_nats:.3f} nats", help=f"Cross-entropy of the {kind} probabilities. {NATS}")
    error.metric(
        "Calibration error",
        f"{100 * result.ece:.1f}%",
        help="Expected calibration error: how far stated probabilities are from the share that is right, on average.",
    )
    st.caption(f"Took {duration(result.seconds)}. {measured_on(reference.card, result)}")


def _evidence(reference: CheckpointRef, result: Evaluation) -> None:
    colour = colour_of(reference.card.model, dark=dark())
    linked_fragment(_confusions)(reference, result)
    left, right = st.columns(2, gap="medium")
    with left:
        _classes(result, colour)
    with right:
        st.markdown("#### Does 70% mean 70%?")
        show_figure(
            reliability(result.calibration, ece=result.ece, dark=dark(), colour=colour),
            key="reliability",
            buttons=(),
            alt=f"Reliability diagram; expected calibration error {100 * result.ece:.1f}%",
        )
        uncalibrated = "" if reference.card.calibration.images else "The probabilities are uncalibrated. "
        st.caption(
            f"{uncalibrated}Larger dots hold more images; the lines are 95% intervals. Dots under the diagonal: "
            "too sure of itself; above: not sure enough."
        )


def _classes(result: Evaluation, colour: str) -> None:
    st.markdown("#### Accuracy by class")
    weakest = sorted(result.per_class, key=lambda item: item.accuracy)[:MOST_BARS]
    best = max(result.per_class, key=lambda item: item.accuracy)
    show_figure(
        per_class_bars(weakest, overall=result.accuracy, dark=dark(), colour=colour),
        key="per-class",
        buttons=(),
        alt=f"Accuracy by class, from {weakest[0].label} {100 * weakest[0].accuracy:.0f}% to {best.label} "
        f"{100 * best.accuracy:.0f}%",
    )
    left_out = len(result.per_class) - len(weakest)
    shown = f"The {MOST_BARS} weakest of {len(result.per_class)} classes; the CSV file has all. " if left_out else ""
    st.caption(f"{shown}The lines are 95% intervals: smaller differences may be chance.")


def _confusions(reference: CheckpointRef, result: Evaluation) -> None:
    """The matrix, and beside it the images of the chosen cell; without a choice, all mistakes."""
    classes, chosen = reference.card.image_data.classes, []
    for param, key in ((TRUE, TRUE_KEY), (ANSWER, ANSWER_KEY)):
        linked(
            param,
            key,
            lambda text: classes.index(one_of(classes, "class")(text)),
            ANY,
            write=lambda place: None if place == ANY else classes[place],
            of=reference.card.fingerprint,
        )
        chosen.append(None if st.session_state[key] == ANY else int(st.session_state[key]))
    true, answer = chosen
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("#### Confusion matrix")
        show_figure(
            confusion_matrix(result, dark=dark(), clickable=True, chosen=(true, answer)),
            key="confusion",
            buttons=(),
            alt="Confusion matrix: counts of answers for each true class",
            on_click=_take_cell,
        )
        st.caption("Click a cell to see its images.")
    with right:
        found = result.images_of(true, answer)
        st.markdown(f"#### {_title(classes, true, answer)}: {len(found):,}")
        with st.container(horizontal=True, gap="small"):
            for label, key, anything in (("True class", TRUE_KEY, "Any"), ("Answer", ANSWER_KEY, "Any wrong answer")):
                st.selectbox(
                    label,
                    range(ANY, len(classes)),
                    format_func=lambda place, anything=anything: anything if place == ANY else classes[place],
                    key=key,
                    width=170,
                )
        _gallery(reference, result, found)


def _take_cell(cell: tuple[int, int]) -> None:
    """Show the images of the cell that was clicked."""
    st.session_state[TRUE_KEY], st.session_state[ANSWER_KEY] = cell


def _title(classes: Sequence[str], true: int | None, answer: int | None) -> str:
    """`Most confident mistakes`, `cat taken for dog`, `Right answers for cat`, in Markdown."""
    of, given = ("" if place is None else escape_markdown(classes[place]) for place in (true, answer))
    if not of:
        return f"Images taken for {given}" if given else "Most confident mistakes"
    if not given:
        return f"Mistakes on {of}"
    return f"Right answers for {of}" if true == answer else f"{of} taken for {given}"


def _gallery(reference: CheckpointRef, result: Evaluation, found: Sequence[ImageAnswer]) -> None:
    """found: what to show, most confident first."""
    name = reference.card.dataset.name
    try:
        if not dataset_status(name).ready:
            st.caption("The images are not on this machine any more.")
            return
        now = dataset(name)
    except LabError as error:
        show_error(error)
        return
    if not found:
        st.caption("There are none.")
        return
    if not same_images(result, now):
        st.caption("The dataset has changed since, so these images cannot be shown: evaluate the checkpoint again.")
        if not tasks.watch(task_key(reference)):
            _evaluate_button(reference, "Evaluate again", kind="secondary")
        return
    shown = st.session_state.get(SHOWN, (None, GALLERY))
    cell = (reference.card.fingerprint, st.session_state[TRUE_KEY], st.session_state[ANSWER_KEY])
    most = shown[1] if shown[0] == cell else GALLERY
    with st.container(horizontal=True, gap="small"):
        for item in found[:most]:
            with st.container(width=IMAGE_PX + 4, gap="xxsmall"):
                _one_image(reference, now, item)
    if most < len(found):
        st.button("Show more", key="more-images", on_click=_more, args=(cell, most + GALLERY))


def _one_image(reference: CheckpointRef, now: ImageDataset, item: ImageAnswer) -> None:
    named = PurePosixPath(item.file).name or f"Image {item.index}"
    show_image(
        preview(now.test.images[item.index], 2 * IMAGE_PX),
        width=IMAGE_PX,
        alt=f"{item.file or f'Test image {item.index}'}: {item.true}, taken for {item.predicted}",
    )
    st.caption(
        f"{escape_markdown(item.true)} → {escape_markdown(item.predicted)} {percent(item.confidence)}  \n"
        f"{escape_markdown(shorten(named, NAME_CHARACTERS))}"
    )
    page_link(
        "attribution", "Why?", help=item.file or None, view="Explain", checkpoint=reference.name, image=str(item.index)
    )


def _more(cell: tuple[str, int, int], count: int) -> None:
    st.session_state[SHOWN] = cell, count


def _how_it_works() -> None:
    with st.expander("How this works", icon=":material/school:"):
        st.markdown(
            "**Interval.** An accuracy measured on $n$ images is an estimate; the 95% interval is Wilson's "
            "([1927](https://doi.org/10.1080/01621459.1927.10502953)). It covers the choice of images, not the spread "
            "over seeds: a difference inside either is no difference.\n\n"
            "**Calibration.** Answers are put into 15 bins by stated probability; the expected calibration error is "
            "$\\mathrm{ECE} = \\sum_b \\frac{n_b}{n} \\, |\\mathrm{acc}_b - \\mathrm{conf}_b|$ "
            "([Guo et al. 2017](https://arxiv.org/abs/1706.04599)).\n\n"
            "**Test images** are for this report only, with one exception: where a network trained on all other images, half "
            "of them set its calibration, and the other half measures it."
        )
