"""Answers and evaluations of a classifier as one file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.checkpoints.store import Card, CheckpointRef
from core.common.commands import command_line
from core.common.pixels import enlarge
from core.common.report import Chart, Image, Paragraph, Report, Table
from core.common.theme import colour_of
from core.images.figures import percent, top_bars
from core.images.figures_evaluation import confusion_matrix, per_class_bars, reliability
from pages.images.warning import missed
from pages.shared.image_view import DecodedUpload
from pages.shared.report import image_file, made_here
from pages.shared.text import escape_markdown
from pages.shared.upload_box import InputImage

if TYPE_CHECKING:
    from core.inference.evaluation import Evaluation
    from core.inference.images import Prediction

IMAGE_PX = 224


def answer_report(
    image: InputImage,
    seen: DecodedUpload,
    reference: CheckpointRef,
    prediction: Prediction,
    *,
    words: str,
    calibrated: bool,
) -> Report:
    """What a checkpoint says of one image. words: how far its probability may be trusted, in Markdown."""
    label, probability = prediction.top[0]
    doubt = " Probably none of its classes." if prediction.likely_none_of_these else ""
    colour = reference.card.model
    side = seen.pixels.shape[0]
    name, save = image_file(image)
    truth = {"test set says": image.label} if image.label else {}
    return Report(
        title=f"What is in {image.title}? {reference.label}",
        answer=f"**{escape_markdown(label)} · {percent(probability)}.**{doubt}",
        blocks=[
            Image(draw=lambda dark: seen.preview, alt=image.title, width=IMAGE_PX),
            Image(
                draw=lambda dark: enlarge(seen.pixels, IMAGE_PX),
                alt=f"The same image as {side} by {side} pixels, as the model sees it",
                width=IMAGE_PX,
            ),
            Paragraph(text=words),
            Chart(
                draw=lambda dark: top_bars(
                    prediction.top, dark=dark, colour=colour_of(colour, dark=dark), calibrated=calibrated
                ),
                alt="Most likely classes",
            ),
            *save,
        ],
        command=command_line("classify", name, checkpoint=reference.name, square=image.square),
        made={"image": image.title, "square": str(image.square or "")} | truth | made_here(reference),
    )


def evaluation_report(reference: CheckpointRef, result: Evaluation) -> Report:
    """What a checkpoint gets right of its dataset."""
    low, high = result.interval
    colour = reference.card.model
    rows = sorted(result.per_class, key=lambda item: item.accuracy, reverse=True)
    return Report(
        title=f"How good is {reference.label} on {reference.card.dataset.title}?",
        answer=f"**{100 * result.accuracy:.1f}% of {result.n:,} test images right**, 95% interval {100 * low:.1f} to "
        f"{100 * high:.1f}%.",
        blocks=[
            Paragraph(
                text=f"Loss {result.loss_nats:.3f} nats; calibration error {100 * result.ece:.1f}%. "
                f"{measured_on(reference.card, result)}"
            ),
            Chart(
                draw=lambda dark: per_class_bars(
                    result.per_class, overall=result.accuracy, dark=dark, colour=colour_of(colour, dark=dark)
                ),
                alt="Accuracy by class with 95% intervals",
            ),
            Chart(draw=lambda dark: confusion_matrix(result, dark=dark), alt="Confusion matrix"),
            Chart(
                draw=lambda dark: reliability(
                    result.calibration, ece=result.ece, dark=dark, colour=colour_of(colour, dark=dark)
                ),
                alt="Reliability diagram",
            ),
            Table(
                columns={
                    "Class": [escape_markdown(item.label) for item in rows],
                    "Images": [f"{item.n:,}" for item in rows],
                    "Accuracy": [percent(item.accuracy) for item in rows],
                    "95% interval": [f"{percent(item.low)} to {percent(item.high)}" for item in rows],
                }
            ),
        ],
        command=command_line("evaluate", checkpoint=reference.name),
        made={"test-time augmentation": result.tta} | made_here(reference),
    )


def measured_on(card: Card, result: Evaluation) -> str:
    """How an evaluation was made, where that changes how its figures are read."""
    from core.inference.evaluation import has_other_test_images

    counted = sum(item.n for item in result.calibration)
    said = [tta_words(result.tta)]
    if has_other_test_images(card, result.n):
        said.append("The test set has changed since: loss and calibration may count images it was calibrated on.")
    elif counted != result.n:
        said.append(f"Loss and calibration are of the {counted:,} images it was not calibrated on.")
    if card.calibration.energy_threshold is not None:
        share = f"{100 * result.flagged:.1f}% of {counted:,} images"
        said.append(f"The none-of-these warning flags {share}, all of them false alarms.")
        if pass_without := missed(card):
            said.append(f"It lets {pass_without} pass.")
    return " ".join(filter(None, said))


def tta_words(tta: str) -> str:
    """A sentence on the views of an image, where there are several."""
    return f"With test-time augmentation ({tta})." if tta != "none" else ""
