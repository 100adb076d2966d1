"""What stops a homing, on buses that are played: what no emulated device can be told to do at a given cycle."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from drivers.device import Command, CommandRefused, DeviceState, Quality, Row
from verification_platform.bench import homing
from verification_platform.bench.description import BenchDescription
from verification_platform.bench.homing import Homing
from verification_platform.bench.state import FOLDER
from verification_platform.bench.trip import BenchTrip

SILENCE_S, PERIOD_S = 0.2, 0.002
CYCLES = 500  # of an undisturbed homing

BENCH = BenchDescription.model_validate(
    {
        "bench": {"id": "H", "kind": "hardware", "title": {"zh": "台", "en": "bench"}},
        "bus": {
            "can0": {"uri": "unix:/a", "bitrate": 1_000_000, "cycle": "2 ms"},
            "can1": {"uri": "unix:/b", "bitrate": 1_000_000, "cycle": "2 ms"},
        },
        "device": {
            "AX1": {"bus": "can0", "address": 1, "model": "cia402_profile_ax3"},
            "AX2": {"bus": "can1", "address": 1, "model": "cia402_servo_ax1"},
        },
        "channel": {
            "near": {"device": "AX1", "signal": "digital_input"},
            "far": {"device": "AX2", "signal": "digital_input"},
        },
        "interlock": {"heartbeat": "10 ms", "silence": f"{SILENCE_S} s", "estop": ["near", "far"]},
    }
)
#: Value and quality of a contact in the n-th cycle; None: the bus says nothing any more.
Script = Callable[[int], tuple[float, Quality] | None]


def always(n: int) -> tuple[float, Quality]:
    return 1.0, Quality.GOOD


class Played:
    """A bus with one contact, and a drive that homes for CYCLES cycles."""

    def __init__(self, name: str, channel: str, script: Script) -> None:
        self.name, self.channels, self.period_s = name, (channel,), PERIOD_S
        self._script, self._n = script, 0
        self.torque: list[bool] = []
        self.closed = False

    def open(self) -> list[Any]:
        return []

    def cycle(self, commands: Mapping[str, Command]) -> Row:
        self._n += 1
        told = self._script(self._n)
        if told is None:  # a thread that hangs
            time.sleep(3.0 * SILENCE_S)
        value, quality = told or always(0)
        return Row(time.monotonic(), [value], [quality])

    def state(self, device: str) -> DeviceState:
        return DeviceState.READY

    def homes(self, device: str) -> bool:
        return True

    def home(self, device: str, allowed: Callable[[Row], str | None]) -> None:
        """As `drivers.canopen.group.CanopenGroup` does it."""
        try:
            for n in range(CYCLES):
                reason = allowed(self.cycle({}))
                if reason is not None:
                    raise CommandRefused(device, f"homing is not allowed: {reason}")
                if n == 0:
                    self.torque.append(True)
                time.sleep(PERIOD_S)
        finally:
            if self.torque:
                self.torque.append(False)

    def measured(self, device: str, mode: object) -> float:
        return 0.25

    def safe_stop(self) -> None:
        """There is no torque."""

    def close(self) -> None:
        self.closed = True

    hush = safe_stop

    def counters(self) -> dict[str, dict[str, int]]:
        return {}

    def load(self) -> float:
        return 0.0


@pytest.fixture(autouse=True)
def _state(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Callable[[Script, Script], tuple[str, list[bool]]]:
    """Home AX1; why it ended, empty when it went well, and how the torque was switched."""

    def run(near: Script, far: Script) -> tuple[str, list[bool]]:
        here, there = Played("can0", "near", near), Played("can1", "far", far)
        monkeypatch.setattr(homing, "group_for", lambda bench, bus: there)
        task = Homing(BENCH, here, "AX1")  # type: ignore[arg-type]
        trip: BenchTrip | None = None
        try:
            assert task.run() == 0.25
        except BenchTrip as error:
            trip = error
        assert here.closed
        assert there.closed
        assert trip is None or trip.safety
        return str(trip or "").removeprefix("AX1: homing is not allowed: "), here.torque

    return run


Home = Callable[[Script, Script], tuple[str, list[bool]]]


def test_with_every_contact_closed_it_is_done(home: Home) -> None:
    assert home(always, always) == ("", [True, False])


def test_a_contact_that_comes_late_is_waited_for(home: Home) -> None:
    late: Script = lambda n: (1.0, Quality.BAD if n < 20 else Quality.GOOD)  # noqa: E731
    assert home(late, late) == ("", [True, False])


@pytest.mark.parametrize("quality", [Quality.STALE, Quality.BAD])
@pytest.mark.parametrize("which", ["near", "far"])
def test_a_contact_that_was_never_heard_lets_nothing_begin(home: Home, which: str, quality: Quality) -> None:
    never: Script = lambda n: (1.0, quality)  # noqa: E731
    scripts = (never, always) if which == "near" else (always, never)
    assert home(*scripts) == (f"emergency stop: {which} has not been heard yet", [])


@pytest.mark.parametrize("which", ["near", "far"])
def test_a_contact_that_grows_stale_on_the_way_stops_it(home: Home, which: str) -> None:
    stale: Script = lambda n: (1.0, Quality.GOOD if n < 100 else Quality.STALE)  # noqa: E731
    ended, torque = home(*((stale, always) if which == "near" else (always, stale)))
    assert re.fullmatch(rf"emergency stop: {which} has not been heard for 2\d\d ms", ended)
    assert torque == [True, False]


def test_another_bus_that_hangs_stops_it(home: Home) -> None:
    ended, torque = home(always, lambda n: None if n > 100 else (1.0, Quality.GOOD))
    assert re.fullmatch(r"emergency stop: far has not been heard for 2\d\d ms", ended)
    assert torque == [True, False]


@pytest.mark.parametrize("which", ["near", "far"])
def test_a_press_of_one_cycle_before_the_start_lets_nothing_begin(home: Home, which: str) -> None:
    """Pressed while the other contact is still waited for, and let go again: that starts nothing."""
    tapped: Script = lambda n: (0.0 if n == 5 else 1.0, Quality.GOOD)  # noqa: E731
    late: Script = lambda n: (1.0, Quality.BAD if n < 40 else Quality.GOOD)  # noqa: E731
    scripts = (tapped, late) if which == "near" else (late, tapped)
    assert home(*scripts) == (f"emergency stop: {which} is pressed, or its wire is broken", [])


@pytest.mark.parametrize("which", ["near", "far"])
def test_a_press_of_one_cycle_on_the_way_stops_it(home: Home, which: str) -> None:
    tapped: Script = lambda n: (0.0 if n == 200 else 1.0, Quality.GOOD)  # noqa: E731
    scripts = (tapped, always) if which == "near" else (always, tapped)
    assert home(*scripts) == (f"emergency stop: {which} is pressed, or its wire is broken", [True, False])
