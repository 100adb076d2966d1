"""The datagram, both ends of it: Python against the header that the plug-ins are built with, without a simulator."""

from __future__ import annotations

import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from verification_platform.bench.plant import BodiesLost, RotorAndFlange
from verification_platform.bench.plant.bodies_datagram import ADDRESS_VARIABLE, DatagramBodies, Meeting

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "ros_ws" / "src" / "pilotbench_gazebo" / "src"


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The header, built into a program, with every warning an error."""
    program = tmp_path_factory.mktemp("peer") / "peer"
    command = ["g++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pthread"]
    subprocess.run([*command, f"-I{SOURCES}", str(HERE / "lockstep_peer.cc"), "-o", str(program)], check=True)
    return program


class Process:
    """An `Engine` whose account of itself a test may change."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.starved = False

    def how_it_ended(self) -> str:
        code = self.process.poll()
        return "" if code is None else f"the peer ended ({code})"

    def processor_s(self) -> float:
        return 0.0

    def wants_processor(self) -> bool:
        return self.starved

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Lossy(threading.Thread):
    """Stands between plant and peer, and forwards, drops or doubles datagrams; `plan` decides by their number."""

    def __init__(self, plant_port: int, plan: Callable[[int], int]) -> None:
        super().__init__(daemon=True)
        self.plant, self.peer = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self.plant.connect(("127.0.0.1", plant_port))
        self.peer.bind(("127.0.0.1", 0))
        self.port, self._plan, self._peer_at, self.dropped = self.peer.getsockname()[1], plan, None, 0

    def run(self) -> None:
        number = 0
        while True:
            for ready in select.select([self.plant, self.peer], [], [])[0]:
                try:
                    data, sender = ready.recvfrom(1024)
                except OSError:
                    return
                if not data or len(data) < 24:
                    return
                if ready is self.peer:
                    self._peer_at = sender
                number += 1
                copies = self._plan(number)
                self.dropped += copies == 0
                for _ in range(copies):
                    if ready is self.peer:
                        self.plant.send(data)
                    elif self._peer_at is not None:
                        self.peer.sendto(data, self._peer_at)

    def stop(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"end", ("127.0.0.1", self.port))
        self.join()
        self.plant.close()
        self.peer.close()


Connect = Callable[..., tuple[DatagramBodies, Process]]


@pytest.fixture
def connect(peer: Path) -> Iterator[Connect]:
    made: list[DatagramBodies] = []
    between: list[Lossy] = []

    def start(plan: Callable[[int], int] | None = None) -> tuple[DatagramBodies, Process]:
        with Meeting(2) as meeting:
            address = meeting.address
            if plan is not None:
                host, port, session = address.split(":")
                between.append(Lossy(int(port), plan))
                between[-1].start()
                address = f"{host}:{between[-1].port}:{session}"
            engine = Process(subprocess.Popen([peer], env={**os.environ, ADDRESS_VARIABLE: address}))
            made.append(meeting.meet(engine, 10.0))
        return made[-1], engine

    yield start
    for bodies in made:
        bodies.close()
    for lossy in between:
        lossy.stop()


def profile(bodies: DatagramBodies | RotorAndFlange, steps: int, seed: int = 1) -> list[object]:
    torque = random.Random(seed)
    return [bodies.step((torque.gauss(0.1, 0.5), torque.gauss(1.0, 20.0))) for _ in range(steps)]


def test_both_ends_agree_to_the_last_bit(connect: Connect) -> None:
    bodies, _ = connect()
    assert bodies.step_s == 0.0005
    assert profile(bodies, 2000) == profile(RotorAndFlange(3e-4, 6e-3, 0.0005), 2000)


def test_many_steps_in_one_datagram_are_the_same_as_one_at_a_time(connect: Connect) -> None:
    bodies, _ = connect()
    at_once = bodies.step((0.2, -3.0), 500)
    bodies.reset()
    single = [bodies.step((0.2, -3.0)) for _ in range(500)]
    assert at_once == single[-1]
    assert at_once[0] == 0.25


def test_no_step_only_asks_where_they_are(connect: Connect) -> None:
    bodies, _ = connect()
    before = bodies.step((0.2, -3.0), 10)
    assert bodies.step((9.0, 9.0), 0) == before


def test_reset_starts_the_same_again(connect: Connect) -> None:
    bodies, _ = connect()
    first = profile(bodies, 300)
    bodies.reset()
    assert profile(bodies, 300) == first


def test_lost_and_doubled_datagrams_cost_time_only(connect: Connect) -> None:
    """Every 7th is lost and every 5th comes twice, requests and replies alike."""
    bodies, _ = connect(lambda number: 0 if number % 7 == 0 and number > 3 else 2 if number % 5 == 0 else 1)
    assert profile(bodies, 60) == profile(RotorAndFlange(3e-4, 6e-3, 0.0005), 60)


def test_a_peer_that_stands_still_is_given_up_within_a_second(connect: Connect) -> None:
    bodies, engine = connect()
    bodies.step((0.0, 0.0))
    engine.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, engine.process.pid, os.WSTOPPED | os.WNOWAIT)
    begun_s = time.monotonic()
    with pytest.raises(BodiesLost, match="has not answered"):
        profile(bodies, 10)
    assert time.monotonic() - begun_s < 1.0


def test_a_peer_without_a_processor_is_waited_for(connect: Connect) -> None:
    bodies, engine = connect()
    engine.starved = True
    engine.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, engine.process.pid, os.WSTOPPED | os.WNOWAIT)
    threading.Timer(1.5, engine.process.send_signal, (signal.SIGCONT,)).start()
    begun_s = time.monotonic()
    assert bodies.step((0.1, 0.1)) == RotorAndFlange(3e-4, 6e-3, 0.0005).step((0.1, 0.1))
    assert time.monotonic() - begun_s > 1.4


def test_a_killed_peer_is_noticed_at_once(connect: Connect) -> None:
    bodies, engine = connect()
    bodies.step((0.0, 0.0))
    engine.process.kill()
    engine.process.wait()
    begun_s = time.monotonic()
    with pytest.raises(BodiesLost, match=r"the peer ended \(-9\)"):
        profile(bodies, 10)
    assert time.monotonic() - begun_s < 0.5


def test_the_peer_ends_when_the_plant_is_gone(connect: Connect) -> None:
    """As when the emulator is killed: its port is closed, and nobody said good-bye."""
    bodies, engine = connect()
    bodies.step((0.0, 0.0))
    bodies._socket.close()
    assert engine.process.wait(10.0) in (0, -signal.SIGINT)


def test_a_peer_that_ends_before_it_announces_itself_says_so() -> None:
    with pytest.raises(BodiesLost, match=r"ended \(1\)"), Meeting(2) as meeting:
        meeting.meet(Process(subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"])), 10.0)


def test_a_stranger_is_not_listened_to() -> None:
    """Another session's number, or another kind of datagram, is not an announcement."""
    with Meeting(2) as meeting, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        host, port, _ = meeting.address.split(":")
        stranger.sendto(b"PGB1" + bytes(76), (host, int(port)))
        with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(9)"]) as process:
            with pytest.raises(BodiesLost, match="did not announce"):
                meeting.meet(Process(process), 0.3)
            process.kill()
        meeting.close()


def test_an_address_that_is_none_is_refused_in_one_line(peer: Path) -> None:
    done = subprocess.run(
        [peer], env={**os.environ, ADDRESS_VARIABLE: "nowhere"}, capture_output=True, check=False
    )
    assert done.returncode != 0
    assert b"ADDRESS:PORT:SESSION" in done.stderr
