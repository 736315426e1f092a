"""The arithmetic of the benchmark; its timings are no tests."""

from __future__ import annotations

import itertools
import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from core.app import main
from core.benchmark import PARTS, figure, ratio
from core.benchmark.loops import examples_per_s, plain_text
from core.benchmark.processes import POLICY, bare_environment
from core.benchmark.text import training_figures, writing_figures
from core.benchmark.training import _training_operations
from core.benchmark.writing import STREAMS, WAYS, WINDOW, TextbookLSTM, in_turn, subject, whole_window
from core.checkpoints.store import Checkpoint
from core.data import load_text
from core.inference.decoding import stepper
from core.inference.sampling import SamplingConfig, distribution
from core.models import build_model
from tests.tiny_text import write_text

TINY = {"vocabulary": 65, "embedding": 16, "width": 16, "layers": 2}


def test_figures_are_medians_with_their_range_and_ratios_go_round_by_round() -> None:
    one = figure("training", "x", [3.0, 1.0, 2.0], "images/s")
    assert (one.value, one.low, one.high, one.rounds) == (2.0, 1.0, 3.0, 3)
    two = ratio("training", "x", [2.0, 9.0, 40.0], [1.0, 3.0, 10.0])
    assert (two.value, two.low, two.high) == (3.0, 2.0, 4.0)


def test_speed_counts_what_was_done_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count(0.0, 0.5)
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    taken = []

    def steps():
        for number in itertools.count():
            taken.append(number)
            yield 10

    # Started at 0.0; checks at 0.5, 1.0, 1.5 and 2.0 see 0, 10, 20 and 30 images.
    assert examples_per_s(steps(), seconds=2.0, warm_steps=4) == pytest.approx(30 / 2.0)
    assert len(taken) == 4 + 3


def test_operations_of_a_training_image_equal_the_sum_over_layers() -> None:
    first, second, head = 30 * 30 * 27 * 32, 13 * 13 * 288 * 64, 2304 * 10
    # Forward, gradient of the weights, gradient of the inputs (not for the first layer); 2 operations a multiply-add.
    assert _training_operations("simple_cnn") == 2 * (2 * first + 3 * second + 3 * head)


def test_the_bare_environment_sets_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert not set(POLICY) & set(bare_environment())


def test_a_part_that_cannot_run_is_a_sentence_and_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["benchmark", "speedrun", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert "needs a CUDA GPU" in told["problems"]["speedrun"]
    assert told["figures"] == []


@pytest.mark.parametrize("arguments", [["nothing"], ["--rounds", "0"], ["--rounds", "x"]])
def test_wrong_arguments_are_usage_errors(arguments: list[str]) -> None:
    assert main(["benchmark", *arguments]) == 2


def test_every_part_can_be_measured() -> None:
    assert all(callable(import_module(f"core.benchmark.{part}").measure) for part in PARTS)


@pytest.mark.parametrize("tied", [False, True])
def test_the_naive_loop_and_the_product_draw_from_the_same_distribution(tied: bool) -> None:
    torch.manual_seed(0)
    model = build_model("char_lstm", TINY | {"tied": tied}).eval().requires_grad_(False)
    textbook = TextbookLSTM.like(model)
    text = torch.randint(0, 65, (WINDOW,)).tolist()
    engine = stepper(model)
    logits = engine.start(torch.tensor(text[:3]), 1)
    for length in range(3, WINDOW + 1):
        ours = distribution(logits[0].numpy(), SamplingConfig(temperature=0.8))
        with torch.no_grad():
            theirs = whole_window(textbook, text[:length]).numpy()
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
        if length < WINDOW:
            logits = engine.step(torch.tensor(text[length : length + 1]))
    with torch.no_grad():  # what lies before the window is forgotten
        assert torch.equal(whole_window(textbook, [1, 2, 3] + text), whole_window(textbook, text))
        carried, state = textbook(torch.tensor([text[:50]]))
        carried, _ = textbook(torch.tensor([text[50:]]), state)
        whole, _ = textbook(torch.tensor([text]))
    torch.testing.assert_close(carried[0, -1], whole[0, -1])


def test_every_way_writes_on() -> None:
    large = subject(shipped=False)
    assert sum(parameter.numel() for parameter in large.model.parameters()) == 3_457_729
    small = Checkpoint("small", large.card, build_model("char_lstm", TINY).eval().requires_grad_(False))
    for name, way in WAYS.items():
        assert list(itertools.islice(way(small), 3)) == [STREAMS if "streams" in name else 1] * 3


def test_ways_take_turns_and_only_their_own_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    order = []

    def way(name: str, seconds: float):
        while True:
            clock[0] += seconds
            order.append(name)
            yield 1

    # Two turns of 1 s: 2 steps of 0.5 s against 4 of 0.25 s, each after a step that is not counted.
    speeds = in_turn({"slow": way("slow", 0.5), "fast": way("fast", 0.25)}, seconds=2.0, turns=2, warm_steps=1)
    assert speeds == pytest.approx({"slow": 2.0, "fast": 4.0})
    assert order == ["slow", "fast"] + (["slow"] * 3 + ["fast"] * 5) * 2


def test_writing_is_compared_with_the_faster_naive_loop_round_by_round() -> None:
    speeds = {
        "naive": [10.0, 20.0],
        "naive, all": [20.0, 40.0],
        "stepped": [100.0, 100.0],
        "float32": [600.0, 1200.0],
        "int8": [1400.0, 2000.0],
        "streams, float32": [3000.0, 7200.0],
        "streams, int8": [2800.0, 6000.0],
    }
    found = {item.what: item for item in writing_figures(speeds, "told")}
    assert found["one stream, float32 / faster naive loop"].value == 30
    assert "all threads" in found["one stream, float32 / faster naive loop"].note
    int8 = found["one stream, int8 / faster naive loop"]
    assert (int8.low, int8.high) == (50, 70)
    assert found["16 streams / one stream, float32"].value == pytest.approx(5.5)
    assert found["16 streams / one stream, int8"].value == pytest.approx(2.5)
    assert found["one stream, float32 / nn.LSTM a character at a time"].value == pytest.approx(9)
    assert all(item.part == "text" and item.rounds == 2 for item in found.values())


def test_training_is_compared_round_by_round() -> None:
    found = {item.what: item for item in training_figures("quick", {}, [10.0, 30.0], [10.0, 20.0], [5.0, 10.0])}
    same, bare = (found[f"char_lstm quick: run / plain loop, {how}"] for how in ("the same threads", "no policy"))
    assert (same.value, same.low, same.high) == (1.25, 1.0, 1.5)
    assert (bare.value, bare.low, bare.high) == (2.5, 2.0, 3.0)


def test_the_plain_loop_reads_the_text_in_the_recipe_s_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_text(f"text:{write_text(tmp_path)}")
    monkeypatch.setattr("core.data.load_text", lambda name: data)
    assert len(data.train) // 32 // 128 == 4
    assert list(itertools.islice(plain_text("quick"), 5)) == [32 * 128] * 5  # and starts again at the end


def test_the_direct_calls_of_explain_ask_what_ours_ask() -> None:
    """Else the ratio of their times would say nothing."""
    from core.attribution.explainer import Explainer
    from core.attribution.methods.registry import get_method
    from core.benchmark.explain import WRAPPED, _direct
    from core.checkpoints.store import load_checkpoint

    checkpoint = load_checkpoint("simple_cnn")
    explainer = Explainer(checkpoint)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    for name in WRAPPED:
        found = _direct(name, checkpoint.model, explainer, pixels)()
        direct = found[0] if isinstance(found, tuple) else found  # with the convergence delta
        ours = explainer.attribute(get_method(name, WRAPPED[name]), pixels, 0).values
        np.testing.assert_allclose(direct.detach()[0].numpy(), ours, rtol=1e-4, atol=1e-6)
