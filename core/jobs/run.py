"""A run as readers see it: what was asked for (`config.json`) and how far it is (`status.json`), in plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from core.common.errors import LabError
from core.common.settings import Settings
from core.common.values import finite
from core.compression.recipe import CompressConfig
from core.models import MODELS
from core.regularization.study import StudyConfig
from core.training.config import TrainConfig

ACTIVE = ("queued", "running", "stopping")
"""States in which a run is in the engine's hands."""
STATUSES = (*ACTIVE, "stopped", "finished", "failed", "lost")

SILENT_AFTER_S = 60.0
"""A worker writes its status twice a second; only one long step or evaluation, or a hang, keeps it from that for so long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A kind of run: how its configuration is read, and which function does the work in the worker."""

    read_config: Callable[[dict[str, Any]], Any]
    job: str
    """`module:function`, imported by the worker only: it may need torch."""


TRAIN, STUDY, MEMBER, COMPRESS = "train", "study", "member", "compress"

KINDS: dict[str, Kind] = {
    TRAIN: Kind(read_config=TrainConfig.from_dict, job="core.training.job:run_training"),
    STUDY: Kind(read_config=StudyConfig.from_dict, job="core.regularization.job:run_study"),
    COMPRESS: Kind(read_config=CompressConfig.from_dict, job="core.compression.job:run_compression"),
    MEMBER: Kind(read_config=TrainConfig.from_dict, job="core.regularization.member:run_member"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run, read from its folder at one moment."""

    id: str
    name: str
    """For people; may be changed."""
    kind: str
    """A key of KINDS."""
    config: TrainConfig
    """Of a study: of its baseline; of a recipe: what lists show of it."""
    status: str
    """One of STATUSES. `lost`: its worker ended without a word. `stopping`: it was asked to stop and has not yet."""
    message: str = ""
    """One sentence for people; empty while all is well."""
    step: int = 0
    """Optimizer steps done."""
    total_steps: int = 0
    """0 while not known."""
    epoch: float = 0.0
    created: datetime | None = None
    """When it was asked for; UTC, like all times here."""
    started: datetime | None = None
    """When its worker first started."""
    ended: datetime | None = None
    heartbeat: datetime | None = None
    """Last sign of life of its worker."""
    seconds: float = 0.0
    """Time spent training and evaluating, over all resumes."""
    examples_per_s: float | None = None
    """Training images or characters a second: of the last seconds while it runs, the mean without evaluations afterwards."""
    best_val_accuracy: float | None = None
    last_val_accuracy: float | None = None
    best_val_loss_nats: float | None = None
    """Validation loss of the best checkpoint: the least one for text, that of the best accuracy for pictures."""
    last_val_loss_nats: float | None = None
    last_train_loss_nats: float | None = None
    test_accuracy: float | None = None
    """0..1, of the best checkpoint; measured once, at the end."""
    device: str = ""
    threads: int | None = None
    """CPU threads of the worker; the same again on resume, because sums depend on it."""
    torch_version: str = ""
    code_version: str = ""
    peak_memory_bytes: int | None = None
    """Of the device on a GPU, of the process elsewhere."""
    queue_position: int | None = None
    """1 = next; None unless queued."""
    seconds_left: float | None = None
    saved_step: int | None = None
    """Step of the saved training state that a resume goes on from; None if there is none."""
    resumable: bool = False
    has_checkpoint: bool = False
    stage: str = ""
    """What its worker is doing, in words: `training`, `download cifar10 (43%)`, …"""
    stage_fraction: float | None = None
    study: StudyConfig | None = None
    """What a study compares; None for other kinds."""
    compression: CompressConfig | None = None
    """What a recipe does to a checkpoint; None for other kinds."""
    members_done: int = 0
    """Of a study: how many of its runs are over; of a recipe: how many variants are made and measured."""
    settled: bool = True
    """False: its worker ended without a word, and no engine has written that down yet."""

    @property
    def task(self) -> str:
        """`images` or `text`."""
        return MODELS[self.config.model].task if self.config.model in MODELS else "images"

    @property
    def parts(self) -> int:
        """How many runs a study has, or variants a recipe: `members_done` counts them; 0 for a training."""
        if self.compression is not None:
            return len(self.compression.variants())
        return self.study.runs if self.study is not None else 0

    @property
    def part_name(self) -> str:
        """What its parts are called: `runs` or `variants`."""
        return "runs" if self.compression is None else "variants"

    @property
    def unit(self) -> str:
        """What it counts when it says how fast it is: `images` or `characters`."""
        return "characters" if self.task == "text" else "images"

    @property
    def active(self) -> bool:
        """Whether it is queued or has a living worker."""
        return self.status in ACTIVE

    @property
    def silent_s(self) -> float | None:
        """Seconds since the last sign of life of a worker that is alive, once they are too many; None while all is well."""
        if self.status not in ("running", "stopping") or self.heartbeat is None:
            return None
        silent_s = (datetime.now(UTC) - self.heartbeat).total_seconds()
        return silent_s if silent_s > SILENT_AFTER_S else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; times as ISO 8601."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        values |= {key: value.to_dict() for key, value in values.items() if isinstance(value, Settings)}
        return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in values.items()}


def read_config(kind: Any, values: Any) -> tuple[Any, str]:
    """The configuration of a run and an empty string; or what can be shown of it, and why it cannot run."""
    if kind not in KINDS:
        return (
            TrainConfig(),
            f"This version does not know runs of the kind {str(kind)[:60]!r}: update it, or delete the run.",
        )
    if not isinstance(values, dict):
        return TrainConfig(), "Its configuration is damaged: delete the run and start it again."
    try:
        return KINDS[kind].read_config(values), ""
    except (LabError, TypeError) as error:
        problem = str(error) if isinstance(error, LabError) else f"Its configuration is damaged: {error}."
    valid: dict[str, Any] = {}
    for key, value in values.items():
        try:
            KINDS[kind].read_config(valid | {key: value})
            valid[key] = value
        except (LabError, TypeError):
            continue
    try:
        return KINDS[kind].read_config(valid), problem
    except (LabError, TypeError):  # a recipe is nothing without its steps
        return TrainConfig(), problem


def number(values: dict[str, Any], name: str) -> Any:
    """A finite number of a status, or None: the file may have been edited or damaged."""
    value = values.get(name)
    return value if finite(value) else None


def moment(values: dict[str, Any], name: str) -> datetime | None:
    """A time of a status, stored as seconds since 1970."""
    try:
        return datetime.fromtimestamp(number(values, name), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
