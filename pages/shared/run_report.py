"""A training run as one file."""

from __future__ import annotations

import json
from typing import Any

from core.checkpoints.store import Card
from core.common.commands import changed_settings
from core.common.report import Block, Chart, Paragraph, Report, Table
from core.common.values import finite
from core.jobs import Run
from core.training.cli import command_of
from core.training.config import IMAGES_ONLY, TEXT_ONLY
from core.training.figures import accuracy_curves, error_curves, loss_curves, text_loss_curves
from core.training.recipes import NO_MATTER, base_recipe
from pages.shared.resources import store
from pages.shared.text import VALIDATION_PLAIN, duration, escape_markdown
from pages.shared.train_form import labels, value_words

FACTS = ("model", "recipe", "dataset")
"""Settings that the first line names."""


def run_report(run: Run, answer: str, card: Card | None) -> Report:
    """answer: what the page says of it; may be empty. card: of the checkpoint that it keeps."""
    rows = store().metrics(run.id)
    shown: dict[str, Any] = {"revision": run.id, "epochs": run.config.epochs}
    if run.task == "generation":
        charts = [Chart(draw=lambda dark: error_curves(rows, dark=dark, **shown), alt="Error over epochs")]
    elif run.task == "text":
        charts = [Chart(draw=lambda dark: text_loss_curves(rows, dark=dark, **shown), alt="Loss over epochs")]
    else:
        charts = [
            Chart(draw=lambda dark: accuracy_curves(rows, dark=dark, **shown), alt="Accuracy over epochs"),
            Chart(draw=lambda dark: loss_curves(rows, dark=dark, **shown), alt="Loss over epochs"),
        ]
    notes = " ".join(filter(None, (interval_words(run, card) if card else "", augmentation_words(run))))
    return Report(
        title=run.name,
        answer=f"**{answer or 'Not measured yet.'}**",
        blocks=[*([Paragraph(text=notes)] if notes else []), *charts, *_settings(run)],
        command=command_of(run.config),
        made={
            "run": run.id,
            "time": duration(run.seconds),
            "device": f"{run.device}, {run.threads} threads",
            "versions": f"bottleneck_lab {run.code_version}, torch {run.torch_version}",
        },
    )


def interval_words(run: Run, card: Card) -> str:
    """The 95% interval of the accuracy that stands for a run; empty where there is none."""
    part, accuracy = "test", run.figure("test_accuracy")
    if accuracy is None:
        part, accuracy = "validation", card.metrics.get("val_accuracy")
    if not finite(accuracy) or (interval := card.interval(accuracy, part)) is None:
        return ""
    low, high = interval
    return f"95% interval {low:.1%} to {high:.1%}, from {card.measured_on(part):,} {part} images."


def augmentation_words(run: Run) -> str:
    """Which accuracies were measured with test-time augmentation, in Markdown; empty where none was."""
    if run.figure("test_accuracy") is None or run.config.tta == "none":
        return ""
    return f"The test accuracy is with test-time augmentation ({escape_markdown(run.config.tta)}). {VALIDATION_PLAIN}"


def _settings(run: Run) -> list[Block]:
    """What differs from the recipe, and all settings folded."""
    config, names = run.config, labels()
    other = IMAGES_ONLY if run.task == "text" else TEXT_ONLY
    blocks: list[Block] = []
    if recipe := base_recipe(config):
        its = recipe.to_dict()
        changed = [
            name for name in changed_settings(config, recipe) if name not in (*FACTS, *NO_MATTER) and name in names
        ]
        blocks.append(
            Paragraph(
                text="Settings that differ from the recipe:" if changed else "All settings are those of the recipe."
            )
        )
        if changed:
            mine = config.to_dict()
            blocks.append(
                Table(
                    columns={
                        "Setting": [names[name] for name in changed],
                        "This run": [_written(mine[name]) for name in changed],
                        "Recipe": [_written(its[name]) for name in changed],
                    }
                )
            )
    values = {name: value for name, value in config.to_dict().items() if name not in other}
    columns = {"Setting": [names[name] for name in values], "Value": [_written(value) for value in values.values()]}
    return [*blocks, Table(columns=columns, fold=f"All {len(values)} settings")]


def _written(value: object) -> str:
    return escape_markdown(json.dumps(value) if isinstance(value, dict) else value_words(value))
