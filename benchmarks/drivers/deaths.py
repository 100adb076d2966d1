"""The process that drives a device dies or stops, for every model that gives torque: how long until the torque is off?

One emulated device in a process of its own (`verification_platform.bench.emulated`); a master in another one, which runs the bus
at rate with torque on, as a device process does; the master is killed or stopped; and the emulator's own record tells when the
device's watchdog took the torque off. In real time: both stamps are of the host's monotonic clock.
`tests/faults/test_master_deaths.py` and `benchmarks.drivers.torque_off` share this.

``python -m benchmarks.drivers.deaths BENCH.toml`` is the master.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from drivers.canservo.model import WatchdogBy
from drivers.canservo.model import load_model as canservo_model
from drivers.device import DeviceState, DriverError, Mode, Setpoint
from drivers.families import models
from drivers.realtime import child_environment
from drivers.runner import BusRunner
from verification_platform.bench.description import BenchDescription, load_bench
from verification_platform.bench.devices import group_for, with_uris
from verification_platform.bench.emulated import EVENTS
from verification_platform.bench.write import write_bench

ROOT = Path(__file__).resolve().parents[2]
WATCHDOG_S = 0.12
#: What the device may take beyond its watchdog.
GRACE_S = 0.020
#: Bit/s, cycle in s, address.
_LINES: Mapping[str, tuple[int, float, int]] = {
    "canopen": (1_000_000, 0.002, 1),
    "canservo": (1_000_000, 0.005, 4),
    "dynamixel": (1_000_000, 0.010, 1),
    "modbus": (115_200, 0.020, 1),
}
#: Why torque went, in the words of the emulated devices: by nobody's command.
BY_ITSELF = ("master heartbeat lost", "watchdog", "CAN timeout", "bus watchdog", "master no longer heard")
_PATIENCE_S = 30.0


def torque_models() -> tuple[str, ...]:
    """Every model that takes set-points and has a watchdog."""
    return tuple(name for name, of in models().items() if of.describe(name).modes and _guarded(name))


def _guarded(model: str) -> bool:
    return models()[model].name != "canservo" or canservo_model(model).watchdog.by is not WatchdogBy.NONE


def watchdog_s(model: str) -> float:
    """What the device's own watchdog is set to; of some models that cannot be told over the bus."""
    fixed = canservo_model(model).watchdog.timeout_s if models()[model].name == "canservo" else math.nan
    return WATCHDOG_S if math.isnan(fixed) else fixed


def bench_of(model: str) -> BenchDescription:
    """One device of `model`, X, on one bus, with nothing coupled to it."""
    bitrate, cycle, address = _LINES[models()[model].name]
    rates = {"velocity": "50 rad/s²", "torque": "5 N·m/s", "position": "5 rad/s"}
    actuator = {"device": "X", "max_speed": "5 rad/s", "max_torque": "0.5 N·m", "max_rate": rates}
    return BenchDescription.model_validate(
        {
            "bench": {"id": model, "kind": "emulated", "title": {"zh": model, "en": model}},
            "bus": {"line": {"uri": "emulated", "bitrate": bitrate, "cycle": cycle}},
            "device": {"X": {"bus": "line", "address": address, "model": model}},
            "actuator": {"drive": actuator},
            "channel": {},
            "interlock": {"heartbeat": "40 ms", "silence": "400 ms", "watchdog": WATCHDOG_S},
            "plant": {"model": "rotors", "seed": 1},
        }
    )


@dataclass(frozen=True, slots=True)
class Death:
    """What came of one signal: from just before it was sent until the torque was off, and how much of that was not the device's:
    the sending itself, during which the master may still have spoken, and time in which the machine did not let the emulator run.
    `said`: by a master that was stopped, when it went on.
    """

    took_s: float
    allowance_s: float
    reason: str
    said: str = ""


class NoTorque(RuntimeError):
    """It did not come to a death: the master could not switch its device on."""


class Device:
    """An emulated device of `model` that runs while the context lasts, and masters that die; files go to `folder`."""

    def __init__(self, model: str, folder: Path) -> None:
        self._folder, self.watchdog_s = folder, watchdog_s(model)
        self._file = write_bench(bench_of(model), folder / "bench.toml")
        module = [sys.executable, "-m", "verification_platform.bench.emulated"]
        module += ["--bench", str(self._file), "--dut", str(ROOT / "duts" / "harmonic-25-100.toml")]
        self._process = subprocess.Popen(
            [*module, "--seed", "1", "--run-dir", str(folder)],
            stdout=subprocess.PIPE, text=True, cwd=ROOT, env=child_environment(),
        )  # fmt: skip
        ready = json.loads(_line(self._process))
        write_bench(with_uris(load_bench(self._file), ready["bus"]), self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate(timeout=_PATIENCE_S)

    def death(self, number: signal.Signals) -> Death:
        """Torque on by a new master, and `number` for that. Raises NoTorque, and RuntimeError when the torque stays on or a master
        that was stopped gives it again.
        """
        with self._master() as master:
            since_s = time.monotonic()
            os.kill(master.pid, number)
            sending_s = time.monotonic() - since_s
            off = self._torque_off(since_s)
            said = self._wake(master) if number == signal.SIGSTOP else ""
        return Death(off["t"] - since_s, sending_s + off["frozen_s"], off["reason"], said)

    def _wake(self, master: subprocess.Popen[str]) -> str:
        master.send_signal(signal.SIGCONT)
        said = _line(master).strip()
        master.wait(_PATIENCE_S)
        if self._last()["torque"] != "off":
            raise RuntimeError(f"the master went on driving; it said {said!r}")
        return said

    def _last(self) -> Mapping[str, Any]:
        """The last switching of torque."""
        event: dict[str, Any] = json.loads(
            (self._folder / EVENTS).read_text(encoding="utf-8").splitlines()[-1]
        )
        return event

    @contextlib.contextmanager
    def _master(self) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.drivers.deaths", str(self._file)],
            stdout=subprocess.PIPE, text=True, cwd=ROOT, env=child_environment(),
        )  # fmt: skip
        try:
            said = _line(process)
            if said != "on\n":
                raise NoTorque(f"the master gave no torque: {said.strip() or 'it died'}")
            yield process
        finally:
            process.kill()
            process.communicate()

    def _torque_off(self, since_s: float) -> Mapping[str, Any]:
        until_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until_s:
            last = self._last()
            if last["torque"] == "off" and last["t"] >= since_s:
                return last
            time.sleep(0.005)
        raise RuntimeError(f"the torque is still on after {_PATIENCE_S:g} s")


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], _PATIENCE_S)[0]:
        raise RuntimeError(f"no word from process {process.pid}")
    return process.stdout.readline()


def _drive(file: Path) -> str:
    """Torque on at the only device, at a fifth of what it may, until that fails; says "on". Returns what failed."""
    bench = load_bench(file)
    group = group_for(bench, "line")
    model = bench.device["X"].model
    offered = models()[model].describe(model).modes
    mode = next(mode for mode in (Mode.VELOCITY, Mode.TORQUE, Mode.POSITION) if mode in offered)
    runner = BusRunner(group, lambda _: None, block_rows=100, lease_s=5.0)
    on = False
    try:
        runner.start()
        target = 0.2 * group.limits("X", mode)[1]
        runner.command("X", Setpoint(mode, target, 10.0 * target), 1000.0 * target)
        while runner.failure is None:
            runner.renew_lease()
            if not on and runner.device_state("X") is DeviceState.ENABLED and not runner.moving("X"):
                on = True
                _say("on")
            time.sleep(0.01)
    except DriverError as error:
        return str(error)
    finally:
        runner.stop()
    return runner.failure


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    logging.disable()  # of what is done to it here on purpose
    _say(_drive(Path(sys.argv[1])))
