"""Networks from elsewhere: the same answers as in their own runtime, right gradients, and a sentence for what is not taken."""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torchvision
from onnx import helper
from safetensors.torch import save
from torch import nn

from core.app import main
from core.attribution.explainer import Explainer
from core.attribution.methods.registry import METHODS, get_method
from core.checkpoints.store import RUNTIME_ONLY, Checkpoint, CheckpointRef, load_checkpoint, read_card, save_checkpoint
from core.common.errors import LabError
from core.compression.kind import COMPRESS
from core.compression.recipe import make
from core.compression.steps import FineTune, Int8, PruneChannels, PruneWeights, Step
from core.compression.store import read_compression
from core.compression.targets import TARGETS, ExportRequest, export_file, offered_precisions, offered_targets
from core.data import load_images
from core.data.dataset import ImageDataset
from core.data.storage import folder_bytes
from core.inference.images import classify, logits_of
from core.inference.onnx_network import check_onnx
from core.jobs import RunStore
from core.jobs.quota import UNFINISHED, stored_bytes
from core.jobs.worker import do_run
from core.models import build_model
from core.models.torchvision_names import ARCHITECTURES
from core.networks import onnx_file, store, worker
from core.networks import recognise as recognition
from core.networks.choices import Choices
from core.networks.onnx_file import facts_of, read_file
from core.networks.recognise import fingerprint, recognise, shapes_of, size_of
from core.networks.standard_form import to_standard_form
from core.networks.weights import read_state
from tests.unit.compression.compressible import network
from tests.unit.compression.quick_measuring import quicken
from tests.unit.networks.files import (
    HEAD,
    WEIGHTS,
    Attends,
    ChannelsLast,
    Small,
    answers_only,
    bomb,
    export,
    graph,
    loop,
)


def bring(data: bytes, folder: Path, name: str = "mine.onnx", *, dataset: Any = None, **choices: Any) -> Checkpoint:
    """As the process does it, within this one: no limit, and quicker."""
    folder.mkdir(parents=True, exist_ok=True)
    path, made = folder / "file", folder / "made"
    path.write_bytes(data)
    made.mkdir()
    kind = worker.inspect(path, {"name": name})["kind"]
    asked = {"name": name, "kind": kind, "folder": str(made), "choices": Choices(**choices), "dataset": dataset}
    worker.prepare(path, asked)
    return load_checkpoint(CheckpointRef(name="mine", folder=made, card=read_card(made), origin="folder"))


def own_runtime(data: bytes, inputs: np.ndarray, *, one: bool = False) -> np.ndarray:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    parts = [inputs[at : at + 1] for at in range(len(inputs))] if one else [inputs]
    return np.concatenate([session.run(None, {name: part})[0] for part in parts])


TAIL = (nn.ReLU(), nn.AvgPool2d(3, 2, 1, ceil_mode=True), nn.Flatten(), nn.Linear(8 * 64, 5))
KINDS: dict[str, tuple[nn.Module, tuple[int, ...], dict[str, Any]]] = {
    "plain": (Small(), (2, 3, 32, 32), {}),
    "as old as they come": (Small(), (2, 3, 32, 32), {"opset": 11}),
    "batch of one": (Small(), (1, 3, 32, 32), {"free": ()}),
    "free height and width": (Small(), (2, 3, 24, 24), {"free": (0, 2, 3)}),
    "one channel": (Small(1), (2, 1, 28, 28), {}),
    "channels last": (ChannelsLast(Small()), (2, 32, 32, 3), {}),
    "class token": (Attends(), (2, 3, 16, 16), {}),
    "class token, batch of one": (Attends(), (1, 3, 16, 16), {"free": ()}),
    "probabilities": (Small(softmax=True), (2, 3, 32, 32), {}),
    "group norm": (nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(4, 8), *TAIL), (2, 3, 16, 16), {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_answers_100_images_as_in_its_own_runtime(kind: str, tmp_path: Path) -> None:
    model, shape, options = KINDS[kind]
    data = export(model, shape, **options)
    last = kind == "channels last"
    side = shape[2]
    found = bring(data, tmp_path, pixels="0..1", input_size=side)
    assert found.onnx
    assert found.card.model == "onnx"
    assert found.card.image_data.image_size == side
    images = np.random.default_rng(0).integers(0, 256, (100, side, side, 3), dtype=np.uint8)
    if shape[1] == 1:
        images[:] = images[..., :1]  # grey: all three are that value
    pixels = images.astype(np.float32) / 255
    wanted = own_runtime(
        data, pixels if last else np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)[:, : shape[1]]), one=shape[0] == 1
    )
    logits = logits_of(found, images)
    given = logits.softmax(1) if kind == "probabilities" else logits
    np.testing.assert_allclose(given.numpy(), wanted, atol=1e-5, rtol=1e-5)
    twin = found.model(torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()))
    np.testing.assert_allclose(twin.numpy(), logits.numpy(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["plain", "class token", "channels last", "class token, batch of one"])
def test_gradients_of_a_converted_network_are_difference_quotients(kind: str, tmp_path: Path) -> None:
    model, shape, options = KINDS[kind]
    network = bring(export(model, shape, **options), tmp_path).model.double()
    side = shape[2]
    torch.manual_seed(0)
    image = torch.randn(2, 3, side, side, dtype=torch.float64, requires_grad=True)
    direction = torch.randn_like(image)
    (gradient,) = torch.autograd.grad(network(image)[:, 1].sum(), image)
    step = 1e-6 * direction
    with torch.no_grad():
        quotient = (network(image + step)[:, 1] - network(image - step)[:, 1]).sum() / 2e-6
    assert float((gradient * direction).sum()) == pytest.approx(float(quotient), rel=1e-5, abs=1e-9)


def test_smaller_images_are_enlarged_by_the_network(tmp_path: Path) -> None:
    data = export(Small(), (2, 3, 64, 64))
    found = bring(data, tmp_path, pixels="0..1", image_size=24)
    images = np.random.default_rng(0).integers(0, 256, (8, 24, 24, 3), dtype=np.uint8)
    pixels = torch.from_numpy(images / np.float32(255)).permute(0, 3, 1, 2)
    large = nn.functional.interpolate(pixels, (64, 64), mode="bilinear")
    np.testing.assert_allclose(logits_of(found, images).numpy(), own_runtime(data, large.numpy()), atol=1e-5)


def pooling(op: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, ["x"], ["made"], **attributes)


LAYERS: dict[str, tuple[onnx.NodeProto, int, int]] = {
    "uneven": (pooling("AveragePool", kernel_shape=[3, 2], pads=[0, 1, 1, 0]), 6, 17),
    "uneven, padding counts": (
        pooling("AveragePool", kernel_shape=[3, 3], strides=[2, 1], pads=[0, 0, 1, 2], count_include_pad=1),
        6,
        17,
    ),
    "SAME_UPPER": (pooling("AveragePool", kernel_shape=[2, 2], strides=[1, 1], auto_pad="SAME_UPPER"), 6, 17),
    "SAME_LOWER": (pooling("AveragePool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER"), 6, 17),
    "up": (pooling("AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), 6, 17),
    "up, even": (
        pooling("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
        6,
        17,
    ),
    "up, uneven": (
        pooling("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 1, 1, 0], ceil_mode=1),
        6,
        17,
    ),
    "up, uneven, padding counts": (
        pooling(
            "AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 1, 1, 0], ceil_mode=1, count_include_pad=1
        ),
        6,
        19,
    ),
    "largest, up, uneven": (
        pooling("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 1, 1, 0], ceil_mode=1),
        6,
        17,
    ),
    "instance norm": (helper.make_node("InstanceNormalization", ["x", "s6", "b6"], ["made"], epsilon=1e-3), 6, 17),
    "group norm": (helper.make_node("GroupNormalization", ["x", "s6", "b6"], ["made"], num_groups=3), 6, 21),
    "group norm of old": (helper.make_node("GroupNormalization", ["x", "s3", "b3"], ["made"], num_groups=3), 6, 18),
}
"""Each with the number of its channels and its opset."""


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_answers_as_in_onnx_runtime(kind: str, tmp_path: Path) -> None:
    node, channels, opset = LAYERS[kind]
    drawn = np.random.default_rng(0)
    weights = {"mix": drawn.normal(size=(channels, 3, 1, 1))}
    weights |= {name: drawn.normal(size=int(name[1])) for name in node.input[1:]}
    nodes = [helper.make_node("Conv", ["image", "mix"], ["x"]), node]
    given: Any = (("image", ["N", 3, 15, 15]),)
    alone = {name: value.astype(np.float32) for name, value in weights.items()}
    images = drawn.normal(size=(3, 3, 15, 15)).astype(np.float32)
    between = own_runtime(graph(nodes, alone, inputs=given, outputs=(("made", None),), opset=opset), images)
    alone["head"] = drawn.normal(size=(between[0].size, 4)).astype(np.float32) / 10
    nodes += [helper.make_node("Flatten", ["made"], ["flat"]), helper.make_node("Gemm", ["flat", "head"], ["y"])]
    data = graph(nodes, alone, inputs=given, opset=opset)
    found = bring(data, tmp_path)
    assert found.card.model == "onnx"
    twin = found.model(torch.from_numpy(images))
    np.testing.assert_allclose(twin.numpy(), own_runtime(data, images), atol=1e-5, rtol=1e-5)
    assert ("norm" in kind) == any(isinstance(module, nn.GroupNorm) for module in found.model.modules())


def test_a_group_norm_of_pytorch_is_one_layer_again(tmp_path: Path) -> None:
    model, shape, options = KINDS["group norm"]
    found = bring(export(model, shape, **options), tmp_path)
    (norm,) = (module for module in found.model.modules() if isinstance(module, nn.GroupNorm))
    assert (norm.num_groups, norm.num_channels) == (4, 8)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_in_the_labs_form_is_brought_again_with_other_sizes(channels: int, tmp_path: Path) -> None:
    data = export(Small(channels), (2, channels, 64, 64))
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    for number, side in enumerate((32, 24, 16)):
        found = bring(data, tmp_path / str(number), pixels="0..1", image_size=side)
        data = found.onnx
    pixels = torch.from_numpy(images / np.float32(255)).permute(0, 3, 1, 2)
    for side in (24, 32):
        pixels = nn.functional.interpolate(pixels, (side, side), mode="bilinear")
    wanted = own_runtime(
        (tmp_path / "0" / "made" / read_card(tmp_path / "0" / "made").onnx_file).read_bytes(), pixels.numpy()
    )
    np.testing.assert_allclose(logits_of(found, images).numpy(), wanted, atol=1e-5)
    assert found.card.model == "onnx"


def test_a_network_that_cannot_be_converted_answers_and_says_why_it_does_no_more(tmp_path: Path) -> None:
    data = answers_only()
    found = bring(data, tmp_path, pixels="0..1")
    assert found.card.model == RUNTIME_ONLY
    assert "ConvTranspose" in found.card.model_config["reason"]
    images = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8)
    wanted = own_runtime(data, np.ascontiguousarray((images / np.float32(255)).transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(logits_of(found, images).numpy(), wanted, atol=1e-5)
    explainer = Explainer(found)
    for name in METHODS:
        method = get_method(name)
        if method.family == "perturbation":
            assert explainer.refusal(method) is None
        else:
            assert "ONNX Runtime" in str(explainer.refusal(method)), name
    assert not explainer.attribute(get_method("occlusion"), images[0], 1).blank
    with pytest.raises(LabError, match="no gradients"):
        found.model(torch.zeros(1, 3, 32, 32, requires_grad=True))
    with pytest.raises(LabError, match="no layers"):
        found.check_layers()
    with pytest.raises(LabError, match="int8 alone"):
        make("mine", found.card, (PruneWeights(),))


REFUSED: dict[str, tuple[bytes, str]] = {
    "loop of 10^9 rounds": (loop(), "operator Loop"),
    "two inputs": (graph(HEAD, WEIGHTS, inputs=(("x", ["N", 3, 8, 8]), ("z", [1]))), "takes 2 inputs"),
    "custom operator": (
        graph([*HEAD[:2], helper.make_node("Secret", ["flat"], ["y"], domain="evil")], domains=("evil",)),
        "operator Secret of evil",
    ),
    "3,000 classes": (
        graph(HEAD, {"w": np.zeros((3, 3000), np.float32)}, outputs=(("y", ["N", 3000]),)),
        "3,000 classes",
    ),
    "one class": (graph(HEAD, {"w": np.zeros((3, 1), np.float32)}, outputs=(("y", ["N", 1]),)), "one number"),
    "a row of numbers": (graph(HEAD[2:], WEIGHTS, inputs=(("flat", ["N", 3]),)), "batch, channels, height and width"),
    "five channels": (graph(HEAD, WEIGHTS, inputs=(("x", ["N", 5, 8, 8]),)), "one or three channels"),
    "as large as a poster": (graph(HEAD, WEIGHTS, inputs=(("x", ["N", 3, 4000, 4000]),)), "4,000 pixels"),
    "not square": (graph(HEAD, WEIGHTS, inputs=(("x", ["N", 3, 8, 16]),)), "only square"),
    "nothing": (b"", "0 bytes"),
    "no ONNX": (b"\x08\x07" + b"abc" * 100, "no ONNX file|operators"),
    "answers without the image": (
        graph([helper.make_node("Identity", ["w"], ["y"])], {"w": np.zeros((2, 4), np.float32)}),
        "does not depend|random images",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_taken_is_one_sentence(kind: str) -> None:
    data, said = REFUSED[kind]
    with pytest.raises(LabError, match=said) as caught:
        to_standard_form(data, Choices())
    assert str(caught.value).count(". ") == 0
    assert len(str(caught.value)) < 200, "the process cuts what is longer"


def test_3000_results_and_weights_in_another_file_are_refused() -> None:
    more = [f"more_{number}" for number in range(2999)]
    nodes = [*HEAD, *(helper.make_node("Identity", ["flat"], [name]) for name in more)]
    many = graph(nodes, WEIGHTS, outputs=(("y", ["N", 4]), *((name, ["N", 3]) for name in more)))
    with pytest.raises(LabError, match="3,000 results"):
        facts_of(read_file(many))
    outside = onnx.load_from_string(graph(HEAD, WEIGHTS))
    outside.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    outside.graph.initializer[0].external_data.add(key="location", value="../secret")
    with pytest.raises(LabError, match="another file"):
        read_file(outside.SerializeToString())


def test_without_a_size_or_with_other_classes_the_sentence_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="how large its images are"):
        bring(export(Small(), (2, 3, 32, 32), free=(0, 2, 3)), tmp_path / "a")
    with pytest.raises(LabError, match="10 classes, and 2 are named"):
        bring(export(Small(), (2, 3, 32, 32)), tmp_path / "b", classes=("cat", "dog"))


def test_a_file_that_asks_for_too_much_memory_is_never_run_again() -> None:
    """What a kept file may compute is bounded by its sizes, whoever made the folder that it lies in."""
    for side, refused in ((2, False), (2**15, True)):
        nodes = [
            helper.make_node("GlobalAveragePool", ["images"], ["small"]),
            helper.make_node("Expand", ["small", "many"], ["large"]),
            helper.make_node("GlobalAveragePool", ["large"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["logits"]),
        ]
        many = onnx.numpy_helper.from_array(np.array([1, 3, side, side], np.int64), "many")
        images = helper.make_tensor_value_info("images", 1, ["N", 3, 8, 8])
        logits = helper.make_tensor_value_info("logits", 1, None)
        made = helper.make_model(helper.make_graph(nodes, "graph", [images], [logits], [many]))
        with pytest.raises(LabError, match="more memory") if refused else nullcontext():
            check_onnx(made.SerializeToString())


@pytest.mark.parametrize(
    "nodes",
    [
        [{"op": "Pow", "inputs": ["three", "huge"], "outputs": ["x"]}],
        [{"op": "Mul", "inputs": ["list", "huge"], "outputs": ["x"]}],
        [{"op": "Concat", "inputs": [f"l{at}"] * 2, "outputs": [f"l{at + 1}"]} for at in range(40)],
    ],
    ids=["power", "long list", "doubled lists"],
)
def test_a_card_whose_sizes_grow_without_bound_is_refused(nodes: list[dict[str, Any]], tmp_path: Path) -> None:
    """Python computes with numbers and lists of any length, and holds up the server meanwhile."""
    found = bring(export(Small(), (2, 3, 32, 32)), tmp_path)
    settings = dict(found.card.model_config)
    parsed = json.loads(settings["graph"])
    parsed["nodes"] = [{"attributes": {"axis": 0}} | node for node in nodes] + parsed["nodes"]
    parsed["constants"] |= {"three": 3, "huge": 5_000_000, "list": [0], "l0": [0]}
    model = build_model("onnx", settings | {"graph": json.dumps(parsed)})
    with pytest.raises(ValueError, match="sizes|length"):
        model(torch.zeros(1, 3, 32, 32))


def test_a_card_that_asks_for_too_much_memory_is_refused(tmp_path: Path) -> None:
    """Its graph is looked through by sizes alone before a number is computed."""
    found = bring(export(Small(), (2, 3, 32, 32)), tmp_path)
    graph = json.loads(found.card.model_config["graph"])
    last = next(node for node in graph["nodes"] if node["op"] == "Relu")
    name = last["outputs"][0]
    graph["constants"] |= {"far": [0, 0, 0, 0, 0, 0, 2**20, 2**20]}
    for node in graph["nodes"]:
        node["inputs"] = ["padded" if given == name else given for given in node["inputs"]]
    at = graph["nodes"].index(last)
    graph["nodes"].insert(at + 1, {"op": "Pad", "inputs": [name, "far"], "outputs": ["padded"], "attributes": {}})
    card = read_card(tmp_path / "made")
    card.model_config["graph"] = json.dumps(graph)
    (tmp_path / "made" / "card.json").write_text(card.to_json())
    reference = CheckpointRef(name="mine", folder=tmp_path / "made", card=read_card(tmp_path / "made"), origin="folder")
    with pytest.raises(LabError, match="damaged"):
        load_checkpoint(reference)


def state_file(model: nn.Module, **wrapped: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save({"state_dict": {f"module.{key}": value for key, value in model.state_dict().items()}} | wrapped, buffer)
    return buffer.getvalue()


def torchvision_network(classes: int = 7) -> nn.Module:
    from torchvision.models import mobilenet_v3_small

    torch.manual_seed(0)
    return mobilenet_v3_small(num_classes=classes).eval()


def test_weights_of_an_architecture_answer_as_torchvisions_own(tmp_path: Path) -> None:
    model = torchvision_network()
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    pixels = torch.from_numpy(images / np.float32(255)).permute(0, 3, 1, 2)
    with torch.no_grad():
        wanted = model(pixels)
    for name, data, architecture in (
        ("a.pt", state_file(model), "mobilenet_v3_small"),
        ("a.safetensors", save(model.state_dict()), ""),
    ):
        found = bring(
            data, tmp_path / name, name, architecture=architecture, input_size=64, pixels="0..1", dataset=None
        )
        assert found.card.model == "torchvision"
        torch.testing.assert_close(logits_of(found, images), wanted, atol=1e-5, rtol=1e-5)


def test_the_table_of_architectures_is_torchvisions_own() -> None:
    rows = recognition._rows()
    assert tuple(rows) == ARCHITECTURES
    assert len({row["exact"] for row in rows.values()}) == len(rows), "two cannot be told apart"
    for name in ("squeezenet1_1", "resnet18", "regnet_x_400mf", "vit_b_32"):
        assert rows[name] == fingerprint(name), name


@pytest.mark.parametrize("name", ["resnet18", "regnet_y_400mf", "squeezenet1_0"])
def test_weights_say_what_they_are(name: str) -> None:
    shapes = shapes_of({"architecture": name, "classes": 12})
    found = recognise({key: shape for key, shape in shapes.items() if "num_batches" not in key})
    assert (found.architecture, found.classes) == (name, 12)


def test_weights_of_a_vision_transformer_say_the_size_of_their_images() -> None:
    shapes = shapes_of({"architecture": "vit_b_16", "classes": 5, "image_size": 384})
    found = recognise(shapes)
    assert (found.architecture, found.classes) == ("vit_b_16", 5)
    assert size_of(shapes, "vit_b_16") == {"image_size": 384}


def test_of_other_weights_the_nearest_architecture_and_the_difference_are_said(tmp_path: Path) -> None:
    shapes = shapes_of({"architecture": "resnet18", "classes": 10}) | {"conv1.weight": (64, 3, 3, 3)}
    found = recognise(shapes)
    assert (found.architecture, found.classes) == ("resnet18", 0)
    assert "conv1.weight is 64×3×3×3 and must be 64×3×7×7" in found.sentence
    assert not recognise({"a": (3, 4)}).architecture
    with pytest.raises(LabError, match="No architecture"):
        bring(save(Small().state_dict()), tmp_path, "a.safetensors")


@pytest.mark.parametrize("classes", [0, 1, 2001])
def test_another_number_of_classes_than_is_taken_is_said(classes: int) -> None:
    shapes = shapes_of({"architecture": "resnet18", "classes": 2})
    found = recognise(shapes | {"fc.weight": (classes, 512), "fc.bias": (classes,)})
    assert found.classes == 0
    assert "ResNet-18" in found.sentence
    assert f"for {classes:,} class" in found.sentence


def test_a_tensor_of_many_dimensions_makes_no_long_sentence() -> None:
    shapes = shapes_of({"architecture": "resnet18", "classes": 2}) | {"conv1.weight": (1,) * 500}
    assert "500 dimensions" in recognise(shapes).sentence
    assert len(recognise(shapes).sentence) < 200


def test_of_weights_names_and_shapes_are_read_alone(tmp_path: Path) -> None:
    names = ("module._orig_mod.encoder.layers.encoder_layer_0.mlp.linear_2.bias", "module._orig_mod.features.0.weight")
    state = {name: torch.zeros(3, 4) for name in names}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    for name, data in (("a.safetensors", save(state)), ("a.pt", buffer.getvalue())):
        (tmp_path / name).write_bytes(data)
        found = read_state(tmp_path / name, name, "meta")
        assert {key: (tuple(value.shape), value.is_meta) for key, value in found.items()} == {
            "encoder.layers.encoder_layer_0.mlp.3.bias": ((3, 4), True),
            "features.0.weight": ((3, 4), True),
        }


def test_weights_that_are_none_or_of_another_architecture_are_one_sentence(tmp_path: Path) -> None:
    weights = state_file(torchvision_network())
    module = io.BytesIO()
    torch.save(Small(), module)
    cases = (
        (pickle.dumps({"a": Path.cwd}), "a.safetensors", "not a safetensors file"),
        (pickle.dumps(Path.cwd), "a.pt", "never opened"),
        (module.getvalue(), "a.pt", "never opened"),
        (weights[:50_000], "a.pt", "cannot be read|can be read"),
        (weights, "a.pt", "not weights of resnet18"),
        (save(Small().state_dict()), "a.safetensors", "not weights of resnet18"),
        (b"PK\3\4 and nothing more", "a.zip", "can be read"),
    )
    for number, (data, name, said) in enumerate(cases):
        with pytest.raises(LabError, match=said):
            bring(data, tmp_path / str(number), name, architecture="resnet18")


def test_old_weights_and_published_names_are_taken(tmp_path: Path) -> None:
    """Files from before PyTorch counted batches, and DenseNet's own names."""
    for name, change in (
        ("resnet18", lambda state: {key: value for key, value in state.items() if "num_batches" not in key}),
        (
            "densenet121",
            lambda state: {
                re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", key): v for key, v in state.items()
            },
        ),
    ):
        model = torchvision.models.get_model(name, num_classes=3).eval()
        state = change(model.state_dict())
        assert state.keys() != model.state_dict().keys()
        found = bring(save(state), tmp_path / name, f"{name}.safetensors", architecture=name, input_size=32)
        with torch.no_grad():
            images = torch.randn(2, 3, 32, 32)
            assert torch.allclose(found.model(images), model(images), atol=1e-5)


def test_names_in_metadata_go_by_their_numbers() -> None:
    found = onnx_file._class_names({"names": '{"0": "a", "1": "b", "10": "k", "2": "c"}'}, 4)
    assert found == (), "there is no class 3"
    assert onnx_file._class_names({"names": "{1: 'dog', 0: 'cat'}"}, 2) == ("cat", "dog")


def test_a_checkpoint_of_the_lab_comes_back_from_its_archive(tmp_path: Path) -> None:
    made = network("simple_cnn")
    card = save_checkpoint(tmp_path / "own", made.model, made.card)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("card.json", card.to_json())
        archive.writestr("../escape", "x")
        archive.write(tmp_path / "own" / card.weights_file, card.weights_file)
    found = bring(buffer.getvalue(), tmp_path / "new", "mine.zip")
    assert found.card.fingerprint == card.fingerprint
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    assert torch.equal(logits_of(found, images), logits_of(made, images))
    assert {item.name for item in (tmp_path / "new" / "made").iterdir()} == {"card.json", card.weights_file}
    damaged = io.BytesIO()
    with zipfile.ZipFile(damaged, "w") as archive:
        archive.writestr("card.json", card.to_json())
        archive.writestr(card.weights_file, b"others")
    with pytest.raises(LabError, match="checksum"):
        bring(damaged.getvalue(), tmp_path / "damaged", "mine.zip")


@pytest.mark.parametrize("kind", ["of the lab", "converted"])
def test_exported_weights_come_back_with_their_card(kind: str, tmp_path: Path) -> None:
    made = network("simple_cnn") if kind == "of the lab" else bring(export(Small(), (2, 3, 32, 32)), tmp_path / "first")
    data = export_file(made, ExportRequest(target="safetensors"), "net").data
    found = bring(data, tmp_path / "again", "net.safetensors", title="not asked")
    assert found.card.title == made.card.title
    assert found.card.calibration == made.card.calibration
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    torch.testing.assert_close(logits_of(found, images), logits_of(made, images), atol=1e-5, rtol=1e-5)
    assert export_file(found, ExportRequest(), "net").data


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"calibration": {"temperature": 0}}, "temperature"),
        ({"model_config": {"widths": [10**6] * 2}}, "damaged|too large"),
        ({"dataset": 3}, "cannot be read"),
        ({"title": "a\ud800b"}, "card in this file is damaged"),
        ({"model_config": {"one_by_one": True}}, "Download"),
    ],
    ids=["figures", "size", "kind", "half a character", "one image at a time"],
)
def test_a_card_in_exported_weights_is_not_believed(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    made = network("simple_cnn")
    card = json.loads(made.card.to_json()) | change
    data = save(made.model.state_dict(), metadata={"card": json.dumps(card)})
    with pytest.raises(LabError, match=said) as refused:
        bring(data, tmp_path, "net.safetensors")
    assert str(tmp_path) not in str(refused.value)


@pytest.mark.slow
def test_a_process_with_limits_reads_tries_and_keeps(lab_home: Path) -> None:
    data = export(Small(), (2, 3, 32, 32))
    given = store.receive(io.BytesIO(data), "../My Net.onnx", user="Ada")
    assert stored_bytes(RunStore(), "Ada")[UNFINISHED] >= len(data)
    tried = store.attempt(given, Choices(classes=tuple("abcdefghij")), image=np.full((40, 50, 3), 90, np.uint8))
    name = store.keep(tried)
    assert [reference.name for reference in store.kept_networks()] == [name]
    image = np.full((1, 32, 32, 3), 90, np.uint8)
    ((label, probability), *_) = classify(load_checkpoint(name), image)[0].top
    assert tried.answer["top"][0] == [label, pytest.approx(probability, abs=1e-6)]
    assert [item.name for item in store.folder().iterdir()] == [name], "no copy of the file is left"
    assert stored_bytes(RunStore(), "Ada")["networks"] == folder_bytes(store.folder() / name)
    store.delete(name)
    assert not store.kept_networks()
    with pytest.raises(LabError, match="no network"):
        store.delete("../../runs")


@pytest.mark.slow
@pytest.mark.parametrize("data", [bomb(2**29), bomb(2**40)], ids=["2 GB of zeros", "4 TB of zeros"])
def test_a_bomb_ends_its_own_process_alone(lab_home: Path, data: bytes) -> None:
    given = store.receive(io.BytesIO(data), "bomb.onnx")
    with pytest.raises(LabError, match="memory"):
        store.attempt(given, Choices())
    store.discard(given)
    assert not any(store.folder().iterdir())
    with pytest.raises(LabError, match="give it again"):
        store.attempt(given, Choices())


@pytest.fixture(scope="module")
def dataset(tiny_dataset_folder: Path) -> ImageDataset:
    return load_images(f"folder:{tiny_dataset_folder}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "steps"),
    [
        (export(Small(classes=3), (2, 3, 32, 32)), (PruneChannels(amount=0.3), FineTune(epochs=1.0), Int8(images=64))),
        (answers_only(), (Int8(images=64),)),
    ],
    ids=["converted", "answers only"],
)
def test_a_brought_network_is_compressed_and_measured(
    data: bytes,
    steps: tuple[Step, ...],
    dataset: ImageDataset,
    lab_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quicken(monkeypatch)
    found = bring(data, tmp_path, dataset=dataset.card, classes=dataset.card.classes)
    folder = str(tmp_path / "made")
    store_of_runs = RunStore()
    run_id = store_of_runs.create(make(folder, found.card, steps, device="cpu"), kind=COMPRESS.name)
    do_run(store_of_runs, run_id)
    result = read_compression(store_of_runs, run_id)
    assert store_of_runs.get(run_id).status == "finished", store_of_runs.get(run_id).message
    last = load_checkpoint(f"{run_id}/best")
    assert last.in_int8
    assert len(result.measured) == 1 + len(steps)


class Scaled(nn.Module):
    """With single numbers in it, as Keras writes its scaling."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.network = Small(classes=classes)
        self.factor = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x * self.factor - 1.0)


@pytest.mark.parametrize("kind", ["plain", "class token"])
def test_a_converted_network_leaves_as_all_that_others_do(kind: str, tmp_path: Path) -> None:
    model, shape, options = KINDS[kind]
    found = bring(export(model, shape, **options), tmp_path)
    assert offered_targets(found.card) == tuple(TARGETS)
    half = (ExportRequest(precision="float16"),) if kind == "plain" else ()  # ONNX Runtime 1.32 cannot load the other
    for request in (
        *half,
        ExportRequest(),
        ExportRequest(opset=17),
        ExportRequest(target="pt2"),
        ExportRequest(target="safetensors"),
    ):
        made = export_file(found, request, "net")
        assert made.difference is not None
        assert made.difference < (0.05 if request.precision else 1e-3), request


def test_single_numbers_in_a_network_are_put_in_int8_with_it(dataset: ImageDataset, tmp_path: Path) -> None:
    data = export(Scaled(classes=3), (2, 3, 32, 32))
    found = bring(data, tmp_path, dataset=dataset.card, classes=dataset.card.classes)
    made = export_file(found, ExportRequest(precision="int8"), "net", dataset)
    assert made.difference is not None
    assert made.difference < 1
    assert b"factor_quantized" in made.data


@pytest.mark.parametrize("kind", ["answers only", "class token, batch of one"])
def test_a_network_that_has_one_file_leaves_as_that(kind: str, tmp_path: Path) -> None:
    model, shape, options = KINDS.get(kind, KINDS["plain"])
    found = bring(answers_only() if kind == "answers only" else export(model, shape, **options), tmp_path)
    assert "pt2" not in offered_targets(found.card)
    assert ("safetensors" in offered_targets(found.card)) == (kind != "answers only")
    assert offered_precisions(found.card) == ("float32", "int8")
    difference = export_file(found, ExportRequest(), "net").difference
    assert difference is not None
    assert difference < 1e-5
    for request in (ExportRequest(opset=17), ExportRequest(precision="float16")):
        with pytest.raises(LabError, match="the file that it came as"):
            export_file(found, request, "net")


def test_the_command_adds_lists_and_deletes(
    lab_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(line: dict[str, Any], words: str, on_progress: Any) -> Any:
        return worker.VERBS[line["what"]](Path(line["file"]), line)

    monkeypatch.setattr(store, "_ask", ask)  # within this process: the real one has a test of its own
    file = tmp_path / "net.onnx"
    file.write_bytes(export(Small(), (2, 3, 32, 32)))
    assert main(["networks", "add", str(file), "--classes", "a,b,c,d,e,f,g,h,i,j", "--json"]) == 0
    name = json.loads(capsys.readouterr().out)["name"]
    assert main(["networks", "list"]) == 0
    assert name in capsys.readouterr().out
    assert main(["networks", "add", str(file)]) == 0
    assert {reference.label for reference in store.kept_networks()} == {"net", "net (2)"}
    assert main(["networks", "delete", name]) == 0
    assert main(["networks", "delete", name]) == 2
    capsys.readouterr()
    weights = tmp_path / "net.pt"
    weights.write_bytes(state_file(torchvision_network()))
    assert main(["networks", "add", str(weights), "--input-size", "64", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["facts"]["architecture"] == "mobilenet_v3_small"


def test_no_fresh_network_is_trained_of_what_comes_from_elsewhere() -> None:
    from core.models import DESIGNS, MODELS, model_info
    from core.regularization.techniques import IMAGE_MODELS

    brought = {name for name, entry in MODELS.items() if entry.imported}
    assert not brought & {*DESIGNS, *IMAGE_MODELS, *(row["name"] for row in model_info())}
    assert build_model("torchvision", {"architecture": "resnet18", "classes": 3, "image_size": 32})


@pytest.mark.parametrize("name", ["deeplift", "lrp"])
def test_methods_that_follow_layers_once_refuse_torchvisions_resnet(name: str) -> None:
    model = build_model("torchvision", {"architecture": "resnet18", "classes": 3, "image_size": 32})
    assert "calls a ReLU several times" in str(get_method(name).refusal(model))
    assert get_method("grad_cam").refusal(model) is None


def test_deeplift_adds_up_or_says_what_it_cannot_see(tmp_path: Path) -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU())
            self.head = nn.Linear(8 * 5 * 5, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(x).flatten(1))

    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    found = Explainer(bring(export(Plain(), (2, 3, 16, 16)), tmp_path / "plain"))
    made = found.attribute(get_method("deeplift"), pixels, 1)
    assert made.gap is not None
    assert made.gap < 1e-3
    assert found.refusal(get_method("lrp")) is None
    attends = Explainer(bring(export(Attends(), (2, 3, 16, 16)), tmp_path / "attends"))
    assert "MatMul" in str(attends.refusal(get_method("deeplift")))
