"""Verdicts against scipy's paired t-test, published tables of Dunnett's test, and studies whose truth is known."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from core.common.errors import LabError
from core.regularization.verdict import Verdict, dunnett_probability, dunnett_quantile, residual_variance, verdicts

ROOT = Path(__file__).resolve().parents[3]
SIZE = 2000
NOISE = 0.008
Table = dict[str, dict[int, float]]


def table_of(values: np.ndarray) -> Table:
    """(arms, seeds) accuracies to a table; the first arm is the baseline `none`, NaN is a missing cell."""
    names = ["none", *(f"arm {index}" for index in range(1, len(values)))]
    return {
        name: {seed: float(value) for seed, value in enumerate(row) if not math.isnan(value)}
        for name, row in zip(names, values, strict=True)
    }


def verdicts_of(table: Table | np.ndarray, level: float = 0.95) -> dict[str, Verdict]:
    found = table_of(table) if isinstance(table, np.ndarray) else table
    return verdicts({SIZE: found}, "none", level)[SIZE]


def accuracies(random: np.random.Generator, arms: int = 4, seeds: int = 3, spread: float = 0.02) -> np.ndarray:
    """(arms, seeds): no true difference, residual sd NOISE, seeds that differ by `spread`."""
    return 0.6 + spread * random.standard_normal(seeds) + NOISE * random.standard_normal((arms, seeds))


def ends(found: Verdict) -> tuple[float, float]:
    """Of the interval."""
    assert found.effect is not None
    assert found.half_width is not None
    return found.effect - found.half_width, found.effect + found.half_width


def same(one: Verdict, other: Verdict, shift: float = 0.0) -> None:
    assert one.half_width is not None
    assert other.effect == pytest.approx(one.effect + shift, abs=1e-12)
    assert other.half_width == pytest.approx(one.half_width, rel=1e-9)
    assert (one.kind, one.seeds) == (other.kind, other.seeds)


def test_two_arms_are_the_paired_t_test() -> None:
    random = np.random.default_rng(0)
    for seeds in (2, 3, 5, 20):
        for level in (0.9, 0.95, 0.99):
            values = accuracies(random, arms=2, seeds=seeds)
            found = verdicts_of(values, level)["arm 1"]
            test = stats.ttest_rel(values[1], values[0])
            interval = test.confidence_interval(level)
            assert ends(found) == pytest.approx((interval.low, interval.high), rel=1e-9)
            assert (found.kind == "noise") == (test.pvalue >= 1 - level)


def test_dunnett_critical_values_are_the_published_ones() -> None:
    """Dunnett's two-sided tables (Biometrics 20, 1964), here by comparisons from 1 to 9."""
    five = {
        5: {1: 2.57, 2: 3.03, 3: 3.29, 4: 3.48, 9: 3.97},
        10: {1: 2.23, 2: 2.57, 3: 2.76, 4: 2.89, 9: 3.24},
        20: {1: 2.09, 2: 2.38, 3: 2.54, 4: 2.65, 9: 2.95},
        60: {1: 2.00, 2: 2.27, 3: 2.41, 4: 2.51, 9: 2.77},
    }
    one = {10: {1: 3.17, 2: 3.53, 3: 3.74, 4: 3.88, 9: 4.28}}
    for level, rows in ((0.95, five), (0.99, one)):
        for df, row in rows.items():
            for comparisons, value in row.items():
                assert dunnett_quantile(comparisons, df, level) == pytest.approx(value, abs=0.0051), (comparisons, df)


def test_dunnett_quadrature_equals_students_t_and_a_simulation() -> None:
    for df in (1, 2, 5, 20, 200):
        for bound in (0.5, 2.0, 5.0, 12.7):
            student = stats.t.cdf(bound, df) - stats.t.cdf(-bound, df)
            assert dunnett_probability(bound, 1, df) == pytest.approx(student, abs=1e-9)
    random, draws = np.random.default_rng(1), 200_000
    for comparisons, df in ((2, 4), (4, 8), (9, 18)):
        z = random.standard_normal((draws, comparisons + 1))
        t = (z[:, 1:] - z[:, :1]) / np.sqrt(2 * random.chisquare(df, draws) / df)[:, None]
        inside = int((np.abs(t).max(axis=1) <= dunnett_quantile(comparisons, df, 0.95)).sum())
        assert stats.binomtest(inside, draws, 0.95).pvalue > 1e-3


def test_critical_value_is_that_of_scipys_dunnett_test() -> None:
    random = np.random.default_rng(2)
    control, *others = random.standard_normal((5, 6))
    interval = stats.dunnett(*others, control=control, rng=random).confidence_interval(0.95)
    error = math.sqrt(np.mean([np.var(sample, ddof=1) for sample in (control, *others)]) * 2 / 6)
    half_widths = (interval.high - interval.low) / 2
    assert half_widths == pytest.approx(dunnett_quantile(4, 25, 0.95) * error, rel=0.01)


def test_residual_variance_is_that_of_the_two_way_anova() -> None:
    values = accuracies(np.random.default_rng(3), arms=5, seeds=4)
    residual = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    variance, df = residual_variance(table_of(values))
    assert df == 12
    assert variance == pytest.approx((residual**2).sum() / 12)
    # Two parts that share neither arm nor seed add what each leaves: 2 + 1 degrees of freedom.
    parts = {"a": {0: 0.5, 1: 0.6, 2: 0.7}, "b": {0: 0.4, 1: 0.7, 2: 0.7}, "c": {7: 0.1, 8: 0.2}, "d": {7: 0.1, 8: 0.4}}
    assert residual_variance(parts)[1] == 3
    assert residual_variance({"a": {0: 0.5}, "b": {0: 0.6}})[1] == 0


def test_interval_is_the_widest_of_pooled_paired_and_own() -> None:
    """By hand: three arms, three seeds, differences of variance 1e-4 and 4e-4, correlated so that pooled is less."""
    found = verdicts_of(np.array([[0.50, 0.50, 0.50], [0.51, 0.52, 0.53], [0.52, 0.54, 0.56]]))
    critical = dunnett_quantile(2, 4, 0.95)
    assert found["arm 1"].half_width == pytest.approx(critical * math.sqrt(2.5e-4 / 3))
    assert found["arm 2"].half_width == pytest.approx(critical * math.sqrt(4e-4 / 3))
    # Differences that go against each other: twice the residual variance is more than either.
    values = np.array([[0.50, 0.50, 0.50], [0.51, 0.52, 0.53], [0.53, 0.52, 0.51]])
    pooled = 2 * residual_variance(table_of(values))[0]
    assert pooled > 1e-4
    assert verdicts_of(values)["arm 1"].half_width == pytest.approx(critical * math.sqrt(pooled / 3))


def test_a_large_difference_is_found_in_every_study() -> None:
    random = np.random.default_rng(4)
    for _ in range(200):
        values = accuracies(random)
        values[1] += 10 * NOISE
        values[2] -= 10 * NOISE
        found = verdicts_of(values)
        assert found["arm 1"].kind == "helps"
        assert found["arm 2"].kind == "hurts"
        assert found["arm 1"].words.startswith("helps (+")
        assert found["arm 2"].words.startswith("hurts (−")


@pytest.mark.parametrize("sizes", [1, 3])
def test_noise_is_called_noise_as_often_as_promised(sizes: int) -> None:
    """1,000 studies without any true difference: a false verdict in at most 5% of them, and not in none."""
    random, studies = np.random.default_rng(5), 1000
    wrong = 0
    for _ in range(studies):
        found = verdicts({size: table_of(accuracies(random)) for size in range(sizes)}, "none")
        wrong += any(item.kind in ("helps", "hurts") for row in found.values() for item in row.values())
    assert stats.binom.ppf(0.0005, studies, 0.02) <= wrong <= stats.binom.ppf(0.9995, studies, 0.05)


def test_false_verdicts_stay_rare_where_one_arm_spreads_twice_as_much() -> None:
    random, studies = np.random.default_rng(6), 500
    for noisy in (0, 1):  # the baseline, a technique
        wrong = 0
        for _ in range(studies):
            values = accuracies(random, arms=5)
            values[noisy] += math.sqrt(3) * NOISE * random.standard_normal(3)
            wrong += any(item.kind in ("helps", "hurts") for item in verdicts_of(values).values())
        assert wrong <= stats.binom.ppf(0.9995, studies, 0.08)


def test_what_a_seed_does_to_all_arms_changes_nothing() -> None:
    values = accuracies(np.random.default_rng(7))
    values[1] += 0.05
    for gaps in (values, np.where(np.arange(12).reshape(4, 3) == 8, np.nan, values)):
        for (name, one), other in zip(verdicts_of(gaps).items(), verdicts_of(gaps + [0.1, -0.1, 0.05]).values()):
            if name != "none":
                same(one, other)


def test_order_of_arms_and_seeds_changes_nothing() -> None:
    random = np.random.default_rng(8)
    values = accuracies(random, arms=5, seeds=4)
    values[2] += 0.06
    values[3, 1] = np.nan
    table = table_of(values)
    first = verdicts_of(table)
    assert {item.kind for item in first.values()} == {"baseline", "helps", "noise"}
    for _ in range(10):
        shuffled = {name: table[name] for name in random.permutation(list(table)).tolist()}
        assert verdicts_of(shuffled) == first
        assert list(verdicts_of(shuffled)) == list(shuffled)
        renamed = dict(enumerate(random.permutation(4).tolist()))
        moved = {name: {renamed[seed]: cell for seed, cell in row.items()} for name, row in table.items()}
        for name, item in verdicts_of(moved).items():
            if name != "none":
                same(first[name], item)


def test_helps_and_hurts_are_mirror_images() -> None:
    random = np.random.default_rng(9)
    other_way = {"helps": "hurts", "hurts": "helps"}
    for _ in range(50):
        values = accuracies(random)
        values[1] += 4 * NOISE
        there, back = verdicts_of(values), verdicts_of(1 - values)
        for name in ("arm 1", "arm 2", "arm 3"):
            one, other = there[name], back[name]
            assert other.kind == other_way.get(one.kind, one.kind)
            assert ends(other) == pytest.approx([-end for end in reversed(ends(one))])


def test_missing_cells_are_left_out_and_told() -> None:
    values = accuracies(np.random.default_rng(10), arms=5)
    values[1] += 0.2
    values[1, 2] = np.nan  # one run diverged
    values[2, 1:] = np.nan  # two did
    values[3] = np.nan  # not begun
    found = verdicts_of(values)
    one = found["arm 1"]
    assert (one.kind, one.seeds) == ("helps", 2)
    assert one.effect == pytest.approx((values[1] - values[0])[:2].mean())
    assert one.words.endswith(" points, 2 of 3 seeds)")
    assert (found["arm 2"].kind, found["arm 2"].seeds) == ("none", 1)
    assert "one seed (1 of 3)" in found["arm 2"].words
    assert (found["arm 3"].kind, found["arm 3"].seeds) == ("none", 0)
    assert "shares no seed with the baseline" in found["arm 3"].words
    assert found["arm 4"].words.endswith(" points)")
    # What cannot be compared takes no share of the error: arms 1 and 4 are judged as if they were alone.
    alone = verdicts_of({name: row for name, row in table_of(values).items() if name not in ("arm 2", "arm 3")})
    assert (alone["arm 1"].effect, alone["arm 1"].half_width) == pytest.approx((one.effect, one.half_width))


def test_one_seed_is_refused() -> None:
    found = verdicts_of(np.array([[0.5], [0.9]]))
    assert found["none"] == Verdict(kind="baseline", effect=None, half_width=None, seeds=1, words="baseline")
    refused = found["arm 1"]
    assert (refused.kind, refused.effect, refused.half_width) == ("none", None, None)
    assert "run at least 3" in refused.words


def test_a_study_without_baseline_or_without_runs_has_no_verdicts() -> None:
    assert verdicts_of({"dropout": {0: 0.5, 1: 0.6}})["dropout"].kind == "none"
    assert verdicts({}, "none") == {}
    assert verdicts({100: {}, 200: {"none": {}}}, "none")[200]["none"].seeds == 0


def test_identical_runs_are_noise() -> None:
    for values in (np.full((3, 3), 0.7), np.array([[0.1, 0.2, 0.3]] * 2)):
        found = verdicts_of(values)["arm 1"]
        assert (found.kind, found.effect) == ("noise", 0.0)
        assert found.words == "within seed noise (+0.0 ± 0.0 points)"
    values = accuracies(np.random.default_rng(11))
    values[1] = values[0]  # a technique without effect beside others with some
    found = verdicts_of(values)["arm 1"]
    assert (found.kind, found.effect) == ("noise", 0.0)
    assert found.words.startswith("within seed noise (+0.0 ± ")
    assert found.half_width > 0


def test_words_are_rounded_without_contradiction() -> None:
    """Where one decimal would say 0.3 ± 0.3 or 0.0 ± 0.0 of a clear difference, it takes two; and there is no −0.0."""
    values = np.array([[0.5] * 4, [0.5014, 0.5054, 0.5024, 0.5044]])
    assert verdicts_of(values)["arm 1"].words == "helps (+0.34 ± 0.29 points)"
    values[1] = [0.4998, 0.4994, 0.4997, 0.4995]
    assert verdicts_of(values)["arm 1"].words == "hurts (−0.04 ± 0.03 points)"
    values[1] = [0.531, 0.53, 0.53, 0.529]
    assert verdicts_of(values)["arm 1"].words == "helps (+3.0 ± 0.1 points)"
    assert verdicts_of(np.array([[0.5] * 3, [0.49, 0.51, 0.4999]]))["arm 1"].words.startswith(
        "within seed noise (+0.0 ± "
    )


def test_more_sizes_and_more_arms_make_wider_intervals() -> None:
    values = accuracies(np.random.default_rng(12))
    table = table_of(values)
    one = verdicts({1: table}, "none")[1]["arm 1"].half_width
    three = verdicts({1: table, 2: table, 3: table}, "none")[1]["arm 1"].half_width
    empty = verdicts({1: table, 2: {"none": {0: 0.5}}}, "none")[1]["arm 1"].half_width
    assert three / one == pytest.approx(dunnett_quantile(3, 6, 0.95 ** (1 / 3)) / dunnett_quantile(3, 6, 0.95))
    assert empty == one


def test_accuracies_outside_0_to_1_are_refused() -> None:
    for accuracy in (math.nan, -0.1, 81.4):
        with pytest.raises(LabError, match="The accuracy of dropout, seed 1, at 2000 images"):
            verdicts_of({"none": {0: 0.5, 1: 0.5}, "dropout": {0: 0.5, 1: accuracy}})


@pytest.mark.slow
def test_importing_it_loads_neither_scipy_nor_torch() -> None:
    script = "import sys, core.regularization.verdict; print([x for x in ('scipy', 'torch') if x in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
