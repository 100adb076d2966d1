"""A Dynamixel device on the line: who it is, and how it is set up before it counts.

Setting up is a script (see `script`), run to its end when the line is opened, and one transaction a cycle for a device
that came back. Nothing moves in it: torque is switched off first of all.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping

from drivers.device import (
    DeviceFault,
    DriverError,
    Identity,
    IdentityMismatch,
    Mode,
    Signal,
    TransportLost,
    TransportTimeout,
)
from drivers.dynamixel.codec import HIGHEST_ID
from drivers.dynamixel.model import DynamixelModel
from drivers.dynamixel.script import Script, Step, ensure, ensure_bytes, fetch, ping, store
from drivers.dynamixel.telemetry import BlockLayout, DeviceClock

log = logging.getLogger(__name__)

WATCHDOG_STEP_S = 0.02
LONGEST_WATCHDOG = 127
TRIPPED = -1
_LONGEST_DELAY_S = 508e-6


class DynamixelDevice:
    """`limits` (rad/s, N·m) may only tighten those of the model; the device's own registers tighten them further."""

    def __init__(
        self,
        name: str,
        number: int,
        model: DynamixelModel,
        *,
        limits: Mapping[Mode, float] | None = None,
        signals: Iterable[str] = (),
    ) -> None:
        if not 0 <= number <= HIGHEST_ID:
            raise ValueError(f"{name}: id {number} is outside 0…{HIGHEST_ID}")
        self.name, self.number, self.model = name, number, model
        self.layout = BlockLayout(model, signals)
        self._described = {
            mode: min(limit, (limits or {}).get(mode, math.inf)) for mode, limit in model.limits.items()
        }
        self.limits = dict(self._described)
        self.counters = dict.fromkeys(("crc", "timeout", "nak", "missed", "late", "restarted"), 0)
        self._identity: Identity | None = None
        self._firmware = -1
        self.forget()

    def forget(self) -> None:
        """A line has been opened: everything known so far is forgotten, except who the device was."""
        self.prepared = self.suspect = self.lost = False
        self.armed = 0  # steps of the bus watchdog, as read back
        self.torque_on = True  # unless known to be off
        self.return_delay_s = 0.0
        self.script: Script | None = None
        self.pending: Step | None = None  # what the script asks next
        self._misses = 0
        self._clock = DeviceClock()

    @property
    def signals(self) -> tuple[Signal, ...]:
        return self.model.offered()

    @property
    def longest_delay_s(self) -> float:
        """Before its answer begins; what the register can hold at most until it has been read."""
        return self.return_delay_s if self.prepared else _LONGEST_DELAY_S

    @property
    def fast(self) -> bool:
        return self._firmware >= self.model.fast_read_from

    def identify(self) -> Identity:
        """Who answered when the line was opened. Raises TransportLost before."""
        if self._identity is None or not self.prepared:
            raise TransportLost(self.name, "the line is not open")
        return self._identity

    def watchdog_steps(self, timeout_s: float) -> int:
        """So many steps of 20 ms, never longer than asked for; 0 when the servo cannot do that."""
        if self._firmware < self.model.watchdog_from:
            return 0
        return min(math.floor(timeout_s / WATCHDOG_STEP_S + 1e-9), LONGEST_WATCHDOG)

    # ── scripts ──

    def starting(self, watchdog_s: float) -> Script:
        """Identify, torque off, check, set up, arm. Raises IdentityMismatch, DeviceFault, ProtocolViolation."""
        number, name, registers = self.number, self.name, self.model.registers
        yield from self.identifying()
        try:
            level = yield from fetch(number, registers["status_return_level"])
        except DriverError:
            yield from ping(number)  # is it still there?
            try:
                level = yield from fetch(number, registers["status_return_level"])
            except TransportTimeout:  # level 0: answers nothing but ping
                level = 0
        if level != 2:
            log.warning("%s: status return level was %d, set to 2", name, level)
            yield from store(name, number, registers["status_return_level"], 2)
        if (yield from ensure(name, number, registers["torque_enable"], 0)):
            log.warning("%s: torque was on, switched off", name)
        self.torque_on = False
        error = yield from fetch(number, registers["hardware_error"])
        if error:
            raise self.hardware_fault(error)
        for register, wanted in self.model.expect.items():
            found = yield from fetch(number, registers[register])
            if found != wanted:
                raise IdentityMismatch(
                    name,
                    f"{register} is {found}, model {self.model.name} has {wanted}",
                    "set it with the Wizard",
                )
        yield from self._reading_settings()
        for register in ("profile_velocity", "profile_acceleration"):
            yield from ensure(name, number, registers[register], 0)
        yield from ensure_bytes(name, number, self.model.indirect.address, self.layout.pointers)
        yield from self._arming(watchdog_s)
        self._clock.restart()
        self._misses = 0
        self.suspect = self.lost = False
        self.prepared = True

    def identifying(self) -> Script:
        """Is it still the one it was? Raises IdentityMismatch."""
        found, firmware = yield from ping(self.number)
        if found != self.model.number:
            raise IdentityMismatch(
                self.name,
                f"model number is {found}, {self.model.name} has {self.model.number}",
                "check id and model in the bench file",
            )
        identity = Identity(self.name, self.model.name, "none", str(firmware))  # the table holds none
        if self._identity is not None and identity != self._identity and self.prepared:
            raise IdentityMismatch(
                self.name,
                f"firmware is {firmware}, was {self._identity.firmware}",
                "another servo: reopen the bench",
            )
        self._identity, self._firmware = identity, firmware

    def _reading_settings(self) -> Script:
        number, registers = self.number, self.model.registers
        delay = yield from fetch(number, registers["return_delay"])
        self.return_delay_s = 2e-6 * delay
        if delay:
            log.warning(
                "%s: answers only after %d µs; set return delay time (address %d) to 0",
                self.name,
                2 * delay,
                registers["return_delay"].address,
            )
        for mode, register in ((Mode.VELOCITY, "velocity_limit"), (Mode.TORQUE, "current_limit")):
            digits = yield from fetch(number, registers[register])
            self.limits[mode] = min(self._described[mode], digits * self.model.targets[mode].digit)

    def _arming(self, watchdog_s: float) -> Script:
        register = self.model.registers["bus_watchdog"]
        self.armed = 0
        steps = self.watchdog_steps(watchdog_s)
        if steps < 1:
            why = (
                f"firmware {self._firmware} has no bus watchdog to rely on (from {self.model.watchdog_from})"
                if self._firmware < self.model.watchdog_from
                else f"{watchdog_s:g} s is shorter than its bus watchdog can be"
            )
            log.warning("%s: %s; torque stays refused", self.name, why)
            yield from ensure(self.name, self.number, register, 0)
            return
        before = yield from ensure(self.name, self.number, register, 0)
        if before == TRIPPED:
            log.warning("%s: its bus watchdog had tripped before the line was opened", self.name)
        yield from store(self.name, self.number, register, steps)
        self.armed = steps

    def storing(self, register: str, value: int, tell: Callable[[int], None]) -> Script:
        """A register for good; `tell` what stood there before."""
        tell((yield from ensure(self.name, self.number, self.model.registers[register], value)))

    def hardware_fault(self, bits: int) -> DeviceFault:
        return DeviceFault(
            self.name,
            f"hardware error: {self.model.error_text(bits)}",
            bits,
            "remove the cause, then switch the servo off and on",
        )
