"""The sensitivity scan: one layer at a time, and the checkpoint as it was afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.compression.measuring.sensitivity import SensitivityRow, sensitivity, text_sensitivity
from core.compression.methods.pruning import apply_masks, magnitude_masks, prunable
from core.inference.images import logits_of
from core.inference.text import evaluate_text
from core.models import clone_model
from tests.unit.compression.compressible import SMALL_WRITERS, network, random_images, snapshot

SMALL = {"widths": [8, 10, 12]}


def accuracy(checkpoint: Checkpoint, images: np.ndarray, labels: np.ndarray) -> float:
    return float((logits_of(checkpoint, images, "none").argmax(1).numpy() == labels).mean())


def test_rows_are_the_plain_accuracy_and_that_of_each_layer_pruned_alone() -> None:
    original = network(**SMALL)
    images, _ = random_images(40)
    labels = logits_of(original, images, "none").argmax(1).numpy()  # all right, so that whatever is lost shows
    labels[:4] = (labels[:4] + 1) % 10
    before = snapshot(original)
    rows = sensitivity(original, images, labels, (0.9, 0.5))
    assert snapshot(original) == before
    assert rows[0] == SensitivityRow(layer="", amount=0.0, accuracy=accuracy(original, images, labels))
    assert rows[0].accuracy == 0.9
    names = [name.removesuffix(".weight") for name in prunable(original.model)]
    assert [(row.layer, row.amount) for row in rows[1:]] == [(name, amount) for name in names for amount in (0.5, 0.9)]
    for row in rows[1:]:
        model = clone_model(original.model)
        name = f"{row.layer}.weight"
        apply_masks(model, {name: magnitude_masks(model, row.amount, "layer")[name]})
        assert row.accuracy == accuracy(Checkpoint("pruned", original.card, model), images, labels)
    assert min(row.accuracy or 0 for row in rows) < 0.6


def test_channels_of_one_group_at_a_time() -> None:
    original = network("simple_cnn", widths=[8, 10])
    images, _ = random_images(40)
    labels = logits_of(original, images, "none").argmax(1).numpy()
    before = snapshot(original)
    rows = sensitivity(original, images, labels, (0.0, 0.5, 0.97), kind="channels")
    assert snapshot(original) == before
    expected = {("conv1", 0.0): 1.0, ("conv2", 0.0): 1.0}
    sizes = {
        name: before_.square().sum((1, 2, 3)) + after.square().view(10, count, -1).sum((0, 2))
        for name, before_, after, count in (
            ("conv1", original.model.conv1.weight, original.model.conv2.weight, 8),
            ("conv2", original.model.conv2.weight, original.model.head.weight, 10),
        )
    }
    for name, size in sizes.items():
        model = clone_model(original.model)
        for values in model.get_submodule(name).parameters():
            values[size.argsort()[: len(size) // 2]] = 0  # the same as being gone
        expected[name, 0.5] = accuracy(Checkpoint("silenced", original.card, model), images, labels)
    # Of 8 and of 10 channels, 0.97 would be all.
    assert {(row.layer, row.amount): row.accuracy for row in rows[1:]} == expected
    assert min(expected.values()) < 0.9


def test_text_rows_are_losses() -> None:
    original = network("char_lstm", **SMALL_WRITERS["char_lstm"])
    tokens = np.random.default_rng(0).integers(0, 20, 600)
    before = snapshot(original)
    rows = text_sensitivity(original, tokens, (0.5,), most_characters=500)
    assert snapshot(original) == before
    assert rows[0].loss_nats == pytest.approx(evaluate_text(original, tokens[:500]).loss_nats)
    assert [row.layer for row in rows] == ["", "layers.0.weight_ih_l0", "layers.0.weight_hh_l0", "head"]
    assert len({row.loss_nats for row in rows}) == 4
    assert all(row.accuracy is None for row in rows)


def test_at_most_so_many_images_are_looked_at() -> None:
    original = network(**SMALL)
    images, labels = random_images(60)
    few = sensitivity(original, images, labels, (0.5,), most_images=10)
    chosen = np.linspace(0, 59, 10).round().astype(int)
    assert few == sensitivity(original, images[chosen], labels[chosen], (0.5,))


def test_progress_rises_to_1_and_what_it_raises_ends_the_scan() -> None:
    original = network(**SMALL)
    told: list[float] = []
    words: list[str] = []

    def record(share: float, text: str) -> None:
        told.append(share)
        words.append(text)

    sensitivity(original, *random_images(4), (0.5,), on_progress=record)
    assert told == sorted(told)
    assert words[1:-1] == [f"scanning {name.removesuffix('.weight')}" for name in prunable(original.model)]
    assert (told[0], told[-1], len(told)) == (0.0, 1.0, len(prunable(original.model)) + 2)
    before = snapshot(original)

    class Stopped(Exception):
        pass

    def stop(share: float, text: str) -> None:
        told.append(share)
        if share > 0.4:
            raise Stopped

    told.clear()
    with pytest.raises(Stopped):
        sensitivity(original, *random_images(4), (0.5,), on_progress=stop)
    assert told[-1] < 0.6
    assert snapshot(original) == before


@pytest.mark.parametrize("amounts", [(), (1.0,), (-0.1,), (float("nan"),), ("half",)])
def test_amounts_out_of_range_are_refused(amounts: Any) -> None:
    with pytest.raises(LabError, match="from 0 to below 1"):
        sensitivity(network(**SMALL), *random_images(2), amounts)


def test_images_that_do_not_fit_are_refused() -> None:
    images, labels = random_images(3)
    with pytest.raises(LabError, match="label for each"):
        sensitivity(network(**SMALL), images, labels[:2])
    with pytest.raises(LabError, match="label for each"):
        sensitivity(network(**SMALL), images[:0], labels[:0])
    with pytest.raises(LabError, match="resize"):
        sensitivity(network(**SMALL), images[:, :16], labels)
    with pytest.raises(LabError, match="weights, channels"):
        sensitivity(network(**SMALL), images, labels, kind="layers")


@pytest.mark.slow
def test_rows_are_read_without_torch() -> None:
    code = "import sys, core.compression.measuring.sensitivity; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[4], check=False)
    assert done.returncode == 0
    row = SensitivityRow(layer="head", amount=0.5, accuracy=0.75)
    assert SensitivityRow(**row.to_dict()) == row
