"""Descents against torch.optim, and the largest curvature against closed forms."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from core.app import main
from core.common.errors import LabError
from core.descent.charts import log_chart, map_data, optimizer_series
from core.descent.curvature import largest_curvature
from core.descent.descent import (
    Path,
    descend,
    gradient_noise,
    lowest,
    outcome,
    ranking,
    rate_factors,
    sweep,
)
from core.descent.functions import FUNCTIONS, Landscape, find_minimum, landscape, top_curvature
from core.descent.optimizers import OPTIMIZERS, Hyper, orthogonalise_row
from core.training.optimizers import Muon, orthogonalise

HYPER = Hyper(momentum=0.8, weight_decay=0.05)
OPTIM: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda p, lr: torch.optim.SGD(p, lr=lr),
    "momentum": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.8),
    "nesterov": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.8, nesterov=True),
    "rmsprop": lambda p, lr: torch.optim.RMSprop(p, lr=lr),
    "adam": lambda p, lr: torch.optim.Adam(p, lr=lr, betas=(0.8, 0.999)),
    "adamw": lambda p, lr: torch.optim.AdamW(p, lr=lr, betas=(0.8, 0.999), weight_decay=0.05),
    "muon": lambda p, lr: Muon(p, lr=lr, momentum=0.8),
}


def in_torch(name: str, land: Landscape, rate: float, factors: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
    """(201, 2) the path that PyTorch's optimizer takes on the same gradients, in float64."""
    point = torch.tensor([land.start], dtype=torch.float64, requires_grad=True)  # (1, 2): a matrix, for Muon
    optimizer = OPTIM[name]([point], rate)
    path = [point.detach().clone()]
    for step in range(200):
        _, gradient, _ = land.formula.jet(point.detach().numpy())
        point.grad = torch.tensor(gradient + (0 if noise is None else noise[step]))
        optimizer.param_groups[0]["lr"] = rate * factors[step]
        before = point.detach().clone()
        optimizer.step()
        if name == "muon":  # the lab's Muon fixes the norm of filters too, which a point does not have
            with torch.no_grad():
                point.copy_(before + (point - before / before.norm()))
        path.append(point.detach().clone())
    return torch.cat(path).numpy()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_paths_equal_those_of_torch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # Muon's iteration is in float32 else
    for function, schedule, batch in (
        ("quadratic", "constant", 0),
        ("rosenbrock", "cosine", 64),
        ("saddle", "linear", 0),
    ):
        land = landscape(function)
        noise = gradient_noise(land, batch, seed=3)
        rate = land.rates[name]
        (path,) = descend(land, land.start, [(name, rate)], hyper=HYPER, schedule=schedule, noise=noise)
        expected = in_torch(name, land, rate, rate_factors(schedule, 200), noise)
        assert path.points.shape == (201, 2)
        np.testing.assert_allclose(path.points, expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(path.values, land.formula.values(*path.points.T), rtol=1e-12)


def test_every_term_of_a_formula_is_there_and_gives_the_step() -> None:
    land = landscape("beale")
    for path in descend(land, land.start, list(land.rates.items()), hyper=HYPER):
        words = " ".join(numbers for _, numbers in OPTIMIZERS[path.optimizer].lines)
        known = {*path.terms, "g", "old", "new", "lr", "beta", "beta1", "decay", "t"}
        assert {part.split("}")[0].removesuffix("-") for part in words.split("{")[1:]} <= known
    adam = descend(land, land.start, [("adam", 0.1)])[0]
    step = adam.terms["mean"] / (np.sqrt(adam.terms["square"]) + 1e-8)
    np.testing.assert_allclose(adam.points[1:], adam.points[:-1] - 0.1 * step, rtol=1e-12)


def test_muon_on_a_row_is_the_lab_s_iteration_and_of_fixed_length() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 2)) * 10.0 ** np.arange(-3, 17)[:, None] / 1e3
    found = np.array([orthogonalise_row(row) for row in rows])
    expected = orthogonalise(torch.tensor(rows)[:, None, :])[:, 0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found[5:], axis=1), 0.72, atol=0.01)


def test_what_diverges_ends_early_and_is_last_in_the_ranking() -> None:
    land = landscape("rosenbrock")
    paths = descend(land, land.start, [("sgd", 1.0), ("sgd", 1e-4)])
    assert [path.diverged for path in paths] == [True, False]
    assert len(paths[0].rates) < 20
    assert ranking(paths)[0] is paths[1]
    assert json.dumps([path.to_dict() for path in paths], allow_nan=False)
    assert json.dumps([optimizer_series(paths, dark=False), map_data(land)], allow_nan=False)
    assert outcome(land, paths[0]) == "diverges"


def test_noise_is_smaller_for_larger_batches_and_the_same_for_one_seed() -> None:
    land = landscape("quadratic")
    assert gradient_noise(land, 0, 0) is None
    small, large, again = (gradient_noise(land, batch, seed) for batch, seed in ((4, 1), (64, 1), (4, 1)))
    assert small is not None
    assert large is not None
    np.testing.assert_allclose(small, 4 * large)
    np.testing.assert_array_equal(small, again)
    assert small.std() == pytest.approx(land.gradient_scale / 2, rel=0.15)


def test_bad_input_of_a_descent() -> None:
    land = landscape("quadratic")
    for wrong, says in (
        (lambda: descend(land, (1, 1), [("lion", 0.1)]), "no optimizer 'lion'"),
        (lambda: descend(land, (1, 1), [("sgd", -1.0)]), "above 0"),
        (lambda: descend(land, (1, 1), [("sgd", math.nan)]), "above 0"),
        (lambda: descend(land, (1e9, 1), [("sgd", 0.1)]), "too far away"),
        (lambda: rate_factors("step", 3), "no schedule"),
        (lambda: landscape("rosenbrok"), "no function"),
        (lambda: landscape("own", formula="x", span=0.0), "window"),
        (lambda: descend(landscape("own", formula="1/x + y"), (0.0, 1.0), [("sgd", 0.1)]), r"no slope at \(0, 1\)"),
        (lambda: sweep(landscape("own", formula="x + y"), (0.0, 1.0)), "does not curve upwards"),
    ):
        with pytest.raises(LabError, match=says):
            wrong()


def test_a_chart_says_where_it_cuts_values() -> None:
    whole, cut, above = (
        log_chart("f", [(None, np.array(values))], floor=floor)
        for values, floor in (([100.0, 1e-9], 0.0), ([100.0, 1e-30], 0.0), ([3.0, 2.0], 2.0))
    )
    assert whole["title"] == "f (logarithmic)"
    assert "cut at 1e−10" in cut["title"]
    assert cut["low"] == -10
    assert "cut at" in above["title"]  # 0 has no logarithm


# Curvature


@pytest.mark.parametrize("size", [2, 7, 40])
def test_power_iteration_equals_the_closed_form(size: int) -> None:
    random = np.random.default_rng(size)
    axes, _ = np.linalg.qr(random.normal(size=(size, size)))
    for values in (
        random.uniform(0.1, 9, size),
        np.linspace(-8, 3, size),
    ):  # the second: the largest is not the longest
        values[0] *= 1.5
        matrix = axes @ np.diag(values) @ axes.T
        found = largest_curvature(lambda v, m=matrix: m @ v, random.normal(size=size), iterations=5000, tolerance=1e-6)
        assert found.value == pytest.approx(values.max(), rel=1e-5)
        assert abs(found.vector @ axes[:, values.argmax()]) == pytest.approx(1, abs=1e-4)


def test_near_eigenvalues_do_not_make_it_worse_and_nan_stays_nan() -> None:
    for matrix in (np.diag([1, 1.03]), np.diag([1.03, -1.03])):
        found = largest_curvature(lambda v, m=matrix: m @ v, np.array([0.8, 0.6]))
        assert found.value == pytest.approx(1.03, rel=2e-4)
        assert found.vector @ matrix @ found.vector == pytest.approx(found.value)
    assert math.isnan(largest_curvature(lambda v: math.nan * v, np.array([0.8, 0.6])).value)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_minimum_and_its_curvature(name: str) -> None:
    land = landscape(name, condition=30)
    found = find_minimum(land.formula, land.start, land.width)
    _, gradient, hessian = land.formula.jet(np.array(found.point), hessian=True)
    assert hessian is not None
    assert found.found
    np.testing.assert_allclose(gradient, 0, atol=1e-5)
    assert found.curvature == pytest.approx(np.linalg.eigvalsh(hessian).max(), rel=1e-6)
    assert found.curvature == pytest.approx(float(top_curvature(land.formula, np.array(found.point))), rel=1e-6)
    if name == "quadratic":
        assert found.limit == pytest.approx(2 / 30)


def test_a_function_without_a_minimum_is_judged_at_its_start() -> None:
    land = landscape("own", formula="x**2 - y**2")
    found = find_minimum(land.formula, (0.5, 0.5), land.width)
    assert not found.found
    assert found.point == (0.5, 0.5)
    assert found.curvature == pytest.approx(2)


@pytest.mark.parametrize(
    ("formula", "start", "top", "found"),
    [
        ("(4*x+3*y)**2/25 + 10*(4*y-3*x)**2/25", (1, 2), 20, True),
        ("1e-10*(x**2 + y**2)", (1, 2), 2e-10, True),
        ("(x-2)**2 + 1e6", (-2, 1), 2, True),
        ("(x**2 - y**2)/2 + y**4/8", (-2, 0), 1, False),
        ("exp(-x)", (-2.4, 1.8), math.exp(2.4), False),
        ("exp(-x**2-y**2)", (0.1, 0.1), -1.92 * math.exp(-0.02), False),
        ("x**4 + y**4", (-2.4, 1.8), 0, True),
        ("x**20 + y**6 + 3", (1.2, 1.8), 0, True),
        ("x**4 + y**2", (-2.4, 1.8), 2, True),
        ("x**2 + y**2 + 1e5*(x**20 + y**4)", (-0.8, 0.6), 2, True),
        ("(x+y)**2", (-2.4, 1.8), 4, True),
        ("x**3 + y**2", (2.4, 1.8), 14.4, False),
        ("x**3 + y**3", (2.4, 1.8), 14.4, False),
        ("x**4 + x**3 + y**2", (1, 1), 2.25, True),
    ],
)
def test_only_a_minimum_is_called_one(formula: str, start: tuple[float, float], top: float, found: bool) -> None:
    land = landscape("own", formula=formula)
    minimum = find_minimum(land.formula, start, land.width)
    assert minimum.found is found
    assert minimum.curvature == pytest.approx(top, rel=1e-2)
    if not found:
        assert minimum.point == start


def test_where_the_curvature_vanishes_nothing_is_predicted() -> None:
    land = landscape("own", formula="x**4 + y**4")
    found = sweep(land, land.start)
    assert found.minimum.limit is None
    assert found.limit == pytest.approx(2 / (12 * 2.4**2))
    assert set(found.outcomes) == {"slow"}  # it diverges above 1 / (2 x²), three times that


@pytest.mark.parametrize("condition", [1, 25])
def test_on_a_quadratic_the_prediction_holds_on_both_sides(condition: float) -> None:
    land = landscape("quadratic", condition=condition)
    found = sweep(land, land.start)
    says = dict(zip(found.multiples, found.outcomes, strict=True))
    assert says[0.9] in ("settles", "slow")
    assert {word for multiple, word in says.items() if multiple > 1} == {"diverges"}
    assert {word for multiple, word in says.items() if multiple < 1} <= {"settles", "slow"}


def test_elsewhere_it_bounces_above_the_line() -> None:
    land = landscape("himmelblau")
    says = dict(zip((found := sweep(land, land.start)).multiples, found.outcomes, strict=True))
    assert (says[0.5], says[1.2]) == ("settles", "bounces")
    assert lowest(land, found.paths, [found.minimum.point]) == 0


def test_the_command_prints_the_numbers_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["foundations", "descent", "--function", "rosenbrock", "--rate", "adam=0.05", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    land = landscape("rosenbrock")
    path: Path = descend(land, land.start, [("adam", 0.05)])[0]
    assert found["paths"][0]["points"] == path.points.tolist()
    assert found["limit"] == pytest.approx(2 / 1001.6, rel=1e-4)
    assert main(["foundations", "descent", "--formula", "x**x**x"]) == 2
    assert "exponent" in capsys.readouterr().err
    assert main(["foundations", "descent", "--formula", "x*x+y*y", "--start", "1,1"]) == 0
    assert "2/λ = 1" in capsys.readouterr().out
