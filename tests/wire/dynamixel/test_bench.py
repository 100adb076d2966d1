"""The example bench of smart servos, as a technician would check it."""

from __future__ import annotations

from pathlib import Path

from verification_platform.bench.check import check_bus
from verification_platform.bench.description import load_bench
from verification_platform.bench.devices import check_devices, resolutions
from verification_platform.bench.wires import connected

ROOT = Path(__file__).parents[3]
BENCH, DUT = ROOT / "benches" / "dynamixel.toml", ROOT / "duts" / "harmonic-25-100.toml"


def test_the_example_bench_is_fit_for_work() -> None:
    bench = load_bench(BENCH)
    check_devices(bench)
    assert all(digit > 0 for digit in resolutions(bench).values())
    with connected(bench, BENCH, DUT) as wired:
        findings = [finding for bus in wired.bus for finding in check_bus(wired, bus)]
    items = {finding.item: finding for finding in findings}
    for device in bench.device:
        assert items[f"device {device}"].ok
        assert "under its own watchdog (120 ms)" in items[f"device {device}"].seen
    assert all(items[f"channel {channel}"].ok for channel in bench.channel)
