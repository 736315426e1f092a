"""A card as strangers may read it: of folders of this machine, only their own names."""

from __future__ import annotations

import dataclasses
import re
from pathlib import PurePosixPath

from core.checkpoints.store import Card

PLACES = ("dataset", "extra_dataset", "init_from")
"""Settings of a recipe that may be folders."""
_KNOWN = re.compile(r"[\w-]*(/[\w-]+)?|(generated|torchvision|upload):[\w-]+")


def public_card(card: Card) -> Card:
    """The same card, for a file that leaves this machine."""
    done, data = dict(card.compression), card.dataset
    if done:
        done["original"] = public_name(str(done["original"]))
    recipe = {name: public_name(value) if name in PLACES else value for name, value in card.recipe.items()}
    source = re.sub(r"^(The folder|The file) (.*)", lambda found: f"{found[1]} {_last(found[2])}", data.source)
    dataset = dataclasses.replace(data, name=public_name(data.name), source=source)
    return dataclasses.replace(
        card, parent=card.parent and public_name(card.parent), compression=done, recipe=recipe, dataset=dataset
    )


def public_name(name: str) -> str:
    """The name of a checkpoint or dataset (`fast_resnet`, `<run id>/last`, `cifar10`) as it is; that of a folder or file
    (`folder:/home/me/cats`) without what is above it."""
    if not isinstance(name, str) or _KNOWN.fullmatch(name):
        return name
    kind, colon, path = name.rpartition(":") if name.startswith(("folder:", "text:")) else ("", "", name)
    return f"{kind}{colon}{_last(path)}"


def _last(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/")).name
