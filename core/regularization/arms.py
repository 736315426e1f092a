"""Arms: what a study compares. One technique, several together, or none; each with one strength or with several to choose from.

An arm is written as `dropout=0.3`, `augment+l2=0.1` (together), `dropout=0.1/0.3/0.5` (the strength is chosen on
validation), `dropout=tune` (out of the usual strengths), or `none`.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

from core.common.errors import LabError
from core.regularization.techniques import ALL_TECHNIQUES, TECHNIQUES, Pipeline, Technique, plain_number
from core.training.config import TrainConfig

BASELINE = "none"
TOGETHER, OR = "+", "/"
TUNE = "tune"
MAX_VARIANTS = 64
"""Combinations of strengths of one arm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """An arm with one strength for each technique: what a run trains with."""

    techniques: tuple[Technique, ...]

    @property
    def spec(self) -> str:
        """`augment=2+l2=0.1`, or `none`."""
        return TOGETHER.join(item.spec for item in self.techniques) or BASELINE

    @property
    def label(self) -> str:
        """For people: `Flip + crop 2 and L2 (weight decay) 0.1`."""
        return _together([item.label for item in self.techniques])

    def apply(self, config: TrainConfig) -> TrainConfig:
        """The config with all of them switched on."""
        for item in self.techniques:
            config = item.apply(config)
        return config


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """What is compared: its variants differ in strengths only, and the best of them on validation stands for it."""

    variants: tuple[Variant, ...]

    @property
    def spec(self) -> str:
        """In one way of writing: `dropout=0.1/0.3/0.5`, in the order of ALL_TECHNIQUES."""
        parts = []
        for place, first in enumerate(self.variants[0].techniques):
            strengths = dict.fromkeys(plain_number(variant.techniques[place].strength) for variant in self.variants)
            parts.append(f"{first.name}={OR.join(strengths)}" if first.unit else first.spec)
        return TOGETHER.join(parts) or BASELINE

    @property
    def names(self) -> tuple[str, ...]:
        """Its techniques; empty for the baseline."""
        return tuple(item.name for item in self.variants[0].techniques)

    @property
    def title(self) -> str:
        """For people, without strengths: `Dropout`, `Dropout and flip + crop`."""
        return title_of(self.names)


def title_of(names: tuple[str, ...]) -> str:
    """The techniques in words, without strengths: `Dropout, flip + crop and L2 (weight decay)`."""
    return _together([ALL_TECHNIQUES[name].title for name in names])


def inside(title: str) -> str:
    """A title inside a sentence. A first word with another capital or a digit stays as it is: L2, CutMix, EMA."""
    word = title.partition(" ")[0]
    return title if any(sign.isupper() or sign.isdigit() for sign in word[1:]) else title[:1].lower() + title[1:]


def _together(titles: list[str]) -> str:
    *most, last = [*titles[:1], *map(inside, titles[1:])] or ["No regularization"]
    return f"{', '.join(most)} and {last}" if most else last


@lru_cache(maxsize=1024)
def parse_arm(text: str) -> Arm:
    """An arm from its written form. Raises LabError that names the part that is wrong."""
    text = text.strip()
    if text == BASELINE:
        return Arm(variants=(Variant(techniques=()),))
    chosen: dict[str, tuple[Technique, ...]] = {}
    for part in text.split(TOGETHER):
        name, equals, strengths = (piece.strip() for piece in part.partition("="))
        if name == BASELINE:
            raise LabError(
                f"{BASELINE} is the arm without any technique: it stands alone, take it out of {text[:80]!r}."
            )
        if name not in ALL_TECHNIQUES:
            known = ", ".join([BASELINE, *TECHNIQUES])
            raise LabError(f"There is no technique named {name[:40]!r}: choose among {known}.")
        if name in chosen:
            raise LabError(
                f"The arm {text[:80]!r} has {name} twice: give it once, or as {name}=0.1/0.2 to try several."
            )
        chosen[name] = _options(name, strengths if equals else "")
    ordered = [chosen[name] for name in ALL_TECHNIQUES if name in chosen]
    count = math.prod(len(options) for options in ordered)
    if count > MAX_VARIANTS:
        raise LabError(f"The arm {text[:80]!r} has {count:,} combinations of strengths: give at most {MAX_VARIANTS}.")
    return Arm(variants=tuple(Variant(techniques=combination) for combination in itertools.product(*ordered)))


def _options(name: str, strengths: str) -> tuple[Technique, ...]:
    kind = ALL_TECHNIQUES[name]
    if not strengths:
        return (kind(strength=kind.default),)
    if strengths == TUNE:
        return tuple(kind(strength=value) for value in kind.grid)
    if issubclass(kind, Pipeline):
        return (kind(strength=kind.default, steps=strengths),)
    if not kind.unit:
        raise LabError(f"{name} has no strength: write {name} alone.")
    found = []
    for text in strengths.split(OR):
        try:
            found.append(kind(strength=float(text) + 0.0))  # -0 is 0
        except ValueError as error:
            if isinstance(error, LabError):
                raise
            raise LabError(f"{name}={text[:40]!r} is not a number: write {name}={kind.default:g}.") from error
    if len({item.strength for item in found}) < len(found):
        raise LabError(f"{name}={strengths[:60]} names a strength twice: give each once.")
    return tuple(sorted(found, key=lambda item: item.strength))
