"""The kind of job that scores attribution methods over many test images."""

from __future__ import annotations

from typing import Any

from core.attribution.config import ScoresConfig
from core.attribution.methods.registry import METHODS
from core.common.values import plural
from core.data import dataset_title
from core.jobs.kind import Facts, JobKind
from core.jobs.run import Run
from core.models import MODELS


def _title(config: ScoresConfig) -> str:
    model = MODELS[config.model].title if config.model in MODELS else config.checkpoint
    return f"Scores: {model} on {dataset_title(config.dataset)}"


def _summary(config: ScoresConfig) -> str:
    """Which methods it scores."""
    titles = [METHODS[name].title for name in config.methods]
    return ", ".join(titles) if len(titles) <= 3 else plural(len(titles), "method")


def _columns(run: Run) -> dict[str, Any]:
    return {
        "checkpoint": run.config.checkpoint,
        "does": " ".join(run.config.methods),
        "images_done": run.parts_done,
        "seed": run.config.seed,
    }


SCORES = JobKind(
    name="scores",
    entry="core.attribution.job:run_scores",
    read_config=ScoresConfig.from_dict,
    title=_title,
    facts=lambda config: Facts(model=config.model, dataset=config.dataset, device=config.device),
    parts=lambda config: config.images,
    part_name="images",
    keeps_parts=True,
    page=lambda run: ("attribution", {"view": "Scores", "checkpoint": run.config.checkpoint, "report": run.id}),
    group=lambda run: "Scores",
    summary=_summary,
    columns=_columns,
    look=lambda run: f"Look at it: python -m core explain show {run.id}",
    figures_command="explain show {id} --json",
    after_finish="start a new one, with more images or other methods",
)
KINDS = (SCORES,)
