"""Checkpoints in every storage, with changed layers and with a network attached: saved, loaded, and refused when damaged."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

import core.checkpoints.store
from core.checkpoints.packing import STORAGES
from core.checkpoints.store import Card, load_checkpoint, read_card, save_checkpoint
from core.common.errors import LabError
from core.data.dataset import TextCard
from core.models import LAYERS, build_model
from tests.unit.checkpoints.conftest import card, edit_card, replace_weights


def rounded(model: nn.Module) -> nn.Module:
    """Its weights set to five values, zero most often."""
    for parameter in model.parameters():
        parameter.data = torch.round(torch.randn(parameter.shape).clamp(-2, 2) * 0.9) / 8
    return model


def lstm() -> tuple[Card, nn.Module]:
    settings = {"vocabulary": 5, "embedding": 24, "width": 32, "layers": 2}
    data = TextCard(name="x", title="X", vocabulary="abcde")
    return Card(title="T", model="char_lstm", model_config=settings, dataset=data), rounded(
        build_model("char_lstm", settings)
    )


def changed() -> tuple[Card, nn.Module]:
    """A network with fewer channels, a norm that was folded away, and a factorised layer."""
    layers = {
        "conv1": {"out": 20},
        "norm1": {"removed": True},
        "conv2": {"in": 20, "rank": 40},
        "head": {"rank": 6},
    }
    config = {"classes": 4, "batch_norm": True, LAYERS: layers}
    return card(model_config=config), rounded(build_model("simple_cnn", config))


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("kind", ["lstm", "changed"])
def test_a_network_comes_back_however_it_is_stored(tmp_path: Path, storage: str, kind: str) -> None:
    given, model = lstm() if kind == "lstm" else changed()
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    written = save_checkpoint(tmp_path / "x", model, given, storage=storage)
    assert (written.storage, read_card(tmp_path / "x")) == (storage, written)
    assert written.size_bytes == (tmp_path / "x" / written.weights_file).stat().st_size
    loaded = load_checkpoint(str(tmp_path / "x"))
    lossless = storage not in ("float16", "int8")
    for name, value in loaded.model.state_dict().items():
        assert value.dtype == expected[name].dtype
        assert torch.allclose(value.float(), expected[name].float(), rtol=0, atol=0 if lossless else 0.01), name
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    # Saved again as its card says, it is the same file.
    again = save_checkpoint(tmp_path / "again", loaded.model, loaded.card)
    assert (again.storage, again.weights_sha256) == (storage, written.weights_sha256)
    inputs = torch.zeros(2, 5, dtype=torch.long) if kind == "lstm" else torch.zeros(2, 3, 32, 32)
    with torch.no_grad():
        loaded.model(inputs)


def test_shared_values_and_zeros_make_the_file_small(tmp_path: Path) -> None:
    given, model = changed()
    sizes = {name: save_checkpoint(tmp_path / name, model, given, storage=name).size_bytes for name in STORAGES}
    assert sizes["coded"] < sizes["clustered"] < sizes["int8"] < sizes["float16"] < sizes["float32"]
    assert sizes["float16"] < 0.55 * sizes["float32"]
    half = load_checkpoint(str(tmp_path / "float16")).model
    assert all(torch.equal(half.state_dict()[name], value.half().float()) for name, value in model.named_parameters())


def test_weights_that_cannot_be_stored_so_leave_what_was_there(folder: Path) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    model = build_model("simple_cnn", {"classes": 4})
    torch.nn.init.constant_(model.head.weight, float("nan"))
    for storage, words in (("int8", "not finite numbers"), ("zip", "no way to hold weights")):
        with pytest.raises(LabError, match=words):
            save_checkpoint(folder, model, card(), storage=storage)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize(
    "layers",
    [
        {"conv1": {"out": 8}},  # and what follows still expects 32
        {"head": {"out": 5}},
        {"conv2": {"removed": True}},
        {"head": {"in": 99_999, "out": 99_999}},
        {"nothing": {"removed": True}},
        {"pool1": {"removed": True}},
    ],
)
def test_changed_layers_that_do_not_fit_together_are_one_sentence(folder: Path, layers: dict) -> None:
    config = {"classes": 4, LAYERS: layers}
    with torch.device("meta"):
        try:
            model = build_model("simple_cnn", config)
        except LabError:
            model = None
    if model is not None and sum(value.numel() for value in model.parameters()) < 10**6:  # weights as the card claims
        zeros = {name: torch.zeros(value.shape) for name, value in model.state_dict().items()}
        replace_weights(folder, safetensors.torch.save(zeros))
    edit_card(folder, model_config=config)
    with pytest.raises(LabError, match="do not fit|too large|no layer named|cannot be changed"):
        load_checkpoint(str(folder))


def test_a_language_model_has_neither_changed_layers_nor_an_int8_network(tmp_path: Path) -> None:
    given, model = lstm()
    save_checkpoint(tmp_path, model, given)
    layers = {"model_config": given.model_config | {LAYERS: {"layers.0": {"removed": True}}}}
    network = {"model_config": given.model_config, "onnx_file": "model.onnx", "onnx_sha256": "0" * 64}
    for change, words in ((layers, "has changed layers other than removed heads"), (network, "names an ONNX file")):
        edit_card(tmp_path, **change)
        with pytest.raises(LabError, match=f"{words}, which no language model has here"):
            load_checkpoint(str(tmp_path))


def test_an_attached_network_is_kept_beside_the_weights_and_checked(folder: Path) -> None:
    model = build_model("simple_cnn", {"classes": 4})
    for content in (b"first", b"second"):
        written = save_checkpoint(folder, model, card(), storage="int8", onnx=content)
        assert written.onnx_file == f"model-{hashlib.sha256(content).hexdigest()[:16]}.onnx"
        assert written.onnx_bytes == len(content)
        assert load_checkpoint(str(folder)).onnx == content
        assert sorted(file.name for file in folder.iterdir()) == ["card.json", written.onnx_file, written.weights_file]
    (folder / written.onnx_file).write_bytes(b"other!")
    with pytest.raises(LabError, match=r"\.onnx does not match the checksum"):
        load_checkpoint(str(folder))
    (folder / written.onnx_file).unlink()
    with pytest.raises(LabError, match=r"\.onnx of .* is missing"):
        load_checkpoint(str(folder))
    plain = save_checkpoint(folder, model, written, storage="float32")
    assert (plain.onnx_file, plain.onnx_sha256, plain.onnx_bytes) == ("", "", 0)
    assert load_checkpoint(str(folder)).onnx == b""


def test_files_that_are_too_large_are_neither_written_nor_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model("simple_cnn", {"classes": 4})
    save_checkpoint(folder, model, card(), onnx=b"x" * 100)
    monkeypatch.setattr(core.checkpoints.store, "MAX_ONNX_BYTES", 99)
    with pytest.raises(LabError, match="larger than"):
        load_checkpoint(str(folder))
    with pytest.raises(LabError, match="too large to be stored"):
        save_checkpoint(folder, model, card(), onnx=b"x" * 100)


@pytest.mark.parametrize(("storage", "growth"), [("float16", 1.5), ("coded", 4)])
def test_a_small_file_does_not_grow_beyond_the_limit(
    storage: str, growth: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, model = changed()
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    written = save_checkpoint(tmp_path / "x", model, given, storage=storage)
    monkeypatch.setattr(core.checkpoints.store, "MAX_WEIGHTS_BYTES", round(growth * written.size_bytes))
    with pytest.raises(LabError, match="too large to be loaded"):
        load_checkpoint(str(tmp_path / "x"))
