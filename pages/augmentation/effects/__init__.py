"""The map of transforms, drawn in the browser: point at a strength to see its image, choose a transform to see all of its."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.augmentation.results import Effect, EffectMap
from core.common.theme import BLUE, GREEN, ORANGE, PURPLE, for_theme
from core.common.values import signed
from core.training.augmentation import TRANSFORMS
from pages.shared.elements import component, sent

GROUPS = {
    "Moves": (BLUE, ("flip", "flip_vertical", "crop", "rotate", "shear", "scale")),
    "Colours": (ORANGE, ("brightness", "contrast", "saturation", "hue", "grayscale", "invert")),
    "Levels": (PURPLE, ("posterize", "solarize", "equalize", "autocontrast")),
    "Detail": (GREEN, ("blur", "sharpness", "erase")),
}
"""Transforms that work alike share a colour; each has its name beside it."""


def effects_map(key: str, found: EffectMap, chosen: str, *, dark: bool, on_choose: Callable[[str], None]) -> None:
    """chosen: the transform that is marked. on_choose: told which one somebody chose."""
    names = [item.transform for item in found.transforms]
    groups = {name: group for group, (_, members) in GROUPS.items() for name in members}
    data: dict[str, Any] = {
        "series": [
            {
                "name": item.transform,
                "title": TRANSFORMS[item.transform].title,
                "group": groups[item.transform],
                "points": [_point(effect) for effect in item.effects],
            }
            for item in found.transforms
        ],
        "colours": {group: for_theme(colour, dark) for group, (colour, _) in GROUPS.items()},
        "chosen": chosen,
    }

    def clicked() -> None:
        if (name := sent(key, "chosen")) in names:
            on_choose(name)

    component(__file__)(key=key, data=data, on_chosen_change=clicked)


def _point(effect: Effect) -> dict[str, Any]:
    worst = effect.worst
    return {
        "x": round(effect.added_loss, 3),
        "y": round(effect.affinity, 2),
        "words": effect.words,
        "image": effect.image,
        "figures": f"affinity {signed(effect.affinity)} points ({signed(effect.low)} to {signed(effect.high)}), "
        f"added loss {signed(effect.added_loss, 2)} nats",
        "worst": f"{worst.label} {signed(worst.points, 0)} points ({signed(worst.low, 0)} to {signed(worst.high, 0)})",
    }
