"""What a room declares of its jobs: how they are configured, which function does the work, and what lists say of one.

Rooms declare kinds in a light module (`core/training/kind.py`); `core/app.py` names these modules, and `LAB_ROOMS` those of
further rooms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.common.errors import LabError
from core.models import MODELS

if TYPE_CHECKING:
    from core.jobs.run import Run

DEFAULT_KIND = "train"
"""Of a run that is created without naming a kind."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What the spine needs to know of a configuration; empty where a kind has no such thing."""

    model: str = ""
    dataset: str = ""
    recipe: str = ""
    device: str = "auto"
    devices: int = 1
    """Processes that do it together, each with a GPU where there are any."""

    @property
    def task(self) -> str:
        """`images` or `text`."""
        return MODELS[self.model].task if self.model in MODELS else "images" if self.model else ""


def _to_dict(config: Any) -> dict[str, Any]:
    return dict(config.to_dict())


def _no_words(_: Any) -> str:
    return ""


def _done(run: Run) -> str:
    if run.parts:
        return f"{run.part_name} {run.parts_done} of {run.parts}"
    return f"step {run.step:,} of {run.total_steps:,}" if run.total_steps else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobKind:
    """A kind of run. Whatever is not given has a default that fits a job of plain steps."""

    name: str
    """As it stands in `config.json`."""
    entry: str
    """`module:function`, imported by the worker only, so that it may need torch: (config, Job) -> Outcome."""
    read_config: Callable[[dict[str, Any]], Any]
    """Rebuilds a configuration from JSON. Raises LabError or TypeError for one that is not valid."""
    write_config: Callable[[Any], dict[str, Any]] = _to_dict
    title: Callable[[Any], str] = _no_words
    """Name of a run that is given none; empty takes the kind's name."""
    facts: Callable[[Any], Facts] = lambda config: Facts()
    figures: tuple[str, ...] = ()
    """Names of the numbers in the status that the job reports beside its progress: val_accuracy, loss_nats, …"""
    parts: Callable[[Any], int] = lambda config: 0
    """How many parts the job counts as done one by one; 0 where it only counts steps."""
    part_name: str = "parts"
    keeps_parts: bool = False
    """Whether a resume goes on from the results that the run's folder holds. Otherwise it needs a saved training state."""
    page: Callable[[Run], tuple[str, dict[str, str]]] = lambda run: ("runs", {})
    """Name of the page (`runs`, `images`) that shows a run, and the query parameters of a link to it."""
    summary: Callable[[Any], str] = _no_words
    """What it does, in words, for lists of runs; empty where its name says it."""
    group: Callable[[Run], str] = lambda run: run.kind.replace("_", " ").capitalize()
    """Heading under which lists show its runs."""
    best: Callable[[Run], str] = _no_words
    """Its best figure in words; empty while there is none."""
    done: Callable[[Run], str] = _done
    """How far it is: `epoch 3.5 of 10`, `variants 1 of 3`."""
    live: Callable[[Run], list[str]] = lambda run: [text] if (text := _done(run)) else []
    """Beside its share, rate and time left, while it runs."""
    time_left: str = "left"
    """What follows the time left."""
    time_spent: str = "took"
    """What stands before the time that it took."""
    columns: Callable[[Run], dict[str, Any]] = lambda run: {}
    """Plain values that a table of runs holds only of this kind."""
    report_key: str = ""
    """Where `--json` holds the configuration of this kind beside `config`; empty for kinds that need no other place."""
    report_config: Callable[[Any], dict[str, Any]] | None = None
    """What `--json` has as `config`; None for the configuration itself."""
    look: Callable[[Run], str] = lambda run: f"Look at it: python -m core runs {run.id}"
    """What to do with a run that has finished, on the command line."""
    figures_command: str = ""
    """What prints its figures where it has no rows of metrics; `{id}` stands for the run."""
    after_finish: str = "start a new one"
    """What to do instead of resuming a run that has finished."""
    after_steps: str = "finish"
    """What a resume still has to do once all steps are done: `resume it to …`."""
    out_of_memory: Callable[[Any], str] = lambda config: "Memory ran out: close other programs, then resume it."
    rename: Callable[[Path, str], None] = lambda folder, name: None
    """Brings what the run's folder holds up to date with its name. Called only while no other process writes the run."""


def _damaged(values: dict[str, Any]) -> Any:
    raise LabError("Its configuration is damaged: delete the run and start it again.")


UNREADABLE = JobKind(name="", entry="", read_config=_damaged, group=lambda run: "Damaged")
"""Stands for the kind of a run whose configuration cannot be read."""


def kinds() -> dict[str, JobKind]:
    """All kinds of runs by name, those of LAB_ROOMS among them."""
    found: dict[str, JobKind] = import_module("core.app").kinds()
    return found


def find_kind(name: Any) -> JobKind:
    """The kind of that name. Raises LabError for one that no room has."""
    kind = kinds().get(name) if isinstance(name, str) else None
    if kind is None:
        raise LabError(f"This version does not know runs of the kind {str(name)[:60]!r}: update it, or delete the run.")
    return kind
