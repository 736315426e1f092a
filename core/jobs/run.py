"""A run as readers see it: what was asked for (`config.json`) and how far it is (`status.json`), in plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from core.common.errors import LabError
from core.common.values import finite
from core.jobs.kind import UNREADABLE, Facts, JobKind, find_kind

ACTIVE = ("queued", "running", "stopping")
"""States in which a run is in the engine's hands."""
STATUSES = (*ACTIVE, "stopped", "finished", "failed", "lost")

SILENT_AFTER_S = 60.0
"""A worker writes its status twice a second; only one long step or evaluation, or a hang, keeps it from that for so long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run, read from its folder at one moment."""

    id: str
    name: str
    """For people; may be changed."""
    kind: str
    """Name of its JobKind."""
    config: Any
    """What it is to do, in its kind's own type; None where that cannot be read."""
    status: str
    """One of STATUSES. `lost`: its worker ended unexpectedly. `stopping`: it was asked to stop and has not yet."""
    message: str = ""
    """One sentence for people; empty while all is well."""
    step: int = 0
    """Optimizer steps done."""
    total_steps: int = 0
    """0 while not known."""
    parts_done: int = 0
    """Of a kind that counts parts: how many are over."""
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
    figures: dict[str, float] = field(default_factory=dict)
    """Numbers that its job reported, of those that its kind names: best_val_accuracy (0..1), last_val_loss_nats, …"""
    device: str = ""
    threads: int | None = None
    """CPU threads of the worker; the same again on resume, because sums depend on it."""
    torch_version: str = ""
    code_version: str = ""
    peak_memory_bytes: int | None = None
    """Of the device on a GPU, of the process elsewhere."""
    user: str = ""
    """Who started it last, as core.jobs.quota tells users apart; empty for a terminal."""
    handed_over: bool = False
    """Whether a cluster has it in hand while it is queued."""
    queue_position: int | None = None
    """1 = next; None unless queued."""
    seconds_left: float | None = None
    saved_step: int | None = None
    """Step of the saved training state, or of the kept parts, that a resume goes on from; None if there is none."""
    resumable: bool = False
    has_checkpoint: bool = False
    stage: str = ""
    """What its worker is doing, in words: `training`, `download cifar10 (12.3 MB/s, 1:05 left), 43%`, …"""
    stage_fraction: float | None = None
    settled: bool = True
    """False: its worker ended unexpectedly, and no engine has recorded that yet."""

    @property
    def job_kind(self) -> JobKind:
        """What its room declares of its kind; UNREADABLE where nothing can be said of it."""
        return UNREADABLE if self.config is None else find_kind(self.kind)

    @property
    def facts(self) -> Facts:
        """Model, dataset, recipe and device, as far as its kind has them."""
        return self.job_kind.facts(self.config)

    @property
    def task(self) -> str:
        """`images` or `text`; empty for kinds without a model."""
        return self.facts.task

    @property
    def parts(self) -> int:
        """How many parts its kind counts: `parts_done` of them are over; 0 where it only counts steps."""
        return self.job_kind.parts(self.config)

    @property
    def part_name(self) -> str:
        return self.job_kind.part_name

    @property
    def keeps_work(self) -> bool:
        """Whether a resume has something to go on from: a saved training state, or finished parts."""
        return bool(self.saved_step or (self.job_kind.keeps_parts and self.parts_done))

    def figure(self, name: str) -> float | None:
        """A number that its job reported; None while there is none."""
        return self.figures.get(name)

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


UNREADABLE_CONFIG = (LabError, TypeError, ValueError, KeyError)
"""What reading a damaged configuration may raise; a room of LAB_ROOMS must not take the list of all runs down."""


def read_config(kind: Any, values: Any) -> tuple[Any, str]:
    """The configuration of a run and an empty string; or what can be shown of it, or None, and why it cannot run."""
    try:
        read = find_kind(kind).read_config
    except LabError as error:
        return None, str(error)
    problem = "Its configuration is damaged: delete the run and start it again."
    valid: dict[str, Any] = {}
    if isinstance(values, dict):
        try:
            return read(values), ""
        except UNREADABLE_CONFIG as error:
            problem = str(error) if isinstance(error, LabError) else f"Its configuration is damaged: {error}."
        for key, value in values.items():
            try:
                read(valid | {key: value})
                valid[key] = value
            except UNREADABLE_CONFIG:
                continue
    try:
        return read(valid), problem
    except UNREADABLE_CONFIG:  # a recipe is nothing without its steps
        return None, problem


def number(values: dict[str, Any], name: str) -> Any:
    """A finite number of a status, or None: the file may have been edited or damaged."""
    value = values.get(name)
    return value if value is not None and finite(value) else None


def moment(values: dict[str, Any], name: str) -> datetime | None:
    """A time of a status, stored as seconds since 1970."""
    try:
        return datetime.fromtimestamp(number(values, name), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
