"""The kind of run that keeps a checkpoint changed by hand."""

from __future__ import annotations

from core.convolution.config import EditConfig
from core.jobs.kind import Facts, JobKind
from core.training.snapshots import title_checkpoints

EDIT = JobKind(
    name="edit",
    entry="core.convolution.edits:run_edit",
    read_config=EditConfig.from_dict,
    title=lambda config: config.title,
    facts=lambda config: Facts(model=config.model, dataset=config.dataset),
    page=lambda run: ("convolution", {"view": "Change it", "checkpoint": run.id}),
    group=lambda run: "Changed by hand",
    summary=lambda config: config.words,
    look=lambda run: f"Use it: python -m core classify IMAGE --checkpoint {run.id}",
    rename=title_checkpoints,
)
KINDS = (EDIT,)
