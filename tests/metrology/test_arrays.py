"""Uncertain arrays against the Monte Carlo and against exact algebra."""

from __future__ import annotations

import math

import numpy as np
import pytest

from verification_platform.metrology import arrays as ua
from verification_platform.metrology.arrays import UncertainArray, uncertain
from verification_platform.metrology.budget import BudgetError, propagate

X = uncertain([1.0, 2.0, 3.0], [0.1, 0.2, 0.3], "x")
Y = uncertain([4.0, 5.0, 6.0], 0.05, "y")


def test_a_quantity_is_fully_correlated_with_itself() -> None:
    for zero in (X - X, X / X - 1.0, X * 2 - X - X, X * Y / Y - X, (X + Y) - Y - X):
        np.testing.assert_allclose(zero.values, 0, atol=1e-15)
        np.testing.assert_allclose(zero.u, 0, atol=1e-15)
    np.testing.assert_allclose((X + X).u, 2 * X.u)


def test_every_operation_against_numerical_propagation() -> None:
    models = {
        "poly": (lambda x, y: 3 * x * y - y / x + 2 - x, None),
        "power": (lambda x, y: x**2 * y**1.5 / 7, None),
        "reverse": (lambda x, y: 1 / x - 5 * (2 - y), None),
        "functions": (
            lambda x, y: ua.sqrt(x) * ua.exp(-y) + ua.log(y) * ua.sin(x) - ua.cos(x * y),
            lambda x, y: math.sqrt(x) * math.exp(-y) + math.log(y) * math.sin(x) - math.cos(x * y),
        ),
    }
    for name, (model, scalar) in models.items():
        x, y = uncertain(X.values, X.u * 1e-3, "x"), uncertain(Y.values, 5e-5, "y")
        out = model(x, y)
        for k in range(3):
            f = scalar or model
            p = propagate(lambda v, f=f: float(f(v[0], v[1])), [x.values[k], y.values[k]], [x.u[k], y.u[k]])
            assert out.values[k] == pytest.approx(p.y), name
            assert out.u[k] == pytest.approx(p.u, rel=1e-4), name


def test_correlation_of_derived_quantities() -> None:
    a, b = X + Y, X - Y
    expected = (X.u**2 - Y.u**2) / (X.u**2 + Y.u**2)
    np.testing.assert_allclose(a.correlation(b), expected)
    assert np.all((X - X).correlation(X) == 0)


def test_numpy_operands_and_shapes() -> None:
    left = np.array([1.0, 2.0, 4.0]) * X
    assert isinstance(left, UncertainArray)
    np.testing.assert_allclose(left.u, [0.1, 0.4, 1.2])
    np.testing.assert_allclose((np.array([1.0]) + Y).u, 0.05)
    np.testing.assert_allclose((-Y).values, -Y.values)
    assert Y.share("y").shape == (3,)
    np.testing.assert_allclose((X * Y)[1:].u, (X * Y).u[1:])


def test_mean_of_independent_and_of_shared_sources() -> None:
    x = uncertain(np.full(100, 5.0), 0.2, "reading") + uncertain(np.zeros(100), 0.1, "certificate")
    value, u = ua.mean(x, {"certificate": 1.0})
    assert value == pytest.approx(5.0)
    assert u == pytest.approx(math.hypot(0.02, 0.1))
    assert ua.mean(x)[1] == pytest.approx(math.hypot(0.02, 0.01))


def test_bad_uncertainties_are_refused() -> None:
    for u in (-0.1, math.nan, math.inf, [0.1, 0.2]):
        with pytest.raises(BudgetError):
            uncertain([1.0, 2.0, 3.0], u, "x")
