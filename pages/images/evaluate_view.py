"""Images / Evaluate: one checkpoint on the test images, with intervals, and where it fails."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from core.checkpoints.store import CheckpointRef
from core.common.errors import LabError
from core.common.pixels import enlarge
from core.common.theme import colour_of
from core.data import DATASETS, dataset_status
from core.images.figures import percent
from core.images.figures_evaluation import confusion_matrix, per_class_bars, reliability
from core.inference.evaluation_store import CardAccuracy, card_accuracy, has_evaluation, kept_evaluation
from pages.images.evaluate_task import evaluation_work, same_images, task_key
from pages.images.report import evaluation_report, measured_on, tta_words
from pages.shared import tasks
from pages.shared.checkpoint_picker import UNCALIBRATED, checkpoint_picker, describe
from pages.shared.dataset_fetch import dataset_or_offer
from pages.shared.downloads import downloads
from pages.shared.elements import show_figure, show_image
from pages.shared.resources import dark, dataset
from pages.shared.text import NATS, duration, escape_markdown, show_error
from pages.shared.warmup import until_ready

if TYPE_CHECKING:
    from core.inference.evaluation import Evaluation

GALLERY = 12


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
            st.caption(UNCALIBRATED)
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
    work = evaluation_work(reference)
    tasks.start_button(label, key, work, button="evaluate", type="primary", icon=":material/fact_check:")


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
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("#### Accuracy by class")
        figure = per_class_bars(result.per_class, overall=result.accuracy, dark=dark(), colour=colour)
        best, worst = (choose(result.per_class, key=lambda item: item.accuracy) for choose in (max, min))
        show_figure(
            figure,
            key="per-class",
            buttons=(),
            alt=f"Accuracy by class, from {worst.label} {100 * worst.accuracy:.0f}% to {best.label} {100 * best.accuracy:.0f}%",
        )
        st.caption("The lines are 95% intervals: with so many images of each class, smaller differences mean nothing.")
    with right:
        st.markdown("#### Confusion matrix")
        show_figure(
            confusion_matrix(result, dark=dark()),
            key="confusion",
            buttons=(),
            alt="Confusion matrix: counts of answers for each true class",
        )
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("#### Does 70% mean 70%?")
        show_figure(
            reliability(result.calibration, ece=result.ece, dark=dark(), colour=colour),
            key="reliability",
            buttons=(),
            alt=f"Reliability diagram; expected calibration error {100 * result.ece:.1f}%",
        )
        uncalibrated = "" if reference.card.calibration.images else "The probabilities are uncalibrated. "
        st.caption(
            f"{uncalibrated}Larger dots hold more images; the lines are 95% intervals. Under the diagonal the checkpoint is "
            "too sure of itself."
        )
    with right:
        st.markdown("#### Most confident mistakes")
        st.caption("What the test set says → what the checkpoint says. A few of a test set's own labels are wrong.")
        _gallery(reference, result)


def _gallery(reference: CheckpointRef, result: Evaluation) -> None:
    name = reference.card.dataset.name
    try:
        if not dataset_status(name).ready:
            st.caption("The images are not on this machine any more.")
            return
        now = dataset(name)
    except LabError as error:
        show_error(error)
        return
    if not result.mistakes:
        st.caption("None: every answer was right.")
        return
    if not same_images(result, now):
        st.caption("The dataset has changed since: its images are not those of these mistakes any more.")
        return
    shown = st.session_state.get("mistakes-shown", GALLERY)
    with st.container(horizontal=True, gap="small"):
        for mistake in result.mistakes[:shown]:
            with st.container(width=100, gap="xxsmall"):
                show_image(
                    enlarge(now.test.images[mistake.index], 96),
                    width=96,
                    alt=f"Test image {mistake.index}: {mistake.true}, taken for {mistake.predicted}",
                )
                st.caption(
                    f"{escape_markdown(mistake.true)} → {escape_markdown(mistake.predicted)} {percent(mistake.confidence)}"
                )
    if shown < len(result.mistakes):
        st.button("Show more", key="more-mistakes", on_click=_more, args=(shown + GALLERY,))


def _more(count: int) -> None:
    st.session_state["mistakes-shown"] = count


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
