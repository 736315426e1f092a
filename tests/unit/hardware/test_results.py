"""What follows from planted figures: break-even, what to take over, two machines, and files that anyone may have written."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from core.common.errors import LabError
from core.hardware.compare import comparison, names_of, shared_rows
from core.hardware.expect import times
from core.hardware.figures import best_rows, machines_figure, roofline_figure, scaling_figure, scaling_lines, speed_bars
from core.hardware.recommend import (
    answer,
    passed_over,
    recommend,
    refused_for_accuracy,
    slowdowns,
    start_words,
    train_settings,
    unrest,
    usage,
)
from core.hardware.results import MAX_BYTES, HardwareResult, Row, read_file
from tests.unit.hardware.planted import CONFIG, MACHINE, REFERENCE_MS, ROOFLINE, cell, result, row

ONNX = {"runtime": "onnx"}
INT8 = {"runtime": "onnx", "precision": "int8"}
GROUP = ("inference", 64)


def test_speeds_are_medians_with_their_range_paired_by_round() -> None:
    fast = Row(setup=cell(**ONNX), round_ms=(10.0, 20.0, 50.0), reference_ms=(40.0, 40.0, 50.0))
    assert (fast.speedup.middle, fast.speedup.low, fast.speedup.high) == (2, 1, 4)
    assert fast.images_per_s.middle == 64 / 0.020
    assert (fast.images_per_s.low, fast.images_per_s.high) == (64 / 0.050, 64 / 0.010)
    assert Row(setup=cell(), round_ms=(1.0,), reference_ms=()).speedup is None


def test_break_even_is_where_the_later_start_is_made_up_for() -> None:
    base = row(start_s=1.0)
    compiled = row(speed=2.0, start_s=32.0, runtime="compile")
    after = compiled.break_even(base)
    own_s, usual_s = 0.050 / 64, 0.100 / 64
    assert after is not None
    assert 32.0 + after * own_s == pytest.approx(1.0 + after * usual_s, rel=1e-3)
    assert row(speed=2.0, start_s=0.5, **ONNX).break_even(base) == 0
    assert row(speed=0.5, start_s=32.0, runtime="compile").break_even(base) is None
    assert compiled.break_even(None) is None


def test_noise_alone_recommends_nothing() -> None:
    random = np.random.default_rng(0)
    wrong = 0
    for _ in range(100):
        rows = []
        for setup in CONFIG.setups:
            if setup.group == GROUP:
                reference, own = (tuple((100 * random.lognormal(0, 0.1, 5)).tolist()) for _ in range(2))
                rows.append(dataclasses.replace(row(), setup=setup, round_ms=own, reference_ms=reference))
        noisy = HardwareResult(config=CONFIG, title="", machine=MACHINE, rows=tuple(rows))
        wrong += recommend(noisy, *GROUP) is not None
    assert wrong <= 10, "11 cells, each at most once in 252 times"


def test_a_cell_that_is_twice_as_fast_is_taken_and_one_that_loses_accuracy_is_not() -> None:
    found = result(row(speed=2.0, **ONNX), row(speed=3.0, lost=40, **INT8))
    advice = recommend(found, *GROUP)
    assert advice is not None
    assert advice.setup == cell(**ONNX)
    assert advice.speedup.middle == pytest.approx(2.0, rel=0.01)
    refused = refused_for_accuracy(found, *GROUP, advice)
    assert refused is not None
    assert refused.setup == cell(**INT8)
    assert "answers 2.0 times as many images a second" in answer(found)
    assert "int8 is faster but costs 8.0 points" in answer(found)
    near = result(row(speed=2.0, **ONNX), row(speed=3.0, lost=3, gained=2, **INT8))
    advice = recommend(near, *GROUP)
    assert advice is not None
    assert advice.setup == cell(**INT8)
    assert "int8 adds 1.5 times and costs 0.2 points" in answer(near)
    only = result(row(speed=3.0, lost=3, gained=2, **INT8))
    assert "in int8 with 2 threads answers 3.0 times" in answer(only)


def test_what_is_not_surely_better_is_left() -> None:
    unknown = dataclasses.replace(row(speed=2.0, **ONNX), right=None, lost=None, gained=None)
    assert recommend(result(unknown), *GROUP) is None, "nobody knows its accuracy"
    assert recommend(result(row(speed=1.03, **ONNX)), *GROUP) is None
    wide = dataclasses.replace(row(speed=2.0, **ONNX), round_ms=(20.0, 30.0, 40.0, 50.0, 100.0))
    assert recommend(result(wide), *GROUP) is None, "its ranges overlap"
    assert "No setting surely answers" in answer(result())
    failed = dataclasses.replace(result(), rows=(Row(setup=cell(), reason="Memory ran out."), row(speed=2.0, **ONNX)))
    assert recommend(failed, *GROUP) is None
    assert "could not be measured" in answer(failed)
    assert answer(dataclasses.replace(failed, rows=())) == "Nothing is measured yet"


@pytest.mark.parametrize(
    ("rows", "facts"),
    [
        ([row(speed=2.0, **ONNX)], ()),
        ([row(speed=0.5, **ONNX)], ()),
        ([row(speed=2.0, **ONNX), row(speed=3.0, lost=40, **INT8)], ()),
        ([row(speed=1.03, **ONNX)], ("1.0 (", "1.05 times")),
        (
            [
                row(speed=2.0, **ONNX),
                dataclasses.replace(row(runtime="compile"), round_ms=(20.0, 21.0, 22.0, 99.0, 23.0)),
            ],
            ("torch.compile, 2 threads", "4.5 (1.0 to 5.0)", "spread", "99 ms, the default's fastest 99 ms"),
        ),
        (
            [row(speed=2.0, **ONNX), dataclasses.replace(row(speed=3.0, **INT8), lost=None, gained=None)],
            ("ONNX Runtime, int8, 2 threads", "3.0 (", "accuracy"),
        ),
        (
            [row(speed=2.0, threads=1, **ONNX), row(speed=1.99, **ONNX)],
            ("ONNX Runtime, 1 thread", "2.0 (", "fewer changes"),
        ),
    ],
    ids=["longest is taken", "default is longest", "the answer says it", "small", "spread", "not asked", "equal"],
)
def test_the_longest_bar_is_taken_or_it_is_said_why_not(rows: list[Row], facts: tuple[str, ...]) -> None:
    said = passed_over(result(*rows), *GROUP)
    assert bool(said) == bool(facts)
    for fact in facts:
        assert fact in said


def test_of_equals_the_fewest_changes_are_taken() -> None:
    found = result(row(speed=2.0, threads=1, **ONNX), row(speed=1.99, **ONNX), row(speed=0.5, threads=1))
    advice = recommend(found, *GROUP)
    assert advice is not None
    assert advice.setup == cell(**ONNX)
    assert [slow.setup.threads for slow in slowdowns(found, *GROUP)] == [1]
    assert unrest(found, *GROUP) == pytest.approx(max(REFERENCE_MS) / min(REFERENCE_MS))


def test_a_recommendation_becomes_settings_and_code_that_compiles() -> None:
    for setting in (ONNX, INT8, {"runtime": "compile", "memory_format": "channels_last"}, {"device": "cuda:0"}):
        code = usage(cell(**setting), "simple_cnn")
        compile(code, "usage", "exec")
        assert ("onnxruntime" in code) == (setting.get("runtime") == "onnx")
        assert ("session.x64quantprecision" in code) == (setting.get("precision") == "int8")
    training = cell(
        work="training", memory_format="channels_last", runtime="compile", precision="bfloat16", batch_size=128
    )
    assert train_settings(training) == {"precision": "bfloat16", "compile": True}
    assert train_settings(cell(device="cuda:0"))["device"] == "cuda:0"
    advice = recommend(result(row(speed=2.0, start_s=32.0, runtime="compile")), *GROUP)
    assert advice is not None
    assert f"pays back after {advice.break_even:,} images" in start_words(advice)


def test_expectations_stand_beside_measurements() -> None:
    found = result(row(speed=2.0, **ONNX), row(speed=40.0, **INT8))
    assert found.hits() == (1, 2)
    assert found.expectation(found.rows[1]).holds(2.0)
    assert HardwareResult(config=CONFIG, title="", machine=None, rows=found.rows).hits() == (0, 0)


def test_two_machines_are_compared_cell_by_cell() -> None:
    first = result(row(speed=2.0, **ONNX), row(speed=3.0, **INT8))
    faster = dataclasses.replace(row(speed=2.0, **ONNX), round_ms=(10.0,) * 5)
    other = dataclasses.replace(MACHINE, processor="Xeon", cores=8)
    second = dataclasses.replace(result(faster, machine=other), rows=(faster,))
    pairs, names = shared_rows(first, second), names_of(first, second)
    assert [one.setup for one, _ in pairs] == [cell(**ONNX)]
    assert names == ("AMD EPYC, 2 cores", "Xeon, 8 cores")
    assert comparison(pairs, names).startswith("Xeon, 8 cores is 5.0 times as fast")
    assert "equally fast" in comparison([(pairs[0][0], pairs[0][0])], names)
    assert comparison([pairs[0][::-1]], names).startswith("AMD EPYC, 2 cores is 5.0 times")
    figure = machines_figure(pairs, names, dark=True)
    assert [trace.x[0] for trace in figure.data] == [one.images_per_s.middle for one in pairs[0]]
    with pytest.raises(LabError, match="share no measured cell"):
        shared_rows(first, dataclasses.replace(second, rows=()))


def test_a_result_file_comes_back_as_it_was_with_its_machine() -> None:
    found = result(row(speed=2.0, **ONNX), Row(setup=cell(**INT8), reason="Memory ran out."))
    again = read_file(json.dumps(found.to_dict()).encode())
    assert again.to_dict() == found.to_dict()
    assert again.machine == MACHINE
    assert again.table()[1]["speedup"] == pytest.approx(2.0, rel=0.01)
    assert again.table()[2]["reason"] == "Memory ran out."


@pytest.mark.parametrize(
    "damage",
    [
        lambda values: values.clear(),
        lambda values: values.update(format=99),
        lambda values: values.update(rows="all"),
        lambda values: values["rows"][0].update(round_ms=[-1.0]),
        lambda values: values["rows"][0].update(round_ms=[float("nan")]),
        lambda values: values["rows"][0].update(right=501),
        lambda values: values["rows"][0].update(reason="both"),
        lambda values: values["rows"][0]["setup"].update(threads=99),
        lambda values: values["rows"].append(values["rows"][0]),
        lambda values: values["machine"].update(cores="many"),
        lambda values: values["machine"].update(processor="x" * 1000),
        lambda values: values["config"].update(colour="red"),
        lambda values: values["roofline"].update(gflops_per_s=0),
        lambda values: values["roofline"].update(layers=[]),
        lambda values: values["roofline"].update(gbytes_per_s=5e-324),
        lambda values: values["roofline"]["layers"][0].update(flops=10**400),
        lambda values: values["machine"].update(cores=10**400),
        lambda values: values["rows"][0].update(round_ms=[5e-324]),
        lambda values: values["rows"][0].update(round_ms=[1.7e308]),
    ],
)
def test_a_damaged_file_is_one_sentence(damage: object) -> None:
    values = result().to_dict()
    damage(values)  # type: ignore[operator]
    with pytest.raises(LabError) as caught:
        read_file(json.dumps(values).encode())
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_result_is_one_sentence() -> None:
    for data in (b"", b"[" * 100_000, b"\xff\x00", b"null", b"x" * (MAX_BYTES + 1)):
        with pytest.raises(LabError):
            read_file(data)


def test_the_roofline_says_what_bounds_a_layer() -> None:
    conv, relu = ROOFLINE.layers
    assert ROOFLINE.roof(conv.intensity) == 100
    assert ROOFLINE.roof(relu.intensity) == pytest.approx(1.0)
    assert [ROOFLINE.memory_bound(layer) for layer in ROOFLINE.layers] == [False, True]
    assert [ROOFLINE.share(layer) for layer in ROOFLINE.layers] == [pytest.approx(0.5)] * 2
    assert "71% of the time" in ROOFLINE.answer()
    assert "relu1 takes most" in ROOFLINE.answer()
    figure = roofline_figure(ROOFLINE, dark=False)
    assert [list(trace.y) for trace in figure.data[1:]] == [[pytest.approx(50)], [pytest.approx(0.5)]]


def test_figures_hold_the_figures() -> None:
    failed = Row(
        setup=cell(**INT8), reason="The system ended its process (SIGKILL), most likely because memory ran out."
    )
    found = result(row(speed=2.0, **ONNX), row(speed=0.5, threads=1), failed)
    figure = speed_bars(found.rows, cell(), dark=True)
    bars = {trace.name: list(trace.x) for trace in figure.data}
    assert bars["ONNX Runtime"] == [found.rows[1].speedup.middle]
    assert bars["PyTorch"] == [1.0, found.rows[2].speedup.middle]
    assert "default" in figure.layout.yaxis.ticktext[1]
    assert "SIGKILL" in figure.layout.annotations[0].text
    assert not speed_bars((failed,), cell(), dark=False).data
    slower = row(speed=1.5, threads=1, **ONNX)
    assert best_rows((*found.rows, slower), cell()) == [*found.rows[:2], failed]
    lines = scaling_lines(found, "inference", "threads")
    assert list(lines.values()) == [[(1, found.rows[2].images_per_s.middle), (2, found.rows[0].images_per_s.middle)]]
    assert not scaling_figure(found, "inference", "batch_size", dark=False).data


@pytest.mark.parametrize(
    ("value", "words"), [(3.14, "3.1"), (0.5, "0.50"), (0.094, "0.09"), (0.002, "0.002"), (35.2, "35")]
)
def test_ratios_in_words(value: float, words: str) -> None:
    assert times(value) == words
