"""Does U hold what it says? Seeded repetitions of the demo's runs on virtual time, every result against the plant's truth.

Each seed is another set of instruments, drawn within their calibration uncertainty. Over many seeds the stated
interval value ± U (k = 2) should contain the true value in about 95 % of them: less means an uncertainty that is
too small, always 100 % with a large margin one that is inflated.

    python benchmarks/coverage.py [SEEDS]

With the folder of a demo instead, its results are held against the truth of its own bench, one line each:

    python benchmarks/coverage.py runs/demo-20261124-021345
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

from test_protocols import PROTOCOLS
from verification_platform.bench.description import load_bench
from verification_platform.bench.dut import load_dut
from verification_platform.bench.plant import Truth, make_plant
from verification_platform.engine.evaluation import evaluate_run
from verification_platform.engine.local import run_local
from verification_platform.engine.results import load_results
from verification_platform.engine.run_folder import RunFolder
from verification_platform.metrology.result import Result, RunStatus

ROOT = Path(__file__).resolve().parents[1]


def true_value(result: Result, truth: Truth) -> float | None:
    """What the plant really is, for a result that the plant knows the answer to."""
    quantity, at = result.quantity, result.conditions
    if quantity in ("TE_pp", "TE_rms", "BL_0", "K_1", "K_2", "K_3", "K_ba", "W"):
        return float(getattr(truth, quantity))
    if quantity in ("LM_mid", "LM_outer", "LM_HD"):
        return float(getattr(truth, quantity)(float(at["p"])))
    if quantity in ("phi_max", "phi_min"):
        return truth.phi_m(math.copysign(truth.T_N, 1 if quantity == "phi_max" else -1))
    if quantity.startswith("A_") and truth.A(float(quantity[2:])) > 0:
        return truth.A(float(quantity[2:]))
    if quantity == "T_NL":
        return truth.T_NL(float(at["speed"]), float(at["housing_temperature"]))
    return {"T_C": truth.friction_coulomb, "T_v": truth.friction_viscous}.get(quantity)


def label(result: Result) -> str:
    """Results that are compared with each other: one quantity at one condition."""
    shown = {key: result.conditions[key] for key in ("direction", "side") if key in result.conditions}
    if result.quantity == "T_NL":
        shown["r/min"] = round(float(result.conditions["speed"]) * 30 / math.pi)
    return " ".join([result.quantity, *(f"{key} {value}" for key, value in shown.items())])


def measure(seed: int, demo: dict[str, object], folder: Path) -> Iterator[tuple[Result, float]]:
    """Run the demo's protocols with the instruments of `seed`; every result with its true value."""
    base = ROOT / "examples" / "demo"
    bench, order = (
        load_bench((base / str(demo["bench"])).resolve()),
        load_dut((base / str(demo["dut"])).resolve()),
    )
    truth = make_plant(bench, order, seed).truth
    runs = demo["run"]
    assert isinstance(runs, list)
    for run in runs:
        protocol = PROTOCOLS[run["protocol"]]
        parameters = protocol.Parameters(**run.get("set", {}))
        path = folder / f"{seed}-{protocol.id}"
        frozen = RunFolder.create(
            path, protocol, parameters, order, bench, seed=seed, clock="virtual", transport="local"
        )
        outcome = run_local(frozen, protocol)
        evaluated = evaluate_run(path, PROTOCOLS.__getitem__)
        if evaluated.status is not RunStatus.VALID:
            lines = [outcome.reason, *(text.en for text in evaluated.findings)]
            raise SystemExit(f"seed {seed}, {protocol.id}: {evaluated.status}: {'; '.join(lines)}")
        for result in evaluated.results:
            true = true_value(result, truth)
            if true is not None:
                yield result, true


def compare(folder: Path) -> None:
    """Results of runs that were made on an emulated bench, through whatever wires, against its plant."""
    missed = 0
    for path in sorted(folder.glob("*/run.json")):
        run = RunFolder.load(path.parent)
        seed = run.seed if run.seed is not None else int(run.bench.plant.get("seed", 0))
        truth = make_plant(run.bench, run.order, seed).truth
        for result in load_results(run.results):
            true = true_value(result, truth)
            if true is None:
                continue
            ratio = (result.value - true) / result.U
            missed += abs(ratio) > 1
            print(
                f"{label(result):28} value {result.value:12.6g}  true {true:12.6g}  U {result.U:10.3g} "
                f"({result.U / abs(true):6.2%})  error/U {ratio:6.2f}{'' if abs(ratio) <= 1 else '  outside'}"
            )
    print(f"{missed} outside their U")


def main(seeds: int = 20) -> None:
    demo = tomllib.loads((ROOT / "examples" / "demo" / "order.toml").read_text(encoding="utf-8"))
    found: dict[str, list[tuple[Result, float]]] = {}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(1, seeds + 1):
            for result, true in measure(seed, demo, Path(folder)):
                found.setdefault(label(result), []).append((result, true))
    print(f"{seeds} seeds in {time.monotonic() - started:.0f} s")
    print(
        f"{'quantity':24} {'n':>3} {'coverage':>9} {'U/value':>8} {'mean error/U':>13} {'worst error/U':>14}"
    )
    hits = total = 0
    for name, pairs in found.items():
        ratios = [(result.value - true) / result.U for result, true in pairs]
        inside = sum(abs(ratio) <= 1 for ratio in ratios)
        hits, total = hits + inside, total + len(ratios)
        relative = sum(result.U / abs(true) for result, true in pairs) / len(pairs)
        mean, worst = sum(ratios) / len(ratios), max(ratios, key=abs)
        print(
            f"{name:24} {len(pairs):3} {inside / len(pairs):9.0%} {relative:8.2%} {mean:13.2f} {worst:14.2f}"
        )
    print(f"{'all':24} {total:3} {hits / total:9.1%}")


if __name__ == "__main__":
    if sys.argv[1:] and Path(sys.argv[1]).is_dir():
        compare(Path(sys.argv[1]))
    else:
        main(*(int(argument) for argument in sys.argv[1:2]))
