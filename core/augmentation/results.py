"""What was measured of transforms, and where runs keep it. Nothing here imports torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.augmentation.config import MapConfig
from core.common.errors import LabError
from core.common.results import ResultStore, check_format
from core.common.values import finite, signed
from core.training.augmentation import TRANSFORMS, Step, parse_pipeline

FORMAT = 1
LOST_POINTS = 20.0
"""A transform hides a class where its accuracy surely falls by more than this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassChange:
    """What becomes of one class."""

    label: str
    points: float
    """Change of its accuracy, percentage points."""
    low: float
    high: float
    """95% interval, which holds for all classes and pipelines of a map at once."""

    @property
    def hidden(self) -> bool:
        return self.high < -LOST_POINTS


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """What a pipeline does to a checkpoint."""

    pipeline: str
    """As `core.training.augmentation` writes it."""
    accuracy: float
    """On augmented test images, 0..1."""
    affinity: float
    """That minus the accuracy on plain ones, percentage points (Gontijo-Lopes et al., arXiv:2002.08973)."""
    low: float
    high: float
    """95% interval of the affinity over images."""
    added_loss: float
    """Mean loss on augmented training images minus that on plain ones, nats: a cheap stand-in for diversity, which is the
    final loss of a network that was trained on them."""
    classes: tuple[ClassChange, ...] = ()
    """Of those that have test images."""
    image: str = ""
    """One test image after it, PNG in base64."""

    @property
    def step(self) -> Step:
        """Its first step: of a map's pipelines the only one."""
        return parse_pipeline(self.pipeline).steps[0]

    @property
    def words(self) -> str:
        return parse_pipeline(self.pipeline).words

    @property
    def worst(self) -> ClassChange:
        return min(self.classes, key=lambda item: item.points)

    @classmethod
    def from_dict(cls, values: Any) -> Effect:
        """Raises LabError or what a damaged file raises."""
        found = cls(**values | {"classes": tuple(ClassChange(**item) for item in values["classes"])})
        numbers = [found.accuracy, found.affinity, found.low, found.high, found.added_loss]
        numbers += [value for item in found.classes for value in (item.points, item.low, item.high)]
        if not all(map(finite, numbers)) or not 0 <= found.accuracy <= 1 or not isinstance(found.image, str):
            raise LabError("The map is damaged, it has figures that cannot be: make it again.")
        parse_pipeline(found.pipeline)
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformEffects:
    """One transform at all its strengths, weak to strong: a part of a map."""

    transform: str
    accuracy: float
    """On plain test images, 0..1."""
    effects: tuple[Effect, ...]

    @classmethod
    def from_dict(cls, values: Any) -> TransformEffects:
        return cls(
            transform=str(values["transform"]),
            accuracy=float(values["accuracy"]),
            effects=tuple(map(Effect.from_dict, values["effects"])),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class EffectMap:
    """Transforms of one checkpoint, as far as they are measured."""

    config: MapConfig
    title: str
    """Of the checkpoint, for people."""
    classes: tuple[str, ...]
    transforms: tuple[TransformEffects, ...]
    made: dict[str, str] = field(default_factory=dict)

    @property
    def effects(self) -> tuple[Effect, ...]:
        return tuple(effect for item in self.transforms for effect in item.effects)

    @property
    def answer(self) -> str:
        """What harms the network's answers most, by its worst class, in a sentence."""
        found = self.effects
        if not found:
            return "No transform is measured yet"
        worst = min(found, key=lambda effect: effect.worst.points)
        change = worst.worst
        if change.high >= 0:
            return "No transform surely lowers the accuracy of a class"
        interval = f"({signed(change.low, 0)} to {signed(change.high, 0)})"
        step = worst.step
        name = step.kind.title + (f" at strength {step.strength:g}" if step.kind.has_strength else "")
        return f"{name}: accuracy on {change.label} falls by {-change.points:.0f} points {interval}"

    @property
    def hidden(self) -> list[tuple[str, str]]:
        """Transforms that surely hide a class, with the weakest strength that does, in words, and the class it hits most."""
        rows = []
        for item in self.transforms:
            first = next((effect for effect in item.effects if effect.worst.hidden), None)
            if first is not None:
                rows.append((first.words, first.worst.label))
        return rows

    @property
    def safe(self) -> list[str]:
        """Titles of the transforms that at no strength surely lower the accuracy of any class."""
        return [
            TRANSFORMS[item.transform].title
            for item in self.transforms
            if all(change.high >= 0 for effect in item.effects for change in effect.classes)
        ]

    def to_dict(self) -> dict[str, Any]:
        return {"format": FORMAT} | rounded(dataclasses.asdict(self) | {"config": self.config.to_dict()})

    @classmethod
    def from_dict(cls, values: Any) -> EffectMap:
        """Raises LabError or what a damaged file raises."""
        values = check_format(values, FORMAT, "map")
        return cls(
            config=MapConfig.from_dict(values["config"]),
            title=str(values["title"]),
            classes=tuple(map(str, values["classes"])),
            transforms=tuple(map(TransformEffects.from_dict, values["transforms"])),
            made={str(key): str(value) for key, value in values["made"].items()},
        )


MAPS: ResultStore[EffectMap, TransformEffects] = ResultStore(
    "map",
    Path(__file__).parent / "shipped" / "maps",
    EffectMap.from_dict,
    part_file="transform.json",
    parse_part=TransformEffects.from_dict,
)


def transform_folder(folder: Path, transform: str) -> Path:
    """Where a run's folder has one transform."""
    return folder / f"transform-{transform}"


def read_map(folder: Path, config: Any) -> EffectMap:
    """What there is of a map by now. Raises LabError for a run of another kind."""
    if not isinstance(config, MapConfig):
        raise LabError("This run is not a map: pick one from the list of maps.")
    found = [MAPS.read_part(transform_folder(folder, name)) for name in config.transforms]
    facts = MAPS.read_facts(folder)
    return EffectMap(
        config=config,
        title=str(facts.get("title", config.checkpoint)),
        classes=tuple(facts["classes"]),
        transforms=tuple(item for item in found if item is not None),
        made=facts["made"],
    )


def rounded(value: Any) -> Any:
    """Plain values with figures of five digits, as files that ship have them."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value
