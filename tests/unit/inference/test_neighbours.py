"""The warning by distance to training images: its parts against oracles, and the file that it needs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from core.checkpoints.store import Checkpoint, load_checkpoint, read_card, save_checkpoint
from core.common.errors import LabError
from core.compression.methods.child import child_checkpoint
from core.compression.onnx.export import weights_file
from core.compression.steps import Int8
from core.inference.evaluation import calibrate, evaluate, split_answers
from core.inference.images import answers_of, classify, logits_of
from core.inference.neighbours import MOST, distances, kept_features, without_head
from core.models import build_model
from core.training.report import measure_images
from tests.unit.builders import synthetic
from tests.unit.checkpoints.conftest import card, edit_card

DATA = synthetic(train=200, held_out=60)


def checkpoint_with_features() -> Checkpoint:
    torch.manual_seed(0)
    model = build_model("simple_cnn", {"classes": 4}).eval().requires_grad_(False)
    base = Checkpoint("x", card(recipe={"train_on": "train"}), model)
    return dataclasses.replace(base, features=kept_features(features_of(base, DATA.train.images)))


def features_of(checkpoint: Checkpoint, images: np.ndarray) -> torch.Tensor:
    """By hand: what the last layer is given."""
    seen: list[torch.Tensor] = []
    hook = checkpoint.model.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    logits_of(dataclasses.replace(checkpoint, features=None), images, "none")
    hook.remove()
    return seen[0]


def test_answers_are_the_networks_own_with_the_distance_of_each_image() -> None:
    checkpoint = checkpoint_with_features()
    assert checkpoint.features is not None
    images = DATA.test.images[:9]
    plain = dataclasses.replace(checkpoint, features=None)
    own = torch.nn.functional.normalize(features_of(plain, images))
    nearest = np.sort(np.linalg.norm(own[:, None] - checkpoint.features, axis=2), axis=1)[:, 4]
    for tta in ("none", "flip"):
        found = answers_of(checkpoint, images, tta)
        assert torch.allclose(found.logits, logits_of(plain, images, tta), atol=1e-5)
        assert found.distances is not None
        assert found.distances.numpy() == pytest.approx(nearest, abs=1e-3)
    assert answers_of(plain, images).distances is None


def test_a_body_shares_the_weights_and_leaves_the_network_whole() -> None:
    model = build_model("simple_cnn", {"classes": 4}).eval()
    body = without_head(model)
    assert {id(each) for each in body.parameters()} < {id(each) for each in model.parameters()}
    assert body(torch.zeros(1, 3, 32, 32)).shape == (1, model.head.in_features)
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 4)
    width = model.head.in_features
    model.head = torch.nn.Sequential(torch.nn.Linear(width, 2), torch.nn.Linear(2, 4))  # as two factors
    assert without_head(model)(torch.zeros(1, 3, 32, 32)).shape == (1, 2)
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 4)


def test_no_more_features_are_kept_than_a_file_should_hold() -> None:
    kept = kept_features(torch.randn(MOST + 50, 3))
    assert kept.shape == (MOST, 3)
    assert torch.allclose(kept.norm(dim=1), torch.ones(MOST), atol=1e-3)
    assert (distances(kept, kept) < 0.5).all()


def test_a_sum_of_energy_and_distance_finds_what_energy_alone_does_not() -> None:
    """Dimmed images have the logits of ordinary ones by construction, and other features."""
    checkpoint = checkpoint_with_features()
    checkpoint.model.head.weight.zero_()  # energy says nothing
    checkpoint.model.head.weight[:, 0] = 1e-3
    calibration = calibrate(checkpoint.card, DATA, lambda split: split_answers(checkpoint, split))
    assert calibration.distance is not None
    assert calibration.threshold_images == 60
    ready = dataclasses.replace(checkpoint, card=dataclasses.replace(checkpoint.card, calibration=calibration))
    ordinary = np.mean([answer.likely_none_of_these for answer in classify(ready, DATA.validation.images)])
    assert ordinary == pytest.approx(calibration.false_alarm_rate)
    assert ordinary < 0.05
    assert evaluate(ready, DATA.validation, name="validation").flagged == pytest.approx(ordinary)
    stripes = DATA.test.images.transpose(0, 2, 1, 3).copy()
    assert np.mean([answer.likely_none_of_these for answer in classify(ready, stripes)]) > 0.9


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint whose card names features, as a run leaves it."""
    checkpoint = checkpoint_with_features()
    save_checkpoint(tmp_path / "x", checkpoint.model, checkpoint.card)
    features = features_of(checkpoint, DATA.train.images)
    measure_images(tmp_path / "x", DATA, "cpu", {}, lambda *_: None, features)
    return tmp_path / "x"


def test_features_come_back_and_go_with_the_warning(folder: Path) -> None:
    loaded = load_checkpoint(str(folder))
    assert loaded.card.calibration.distance is not None
    assert loaded.card.calibration.misses is not None
    assert loaded.features is not None
    assert torch.equal(loaded.features, checkpoint_with_features().features)
    small = child_checkpoint(loaded, loaded.model, Int8())
    assert (small.card.features_file, small.card.calibration.distance, small.features) == ("", None, None)
    assert "test_flagged" in loaded.card.metrics
    header = weights_file(loaded)
    exported = json.loads(json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])["__metadata__"]["card"])
    assert "test_flagged" not in exported["metrics"]
    again = save_checkpoint(folder, loaded.model, loaded.card)
    assert again == read_card(folder)
    assert again.calibration.distance is None
    assert "test_flagged" not in again.metrics
    assert again.metrics["test_accuracy"] == loaded.card.metrics["test_accuracy"]
    assert not list(folder.glob("features*"))
    assert load_checkpoint(str(folder)).features is None


def test_a_fine_tuned_network_keeps_features_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.inference.evaluation.MEASURED", ("simple_cnn",))
    checkpoint = checkpoint_with_features()
    save_checkpoint(tmp_path / "x", checkpoint.model, checkpoint.card)
    measure_images(tmp_path / "x", DATA, "cpu", {}, lambda *_: None, trained_on=DATA.train)
    loaded = load_checkpoint(str(tmp_path / "x"))
    assert loaded.card.calibration.distance is not None
    assert loaded.features is not None
    assert checkpoint.features is not None
    assert torch.allclose(loaded.features, checkpoint.features, atol=1e-3)


def test_features_that_are_damaged_missing_or_of_another_network_are_refused(folder: Path) -> None:
    values = json.loads((folder / "card.json").read_text())
    file = folder / values["features_file"]
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"x")
    with pytest.raises(LabError, match="checksum"):
        load_checkpoint(str(folder))
    file.write_bytes(whole)
    calibration = values["calibration"]
    for change, words in (
        ({"features_file": "../x.safetensors"}, "not allowed"),
        ({"features_file": "", "features_sha256": ""}, "without features"),
        ({"calibration": calibration | {"distance": calibration["distance"] | {"energy_sd": 0.0}}}, "of the warning"),
        ({"calibration": calibration | {"distance": {"threshold": 1.0}}}, "cannot be read"),
        ({"features_file": values["weights_file"], "features_sha256": values["weights_sha256"]}, "no features"),
    ):
        edit_card(folder, **(values | change))
        with pytest.raises(LabError, match=words):
            load_checkpoint(str(folder))
    edit_card(folder, **values)
    file.unlink()
    with pytest.raises(LabError, match="missing"):
        load_checkpoint(str(folder))
