"""Protocols on virtual time: Gazebo finds what the plant is, and what the built-in bodies find, and finds it twice."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from test_protocols import get
from verification_platform.bench.description import BenchDescription
from verification_platform.bench.dut import Order
from verification_platform.bench.plant import make_plant
from verification_platform.engine.evaluation import evaluate_run
from verification_platform.engine.local import run_local
from verification_platform.engine.run_folder import RunFolder
from verification_platform.metrology.result import Result, RunStatus
from verification_platform.records.reader import open_recording

from .protocol_runs import RUNS, misses

pytestmark = [pytest.mark.gazebo, pytest.mark.timeout(600)]

Measured = tuple[RunFolder, list[Result]]


def measured(folder: RunFolder) -> Measured:
    outcome = run_local(folder, get(folder.protocol_id))
    assert outcome.status is RunStatus.VALID, outcome.reason
    return folder, list(evaluate_run(folder.path, get).results)


@pytest.fixture(scope="module")
def on_gazebo(
    bench: BenchDescription, freeze: Callable[..., RunFolder], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Measured]:
    """Each protocol's run on Gazebo, made once."""
    folder = tmp_path_factory.mktemp("gazebo")

    @functools.cache
    def run(protocol_id: str) -> Measured:
        return measured(freeze(folder / protocol_id, protocol_id, bench, **RUNS[protocol_id]))

    return run


@pytest.mark.parametrize("protocol_id", list(RUNS))
def test_gazebo_recovers_the_truth_and_equals_the_built_in_plant(
    protocol_id: str,
    on_gazebo: Callable[[str], Measured],
    built_in: BenchDescription,
    order: Order,
    frozen: Callable[..., RunFolder],
    coverage: ModuleType,
) -> None:
    """Both integrate by the same scheme with the same step, so what differs is rounding: 1e-9 of the value or of its U."""
    _, gazebo = on_gazebo(protocol_id)
    assert misses(gazebo, make_plant(built_in, order, 1).truth, coverage) == []
    _, built_in_results = measured(frozen("plain", protocol_id, built_in, **RUNS[protocol_id]))
    for found, plain in zip(gazebo, built_in_results, strict=True):
        assert (found.quantity, found.conditions) == (plain.quantity, plain.conditions)
        assert abs(found.value - plain.value) <= 1e-9 * max(abs(plain.value), plain.U)
        assert abs(found.U - plain.U) <= 1e-6 * plain.U


def test_two_runs_are_the_same_to_the_last_bit(
    on_gazebo: Callable[[str], Measured], bench: BenchDescription, frozen: Callable[..., RunFolder]
) -> None:
    first, _ = on_gazebo("SRV-STEP")
    second, _ = measured(frozen("second", "SRV-STEP", bench, **RUNS["SRV-STEP"]))
    recordings = [open_recording(folder.path) for folder in (first, second)]
    segments = [list(recording.segments()) for recording in recordings]
    assert len(segments[0]) == len(segments[1]) == 8
    for one, other in zip(*segments, strict=True):
        for channels in (("input_angle", "input_speed", "output_angle"), ("input_torque", "output_torque")):
            a, b = one.read(*channels), other.read(*channels)
            assert np.array_equal(a.stamps_s, b.stamps_s)
            assert np.array_equal(a.values, b.values)
            assert a.values.size
