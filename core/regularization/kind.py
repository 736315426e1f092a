"""The kinds of jobs of a study and of the runs within one."""

from __future__ import annotations

from typing import Any

from core.jobs.kind import JobKind
from core.jobs.run import Run
from core.models import MODELS
from core.regularization.study import StudyConfig
from core.training.config import TrainConfig
from core.training.kind import FIGURES, facts, out_of_memory
from core.training.snapshots import title_checkpoints


def _summary(config: StudyConfig) -> str:
    """What it compares with no regularization."""
    return ", ".join(arm.title for arm in config.parsed() if arm.names)


def _columns(run: Run) -> dict[str, Any]:
    return {"runs_done": run.parts_done, "compares": " ".join(run.config.arms)}


STUDY = JobKind(
    name="study",
    entry="core.regularization.job:run_study",
    read_config=StudyConfig.from_dict,
    title=lambda config: f"{MODELS[config.model].title}, {config.recipe}",
    facts=facts,
    parts=lambda config: config.runs,
    part_name="runs",
    keeps_parts=True,
    page=lambda run: ("regularization", {"view": "Studies", "study": run.id}),
    group=lambda run: "Studies",
    summary=_summary,
    columns=_columns,
    report_key="study",
    report_config=lambda config: config.base().to_dict(),
    look=lambda run: f"Look at it: python -m core study show {run.id}",
    figures_command="study show {id} --json",
    after_finish="start a new one, or add arms or seeds to it",
    out_of_memory=lambda config: out_of_memory(config.base()),
)
MEMBER = JobKind(
    name="member",
    entry="core.regularization.member:run_member",
    read_config=TrainConfig.from_dict,
    facts=facts,
    figures=FIGURES,
    out_of_memory=out_of_memory,
    rename=title_checkpoints,
)
"""A training within a study."""
KINDS = (STUDY, MEMBER)
