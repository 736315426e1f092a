"""What was found of units and layers, and where galleries keep it. Nothing here imports torch."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field, TypeAdapter

from core.common.errors import LabError
from core.common.pixels import encode, from_png
from core.common.results import ResultStore, check_format
from core.common.values import wilson
from core.features.config import GalleryConfig
from core.jobs.store import RunStore

FORMAT = 1
SHOWN = 9
"""Real images at either end."""
CHANGES = ("seed", "int8", "pruned")
"""What should not matter much: another seed of the image, weights rounded to int8, the smaller half of them 0."""


LOSSLESS_SIDE = 64
"""Pixels; larger images are kept as WebP."""


def _check_image(text: str) -> str:
    try:
        from_png(text)
    except (OSError, SyntaxError, EOFError) as error:  # Pillow has all of them for damaged files
        raise ValueError("it is not an image") from error
    return text


Count = Annotated[int, Field(strict=True, ge=0)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Word = Annotated[str, Field(min_length=1)]
Flag = Annotated[bool, Field(strict=True)]
ImageText = Annotated[str, AfterValidator(_check_image)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """How often a choice was right, or rules agree with a network."""

    hits: int
    n: int

    @property
    def rate(self) -> float:
        return self.hits / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """95% Wilson interval, 0..1."""
        return wilson(self.hits, self.n)

    def __add__(self, other: Score) -> Score:
        return Score(hits=self.hits + other.hits, n=self.n + other.n)


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """The same unit in a network of random weights."""

    image: ImageText
    response: Number
    strongest: Number
    """Largest response to real images in that network."""
    images: Count
    """Real images that it was shown."""

    @property
    def multiple(self) -> float | None:
        return _multiple(self.response, self.strongest)


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """A unit, the images that drive it, and how far to believe the optimised one. Images are PNG in base64, large ones WebP."""

    layer: Word
    channel: Count
    title: Word
    """`Channel 7 of relu2`, or `The class cat`."""
    steps: Count
    seed: Count
    image: ImageText
    """Optimised for it."""
    response: Number
    """To that image as it is kept."""
    diverse: tuple[ImageText, ...] = ()
    """Images that were optimised together to differ."""
    images: Count
    """Real images that it was shown."""
    strongest: Number
    """Largest response to a real image."""
    dead: Flag
    """Whether its response to all of them is the same, or after ReLU 0."""
    most: tuple[Count, ...]
    """Places of the real images that drive it most, strongest first."""
    least: tuple[Count, ...]
    """Weakest first."""
    most_responses: tuple[Number, ...]
    least_responses: tuple[Number, ...]
    top_classes: tuple[tuple[Word, Count], ...]
    """Classes of the 100 images that drive it most, with how many there are, most first."""
    survival: dict[str, Number] | None
    """`seed`, `int8`, `pruned`: the response under that change, as a share of this one; None where that is not above 0."""
    random: Control

    @property
    def multiple(self) -> float | None:
        """Response to the optimised image in units of the strongest real one; None where one of them is not above 0."""
        return _multiple(self.response, self.strongest)

    @property
    def answer(self) -> str:
        """What it is, in a sentence."""
        if self.dead:
            return f"{self.title} is dead: none of {self.images:,} images moves it"
        label, count = self.top_classes[0]
        total = sum(number for _, number in self.top_classes)
        liked = f"{self.title}: {count} of its {total} strongest images are {label}"
        if self.response <= 0:
            return f"{liked}; no image was found that drives it"
        if self.multiple is None:
            return liked
        return f"{liked}; its own image drives it {self.multiple:.1f}× as much as the strongest real one"

    @property
    def changes(self) -> tuple[str, ...]:
        """What each change does to it, in a sentence; none where no image drives it."""
        if self.survival is None:
            return ()
        other = "just as far", "further", "less far"
        same = "just as strongly", "stronger", "weaker"
        return (
            f"An image from another random seed drives it {_compare(self.survival['seed'], *other)}.",
            f"In int8 the unit responds {_compare(self.survival['int8'], *same)}.",
            f"With the smaller half of the weights at 0 it responds {_compare(self.survival['pruned'], *same)}.",
        )

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"multiple": self.multiple, "random_multiple": self.random.multiple}

    @classmethod
    def from_dict(cls, values: Any) -> Unit:
        """Raises ValueError for values that no unit has."""
        unit: Unit = _unit_adapter().validate_python(values)
        if (unit.survival is None) != (unit.response <= 0) or (unit.survival and set(unit.survival) != set(CHANGES)):
            raise ValueError(f"survival is not of {', '.join(CHANGES)}")
        shown = min(SHOWN, unit.images)
        if not shown or not unit.top_classes:
            raise ValueError("a unit was shown at least one image")
        if {len(part) for part in (unit.most, unit.least, unit.most_responses, unit.least_responses)} != {shown}:
            raise ValueError(f"a unit has {shown} images at either end, each with its response")
        return unit


@lru_cache(maxsize=1)
def _unit_adapter() -> TypeAdapter[Unit]:
    return TypeAdapter(Unit)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelFacts:
    """What a channel responds to, by its responses to many images."""

    channel: int
    strongest: float
    dead: bool
    selectivity: float
    """Share of the variance of its responses that lies between classes (eta squared), 0..1."""
    unit_class: str
    """Class of most of its 100 strongest images."""
    chroma: float
    """How far the mean colour of its 1% strongest images is from grey, against that of all images; of 255."""
    hue: str
    """`red`, `yellow`, `green`, `cyan`, `blue` or `magenta`."""
    frequency: float
    """Mean spatial frequency of those images, cycles per pixel."""
    twin: int | None
    """The channel that it correlates most with, where that is above 0.95 in size."""
    correlation: float
    """With the channel that it correlates most with."""
    best: int
    """Place of its strongest image."""
    patch: tuple[int, int, int] | None = None
    """Top, left and side of the pixels in there that drive it most; None where it sees the whole image, or is dead."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerFacts:
    """All channels of a layer."""

    layer: str
    images: int
    channels: tuple[ChannelFacts, ...]

    @property
    def dead(self) -> list[int]:
        return [item.channel for item in self.channels if item.dead]

    @property
    def redundant(self) -> list[int]:
        return [item.channel for item in self.channels if item.twin is not None]

    @property
    def answer(self) -> str:
        """How much of the layer works, in a sentence."""
        count = len(self.channels)
        words = f"{count} channels: {len(self.dead) or 'none'} dead, {len(self.redundant) or 'none'} redundant"
        alive = [item for item in self.channels if not item.dead]
        if not alive:
            return words
        best = max(alive, key=lambda item: item.selectivity)
        return f"{words}; channel {best.channel} is the most selective, for {best.unit_class}"

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"dead": self.dead, "redundant": self.redundant}


@dataclass(frozen=True, kw_only=True, slots=True)
class Gallery:
    """Units of one layer, as far as they are done."""

    config: GalleryConfig
    units: tuple[Unit, ...]
    made: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        units = [unit.to_dict() for unit in self.units]
        return {"format": FORMAT, "config": self.config.to_dict(), "units": units, "made": self.made}

    @classmethod
    def from_dict(cls, values: Any) -> Gallery:
        """Raises LabError or what a damaged file raises."""
        values = check_format(values, FORMAT, "gallery")
        return cls(
            config=GalleryConfig.from_dict(values["config"]),
            units=tuple(map(Unit.from_dict, values["units"])),
            made=dict(values["made"]),
        )


GALLERIES: ResultStore[Gallery, Unit] = ResultStore(
    "gallery", Path(__file__).parent / "shipped", Gallery.from_dict, part_file="unit.json", parse_part=Unit.from_dict
)


def unit_folder(folder: Path, channel: int) -> Path:
    """Where a run's folder has one channel."""
    return folder / f"unit-{channel}"


def read_gallery(folder: Path, config: Any) -> Gallery:
    """What there is of a gallery by now. Raises LabError for a run of another kind."""
    if not isinstance(config, GalleryConfig):
        raise LabError("This run is not a gallery: pick one from the list of galleries.")
    found = [GALLERIES.read_part(unit_folder(folder, channel)) for channel in config.channels]
    made = GALLERIES.read_facts(folder)["made"]
    return Gallery(config=config, units=tuple(unit for unit in found if unit is not None), made=made)


def find_units(store: RunStore, fingerprint: str, layer: str) -> dict[int, Unit]:
    """Units of a layer of just these weights that ship or that a gallery of this machine has, by channel."""
    found: dict[int, Unit] = {}
    for gallery in _galleries(store, fingerprint, layer):
        found |= {unit.channel: unit for unit in gallery.units if unit.channel not in found}
    return found


def _galleries(store: RunStore, fingerprint: str, layer: str) -> Iterator[Gallery]:
    wanted = (fingerprint, layer)
    for name in GALLERIES.shipped_names():
        shipped = GALLERIES.load_shipped(name)
        if (shipped.config.fingerprint, shipped.config.layer) == wanted:
            yield shipped
    for run in store.list():
        if run.kind == "features" and (run.config.fingerprint, run.config.layer) == wanted:
            yield read_gallery(store.folder(run.id), run.config)


def encode_image(rgb: np.ndarray) -> str:
    """(H, W, 3) uint8 as PNG in base64, a large one as WebP."""
    from PIL import Image

    kind = "PNG" if max(rgb.shape[:2]) <= LOSSLESS_SIDE else "WEBP"
    return base64.b64encode(encode(Image.fromarray(np.ascontiguousarray(rgb)), kind)).decode()


def crop(rgb: np.ndarray, patch: tuple[int, int, int], mean: Sequence[float]) -> np.ndarray:
    """A square (side, side, 3) of an image (H, W, 3) uint8; past its border the mean colour, which the network sees as zeros.
    patch: top, left, side. mean: 0..1."""
    top, left, side = patch
    found = np.full((side, side, 3), [round(255 * value) for value in mean], np.uint8)
    rows, columns = (
        slice(max(0, at), min(at + side, most)) for at, most in ((top, rgb.shape[0]), (left, rgb.shape[1]))
    )
    found[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = rgb[rows, columns]
    return found


def montage(images: Sequence[np.ndarray], columns: int = 3, gap: int = 1) -> np.ndarray:
    """Images (H, W, 3) uint8 of one size as rows of so many, on white."""
    side = images[0].shape[0] + gap
    rows = -(-len(images) // columns)
    sheet = np.full((rows * side - gap, columns * side - gap, 3), 255, np.uint8)
    for place, image in enumerate(images):
        top, left = place // columns * side, place % columns * side
        sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    return sheet


def _multiple(response: float, strongest: float) -> float | None:
    return response / strongest if response > 0 and strongest > 0 else None


def _compare(share: float, same: str, more: str, less: str) -> str:
    """`6% stronger` of 1.06."""
    percent = round(100 * (share - 1))
    if share <= 0:
        return "not at all"
    return f"{abs(percent)}% {more if percent > 0 else less}" if percent else same
