"""Surrogates: rules that are there are found, agreement is counted on new images, and shuffled features know nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core.common.errors import LabError
from core.data.dataset import Split
from core.features.surrogate import fit_surrogate, image_features
from core.inference.images import logits_of
from tests.unit.features.planted import LAYER, RED, coloured, planted

DATA = coloured(train=600, test=300)


@pytest.fixture
def network(lab_home: Path):
    """It says class 0 where an image is red, else class 1."""
    made = planted()
    model = made.model
    model.conv2.weight.zero_()
    model.conv2.bias.zero_()
    model.conv2.weight[0, RED, 1, 1] = 1.0
    model.head.weight.zero_()
    model.head.bias.copy_(torch.tensor([-700.0, 0, -900, -900]))
    model.head.weight[0, :36] = 1.0
    return made


def test_a_rule_that_is_there_is_found_and_a_shuffled_one_knows_nothing(network) -> None:
    found = fit_surrogate(network, DATA.train, DATA.test, layer=LAYER)
    assert found.agreement.rate > 0.97
    assert found.agreement.n == 300
    first = found.nodes[0].feature
    assert first in ("red", f"{LAYER} {RED}"), "both tell the red images from all others"
    low, high = found.shuffled.interval
    assert low < found.most_common.rate + 0.1
    assert high < 0.9
    assert found.agreement.interval[0] > found.most_common.rate
    assert found.nodes[found.nodes[0].high].answer == "a"
    assert found.rules()[0].startswith(f"{first} ≤")
    assert found == fit_surrogate(network, DATA.train, DATA.test, layer=LAYER)
    for place, says, rule in found.disagreements:
        assert says != rule
        assert 0 <= place < 300


def test_of_a_sorted_split_all_classes_are_held_out(network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Disagreements name places of the whole split."""
    order = np.argsort(DATA.test.labels, kind="stable")
    ordered = Split(images=DATA.test.images[order], labels=DATA.test.labels[order])
    monkeypatch.setattr("core.features.surrogate.HELD_OUT", 100)
    found = fit_surrogate(network, DATA.train, ordered, depth=1)
    assert found.agreement.n == 100
    red = 1 - found.most_common.rate
    assert 0.2 < red < 0.3, "a quarter is red, as in the whole split"
    says = logits_of(network, ordered.images, "none").argmax(1)
    for place, answer, _ in found.disagreements:
        assert network.card.image_data.classes[int(says[place])] == answer


def test_image_features_alone_do_with_colours(network) -> None:
    found = fit_surrogate(network, DATA.train, DATA.test)
    assert not any(LAYER in name for name in found.features)
    assert found.agreement.rate > found.most_common.rate
    linear = fit_surrogate(network, DATA.train, DATA.test, kind="linear", layer=LAYER)
    assert linear.agreement.rate > 0.9
    assert not linear.nodes
    assert all(len(weights) <= 4 for weights in linear.weights.values())


@pytest.mark.parametrize(
    ("name", "stripes"),
    [
        ("horizontal edges", lambda row, column: row),
        ("vertical edges", lambda row, column: column),
        ("rising edges", lambda row, column: row + column),
        ("falling edges", lambda row, column: row - column),
    ],
)
def test_edges_have_their_orientation(name: str, stripes) -> None:
    row, column = np.mgrid[:32, :32]
    wave = 128 + 100 * np.sin(stripes(row, column) / 2)
    image = np.repeat(wave[..., None], 3, 2).astype(np.uint8)[None]
    found = {key: float(value[0]) for key, value in image_features(image).items()}
    edges = {key: value for key, value in found.items() if "edges" in key}
    assert max(edges, key=edges.__getitem__) == name
    assert found["saturation"] == 0


def test_what_there_is_not_is_one_sentence(network) -> None:
    with pytest.raises(LabError, match="depth"):
        fit_surrogate(network, DATA.train, DATA.test, depth=5)
    with pytest.raises(LabError, match="before them"):
        fit_surrogate(network, DATA.train, DATA.test, layer="head")
    with pytest.raises(LabError, match="no layer"):
        fit_surrogate(network, DATA.train, DATA.test, layer="conv9")
    network.model.head.bias[0] = -1e9
    with pytest.raises(LabError, match="one class"):
        fit_surrogate(network, DATA.train, DATA.test)
