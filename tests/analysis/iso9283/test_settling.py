"""ISO 9283, arrival at a pose: stabilization, overshoot, posing time; static compliance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from verification_platform.analysis.errors import NotEnoughDataError
from verification_platform.analysis.iso9283 import (
    arrival,
    posing_time,
    stabilization,
    static_compliance,
)

MM, DEG = 1e-3, math.pi / 180


def oscillation(end: float = 0.6, fs: float = 1000.0) -> tuple[np.ndarray, np.ndarray]:
    """X e^{−ζωt}[cos ω_d t + …] with ζ = 0.2, ω = 60 rad/s, X = 1 mm; before t = 0 it rests at X."""
    zeta, omega = 0.2, 60.0
    t = np.arange(0, end, 1 / fs)
    damped = omega * math.sqrt(1 - zeta**2)
    x = np.exp(-zeta * omega * t) * (np.cos(damped * t) + zeta / math.sqrt(1 - zeta**2) * np.sin(damped * t))
    return t, np.stack([x * MM, 0 * x, 0 * x], axis=1)


def test_T_ROBST() -> None:
    t, p = oscillation()
    one = arrival(t, p, 0.1 * MM, final_m=[0, 0, 0])
    assert one.first_entry_s == pytest.approx(27.82e-3, abs=0.05e-3)
    assert one.settled_s == pytest.approx(174.76e-3, abs=0.1e-3)
    assert one.stabilization_s == pytest.approx(146.94e-3, abs=0.5e-3)
    assert one.overshoot_m / MM == pytest.approx(0.52662, abs=0.001)
    assert one.conclusive
    r = stabilization([one] * 3)
    assert (r.time_s, r.longest_s, r.overshoot_m) == pytest.approx(
        (one.stabilization_s,) * 2 + (one.overshoot_m,)
    )
    with pytest.raises(NotEnoughDataError, match="3 are needed"):
        stabilization([one] * 2)


def test_an_approach_without_oscillation_does_not_overshoot() -> None:
    t = np.arange(0, 1, 1e-3)
    p = np.stack([np.exp(-t / 0.05), 0 * t, 0 * t], axis=1) * MM
    r = arrival(t, p, 0.1 * MM, final_m=[0, 0, 0])
    assert r.overshoot_m == 0
    assert r.stabilization_s == 0
    assert r.settled_s == pytest.approx(0.05 * math.log(10), abs=1e-5)


def test_noise_above_a_third_of_the_band_is_inconclusive() -> None:
    t, p = oscillation(end=1.0)
    noisy = p + 0.03 * MM * np.random.default_rng(1).standard_normal(p.shape)
    assert not arrival(t, noisy, 0.14 * MM, final_m=[0, 0, 0]).conclusive
    with pytest.raises(NotEnoughDataError, match="starts within"):
        arrival(t, p, 2 * MM)
    with pytest.raises(NotEnoughDataError, match="not within the band at the end"):
        arrival(t, p, 0.1 * MM, final_m=[0, 1, 0])
    with pytest.raises(NotEnoughDataError, match="rests for less"):
        arrival(t[:250], p[:250], 0.1 * MM)


def test_minimum_posing_time() -> None:
    def move(delay: float) -> tuple[np.ndarray, np.ndarray]:
        t = np.arange(0, 1.5, 1e-3)
        share = np.clip((t - 0.1 - delay) / 0.5, 0, 1)
        return t, np.outer(share, [0.1, 0.0, 0.0])

    r = posing_time([move(d) for d in (0.0, 0.013, 0.2)], 1 * MM)
    assert r.time_s == pytest.approx(0.5 * 0.98, abs=1e-6)
    assert r.deviation_s == pytest.approx(0, abs=1e-6)
    assert r.distance_m == pytest.approx(0.1)
    with pytest.raises(NotEnoughDataError):
        posing_time([move(0.0)] * 3, 60 * MM)


def test_T_SC() -> None:
    steps = np.repeat(np.linspace(0, 100, 11), 3)
    forces, moved = [], []
    C = np.array([[0.02, 0.001, 0], [0.001, 0.03, -0.002], [0, -0.002, 0.01]]) * MM
    for axis in range(3):
        for sign in (1, -1):
            f = np.outer(sign * steps, np.eye(3)[axis])
            forces.append(f)
            moved.append(f @ C.T + [1e-3, 0, 0])
    force, displacement = np.concatenate(forces), np.concatenate(moved)
    r = static_compliance(force, displacement)
    assert r.matrix_m_n == pytest.approx(C, abs=1e-15)
    assert r.along_m_n[0] / MM == pytest.approx(0.0200, abs=1e-12)
    assert r.hysteresis_m is None
    rng = np.random.default_rng(2)
    falling = rng.random(len(force)) < 0.5
    held = displacement.copy()
    held[falling, 0] += 0.004 * MM * (np.argmax(np.abs(force[falling]), axis=1) == 0)
    assert static_compliance(force, held, falling).hysteresis_m == pytest.approx([4e-6, 0, 0], abs=1e-12)
    with pytest.raises(NotEnoughDataError, match="three directions"):
        static_compliance(force[:66], displacement[:66])


def test_compliance_uncertainty_is_that_of_repeated_measurements() -> None:
    rng = np.random.default_rng(4)
    force = np.concatenate([np.outer(np.linspace(-100, 100, 21), e) for e in np.eye(3)])
    runs = [static_compliance(force, 1e-6 * rng.standard_normal(force.shape)) for _ in range(1000)]
    spread = np.std([r.matrix_m_n for r in runs], axis=0)
    assert np.mean([r.u_m_n for r in runs], axis=0) == pytest.approx(spread, rel=0.1)
