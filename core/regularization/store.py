"""A study on disk: the folder of its runs, and what can be read of them at any time. Nothing here imports torch."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from core.checkpoints.store import CARD, MEMBERS
from core.common.errors import LabError
from core.common.results import ResultStore
from core.jobs.run import Run
from core.jobs.store import RunStore
from core.regularization.kind import STUDY
from core.regularization.results import Curve, MemberResult, StudyResult, member_from_dict, waiting
from core.regularization.study import Member, StudyConfig

STUDIES = ResultStore(
    "study",
    Path(__file__).parent / "shipped",
    StudyResult.from_dict,
    part_file="result.json",
    parse_part=member_from_dict,
)
"""The facts of a study are its `classes`, `sizes`, `made`, `extra`, and `data`: checksums. A part is what one of its runs gave,
once it is over."""
EXAMPLE = "example"
"""The study that ships and that the page opens with."""


def member_store(store: RunStore, study_id: str) -> RunStore:
    """The runs of a study. Raises LabError for a study that is not there."""
    return RunStore(store.folder(study_id) / MEMBERS)


def read_study(store: RunStore, study_id: str) -> StudyResult:
    """A study as far as it is. Raises LabError for one that is missing, another kind of run, or unreadable."""
    run = store.get(study_id)
    if run.kind != STUDY.name:
        raise LabError(f"The run {study_id} is not a study: pick one from the list of studies.")
    config: StudyConfig = store.config(study_id)
    members = member_store(store, study_id)
    found = []
    for member in config.members():
        result = _read_member(members, member)
        named = f"{study_id}/{member.id}" if (members.root / member.id / "best" / CARD).is_file() else ""
        found.append(
            dataclasses.replace(
                result,
                variant=member.variant.spec,
                train_size=member.train_size,
                seed=member.seed,
                checkpoint=named,
            )
        )
    facts = STUDIES.read_facts(store.folder(study_id))
    return StudyResult(
        config=config,
        members=tuple(found),
        name=run.name,
        classes=tuple(facts["classes"]),
        sizes=_sizes(facts.get("sizes")),
        made=facts["made"],
        extra=facts["extra"] if isinstance(facts.get("extra"), dict) else {},
    )


def extend_study(store: RunStore, study_id: str, config: StudyConfig) -> None:
    """Give a study more to do; submit it afterwards. Raises LabError while it runs, and for what is another study."""

    def change(old: Any) -> StudyConfig:
        if not isinstance(old, StudyConfig):
            raise LabError(f"The run {study_id} is not a study: pick one from the list of studies.")
        if config.replace(arms=old.arms, train_sizes=old.train_sizes, seeds=old.seeds) != old:
            raise LabError("Only arms, sizes and seeds can be added to a study: start a new one for anything else.")
        return config

    message = "Runs were added: start it again to do them."
    store.reconfigure(study_id, change, message, total_steps=config.runs * config.steps)


def _sizes(values: Any) -> dict[str, int]:
    """Images of each split; empty where that cannot be read."""
    try:
        return {str(key): int(value) for key, value in values.items()}
    except (TypeError, ValueError, AttributeError, OverflowError):
        return {}


def member_result(
    run: Run, rows: list[dict[str, Any]], kept_step: int | None, *, train_size: int, seed: int
) -> MemberResult:
    """A run of a study out of its metrics rows, but for its variant, which the study knows. kept_step: of the weights that
    count; None while it is under way."""
    rows = [row for row in rows if row.get("kind") == "eval"]
    kept = next((row for row in rows if row["step"] == kept_step), None)
    return MemberResult(
        variant="",
        train_size=train_size,
        seed=seed,
        status=run.status,
        message=run.message,
        step=run.step,
        curve=Curve(
            step=tuple(row["step"] for row in rows),
            train_accuracy=tuple(row.get("probe_accuracy") for row in rows),
            val_accuracy=tuple(row.get("val_accuracy") for row in rows),
            train_loss_nats=tuple(row.get("probe_loss_nats") for row in rows),
            val_loss_nats=tuple(row.get("val_loss_nats") for row in rows),
        ),
        kept_step=kept_step,
        train_accuracy=kept.get("probe_accuracy") if kept else None,
        val_accuracy=kept.get("val_accuracy") if kept else None,
        val_loss_nats=kept.get("val_loss_nats") if kept else None,
        seconds=run.seconds,
    )


def _read_member(members: RunStore, member: Member) -> MemberResult:
    folder = members.root / member.id
    result = STUDIES.read_part(folder)
    if result is not None:
        return result
    try:
        run = members.get(member.id)
        rows = members.metrics(member.id) if run.step else []
    except LabError:
        return waiting(member)
    status = {"lost": "stopped", "stopping": "running", "queued": "waiting"}.get(run.status, run.status)
    if status == "stopped" and not run.step:
        return waiting(member)
    found = member_result(run, rows, None, train_size=member.train_size, seed=member.seed)
    return dataclasses.replace(found, status=status)
