"""The button that saves what a page says as one HTML file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from core.checkpoints.store import Checkpoint, CheckpointRef, version_words
from core.common.report import Block, File, Report
from pages.shared.copy_link import shared_address
from pages.shared.elements import download
from pages.shared.tables import file_stem
from pages.shared.upload_box import InputImage


def report_button(build: Callable[[], Report], name: str, *, key: str) -> None:
    """build: makes the report once the button is pressed. name: of the file, without its ending."""
    address = shared_address()

    def data() -> bytes:
        report = build()
        return replace(report, made={**report.made, "page": address.get("now", "")}).html()

    download(
        "Report (HTML)",
        data,
        f"{file_stem(name, 'report')[:120]}.html",
        key=f"report-{key}",
        help="One file with the answer, the figures and the command. It opens in any browser, without a network.",
    )


def image_file(image: InputImage) -> tuple[str, list[Block]]:
    """The file that a command reads, and a block to save it where nobody has it: a drawing, a test image, a photo just taken.

    A person's own file is not put into the report as it is: it may say where a photo was taken.
    """
    if image.file:
        return (f"./{image.title}" if image.title.startswith("-") else image.title), []
    kind = "png" if image.data.startswith(b"\x89PNG") else "jpg"
    name = f"{file_stem(image.title, 'image')}.{kind}"
    text = f"Save {name}, which the command below reads"
    return name, [File(name=name, image=image.data, text=text)]


def made_here(reference: CheckpointRef | Checkpoint) -> dict[str, str]:
    """How an answer of a checkpoint was made: by which one, and with what."""
    return {
        "checkpoint": f"{reference.card.title} ({reference.name})",
        "weights": reference.card.weights_sha256,
        "versions": version_words(),
    }
