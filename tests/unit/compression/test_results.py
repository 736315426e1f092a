"""Results of a recipe: kept as JSON and read again, compared fairly, and told in sentences that say what was found."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from core.common.errors import LabError
from core.common.results import ResultStore
from core.compression.analysis import (
    answer,
    byte_words,
    csv_rows,
    headline,
    p_words,
    picks,
    rows,
    short_name,
    students_words,
    teacher_effect,
    winner,
)
from core.compression.recipe import ORIGINAL
from core.compression.results import (
    CompressionResult,
    Latency,
    Measurement,
    cost_of,
    loss_words,
    merged,
    pareto_front,
    size_ratio,
    speedup,
)
from core.compression.steps import Cluster, Distill, Float16, HuffmanCode, Int8, PruneGradually, Step
from tests.unit.compression import synthetic_results as made

EVERY = [made.image_result(), made.text(), made.distilled(), made.only_original(), made.nothing_measured()]


def one(*steps: Step, **changes: Any) -> CompressionResult:
    """The original and the last variant of a recipe. changes: of that one."""
    recipe = made.config(*steps)
    last = dataclasses.replace(made.variant(recipe.variants()[-1], -0.1), **changes)
    return CompressionResult(config=recipe, name="", original="", measured=(made.original(), last))


def plain(result: CompressionResult) -> Any:
    return json.loads(json.dumps(result.to_dict()))


@pytest.mark.parametrize("result", EVERY)
def test_results_survive_a_file(result: CompressionResult) -> None:
    assert CompressionResult.from_dict(plain(result)) == result


def damage(values: Any, path: tuple[Any, ...], value: Any) -> Any:
    holder: Any = {"all": values}
    inner, last = holder, "all"
    for key in path:
        inner, last = inner[last], key
    inner[last] = value
    return holder["all"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("config",), 5),
        (("config",), {}),
        (("config", "steps"), []),
        (("config", "unknown"), 1),
        (("measured",), 5),
        (("measured",), [5]),
        (("measured",), [{"id": "original"}]),
        (("measured", 0, "latency_ms"), [1]),
        (("measured", 0, "latency_ms", "torch_b1"), {"p50": 1.0}),
        (("measured", 0, "layers"), [{"name": "head"}]),
        (("measured", 0, "surprise"), 1),
        (("classes",), 7),
        (("made",), [1]),
        (("soft_labels",), 3),
        *(((), value) for value in (None, 3, [], "text", {}, {"config": None})),
    ],
)
def test_damaged_results_are_refused_in_one_sentence(path: tuple[Any, ...], value: Any, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps(damage(plain(made.image_result()), path, value)))
    with pytest.raises(LabError) as error:
        ResultStore("compression", tmp_path, CompressionResult.from_dict).load_shipped("x")
    assert str(error.value).count("\n") == 0


def test_latencies_of_unknown_runtimes_are_left_out() -> None:
    values = plain(made.image_result())
    values["measured"][0]["latency_ms"]["abacus"] = {"p50": 1}
    assert CompressionResult.from_dict(values) == made.image_result()


def test_a_latency_is_compared_with_the_original_of_the_same_rounds() -> None:
    first = made.original()
    # Twice as fast in an hour in which everything took twice as long.
    item = dataclasses.replace(first, id="x", latency_ms={"onnx_b1": Latency(p50=4.8, p95=5.0, original_p50=9.6)})
    assert speedup(item) == pytest.approx(2)
    assert cost_of(item, "onnx_b1", first) == pytest.approx(2.4)
    assert cost_of(item, "torch_b1", first) is None
    assert cost_of(item, "onnx_b1", None) is None
    assert cost_of(item, "size_bytes", None) == 7_899_000
    stuck = dataclasses.replace(item, latency_ms={"onnx_b1": Latency(p50=0.0, p95=0.0, original_p50=9.6)})
    assert math.isnan(speedup(stuck) or 0.0)
    assert cost_of(stuck, "onnx_b1", first) is None


def front_item(name: str, size: int | None, accuracy: float | None) -> Measurement:
    return Measurement(id=name, title=name, size_bytes=size, accuracy=accuracy)


def test_the_front_holds_what_nothing_beats() -> None:
    items = (
        front_item(ORIGINAL, 100, 0.9),
        front_item("worse", 110, 0.89),
        front_item("small", 20, 0.8),
        front_item("beaten", 30, 0.8),
        front_item("twin", 20, 0.8),
        front_item("large", 200, 0.95),
        front_item("unknown", None, 0.99),
        front_item("silent", 10, None),
    )
    assert pareto_front(items, "size_bytes") == {ORIGINAL, "small", "twin", "large"}
    assert pareto_front(items, "onnx_b1") == set()
    losses = tuple(dataclasses.replace(item, loss_nats=item.accuracy) for item in items[:3])
    assert pareto_front(losses, "size_bytes") == {"small"}


def test_ratios_to_the_original() -> None:
    first, last = made.original(), made.image_result().variants[-1]
    assert size_ratio(last, first) == pytest.approx(7_899_000 / 440_000)
    assert size_ratio(last, first, "stored_bytes") == pytest.approx(7_905_000 / 420_000)
    assert size_ratio(dataclasses.replace(last, size_bytes=None), first) is None
    assert speedup(made.text().variants[-1]) == pytest.approx(1050 / 610)
    assert loss_words(last) == "−0.63 points (−0.98 to −0.28)"
    assert loss_words(first) == "–"


def test_a_headline_says_what_was_bought_and_what_it_cost() -> None:
    base = (9.6, 310.0, 4.8, 250.0)
    fast = made.latencies(9.6, 310.0, 1.777, 100.0, of=base)
    assert headline(one(Int8(), size_bytes=2_025_000, stored_bytes=2_020_000, latency_ms=fast)) == (
        "int8: 3.9 times as small and 2.7 times as fast in ONNX Runtime. "
        "Accuracy −0.10 points (−0.30 to +0.10): no difference that 10,000 test images can show."
    )
    chain = (PruneGradually(amount=0.9, epochs=3), Cluster(bits=4), HuffmanCode())
    assert headline(one(*chain, stored_bytes=225_000, p_value=0.0312)) == (
        "1 of 3 variants is measured so far. Prune 90% of the weights over 3 epochs, cluster to 4 bits, Huffman code: "
        "35 times as small to store (what runs is as large as before) and as fast as before in ONNX Runtime. "
        "Accuracy −0.10 points (−0.30 to +0.10): more than luck (p = 0.031)."
    )


def test_a_headline_names_what_got_slower() -> None:
    slow = made.latencies(12.0, 310.0, 6.0, 250.0, of=(9.6, 310.0, 4.8, 250.0))
    assert (
        "2.0 times as small to store (what runs is as large as before), but slower in ONNX Runtime (0.80 times as fast)."
        in (headline(one(Float16(), stored_bytes=3_950_000, latency_ms=slow)))
    )
    said = headline(made.image_result())
    assert said.endswith("Slower than the original in ONNX Runtime: low rank, 95% of the energy (0.83 times as fast).")
    assert "18 times as small and 6.1 times as fast in ONNX Runtime" in said
    assert "so far" not in said
    no_onnx = made.latencies(4.8, of=(9.6,))
    assert "2.0 times as fast in PyTorch" in headline(one(Int8(), latency_ms=no_onnx))


def side_by_side(**changes: Any) -> CompressionResult:
    """int8 beside a chain that stores little. changes: of the chain's last variant."""
    fast = made.latencies(9.6, 310.0, 1.777, 100.0, of=(9.6, 310.0, 4.8, 250.0))
    int8 = one(Int8(), size_bytes=2_025_000, stored_bytes=2_020_000, latency_ms=fast)
    values = {"stored_bytes": 790_516, "latency_ms": made.latencies(9.6, 310.0, 4.8, 250.0)} | changes
    coded = one(Cluster(bits=4), HuffmanCode(), **values)
    return dataclasses.replace(merged("Two recipes", [int8, coded]), planned=2)


def test_a_headline_of_several_recipes_names_the_smallest_too() -> None:
    said = headline(side_by_side())
    assert said.startswith("int8: 3.9 times as small and 2.7 times as fast in ONNX Runtime. Accuracy −0.10 points (")
    assert said.endswith(
        " Smallest to store is cluster to 4 bits, Huffman code: 10 times as small, −0.10 points (−0.30 to +0.10)."
    )
    assert "Smallest to store" not in headline(side_by_side(delta_points=-1.2)), "it loses too much"
    assert "Smallest to store" not in headline(side_by_side(stored_bytes=3_000_000)), "that is the winner"
    assert "Smallest to store" not in headline(dataclasses.replace(side_by_side(), planned=3)), "not all is known"
    assert "Smallest to store" not in headline(made.image_result()), "one recipe"


def test_the_answer_is_one_sentence_about_the_winner() -> None:
    fast = made.latencies(9.6, 310.0, 1.777, 100.0, of=(9.6, 310.0, 4.8, 250.0))
    costs: dict[str, Any] = {"size_bytes": 2_025_000, "stored_bytes": 2_020_000, "latency_ms": fast}
    bought = "int8: 3.9 times as small and 2.7 times as fast in ONNX Runtime, "
    assert answer(one(Int8(), **costs)) == f"{bought}at the same accuracy."
    lost = {"delta_points": -0.64, "p_value": 0.001}
    assert answer(one(Int8(), **costs | lost)) == f"{bought}for 0.6 points of accuracy."
    unknown = {"accuracy": None, "delta_points": None, "p_value": None}
    assert answer(one(Int8(), **costs | unknown)) == f"{bought}accuracy not measured."
    assert answer(made.image_result(2)).startswith("So far, of 2 of 5 variants: Low rank: ")
    assert answer(made.only_original()) == headline(made.only_original())
    assert answer(made.text()).endswith(" at writing, for 0.024 nats of loss.")


def test_cards_are_chosen_by_rule() -> None:
    result = made.image_result()
    rank, channels, tuned, weights, int8 = result.variants
    assert {name: item.id for name, item in picks(result).items()} == {"fastest": int8.id, "smallest": int8.id}
    same = dataclasses.replace(rank, delta_points=-0.1, p_value=0.2)
    better = dataclasses.replace(tuned, delta_points=0.3, p_value=0.01)
    tiny = dataclasses.replace(int8, id="tiny", delta_points=-19.0, stored_bytes=1)
    items = (result.measured[0], same, channels, better, weights, int8, tiny)
    chosen = picks(dataclasses.replace(result, measured=items))
    assert chosen == {"same": better, "fastest": int8, "smallest": int8}, "the smaller of two; not what guesses"
    assert picks(dataclasses.replace(result, measured=(result.measured[0], tiny)))["smallest"] is tiny
    assert picks(made.only_original()) == {}
    assert "same" not in picks(made.text())
    gained = made.text(delta_nats=-0.001, delta_nats_interval=(-0.0015, -0.0010))
    assert picks(gained)["same"].delta_nats == -0.001


def test_a_headline_of_unfinished_recipes() -> None:
    assert headline(made.nothing_measured()) == "Nothing is measured yet."
    only = headline(made.only_original())
    assert only == "Only the original is measured so far: 94.3% on 10,000 test images, 7.90 MB."
    assert headline(made.image_result(2)).startswith(
        "2 of 5 variants are measured so far. Low rank, 95% of the energy: "
    )
    unknown = one(Int8(), accuracy=None, delta_points=None, delta_interval=None, p_value=None)
    assert headline(unknown).endswith("What it costs in accuracy is not measured.")
    bare = Measurement(id="1-int8", title="int8", number=1)
    assert "size and speed are not measured" in headline(dataclasses.replace(unknown, measured=(made.original(), bare)))


def test_a_headline_of_text_speaks_of_nats_and_of_writing() -> None:
    said = headline(made.text())
    assert said == (
        "Prune 30% of the weights, int8: 3.9 times as small and 1.7 times as fast at writing. "
        "Loss +0.0240 nats (+0.0200 to +0.0280): more than luck."
    )
    lost = headline(made.text(delta_nats=0.001, delta_nats_interval=(-0.002, 0.004)))
    assert lost.endswith("Loss +0.0010 nats (−0.0020 to +0.0040): within what this much text can show.")


def test_the_winner_loses_little_or_least() -> None:
    result = made.image_result()
    found = winner(result)
    assert found is not None
    assert found.id == "5-int8"
    # The ratios of step 5 do not count once it has lost more than a point.
    worse = dataclasses.replace(result.variants[-1], delta_points=-1.4)
    found = winner(dataclasses.replace(result, measured=(*result.measured[:-1], worse)))
    assert found is not None
    assert found.number in (3, 4)
    # Of students only the first counts: the best of several seeds is luck.
    distilled = made.distilled()
    assert min(item.delta_points or 0.0 for item in distilled.variants) < -19
    found = winner(distilled)
    assert found is not None
    assert found.id == "1-distill-s0"
    assert headline(distilled).startswith("No variant stays within 1 point of the original; the least is lost with: ")
    assert winner(made.only_original()) is winner(made.nothing_measured()) is None
    controls = dataclasses.replace(distilled, measured=(distilled.measured[0], *distilled.variants[1:3]))
    assert winner(controls) is None
    assert headline(controls) == "2 of 6 variants are measured so far."


def test_a_teachers_effect_is_a_paired_t_interval() -> None:
    effect = teacher_effect(made.distilled(3))
    assert effect is not None
    differences = effect.differences
    assert differences == pytest.approx((0.7, 0.35, 0.8))
    # By hand: mean 0.6167, standard deviation 0.2363, t(0.975, 2) = 4.3027.
    assert (effect.mean, effect.half_width) == pytest.approx((0.61667, 0.58705), abs=1e-4)
    assert students_words(made.distilled(3)) == (
        "The teacher helped: +0.62 ± 0.59 points (74.9% against 74.3% without it, 3 seeds, 95% interval of paired differences)."
    )


def test_verdicts_on_a_teacher() -> None:
    assert "hurt: −" in students_words(made.distilled(gain=-2.0))
    assert "within seed noise: +0.0 ± 0.6 points" in students_words(made.distilled(gain=0.0))
    single = teacher_effect(made.distilled(1))
    assert single is not None
    assert (single.kind, single.half_width) == ("none", None)
    assert students_words(made.distilled(1)).startswith("No verdict: one seed")
    assert students_words(made.distilled(pairs=0)).startswith("No verdict yet")
    assert students_words(made.image_result()) == ""
    text = dataclasses.replace(single, seeds=(0, 1), students=(1.50, 1.51), controls=(1.60, 1.612), text=True)
    assert text.kind == "helps"
    assert dataclasses.replace(text, students=text.controls, controls=text.students).kind == "hurts"


def test_students_without_their_controls_are_left_out() -> None:
    result = made.distilled(3)
    lonely = dataclasses.replace(result, measured=tuple(m for m in result.measured if m.id != "1-control-s1"))
    effect = teacher_effect(lonely)
    assert effect is not None
    assert effect.seeds == (0, 2)


def taught(shift: float, **settings: Any) -> CompressionResult:
    """A distillation into a simple CNN with other settings, its students better by so many points."""
    result = made.distilled(3)
    recipe = made.config(Distill(student="simple_cnn", seeds=3, **settings))
    items = []
    for item, variant in zip(result.variants, recipe.variants(), strict=True):
        better = 0.0 if item.control else shift / 100
        items.append(dataclasses.replace(item, steps=variant.steps, accuracy=(item.accuracy or 0.0) + better))
    return dataclasses.replace(result, config=recipe, measured=(result.measured[0], *items))


def test_distillations_side_by_side_keep_to_themselves() -> None:
    plain_one, other, longer = taught(0.0), taught(5.0, alpha=0.5), taught(9.0, epochs=20.0)
    for first, second in ((plain_one, other), (other, plain_one), (plain_one, longer), (longer, other)):
        both = merged("both", [first, second])
        assert teacher_effect(both) == teacher_effect(first) != teacher_effect(second)
    # Of one that lacks a control, only where there is nothing better.
    lonely = dataclasses.replace(
        plain_one, measured=tuple(item for item in plain_one.measured if item.id != "1-control-s1")
    )
    assert teacher_effect(merged("both", [lonely, longer])) == teacher_effect(longer)
    assert teacher_effect(merged("both", [lonely, lonely])) == teacher_effect(lonely)


def test_rows_are_for_people() -> None:
    first, *_, last = rows(made.image_result())
    assert (first["File that runs"], first["Parameters"], first["Multiply-adds"]) == ("7.90 MB", "1,972,792", "176 M")
    assert (first["Faster"], first["Change"], first["p"]) == ("–", "–", "–")
    assert first["Accuracy"] == "94.33% (93.9 to 94.8)"
    assert (last["Stored"], last["ONNX ×1 (ms)"], last["Faster"]) == ("420 kB", "0.800 (0.960)", "6.1×")
    assert (last["Change"], last["p"]) == ("−0.63 points (−0.98 to −0.28)", "<0.001")
    bare = dataclasses.replace(made.only_original(), measured=(Measurement(id="x", title="x"),))
    assert {value for name, value in rows(bare)[0].items() if name not in ("Variant", "Parameters")} == {"–"}
    text = rows(made.text())
    assert [row["Characters/s"] for row in text] == ["610", "615", "1,050"]
    assert (text[-1]["Loss (nats)"], text[-1]["Change"]) == ("1.476", "+0.0240 nats (+0.0200 to +0.0280)")
    assert not {"Accuracy", "p", "Memory"} & set(text[0])
    assert rows(made.nothing_measured()) == []


@pytest.mark.parametrize("result", EVERY)
def test_rows_of_one_table_have_the_same_columns(result: CompressionResult) -> None:
    for table in (rows(result), csv_rows(result)):
        assert len(table) == len(result.measured)
        assert len({tuple(row) for row in table}) <= 1
    assert all(isinstance(value, str) for row in rows(result) for value in row.values())


def test_values_for_files_are_numbers() -> None:
    last = csv_rows(made.image_result())[-1]
    assert (last["size_bytes"], last["onnx_b1_p50_ms"], last["onnx_b1_p95_ms"]) == pytest.approx((440_000, 0.8, 0.96))
    assert (last["delta_points"], last["delta_points_low"], last["delta_points_high"]) == (-0.63, -0.98, -0.28)
    assert last["loss_nats"] is None
    assert json.loads(json.dumps(csv_rows(made.text())))[-1]["characters_per_s"] == 1050


def test_numbers_in_words() -> None:
    sizes = (None, 0, 17, 999, 999.7, 1000, 231_400, 999_600, 7_905_000, 44_700_000, 3.2e9)
    assert [byte_words(size) for size in sizes] == [
        "–",
        "–",
        "17 B",
        "999 B",
        "1.00 kB",
        "1.00 kB",
        "231 kB",
        "1.00 MB",
        "7.91 MB",
        "44.7 MB",
        "3.20 GB",
    ]
    assert [p_words(value) for value in (None, 1.0, 0.041, 0.62, 1e-9)] == ["–", "1.00", "0.041", "0.62", "<0.001"]


def test_short_names_are_those_of_the_step() -> None:
    chain, students = made.image_result(), made.distilled()
    assert [short_name(chain, item) for item in chain.measured][::5] == ["original", "5 int8"]
    assert [short_name(students, item) for item in students.measured][1:3] == [
        "1 student, seed 0",
        "1 no teacher, seed 0",
    ]
    stray = Measurement(id="x", title="stray", number=99)
    assert short_name(chain, stray) == "stray"
