"""The kind of job that makes a gallery."""

from __future__ import annotations

from core.common.values import plural
from core.features.config import GalleryConfig
from core.jobs.kind import Facts, JobKind
from core.models import MODELS

GALLERY = JobKind(
    name="features",
    entry="core.features.job:run_gallery",
    read_config=GalleryConfig.from_dict,
    title=lambda config: f"{MODELS[config.model].title}, {config.layer}",
    facts=lambda config: Facts(model=config.model, dataset=config.dataset),
    parts=lambda config: len(config.channels),
    part_name="channels",
    keeps_parts=True,
    page=lambda run: ("features", {"view": "Galleries", "gallery": run.id}),
    group=lambda run: "Feature galleries",
    summary=lambda config: f"{plural(len(config.channels), 'channel')} of {config.layer}",
    look=lambda run: f"Look at it: python -m core features show {run.id}",
    figures_command="features show {id} --json",
)
KINDS = (GALLERY,)
