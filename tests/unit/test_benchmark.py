"""The arithmetic of the benchmark; its timings are no tests."""

from __future__ import annotations

import itertools
import json

import pytest

from core.benchmark import PARTS, figure, main, ratio
from core.benchmark.loops import images_per_s
from core.benchmark.processes import POLICY, bare_environment
from core.benchmark.training import _training_operations


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
    assert images_per_s(steps(), seconds=2.0, warm_steps=4) == pytest.approx(30 / 2.0)
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
    assert main(["speedrun", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert "needs a CUDA GPU" in told["problems"]["speedrun"]
    assert told["figures"] == []


@pytest.mark.parametrize("arguments", [["nothing"], ["--rounds", "0"], ["--rounds", "x"]])
def test_wrong_arguments_are_usage_errors(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert set(PARTS) == {"training", "sharing", "observed", "answer", "app", "speedrun"}
