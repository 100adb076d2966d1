"""On the simulated bench every protocol recovers the plant's truth within its own stated uncertainty."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
#: Bars of the demo: U as a fraction of the value.
BARS = {"TE_pp": 0.10, "K_1": 0.03, "K_2": 0.03, "K_3": 0.03}


@pytest.fixture(scope="session")
def demo() -> dict[str, Any]:
    return tomllib.loads((ROOT / "examples" / "demo" / "order.toml").read_text(encoding="utf-8"))


def misses(found: list[tuple[Any, float]], coverage: ModuleType, by: float = 1.0) -> list[str]:
    return [
        f"{coverage.label(r)}: {r.value:.6g} ± {r.U:.2g}, true {t:.6g}"
        for r, t in found
        if abs(r.value - t) > by * r.U
    ]


@pytest.mark.parametrize("number", [0, 1, 2], ids=["RED-TE", "RED-HYS", "RED-NL"])
def test_the_demo_recovers_the_truth(
    coverage: ModuleType, demo: dict[str, Any], number: int, tmp_path: Path
) -> None:
    found = list(coverage.measure(1, {**demo, "run": [demo["run"][number]]}, tmp_path))
    assert len(found) >= 5
    assert misses(found, coverage) == []
    for result, true in found:
        assert BARS.get(result.quantity, float("inf")) * abs(true) >= result.U, result.quantity


def test_the_demo_fits_its_time(coverage: ModuleType, demo: dict[str, Any]) -> None:
    from test_protocols import get
    from verification_platform.bench.description import load_bench
    from verification_platform.bench.dut import load_dut
    from verification_platform.engine.preflight import preflight

    bench, order = (
        load_bench(ROOT / "benches" / "emulated.toml"),
        load_dut(ROOT / "duts" / "harmonic-25-100.toml"),
    )
    limits = {"RED-TE": 75.0, "RED-HYS": 47.0, "RED-NL": 33.0}
    for run in demo["run"]:
        protocol = get(run["protocol"])
        found = preflight(protocol, protocol.Parameters(**run["set"]), order, bench)
        assert found.refusals == ()
        assert found.duration_s <= limits[protocol.id]


def test_static_method_recovers_the_low_orders(coverage: ModuleType, tmp_path: Path) -> None:
    """On a reducer with orders 1 and 2 alone, so that 120 positions are enough."""
    from test_protocols import get
    from verification_platform.bench.description import BenchDescription, load_bench
    from verification_platform.bench.dut import load_dut
    from verification_platform.bench.plant import make_plant
    from verification_platform.engine.evaluation import evaluate_run
    from verification_platform.engine.local import run_local
    from verification_platform.engine.run_folder import RunFolder

    lines = [{"order": q, "amplitude": f"{a} arcsec", "phase": 0.5} for q, a in ((1, 30), (2, 12))]
    described = load_bench(ROOT / "benches" / "emulated.toml")
    bench: BenchDescription = described.model_copy(
        update={"plant": {**described.plant, "transmission_error": lines}}
    )
    order = load_dut(ROOT / "duts" / "harmonic-25-100.toml")
    order = order.model_copy(update={"dut": order.dut.model_copy(update={"orders": (1.0, 2.0)})})
    protocol = get("RED-TE")
    parameters = protocol.Parameters(
        mode="static",
        loads=[0.0],
        repeats=1,
        static_dwell="0.1 s",
        static_average="0.1 s",
        static_speed="600 r/min",
    )
    folder = RunFolder.create(
        tmp_path / "run", protocol, parameters, order, bench, seed=2, clock="virtual", transport="local"
    )
    assert run_local(folder, protocol).segments == 2 * 121
    truth = make_plant(bench, order, 2).truth
    found = [
        (r, t)
        for r in evaluate_run(folder.path, get).results
        if (t := coverage.true_value(r, truth)) is not None
    ]
    assert {r.quantity for r, _ in found} >= {"TE_pp", "TE_rms", "A_1", "A_2"}
    assert misses(found, coverage) == []


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_twenty_seeds_are_covered(coverage: ModuleType, demo: dict[str, Any], tmp_path: Path) -> None:
    hits: dict[str, list[bool]] = {}
    for seed in range(101, 121):
        for result, true in coverage.measure(seed, demo, tmp_path):
            hits.setdefault(coverage.label(result), []).append(abs(result.value - true) <= result.U)
    for name, inside in hits.items():
        assert len(inside) == 20
        assert sum(inside) >= 17, f"{name}: {sum(inside)} of 20"
