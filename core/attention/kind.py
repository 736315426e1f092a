"""The kinds of runs that measure heads, and that keep a network without some of them."""

from __future__ import annotations

from core.attention.config import HeadsConfig, RemoveHeadsConfig
from core.common.values import plural
from core.jobs.kind import Facts, JobKind
from core.models import MODELS
from core.training.snapshots import title_checkpoints

HEADS = JobKind(
    name="heads",
    entry="core.attention.job:measure_heads",
    read_config=HeadsConfig.from_dict,
    title=lambda config: config.checkpoint,
    facts=lambda config: Facts(model="char_gpt"),  # the architecture that has attention over a text
    keeps_parts=True,
    page=lambda run: ("attention", {"view": "Measurements", "heads": run.id}),
    group=lambda run: "Attention heads",
    done=lambda run: f"window {run.step:,} of {run.total_steps:,}" if run.total_steps else "",
    summary=lambda config: f"{config.characters:,} characters",
    look=lambda run: f"Look at it: python -m core attention worth show {run.id}",
    figures_command="attention worth show {id} --json",
)
REMOVE_HEADS = JobKind(
    name="remove_heads",
    entry="core.attention.removal:run_removal",
    read_config=RemoveHeadsConfig.from_dict,
    title=lambda config: f"{MODELS[config.model].title}, {plural(len(config.heads), 'head')} removed",
    facts=lambda config: Facts(model=config.model, dataset=config.dataset),
    page=lambda run: ("attention", {"view": "Heads", "checkpoint": run.id}),
    group=lambda run: "Heads removed",
    summary=lambda config: config.words,
    rename=title_checkpoints,
)
KINDS = (HEADS, REMOVE_HEADS)
