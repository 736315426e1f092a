"""The kind of job that computes a surface."""

from __future__ import annotations

from core.descent.config import SurfaceConfig
from core.jobs.kind import JobKind

SURFACE = JobKind(
    name="surface",
    entry="core.descent.job:run_surface",
    read_config=SurfaceConfig.from_dict,
    title=lambda config: " and ".join(config.checkpoints),
    parts=lambda config: len(config.checkpoints),
    part_name="checkpoints",
    keeps_parts=True,
    page=lambda run: ("descent", {"view": "Surfaces", "surface": run.id}),
    group=lambda run: "Loss surfaces",
    summary=lambda config: f"{config.points}×{config.points} points, {config.images:,} images",
    look=lambda run: f"Look at it: python -m core foundations surface show {run.id}",
    figures_command="foundations surface show {id} --json",
)
KINDS = (SURFACE,)
