"""Charts: same bytes each time, nothing dropped, the marks a reader looks for are there."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from reports import MissingGlyphError, model
from reports.charts import chart
from reports.lines import expanded_uncertainties
from reports.plot import set_low
from reports.stems import strongest
from reports.thinning import MOST_POINTS, thin
from verification_platform.engine.protocol import Curve, Text


def curves(report: model.ReportData) -> list[tuple[model.Run, model.PlottedCurve]]:
    return [(run, curve) for run in report.runs for curve in run.curves]


def test_same_curve_same_bytes(report: model.ReportData) -> None:
    for run, curve in curves(report):
        first = chart(curve, run.results, report.order.dut, ("zh", "en"))
        assert first == chart(curve, run.results, report.order.dut, ("zh", "en"))
        assert first.startswith(b"<?xml")
        assert b"<dc:date>" not in first
        assert b"<text" not in first  # outlines only: no font is needed to look at it


def test_a_label_without_glyph_is_refused(report: model.ReportData) -> None:
    run, curve = curves(report)[0]
    with pytest.raises(MissingGlyphError, match=r"labels\[0\].*U\+1F9EA"):
        chart(dataclasses.replace(curve, x_label=Text("🧪", "🧪")), run.results, report.order.dut, ("zh",))


def test_stiffness_sections_come_from_the_results(report: model.ReportData) -> None:
    run, curve = next((r, c) for r, c in curves(report) if c.kind == "loop")
    with_marks = chart(curve, run.results, report.order.dut, ("en",))
    without = chart(
        curve, [r for r in run.results if not r.quantity.startswith("K_")], report.order.dut, ("en",)
    )
    assert with_marks != without


def test_friction_points_carry_the_U_of_their_results(report: model.ReportData) -> None:
    run = report.runs[2]
    curve = run.curves[0]
    found = expanded_uncertainties(curve, "T_NL", run.results)
    assert found == pytest.approx([0.0026] * 10)
    assert expanded_uncertainties(curve, "fit", run.results) is None
    fewer = [r for r in run.results if r.quantity != "T_NL"] + [run.results[0]]
    assert expanded_uncertainties(curve, "T_NL", fewer) is None  # not every point has one


def test_the_strongest_orders_are_labelled() -> None:
    values = np.zeros(500)
    values[[0, 1, 199, 399]] = (20.0, 6.0, 8.0, 3.0)
    values[7] = 0.9  # below 5 % of the largest
    assert strongest(values, 5) == [0, 199, 1, 399]


def test_thinning_keeps_every_extreme() -> None:
    rng = np.random.default_rng(3)
    y = rng.normal(size=40_000)
    y[12_345], y[33_333] = 99.0, -99.0
    text = Text("a", "a")
    thinned = thin(Curve("c", text, text, text, np.arange(40_000.0), {"a": y, "b": -y}))
    assert len(thinned.x) <= MOST_POINTS
    assert (max(thinned.ys["a"]), min(thinned.ys["a"])) == (99.0, -99.0)
    assert set(thinned.x) <= set(range(40_000))
    assert list(thinned.x) == sorted(thinned.x)


def test_short_curves_stay_whole() -> None:
    text = Text("a", "a")
    x = np.linspace(0, 1, 77)
    assert thin(Curve("c", text, text, text, x, {"a": x})).x == tuple(x)


def test_an_index_is_set_low_and_no_sign_is_lost(
    report: model.ReportData, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a label has an index, matplotlib sets all of it in one font, and only logs what that one lacks."""
    run, curve = curves(report)[0]
    label = Text("空载转矩 T_NL", "torque T_NL, N⋅m·rad²")
    for y_unit in ("N·m", "N·m/(r/min)", "rad"):
        named = dataclasses.replace(curve, y_label=label, y_unit=y_unit, y_display="")
        assert b"<svg" in chart(named, run.results, report.order.dut, ("zh", "en"))
    assert "glyph" not in caplog.text
    assert set_low("torque T_NL / N") == r"torque T$_{\mathrm{NL}}$ / N"
    assert set_low("angle θ₂ / °") == "angle θ₂ / °"
