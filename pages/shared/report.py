"""The button that saves what a page says as one HTML file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from core.checkpoints.store import Checkpoint, CheckpointRef, version_words
from core.common.report import Report
from pages.shared.copy_link import shared_address
from pages.shared.elements import download
from pages.shared.tables import file_stem


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


def made_here(reference: CheckpointRef | Checkpoint) -> dict[str, str]:
    """How an answer of a checkpoint was made: by which one, and with what."""
    return {
        "checkpoint": f"{reference.card.title} ({reference.name})",
        "weights": reference.card.weights_sha256,
        "versions": version_words(),
    }
