"""What was measured of a set of generated images. Nothing here imports torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.common.results import ResultStore, check_format
from core.common.values import finite, wilson
from core.synthesis.config import SynthesisConfig

FORMAT = 1
MOST_COPIES_SHOWN = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """How many of some images are so, with the 95% Wilson interval."""

    hits: int
    images: int

    @property
    def share(self) -> float:
        return self.hits / self.images

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.hits, self.images)

    @property
    def words(self) -> str:
        """`1.2% (0.8% to 1.8%)`."""
        low, high = self.interval
        return f"{self.share:.1%} ({low:.1%} to {high:.1%})"

    @classmethod
    def from_dict(cls, values: Any) -> Rate:
        hits, images = int(values["hits"]), int(values["images"])
        if not 0 <= hits <= images or images < 1:
            raise ValueError("a rate is not valid")
        return cls(hits=hits, images=images)


@dataclass(frozen=True, kw_only=True, slots=True)
class CopyPair:
    """A generated image, of the set by its number, and its nearest training image. Both PNG in base64."""

    number: int
    label: str
    image: str
    nearest: str
    nearest_label: str
    ratio: float
    """Distance to it as a share of the mean distance to the 50 nearest."""

    @classmethod
    def from_dict(cls, values: Any) -> CopyPair:
        ratio = float(values["ratio"])
        if not finite(ratio):
            raise ValueError("a ratio is not valid")
        texts = {name: str(values[name]) for name in ("label", "image", "nearest", "nearest_label")}
        return cls(number=int(values["number"]), ratio=ratio, **texts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Copies:
    """By one way of comparing: pixels, or features of the judge."""

    generated: Rate
    held_out: Rate
    limit: float
    closest: tuple[CopyPair, ...] = ()
    """Most suspicious first."""

    @property
    def copies(self) -> bool:
        """Whether it copies more often than real images look like copies: the intervals do not overlap."""
        return self.generated.interval[0] > self.held_out.interval[1]

    @classmethod
    def from_dict(cls, values: Any) -> Copies:
        return cls(
            generated=Rate.from_dict(values["generated"]),
            held_out=Rate.from_dict(values["held_out"]),
            limit=float(values["limit"]),
            closest=tuple(CopyPair.from_dict(item) for item in values["closest"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSet:
    """A set of generated images and what it was measured to be."""

    config: SynthesisConfig
    title: str
    """Of the generator."""
    done: int = 0
    """Images made by now."""
    seconds_per_image: float | None = None
    sheet: str = ""
    """PNG in base64: a column a class, five rows."""
    classes: tuple[str, ...] = ()
    trained_on: int = 0
    """Training images that the generator saw."""
    distance: float | None = None
    """Fréchet distance to real images by features of Fast ResNet; None while it is not measured."""
    floor: float | None = None
    """The same between two halves of the real images."""
    compared: int = 0
    """Images on each side of both distances."""
    recognised: Rate | None = None
    """Generated images whose class Fast ResNet names."""
    recognised_by_class: tuple[float, ...] = ()
    real_recognised: Rate | None = None
    """The same for real images that it was not trained on."""
    copies: dict[str, Copies] = field(default_factory=dict)
    """`pixels` and `features`."""
    made: dict[str, str] = field(default_factory=dict)

    @property
    def measured(self) -> bool:
        return bool(self.sheet)

    @property
    def headline(self) -> str:
        """What it is, in a sentence."""
        if self.recognised is None or self.real_recognised is None:
            if self.done < self.config.images:
                return f"{self.done:,} of {self.config.images:,} images are made"
            return f"All {self.done:,} images are made"
        return (
            f"A classifier names the intended class of {self.recognised.share:.0%} of {self.done:,} such images, and of "
            f"{self.real_recognised.share:.0%} of real ones"
        )

    @property
    def copy_sentence(self) -> str:
        """Whether it copies, in a sentence; empty while that is not measured."""
        if not self.copies:
            return ""
        if any(item.copies for item in self.copies.values()):
            return "It copies training images: more of its images are nearly one of them than of real images"
        return "No sign of copies: its images are no closer to single training images than new real images are"

    def to_dict(self) -> dict[str, Any]:
        return {"format": FORMAT} | dataclasses.asdict(self) | {"config": self.config.to_dict()}

    @classmethod
    def from_dict(cls, values: Any) -> ImageSet:
        """Raises LabError or ValueError for values that no set has, and what a damaged file raises."""
        values = check_format(values, FORMAT, "set of images")
        numbers = {name: values[name] for name in ("distance", "floor", "seconds_per_image")}
        if not all(value is None or (finite(value) and value >= 0) for value in numbers.values()):
            raise ValueError("a figure is not valid")
        rates = {
            name: None if values[name] is None else Rate.from_dict(values[name])
            for name in ("recognised", "real_recognised")
        }
        return cls(
            config=SynthesisConfig.from_dict(values["config"]),
            title=str(values["title"]),
            done=int(values["done"]),
            sheet=str(values["sheet"]),
            classes=tuple(str(name) for name in values["classes"]),
            trained_on=int(values["trained_on"]),
            compared=int(values["compared"]),
            recognised_by_class=tuple(float(value) for value in values["recognised_by_class"]),
            copies={str(name): Copies.from_dict(item) for name, item in values["copies"].items()},
            made={str(name): str(value) for name, value in values.get("made", {}).items()},
            recognised=rates["recognised"],
            real_recognised=rates["real_recognised"],
            **numbers,
        )


SETS: ResultStore[ImageSet, ImageSet] = ResultStore(
    "set of generated images",
    Path(__file__).parent / "shipped",
    ImageSet.from_dict,
    part_file="set.json",
    parse_part=ImageSet.from_dict,
)
