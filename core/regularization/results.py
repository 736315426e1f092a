"""What a study found, in plain values: read from its runs, or from a file that ships. Nothing here imports torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from core.common.errors import LabError
from core.common.results import check_format
from core.common.values import finite
from core.regularization.study import Member, StudyConfig

STATUSES = ("waiting", "running", "stopped", "finished", "failed")
FORMAT = 1
"""Of a study in one JSON file; another number is of another version."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """One run over its evaluations. All have the same length; training figures are of plain training images."""

    step: tuple[int, ...] = ()
    train_accuracy: tuple[float | None, ...] = ()
    """0..1."""
    val_accuracy: tuple[float | None, ...] = ()
    """0..1."""
    train_loss_nats: tuple[float | None, ...] = ()
    val_loss_nats: tuple[float | None, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class MemberResult:
    """One run of a study, as far as it is."""

    variant: str
    """As `core.regularization.arms` writes it, one strength for each technique."""
    train_size: int
    seed: int
    status: str = "waiting"
    """One of STATUSES; `failed` also where its loss was no number any more."""
    message: str = ""
    step: int = 0
    """Optimizer steps done."""
    curve: Curve = field(default_factory=Curve)
    kept_step: int | None = None
    """Step of the weights that count: the last ones, or, with early stopping, the best ones."""
    train_accuracy: float | None = None
    """0..1, of those weights, on plain training images (at most 1,000)."""
    val_accuracy: float | None = None
    """0..1, of those weights."""
    val_loss_nats: float | None = None
    test_accuracy: float | None = None
    """0..1; only of what was chosen on validation, once the study was at its end."""
    test_loss_nats: float | None = None
    test_per_class: tuple[float, ...] = ()
    """Accuracy of each class on test, 0..1."""
    seconds: float = 0.0
    checkpoint: str = ""
    """Its name for `core.checkpoints.store.find_checkpoint`; empty where there is none."""

    @property
    def val_gap(self) -> float | None:
        """Generalization gap: training minus validation accuracy of the weights that count."""
        if self.train_accuracy is None or self.val_accuracy is None:
            return None
        return self.train_accuracy - self.val_accuracy


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyResult:
    """A study and all its runs."""

    config: StudyConfig
    members: tuple[MemberResult, ...]
    """In the order of `config.members()`."""
    name: str = ""
    """For people."""
    classes: tuple[str, ...] = ()
    """Names of the dataset's classes."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Images of each split: `train`, `validation`, `test`."""
    made: dict[str, str] = field(default_factory=dict)
    """How: `command`, `hardware`, `versions`, `date`, `hours`, as far as known."""
    extra: dict[str, Any] = field(default_factory=dict)
    """The card of the generated images in `extra_dataset`; empty for other studies."""

    @property
    def done(self) -> int:
        """Runs that are over, whichever way."""
        return sum(item.status in ("finished", "failed") for item in self.members)

    def finished_runs(self, variant: str, train_size: int) -> list[MemberResult]:
        """The runs of a variant at one size that finished, by seed."""
        return [
            item
            for item in self.members
            if item.variant == variant and item.train_size == train_size and item.status == "finished"
        ]

    def to_dict(self) -> dict[str, Any]:
        """For JSON; figures to five digits, which is finer than one image of any test set. Without the checkpoints, which
        stay on this machine."""
        values = dataclasses.asdict(self)
        members = [_rounded(item | {"checkpoint": ""}) for item in values["members"]]
        return {"format": FORMAT} | values | {"config": self.config.to_dict(), "members": members}

    @classmethod
    def from_dict(cls, values: Any) -> StudyResult:
        """Rebuild from JSON, for a ResultStore. Raises LabError, and what DAMAGED names."""
        values = check_format(values, FORMAT, "study")
        config = StudyConfig.from_dict(values["config"])
        members = tuple(member_from_dict(item) for item in values["members"])
        result = cls(
            config=config,
            members=members,
            name=str(values.get("name", "")),
            classes=tuple(str(label) for label in values.get("classes", ())),
            sizes={str(key): int(value) for key, value in values.get("sizes", {}).items()},
            made={str(key): str(value) for key, value in values.get("made", {}).items()},
            extra=dict(values.get("extra", {})),
        )
        wanted = [(item.variant.spec, item.train_size, item.seed) for item in config.members()]
        if [(item.variant, item.train_size, item.seed) for item in members] != wanted:
            raise LabError("The study is damaged, its runs are not those that it describes: make it again.")
        if any(item.test_per_class and len(item.test_per_class) != len(result.classes) for item in members):
            raise LabError("The study is damaged, its classes are not those of its runs: make it again.")
        return result


def waiting(member: Member) -> MemberResult:
    """A run that has not begun."""
    return MemberResult(variant=member.variant.spec, train_size=member.train_size, seed=member.seed)


def member_from_dict(values: dict[str, Any]) -> MemberResult:
    """Rebuild from JSON. Raises LabError, and what DAMAGED names."""
    curve = Curve(**{key: tuple(column) for key, column in values.get("curve", {}).items()})
    given = values | {"curve": curve, "test_per_class": tuple(values.get("test_per_class", ()))}
    result = MemberResult(**given)
    shares = [result.train_accuracy, result.val_accuracy, result.test_accuracy, *result.test_per_class]
    shares += [*curve.train_accuracy, *curve.val_accuracy]
    losses = [result.val_loss_nats, result.test_loss_nats, *curve.train_loss_nats, *curve.val_loss_nats, result.seconds]
    counts = [result.train_size, result.seed, result.step, *curve.step]
    counts += [] if result.kept_step is None else [result.kept_step]
    columns = [getattr(curve, item.name) for item in dataclasses.fields(Curve)]
    valid = (
        all(isinstance(text, str) for text in (result.variant, result.message, result.checkpoint))
        and result.status in STATUSES
        and all(value is None or (finite(value) and 0 <= value <= 1) for value in shares)
        and all(value is None or finite(value) for value in losses)
        and all(isinstance(value, int) and not isinstance(value, bool) for value in counts)
        and None not in result.test_per_class
        and len({len(column) for column in columns}) == 1
    )
    if not valid:
        raise LabError("The study is damaged, it has figures that cannot be: make it again.")
    return result


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
