"""The card of a network from elsewhere: what a person said of it, what its file says, and what the lab changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from core.checkpoints.store import Card
from core.common.errors import LabError
from core.common.values import one_line
from core.data.dataset import NO_DATASET, ImageCard
from core.networks.choices import Choices


def card_of(
    choices: Choices, data: ImageCard | None, file: str, model: str, config: dict[str, Any], notes: Sequence[str]
) -> Card:
    """data: the card of the dataset that fits, if one does. Raises LabError where classes or image size are not the
    network's."""
    count, side = config["classes"], config["image_size"]
    mean, std = choices.normalisation
    classes = choices.classes or (data.classes if data else tuple(f"class {number}" for number in range(count)))
    if len(classes) != count:
        raise LabError(f"The network answers with {count:,} classes, and {len(classes):,} are named: name as many.")
    if data and classes != data.classes:
        raise LabError(f"{data.title[:60]} has other classes: choose the same names in the same order, or no dataset.")
    if data and data.image_size != side:
        raise LabError(
            f"The images of {data.title[:60]} have {data.image_size} pixels: set the size of the images to {data.image_size}."
        )
    name = one_line(PurePosixPath(file.replace("\\", "/")).name, 100)
    return Card(
        title=one_line(choices.title, 100) or name.rsplit(".", 1)[0] or "My network",
        model=model,
        model_config=config,
        dataset=ImageCard(
            name=data.name if data else NO_DATASET,
            title=data.title if data else "data that are not here",
            sizes=data.sizes if data else {},
            split=data.split if data else "",
            source=data.source if data else "",
            sha256=data.sha256 if data else {},
            classes=classes,
            image_size=side,
            fit=choices.fit,
            mean=mean,
            std=std,
        ),
        notes=" ".join([f"Brought as {name}.", *notes]),
    )
