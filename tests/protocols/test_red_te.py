"""RED-TE on synthetic recordings: vector T-TE and the edge cases of the specification."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from verification_platform.bench.dut import Limit, Order
from verification_platform.metrology.records import FixtureRecord
from verification_platform.metrology.result import LimitType, RunStatus, Verdict
from verification_platform.metrology.units import ARCSEC

TURN = 2 * math.pi


@pytest.fixture
def te_order(order: Order) -> Order:
    """The reducer of vector T-TE: i = 100, s = +1, orders 1 and 200."""
    dut = order.dut.model_copy(update={"sense": 1, "orders": (1.0, 200.0)})
    return order.model_copy(update={"dut": dut, "limits": {"TE_pp": Limit(max="90 arcsec")}})


def error(theta: np.ndarray) -> np.ndarray:
    """e(θ₂) of vector T-TE, rad."""
    return ARCSEC * (5 + 20 * np.sin(theta + 0.3) + 8 * np.sin(200 * theta))


def run(
    points: int, turns: float = 1.0, direction: int = 1, sense: int = 1, start: float = 0.0, **more: Any
) -> tuple[Any, dict[str, Any]]:
    """One group with both angles over `turns` output revolutions."""
    theta = start + direction * TURN * turns * np.arange(points) / points * 1.0
    offset = more.get("drift", 0.0) * np.arange(points) / points
    noise = np.random.default_rng(1).normal(0, more.get("noise", 0.0), points)
    theta1 = sense * more.get("ratio", 100.0) * (theta - error(theta))
    return np.arange(points) / 1000.0, {"input_angle": theta1, "output_angle": theta + offset + noise}


def tag(direction: int = 1, repeat: int = 0, load: float = 0.0) -> dict[str, Any]:
    return {"method": "dynamic", "load": load, "speed": 0.1, "direction": direction, "repeat": repeat}


def test_T_TE(recording: Any, evaluate: Any, te_order: Order) -> None:
    recording.add(tag(), run(36000))
    found = evaluate("RED-TE", recording, te_order)
    assert found.status is RunStatus.VALID
    assert evaluate.result("TE_pp").value / ARCSEC == pytest.approx(55.999, abs=0.05)
    assert evaluate.result("TE_rms").value / ARCSEC == pytest.approx(15.2315, abs=0.005)
    assert evaluate.result("A_1").value / ARCSEC == pytest.approx(20.00, abs=0.01)
    assert evaluate.result("A_200").value / ARCSEC == pytest.approx(8.00, abs=0.01)


def test_T_TE_undersampled(recording: Any, evaluate: Any, te_order: Order) -> None:
    recording.add(tag(), run(360))
    found = evaluate("RED-TE", recording, te_order)
    assert found.status is RunStatus.INVALID
    assert found.results == ()
    assert "undersampled for order 200" in found.findings[0].en


def test_only_TE_pp_is_judged_against_the_order(recording: Any, evaluate: Any, te_order: Order) -> None:
    recording.add(tag(), run(36000))
    found = evaluate("RED-TE", recording, te_order)
    judged = [r for r in found.results if r.limit_type is not LimitType.REPORT_ONLY]
    assert [(r.quantity, r.verdict) for r in judged] == [("TE_pp", Verdict.PASS)]
    assert judged[0].TL_high == pytest.approx(90 * ARCSEC)


def test_both_directions_and_repeats(recording: Any, evaluate: Any, te_order: Order) -> None:
    for direction in (1, -1):
        for repeat in range(3):
            recording.add(
                tag(direction, repeat),
                run(36000, direction=direction, start=0.2 * repeat, noise=0.2 * ARCSEC),
            )
    evaluate("RED-TE", recording, te_order)
    forward, backward = evaluate.result("TE_pp", direction=1), evaluate.result("TE_pp", direction=-1)
    assert forward.n == backward.n == 3
    assert any(line.source.startswith("repeatability") and line.nu == 2 for line in forward.budget)
    assert evaluate.result("TE_bidirectional").value / ARCSEC == pytest.approx(56.0, abs=0.3)
    assert evaluate.result("reversal_offset").value / ARCSEC == pytest.approx(0.0, abs=0.1)


def test_the_reversal_offset_is_the_mean_minus_the_other(
    recording: Any, evaluate: Any, te_order: Order
) -> None:
    stamps, forward = run(36000)
    recording.add(tag(1), (stamps, forward))
    stamps, backward = run(36000, direction=-1)
    recording.add(tag(-1), (stamps, {**backward, "output_angle": backward["output_angle"] + 30 * ARCSEC}))
    evaluate("RED-TE", recording, te_order)
    assert evaluate.result("reversal_offset").value / ARCSEC == pytest.approx(30.0, abs=0.1)
    assert evaluate.result("TE_bidirectional").value / ARCSEC == pytest.approx(56.0, abs=0.2)


def test_single_turn_encoders_are_unwrapped(recording: Any, evaluate: Any, te_order: Order) -> None:
    stamps, columns = run(72000, turns=2.02, start=5.0)
    recording.add(tag(), (stamps, {name: values % TURN for name, values in columns.items()}))
    evaluate("RED-TE", recording, te_order)
    assert evaluate.result("TE_pp").value / ARCSEC == pytest.approx(56.0, abs=0.1)


@pytest.mark.parametrize("wrong", [{"ratio": 101}, {"sense": -1}])
def test_a_wrong_ratio_or_sense_is_reported_not_hidden(
    recording: Any, evaluate: Any, te_order: Order, wrong: dict[str, Any]
) -> None:
    recording.add(tag(), run(36000))
    order = te_order.model_copy(update={"dut": te_order.dut.model_copy(update=wrong)})
    found = evaluate("RED-TE", recording, order)
    assert found.status is RunStatus.INVALID
    assert any("does not close" in text.en for text in found.findings)
    assert evaluate.result("TE_pp").verdict is Verdict.NONE


@pytest.mark.parametrize(("drift", "status"), [(0.05, RunStatus.VALID), (0.2, RunStatus.INVALID)])
def test_a_curve_that_does_not_close_is_invalid(
    recording: Any, evaluate: Any, te_order: Order, drift: float, status: RunStatus
) -> None:
    recording.add(tag(), run(36000, turns=1.0, drift=drift * 56 * ARCSEC))
    assert evaluate("RED-TE", recording, te_order).status is status


def test_limited_travel_states_the_range(recording: Any, evaluate: Any, te_order: Order) -> None:
    recording.add(tag(), run(18000, turns=0.5))
    found = evaluate("RED-TE", recording, te_order)
    assert found.status is RunStatus.VALID
    assert any("180.0° of the output, less than one revolution" in text.en for text in found.findings)
    assert not any(r.quantity.startswith("A_") for r in found.results)


def test_a_recording_without_tags_is_one_dynamic_run(recording: Any, evaluate: Any, te_order: Order) -> None:
    recording.add({}, run(36000))
    assert evaluate("RED-TE", recording, te_order).status is RunStatus.VALID
    assert evaluate.result("TE_pp").value / ARCSEC == pytest.approx(55.999, abs=0.05)


def test_static_positions_give_the_same_curve(recording: Any, evaluate: Any, te_order: Order) -> None:
    count = 4000
    for position in range(count + 1):
        theta = np.full(20, TURN * position / count)
        angles = {"input_angle": 100 * (theta - error(theta)), "output_angle": theta}
        stamps = position + np.arange(20) * 0.01
        conditions = {
            "method": "static",
            "load": 0.0,
            "speed": 0.0,
            "direction": 1,
            "repeat": 0,
            "position": position,
        }
        recording.add(conditions, (stamps, angles))
    found = evaluate("RED-TE", recording, te_order, mode="static")
    assert found.status is RunStatus.VALID, found.findings
    assert evaluate.result("TE_pp").value / ARCSEC == pytest.approx(55.999, abs=0.1)
    assert evaluate.result("A_200").value / ARCSEC == pytest.approx(8.0, abs=0.02)


def test_the_budget_follows_the_records(recording: Any, evaluate: Any, te_order: Order) -> None:
    """u²(e) = u²(EN2) + u²(EN1)/i² + (ω₂·u(Δt))² + u²(mounting), √2 for a difference of two angles."""
    recording.add(tag(), run(36000))
    names = ("input_angle", "output_angle")
    exact = {n: replace(recording.channels[n], U=0.0, U_relative=0.0, resolution=0.0) for n in names}
    recording.channels = {**recording.channels, **exact}

    def u(**fixture: float) -> float:
        recording.fixture = FixtureRecord(**fixture)
        evaluate("RED-TE", recording, te_order)
        return float(evaluate.result("TE_pp").u)

    base = u()
    skew = math.sqrt(u(sync_skew_U=1e-3) ** 2 - base**2)
    assert skew == pytest.approx(math.sqrt(2) * 0.1 * 0.5e-3, rel=1e-6)
    mounting = math.sqrt(u(mounting_U=1e-4) ** 2 - base**2)
    assert mounting == pytest.approx(math.sqrt(2) * 0.5e-4, rel=1e-6)
    recording.channels = {**recording.channels, "input_angle": replace(exact["input_angle"], U=2e-3)}
    assert math.sqrt(u() ** 2 - base**2) == pytest.approx(math.sqrt(2) * 1e-3 / 100, rel=1e-6)


def test_slow_sampling_is_a_declared_deviation(recording: Any, evaluate: Any, te_order: Order) -> None:
    recording.add(tag(), run(36000))
    found = evaluate("RED-TE", recording, te_order)
    assert any(
        "output_angle was sampled at 500 Hz, less than 1000 Hz" in text.en for text in found.deviations
    )


def test_the_plots_are_the_curve_and_its_orders(recording: Any, evaluate: Any, te_order: Order) -> None:
    recording.add(tag(), run(36000))
    curve, spectrum = evaluate("RED-TE", recording, te_order).curves
    assert np.ptp(curve.ys["e"]) / ARCSEC == pytest.approx(56.0, abs=0.1)
    assert spectrum.kind == "stem"
    assert float(spectrum.x[spectrum.ys["A_q"].argmax()]) == 1.0
