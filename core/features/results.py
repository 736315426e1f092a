"""What was found of units and layers, and where galleries keep it. Nothing here imports torch."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from core.common.errors import LabError
from core.common.pixels import encode
from core.common.results import ResultStore, check_format
from core.features.config import GalleryConfig
from core.jobs.store import RunStore

FORMAT = 1
SHOWN = 9
"""Real images at either end."""
CHANGES = ("seed", "int8", "pruned")
"""What should not matter much: another seed of the image, weights rounded to int8, the smaller half of them 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """The same unit in a network of random weights."""

    image: str
    response: float
    strongest: float
    """Largest response to real images in that network."""
    images: int
    """Real images that it was shown."""

    @property
    def multiple(self) -> float | None:
        return _multiple(self.response, self.strongest)

    @classmethod
    def from_dict(cls, values: Any) -> Control:
        """Raises ValueError for values that are not valid, or what a damaged file raises."""
        return cls(
            image=_image(values["image"]),
            response=_number(values["response"]),
            strongest=_number(values["strongest"]),
            images=_count(values["images"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """A unit, the images that drive it, and how far to believe the optimised one. Images are PNG in base64."""

    layer: str
    channel: int
    title: str
    """`relu2, channel 7`, or the name of a class."""
    steps: int
    seed: int
    image: str
    """Optimised for it."""
    response: float
    """To that image, as pixels of 8 bits."""
    diverse: tuple[str, ...] = ()
    """Images that were optimised together to differ."""
    images: int
    """Real images that it was shown."""
    strongest: float
    """Largest response to a real image."""
    dead: bool
    """Whether its response to all of them is the same, or after ReLU 0."""
    most: tuple[int, ...]
    """Places of the real images that drive it most, strongest first."""
    least: tuple[int, ...]
    """Weakest first."""
    most_responses: tuple[float, ...]
    least_responses: tuple[float, ...]
    top_classes: tuple[tuple[str, int], ...]
    """Classes of the 100 images that drive it most, with how many there are, most first."""
    survival: dict[str, float] | None
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
        if self.multiple < 1:
            return f"{liked}; its own image drives it less, {self.multiple:.1f}× as much as the strongest"
        return f"{liked}; its own image drives it {self.multiple:.1f}× as much as the strongest real one"

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"multiple": self.multiple, "random_multiple": self.random.multiple}

    @classmethod
    def from_dict(cls, values: Any) -> Unit:
        """Raises ValueError for values that no unit has, and what a damaged file raises."""
        response, survival = _number(values["response"]), values["survival"]
        if response <= 0:
            survival = None
        elif not isinstance(survival, dict) or set(survival) != set(CHANGES):
            raise ValueError(f"survival is not of {', '.join(CHANGES)}")
        unit = cls(
            layer=_word(values["layer"]),
            channel=_count(values["channel"]),
            title=_word(values["title"]),
            steps=_count(values["steps"]),
            seed=_count(values["seed"]),
            image=_image(values["image"]),
            response=response,
            diverse=tuple(map(_image, _list(values["diverse"]))),
            images=_count(values["images"]),
            strongest=_number(values["strongest"]),
            dead=_flag(values["dead"]),
            most=tuple(map(_count, _list(values["most"]))),
            least=tuple(map(_count, _list(values["least"]))),
            most_responses=tuple(map(_number, _list(values["most_responses"]))),
            least_responses=tuple(map(_number, _list(values["least_responses"]))),
            top_classes=tuple((_word(label), _count(count)) for label, count in _list(values["top_classes"])),
            survival=None if survival is None else {name: _number(survival[name]) for name in CHANGES},
            random=Control.from_dict(values["random"]),
        )
        shown = min(SHOWN, unit.images)
        if not shown or not unit.top_classes:
            raise ValueError("a unit was shown at least one image")
        if {len(part) for part in (unit.most, unit.least, unit.most_responses, unit.least_responses)} != {shown}:
            raise ValueError(f"a unit has {shown} images at either end, each with its response")
        return unit


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelFacts:
    """What a channel responds to, by its responses to many images."""

    channel: int
    strongest: float
    dead: bool
    selectivity: float
    """Share of the variance of its responses that lies between classes (eta squared), 0..1."""
    favourite: str
    """Class with the largest mean response."""
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
        return f"{words}; channel {best.channel} is the most selective, for {best.favourite}"

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


def to_png(rgb: np.ndarray) -> str:
    """(H, W, 3) uint8 as PNG in base64."""
    from PIL import Image

    return base64.b64encode(encode(Image.fromarray(np.ascontiguousarray(rgb)), "PNG")).decode()


def from_png(text: str) -> np.ndarray:
    """(H, W, 3) uint8."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


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


def _word(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("it is not a word")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("it is not a whole number from 0 on")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError("it is not a number")
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("it is neither true nor false")
    return value


def _list(value: Any) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError("it is not a list")
    return value


def _image(value: Any) -> str:
    text = _word(value)
    try:
        from_png(text)
    except (OSError, SyntaxError, EOFError) as error:  # Pillow has all of them for damaged PNG files
        raise ValueError("it is not an image") from error
    return text
