"""Units by number and by rule: planted ones are found, and what there is not is one sentence."""

from __future__ import annotations

import dataclasses
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.common.pixels import from_png
from core.data.cifar10 import CLASSES
from core.data.dataset import Split
from core.data.splits import subset
from core.features.classes import Ablation, ClassEffect, ablate
from core.features.layer import image_statistics, redundancy, spatial_frequency, study_layer
from core.features.results import Unit, crop
from core.features.source import source_of
from core.features.surrogate import fit_surrogate
from core.features.unit import prune, round_to_int8, study_unit
from core.features.units import Responses, find_layer, layers_of, random_twin, real_images, responses_of, usual_layer
from core.inference.images import logits_of, normalise
from core.models import build_model
from tests.unit.features.planted import DEAD, FIRST_COPY, LAYER, RED, SECOND_COPY, coloured, planted

TEST = coloured().test


@pytest.fixture(autouse=True)
def _home(lab_home: Path) -> None:
    """Responses are kept in a LAB_HOME of the test's own."""


@pytest.fixture
def made() -> Checkpoint:
    return planted()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A unit as a file has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_HOME", str(tmp_path_factory.mktemp("whole")))
        unit = study_unit(planted(), LAYER, RED, TEST, steps=8, diverse=True)
    assert unit.response > 0
    assert Unit.from_dict(unit.to_dict()) == unit
    return json.loads(json.dumps(unit.to_dict()))


@pytest.mark.parametrize("name", ["simple_cnn", "fast_resnet", "compact_transformer"])
def test_responses_are_means_of_maps(name: str) -> None:
    config = {"classes": 4, "widths": (8, 12, 16)} if name == "fast_resnet" else {"classes": 4}
    parent = planted()
    model = build_model(name, config).eval().requires_grad_(False)
    checkpoint = Checkpoint(name, dataclasses.replace(parent.card, model=name, model_config=config), model)
    layers = layers_of(checkpoint)
    assert layers[-1].classes
    assert layers[-1].channels == 4
    assert usual_layer(layers).follows
    weighs = [name for name, module in model.named_modules() if isinstance(module, nn.Softmax)]
    assert bool(weighs) == (name == "compact_transformer")
    assert not {*weighs} & {layer.name for layer in layers}, "a softmax has one mean for all images"
    inputs, seen = normalise(torch.from_numpy(TEST.images[:3]), checkpoint.card), {}
    for layer in layers:
        hook = model.get_submodule(layer.name).register_forward_hook(
            lambda module, args, output, name=layer.name: seen.__setitem__(name, output)
        )
        with torch.inference_mode():
            logits = model(inputs)
            found = Responses(model, layer.name)(inputs)
        hook.remove()
        output = seen[layer.name]
        expected = output.mean((2, 3)) if output.ndim == 4 else output.mean(1) if output.ndim == 3 else logits
        assert found.shape == (3, layer.channels)
        torch.testing.assert_close(found, expected)


def test_responses_are_kept_on_disk(made: Checkpoint, lab_home: Path) -> None:
    first = responses_of(made.model, made.card, LAYER, TEST)
    assert len(list((lab_home / "responses").iterdir())) == 1

    def never(share: float, words: str) -> None:
        raise AssertionError("it computes again")

    np.testing.assert_array_equal(responses_of(made.model, made.card, LAYER, TEST, never), first)
    logits = responses_of(made.model, made.card, "head", TEST)
    np.testing.assert_allclose(logits, logits_of(made, TEST.images, "none"), atol=1e-4)


def test_two_threads_compute_once_and_get_the_same(made: Checkpoint, lab_home: Path) -> None:
    begun, calls = threading.Event(), []

    def slowly(share: float, words: str) -> None:
        calls.append(share)
        begun.set()
        waiting.wait(5)

    waiting = threading.Event()

    def wait(share: float, words: str) -> None:
        assert share == 0, "the second computes nothing"
        waiting.set()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(responses_of, made.model, made.card, LAYER, TEST, slowly)
        assert begun.wait(10)
        second = pool.submit(responses_of, made.model, made.card, LAYER, TEST, wait)
        np.testing.assert_array_equal(first.result(30), second.result(30))
    assert waiting.is_set()
    assert calls == [0.0]
    assert [item.suffix for item in (lab_home / "responses").iterdir()] == [".npy"]


def test_the_red_unit_is_found_by_image_rule_and_number(made: Checkpoint) -> None:
    unit = study_unit(made, LAYER, RED, TEST, steps=256)
    red, green, blue = from_png(unit.image).reshape(-1, 3).mean(0)
    assert red > 1.4 * max(green, blue)
    assert unit.multiple is not None
    assert unit.multiple > 0.8, "nothing is redder than even red"
    column = responses_of(made.model, made.card, LAYER, TEST)[:, RED]
    assert unit.strongest == column.max() == column[unit.most[0]]
    assert list(unit.most_responses) == sorted(column)[::-1][:9]
    assert column[unit.least[0]] == column.min()
    assert unit.top_classes[0][0] == "a"
    assert sum(count for _, count in unit.top_classes) == 100
    assert unit.survival is not None
    assert 0.9 < unit.survival["int8"] < 1.1
    assert 0.7 < unit.survival["seed"] < 1.4
    facts = study_layer(made, LAYER, TEST)
    assert max((item for item in facts.channels), key=lambda item: item.chroma).channel == RED
    assert facts.channels[RED].hue == "red"
    assert facts.channels[RED].unit_class == unit.top_classes[0][0] == "a"


def test_a_unit_survives_json_and_is_the_same_again(made: Checkpoint) -> None:
    unit = study_unit(made, "head", 2, TEST, steps=8, seed=3, diverse=True)
    assert unit.title == "The class c"
    assert len(unit.diverse) == 4
    assert Unit.from_dict(json.loads(json.dumps(unit.to_dict()))) == unit
    assert study_unit(made, "head", 2, TEST, steps=8, seed=3, diverse=True) == unit


@pytest.mark.parametrize(
    "change",
    [
        {"response": "5"},
        {"channel": True},
        {"channel": -1},
        {"title": 7},
        {"dead": 0},
        {"image": "AAAA"},
        {"diverse": ["x"]},
        {"most": [1, 2]},
        {"most": "012345678"},
        {"most": [0.5] * 9},
        {"least_responses": [1.0] * 8},
        {"top_classes": []},
        {"top_classes": [["a", "b"]]},
        {"images": 0},
        {"survival": {"seed": 1.0}},
        {"survival": None},
        {"random": {"image": "", "response": 1.0, "strongest": 1.0, "images": 1}},
        {"response": float("nan")},
        {"strongest": float("inf")},
        {"most_responses": [float("nan")] * 9},
        {"survival": {"seed": 1.0, "int8": float("inf"), "pruned": 1.0}},
    ],
    ids=str,
)
def test_a_damaged_unit_is_refused(whole: dict[str, Any], change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Unit.from_dict(whole | change)


def test_dead_and_redundant_units_are_called_so(made: Checkpoint) -> None:
    facts = study_layer(made, LAYER, TEST)
    assert DEAD in facts.dead
    assert RED not in facts.dead
    assert facts.channels[FIRST_COPY].twin == SECOND_COPY
    assert facts.channels[SECOND_COPY].twin == FIRST_COPY
    assert {FIRST_COPY, SECOND_COPY} <= set(facts.redundant)
    assert DEAD not in facts.redundant
    unit = study_unit(made, LAYER, DEAD, TEST, steps=8)
    assert unit.dead
    assert unit.multiple is None
    assert "dead" in unit.answer


def test_a_unit_that_no_image_drives_has_no_numbers_of_it(made: Checkpoint) -> None:
    made.model.head.weight[1], made.model.head.bias[1] = 0.001 * made.model.head.weight[1], -50.0
    unit = study_unit(made, "head", 1, TEST, steps=8)
    assert unit.response < 0
    assert unit.multiple is None
    assert unit.survival is None
    assert unit.answer.endswith("no image was found that drives it")
    assert Unit.from_dict(json.loads(json.dumps(unit.to_dict()))) == unit


def test_redundancy_is_numpys_correlation() -> None:
    values = np.random.default_rng(0).normal(size=(50, 6))
    values[:, 5] = -3 * values[:, 1] + 0.01 * values[:, 0]
    twin, found = redundancy(values, np.zeros(6, dtype=bool))
    expected = np.corrcoef(values.T) - np.eye(6)
    assert twin.tolist() == np.abs(expected).argmax(1).tolist()
    np.testing.assert_allclose(found, expected[np.arange(6), twin])
    assert found[1] < -0.95


def test_selectivity_is_the_share_of_the_variance_between_classes(made: Checkpoint) -> None:
    facts = study_layer(made, LAYER, TEST)
    column = responses_of(made.model, made.card, LAYER, TEST)[:, RED].astype(np.float64)
    groups = [column[TEST.labels == label] for label in range(4)]
    between = sum(len(group) * (group.mean() - column.mean()) ** 2 for group in groups)
    assert facts.channels[RED].selectivity == pytest.approx(between / ((column - column.mean()) ** 2).sum())


def test_a_grating_has_its_own_frequency() -> None:
    places = np.arange(32)
    grating = 128 + 100 * np.cos(2 * np.pi * places * 8 / 32)
    image = np.repeat(np.broadcast_to(grating, (32, 32))[..., None], 3, 2).astype(np.uint8)
    found = spatial_frequency(np.stack([image, np.full_like(image, 7)]))
    assert found[0] == pytest.approx(0.25, abs=0.01)
    assert found[1] == 0


def test_changed_copies_leave_the_network_alone(made: Checkpoint) -> None:
    before = {key: value.clone() for key, value in made.model.state_dict().items()}
    rounded, pruned, twin = round_to_int8(made.model), prune(made.model), random_twin(made.model, 0)
    assert all(torch.equal(value, before[key]) for key, value in made.model.state_dict().items())
    step = made.model.conv2.weight.abs().amax((1, 2, 3)) / 127
    assert ((rounded.conv2.weight - made.model.conv2.weight).abs() <= step[:, None, None, None] / 2 + 1e-7).all()
    weights = [layer.weight.flatten() for layer in (pruned.conv1, pruned.conv2, pruned.head)]
    assert (torch.cat(weights) == 0).float().mean() == pytest.approx(0.5, abs=0.01)
    again = random_twin(made.model, 0)
    assert torch.equal(twin.conv2.weight, again.conv2.weight)
    assert not torch.equal(twin.conv2.weight, made.model.conv2.weight)


def test_without_the_only_path_of_a_class_it_falls(made: Checkpoint) -> None:
    """Class 0 is recognised by red alone."""
    model = made.model
    model.conv2.weight.zero_()
    model.conv2.bias.zero_()
    model.conv2.weight[0, RED, 1, 1] = 1.0
    model.head.weight.zero_()
    model.head.bias.copy_(torch.tensor([-800.0, 0, 0, 0]))
    model.head.weight[0, :36] = 1.0
    found = ablate(made, LAYER, RED, TEST)
    effects = {item.label: item for item in found.classes}
    assert (found.images, found.mean_over) == (300, 300)
    assert effects["a"].before == 1
    assert effects["a"].after == 0
    assert effects["a"].sure
    assert effects["a"].contribution is None, "layers stand between"
    assert "a falls by 100.0 points" in found.answer
    last = ablate(made, "relu2", 0, TEST)
    contributions = [item.contribution for item in last.classes]
    assert contributions[0] is not None
    assert contributions[0] > 0
    assert sum(contributions) == pytest.approx(0, abs=1e-4)
    other = ablate(made, "relu2", 5, TEST)
    assert not any(item.sure for item in other.classes)


def test_the_answer_is_the_largest_fall_that_is_sure() -> None:
    def effect(label: str, after: float, interval: tuple[float, float]) -> ClassEffect:
        return ClassEffect(
            label=label, images=100, before=0.9, after=after, interval_points=interval, contribution=None
        )

    def answer(*classes: ClassEffect) -> str:
        return Ablation(
            layer=LAYER, channel=0, images=300, mean_over=300, before=0.9, after=0.8, classes=classes
        ).answer

    chance, small = effect("chance", 0.5, (-90.0, 10.0)), effect("small", 0.8, (-15.0, -5.0))
    large, rise = effect("large", 0.7, (-25.0, -15.0)), effect("rise", 1.0, (5.0, 15.0))
    assert "large falls by 20.0 points" in answer(chance, small, large, rise)
    assert "no class falls for certain" in answer(chance, rise)


def test_contributions_add_up_to_the_mean_logit(made: Checkpoint) -> None:
    small = Split(images=TEST.images[:40], labels=TEST.labels[:40])
    channels = [ablate(made, "relu2", channel, small).classes for channel in range(8)]
    totals = np.array([[item.contribution for item in classes] for classes in channels]).sum(0)
    logits = logits_of(made, small.images, "none").mean(0) - made.model.head.bias
    np.testing.assert_allclose(totals, logits - logits.mean(), atol=1e-4)


def test_a_patch_holds_what_its_channel_looks_for(made: Checkpoint) -> None:
    """A cross at a known place of one image; at the border the patch reaches past it."""
    cross = np.zeros((3, 3), np.float32)
    cross[1], cross[:, 1] = 1, 1
    made.model.conv1.weight[5] = torch.from_numpy(cross - cross.mean()).expand(3, 3, 3)
    made.model.conv1.bias[5] = 0
    drawn = (255 * cross).astype(np.uint8)[..., None].repeat(3, 2)
    for top, left in ((11, 20), (29, 0)):
        images = np.full((8, 32, 32, 3), 60, np.uint8)
        images[3, top : top + 3, left : left + 3] = drawn
        facts = study_layer(made, LAYER, Split(images=images, labels=np.arange(8) % 4))
        assert facts.channels[5].best == 3
        assert facts.channels[5].patch == (top, left, 3)
        np.testing.assert_array_equal(crop(images[3], (top, left, 3), (0, 0, 0)), drawn)
        assert facts.channels[DEAD].patch is None
    wider = crop(images[3], (28, -1, 5), (0.5, 0, 0))
    np.testing.assert_array_equal(wider[1:4, 1:4], drawn)
    assert (wider[:, 0] == (128, 0, 0)).all()
    assert (wider[4] == (128, 0, 0)).all()
    assert all(item.patch is None for item in study_layer(made, "head", TEST).channels), "a class sees the whole image"


def test_of_an_enlarged_image_the_patch_is_where_it_was(made: Checkpoint) -> None:
    """A network of 64 pixels is shown images of 32: its filter is half as wide there."""
    data = dataclasses.replace(made.card.image_data, image_size=64)
    model = build_model("simple_cnn", {"classes": 4, "image_size": 64, "widths": (8, 8)}).eval().requires_grad_(False)
    model.conv1.weight[0], model.conv1.bias[0] = 1.0, 0.0
    card = dataclasses.replace(made.card, model_config=made.card.model_config | {"image_size": 64}, dataset=data)
    images = np.zeros((8, 32, 32, 3), np.uint8)
    images[6, 9:11, 21:23] = 255
    split = Split(images=images, labels=np.arange(8) % 4)
    facts = study_layer(Checkpoint("large", card, model), LAYER, split)
    top, left, side = facts.channels[0].patch or (0, 0, 0)
    assert facts.channels[0].best == 6
    assert side < 5
    assert (crop(images[6], (top, left, side), (0, 0, 0)) == 255).sum() == 12
    unit = study_unit(Checkpoint("large", card, model), LAYER, 0, split, steps=8)
    assert from_png(unit.image).shape == (64, 64, 3)


def test_what_is_known_of_images_is_computed_once(made: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    known = image_statistics(TEST)
    expected = study_layer(made, LAYER, TEST)
    monkeypatch.setattr("core.features.layer.spatial_frequency", None)
    assert study_layer(made, LAYER, TEST, known=known) == expected


def test_networks_of_imagenet_are_shown_cifar10(made: Checkpoint) -> None:
    """Their classes are others, so nothing is said of accuracy; large images are drawn at half the size."""
    classes = tuple(f"thing {number}" for number in range(4))
    data = dataclasses.replace(made.card.image_data, name="imagenet", image_size=160, classes=classes)
    model = build_model("simple_cnn", {"classes": 4, "image_size": 160, "widths": (8, 8)}).eval().requires_grad_(False)
    card = dataclasses.replace(made.card, model_config=made.card.model_config | {"image_size": 160}, dataset=data)
    foreign = Checkpoint("foreign", card, model)
    assert source_of(card).dataset == "cifar10"
    few = Split(images=TEST.images[:40], labels=TEST.labels[:40])
    unit = study_unit(foreign, "head", 1, few, steps=8)
    assert from_png(unit.image).shape == (80, 80, 3)
    assert unit.title == "The class thing 1"
    assert {name for name, _ in unit.top_classes} <= set(CLASSES)
    assert Unit.from_dict(json.loads(json.dumps(unit.to_dict()))) == unit
    for refuse in (lambda: ablate(foreign, LAYER, 0, few), lambda: fit_surrogate(foreign, few, few)):
        with pytest.raises(LabError, match="not here"):
            refuse()


@pytest.mark.parametrize(
    ("survival", "words"),
    [
        ({"seed": 0.9, "int8": 1.06, "pruned": 0.68}, ("10% less far", "6% stronger", "32% weaker")),
        ({"seed": 1.2, "int8": 1.001, "pruned": -0.2}, ("20% further", "just as strongly", "not at all")),
    ],
)
def test_changes_are_sentences(whole: dict[str, Any], survival: dict[str, float], words: tuple[str, ...]) -> None:
    changes = Unit.from_dict(whole | {"survival": survival}).changes
    assert all(word in sentence for word, sentence in zip(words, changes, strict=True))


def test_of_a_sorted_split_all_classes_are_taken_and_places_are_those_of_the_split(
    made: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = np.argsort(TEST.labels, kind="stable")
    ordered = Split(images=TEST.images[order], labels=TEST.labels[order])
    places, few = real_images(ordered, 40)
    assert np.bincount(few.labels).tolist() == [10, 10, 10, 10]
    np.testing.assert_array_equal(few.images, ordered.images[places])
    np.testing.assert_array_equal(few.images, subset(ordered, 40, 0).images)
    places, all_of_it = real_images(ordered, 300)
    assert places.tolist() == list(range(300))
    assert all_of_it is ordered
    monkeypatch.setattr("core.features.source.REAL_IMAGES", 40)
    monkeypatch.setattr("core.features.unit.RANDOM_IMAGES", 12)
    unit = study_unit(made, LAYER, FIRST_COPY, ordered, steps=8)
    best = study_layer(made, LAYER, ordered).channels[FIRST_COPY].best
    assert (unit.images, unit.random.images) == (40, 12)
    column = responses_of(made.model, made.card, LAYER, ordered)[:, FIRST_COPY]
    np.testing.assert_allclose(column[list(unit.most)], unit.most_responses, rtol=1e-5)
    np.testing.assert_allclose(column[list(unit.least)], unit.least_responses, rtol=1e-5)
    assert best == unit.most[0]


def test_what_there_is_not_is_one_sentence(made: Checkpoint) -> None:
    with pytest.raises(LabError, match="no layer 'conv9'"):
        find_layer(made, "conv9")
    with pytest.raises(LabError, match="no channel 8"):
        study_unit(made, LAYER, 8, TEST)
    with pytest.raises(LabError, match="no layer"):
        Responses(made.model, "")
    with pytest.raises(LabError, match="the answer itself"):
        ablate(made, "head", 0, TEST)
    with pytest.raises(LabError, match="no test images"):
        study_unit(made, LAYER, 0, Split(images=TEST.images[:0], labels=TEST.labels[:0]))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3072, 4)).eval()
    with pytest.raises(LabError, match="no convolutions"):
        layers_of(dataclasses.replace(made, model=flat))
