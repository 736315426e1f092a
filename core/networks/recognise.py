"""Which architecture of torchvision weights are of, by the names and shapes of their tensors. No value of them is read.

`architectures.json` has a row for each architecture; `python -m scripts.make_fingerprints` writes it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from core.models import build_model
from core.models.torchvision_names import architecture_title
from core.networks.choices import MAX_CLASSES

TABLE = Path(__file__).parent / "architectures.json"
MODEL = "torchvision"
PART = "network."
"""Of the names here before torchvision's."""
COUNTS = ".num_batches_tracked"
"""End of names that files from before PyTorch counted batches do not have."""
POSITIONS = "encoder.pos_embedding"
"""Of a vision transformer, (1, patches + 1, width): the only shape that depends on the size of the images."""
SKETCH = 64
"""Hashes by which architectures are compared: the smallest of all names, and of all names with shapes (MinHash)."""
MOST_DIFFERENCES = 1
"""That a sentence names."""
MOST_SIZES = 5
"""Of a tensor, that a sentence names."""

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recognised:
    architecture: str
    """The one with these names and shapes, whatever the number of classes; where there is none, the likest; empty where none has
    anything in common."""
    classes: int
    """0 where none fits."""
    sentence: str
    """What was found, for people."""


def recognise(shapes: Shapes) -> Recognised:
    """shapes: of the tensors, by torchvision's names."""
    rows = _rows()
    for head in sorted({row["head"] for row in rows.values()}):
        exact = _exact(shapes, head)
        for name, row in rows.items():
            if (row["head"], row["exact"]) == (head, exact):
                classes = classes_of(shapes, name)
                if problem := not_taken(name, classes):
                    return Recognised(architecture=name, classes=0, sentence=problem)
                sentence = f"Recognised: {architecture_title(name)}, {classes:,} classes."
                return Recognised(architecture=name, classes=classes, sentence=sentence)
    sketch = set(_sketch(shapes))
    common, nearest = max((len(sketch & set(row["sketch"])), name) for name, row in rows.items())
    if not common:
        sentence = "No architecture of torchvision has tensors of these names: export the network as ONNX instead."
        return Recognised(architecture="", classes=0, sentence=sentence)
    wanted = shapes_of(
        {"architecture": nearest, "classes": max(2, min(classes_of(shapes, nearest), MAX_CLASSES))}
        | size_of(shapes, nearest)
    )
    first = ", ".join(islice(differences(shapes, wanted), MOST_DIFFERENCES))
    title = architecture_title(nearest)
    sentence = f"No architecture fits, the nearest is {title} ({first}): export the network as ONNX instead."
    return Recognised(architecture=nearest, classes=0, sentence=sentence)


def classes_of(shapes: Shapes, architecture: str) -> int:
    """How many classes weights of that architecture are for; 0 where they have no layer for it."""
    return next(iter(shapes.get(f"{_rows()[architecture]['head']}.weight", ())), 0)


def not_taken(architecture: str, classes: int) -> str:
    """Why weights for so many classes are not taken, in a sentence; empty where they are."""
    if 2 <= classes <= MAX_CLASSES:
        return ""
    title, noun = architecture_title(architecture), "class" if classes == 1 else "classes"
    return f"These are weights of {title} for {classes:,} {noun}: networks of 2 to {MAX_CLASSES:,} classes are taken."


def size_of(shapes: Shapes, architecture: str) -> dict[str, int]:
    """`image_size`, pixels, of the images that the weights are for, where their shapes tell."""
    shape = shapes.get(POSITIONS, ())
    if not architecture.startswith("vit_") or len(shape) != 3:
        return {}
    side = math.isqrt(max(shape[1] - 1, 0)) * int(architecture.rpartition("_")[2])
    return {"image_size": side} if 8 <= side <= 512 else {}


def shapes_of(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Of a network of torchvision, by its own names. config: of `torchvision` in core.models. Raises LabError."""
    with torch.device("meta"):
        state = build_model(MODEL, config).state_dict()
    return {key.removeprefix(PART): tuple(value.shape) for key, value in state.items()}


def differences(shapes: Shapes, wanted: Shapes) -> Iterator[str]:
    """Where shapes are not those wanted, as parts of a sentence."""
    for key in dict.fromkeys((*wanted, *shapes)):
        if key not in shapes:
            if not key.endswith(COUNTS):
                yield f"{key[:60]} is missing"
        elif key not in wanted:
            yield f"{key[:60]} is not part of it"
        elif shapes[key] != wanted[key]:
            its, here = map(_size_words, (shapes[key], wanted[key]))
            yield f"{key[:60]} is {its} and must be {here}"


def _size_words(shape: tuple[int, ...]) -> str:
    if len(shape) > MOST_SIZES:
        return f"{len(shape)} dimensions"
    return "×".join(map(str, shape)) or "one number"


def fingerprint(architecture: str) -> dict[str, Any]:
    """The row of the table: `head` (the layer that gives the logits), `exact` and `sketch` (hashes of names and shapes)."""
    few, more = (shapes_of({"architecture": architecture, "classes": classes}) for classes in (2, 3))
    (head,) = {key.rpartition(".")[0] for key in few if few[key] != more[key]}
    return {"head": head, "exact": _exact(few, head), "sketch": _sketch(few)}


@cache
def _rows() -> dict[str, Any]:
    rows: dict[str, Any] = json.loads(TABLE.read_text())
    return rows


def _exact(shapes: Shapes, head: str) -> str:
    """One hash of all names and shapes, but for the number of classes and the size of images."""
    free = {POSITIONS: 1, f"{head}.weight": 0, f"{head}.bias": 0}
    lines = []
    for key, shape in shapes.items():
        if key.endswith(COUNTS):
            continue
        sizes: list[Any] = list(shape)
        if key in free and len(sizes) > free[key]:
            sizes[free[key]] = "any"
        lines.append(f"{key} {sizes}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def _sketch(shapes: Shapes) -> list[int]:
    parts = [
        part for key, shape in shapes.items() if not key.endswith(COUNTS) for part in (key, f"{key} {list(shape)}")
    ]
    return sorted(int(hashlib.sha256(part.encode()).hexdigest()[:8], 16) for part in parts)[:SKETCH]
