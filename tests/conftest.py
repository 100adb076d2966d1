"""The bench and the component that most tests are about."""

from __future__ import annotations

from pathlib import Path

import pytest

from verification_platform.bench.description import BenchDescription, load_bench
from verification_platform.bench.dut import Order, load_dut

_ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def bench() -> BenchDescription:
    """The emulated bench."""
    return load_bench(_ROOT / "benches" / "emulated.toml")


@pytest.fixture(scope="session")
def order() -> Order:
    """A harmonic reducer, with its limits."""
    return load_dut(_ROOT / "duts" / "harmonic-25-100.toml")
