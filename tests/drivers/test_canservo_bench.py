"""The bench description with one servo of each dialect can be planned."""

from __future__ import annotations

from pathlib import Path

from drivers.families import models
from verification_platform.bench.description import load_bench
from verification_platform.bench.devices import check_devices, resolutions


def test_the_bench_with_one_of_each_is_in_order() -> None:
    bench = load_bench(Path(__file__).parents[2] / "benches" / "canservo.toml")
    check_devices(bench)
    assert all(digit > 0 for digit in resolutions(bench).values())
    assert {models()[d.model].name for d in bench.device.values()} == {"canservo"}
