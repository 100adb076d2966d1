"""On a bench whose time may wait, the emulator does everything at its own instant, however late it wakes up."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from drivers import clock
from drivers.bus.event_loop import FROZEN_S, EventLoop

#: Later than the emulator is ever woken up while time waits for it.
LATE_S = 0.0003
LINES = ("can", "pty")


class Host:
    """The host's clock, turned by hand."""

    def __init__(self) -> None:
        self.time_s = 100.0

    def monotonic(self) -> float:
        return self.time_s


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=host.monotonic))
    return host


@pytest.fixture
def page(host: Host, tmp_path: Path) -> Iterator[None]:
    clock.create(tmp_path / "clock", 1.0)
    yield
    clock.join(None)


class Devices:
    """A loop with two lines, and what it did when."""

    def __init__(self, host: Host) -> None:
        self.host, self.loop = host, EventLoop()
        self.done: list[tuple[str, float]] = []
        self.ends = {address: socket.socketpair() for address in LINES}
        self.requests = {address: clock.request(address) for address in LINES}
        for address, (_, device) in self.ends.items():
            self.loop.watch(device, self._reader(address, device), address)

    def _reader(self, address: str, device: socket.socket) -> Callable[[float], None]:
        def read(now_s: float) -> None:
            device.recv(64)
            self.done.append((address, now_s))

        return read

    def ask(self, address: str, when_s: float) -> None:
        self.host.time_s = when_s
        with self.requests[address]:
            self.ends[address][0].send(b"?")

    def write_without_a_word(self, address: str) -> None:
        """As a foreign master does, that does not know of the page."""
        self.ends[address][0].send(b"!")

    def at(self, when_s: float, what: str) -> None:
        self.loop.call_at(when_s, lambda now_s: self.done.append((what, now_s)))

    def wake(self, when_s: float) -> list[tuple[str, float]]:
        """What is done when the emulator is given the processor at `when_s`."""
        self.host.time_s = when_s
        self.loop.call_at(when_s, lambda _: self.loop.stop())
        self.loop.run()
        return self.done

    def close(self) -> None:
        self.loop.close()
        for pair in self.ends.values():
            for end in pair:
                end.close()


@pytest.fixture
def devices(host: Host) -> Iterator[Devices]:
    devices = Devices(host)
    yield devices
    devices.close()


@pytest.mark.usefixtures("page")
def test_requests_of_several_lines_are_seen_to_in_the_order_and_at_the_instants_of_their_sending(
    devices: Devices,
) -> None:
    devices.ask("pty", 100.0001)
    devices.ask("can", 100.00022)
    assert devices.wake(100.0001 + LATE_S) == [("pty", 100.0001), ("can", 100.00022)]


@pytest.mark.usefixtures("page")
def test_what_was_due_before_a_request_was_sent_is_done_before_it(devices: Devices) -> None:
    devices.at(100.0001, "watchdog")
    devices.at(100.0003, "heartbeat")
    devices.ask("can", 100.0002)
    assert devices.wake(100.0004) == [("watchdog", 100.0001), ("can", 100.0002), ("heartbeat", 100.0003)]


@pytest.mark.usefixtures("page")
def test_what_nobody_said_the_instant_of_arrives_when_it_is_found(devices: Devices) -> None:
    devices.ask("can", 100.0)
    devices.write_without_a_word("pty")
    assert devices.wake(100.0002) == [("can", 100.0), ("pty", 100.0002)]


@pytest.mark.usefixtures("page")
def test_an_old_word_is_not_taken_for_that_of_a_foreign_master(devices: Devices, host: Host) -> None:
    devices.ask("can", 100.0)
    assert devices.ends["can"][1].recv(64)  # seen to long ago
    devices.write_without_a_word("can")
    assert devices.wake(100.5) == [("can", 100.5)]


@pytest.mark.usefixtures("page")
def test_what_a_frozen_emulator_missed_is_done_when_it_is_back(devices: Devices) -> None:
    devices.at(100.001, "long ago")
    devices.at(100.001 + FROZEN_S, "lately")
    assert devices.wake(100.0011 + FROZEN_S) == [
        ("long ago", 100.0011 + FROZEN_S),
        ("lately", 100.001 + FROZEN_S),
    ]


def test_on_the_hosts_clock_everything_is_done_when_it_is_found(devices: Devices) -> None:
    devices.at(100.0001, "timer")
    devices.ask("can", 100.0)
    assert devices.wake(100.0002) == [("can", 100.0002), ("timer", 100.0002)]
