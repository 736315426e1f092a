"""Make the descents and surfaces that ship: a few minutes on one core.

python -m scripts.make_descents trained
python -m scripts.make_descents untrained
python -m scripts.make_descents surface path RUN_ID      # of a finished surface
"""

from __future__ import annotations

import dataclasses
import json
import sys

from core.checkpoints.store import load_checkpoint
from core.common.output import Bar
from core.data import load_images
from core.data.splits import subset
from core.descent.network import network_loss, sweep_network
from core.descent.results import SURFACES, SWEEPS, NetworkSweep, read_surface
from core.jobs import RunStore
from core.models import build_model

IMAGES, UNTRAINED_IMAGES = 200, 100
UNTRAINED_RATES = (0.04, 0.08, 0.16)
"""Two of them are below 2/λ at the start, and above it once λ has risen."""
UNTRAINED_STEPS = 200


def make_trained() -> None:
    """Simple CNN as it ships, at rates around 2/λ."""
    with Bar() as bar:
        loss = network_loss(load_checkpoint("simple_cnn"), subset(load_images("cifar10").train, IMAGES, 0))
        _write("trained", sweep_network(loss, name="simple_cnn", title="Simple CNN", on_progress=bar.show))


def make_untrained() -> None:
    """Simple CNN with random weights, until λ reaches 2/η."""
    import torch

    checkpoint = load_checkpoint("simple_cnn")
    torch.manual_seed(0)
    model = build_model("simple_cnn", checkpoint.card.model_config)
    images = subset(load_images("cifar10").train, UNTRAINED_IMAGES, 0)
    loss = network_loss(dataclasses.replace(checkpoint, model=model), images)
    with Bar() as bar:
        found = sweep_network(
            loss,
            name="simple_cnn",
            title="Simple CNN with random weights",
            rates=UNTRAINED_RATES,
            steps=UNTRAINED_STEPS,
            every=10,
            on_progress=bar.show,
        )
    _write("untrained", found)


def _write(name: str, found: NetworkSweep) -> None:
    path = SWEEPS.shipped / f"{name}.json"
    path.write_text(json.dumps(_rounded(found.to_dict()), separators=(",", ":")) + "\n")


def make_surface(name: str, run_id: str) -> None:
    store = RunStore()
    found = read_surface(store.folder(run_id), store.config(run_id))
    path = SURFACES.shipped / f"{name}.json"
    path.write_text(json.dumps(_rounded(found.to_dict()), separators=(",", ":")) + "\n")


def _rounded(value: object) -> object:
    """Six significant digits: more than a page shows."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    if sys.argv[1] in ("trained", "untrained"):
        {"trained": make_trained, "untrained": make_untrained}[sys.argv[1]]()
    else:
        make_surface(*sys.argv[2:])
