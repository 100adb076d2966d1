"""The whole graph above Gazebo: the same nodes, drivers and bytes.

Runs with nothing beside it (`make gazebo`): the graph keeps more than one processor busy, in real-time priority.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import ModuleType

import pytest

from test_protocols import get
from verification_platform.bench.description import BenchDescription
from verification_platform.bench.dut import Order
from verification_platform.bench.plant import make_plant
from verification_platform.engine.evaluation import evaluate_run
from verification_platform.engine.run_folder import RunFolder
from verification_platform.metrology.result import RunStatus
from verification_platform.records.reader import open_recording
from verification_platform.ros import Graph

from .protocol_runs import ROS, RUNS, misses, stamps_off

pytestmark = [pytest.mark.gazebo, pytest.mark.ros, pytest.mark.timeout(1200)]

#: Drives latch when SYNC was sent. One row of a run's four hundred may be late by half a clock's slack.
STAMPS_WITHIN_S = 10e-6


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[BenchDescription, Order], Graph]]:
    """One graph for all runs that end well."""
    with ExitStack() as stack:
        graphs: list[Graph] = []

        def graph(bench: BenchDescription, order: Order) -> Graph:
            if not graphs:
                graphs.append(
                    stack.enter_context(Graph(bench, order, tmp_path_factory.mktemp("graph"), seed=1))
                )
            return graphs[0]

        yield graph


@pytest.mark.parametrize("protocol_id", list(RUNS))
def test_through_ros_it_recovers_the_truth(
    protocol_id: str,
    shared: Callable[[BenchDescription, Order], Graph],
    bench: BenchDescription,
    built_in: BenchDescription,
    order: Order,
    frozen: Callable[..., RunFolder],
    coverage: ModuleType,
) -> None:
    """Against the same plant on its built-in bodies: U covers what differs, noise and where in a cycle something happens.

    Both are others in every run, and U is for 95 %: were it exact, one of a run's dozen or two of values would be expected outside.
    Many a U holds a bound and is wider: of the 288 values of 16 runs of SRV-STEP none was outside. So fewer than one in a hundred are
    (at 95 %), by which one or more in a run are no rarity (up to 17 %) but two are (1.5 %): one may lie outside, and not by far. On
    virtual time (test_runs.py) none may.
    """
    folder = frozen("run", protocol_id, bench, where=ROS, **RUNS[protocol_id])
    outcome = shared(bench, order).run(folder.path)
    assert (outcome.status, outcome.reason) == (RunStatus.VALID, "")
    evaluated = evaluate_run(folder.path, get)
    assert evaluated.status is RunStatus.VALID, evaluated.findings
    results, truth = list(evaluated.results), make_plant(built_in, order, 1).truth
    outside = misses(results, truth, coverage)
    assert len(outside) <= 1, outside
    assert misses(results, truth, coverage, times=2.0) == []
    if protocol_id == "SRV-STEP":
        assert stamps_off(open_recording(folder.path)) < STAMPS_WITHIN_S
