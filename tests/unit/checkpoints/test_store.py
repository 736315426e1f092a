"""Checkpoints: what comes back is what was saved, and what is damaged or hostile is refused in a sentence."""

from __future__ import annotations

import json
import pickle
import threading
from pathlib import Path

import pytest
import safetensors.torch
import torch

from core.checkpoints.store import (
    PRETRAINED,
    Calibration,
    Card,
    Misses,
    find_checkpoint,
    list_checkpoints,
    load_checkpoint,
    read_card,
    save_checkpoint,
)
from core.common.errors import LabError
from core.models import LAYERS, build_model
from tests.unit.builders import synthetic
from tests.unit.checkpoints.conftest import card, edit_card, replace_weights


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    model = build_model("simple_cnn", {"classes": 4, "batch_norm": True})
    given = card(model_config={"classes": 4, "batch_norm": True}, metrics={"test_accuracy": 0.5}, seed=3)
    written = save_checkpoint(tmp_path / "x", model, given)
    loaded = load_checkpoint(str(tmp_path / "x"))
    assert loaded.card == written
    assert loaded.card.dataset == given.dataset
    assert written.size_bytes == (tmp_path / "x" / written.weights_file).stat().st_size
    assert written.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    expected = model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.model.state_dict().items())


def test_a_reader_never_sees_half_a_replacement(tmp_path: Path) -> None:
    models = [build_model("simple_cnn", {"classes": 4}) for _ in range(2)]
    for index, model in enumerate(models):
        torch.nn.init.constant_(model.head.bias, float(index))
    save_checkpoint(tmp_path / "x", models[0], card(step=0))
    problems: list[BaseException] = []

    def write() -> None:
        try:
            for round_ in range(1, 60):
                save_checkpoint(tmp_path / "x", models[round_ % 2], card(step=round_ % 2))
        except BaseException as error:
            problems.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    reads = 0
    while writer.is_alive():
        loaded = load_checkpoint(str(tmp_path / "x"))
        assert (loaded.model.head.bias == loaded.card.step).all()
        reads += 1
    assert not problems
    assert reads > 3
    assert len(list((tmp_path / "x").iterdir())) == 2


def test_a_card_that_does_not_match_its_weights(folder: Path) -> None:
    for change in ({"model": "fast_resnet"}, {"model": "simple_cnn", "model_config": {"classes": 4, "widths": [8, 8]}}):
        edit_card(folder, **change)
        with pytest.raises(LabError, match="do not fit"):
            load_checkpoint(str(folder))


def test_weights_of_another_kind_of_number_become_the_networks_own(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    model = build_model("simple_cnn", {"classes": 4, "batch_norm": True})
    save_checkpoint(folder, model, card(model_config={"classes": 4, "batch_norm": True}))
    tensors = safetensors.torch.load_file(folder / read_card(folder).weights_file)
    odd = {key: value.double() if "running" in key else value for key, value in tensors.items()}
    odd["norm1.running_mean"] = tensors["norm1.running_mean"].long()
    replace_weights(folder, safetensors.torch.save(odd))
    loaded = load_checkpoint(str(folder)).model
    assert {value.dtype for key, value in loaded.state_dict().items() if "num_batches" not in key} == {torch.float32}
    with torch.no_grad():
        assert loaded(torch.zeros(1, 3, 32, 32)).shape == (1, 4)


def test_a_new_title_leaves_the_fingerprint_and_all_else_changes_it() -> None:
    assert card(title="Other").fingerprint == card().fingerprint
    misses = Misses(rate=0.5, images=9, auroc=0.5, by_kind={"x": 0.5})
    with_misses = card(calibration=Calibration(images=9, misses=misses))
    assert with_misses.fingerprint == card(calibration=Calibration(images=9)).fingerprint
    assert Card.from_json(with_misses.to_json()) == with_misses
    for change in ({"weights_sha256": "0" * 64}, {"tta": "flip"}, {"dataset": synthetic(8, 8, classes=5).card}):
        assert card(**change).fingerprint != card().fingerprint


def test_damaged_weights_are_found_by_their_checksum(folder: Path) -> None:
    path = folder / read_card(folder).weights_file
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(LabError, match="checksum"):
        load_checkpoint(str(folder))
    path.unlink()
    with pytest.raises(LabError, match="missing"):
        load_checkpoint(str(folder))


def test_a_pickle_named_safetensors_is_not_opened(folder: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (pytest.fail, ("the pickle was opened",))

    replace_weights(folder, pickle.dumps(Trap()))
    with pytest.raises(LabError, match="not a safetensors file"):
        load_checkpoint(str(folder))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"title": 3}', '{"model": "simple_cnn", "dataset": 5}', "\xff", "[" * 100_000]
)
def test_a_broken_card_is_one_sentence(folder: Path, text: str) -> None:
    (folder / "card.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(LabError, match="damaged"):
        load_checkpoint(str(folder))


@pytest.mark.parametrize(
    "name", ["../secret.safetensors", "/etc/passwd", "a/b.safetensors", "weights.pt", ".safetensors"]
)
def test_a_card_cannot_name_a_file_elsewhere(folder: Path, name: str) -> None:
    edit_card(folder, weights_file=name)
    with pytest.raises(LabError, match="not allowed"):
        load_checkpoint(str(folder))


@pytest.mark.parametrize(
    "name", ["", "nothing", "../x", "a/b/c", "run/../../etc", "\0", "x" * 5000, "fast_resnet/../.."]
)
def test_a_name_that_is_none_is_answered_with_those_there_are(name: str, lab_home: Path) -> None:
    with pytest.raises(LabError, match="There is no checkpoint named"):
        find_checkpoint(name)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_config": {"classes": 7}}, "names 4 classes"),
        ({"model_config": []}, "mapping"),
        ({"metrics": []}, "mapping"),
        ({"title": 3}, "text belongs"),
        ({"created": 5}, "text belongs"),
        ({"hardware": ["CPU"]}, "text belongs"),
        ({"weights_file": 3}, "not allowed"),
        ({"weights_sha256": ""}, "no checksum"),
        ({"tta": "banana"}, "test-time augmentation"),
        ({"calibration": {"temperature": 0.0}}, "temperature"),
        ({"calibration": {"temperature": float("nan")}}, "finite numbers"),
        ({"calibration": {"warmth": 1}}, "cannot be read"),
        ({"calibration": {"images": "many"}}, "finite numbers"),
        ({"calibration": {"split": "train"}}, "unknown split"),
        ({"calibration": {"misses": 3}}, "cannot be read"),
        ({"calibration": {"misses": {"rate": 0.5}}}, "cannot be read"),
        (
            {"calibration": {"misses": {"rate": 2.0, "images": 9, "auroc": 0.5, "by_kind": {"x": 0.5}}}},
            "of the warning",
        ),
        ({"calibration": {"misses": {"rate": 0.5, "images": 9, "auroc": 0.5, "by_kind": ["x"]}}}, "of the warning"),
        ({"parameters": "many"}, "finite numbers"),
        ({"size_bytes": None}, "finite numbers"),
        ({"parameters": 10**400}, "finite numbers"),
        ({"metrics": {"test_accuracy": 10**400}}, "an accuracy"),
        ({"metrics": {"val_accuracy": "high"}}, "an accuracy"),
        ({"model_config": {"classes": 4, "image_size": 64}}, "for another size"),
        ({"model_config": {"classes": 4, "widths": [40_000, 40_000]}}, "too large to be loaded"),
        ({"model_config": {"classes": 4, LAYERS: 3}}, "changed layers"),
        ({"model_config": {"classes": 4, LAYERS: {str(index): {} for index in range(5000)}}}, "changed layers"),
        ({"storage": "zip"}, "unknown format"),
        ({"storage": ["int8"]}, "unknown format"),
        ({"compression": []}, "mapping"),
        ({"compression": {"original": 3, "steps": []}}, "original or the steps"),
        ({"compression": {"original": "x", "steps": {}}}, "original or the steps"),
        ({"compression": {"original": "x", "steps": [{"step": "int8"}] * 5000}}, "original or the steps"),
        ({"compression": {"original": "x", "steps": ["int8"]}}, "compression steps"),
        ({"compression": {"original": "x", "steps": [{"step": []}]}}, "compression steps"),
        ({"onnx_file": "../x.onnx", "onnx_sha256": "0" * 64}, "ONNX file that is not allowed"),
        ({"onnx_file": "x.onnx.py", "onnx_sha256": "0" * 64}, "ONNX file that is not allowed"),
        ({"onnx_file": 3}, "ONNX file that is not allowed"),
        ({"onnx_sha256": None}, "ONNX file that is not allowed"),
        ({"onnx_file": "x.onnx", "onnx_sha256": "0" * 63}, "no checksum of its ONNX"),
        ({"onnx_sha256": "0" * 64}, "no checksum of its ONNX"),
        ({"onnx_bytes": "many"}, "finite numbers"),
    ],
)
def test_a_card_with_values_that_cannot_be_is_one_sentence(
    folder: Path, lab_home: Path, change: dict, words: str
) -> None:
    edit_card(folder, **change)
    with pytest.raises(LabError, match=words):
        load_checkpoint(str(folder))
    if words == "too large to be loaded":  # the card alone does not tell
        return
    (lab_home / "runs" / "one").mkdir(parents=True)
    (lab_home / "runs" / "one" / "best").symlink_to(folder)
    assert all(reference.origin == "shipped" for reference in list_checkpoints())


def test_a_dataset_on_a_card_that_cannot_be_is_one_sentence(folder: Path) -> None:
    dataset = json.loads((folder / "card.json").read_text())["dataset"]
    sizes = [{"image_size": value} for value in (32.5, 0, 64, 20_000, "32", None)]
    wrong = ({"std": [0.2, 0.0, 0.2]}, {"mean": [0.5]}, {"classes": ["a", "b", "c"]}, {"classes": []})
    for change in (*wrong, *sizes):
        edit_card(folder, dataset=dataset | change)
        with pytest.raises(LabError, match="damaged"):
            load_checkpoint(str(folder))


def test_runs_are_listed_newest_first_and_damaged_ones_left_out(folder: Path, lab_home: Path) -> None:
    for run_id in ("20260101-a", "20260102-b", "20260103-c"):
        target = lab_home / "runs" / run_id / "best"
        target.mkdir(parents=True)
        for file in folder.iterdir():
            (target / file.name).write_bytes(file.read_bytes())
    (lab_home / "runs" / "20260103-c" / "best" / "card.json").write_text("{")
    names = [reference.name for reference in list_checkpoints() if reference.origin == "run"]
    assert names == ["20260102-b", "20260101-a"]
    assert find_checkpoint("20260102-b").folder == lab_home / "runs" / "20260102-b" / "best"


def test_what_ships_loads_and_is_small() -> None:
    shipped = [reference for reference in list_checkpoints() if reference.origin == "shipped"]
    folders = {card.parent.name for card in PRETRAINED.glob("*/card.json")}
    assert {"simple_cnn", "fast_resnet_smallest", "char_lstm_smallest"} <= folders
    assert {reference.name for reference in shipped} == folders
    assert sum(file.stat().st_size for file in PRETRAINED.rglob("*") if file.is_file()) < 30_000_000
    for reference in shipped:
        loaded = load_checkpoint(reference)
        if loaded.card.task == "text":
            assert loaded.card.dataset.name == "tiny_shakespeare"
            assert loaded.card.metrics["val_loss_nats"] < 2
            continue
        assert loaded.card.dataset.name == "cifar10"
        if loaded.card.task == "generation":
            assert loaded.card.metrics["velocity_error"] < 0.31
            continue
        assert loaded.card.metrics["test_accuracy"] > 0.72
        if (
            not loaded.card.compression or loaded.card.recipe["train_on"] == "train"
        ):  # else no image is left to set it on
            assert loaded.card.calibration.energy_threshold is not None
