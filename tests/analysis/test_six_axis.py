"""Six-axis sensors: T-FT6 of the protocol specification."""

from __future__ import annotations

import math

import numpy as np
import pytest

from verification_platform.analysis.errors import AnalysisError, NotFiniteError
from verification_platform.analysis.samples import CoverageError
from verification_platform.analysis.six_axis import (
    combined_deviation,
    combined_repeatability,
    decouple,
    error_matrix,
    nominal_loads,
)

FS = np.array([200, 200, 400, 10, 10, 10.0])
X = np.array(
    [
        [0, 0.02, -0.01, 0.005, 0, 0.01],
        [-0.015, 0, 0.01, 0, 0.02, 0],
        [0.01, -0.02, 0, 0.005, 0, 0],
        [0, 0.01, 0, 0, 0.02, -0.01],
        [0.02, 0, 0.005, -0.01, 0, 0],
        [0, 0, 0.01, 0.02, 0, 0],
    ]
)
A = (np.eye(6) + X) / FS


def single_axis(steps: int = 11) -> np.ndarray:
    loads = [np.outer(np.eye(6)[j] * FS[j], np.linspace(-1, 1, steps)) for j in range(6)]
    return np.hstack(loads)


def test_T_FT6_crosstalk_without_decoupling() -> None:
    loads = single_axis()
    m = error_matrix(loads, nominal_loads(A @ loads, FS), FS)
    assert 100 * m.crosstalk("Fx", "Fy") == pytest.approx(2.00, abs=0.001)
    assert 100 * m.crosstalk("Fz", "Fy") == pytest.approx(2.00, abs=0.001)
    assert 100 * m.crosstalk("My", "Fx") == pytest.approx(2.00, abs=0.001)
    np.testing.assert_allclose(m.X, np.abs(X), atol=1e-12)
    assert m.worst_crosstalk == pytest.approx(0.02)


@pytest.mark.parametrize("offset", [False, True])
def test_T_FT6_decoupling(offset: bool) -> None:
    loads = single_axis()
    zero = np.array([0.01, -0.02, 0.03, 0, 0.005, 0])[:, None] if offset else 0.0
    c = decouple(loads, A @ loads + zero, FS, offset=offset)
    assert c.condition == pytest.approx(1.035, abs=5e-4)
    other = np.random.default_rng(3).uniform(-1, 1, (6, 40)) * FS[:, None]
    assert 100 * combined_deviation(other, c.loads(A @ other + zero), FS).max() < 1e-9
    assert 100 * error_matrix(loads, c.loads(A @ loads + zero), FS).X.max() < 1e-9


def test_T_FT6_noise() -> None:
    rng = np.random.default_rng(11)
    loads = single_axis()
    c = decouple(loads, A @ loads + 5e-4 * rng.standard_normal(loads.shape), FS)
    np.testing.assert_allclose(100 * c.residual, 0.05, atol=0.015)
    validation = single_axis()
    estimate = c.loads(A @ validation + 5e-4 * rng.standard_normal(validation.shape))
    rms = np.sqrt(np.mean((estimate - validation) ** 2, axis=1)) / FS
    np.testing.assert_allclose(100 * rms, 0.05, atol=0.015)


def test_combined_repeatability() -> None:
    base = np.random.default_rng(1).uniform(-1, 1, (6, 20)) * FS[:, None]
    shift = np.array([0, 0.001, -0.002])[:, None, None] * FS[:, None]
    np.testing.assert_allclose(combined_repeatability(base + shift, FS), 0.003)
    with pytest.raises(CoverageError):
        combined_repeatability([base, base], FS)


def test_loads_that_do_not_span_six_dimensions_are_refused() -> None:
    loads = single_axis()
    loads[5] = 0.0
    with pytest.raises(CoverageError, match="span only 5"):
        decouple(loads, A @ loads, FS, offset=False)
    with pytest.raises(CoverageError, match="never loaded alone"):
        error_matrix(loads, loads, FS)
    with pytest.raises(CoverageError, match="signals"):
        decouple(single_axis(), np.zeros((6, 66)), FS, offset=False)


def test_refusals() -> None:
    loads = single_axis()
    with pytest.raises(AnalysisError):
        decouple(loads[:5], loads, FS)
    with pytest.raises(AnalysisError):
        decouple(loads, loads, -FS)
    bad = loads.copy()
    bad[0, 0] = math.nan
    with pytest.raises(NotFiniteError):
        decouple(bad, loads, FS)
