"""The kind of job that measures checkpoints on corrupted images."""

from __future__ import annotations

from core.common.values import plural
from core.data import dataset_title
from core.jobs.kind import Facts, JobKind
from core.models import MODELS
from core.shift.config import ShiftConfig


def _title(config: ShiftConfig) -> str:
    more = f" and {len(config.checkpoints) - 1} more" if len(config.checkpoints) > 1 else ""
    return f"Shift: {MODELS[config.model].title}{more} on {dataset_title(config.dataset)}"


SHIFT = JobKind(
    name="shift",
    entry="core.shift.job:run_shift",
    read_config=ShiftConfig.from_dict,
    keeps_parts=True,
    title=_title,
    facts=lambda config: Facts(model=config.model, dataset=config.dataset),
    parts=lambda config: 1 + len(config.corruptions),
    part_name="corruptions",
    page=lambda run: ("shift", {"view": "Measurements", "measurement": run.id}),
    group=lambda run: "Shift measurements",
    summary=lambda config: (
        f"{plural(len(config.checkpoints), 'checkpoint')}, {plural(len(config.corruptions), 'corruption')}"
    ),
    look=lambda run: f"Look at it: python -m core shift show {run.id}",
    figures_command="shift show {id} --json",
)
KINDS = (SHIFT,)
