"""What there is to do, and what a test of it is marked with."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from test_protocols import get
from verification_platform.bench.description import load_bench
from verification_platform.bench.dut import load_dut
from verification_platform.engine.evaluation import evaluate_recording
from verification_platform.engine.results import result_to_json, to_text
from verification_platform.records.mapper import Mapper
from verification_platform.records.reader import open_recording
from verification_platform.records.recording import Segment
from verification_platform.records.spread import GRID_ROWS

ROOT = Path(__file__).parents[3]
BENCH = load_bench(ROOT / "benches" / "emulated.toml")
ORDER = load_dut(ROOT / "duts" / "harmonic-25-100.toml")
ANGLES = ("input_angle", "output_angle")
TURN = 2 * math.pi
ORDERS = (1, 2, 200, 400)
LONG_ROWS = 2 * GRID_ROWS + 300_001
SHORT, SHORT_ROWS = 12, 40_000
#: What distributed itself warns of on a busy computer, and of what a killed worker leaves behind.
MARKS = [
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*(distributed|Dask|tornado|worker|nanny).*"),
]


def rotation(first: int, n: int, per_turn: int) -> np.ndarray:
    """Rows [first, first + n) of a reducer turning with its transmission error, read by single-turn encoders."""
    rng = np.random.default_rng(first)
    theta1 = TURN * 100 * np.arange(first, first + n) / per_turn
    theta2 = -theta1 / 100
    theta2 = theta2 + sum(
        a * np.sin(q * theta2 + q) for q, a in zip(ORDERS, (2e-4, 5e-5, 3e-5, 1e-5), strict=True)
    )
    both = np.column_stack((theta1, theta2)) + rng.normal(0, 2e-6, (n, 2))
    return np.mod(both, TURN)


def the_long(recording: Any) -> Segment:
    return next(iter(recording.segments()))


def long_text(recording: Path, mapper: Mapper) -> str:
    """RED-TE of the synthetic recording; its first segment is long enough for several chunks."""
    protocol = get("RED-TE")
    found = evaluate_recording(
        protocol, open_recording(recording), protocol.Parameters(), ORDER, mapper=mapper
    )
    assert found.status == "VALID", found.findings
    assert len(found.results) >= 5 * 6
    return to_text([result_to_json(r) for r in found.results])
