"""Formulas that people type: values and derivatives against autograd, and one sentence for what is none."""

from __future__ import annotations

import json
import math
from contextlib import suppress

import numpy as np
import pytest
import torch

from core.common.errors import LabError
from core.descent.charts import height_chart, map_data, sweep_charts
from core.descent.descent import lowest, sweep
from core.descent.formula import parse_formula
from core.descent.functions import FUNCTIONS, function_text, landscape

TEXTS = [function_text(name, condition=7) for name in FUNCTIONS] + [
    "sin(2*x)*exp(-y^2) + tanh(x*y) - 3",
    "sqrt(x²+1)/(2+cos(y)) + abs(x-y) + log(3+x) + tan(x/5)",
    "-x + y**-2 + (x*y)**1.5 * pi",
    "x**1 + y**0 + e*x",
]


@pytest.mark.parametrize("text", TEXTS)
def test_derivatives_equal_autograd(text: str) -> None:
    formula = parse_formula(text)
    points = np.random.default_rng(0).uniform(0.2, 1.8, (6, 2))
    value, gradient, hessian = formula.jet(points, hessian=True)
    assert hessian is not None
    names = {name: getattr(torch, name) for name in ("sin", "cos", "tan", "exp", "log", "sqrt", "abs", "tanh")}
    plain = text.replace("^", "**").replace("²", "**2")

    def in_torch(point: torch.Tensor) -> torch.Tensor:
        return eval(plain, names | {"pi": math.pi, "e": math.e, "x": point[0], "y": point[1]})

    for row, point in enumerate(torch.tensor(points)):
        assert value[row] == pytest.approx(float(in_torch(point)), rel=1e-12)
        own = torch.autograd.functional.jacobian(in_torch, point)
        twice = torch.autograd.functional.hessian(in_torch, point)
        np.testing.assert_allclose(gradient[row], own, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(hessian[row], twice, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(formula.values(points[:, 0], points[:, 1]), value, rtol=1e-13)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("x+" * 5000 + "1", "10,001 characters"),
        ("(" * 150 + "x" + ")" * 49, "cannot be read"),
        ("2x", r"2\*x"),
        ("x + z", "does not know 'z'"),
        ("__import__('os')", "does not know '__import__'"),
        ("x.__class__", "not part of a formula"),
        ("sin", "does not know 'sin'"),
        ("sin(x, y)", "does not know 'sin'"),
        ("(lambda: x)()", "not part of a formula"),
        ("x if y else 1", "not part of a formula"),
        ("[x for x in y]", "not part of a formula"),
        ("x**x**x", "exponent must be a number"),
        ("9**9**9**9", "exponent is too large"),
        ("x**(0/0)", "no value"),
        ("x/0*0 + 1/0", "no value"),
        ("x + 1e999", "too large"),
        ("x + " + "9" * 150, "same value everywhere"),
        ("3", "same value everywhere"),
        ("x - x", "same value everywhere"),
        ("log(-1 - x**2)", "no value anywhere"),
        ("x < y", "not part of a formula"),
        ("1j * x", "not part of a formula"),
        ("True + x", "not part of a formula"),
        ("'x'", "not part of a formula"),
        ("x\0", "cannot be read"),
    ],
)
def test_what_is_no_formula_is_one_sentence(text: str, says: str) -> None:
    with pytest.raises(LabError, match=says) as error:
        landscape("own", formula=text)
    assert len(str(error.value)) < 250


def test_a_place_without_a_value_is_not_finite_and_the_rest_is() -> None:
    land = landscape("own", formula="1/x + y**2")
    assert np.isnan(land.levels).any() or np.isinf(land.formula.values(np.zeros(1), np.zeros(1))).all()
    assert np.isfinite(land.levels).mean() > 0.9


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "text", ["log(x) + y", "1/x + y**2", "sqrt(x*y)", "1/(x*y)**20", "exp(exp(x**2)) + y", "x**1.5"]
)
def test_a_place_without_a_value_raises_no_warning(text: str) -> None:
    land = landscape("own", formula=text)
    for start in (land.start, (1.5, 1.5)):
        with suppress(LabError):  # no value, or no curvature
            found = sweep(land, start)
            charts = [height_chart(found.paths, lowest(land, found.paths)), *sweep_charts(found, 0.0)]
            assert json.dumps([charts, map_data(land)], allow_nan=False)
