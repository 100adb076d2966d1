"""Gazebo's bodies beside the built-in ones: the same scheme, the same steps, and a server that nobody else has."""

from __future__ import annotations

import math
import os
import random
import select
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from verification_platform.bench.description import BenchDescription, BenchError
from verification_platform.bench.gazebo import gazebo_bodies
from verification_platform.bench.gazebo.installation import package_share
from verification_platform.bench.plant import BodiesLost, RotorAndFlange, plant_parameters
from verification_platform.bench.plant.bodies_datagram import DatagramBodies

pytestmark = [pytest.mark.gazebo, pytest.mark.timeout(180)]

Start = Callable[..., DatagramBodies]
STEP_S, ROTOR, FLANGE = 0.5e-3, 3.0e-4, 6.0e-3
#: The rate that this test refuses, on any machine; `test_the_rate` prints what it was.
LEAST_RATE = 1000


@pytest.fixture
def built_in() -> RotorAndFlange:
    return RotorAndFlange(ROTOR, FLANGE, STEP_S)


def efforts(t_s: float, noise: random.Random) -> tuple[float, float]:
    """Motor torque with a ripple and steps, against a load torque that swings through zero."""
    motor = 0.4 * math.sin(2 * math.pi * 3.0 * t_s) + (0.15 if t_s > 1.0 else 0.0) + noise.gauss(0.0, 0.05)
    load = -8.0 * math.sin(2 * math.pi * 0.7 * t_s) + (5.0 if 2.0 < t_s < 3.0 else -1.0)
    return motor, load


def relative(found: tuple[float, ...], true: tuple[float, ...], scale: float) -> float:
    return max(abs(a - b) / max(abs(b), scale) for a, b in zip(found, true, strict=True))


def test_five_seconds_of_efforts_with_load_torque(start: Start, built_in: RotorAndFlange) -> None:
    """DART integrates speeds, then angles with the new speeds (semi-implicit Euler), as the built-in bodies do."""
    gazebo, noise, worst = start(), random.Random(5), 0.0
    for step in range(10_000):
        now = efforts(step * STEP_S, noise)
        t_s, q, qd = gazebo.step(now)
        true_t_s, true_q, true_qd = built_in.step(now)
        assert t_s == true_t_s
        worst = max(worst, relative(q, true_q, 1e-6), relative(qd, true_qd, 1e-6))
    assert t_s == 5.0
    assert abs(true_q[0]) > 100
    assert worst <= 1e-9


def test_a_constant_torque_against_the_analytic_solution(start: Start) -> None:
    """q(t) = ½·a·t² and the first-order term of the scheme, ½·a·t·Δt; without it the error at 2 s is 0.025 %."""
    torque, n = 0.012, 4000
    t_s, (angle, _), (speed, _) = start().step((torque, 0.0), n)
    a = torque / ROTOR
    assert speed == pytest.approx(a * t_s, rel=1e-11)
    assert angle - a * t_s**2 / 2 == pytest.approx(a * t_s * STEP_S / 2, rel=1e-6)


def test_two_servers_give_the_same_bits(
    start: Start, bench: BenchDescription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Side by side, each with ports of its own, stepped alternately; one in a folder named as from here, like `runs/…`."""
    monkeypatch.chdir(tmp_path)
    first = start()
    with closing(gazebo_bodies(bench, plant_parameters(bench), Path("from-here"))) as second:
        step_alternately(first, second)


def step_alternately(first: DatagramBodies, second: DatagramBodies) -> None:
    noise_1, noise_2 = random.Random(7), random.Random(7)
    for step in range(1000):
        assert first.step(efforts(step * STEP_S, noise_1)) == second.step(efforts(step * STEP_S, noise_2))


def test_reset_and_multi_step_give_the_same_bits(start: Start) -> None:
    bodies = start()
    at_once = bodies.step((0.1, -2.0), 400)
    bodies.reset()
    assert bodies.step((0.0, 0.0), 0) == (0.0, (0.0, 0.0), (0.0, 0.0))
    for _ in range(400):
        single = bodies.step((0.1, -2.0))
    assert single == at_once


@pytest.mark.rate
def test_the_rate(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    """Lock-step, one datagram a step. 5000 a second is the bar of a quiet machine; this one may be a busy one."""
    bodies, best = start(), 0.0
    for _ in range(3):
        begun_s = time.perf_counter()
        for _ in range(5000):
            bodies.step((0.01, 0.01))
        best = max(best, 5000 / (time.perf_counter() - begun_s))
    with capsys.disabled():
        sys.stdout.write(
            f"\nlock-step through the datagram: {best:.0f} steps/s (load average {os.getloadavg()[0]:.1f})\n"
        )
    assert best > LEAST_RATE


@pytest.mark.flaky(reruns=2)
@pytest.mark.faults
@pytest.mark.parametrize(
    ("number", "said"), [(signal.SIGSTOP, "has not answered"), (signal.SIGKILL, r"was killed \(SIGKILL\)")]
)
def test_a_server_that_is_stopped_or_killed_is_noticed_within_a_second(
    start: Start, number: signal.Signals, said: str, tmp_path: Path
) -> None:
    bodies = start()
    bodies.step((0.1, 0.1), 100)
    pid = server_pid(tmp_path / "bodies-0")
    os.kill(pid, number)
    time.sleep(0.05)  # until the signal has reached all of its threads
    begun_s = time.monotonic()
    with pytest.raises(BodiesLost, match=said):
        bodies.step((0.1, 0.1))
    assert time.monotonic() - begun_s < 1.0
    bodies.close()
    assert not Path(f"/proc/{pid}").exists()


def server_pid(folder: Path) -> int:
    return int((folder / "server.pid").read_text())


_OWNER = """
import sys, time
from pathlib import Path
from verification_platform.bench.bodies import make_bodies
from verification_platform.bench.description import load_bench
bodies = make_bodies(load_bench(Path(sys.argv[1])), Path(sys.argv[2]))
bodies.step((0.1, 0.1), 10)
print("up", flush=True)
time.sleep(60)
"""


@pytest.mark.faults
def test_killing_whoever_started_it_leaves_no_server(tmp_path: Path) -> None:
    bench = Path(__file__).resolve().parents[2] / "benches" / "gazebo.toml"
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(bench), str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        descriptor = os.pidfd_open(server_pid(tmp_path))
        owner.kill()
    gone = select.select([descriptor], [], [], 5.0)[0]
    os.close(descriptor)
    assert gone, "the server outlived its owner by 5 s"


# ------------------------------------------------------------------------------------------------ identification


def with_model(
    bench: BenchDescription, folder: Path, change: Callable[[ET.Element], None], **table: Any
) -> BenchDescription:
    """The bench with a changed copy of its model."""
    tree = ET.parse(package_share() / "models" / "pilot_bench" / "model.sdf")
    root = tree.getroot()
    assert root is not None
    change(root)
    tree.write(folder / "changed.sdf")
    bodies = bench.bodies.model_copy(update={"model": folder / "changed.sdf", **table})
    return bench.model_copy(update={"bodies": bodies})


def set_text(root: ET.Element, path: str, text: str) -> None:
    element = root.find(path)
    assert element is not None
    element.text = text


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("./model/joint[@name='rotor_joint']/axis/dynamics/damping", "0.05", "rotor_joint turns with"),
        ("./model/joint[@name='rotor_joint']/parent", "output_shaft", "rotor_joint turns with 0.000285714"),
        ("./model/joint[@name='rotor_joint']/axis/xyz", "1 1 0", "must turn about x, y or z"),
        ("./model/joint[@name='flange_joint']/axis/xyz", "-1 0 0", ""),
    ],
    ids=["damped", "one on the other", "askew", "turned about"],
)
def test_a_model_that_is_not_the_bench_described_is_refused(
    start: Start, bench: BenchDescription, tmp_path: Path, path: str, text: str, said: str
) -> None:
    changed = with_model(bench, tmp_path, lambda root: set_text(root, path, text))
    if not said:  # the sign of an axis is the model's own business
        start(changed)
        return
    with pytest.raises(BenchError, match=said):
        start(changed)


def test_inertias_and_step_come_from_the_description(start: Start, bench: BenchDescription) -> None:
    plant = {**bench.plant, "rotor_inertia": 4.5e-4, "flange_inertia": 1.25e-2, "step": 0.25e-3}
    heavier = bench.model_copy(update={"plant": plant})
    parameters = plant_parameters(heavier)
    assert parameters.step == 0.25e-3
    found = start(heavier).step((0.2, 1.5), 100)
    assert found[2] == pytest.approx(
        RotorAndFlange(4.5e-4, 1.25e-2, 0.25e-3).step((0.2, 1.5), 100)[2], rel=1e-12
    )
