"""A text with what each character looks at, by one head or through all layers, and all heads as small maps."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.attention.config import parse_head
from pages.shared.elements import component, sent

if TYPE_CHECKING:
    from core.attention.text import TextHeads

ALL = "all"
"""The tile of all layers together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """One head, or all layers."""

    name: str
    """`LAYER.HEAD`, or ALL."""
    role: str
    """In a word; empty where none is clear."""
    label: str
    sentence: str
    detail: str
    """What it does on this text, where the sentence is of more text."""


def heads(
    key: str,
    found: TextHeads,
    tiles: Sequence[Tile],
    head: str,
    at: int,
    following: str,
    *,
    dark: bool,
    on_head: Callable[[str], None],
    on_at: Callable[[int], None],
) -> None:
    """tiles: of all heads, layer by layer, and last of all layers. head, at: the tile and the character that are chosen.
    following: what is said of the next character. on_head, on_at: told which one somebody chose."""
    data: dict[str, Any] = {
        "text": found.text,
        "weights": pack(found),
        "across": 1 + max(parse_head(name)[1] for name in found.heads),
        "tiles": [asdict(tile) for tile in tiles],
        "head": head,
        "at": at,
        "next": following,
        "dark": dark,
    }
    names = [tile.name for tile in tiles]

    def clicked() -> None:
        if (name := sent(key, "head")) in names:
            on_head(name)

    def pointed() -> None:
        place = sent(key, "at")
        if isinstance(place, int | float) and 0 <= place < len(found.text):
            on_at(int(place))

    component(__file__, "room.js")(key=key, data=data, on_head_change=clicked, on_at_change=pointed)


def pack(found: TextHeads) -> str:
    """The lower triangle of every head and last of the rollout, row by row, a byte each, in base64."""
    every = np.concatenate([*found.weights, found.rollout[None]])
    rows, columns = np.tril_indices(len(found.text))
    return base64.b64encode((255 * every[:, rows, columns]).round().astype(np.uint8).tobytes()).decode()
