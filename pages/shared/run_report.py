"""A training run as one file."""

from __future__ import annotations

from typing import Any

from core.common.report import Chart, Report, Table
from core.jobs import Run
from core.training.cli import command_of
from core.training.figures import accuracy_curves, loss_curves, text_loss_curves
from pages.shared.resources import store
from pages.shared.text import duration, escape_markdown


def run_report(run: Run, answer: str) -> Report:
    """answer: what the page says of it; may be empty."""
    rows = store().metrics(run.id)
    shown: dict[str, Any] = {"revision": run.id, "epochs": run.config.epochs}
    if run.task == "text":
        charts = [Chart(draw=lambda dark: text_loss_curves(rows, dark=dark, **shown), alt="Loss over epochs")]
    else:
        charts = [
            Chart(draw=lambda dark: accuracy_curves(rows, dark=dark, **shown), alt="Accuracy over epochs"),
            Chart(draw=lambda dark: loss_curves(rows, dark=dark, **shown), alt="Loss over epochs"),
        ]
    settings = run.config.to_dict()
    table = Table(columns={"Setting": list(settings), "Value": [escape_markdown(value) for value in settings.values()]})
    return Report(
        title=run.name,
        answer=f"**{answer or 'Not measured yet.'}**",
        blocks=[*charts, table],
        command=command_of(run.config),
        made={
            "run": run.id,
            "time": duration(run.seconds),
            "device": f"{run.device}, {run.threads} threads",
            "versions": f"bottleneck_lab {run.code_version}, torch {run.torch_version}",
        },
    )
