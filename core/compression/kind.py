"""The kind of job that runs a compression recipe."""

from __future__ import annotations

from typing import Any

from core.checkpoints.store import network_title
from core.compression.recipe import PRESETS, CompressConfig
from core.jobs.kind import JobKind
from core.jobs.run import Run
from core.training.kind import facts
from core.training.snapshots import title_checkpoints


def _title(config: CompressConfig) -> str:
    recipe = PRESETS[config.recipe].title if config.recipe in PRESETS else "own recipe"
    return f"{network_title(config.checkpoint, config.model)}, {recipe}"


def _summary(config: CompressConfig) -> str:
    """What it does to the checkpoint."""
    return ", ".join(step.words for step in config.parsed())


def _columns(run: Run) -> dict[str, Any]:
    return {
        "checkpoint": run.config.checkpoint,
        "does": _summary(run.config),
        "variants_done": run.parts_done,
        "seed": run.config.seed,
    }


COMPRESS = JobKind(
    name="compress",
    entry="core.compression.job:run_compression",
    read_config=CompressConfig.from_dict,
    title=_title,
    facts=facts,
    parts=lambda config: len(config.variants()),
    part_name="variants",
    keeps_parts=True,
    page=lambda run: ("compression", {"view": "Results", "recipe": run.id}),
    group=lambda run: "Compression",
    summary=_summary,
    live=lambda run: [f"variant {min(run.parts_done + 1, run.parts)} of {run.parts}"],
    time_left="left of this step",
    columns=_columns,
    report_key="compression",
    report_config=lambda config: config.base().to_dict(),
    look=lambda run: f"Look at it: python -m core compress show {run.id}",
    figures_command="compress show {id} --json",
    after_finish="start a new one, with another recipe",
    out_of_memory=lambda config: (
        "Memory ran out: choose a smaller network or another device, or close other programs, then resume it."
    ),
    rename=title_checkpoints,
)
KINDS = (COMPRESS,)
