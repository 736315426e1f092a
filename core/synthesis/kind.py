"""The kind of job that makes a set of images and measures it."""

from __future__ import annotations

from core.jobs.kind import Facts, JobKind
from core.models import MODELS
from core.synthesis.config import SynthesisConfig

PART_IMAGES = 200
"""Images that are kept together."""


def parts(config: SynthesisConfig) -> int:
    return -(-config.images // PART_IMAGES)


SYNTHESIS = JobKind(
    name="synthesis",
    entry="core.synthesis.job:run_synthesis",
    read_config=SynthesisConfig.from_dict,
    keeps_parts=True,
    title=lambda config: f"{config.images:,} images of {MODELS[config.model].title}",
    facts=lambda config: Facts(model=config.model, dataset=config.dataset),
    parts=parts,
    part_name="parts",
    page=lambda run: ("synthesis", {"view": "Sets", "set": run.id}),
    group=lambda run: "Generated images",
    summary=lambda config: f"guidance {config.guidance:g}, {config.steps} steps",
    look=lambda run: f"Look at it: python -m core synthesize show {run.id}",
    figures_command="synthesize show {id} --json",
)
KINDS = (SYNTHESIS,)
