"""Changes by hand: what is left untouched, what an address may say, and a checkpoint like any other."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import binomtest
from torch import nn

from core.checkpoints.store import find_checkpoint, list_checkpoints, load_checkpoint, save_checkpoint
from core.common.errors import LabError
from core.convolution.arithmetic import parse_kernel
from core.convolution.config import Edit, EditConfig, parse_edits, write_edits
from core.convolution.edits import apply_edits, compare, probabilities, save_edited
from core.convolution.layers import activations
from core.convolution.shift import consistency, poolings, shift, shifted_answers, variants
from core.inference.images import logits_of
from core.jobs import RunStore
from tests.unit.convolution.networks import PIXELS, checkpoint
from tests.unit.in_process import finish

KERNEL = "1 2 3; 4 5 6; 7 8 9"


@pytest.mark.parametrize(
    ("name", "layer", "after"), [("simple_cnn", "conv1", "conv1"), ("fast_resnet", "blocks.0.conv", "blocks.0.norm")]
)
def test_a_channel_is_zero_and_the_others_are_as_before(name: str, layer: str, after: str) -> None:
    parent = checkpoint(name)
    before = {key: value.clone() for key, value in parent.model.state_dict().items()}
    made = apply_edits(parent, (Edit(what="zero", layer=layer, channel=3),))
    maps, old = activations(made, after, PIXELS[:2]), activations(parent, after, PIXELS[:2])
    assert not maps[:, 3].any()
    np.testing.assert_array_equal(np.delete(maps, 3, 1), np.delete(old, 3, 1))
    assert all(torch.equal(value, before[key]) for key, value in parent.model.state_dict().items())


def test_one_kernel_is_replaced() -> None:
    made = apply_edits(checkpoint(), (Edit(what="kernel", layer="conv2", channel=5, input=7, kernel=KERNEL),))
    old = checkpoint().model.conv2.weight
    np.testing.assert_array_equal(made.model.conv2.weight[5, 7], parse_kernel(KERNEL))
    assert int((made.model.conv2.weight != old).sum()) == 9


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({"what": "zero", "layer": "head"}, "no convolution"),
        ({"what": "zero", "layer": "conv1", "channel": 32}, "32 output and 3 input"),
        ({"what": "kernel", "layer": "conv1", "input": 3, "kernel": KERNEL}, "32 output and 3 input"),
        ({"what": "kernel", "layer": "conv1", "kernel": "1"}, "are 3×3"),
        ({"what": "pooling", "layer": "conv1", "pooling": "blur"}, "no max pooling"),
    ],
)
def test_a_change_that_does_not_fit_is_one_sentence(edit: dict[str, Any], words: str) -> None:
    with pytest.raises(LabError, match=words):
        apply_edits(checkpoint(), (Edit.from_dict(edit),))


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[3]",
        "nonsense",
        "[" * 3000,
        "[" + " " * 40_000 + "]",
        '[{"what": "zero"}]',
        '[{"what": "melt", "layer": "conv1"}]',
        '[{"what": "kernel", "layer": "conv1", "kernel": "nan"}]',
        '[{"what": "pooling", "layer": "pool1"}]',
        '[{"what": "zero", "layer": "conv1", "channel": -1}]',
        "[" + ",".join(['{"what": "zero", "layer": "conv1"}'] * 21) + "]",
    ],
)
def test_changes_in_an_address_are_checked(text: str) -> None:
    with pytest.raises(LabError):
        parse_edits(text)


def test_mcnemars_test_is_the_sign_test_of_the_disagreements() -> None:
    labels = np.arange(300) % 3
    sure = np.eye(3)[labels]
    worse = sure.copy()
    worse[:20] = np.roll(worse[:20], 1, 1)
    better_and_worse = compare(
        np.roll(sure, 1, 1) * (np.arange(300) < 5)[:, None] + sure * (np.arange(300) >= 5)[:, None], worse, labels
    )
    assert (better_and_worse.lost, better_and_worse.gained) == (15, 0)
    assert better_and_worse.p_value == pytest.approx(binomtest(0, 15).pvalue)
    assert better_and_worse.before == pytest.approx(295 / 300)
    low, high = better_and_worse.interval_points
    assert low < 100 * (better_and_worse.after - better_and_worse.before) < high


def test_what_is_kept_is_a_checkpoint_like_any_other(lab_home: Path) -> None:
    parent = checkpoint()
    save_checkpoint(lab_home / "runs" / "parent" / "best", parent.model, parent.card)
    edits = (
        Edit(what="zero", layer="conv1", channel=3),
        Edit(what="kernel", layer="conv2", channel=1, input=2, kernel=KERNEL),
        Edit(what="pooling", layer="pool1", pooling="blur"),
        Edit(what="pooling", layer="pool2", pooling="average"),
    )
    assert parse_edits(write_edits(edits)) == edits
    config = EditConfig(checkpoint="parent", edits=edits, model="simple_cnn", dataset="synthetic")
    measured = compare(np.eye(4)[[0, 1, 2]], np.eye(4)[[0, 1, 3]], np.array([0, 1, 2]))
    run_id = save_edited(config, "Mine", measured)
    reference = find_checkpoint(run_id)
    assert reference.card.parent == "parent"
    assert reference.card.title == "Mine"
    assert "channel 3 of conv1 is zero" in reference.card.notes
    assert reference.card.metrics["test_accuracy"] == pytest.approx(2 / 3)
    assert run_id in [item.name for item in list_checkpoints()]
    kept = load_checkpoint(reference)
    expected = apply_edits(dataclasses.replace(parent, name="parent"), edits)
    assert torch.equal(logits_of(kept, PIXELS, "none"), logits_of(expected, PIXELS, "none"))
    again = apply_edits(kept, (Edit(what="zero", layer="conv1", channel=4),))
    assert again.card.model_config == reference.card.model_config
    run = RunStore().get(run_id)
    assert (run.status, run.resumable, run.config) == ("finished", False, config)
    other = finish(RunStore(), RunStore().create(config, kind="edit"))
    assert other.status == "finished", other.message
    assert torch.equal(logits_of(load_checkpoint(other.id), PIXELS, "none"), logits_of(kept, PIXELS, "none"))


def test_nothing_is_left_of_a_change_that_cannot_be_kept(lab_home: Path) -> None:
    parent = checkpoint()
    save_checkpoint(lab_home / "runs" / "parent" / "best", parent.model, parent.card)
    bad = (Edit(what="zero", layer="conv9"),)
    with pytest.raises(LabError):
        save_edited(EditConfig(checkpoint="parent", edits=bad, model="simple_cnn", dataset="synthetic"))
    assert RunStore().list() == []


def test_an_image_moves_by_whole_pixels() -> None:
    image = PIXELS[0]
    for down, right in ((0, 0), (3, -2), (-8, 8)):
        moved = shift(image, down, right)
        assert moved.shape == image.shape
        inside = np.roll(image, (down, right), (0, 1))[8:-8, 8:-8]
        np.testing.assert_array_equal(moved[8:-8, 8:-8], inside)
    np.testing.assert_array_equal(shift(image, 2, 0)[0], image[2])  # mirrored


def test_answers_at_every_shift_are_those_to_the_moved_image() -> None:
    made = checkpoint()
    found = shifted_answers(made, PIXELS[0], 2, 1.5)
    for down, right in ((0, 0), (-2, 1)):
        expected = probabilities(made, shift(PIXELS[0], down, right), 1.5)
        np.testing.assert_allclose(found.probabilities[down + 2, right + 2], expected, atol=1e-6)
    answers = found.probabilities.argmax(2)
    assert found.same == pytest.approx((answers == answers[2, 2]).mean())
    for reach in (0, 9):
        with pytest.raises(LabError, match="1 to 8"):
            shifted_answers(made, PIXELS[0], reach, 1.0)


def test_each_variant_swaps_the_poolings_that_move() -> None:
    made = checkpoint("fast_resnet")
    assert poolings(made) == ["blocks.0.pool", "blocks.1.pool", "blocks.2.pool"]
    found = variants(made)
    assert list(found) == ["max", "average", "stride", "blur"]
    x = torch.randn(2, 8, 31, 31)
    pooled = found["blur"].model.blocks[0].pool(x)
    taps = torch.outer(torch.tensor([1.0, 2, 1]), torch.tensor([1.0, 2, 1])) / 16
    dense = F.pad(F.max_pool2d(x, 2, 1), (1, 1, 1, 1), mode="reflect")
    expected = torch.stack(
        [F.conv2d(channel[None, None], taps[None, None], stride=2)[0, 0] for channel in dense.flatten(0, 1)]
    )
    torch.testing.assert_close(pooled, expected.view_as(pooled))


def test_a_pooling_with_padding_is_swapped_too() -> None:
    made = checkpoint("compact_transformer")
    found = variants(made)
    assert list(found) == ["max", "average", "stride", "blur"]
    x = torch.randn(1, 4, 9, 9)
    for name in poolings(made):
        pool, *others = (found[kind].model.get_submodule(name) for kind in found)
        assert pool.padding == 1
        assert all(other(x).shape == pool(x).shape for other in others)
    assert all(torch.isfinite(logits_of(network, PIXELS, "none")).all() for network in found.values())


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0"])
def test_a_convolution_with_a_stride_is_anti_aliased(name: str) -> None:
    made = checkpoint(name)
    found = variants(made)
    assert list(found) == ["stride", "blur"]
    before, after = (list(found[kind].model.parameters()) for kind in found)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    places = {
        layer: module
        for layer, module in made.model.named_modules()
        if isinstance(module, nn.Conv2d) and module.stride[0] > 1
    }
    assert places
    for layer, strided in places.items():
        blurred = found["blur"].model.get_submodule(layer)
        x = torch.randn(1, strided.in_channels, 24, 24)
        every = F.conv2d(x, strided.weight, strided.bias, 1, strided.padding, 1, strided.groups)
        taps = torch.tensor([0.25, 0.5, 0.25])
        expected = F.conv2d(
            F.pad(every.transpose(0, 1), (1, 1, 1, 1), mode="reflect"), torch.outer(taps, taps)[None, None], stride=2
        ).transpose(0, 1)
        torch.testing.assert_close(blurred(x), expected)
        assert blurred(x).shape == strided(x).shape
        inside = (..., slice(4, -4), slice(4, -4))
        moved = blurred(x.roll((2, 2), (2, 3)))
        torch.testing.assert_close(moved[inside], blurred(x).roll((1, 1), (2, 3))[inside])
        flat = torch.ones_like(x)
        torch.testing.assert_close(blurred(flat)[inside], strided(flat)[inside])


def test_consistency_counts_images_with_one_answer_at_two_shifts() -> None:
    made = checkpoint()
    labels = np.zeros(len(PIXELS), dtype=np.int64)
    found = consistency(made, PIXELS, labels, 4, 7, lambda share, words: None)
    moves = np.random.default_rng(7).integers(-4, 5, (2, len(PIXELS), 2))
    answers = [
        [
            int(probabilities(made, shift(image, *map(int, move)), 1.0).argmax())
            for image, move in zip(PIXELS, pair, strict=True)
        ]
        for pair in moves
    ]
    assert found.same == sum(one == other for one, other in zip(*answers, strict=True))
    assert found.interval[0] <= found.same / found.images <= found.interval[1]
