"""Benches in Gazebo. Where its packages cannot be had, every test here says "not run", and none of them has passed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from test_protocols import get
from verification_platform.bench.description import BenchDescription, BenchError, load_bench
from verification_platform.bench.dut import Order
from verification_platform.bench.gazebo import find_gazebo, gazebo_bodies
from verification_platform.bench.plant import plant_parameters
from verification_platform.bench.plant.bodies_datagram import DatagramBodies
from verification_platform.engine.run_folder import RunFolder

from ..loading import load_script

ROOT = Path(__file__).resolve().parents[2]

Start = Callable[..., DatagramBodies]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gazebo: needs a Gazebo server (`make gazebo`)")
    config.addinivalue_line("markers", "rate: measures how fast something is, so nothing else should run")


@pytest.fixture(autouse=True)
def installed(request: pytest.FixtureRequest) -> None:
    """Only tests with the mark need a server."""
    if request.node.get_closest_marker("gazebo") is None:
        return
    try:
        find_gazebo()
    except BenchError as error:
        pytest.skip(f"NOT RUN: {error}")


@pytest.fixture(scope="session")
def bench() -> BenchDescription:
    return load_bench(ROOT / "benches" / "gazebo.toml")


@pytest.fixture(scope="session")
def built_in() -> BenchDescription:
    return load_bench(ROOT / "benches" / "emulated.toml")


@pytest.fixture
def start(bench: BenchDescription, tmp_path: Path) -> Iterator[Start]:
    """Start servers, each in a folder of its own; all are ended with the test."""
    started: list[DatagramBodies] = []

    def begin(described: BenchDescription = bench) -> DatagramBodies:
        folder = tmp_path / f"bodies-{len(started)}"
        started.append(gazebo_bodies(described, plant_parameters(described), folder))
        return started[-1]

    yield begin
    for bodies in started:
        bodies.close()


@pytest.fixture(scope="session")
def freeze(order: Order) -> Callable[..., RunFolder]:
    """A run folder at a path for a protocol with settings, on a bench."""

    def freeze(path: Path, protocol_id: str, bench: BenchDescription, **settings: Any) -> RunFolder:
        protocol = get(protocol_id)
        where = settings.pop("where", {"clock": "virtual", "transport": "local"})
        parameters = protocol.Parameters(**settings)
        return RunFolder.create(path, protocol, parameters, order, bench, seed=1, **where)

    return freeze


@pytest.fixture
def frozen(freeze: Callable[..., RunFolder], tmp_path: Path) -> Callable[..., RunFolder]:
    """A run folder of the test's own, by its name."""
    return lambda name, *arguments, **settings: freeze(tmp_path / name, *arguments, **settings)


@pytest.fixture(scope="session")
def coverage() -> ModuleType:
    return load_script("benchmarks/coverage.py", "coverage_study")
