"""The kind of job that makes a map."""

from __future__ import annotations

from core.augmentation.config import MapConfig
from core.common.values import plural
from core.jobs.kind import Facts, JobKind
from core.models import MODELS

MAP = JobKind(
    name="augmentation",
    entry="core.augmentation.job:run_map",
    read_config=MapConfig.from_dict,
    keeps_parts=True,
    title=lambda config: f"{MODELS[config.model].title}, {plural(len(config.transforms), 'transform')}",
    facts=lambda config: Facts(model=config.model, dataset=config.dataset),
    parts=lambda config: len(config.transforms),
    part_name="transforms",
    page=lambda run: ("augmentation", {"view": "Maps", "map": run.id}),
    group=lambda run: "Augmentation maps",
    summary=lambda config: f"{plural(config.points, 'pipeline')} on {config.images:,} images",
    look=lambda run: f"Look at it: python -m core augment show {run.id}",
    figures_command="augment show {id} --json",
)
KINDS = (MAP,)
