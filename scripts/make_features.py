"""Make the feature galleries that ship: 16 channels after each convolution of Simple CNN and Fast ResNet, about ten minutes.

python -m scripts.make_features [CHECKPOINT ...] [--layer LAYER]
"""

from __future__ import annotations

import argparse
import json
import time

import torch

from core.checkpoints.store import find_checkpoint, load_checkpoint, version_words
from core.common.devices import hardware
from core.common.errors import LabError
from core.common.output import Bar, note
from core.data import load_images
from core.features.config import GalleryConfig
from core.features.results import GALLERIES, Gallery
from core.features.unit import study_unit
from core.features.units import Layer, layers_of

CHECKPOINTS = ("simple_cnn", "fast_resnet")
CHANNELS = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", nargs="*", default=CHECKPOINTS)
    parser.add_argument("--layer", help="this one alone")
    given = parser.parse_args()
    GALLERIES.shipped.mkdir(exist_ok=True)
    for name in given.checkpoints:
        try:
            layers = layers_of(load_checkpoint(name))
        except LabError as error:
            note(f"{name} is left out: {error}")
            continue
        for layer in layers:
            if (layer.follows or layer.classes) and given.layer in (None, layer.name):
                make(name, layer)


def make(name: str, layer: Layer) -> None:
    """One gallery, as NAME-LAYER.json."""
    reference = find_checkpoint(name)
    card, checkpoint = reference.card, load_checkpoint(reference)
    test = load_images(card.image_data.name).test
    config = GalleryConfig(
        checkpoint=name,
        layer=layer.name,
        channels=tuple(range(min(CHANNELS, layer.channels))),
        model=card.model,
        dataset=card.dataset.name,
        fingerprint=card.fingerprint,
    )
    started = time.monotonic()
    with Bar() as bar:
        units = tuple(
            study_unit(checkpoint, layer.name, channel, test, on_progress=bar.show) for channel in config.channels
        )
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
