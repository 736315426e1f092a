"""The kind of job that measures a grid."""

from __future__ import annotations

from core.checkpoints.store import network_title
from core.common.values import plural
from core.hardware.config import HardwareConfig
from core.jobs.kind import Facts, JobKind

HARDWARE = JobKind(
    name="hardware",
    entry="core.hardware.job:run_hardware",
    read_config=HardwareConfig.from_dict,
    keeps_parts=True,
    title=lambda config: f"Hardware: {network_title(config.checkpoint, config.model)}",
    facts=lambda config: Facts(model=config.model, dataset=config.dataset, device=config.devices[0]),
    parts=lambda config: config.parts,
    part_name="cells",
    page=lambda run: ("hardware", {"view": "Grids", "grid": run.id}),
    group=lambda run: "Hardware grids",
    summary=lambda config: f"{plural(len(config.setups), 'cell')} on {', '.join(config.devices)}",
    look=lambda run: f"Look at it: python -m core hardware show {run.id}",
    figures_command="hardware show {id} --json",
)
KINDS = (HARDWARE,)
