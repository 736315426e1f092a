"""Make the feature galleries that ship: 16 channels after each convolution and 16 classes of the networks that ship, and of
some layers of the ImageNet backbone.

python -m scripts.make_features [CHECKPOINT ...] [--layer LAYER]
"""

from __future__ import annotations

import argparse
import json
import time

import torch

from core.checkpoints.backbone import BACKBONES, fetch_backbone
from core.checkpoints.store import find_checkpoint, load_checkpoint, version_words
from core.common.devices import hardware
from core.common.output import Bar, note
from core.data import load_images
from core.features.config import GalleryConfig
from core.features.results import GALLERIES, Gallery
from core.features.source import source_of
from core.features.unit import study_units
from core.features.units import Layer, layers_of

CHECKPOINTS = ("simple_cnn", "fast_resnet", "compact_transformer", *BACKBONES)
SOME_LAYERS = {"efficientnet_lite0": ("blocks.5.expand.act", "last.act")}
"""Of a network with too many: one in the middle, and the last."""
CHANNELS = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", nargs="*", default=CHECKPOINTS)
    parser.add_argument("--layer", help="this one alone")
    given = parser.parse_args()
    GALLERIES.shipped.mkdir(exist_ok=True)
    for name in given.checkpoints:
        if name in BACKBONES:
            fetch_backbone(name)
        layers = [layer for layer in layers_of(load_checkpoint(name)) if layer.follows or layer.classes]
        for layer in layers:
            if layer.name in ((given.layer,) if given.layer else SOME_LAYERS.get(name, (layer.name,))):
                make(name, layer)


def make(name: str, layer: Layer) -> None:
    """One gallery, as NAME-LAYER.json."""
    reference = find_checkpoint(name)
    checkpoint, test = load_checkpoint(reference), load_images(source_of(reference.card).dataset).test
    config = GalleryConfig.of(reference, layer.name, range(min(CHANNELS, layer.channels)))
    started = time.monotonic()
    with Bar() as bar:
        units = tuple(study_units(checkpoint, layer.name, config.channels, test, on_progress=bar.show))
    note(f"{name}, {layer.name}: {len(units)} channels in {time.monotonic() - started:.0f} s")
    made = {
        "hardware": hardware("cpu"),
        "versions": version_words(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "threads": str(torch.get_num_threads()),
    }
    gallery = Gallery(config=config, units=units, made=made)
    text = json.dumps(gallery.to_dict(), separators=(",", ":"))
    (GALLERIES.shipped / f"{name}-{layer.name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
