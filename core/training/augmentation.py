"""An augmentation as a pipeline of torchvision's own transforms: their order, strengths and probabilities.

A pipeline is written as `flip@0.5 rotate:0.3@0.5`: steps with spaces between them, each a transform, its strength from 0 to 1
after a colon, and how likely it is applied after an @. Without an @ it is always applied. What each strength stands for is in
`TRANSFORMS`; strength 0 changes nothing. Importing this needs no torch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from core.common.errors import LabError
from core.common.settings import Settings
from core.common.values import finite

if TYPE_CHECKING:
    from torch import Tensor

STEP_STRENGTH, STEP_PROBABILITY = 0.5, 1.0
"""Of a step that does not name them."""
MOST_STEPS = 12
BILINEAR = "bilinear"
"""Stands for torchvision's InterpolationMode.BILINEAR, which cannot be imported here."""
Arguments = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Transform:
    """A kind of step."""

    title: str
    scale: str
    """What the strengths 0 and 1 stand for; empty where a transform is on or off."""
    call: Callable[[float, int], tuple[str, Arguments]]
    """(strength, side of the image in pixels) -> class of torchvision.transforms.v2 and its arguments."""
    own_p: bool = False
    """Whether that class takes the probability itself, as `p`."""
    random: bool = True
    """Whether it draws more than whether it is applied."""

    @property
    def has_strength(self) -> bool:
        return bool(self.scale)


def _jitter(name: str, most: float) -> Callable[[float, int], tuple[str, Arguments]]:
    return lambda strength, side: ("ColorJitter", {name: _short(most * strength)})


def _fixed(name: str) -> Callable[[float, int], tuple[str, Arguments]]:
    return lambda strength, side: (name, {})


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _scaled(strength: float, side: int) -> tuple[str, Arguments]:
    narrow = 1 - 0.25 * strength
    scale, ratio = (_short(1 - 0.92 * strength), 1.0), (_short(narrow), _short(1 / narrow))
    return "RandomResizedCrop", {"size": side, "scale": scale, "ratio": ratio}


def _blur(strength: float, side: int) -> tuple[str, Arguments]:
    kernel = 2 * max(1, round(side / 10)) + 1
    return "GaussianBlur", {"kernel_size": kernel, "sigma": (0.1, _short(0.1 + 1.9 * strength * side / 32))}


TRANSFORMS: dict[str, Transform] = {
    "flip": Transform(title="Flip", scale="", call=_fixed("RandomHorizontalFlip"), own_p=True, random=False),
    "flip_vertical": Transform(
        title="Vertical flip", scale="", call=_fixed("RandomVerticalFlip"), own_p=True, random=False
    ),
    "crop": Transform(
        title="Crop",
        scale="shifts by 0 to a quarter of the side, borders reflected",
        call=lambda strength, side: (
            "RandomCrop",
            {"size": side, "padding": round(strength * side / 4), "padding_mode": "reflect"},
        ),
    ),
    "rotate": Transform(
        title="Rotate",
        scale="turns by up to 180° × strength²",
        call=lambda strength, side: (
            "RandomRotation",
            {"degrees": _short(180 * strength**2), "interpolation": BILINEAR},
        ),
    ),
    "shear": Transform(
        title="Shear",
        scale="shears by up to 45° × strength",
        call=lambda strength, side: (
            "RandomAffine",
            {"degrees": 0, "shear": _short(45 * strength), "interpolation": BILINEAR},
        ),
    ),
    "scale": Transform(title="Scale", scale="cuts out 100% down to 8% of the area and enlarges it", call=_scaled),
    "brightness": Transform(
        title="Brightness", scale="multiplies by 1 ± 0.9 × strength", call=_jitter("brightness", 0.9)
    ),
    "contrast": Transform(title="Contrast", scale="multiplies by 1 ± 0.9 × strength", call=_jitter("contrast", 0.9)),
    "saturation": Transform(
        title="Saturation", scale="multiplies by 1 ± 0.9 × strength", call=_jitter("saturation", 0.9)
    ),
    "hue": Transform(title="Hue", scale="turns the colour circle by up to 180° × strength", call=_jitter("hue", 0.5)),
    "grayscale": Transform(title="Grayscale", scale="", call=_fixed("RandomGrayscale"), own_p=True, random=False),
    "blur": Transform(title="Blur", scale="Gaussian of 0.1 up to 2 pixels (of 32)", call=_blur),
    "erase": Transform(
        title="Erase",
        scale="blackens a box of up to half of the area",
        call=lambda strength, side: ("RandomErasing", {"scale": (0.0, _short(0.5 * strength))}),
        own_p=True,
    ),
    "posterize": Transform(
        title="Posterize",
        scale="keeps 8 down to 1 bit of each colour",
        call=lambda strength, side: ("RandomPosterize", {"bits": round(8 - 7 * strength)}),
        own_p=True,
        random=False,
    ),
    "solarize": Transform(
        title="Solarize",
        scale="inverts colours from 255 down to 0 on",
        call=lambda strength, side: ("RandomSolarize", {"threshold": round(255 * (1 - strength))}),
        own_p=True,
        random=False,
    ),
    "sharpness": Transform(
        title="Sharpness",
        scale="sharpens by a factor of 1 to 10",
        call=lambda strength, side: ("RandomAdjustSharpness", {"sharpness_factor": _short(1 + 9 * strength)}),
        own_p=True,
        random=False,
    ),
    "equalize": Transform(title="Equalize", scale="", call=_fixed("RandomEqualize"), own_p=True, random=False),
    "autocontrast": Transform(
        title="Autocontrast", scale="", call=_fixed("RandomAutocontrast"), own_p=True, random=False
    ),
    "invert": Transform(title="Invert", scale="", call=_fixed("RandomInvert"), own_p=True, random=False),
}
"""In the order in which they are offered."""


class Step(Settings):
    """One step of a pipeline."""

    transform: Literal[tuple(TRANSFORMS)]  # type: ignore[valid-type]
    """Which transform."""
    strength: float = STEP_STRENGTH
    """From 0, no change, to 1; of a transform that is on or off it says nothing."""
    probability: float = STEP_PROBABILITY
    """How likely it is applied to an image, 0 to 1."""

    @model_validator(mode="after")
    def _check(self) -> Step:
        for name, value in (("strength", self.strength), ("probability", self.probability)):
            if not 0 <= value <= 1:
                raise LabError(f"{value:g} is not valid: the {name} of {self.transform} must be a number from 0 to 1.")
        return self

    @property
    def kind(self) -> Transform:
        return TRANSFORMS[self.transform]

    @property
    def spec(self) -> str:
        """`rotate:0.3@0.5`."""
        strength = f":{self.strength:.4g}" if self.kind.has_strength else ""
        return f"{self.transform}{strength}" + (f"@{self.probability:.4g}" if self.probability < 1 else "")

    @property
    def words(self) -> str:
        """`Rotate 0.3, half of the time`, for people."""
        strength = f" {self.strength:.3g}" if self.kind.has_strength else ""
        return f"{self.kind.title}{strength}" + (f" at {100 * self.probability:.3g}%" if self.probability < 1 else "")

    @property
    def idle(self) -> bool:
        """Whether it never changes an image."""
        return self.probability == 0 or (self.kind.has_strength and self.strength == 0)

    def call(self, side: int) -> tuple[str, dict[str, Any]]:
        """The class of torchvision.transforms.v2 and its arguments, but for a probability that it does not take itself."""
        name, arguments = self.kind.call(self.strength, side)
        return name, dict(arguments) | ({"p": self.probability} if self.kind.own_p else {})

    @property
    def wrapped(self) -> bool:
        """Whether its probability needs v2.RandomApply."""
        return not self.kind.own_p and self.probability < 1


class Pipeline(Settings):
    """Steps in the order in which they are applied."""

    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=MOST_STEPS)]
    """At least one."""

    @property
    def spec(self) -> str:
        """As `parse_pipeline` reads it, in one way of writing."""
        return " ".join(step.spec for step in self.steps)

    @property
    def words(self) -> str:
        """For people."""
        first, *more = (step.words for step in self.steps)
        return ", ".join([first, *(words[0].lower() + words[1:] for words in more)])

    @property
    def idle(self) -> bool:
        """Whether it never changes an image."""
        return all(step.idle for step in self.steps)

    @property
    def random(self) -> bool:
        """Whether two images may be treated differently."""
        return any(not step.idle and (step.kind.random or step.probability < 1) for step in self.steps)

    def code(self, side: int) -> str:
        """Plain Python that makes the same transform for images of that side, uint8 tensors (…, 3, side, side)."""
        lines = [f"    {_line(step, side)}," for step in self.steps if not step.idle] or ["    v2.Identity(),"]
        return "\n".join(["from torchvision.transforms import v2", "", "augment = v2.Compose([", *lines, "])", ""])

    def build(self, side: int) -> Callable[[Tensor], Tensor]:
        """The transform itself, from a uint8 tensor (…, 3, side, side) to another."""
        from torchvision.transforms import v2

        found = [_module(step, side) for step in self.steps if not step.idle] or [v2.Identity()]
        transform: Callable[[Tensor], Tensor] = v2.Compose(found)
        return transform


def _module(step: Step, side: int) -> Any:
    from torchvision.transforms import v2

    name, arguments = step.call(side)
    if "interpolation" in arguments:
        arguments["interpolation"] = v2.InterpolationMode(arguments["interpolation"])
    made = getattr(v2, name)(**arguments)
    return v2.RandomApply([made], p=step.probability) if step.wrapped else made


def _line(step: Step, side: int) -> str:
    name, arguments = step.call(side)
    given = ", ".join(
        f"{key}=v2.InterpolationMode.{value.upper()}" if key == "interpolation" else f"{key}={value!r}"
        for key, value in arguments.items()
    )
    call = f"v2.{name}({given})"
    return f"v2.RandomApply([{call}], p={step.probability!r})" if step.wrapped else call


def parse_pipeline(text: str) -> Pipeline:
    """A pipeline from its written form. Raises LabError that names the part that is wrong."""
    parts = text.split()
    if not parts:
        raise LabError("The pipeline has no steps: add one, such as flip@0.5.")
    if len(parts) > MOST_STEPS:
        raise LabError(f"The pipeline has {len(parts)} steps: give at most {MOST_STEPS}.")
    return Pipeline(steps=tuple(map(_parse_step, parts)))


def _parse_step(text: str) -> Step:
    head, at, probability = text.partition("@")
    name, colon, strength = head.partition(":")
    if name not in TRANSFORMS:
        raise LabError(f"There is no transform named {name[:40]!r}: choose among {', '.join(TRANSFORMS)}.")
    if colon and not TRANSFORMS[name].has_strength:
        raise LabError(f"{name} has no strength: write {name}, or {name}@0.5 for half of the images.")
    values = {"strength": strength} if colon else {} if TRANSFORMS[name].has_strength else {"strength": "1"}
    values |= {"probability": probability} if at else {}
    return Step(transform=name, **{key: _number(key, name, value) for key, value in values.items()})


def _number(what: str, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not finite(value):
        raise LabError(f"{text[:40]!r} is not valid: the {what} of {name} must be a number from 0 to 1.")
    return value + 0.0  # -0 is 0


def check_pipeline(text: str) -> str:
    """A pipeline in one way of writing; empty for none. Raises LabError for what is not one."""
    return parse_pipeline(text).spec if text.strip() else ""


_DRAWING = threading.Lock()


@contextmanager
def drawing(seed: int) -> Iterator[None]:
    """Inside it torch's global generator, from which torchvision draws, begins at `seed`; afterwards it is as it was. One
    thread at a time: two threads of a server must not share one sequence."""
    import torch

    with _DRAWING, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed GPUs too
        yield


def apply_pipeline(pixels: Tensor, pipeline: Pipeline, seed: int) -> Tensor:
    """Each image changed by its own draws. pixels: (B, H, W, 3) uint8 on any device, returns the same.

    The same seed gives the same images, and torch's global generator is left as it was. It runs on the CPU, so that all
    devices see the same.
    """
    import torch

    if pipeline.idle:
        return pixels
    transform = pipeline.build(pixels.shape[1])
    channels_first = pixels.cpu().permute(0, 3, 1, 2).contiguous()
    with drawing(seed):  # for a probability of 1 torchvision draws too
        if not pipeline.random:  # all images at once are the same then, and many times faster
            changed = transform(channels_first)
        else:
            changed = torch.stack([transform(image) for image in channels_first])
    return changed.permute(0, 2, 3, 1).contiguous().to(pixels.device)
