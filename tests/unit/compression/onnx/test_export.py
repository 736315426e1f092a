"""An exported file gives what PyTorch gives, says how to use it, and runs where this project is not."""

from __future__ import annotations

import dataclasses
import functools
import json
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors import safe_open
from torch import nn

from core.checkpoints.store import Card, Checkpoint, load_checkpoint
from core.common.errors import LabError
from core.compression.onnx.export import compare_export, export_onnx, weights_file
from core.compression.onnx.folding import fold_batch_norms
from core.compression.onnx.half import check_loads
from core.inference.images import normalise
from core.inference.onnx_network import OPSET, OPSETS, OnnxNetwork, onnx_inputs
from tests.unit.compression.compressible import SMALL_WRITERS, network, random_images, snapshot

pytestmark = pytest.mark.slow

PRUNED = {
    "blocks.0.conv": {"out": 5},
    "blocks.0.norm": {"out": 5},
    "blocks.0.body.0": {"in": 5, "rank": 4},
    "blocks.1.conv": {"rank": 3},
    "head": {"rank": 3},
}
NETWORKS: dict[str, tuple[str, dict[str, Any], int]] = {
    "residual": ("fast_resnet", {"widths": (8, 8, 12), "depth": 3, "stochastic_depth": 0.2, "dropout": 0.1}, 100),
    "gelu": ("fast_resnet", {"widths": (8, 8, 8), "activation": "gelu", "spatial_dropout": 0.1}, 100),
    "changed": ("fast_resnet", {"widths": (8, 12, 12), "changed_layers": PRUNED}, 200),
    "simple_cnn": ("simple_cnn", {}, 200),
    "with norms": ("simple_cnn", {"widths": (6, 10), "batch_norm": True}, 200),
    "resnet18": ("resnet18", {"dropout": 0.1, "spatial_dropout": 0.1}, 6),
    "depthwise": ("efficientnet_lite0", {"upscale_to": 48}, 6),
}
"""Name -> architecture, its settings, and how many images it is compared on."""
WRITERS = SMALL_WRITERS | {"char_rnn": {"vocabulary": 20, "embedding": 8, "width": 16, "layers": 3}}
TOLERANCE = 1e-4


@functools.cache
def writer(name: str) -> tuple[Checkpoint, bytes]:
    """A small language model and its file."""
    checkpoint = network(name, **WRITERS[name])
    return checkpoint, export_onnx(checkpoint)


@functools.cache
def classifier() -> tuple[Checkpoint, bytes]:
    """A very small image classifier and its file."""
    checkpoint = network("simple_cnn", widths=(4, 4))
    return checkpoint, export_onnx(checkpoint)


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request: pytest.FixtureRequest) -> tuple[Checkpoint, bytes, int]:
    name, config, count = NETWORKS[request.param]
    checkpoint = network(name, **config)
    return checkpoint, export_onnx(checkpoint), count


@torch.no_grad()
def test_it_equals_pytorch_on_many_images(exported: tuple[Checkpoint, bytes, int]) -> None:
    checkpoint, data, count = exported
    images, _ = random_images(count)
    inputs = onnx_inputs(checkpoint.card, images)
    expected = checkpoint.model(torch.from_numpy(inputs)).numpy()
    found = OnnxNetwork(data).logits(inputs)
    assert expected.std() > 1e-3
    assert np.abs(found - expected).max() < TOLERANCE
    assert compare_export(checkpoint, data, images) == pytest.approx(np.abs(found - expected).max(), abs=1e-5)


def test_it_takes_any_number_of_images(exported: tuple[Checkpoint, bytes, int]) -> None:
    checkpoint, data, _ = exported
    inputs = onnx_inputs(checkpoint.card, random_images(5)[0])
    runs = OnnxNetwork(data)
    together = runs.logits(inputs)
    assert together.shape == (5, 10)
    assert np.allclose(
        np.concatenate([runs.logits(inputs[index : index + 1]) for index in range(5)]), together, atol=1e-5
    )


def test_it_is_one_plain_file(exported: tuple[Checkpoint, bytes, int]) -> None:
    model = onnx.load_from_string(exported[1])
    onnx.checker.check_model(model, full_check=True)
    assert [(item.domain, item.version) for item in model.opset_import] == [("", OPSET)]
    assert model.ir_version <= 10  # what ONNX Runtime 1.20 reads
    assert not any(weight.external_data for weight in model.graph.initializer)
    kinds = [node.op_type for node in model.graph.node]
    assert "BatchNormalization" not in kinds
    assert "Dropout" not in kinds
    made_by = {node.output[0]: node.op_type for node in model.graph.node}
    del model.graph.initializer[:]  # in whose random bytes anything may be found
    assert b".py" not in model.SerializeToString()  # no stack traces, which name folders of this machine
    assert not any(node.op_type == "Relu" and made_by[node.input[0]] == "MaxPool" for node in model.graph.node)


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_folding_keeps_the_logits_and_the_original(name: str) -> None:
    architecture, config, _ = NETWORKS[name]
    checkpoint = network(architecture, **config)
    before = snapshot(checkpoint)
    folded = fold_batch_norms(checkpoint.model)
    inputs = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(folded(inputs), checkpoint.model(inputs), atol=TOLERANCE)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert snapshot(checkpoint) == before
    ours = {value.data_ptr() for value in folded.state_dict().values()}
    assert not ours & {value.data_ptr() for value in checkpoint.model.state_dict().values()}


@torch.no_grad()
def test_a_norm_that_turns_signs_is_not_folded_through_a_pooling() -> None:
    checkpoint = network("fast_resnet", widths=(8, 8, 8))
    norm = checkpoint.model.get_submodule("blocks.1.norm")
    norm.weight[3] = -0.7
    folded = fold_batch_norms(checkpoint.model)
    left = [name for name, module in folded.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert left == ["blocks.1.norm"]
    assert compare_export(checkpoint, export_onnx(checkpoint), random_images(50)[0]) < TOLERANCE


class Shared(nn.Module):
    """Its convolution feeds a norm, and is used beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        return self.head(torch.flatten(self.pool(y + self.norm(y)), 1))


@torch.no_grad()
def test_a_convolution_that_is_used_twice_keeps_its_norm() -> None:
    checkpoint = dataclasses.replace(network("simple_cnn"), model=Shared().eval())
    checkpoint.model.get_submodule("norm").running_mean.fill_(0.5)
    folded = fold_batch_norms(checkpoint.model)
    assert isinstance(folded.norm, nn.BatchNorm2d)
    assert compare_export(checkpoint, export_onnx(checkpoint), random_images(20)[0]) < TOLERANCE


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.BatchNorm2d(3), nn.Linear(3 * 32 * 32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.sin(self.norm(x)).flatten(1))


class Branching(nn.Module):
    """What it computes depends on the numbers in the image."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 32 * 32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head((x if x.sum() > 0 else -x).flatten(1))


def test_what_cannot_be_exported_is_said() -> None:
    checkpoint = dataclasses.replace(network("simple_cnn"), model=Odd().eval())
    assert isinstance(fold_batch_norms(checkpoint.model).norm, nn.BatchNorm2d)
    with pytest.raises(LabError, match="uses Sin, for which there is no ONNX export"):
        export_onnx(checkpoint)
    with pytest.raises(LabError, match="exporter failed"):
        export_onnx(dataclasses.replace(checkpoint, model=Branching().eval()))


def test_exporting_disturbs_no_other_thread(capfd: pytest.CaptureFixture[str]) -> None:
    """PyTorch's older tracers would: while they run, no other thread can call a module."""
    busy, done, failed = network("simple_cnn"), threading.Event(), []
    inputs = torch.zeros(1, 3, 32, 32)

    def classify() -> None:
        while not done.is_set():
            try:
                busy.model(inputs)
            except Exception as error:
                failed.append(error)

    other = threading.Thread(target=classify)
    other.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            export_onnx(network("fast_resnet", widths=(8, 8, 8)))
    finally:
        done.set()
        other.join()
    assert not failed
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", WRITERS)
@torch.no_grad()
def test_language_models_equal_pytorch(name: str) -> None:
    checkpoint, data = writer(name)
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    runs = OnnxNetwork(data)
    for batch, time in ((1, 1), (3, 7), (2, 16)):
        tokens = np.random.default_rng(time).integers(0, 20, (batch, time))
        expected = checkpoint.model(torch.from_numpy(tokens))[0].numpy()
        assert np.abs(runs.logits(tokens) - expected).max() < TOLERANCE
    assert compare_export(checkpoint, data, None) < TOLERANCE


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "char_gpt"])
def test_a_recurrent_file_goes_on_from_its_state(name: str) -> None:
    runs = OnnxNetwork(writer(name)[1])
    tokens = np.random.default_rng(1).integers(0, 20, (2, 12))
    first, *state = runs.run(tokens[:, :5])
    then, *_ = runs.run(tokens[:, 5:], state)
    whole = runs.logits(tokens)
    assert np.abs(np.concatenate([first, then], axis=1) - whole).max() < TOLERANCE
    assert np.abs(runs.logits(tokens[:, 5:]) - whole[:, 5:]).max() > TOLERANCE  # the state does matter


def test_the_file_says_how_to_use_it() -> None:
    checkpoint = network("simple_cnn", widths=(4, 4))
    done = {"original": "older", "steps": [{"step": "float16"}]}
    card = dataclasses.replace(checkpoint.card, title="Bad \ud800 title", parent="older", compression=done)
    about = OnnxNetwork(export_onnx(dataclasses.replace(checkpoint, card=card))).metadata
    assert about["title"] == "Bad ? title"
    assert (about["task"], about["model"], about["checkpoint"], about["parent"]) == (
        *("images", "simple_cnn", "original", "older"),
    )
    assert json.loads(about["labels"]) == list(card.image_data.classes)
    assert json.loads(about["mean"]) == [0.5, 0.5, 0.5]
    assert json.loads(about["std"]) == [0.25, 0.25, 0.25]
    assert json.loads(about["image_size"]) == 32
    assert json.loads(about["opset"]) == OPSET
    assert [json.loads(about[key]) for key in ("fit", "temperature", "tta", "threshold", "distance")] == [
        *("crop", 1.0, "none", None, None),
    ]
    assert json.loads(about["compression"]) == done
    assert {"bottleneck_lab", "torch", "onnx"} <= set(json.loads(about["versions"]))
    gpt, data = writer("char_gpt")
    about = OnnxNetwork(data).metadata
    assert json.loads(about["vocabulary"]) == gpt.card.text_data.vocabulary
    assert json.loads(about["context"]) == 16


def test_a_file_that_differs_is_refused() -> None:
    _, data = classifier()
    other = network("simple_cnn", seed=1, widths=(4, 4))
    with pytest.raises(LabError, match="differ from the checkpoint's by"):
        compare_export(other, data, random_images(8)[0])
    few = network("simple_cnn", widths=(4, 4), classes=7)
    with pytest.raises(LabError, match="does not give logits as the checkpoint does"):
        compare_export(few, data, random_images(8)[0])


def test_the_int8_network_that_ships_agrees_with_its_twin() -> None:
    checkpoint = load_checkpoint("fast_resnet_fastest")
    assert checkpoint.onnx
    assert 0 < compare_export(checkpoint, export_onnx(checkpoint), None) < 2


def test_inputs_are_those_of_pytorch() -> None:
    card, images = network("simple_cnn").card, random_images(6)[0]
    inputs = onnx_inputs(card, images)
    assert inputs.dtype == np.float32
    assert inputs.flags.c_contiguous
    assert np.allclose(inputs, normalise(torch.from_numpy(images), card).numpy(), atol=1e-6)


def test_inputs_that_do_not_fit_are_said() -> None:
    runs = OnnxNetwork(classifier()[1], threads=2)
    with pytest.raises(LabError, match="cannot be run on float32 of shape 1x3x16x16"):
        runs.logits(np.zeros((1, 3, 16, 16), np.float32))


def test_the_weights_file_holds_weights_and_card(tmp_path: Path) -> None:
    checkpoint = network("fast_resnet", widths=(4, 4, 4))
    (tmp_path / "w.safetensors").write_bytes(weights_file(checkpoint))
    with safe_open(tmp_path / "w.safetensors", "pt") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        card = Card.from_json(file.metadata()["card"])
    expected = checkpoint.model.state_dict()
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert (card.model, card.dataset, card.storage) == ("fast_resnet", checkpoint.card.dataset, "float32")


@pytest.mark.parametrize("name", ["/srv/secret/mine", "~/secret/mine", "../secret/x/mine"])
def test_files_do_not_tell_where_a_checkpoint_lay(name: str) -> None:
    checkpoint, _ = writer("char_lstm")  # the quickest to export; what it says of itself is written for all alike
    card = dataclasses.replace(checkpoint.card, parent=name, compression={"original": name, "steps": []})
    checkpoint = dataclasses.replace(checkpoint, name=name, card=card)
    exported = export_onnx(checkpoint)
    about = OnnxNetwork(exported).metadata
    assert (about["checkpoint"], about["parent"], json.loads(about["compression"])["original"]) == ("mine",) * 3
    for data in (exported, weights_file(checkpoint)):
        assert b"mine" in data
        assert b"secret" not in data
    assert checkpoint.card.compression["original"] == name


def test_the_file_of_a_run_names_it() -> None:
    run = dataclasses.replace(writer("char_lstm")[0], name="run-1/last")
    assert OnnxNetwork(export_onnx(run)).metadata["checkpoint"] == "run-1/last"


def test_two_exports_at_once_do_not_disturb_each_other() -> None:
    """PyTorch's exporter keeps its state in globals of the process; a server exports for several people."""
    from concurrent.futures import ThreadPoolExecutor

    model = network("simple_cnn", widths=[8, 10])
    with ThreadPoolExecutor(2) as pool:
        files = list(pool.map(lambda _: export_onnx(model), range(2)))
    assert len({len(file) for file in files}) == 1


SEVERAL = (min(OPSETS), 20, max(OPSETS))
"""For networks that take long to export: the ends, and the first with GELU as one operator."""


@pytest.mark.parametrize(
    ("name", "opset"),
    [("gelu", opset) for opset in OPSETS]
    + [("char_lstm", opset) for opset in OPSETS]
    + [(name, opset) for name in ("char_gpt", "attention") for opset in SEVERAL]
    + [("depthwise", min(OPSETS)), ("depthwise", max(OPSETS))],
)
def test_every_opset_gives_the_same_logits(name: str, opset: int) -> None:
    if name in WRITERS:
        checkpoint = writer(name)[0]
    elif name == "attention":
        checkpoint = network("compact_transformer")
    else:
        architecture, config, _ = NETWORKS[name]
        checkpoint = network(architecture, **config)
    data = export_onnx(checkpoint, opset=opset)
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    assert [(item.domain, item.version) for item in model.opset_import] == [("", opset)]
    assert compare_export(checkpoint, data, random_images(6)[0]) < TOLERANCE


@pytest.mark.parametrize("name", [*WRITERS, "residual", "attention"])
def test_float16_halves_the_file(name: str) -> None:
    config = NETWORKS["residual"][1]
    if name in WRITERS:
        checkpoint = writer(name)[0]
    else:
        checkpoint = network("compact_transformer") if name == "attention" else network("fast_resnet", **config)
    data = export_onnx(checkpoint, half=True)
    stored = onnx.load_from_string(data).graph.initializer
    floats = [item for item in stored if item.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)]
    half = sum(np.prod(item.dims) for item in floats if item.data_type == onnx.TensorProto.FLOAT16)
    assert half > 0.99 * sum(np.prod(item.dims) for item in floats)
    assert 0 < compare_export(checkpoint, data, random_images(20)[0]) < 0.05
    assert OnnxNetwork(data).metadata["precision"] == "float16"


def test_a_file_that_cannot_be_loaded_is_refused_and_ends_no_other_process() -> None:
    check_loads(export_onnx(network("simple_cnn", widths=(4, 4)), half=True))
    with pytest.raises(LabError, match="in float16"):
        check_loads(b"no network")


def test_what_float16_cannot_hold_is_said() -> None:
    checkpoint = network("simple_cnn", widths=(4, 4))
    checkpoint.model.head.weight[0, 0] = 1e6
    with pytest.raises(LabError, match="beyond the range of float16"):
        export_onnx(checkpoint, half=True)
