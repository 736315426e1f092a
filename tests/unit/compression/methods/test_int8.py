"""int8: the weights are the nearest on their grid, the arithmetic is in integers, the original stays as it was."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from core.checkpoints.store import Checkpoint, load_checkpoint, save_checkpoint
from core.common.errors import LabError
from core.compression.methods.int8 import to_int8
from core.compression.onnx.export import compare_export, export_onnx
from core.compression.onnx.folding import fold_batch_norms
from core.compression.onnx.graph import image_graph
from core.compression.onnx.quantize import quantize_graph
from core.compression.steps import Int8
from core.inference import onnx_network
from core.inference.onnx_network import OnnxNetwork, onnx_inputs
from tests.unit.compression.compressible import SMALL_WRITERS, network, random_images, snapshot

pytestmark = pytest.mark.slow

CHANGED = {"blocks.0.conv": {"out": 6}, "blocks.0.norm": {"out": 6}, "blocks.0.body.0": {"in": 6, "rank": 4}}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "residual": ("fast_resnet", {"widths": (16, 16, 16), "depth": 3}),
    "gelu": ("fast_resnet", {"widths": (16, 16, 16), "activation": "gelu"}),
    "changed": ("fast_resnet", {"widths": (8, 12, 12), "changed_layers": CHANGED}),
    "simple_cnn": ("simple_cnn", {}),
    "with norms": ("simple_cnn", {"widths": (6, 10), "batch_norm": True}),
    "resnet18": ("resnet18", {}),
    "depthwise": ("efficientnet_lite0", {"upscale_to": 48}),
}
STEP = Int8(images=32)
IMAGES = random_images(32)[0]


@dataclasses.dataclass(frozen=True, eq=False)
class Quantized:
    """A checkpoint, all its bytes before it was quantized, and its int8 version."""

    original: Checkpoint
    before: dict[str, bytes]
    made: Checkpoint


@pytest.fixture(scope="module", params=NETWORKS)
def int8(request: pytest.FixtureRequest) -> Quantized:
    name, config = NETWORKS[request.param]
    original = network(name, **config)
    before = snapshot(original)
    return Quantized(original, before, to_int8(original, IMAGES, STEP))


def held(data: bytes) -> dict[str, np.ndarray]:
    return {item.name: numpy_helper.to_array(item) for item in onnx.load_from_string(data).graph.initializer}


def as_run(data: bytes, folder: Path) -> list[onnx.NodeProto]:
    """The nodes that ONNX Runtime makes of a file."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return list(onnx.load(str(folder / "optimised.onnx")).graph.node)


def test_the_original_is_byte_identical_afterwards(int8: Quantized) -> None:
    assert snapshot(int8.original) == int8.before
    assert int8.original.onnx == b""


def test_weights_are_within_half_a_step_of_the_folded_ones(int8: Quantized) -> None:
    folded = fold_batch_norms(int8.original.model).state_dict()
    twin, numbers = int8.made.model.state_dict(), held(int8.made.onnx)
    assert set(twin) == set(folded)
    matrices = [name for name in twin if twin[name].ndim >= 2]
    for name in matrices:
        rows = folded[name].flatten(1)
        step = rows.abs().amax(1, keepdim=True) / 127
        assert ((twin[name].flatten(1) - rows).abs() <= step * 0.5001).all(), name
        whole, scales = numbers[f"{name}_quantized"], numbers[f"{name}_scale"]
        assert whole.dtype == np.int8
        assert np.abs(whole.reshape(len(whole), -1)).max(axis=1).tolist() == [127] * len(whole)
        found = whole * scales.reshape(-1, *[1] * (whole.ndim - 1))
        assert np.allclose(twin[name].numpy(), found, rtol=1e-6, atol=0), name
    assert all(torch.equal(twin[name], folded[name]) for name in twin if name not in matrices)


def test_answers_are_close_to_the_original(int8: Quantized) -> None:
    inputs = onnx_inputs(int8.original.card, random_images(24, seed=5)[0])
    with torch.no_grad():
        expected = int8.original.model(torch.from_numpy(inputs)).numpy()
    found = OnnxNetwork(int8.made.onnx).logits(inputs)
    error = np.abs(found - expected).mean() / np.abs(expected - expected.mean(0)).mean()
    assert error < 0.45  # of images of noise, which an untrained network hardly tells apart
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98
    assert len(np.unique(found)) > 0.9 * found.size  # logits stay float32


def test_it_computes_in_integers(int8: Quantized, tmp_path: Path) -> None:
    nodes = as_run(int8.made.onnx, tmp_path)
    kinds = [node.op_type for node in nodes]
    convolutions = sum(isinstance(module, nn.Conv2d) for module in int8.made.model.modules())
    assert kinds.count("QLinearConv") >= convolutions - 1
    assert kinds.count("Conv") + kinds.count("QLinearConv") == convolutions
    assert "QGemm" in kinds
    assert not {"Add", "MaxPool", "Relu", "Gemm", "FusedConv"} & set(kinds) or "Gelu" in kinds
    if not {"Gelu", "ReduceMean"} & set(kinds):  # ONNX Runtime computes these two in float32
        assert "DequantizeLinear" not in kinds
        assert kinds.count("QuantizeLinear") == 1


def test_it_is_far_from_the_limit_of_what_is_run(int8: Quantized) -> None:
    numbers = onnx_network._numbers(onnx.load_from_string(int8.made.onnx), images=True)
    largest = int8.made.card.model == "resnet18"
    assert largest * onnx_network.MOST_VALUES / 16 < numbers < onnx_network.MOST_VALUES


def test_it_is_a_checkpoint_like_any_other(int8: Quantized, tmp_path: Path) -> None:
    made = int8.made
    save_checkpoint(tmp_path / "int8", made.model, made.card, onnx=made.onnx)
    loaded = load_checkpoint(str(tmp_path / "int8"))
    assert loaded.onnx == made.onnx
    assert (loaded.card.storage, loaded.card.parent) == ("int8", "original")
    assert loaded.card.compression["steps"] == [STEP.to_dict()]
    expected = made.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.model.state_dict().items())
    renamed = dataclasses.replace(loaded, card=dataclasses.replace(loaded.card, title="Another title"))
    network = OnnxNetwork(export_onnx(renamed))
    assert network.metadata["title"] == "Another title"
    inputs = onnx_inputs(made.card, IMAGES[:4])
    assert np.array_equal(network.logits(inputs), OnnxNetwork(made.onnx).logits(inputs))
    assert compare_export(renamed, export_onnx(renamed), IMAGES) > 0


def test_it_is_small_and_says_nothing(capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    original = network("simple_cnn")
    made = to_int8(original, IMAGES, STEP)
    assert len(export_onnx(original)) > 3.4 * len(made.onnx)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_the_same_images_give_the_same_file_and_no_more_are_used_than_asked_for() -> None:
    original = network("simple_cnn", widths=(4, 4))
    made = to_int8(original, IMAGES, STEP).onnx
    more = np.concatenate([IMAGES, np.full_like(IMAGES, 255)])
    assert to_int8(original, more, STEP).onnx == made


def test_a_channel_with_a_bias_and_hardly_a_weight_survives() -> None:
    original = network("simple_cnn", widths=(4, 4))
    layer = original.model.get_submodule("conv2")
    layer.weight[1] *= 1e-14
    layer.weight[2] = 0
    layer.bias[:] = torch.tensor([0.1, 5.0, -3.0, 0.2])
    made = to_int8(original, IMAGES, STEP)
    inputs = onnx_inputs(original.card, IMAGES)
    with torch.no_grad():
        expected = original.model(torch.from_numpy(inputs)).numpy()
    assert np.abs(OnnxNetwork(made.onnx).logits(inputs) - expected).max() < 0.1 * np.abs(expected).max()


def test_what_is_always_zero_keeps_its_weights() -> None:
    original = network("simple_cnn", widths=(4, 4))
    original.model.get_submodule("conv1").bias[:] = -100
    made = to_int8(original, IMAGES, STEP)
    assert made.model.get_submodule("conv2").weight.any()
    assert np.isfinite(OnnxNetwork(made.onnx).logits(onnx_inputs(original.card, IMAGES))).all()


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (None, "0 images are too few"),
        (IMAGES[:1], "1 images are too few"),
        (IMAGES[:15], "15 images are too few"),
        (np.repeat(IMAGES[:1], 32, axis=0), "are the same"),
        (IMAGES[:, :16], "images of 32x32 pixels"),
        (IMAGES.astype(np.float32), "not float32"),
    ],
)
def test_images_that_tell_no_ranges_are_refused(images: np.ndarray | None, words: str) -> None:
    with pytest.raises(LabError, match=words):
        to_int8(network("simple_cnn", widths=(4, 4)), images, STEP)


class Pooled(nn.Module):
    """Without a convolution or a linear layer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.flatten(nn.functional.adaptive_avg_pool2d(torch.relu(x), 1), 1)


def test_networks_that_cannot_be_in_int8_are_refused() -> None:
    with pytest.raises(LabError, match="no convolutions and no linear layers"):
        to_int8(dataclasses.replace(network("simple_cnn"), model=Pooled()), IMAGES, STEP)
    broken = network("simple_cnn", widths=(4, 4))
    broken.model.get_submodule("head").weight[0, 0] = torch.nan
    with pytest.raises(LabError, match="not finite numbers"):
        to_int8(broken, IMAGES, STEP)
    huge = network("simple_cnn", widths=(4, 4))
    huge.model.get_submodule("conv1").weight[:] = 1e38
    huge.model.get_submodule("conv2").weight[:] = 1e38
    with pytest.raises(LabError, match="Activations of the network are not finite numbers"):
        to_int8(huge, IMAGES, STEP)
    with pytest.raises(LabError, match="takes no images"):
        to_int8(network("char_lstm", **SMALL_WRITERS["char_lstm"]), IMAGES, STEP)


@pytest.mark.parametrize("name", SMALL_WRITERS)
def test_language_models_move_to_the_grid_of_their_rows(name: str, tmp_path: Path) -> None:
    original = network(name, **SMALL_WRITERS[name])
    before = snapshot(original)
    made = to_int8(original, None, STEP)
    assert snapshot(original) == before
    assert (made.card.storage, made.onnx) == ("int8", b"")
    for key, value in original.model.state_dict().items():
        twin = made.model.state_dict()[key]
        if value.ndim < 2:
            assert torch.equal(twin, value)
            continue
        step = value.abs().amax(1, keepdim=True) / 127
        assert torch.equal(twin, (value / step).round() * step)
    save_checkpoint(tmp_path / "int8", made.model, made.card)
    loaded, expected = load_checkpoint(str(tmp_path / "int8")), made.model.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in loaded.model.state_dict().items())
    assert compare_export(loaded, export_onnx(loaded), None) < 1e-4


@torch.no_grad()
def test_ranges_are_what_pytorch_sees() -> None:
    model = network("simple_cnn", widths=(4, 4)).model
    inputs = onnx_inputs(network("simple_cnn").card, random_images(70)[0])
    file = quantize_graph(image_graph(model, 32), inputs)
    numbers = {item.name: numpy_helper.to_array(item) for item in file.graph.initializer}
    first = torch.relu(model.conv1(torch.from_numpy(inputs)))
    second = torch.relu(model.conv2(model.pool1(first)))
    expected = [float(inputs.max() - inputs.min()), float(first.max()), float(second.max())]
    used = [node.input[1] for node in file.graph.node if node.op_type == "QuantizeLinear"]
    found = [255 * float(numbers[name]) for name in dict.fromkeys(used)]
    assert np.allclose(sorted(found), sorted(expected), rtol=1e-3)
