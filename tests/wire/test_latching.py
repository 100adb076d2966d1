"""On a bench whose time may wait, a row's values are of its stamp: emulated devices latch when SYNC was sent.

The plant tells the time, so a position is the instant at which it was latched.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from drivers import clock
from drivers.canopen.encoder import Cia406Encoder
from drivers.canopen.group import CanopenGroup
from drivers.canopen.model import load_model
from drivers.clock import SLACK_S
from drivers.device import Command
from drivers.emulators.host import CanSeatPlan, EmulatorHost
from drivers.family import Column

from .served import serving

MODEL = load_model("cia406_encoder_27bit")
#: Their cycles, s: now and then both send at the same time.
BUSES = {"can0": 0.002, "can1": 0.0031}
ROWS = 300
#: Of a position, and of float64 at the host's time.
EXACTLY_S = 2e-7


class Ticking:
    """A shaft that turns by 1 rad/s from time 0 on."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def advance(self, t_s: float) -> None:
        assert t_s >= self.time_s
        self.time_s = t_s

    def command(self, device: str, command: Command | None) -> None:
        """Nothing drives it."""

    def read(self, device: str, signal: str) -> float:
        return self.time_s


@pytest.fixture
def host(tmp_path: Path) -> Iterator[EmulatorHost]:
    clock.create(tmp_path / "clock", 3.0)
    host = EmulatorHost(Ticking())
    for bus in BUSES:
        host.can(bus, tmp_path / f"{bus}.sock", 1_000_000, [CanSeatPlan(bus, 3, MODEL, 7)])
    with serving(host):
        yield host
    clock.join(None)


def cycle(host: EmulatorHost, bus: str, period_s: float) -> list[float]:
    """Stamp minus position of row after row, which is the time at which the plant began."""
    with clock.seat():
        node = Cia406Encoder(bus, 3, MODEL)
        columns = [Column("angle", bus, "position")]
        group = CanopenGroup(
            bus, [node], columns, uri=host.servers[bus].uri, bitrate=1_000_000, period_s=period_s
        )
        group.open()
        found, due = [], clock.now()
        for _ in range(ROWS):
            due += period_s
            clock.sleep_until(due)
            row = group.cycle({})
            if not any(row.quality):
                found.append(row.stamp_s - row.values[0])
        group.close()
    return found


def test_every_bus_is_latched_at_the_stamps_of_its_own_rows(host: EmulatorHost) -> None:
    """Of a few hundred at most one is latched after its stamp, when the plant has been moved on while SYNC was on its way."""
    with ThreadPoolExecutor(len(BUSES)) as pool:
        both = list(pool.map(lambda bus: cycle(host, *bus), BUSES.items()))
    for begun_s in both:
        assert len(begun_s) > 0.9 * ROWS
        begin_s = statistics.median(begun_s)
        late = [one_s - begin_s for one_s in begun_s if abs(one_s - begin_s) > EXACTLY_S]
        assert len(late) <= 1, late
        assert all(abs(one_s) < 2 * SLACK_S for one_s in late), late
    assert statistics.median(both[0]) == pytest.approx(statistics.median(both[1]), abs=EXACTLY_S)
