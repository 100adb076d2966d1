"""RED-HYS on synthetic recordings: vector T-HYS, corrections and edge cases."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from verification_platform.metrology.records import FixtureRecord
from verification_platform.metrology.result import LimitType, RunStatus, Verdict
from verification_platform.metrology.units import ARCMIN

T_N, K, W0 = 100.0, (1.0e4, 1.5e4, 2.0e4), 0.600 * ARCMIN
SETTINGS = {"positions": 1, "loops": 1}


def elastic(T: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """The three-slope midline of T-HYS, rad."""
    size = np.abs(T)
    angle = (
        np.minimum(size, 14) / K[0] + np.clip(size - 14, 0, 34) / K[1] + np.clip(size - 48, 0, None) / K[2]
    )
    return np.copysign(angle, T) * scale


def loop(
    points: int = 4001, seconds: float = 40.0, **change: float
) -> tuple[tuple[np.ndarray, dict[str, np.ndarray]], ...]:
    """+T_N → −T_N → +T_N at constant rate: angles at 10 × the rate of the torque, on another bus."""
    fine = np.linspace(0.0, seconds, 10 * (points - 1) + 1)
    T = T_N * (1 - 4 * np.minimum(fine, seconds - fine) / seconds)
    branch = np.where(fine <= seconds / 2, 1.0, -1.0)  # falling, then rising
    width = change.get("width", 1.0) * W0 * (1 - (T / T_N) ** 2)
    theta1 = change.get("creep_input", 0.0) * fine / seconds
    theta2 = (
        elastic(T, change.get("soft", 1.0))
        + branch * width / 2
        + change.get("compliance", 0.0) * T
        - theta1 / 100  # s = −1
        + change.get("creep", 0.0) * fine / seconds
    )
    coarse = fine[::10]
    delay = change.get("delay", 0.0)
    torque = np.interp(coarse - delay, fine, T) + change.get("offset", 0.0)
    return (fine, {"input_angle": theta1, "output_angle": theta2}), (coarse, {"output_torque": torque})


def tag(position: int = 0, number: int = 0, kind: str = "loop") -> dict[str, Any]:
    return {"kind": kind, "position": position, "loop": number, "rate": 10.0}


def test_T_HYS(recording: Any, evaluate: Any) -> None:
    recording.add(tag(), *loop())
    found = evaluate("RED-HYS", recording, **SETTINGS)
    assert found.status is RunStatus.VALID

    def arcmin(quantity: str) -> float:
        return float(evaluate.result(quantity).value) / ARCMIN

    assert arcmin("BL_0") == pytest.approx(0.600, abs=0.002)
    assert arcmin("LM_mid") == pytest.approx(2.0626, abs=0.003)
    assert arcmin("LM_outer") == pytest.approx(2.6621, abs=0.003)
    assert arcmin("phi_max") == pytest.approx(21.543, abs=0.01)
    assert arcmin("phi_min") == pytest.approx(-21.543, abs=0.01)
    for number, stiffness in enumerate(K, start=1):
        values = [r.value for r in found.results if r.quantity == f"K_{number}"]
        assert values == pytest.approx([stiffness] * 3, rel=2e-3)  # both signs, + and −
    assert evaluate.result("K_ba").value == pytest.approx(2.0e4, rel=2e-3)
    assert evaluate.result("W").value == pytest.approx(0.023271, rel=5e-3)


def test_lost_motion_and_backlash_are_judged_from_above_stiffness_from_below(
    recording: Any, evaluate: Any
) -> None:
    recording.add(tag(), *loop())
    found = evaluate("RED-HYS", recording, **SETTINGS)
    judged = {r.quantity: r.limit_type for r in found.results if r.limit_type is not LimitType.REPORT_ONLY}
    assert judged == {
        "LM_mid": LimitType.MAX, "BL_0": LimitType.MAX,
        "K_1": LimitType.MIN, "K_2": LimitType.MIN, "K_3": LimitType.MIN,
    }  # fmt: skip
    assert found.verdict is Verdict.PASS


@pytest.mark.parametrize("delay", [0.0, 3e-3, -4e-3])
def test_a_delay_of_the_torque_channel_is_found_and_corrected(
    recording: Any, evaluate: Any, delay: float
) -> None:
    recording.add(tag(), *loop(delay=delay))
    evaluate("RED-HYS", recording, **SETTINGS)
    assert evaluate.result("torque_delay").value == pytest.approx(delay, abs=3e-4)
    assert evaluate.result("BL_0").value / ARCMIN == pytest.approx(0.600, abs=0.004)


def test_without_the_correction_the_delay_would_have_hidden_backlash(recording: Any, evaluate: Any) -> None:
    """The same samples called latched: the delay cannot be told from the gear."""
    (fine, angles), (coarse, torque) = loop(delay=4e-3)
    latched = {name: np.interp(coarse, fine, values) for name, values in angles.items()} | torque
    recording.add(tag(), (coarse, latched))
    evaluate("RED-HYS", recording, **SETTINGS)
    lost = 2 * 10.0 * 4e-3 / K[0]
    assert evaluate.result("BL_0").value == pytest.approx(W0 - lost, rel=0.01)


def test_a_delay_beyond_one_sample_is_not_explained_away(recording: Any, evaluate: Any) -> None:
    recording.add(tag(), *loop(delay=30e-3))
    found = evaluate("RED-HYS", recording, **SETTINGS)
    assert any("more than one sample; not corrected" in text.en for text in found.findings)


def test_the_compliance_of_the_fixture_is_taken_off(recording: Any, evaluate: Any) -> None:
    recording.fixture = FixtureRecord(compliance=1e-5, compliance_U=2e-7)
    recording.add(tag(), *loop(compliance=1e-5))
    found = evaluate("RED-HYS", recording, **SETTINGS)
    (stiffness,) = [r for r in found.results if r.quantity == "K_3" and "side" not in r.conditions]
    assert stiffness.value == pytest.approx(2.0e4, rel=2e-3)
    (line,) = [line for line in stiffness.budget if "compliance" in line.source]
    assert line.share == pytest.approx(stiffness.value**2 * 1e-7)


def test_residual_rotation_of_the_lock_is_taken_off(recording: Any, evaluate: Any) -> None:
    recording.add(tag(), *loop(creep_input=0.01))
    assert evaluate("RED-HYS", recording, **SETTINGS).status is RunStatus.VALID
    assert evaluate.result("BL_0").value / ARCMIN == pytest.approx(0.600, abs=0.002)
    assert evaluate.result("LM_mid").value / ARCMIN == pytest.approx(2.0626, abs=0.003)


def test_the_torque_zero_is_taken_off_and_its_drift_reported(recording: Any, evaluate: Any) -> None:
    rest = np.arange(100) * 0.01
    for when, zero in (("before", 1.0), ("after", 1.2)):
        recording.add({"kind": "zero", "when": when}, (rest, {"output_torque": np.full(100, zero)}))
    recording.add(tag(), *loop(offset=1.1))
    evaluate("RED-HYS", recording, **SETTINGS)
    assert evaluate.result("LM_mid").value / ARCMIN == pytest.approx(2.0626, abs=0.003)
    assert evaluate.result("torque_zero_drift").value == pytest.approx(0.2)


def test_a_loop_that_does_not_close_is_invalid(recording: Any, evaluate: Any) -> None:
    recording.add(tag(), *loop(creep=0.2 * ARCMIN))
    found = evaluate("RED-HYS", recording, **SETTINGS)
    assert found.status is RunStatus.INVALID
    assert any("1 of 1 loops do not close" in text.en for text in found.findings)


def test_a_loop_that_does_not_close_is_left_out_when_others_do(recording: Any, evaluate: Any) -> None:
    recording.add(tag(number=0), *loop(creep=0.2 * ARCMIN))
    recording.add(tag(number=1), *loop())
    found = evaluate("RED-HYS", recording, **SETTINGS)
    assert found.status is RunStatus.VALID
    assert any("1 of 2 loops do not close" in text.en for text in found.findings)
    assert evaluate.result("BL_0").n == 1


def test_extremes_over_positions_are_judged(recording: Any, evaluate: Any) -> None:
    for position, change in enumerate(({}, {"width": 1.2}, {"soft": 1.1})):
        recording.add(tag(position), *loop(**change))
    found = evaluate("RED-HYS", recording, positions=3, loops=1)
    judged = {r.quantity: r for r in found.results if "statistic" in r.conditions}
    assert judged["BL_0"].conditions["position"] == 1
    assert judged["BL_0"].conditions["statistic"] == "max of 3 positions"
    assert judged["K_1"].conditions["position"] == 2
    assert judged["K_1"].value == pytest.approx(K[0] / 1.1, rel=2e-3)
    per_position = [r for r in found.results if r.quantity == "BL_0" and "statistic" not in r.conditions]
    assert len(per_position) == 3
    assert all(r.limit_type is LimitType.REPORT_ONLY for r in per_position)


def test_the_small_loop_gives_LM_HD(recording: Any, evaluate: Any) -> None:
    recording.add(tag(), *loop())
    fine = np.linspace(0.0, 16.0, 16001)
    T = 4.0 * (1 - 4 * np.minimum(fine, 16.0 - fine) / 16.0)
    width = np.where(fine <= 8, 1, -1) * 1e-5 * (1 - (T / 4) ** 2)
    angles = {"input_angle": np.zeros_like(fine), "output_angle": elastic(T) + width / 2}
    recording.add(tag(kind="small"), (fine, angles), (fine[::10], {"output_torque": T[::10]}))
    evaluate("RED-HYS", recording, **SETTINGS)
    assert evaluate.result("LM_HD").value == pytest.approx(2 * 4 / K[0], rel=2e-3)


def test_a_second_rate_shows_the_effect_of_the_rate(recording: Any, evaluate: Any) -> None:
    recording.add(tag(), *loop())
    recording.add(tag(kind="rate"), *loop(width=1.1))
    evaluate("RED-HYS", recording, **SETTINGS)
    assert evaluate.result("rate_effect_BL_0").value == pytest.approx(0.1 * W0, rel=0.05)
    assert evaluate.result("rate_effect_LM_mid").value == pytest.approx(0.0, abs=1e-7)


def test_too_few_samples_around_zero_are_refused(recording: Any, evaluate: Any) -> None:
    recording.add(tag(), *loop(points=81, seconds=40.0))
    found = evaluate("RED-HYS", recording, **SETTINGS)
    assert found.status is RunStatus.INVALID
    assert found.results == ()
    assert "at least 5 needed" in found.findings[0].en or "load slower" in found.findings[0].en


def test_the_uncertainty_of_a_stiffness_follows_the_records(recording: Any, evaluate: Any) -> None:
    """u(K)/K from u(T)/ΔT and u(φ)/Δφ, √2 for a difference; both signs are read at different places."""
    recording.add(tag(), *loop())
    exact = {n: replace(r, U=0.0, U_relative=0.0, resolution=0.0) for n, r in recording.channels.items()}
    recording.channels = exact

    def u(**records: Any) -> float:
        recording.channels = {**exact, **records}
        evaluate("RED-HYS", recording, **SETTINGS)
        (found,) = [
            r for r in evaluate.evaluated.results if r.quantity == "K_1" and "side" not in r.conditions
        ]
        return float(found.u / found.value)

    base = u()
    torque = math.sqrt(u(output_torque=replace(exact["output_torque"], U=0.1)) ** 2 - base**2)
    assert torque == pytest.approx(0.05 / 14, rel=1e-3)
    relative = math.sqrt(u(output_torque=replace(exact["output_torque"], U_relative=0.01)) ** 2 - base**2)
    assert relative == pytest.approx(0.005, rel=1e-3)
    angle = math.sqrt(u(output_angle=replace(exact["output_angle"], U=2e-5)) ** 2 - base**2)
    assert angle == pytest.approx(1e-5 / (14 / K[0]), rel=2e-3)
