"""ONNX files come with checkpoints that anyone may have made: what no export here writes is refused before it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from core.common import processor
from core.common.errors import LabError
from core.compression.measuring import measure, sensitivity
from core.compression.methods.int8 import to_int8
from core.compression.onnx.export import export_onnx
from core.compression.steps import Int8
from core.inference import onnx_network
from core.inference.onnx_network import (
    LARGEST_BATCH,
    OPSET,
    OnnxNetwork,
    check_onnx,
    onnx_inputs,
    session_options,
)
from tests.unit.compression.compressible import SMALL_WRITERS, network, random_images

pytestmark = pytest.mark.slow

Sizes = Sequence[int | str | None]


def file_of(
    *nodes: onnx.NodeProto,
    weights: Sequence[onnx.TensorProto] = (),
    inputs: Sequence[tuple[str, int, Sizes | None]] = (("images", TensorProto.FLOAT, ("N", 3, 32, 32)),),
    output: Sizes | None = ("N", 3),
    inner: Sequence[onnx.ValueInfoProto] = (),
) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(*item) for item in inputs],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, output)],
        list(weights),
        value_info=list(inner),
    )
    opset = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString())


def weight(*sizes: int, name: str = "w") -> onnx.TensorProto:
    return numpy_helper.from_array(np.zeros(sizes, np.float32), name)


def elsewhere() -> onnx.TensorProto:
    tensor = weight(1, 3, 1, 1)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def negative() -> onnx.TensorProto:
    """Sizes that would make up for others."""
    tensor = weight(1)
    tensor.dims[:] = [-(2**40)]
    return tensor


def padded(pads: int, sizes: Sizes | None = ("N", 3, 32, 32), **change: Any) -> bytes:
    """A convolution on an image with so much around it, and the mean of what it gives."""
    return file_of(
        helper.make_node("Conv", ["images", "w"], ["x"], pads=[pads] * 4),
        *MEAN,
        **{"weights": [weight(1, 3, 1, 1)], "inputs": [("images", TensorProto.FLOAT, sizes)]} | change,
    )


MEAN = (helper.make_node("GlobalAveragePool", ["x"], ["y"]), helper.make_node("Flatten", ["y"], ["logits"]))
FLAT = helper.make_node("Flatten", ["images"], ["logits"])
IMAGES = ("images", TensorProto.FLOAT, ("N", 3, 32, 32))
TOKENS = ("tokens", TensorProto.INT64, ("B", "T"))
GATHER = helper.make_node("Gather", ["w", "tokens"], ["logits"])
PARTS, INPUTS, MEMORY, SIZES = (
    "has parts that no exported file has",
    "takes other inputs",
    "asks for more memory",
    "has tensors of unknown size",
)
FIT = "do not fit together"
HOSTILE = {
    "no bytes": (b"", "it must have 1 to"),
    "no ONNX": (b"\x80\x04pickle", "is damaged"),
    "another operator": (file_of(helper.make_node("NonZero", ["images"], ["logits"])), PARTS),
    "another domain": (file_of(helper.make_node("Gelu", ["images"], ["logits"], domain="com.microsoft")), PARTS),
    "texts": (file_of(helper.make_node("Cast", ["images"], ["logits"], to=TensorProto.STRING)), PARTS),
    "weights elsewhere": (file_of(helper.make_node("Add", ["images", "w"], ["logits"]), weights=[elsewhere()]), PARTS),
    "sizes below zero": (file_of(FLAT, weights=[negative()]), PARTS),
    "a setting beyond all sizes": (padded(2**63 - 1), PARTS),
    "sizes that it claims": (
        padded(500, inner=[helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 1, 1])]),
        PARTS,
    ),
    "no result": (helper.make_model(helper.make_graph([], "graph", [], [])).SerializeToString(), PARTS),
    "another input": (file_of(FLAT, inputs=[("other", TensorProto.FLOAT, ("N", 3, 32, 32))]), PARTS),
    "images of any size": (padded(10, ("N", 3, "H", "W")), INPUTS),
    "images without a shape": (padded(10, None), INPUTS),
    "images that are not square": (padded(10, ("N", 3, 32, 16)), INPUTS),
    "huge images": (padded(10, ("N", 3, 4096, 4096)), INPUTS),
    "two images at a time": (padded(10, (2, 3, 32, 32)), INPUTS),
    "whole numbers": (file_of(FLAT, inputs=[("images", TensorProto.INT64, ("N", 3, 32, 32))]), INPUTS),
    "a second input": (file_of(FLAT, inputs=[IMAGES, ("more", TensorProto.FLOAT, ("N", 3))]), INPUTS),
    "a state of two dimensions": (
        file_of(GATHER, weights=[weight(5, 4)], inputs=[TOKENS, ("state_h", TensorProto.FLOAT, (1, "B"))]),
        INPUTS,
    ),
    "a state of any width": (
        file_of(GATHER, weights=[weight(5, 4)], inputs=[TOKENS, ("state_h", TensorProto.FLOAT, (1, "B", "W"))]),
        INPUTS,
    ),
    "a huge state": (
        file_of(GATHER, weights=[weight(5, 4)], inputs=[TOKENS, ("state_h", TensorProto.FLOAT, (2**20, "B", 2**20))]),
        MEMORY,
    ),
    "an input that is a weight": (file_of(FLAT, weights=[weight(1, 3, 32, 32, name="images")]), INPUTS),
    "a bomb": (padded(20_000), MEMORY),
    "many tensors": (
        file_of(
            helper.make_node("Conv", ["images", "w"], ["x0"], pads=[3000] * 4),
            *(helper.make_node("Relu", [f"x{index}"], [f"x{index + 1}"]) for index in range(40)),
            helper.make_node("Flatten", ["x40"], ["logits"]),
            weights=[weight(1, 3, 1, 1)],
        ),
        MEMORY,
    ),
    "huge patches": (padded(500, weights=[weight(1, 3, 500, 500)]), MEMORY),
    "a result that claims to be small": (
        file_of(helper.make_node("Relu", ["images"], ["logits"]), output=("N", 3)),
        SIZES,
    ),
    "a result of nothing": (file_of(FLAT, helper.make_node("Relu", ["nothing"], ["x"])), "ONNX file"),
    "nothing that fits": (
        file_of(helper.make_node("Gemm", ["images", "w"], ["logits"]), weights=[weight(2, 2)]),
        FIT,
    ),
    "half a convolution": (file_of(helper.make_node("Conv", ["images"], ["x"]), *MEAN), "ONNX file"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused(name: str) -> None:
    data, words = HOSTILE[name]
    with pytest.raises(LabError, match=f"ONNX file.*{words}" if words != "ONNX file" else words):
        OnnxNetwork(data)


def test_what_is_refused_is_near_what_is_not() -> None:
    plain = OnnxNetwork(padded(10))
    assert plain.logits(np.ones((2, 3, 32, 32), np.float32)).shape == (2, 1)
    assert OnnxNetwork(file_of(FLAT)).logits(np.ones((2, 3, 32, 32), np.float32)).shape == (2, 3072)
    assert OnnxNetwork(padded(500)).most == 32
    with pytest.raises(LabError, match="it takes Nx3x32x32"):
        plain.logits(np.ones((2, 3, 16, 16), np.float32))


@pytest.mark.parametrize("data", [padded(10, (1, 3, 32, 32)), padded(3000)], ids=["batch of one", "large on the way"])
def test_fewer_images_go_together_where_a_file_says_so_or_memory_does(data: bytes) -> None:
    network, images = OnnxNetwork(data), np.random.default_rng(0).standard_normal((3, 3, 32, 32), dtype=np.float32)
    assert network.most < 32
    alone = [network.run(images[at : at + 1])[0] for at in range(3)]
    np.testing.assert_array_equal(network.logits(images), np.concatenate(alone))


def test_images_have_the_size_that_the_card_says() -> None:
    made = to_int8(network("simple_cnn", widths=(4, 4)), random_images(16)[0], Int8(images=16))
    assert check_onnx(made.onnx, 32)
    data = dataclasses.replace(made.card.image_data, image_size=64)
    with pytest.raises(LabError, match="takes other inputs"):
        export_onnx(dataclasses.replace(made, card=dataclasses.replace(made.card, dataset=data)))


def test_an_int8_file_of_a_language_model_is_refused() -> None:
    writer = network("char_lstm", **SMALL_WRITERS["char_lstm"])
    with pytest.raises(LabError):
        export_onnx(dataclasses.replace(writer, onnx=export_onnx(writer)))
    classifier = network("simple_cnn", widths=(4, 4))
    with pytest.raises(LabError, match="takes no images"):
        export_onnx(dataclasses.replace(classifier, onnx=export_onnx(writer)))


def test_what_the_lab_runs_at_once_is_allowed() -> None:
    assert max(measure.BATCH, sensitivity.BATCH) <= LARGEST_BATCH


def test_a_file_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = export_onnx(network("simple_cnn", widths=(4, 4)))
    monkeypatch.setattr(onnx_network, "MAX_ONNX_BYTES", len(data) - 1)
    with pytest.raises(LabError, match="bytes: it must have"):
        OnnxNetwork(data)


@pytest.mark.parametrize(("flags", "exact"), [({"avx2"}, "1"), ({"avx2", "avx512_vnni"}, "0"), ({"avx_vnni"}, "0")])
def test_int8_is_exact_where_the_processor_lacks_vnni(
    flags: set[str], exact: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the option sums overflow on such a processor, and on no other: what this one is decides what is seen."""
    overflow = processor.int8_sums_overflow()
    monkeypatch.setattr(processor, "processor_flags", lambda: frozenset(flags))
    monkeypatch.setattr(processor.platform, "machine", lambda: "AMD64")
    options = session_options(1)
    assert options.get_session_config_entry("session.x64quantprecision") == exact
    made = to_int8(network("simple_cnn", widths=(4, 4)), random_images(256, seed=1)[0], Int8())
    images = random_images(24, seed=5)[0]
    inputs = onnx_inputs(made.card, images)
    with torch.no_grad():
        twin = made.model(torch.from_numpy(inputs)).numpy()
    error = np.abs(OnnxNetwork(made.onnx).logits(inputs) - twin).mean() / np.abs(twin - twin.mean(0)).mean()
    assert (error < 0.1) == (exact == "1" or not overflow)


def test_arm_has_no_such_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "processor_flags", frozenset)
    monkeypatch.setattr(processor.platform, "machine", lambda: "arm64")
    assert not processor.int8_sums_overflow()
    assert processor.int8_processor().endswith(", on arm64")


@pytest.mark.parametrize(("flags", "words"), [((), "without VNNI, exact by slower"), (("avx_vnni",), "with VNNI")])
def test_int8_figures_name_their_processor(flags: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "processor_flags", lambda: frozenset(flags))
    monkeypatch.setattr(processor.platform, "machine", lambda: "x86_64")
    assert words in processor.int8_processor()


def test_a_recurrent_file_in_float16_is_refused() -> None:
    """ONNX Runtime's CPU kernels for these end the process."""
    data = onnx.load_from_string(export_onnx(network("char_rnn", vocabulary=20, width=8, layers=1), half=True))
    for node in data.graph.node:
        for setting in node.attribute:
            if setting.name == "to":
                setting.i = TensorProto.FLOAT16
    with pytest.raises(LabError, match="parts that no exported file has"):
        check_onnx(data.SerializeToString())
    plain = onnx.load_from_string(export_onnx(network("char_rnn", vocabulary=20, width=8, layers=1)))
    for weight in plain.graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), weight.name))
    with pytest.raises(LabError, match="parts that no exported file has"):
        check_onnx(plain.SerializeToString())
