"""The measuring procedure against oracles: the statistics, the clock, the counts, and a network against itself."""

from __future__ import annotations

import dataclasses
import gc
import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from core.compression.measuring.counting import bytes_in_int8, layers_of_images, layers_of_text, zeros_of
from core.compression.measuring.latency import interleaved, peak_memory
from core.compression.measuring.notes import about_storage, about_zeros, busy, slower
from core.compression.measuring.significance import mcnemar, mean_interval, paired_interval
from core.compression.results import HISTOGRAM_BINS, Latency
from core.inference.decoding import stepper
from core.models import build_model

SMALL = {"vocabulary": 11, "width": 12, "embedding": 7, "layers": 2, "dropout": 0.0}
GPT = {"vocabulary": 11, "width": 12, "heads": 3, "layers": 2, "context": 8}


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (1, 0), (0, 7), (3, 9), (9, 3), (150, 118), (1000, 1000)])
def test_mcnemar_is_the_exact_binomial_test(lost: int, gained: int) -> None:
    expected = stats.binomtest(lost, lost + gained, 0.5).pvalue if lost + gained else 1.0
    assert mcnemar(lost, gained) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(lost, gained) == mcnemar(gained, lost)


def test_mcnemar_by_hand() -> None:
    # One of six: 2 · (1 + 6) / 2^6.
    assert mcnemar(1, 5) == pytest.approx(14 / 64)


def test_the_paired_interval_by_hand() -> None:
    low, high = paired_interval(0, 0, 10_000)
    assert low == pytest.approx(-high)
    assert high == pytest.approx(100 * 1.959964 * 2**0.5 / 10_002)
    low, high = paired_interval(120, 80, 10_000)  # Wald's: -0.4 ± 100 · 1.96 · sqrt(0.02 - 0.004²) / 100
    assert (low + high) / 2 == pytest.approx(-0.4, abs=0.001)
    assert (high - low) / 2 == pytest.approx(1.96 * (0.02 - 0.004**2) ** 0.5, abs=0.003)
    assert paired_interval(5, 2, 10) == pytest.approx(tuple(-end for end in reversed(paired_interval(2, 5, 10))))
    assert paired_interval(10, 0, 10)[0] >= -100
    assert paired_interval(0, 0, 0) == (-100, 100)


@pytest.mark.parametrize(
    ("n", "lose", "gain"), [(60, 0.05, 0.05), (100, 0.1, 0.02), (300, 0.01, 0.01), (10_000, 0.004, 0.001)]
)
def test_the_paired_interval_covers_the_truth(n: int, lose: float, gain: float) -> None:
    random = np.random.default_rng(0)
    counts = random.multinomial(n, [lose, gain, 1 - lose - gain], 4000)
    ends = [paired_interval(int(lost), int(gained), n) for lost, gained, _ in counts]
    truth = 100 * (gain - lose)
    assert 0.94 <= np.mean([low <= truth <= high for low, high in ends]) <= 0.995


def test_the_interval_of_a_mean_covers_the_truth_where_neighbours_depend() -> None:
    random = np.random.default_rng(0)
    covered = naive = 0
    for _ in range(500):
        noise = random.standard_normal(8000)
        series = np.convolve(noise, np.ones(20), "valid") + 0.3  # twenty neighbours share their luck
        found = mean_interval(series)
        assert found is not None
        low, high = found
        covered += low <= 0.3 <= high
        naive += abs(series.mean() - 0.3) <= 1.96 * series.std(ddof=1) / len(series) ** 0.5
    assert 0.92 <= covered / 500 <= 0.98
    assert naive / 500 < 0.5, "the oracle would not tell blocks from single characters"


def test_the_interval_of_a_mean_at_its_ends() -> None:
    assert mean_interval(np.zeros(499)) is None
    assert mean_interval(np.full(500, 0.25)) == pytest.approx((0.25, 0.25))
    assert mean_interval(np.zeros(0)) is None


class Clock:
    """A clock that only what is timed moves."""

    def __init__(self) -> None:
        self.now = 0
        self.calls: list[str] = []
        self.collecting: set[bool] = set()

    def __call__(self) -> int:
        return self.now

    def takes(self, name: str, *milliseconds: float) -> object:
        times = itertools.cycle(milliseconds)

        def call() -> None:
            self.calls.append(name)
            self.collecting.add(gc.isenabled())
            self.now += round(1e6 * next(times))

        return call


def test_calls_are_timed_in_turn_and_in_changing_order() -> None:
    clock = Clock()
    times = interleaved([clock.takes("A", 2), clock.takes("B", 5)], fewest=2, most=4, clock=clock)
    assert times.tolist() == [[2] * 4, [5] * 4]
    assert "".join(clock.calls) == "AAABBB" + "ABBAABBA"


def test_the_budget_ends_the_rounds() -> None:
    clock = Clock()
    assert interleaved([clock.takes("A", 10)], budget_s=0.5, clock=clock).shape == (1, 51)
    clock = Clock()
    assert interleaved([clock.takes("A", 1)], budget_s=100.0, most=30, clock=clock).shape == (1, 30)
    clock = Clock()
    assert interleaved([clock.takes("A", 100), clock.takes("B", 50)], budget_s=1.0, clock=clock).shape == (2, 20)
    clock = Clock()
    assert interleaved([clock.takes("A", 4000)], budget_s=1.0, clock=clock).shape == (1, 8), "too slow for 20"


def test_the_garbage_collector_waits_and_comes_back() -> None:
    def fails() -> None:
        if not gc.isenabled():
            raise ValueError

    clock = Clock()
    interleaved([clock.takes("A", 1)], most=2, clock=clock)
    assert clock.calls == ["A"] * 5
    assert clock.collecting == {True, False}, "on in the warm-up, off in the rounds"
    assert gc.isenabled()
    with pytest.raises(ValueError):
        interleaved([fails])
    assert gc.isenabled()


@pytest.mark.slow
def test_memory_is_that_of_a_process_of_its_own() -> None:
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    def network(rows: int) -> bytes:
        weight = numpy_helper.from_array(np.ones((1024, rows), np.float32), "w")
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n]) for name, n in (("x", 1024), ("y", rows))
        ]
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
        graph = helper.make_graph([node], "g", ends[:1], ends[1:], [weight])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        assert isinstance(model, onnx.ModelProto)
        return model.SerializeToString()

    found = [peak_memory(network(rows), (1, 1024)) for rows in (1, 10_000)]
    if found[1] is None:
        pytest.skip("this machine does not say how much memory a process has")
    assert found[0] is not None
    assert found[1] - found[0] > 30e6, "40 MB of weights must be seen"
    assert found[0] < 60e6
    assert peak_memory(b"no network", (1, 1024)) is None


class Split(nn.Module):
    """(N, 3, 8, 8) to (N, 5); its last layer in two factors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.grouped = nn.Conv2d(4, 6, 2, stride=2, groups=2, bias=False)
        self.head = nn.Sequential(nn.Linear(96, 2, bias=False), nn.Linear(2, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.grouped(self.norm(self.conv(x))).flatten(1))


def test_multiply_adds_by_hand() -> None:
    layers, total = layers_of_images(Split().eval(), 8)
    expected = {"conv": 64 * 4 * 27, "norm": 0, "grouped": 16 * 6 * 8, "head.0": 192, "head.1": 10}
    assert {layer.name: layer.macs for layer in layers} == expected
    assert total == sum(expected.values())
    kinds = {layer.name: (layer.kind, layer.parameters, layer.shape) for layer in layers}
    assert kinds["conv"] == ("conv", 112, (4, 3, 3, 3))
    assert kinds["norm"] == ("norm", 8, (4,))
    assert kinds["grouped"] == ("conv", 48, (6, 2, 2, 2))
    assert kinds["head.1"] == ("linear", 15, (5, 2))


@pytest.mark.parametrize("name", ["simple_cnn", "fast_resnet", "char_lstm", "char_gru", "char_rnn", "char_gpt"])
def test_layers_add_up(name: str) -> None:
    text = name.startswith("char")
    config = GPT if name == "char_gpt" else SMALL if text else {}
    model = build_model(name, config).eval()
    layers, total = layers_of_text(model) if text else layers_of_images(model, 32)
    assert sum(layer.parameters for layer in layers) == sum(parameter.numel() for parameter in model.parameters())
    attention = 2 * 12 * 8 * 2 if name == "char_gpt" else 0
    assert sum(layer.macs for layer in layers) + attention == total
    assert {sum(layer.histogram) for layer in layers if layer.kind == "conv"} <= {
        parameter.numel() for parameter in model.parameters()
    }
    assert len({layer.name for layer in layers}) == len(layers)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("char_lstm", SMALL),
        ("char_gru", SMALL),
        ("char_rnn", SMALL | {"tied": True, "embedding": 12}),
        ("char_gpt", GPT),
    ],
)
def test_multiply_adds_of_a_character_are_those_of_a_step(name: str, config: dict[str, int]) -> None:
    """PyTorch's own counter on a step of what writes; the Transformer has read all of its context but this character."""
    model = build_model(name, config).eval()
    engine = stepper(model)
    engine.start(torch.arange(7), 1)
    with FlopCounterMode(display=False) as counter:
        engine.step(torch.tensor([3]))
    layers, total = layers_of_text(model)
    assert total == counter.get_total_flops() // 2
    assert sum(layer.parameters for layer in layers) == sum(parameter.numel() for parameter in model.parameters())


def test_zeros_are_those_of_weights_that_are_multiplied() -> None:
    model = Split().eval()
    assert zeros_of(model) == 0
    with torch.no_grad():
        model.conv.weight[:2] = 0  # 54 of 108 weights; 48 + 192 + 10 others
        model.conv.bias.zero_()
        model.norm.weight.zero_()
    assert zeros_of(model) == pytest.approx(54 / (108 + 48 + 192 + 10))
    found = {layer.name: layer for layer in layers_of_images(model, 8)[0]}
    assert found["conv"].zeros == 0.5
    assert found["conv"].limit == pytest.approx(float(model.conv.weight.detach().abs().max()))
    assert len(found["conv"].histogram) == HISTOGRAM_BINS
    assert found["conv"].histogram[HISTOGRAM_BINS // 2] >= 54
    assert sum(found["conv"].histogram) == 108
    assert found["norm"].histogram[HISTOGRAM_BINS // 2] == 4
    assert found["norm"].limit == 0


def test_a_damaged_weight_does_not_stop_the_histogram() -> None:
    model = Split().eval()
    with torch.no_grad():
        model.conv.weight[0, 0, 0, 0] = torch.nan
    found = {layer.name: layer for layer in layers_of_images(model, 8)[0]}
    assert sum(found["conv"].histogram) == 107


def test_bytes_of_a_language_model_in_8_bits() -> None:
    model = build_model("char_gru", SMALL | {"layers": 1})
    matrices, outputs = 36 * 7 + 36 * 12 + 11 * 12, 36 + 36 + 11
    others = 36 + 36 + 11 + 11 * 7  # biases and the embedding
    assert bytes_in_int8(model) == matrices + 4 * outputs + 4 * others


def test_what_got_slower_is_said() -> None:
    place, quick = "in PyTorch at batch 1", np.full(20, 4.0)
    assert slower(place, np.full(20, 5.0), quick) == [
        "Slower than the original in PyTorch at batch 1: 0.80 times as fast."
    ]
    assert slower(place, np.full(20, 4.1), quick) == [], "too little to notice"
    assert slower(place, np.full(20, 1.0), quick) == []
    assert slower(place, quick, quick) == []
    assert len(slower(place, np.full(8, 5.0), np.full(8, 4.0))) == 1, "the fewest rounds that there are can tell"


def test_luck_is_not_called_slower() -> None:
    """Medians far apart, but in turn: in as many rounds faster as slower."""
    own, original = np.array([3.0, 6.0, 6.0] * 8), np.array([4.0, 4.0, 7.0] * 8)
    assert np.median(original) / np.median(own) < 0.7
    assert slower("here", own, original) == []


def test_scattered_times_are_said() -> None:
    quiet = Latency(p50=1.0, p95=1.2, original_p50=1.0)
    assert busy({"torch_b1": quiet}) == []
    (sentence,) = busy({"torch_b1": quiet, "onnx_b1": dataclasses.replace(quiet, p95=20.0)})
    assert "in ONNX Runtime at batch 1" in sentence
    assert "PyTorch" not in sentence


def test_what_zeros_and_storage_do_not_buy_is_said() -> None:
    from core.checkpoints.store import load_checkpoint

    assert about_zeros(0.05) == []
    assert "90% of its weights are zero" in about_zeros(0.9)[0]
    card = load_checkpoint("simple_cnn").card
    lstm = load_checkpoint("char_lstm").card
    assert about_storage(card, False) == []
    assert "in 16 bits" in about_storage(dataclasses.replace(card, storage="float16"), False)[0]
    assert "ONNX Runtime" in about_storage(dataclasses.replace(card, storage="int8"), True)[0]
    assert about_storage(dataclasses.replace(lstm, storage="int8"), False) == [], "it writes in 8 bits"
