"""A complete report on an imagined reducer, small enough to typeset in a fraction of a second."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from pathlib import Path

import numpy as np

from reports import model, pdf
from reports.thinning import thin
from verification_platform.bench.description import load_bench
from verification_platform.bench.dut import Order, load_dut
from verification_platform.engine.channels import channel_records
from verification_platform.engine.parameters import ParameterUse
from verification_platform.engine.protocol import (
    Curve,
    Standard,
    Text,
)
from verification_platform.metrology.records import FixtureRecord
from verification_platform.metrology.result import Contribution, LimitType, Result, RunStatus, Verdict
from verification_platform.metrology.units import ARCMIN, ARCSEC, RPM

ROOT = Path(__file__).resolve().parents[2]
START = dt.datetime(2026, 10, 12, 8, 30, tzinfo=dt.UTC)


def result(
    quantity: str,
    value: float,
    u: float,
    unit: str,
    display: str,
    conditions: dict[str, object] | None = None,
    high: float | None = None,
    low: float | None = None,
    verdict: Verdict = Verdict.NONE,
    p: float | None = None,
) -> Result:
    kind = LimitType.MAX if high is not None else LimitType.MIN if low is not None else LimitType.REPORT_ONLY
    budget = (
        Contribution("输出编码器校准 output encoder, certificate", "B", 0.8 * u),
        Contribution("安装偏心 mounting eccentricity", "B", 0.3 * u, 1.0, math.inf, "rectangular"),
        Contribution("同步偏差 sync skew", "B", 1e-6, 0.1 * u / 1e-6, math.inf, "rectangular"),
        Contribution("重复性 repeatability", "A", 0.5 * u, 1.0, 2.0, "t"),
    )
    return Result(
        quantity,
        value,
        unit,
        u,
        14.3,
        2.0,
        2 * u,
        3,
        conditions or {},
        budget,
        kind,
        low,
        high,
        "GUARD_U",
        verdict,
        p,
        display,
    )  # type: ignore[arg-type]


_ORDERS = ((1, 20.0), (200, 8.0), (2, 6.0), (400, 3.0))  # order, amplitude in arcsec


def _transmission_error() -> tuple[list[Result], list[Curve]]:
    results = [
        result(
            "TE_pp",
            (61.4 + 2 * load + direction) * ARCSEC,
            0.72 * ARCSEC,
            "rad",
            "arcsec",
            {"load": load, "direction": direction},
            90 * ARCSEC,
            None,
            Verdict.PASS,
            0.999999999,
        )
        for load in (0.0, 0.5, 1.0)
        for direction in (1, -1)
    ]
    at: dict[str, object] = {"load": 0.0, "direction": 1}
    results.append(result("TE_rms", 15.23 * ARCSEC, 0.2 * ARCSEC, "rad", "arcsec", at))
    results += [result(f"A_{q}", a * ARCSEC, 0.16 * ARCSEC, "rad", "arcsec", at) for q, a in _ORDERS]
    return results, [_error_curve(), _orders_curve()]


def _error_curve() -> Curve:
    theta = np.linspace(0, 2 * math.pi, 36000, endpoint=False)
    e = (
        20 * np.sin(theta + 0.3) + 6 * np.sin(2 * theta) + 8 * np.sin(200 * theta) + 3 * np.sin(400 * theta)
    ) * ARCSEC
    return Curve(
        "transmission_error",
        Text("传动误差", "Transmission error over the output angle"),
        Text("输出角 θ₂", "output angle"),
        Text("传动误差", "transmission error"),
        theta,
        {"forward": e, "reverse": e + 2 * ARCSEC * np.cos(theta)},
        "rad",
        "rad",
        "deg",
        "arcsec",
    )


def _orders_curve() -> Curve:
    orders = np.arange(1, 420, dtype=float)
    amplitude = np.abs(np.random.default_rng(1).normal(0, 0.04, orders.size))
    for q, a in _ORDERS:
        amplitude[q - 1] = a
    return Curve(
        "orders",
        Text("传动误差阶次谱", "Orders of the transmission error"),
        Text("每输出转阶次", "order per output revolution"),
        Text("幅值", "amplitude"),
        orders,
        {"forward": amplitude * ARCSEC},
        "1",
        "rad",
        "",
        "arcsec",
        "stem",
    )


def _hysteresis() -> tuple[list[Result], list[Curve]]:
    T = np.linspace(-100, 100, 1201)
    k1, k2, k3 = 3.1e4, 5.0e4, 5.7e4
    a = np.abs(T)
    mid = np.sign(T) * (np.minimum(a, 14) / k1 + np.clip(a - 14, 0, 34) / k2 + np.clip(a - 48, 0, None) / k3)
    w = 0.6 * ARCMIN * (1 - (T / 100) ** 2)
    results = [
        result(
            "LM_mid",
            0.446 * ARCMIN,
            0.011 * ARCMIN,
            "rad",
            "arcmin",
            {"p": 0.03, "definition": "midline"},
            1.0 * ARCMIN,
            None,
            Verdict.PASS,
            0.99999999,
        ),
        result("LM_outer", 1.045 * ARCMIN, 0.015 * ARCMIN, "rad", "arcmin", {"p": 0.03}),
        result(
            "BL_0",
            0.61 * ARCMIN,
            0.012 * ARCMIN,
            "rad",
            "arcmin",
            {},
            0.62 * ARCMIN,
            None,
            Verdict.CONDITIONAL_PASS,
            0.797,
        ),
        result("K_1", k1, 210.0, "N·m/rad", "N·m/rad", {}, None, 2.5e4, Verdict.PASS, 1.0),
        result("K_2", k2, 300.0, "N·m/rad", "N·m/rad"),
        result("K_3", k3, 320.0, "N·m/rad", "N·m/rad"),
        result("W", 0.0156, 0.0004, "J", "J"),
    ]
    curve = Curve(
        "hysteresis",
        Text("滞回曲线", "Hysteresis loop with stiffness sections"),
        Text("输出转矩 T₂", "output torque"),
        Text("扭转角 φ", "torsion angle"),
        T,
        {"up": mid - w / 2, "down": mid + w / 2, "midline": mid},
        "N·m",
        "rad",
        "N·m",
        "arcmin",
        "loop",
    )
    return results, [curve]


def _friction() -> tuple[list[Result], list[Curve]]:
    n = np.array([100, 250, 500, 750, 1000, 1500, 2000, 2500, 3000, 3500.0]) * RPM
    T = 0.061 + 1.9e-4 * n
    results = [
        result(
            "T_NL",
            float(t),
            0.0013,
            "N·m",
            "mN·m",
            {"input_speed": float(x)},
            0.16 if abs(x - 2000 * RPM) < 1 else None,
            None,
            Verdict.PASS if abs(x - 2000 * RPM) < 1 else Verdict.NONE,
            0.9999999,
        )
        for x, t in zip(n, T, strict=True)
    ]
    results += [
        result("T_C", 0.061, 0.001, "N·m", "mN·m"),
        result("T_v", 1.9e-4, 3e-6, "N·m·s/rad", "N·m·s/rad"),
    ]
    curve = Curve(
        "friction",
        Text("空载转矩", "No-load running torque over input speed"),
        Text("输入转速", "input speed"),
        Text("空载转矩", "no-load torque"),
        n,
        {"T_NL": T, "fit": 0.061 + 1.9e-4 * n},
        "rad/s",
        "N·m",
        "r/min",
        "mN·m",
    )
    return results, [curve]


def _run(
    number: int, protocol: str, title: Text, standard: Standard, results: list[Result], curves: list[Curve]
) -> model.Run:
    start = START + dt.timedelta(minutes=10 * number)
    files = tuple(
        model.SealedFile(
            f"{name}.mcap", 1_482_311 + number, hashlib.sha256(f"{protocol}{name}".encode()).hexdigest()
        )
        for name in ("can0", "rs485")
    )
    return model.Run(
        id=f"{protocol}-20261012-{number:02d}",
        protocol=protocol,
        protocol_version="1",
        title=title,
        purpose=Text(
            "输出轴实际转角与名义转角之差。", "Deviation of the output from what the ratio demands."
        ),
        standards=(standard,),
        status=RunStatus.VALID,
        started=start,
        ended=start + dt.timedelta(seconds=52.4),
        bench="PB-E1",
        bench_kind="emulated",
        bench_title=Text(
            "减速器与伺服中试台架（线缆仿真）", "Reducer and servo pilot bench (emulated wires)"
        ),
        parameters=(
            ParameterUse("output_speed", "1 r/min", "1 r/min", "P", Text("准静态", "quasi-static")),
            ParameterUse("repeats", "1", "3", "P", Text("重复性", "repeatability")),
            ParameterUse("loads", "0, 0.5, 1", "0, 0.5, 1", "P", Text("以 T_N 的比例计", "fractions of T_N")),
        ),
        settings={"output_speed": 0.10471975511965978, "repeats": 1, "loads": [0.0, 0.5, 1.0]},
        results=tuple(results),
        curves=tuple(thin(c) for c in curves),
        channels=tuple(channel_records(load_bench(ROOT / "benches" / "emulated.toml")).values()),
        fixture=FixtureRecord(1e-6, 2e-7, 5e-4, 0.0, 5e-4, 2e-6, 0.5 * ARCSEC),
        environment=(
            model.Environment("ambient_temperature", "K", 296.1, 296.2, 296.3),
            model.Environment("housing_temperature", "K", 297.0, 298.1, 299.2),
        ),
        findings=(),
        deviations=(
            Text("试验前未按规定温度稳定 4 h。", "The item was not soaked for 4 h before the test."),
        ),
        continuity=model.Continuity(26150, 0, 0),
        seal=model.Seal(hashlib.sha256(protocol.encode()).hexdigest(), files),
        software=model.Software("pilotbench", "0.1.0", "0123456789abcdef0123456789abcdef01234567"),
        transport="ros",
    )


def example() -> model.ReportData:
    """Three runs of one order, with charts of every kind."""
    order: Order = load_dut(ROOT / "duts" / "harmonic-25-100.toml")
    runs = (
        _run(
            0,
            "RED-TE",
            Text("角度传动误差", "Angular transmission error"),
            Standard("GB/T 35089-2018", "8", "C"),
            *_transmission_error(),
        ),
        _run(
            1,
            "RED-HYS",
            Text("滞回、空程与扭转刚度", "Hysteresis, lost motion and stiffness"),
            Standard("GB/T 35089-2018", "8", "C"),
            *_hysteresis(),
        ),
        _run(
            2,
            "RED-NL",
            Text("空载运行转矩", "No-load running torque"),
            Standard("GB/T 35089-2018", "7", "C"),
            *_friction(),
        ),
    )
    data = model.ReportData(
        "DRAFT-20261012-3F2A91C0",
        ("zh", "en"),
        model.Lab(),
        model.Customer(),
        model.Item(),
        order,
        runs,
        pdf.typesetting(model.Software("pilotbench", "0.1.0", "0123456789abcdef")),
    )
    return model.from_json(model.to_json(data))
