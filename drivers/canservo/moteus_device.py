"""The start of a moteus: who it is, torque off, watchdog.

Its watchdog counts from the last *command* (a frame that writes register 000h; reading feeds nothing) and works in position mode
only. What it does then is a setting: by default (``servo.timeout_mode`` = 12) the drive brakes the shaft to rest with up to
``servo.timeout_max_torque_Nm`` and **keeps its torque**. So both the time and the action are written and read back over the
console, and the time again in the register that goes with every set-point. Volatile; an orderly end restores what was found.
Whether the drive has been off since, which undoes them, its millisecond counter tells in every answer.

Source: mjbots/moteus, docs/reference/configuration.md (servo.default_timeout_s, servo.timeout_mode), docs/protocol/registers.md
(000h, 027h, 100h … 122h), docs/troubleshooting/timeout-mode-11.md; what feeds the watchdog: fw/moteus_controller.cc, Write.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from drivers.bus.frame import Frame
from drivers.canservo.device import TWIN_S
from drivers.canservo.model import MoteusModel
from drivers.canservo.moteus import Register, State, answer
from drivers.canservo.moteus_console import Console
from drivers.canservo.multiplex import HOST, LAST_ID, Kind, Read, Subframe, Write, can_id, request
from drivers.canservo.servo import CanServo
from drivers.device import (
    DeviceFault,
    DriverError,
    Identity,
    IdentityMismatch,
    WatchdogRefused,
)

TIMEOUT, ACTION = "servo.default_timeout_s", "servo.timeout_mode"
_OFF = "0"  # of ACTION: the driver is disengaged
#: A float that holds every number up to it.
_NUMBERS = 1 << 20
#: The millisecond counter comes round after 49 days.
_WRAP_MS = 1 << 32

#: Written with every question and read back with it: an answer carries the number of its question. It is a bound of the mode
#: "stay within", which is never used here; a command resets it (registers.md, 040h).
_NUMBER = Register.STAY_WITHIN_LOWER
_TELEMETRY = (
    Read(Register.MODE, Kind.INT8),
    Read(Register.POSITION, Kind.FLOAT, 3),  # position, velocity, torque
    Read(Register.TEMPERATURE, Kind.INT16, 2),  # temperature, fault
    Read(_NUMBER, Kind.FLOAT),
    Read(Register.MILLISECOND_COUNTER, Kind.INT32),
)
_WANTED = {read.start + k: read.kind for read in _TELEMETRY for k in range(read.count)}
STOP = Write(Register.MODE, Kind.INT8, (State.STOPPED,))


class MoteusDevice(CanServo[MoteusModel]):
    """A moteus until its first cycle; see `CanServoDevice`."""

    numbered = True

    @staticmethod
    def addresses() -> tuple[int, int]:
        return 1, LAST_ID

    def identifiers(self) -> frozenset[tuple[bool, int]]:
        """Its answers; beyond 7 in 29-bit frames, which the group tells apart by bits 8 … 15."""
        answers = can_id(self.address, HOST)
        return frozenset({(True, self.address) if answers > 0x7FF else (False, answers)})

    def _forget(self) -> None:
        super()._forget()
        self.mode: int = State.STOPPED
        self._numbers = itertools.cycle(range(1, _NUMBERS))
        self._found: dict[str, str] = {}  # settings as they were
        self._uptime_ms: int | None = None

    # ── questions and answers ──

    def question(self, command: Sequence[Subframe] = ()) -> tuple[Frame, int]:
        """`command` and a query in one frame, and the number that its answer will carry."""
        number = next(self._numbers)
        mark = Write(_NUMBER, Kind.FLOAT, (float(number),))
        return request(self.address, [*command, mark, *_TELEMETRY]), number

    def telemetry(self, frame: Frame) -> dict[int, float] | None:
        """The values of an answer to `question`, None for a frame that is none of this device. Raises ValueError."""
        if frame.can_id != can_id(self.address, HOST) or frame.remote:
            return None
        return answer(frame.data, _WANTED)

    def number(self, values: Mapping[int, float]) -> int:
        """Raises ValueError."""
        number = values[_NUMBER]
        if not 1 <= number < _NUMBERS or number != int(number):
            raise ValueError(f"an answer numbered {number}")
        return int(number)

    def check_uptime(self, values: Mapping[int, float]) -> None:
        """A device that has been off in between has lost its settings, and would keep its torque when the watchdog expires."""
        found, before = int(values[Register.MILLISECOND_COUNTER]), self._uptime_ms
        self._uptime_ms = found
        if before is not None and (found - before) % _WRAP_MS > _WRAP_MS // 2:
            self.armed = False
            self.fail("was switched off and on: its watchdog's settings are gone", 0xFF07, "reopen the bench")

    def _read(
        self, start: int, count: int, kind: Kind, *, command: Sequence[Subframe] = (), attempts: int = 1
    ) -> list[float]:
        wanted = dict.fromkeys(range(start, start + count), kind)

        def match(frame: Frame) -> list[float] | None:
            return self._values(frame, wanted)

        return self.ask(request(self.address, [*command, Read(start, kind, count)]), match, attempts=attempts)

    def _values(self, frame: Frame, wanted: Mapping[int, Kind]) -> list[float] | None:
        if frame.can_id != can_id(self.address, HOST) or frame.remote:
            return None
        try:
            return [value for _, value in sorted(answer(frame.data, wanted).items())]
        except ValueError:
            self.counters["nak"] += 1
            return None

    def _mode_now(self, command: Sequence[Subframe] = ()) -> tuple[int, int]:
        """Mode and fault code; a command in the same frame is obeyed after they were read."""
        question, wanted = self.question(command)

        def match(frame: Frame) -> tuple[int, int] | None:
            try:
                values = self.telemetry(frame)
                if values is None or self.number(values) != wanted:
                    return None
                self.check_uptime(values)
            except ValueError:
                self.counters["nak"] += 1
                return None
            return int(values[Register.MODE]), int(values[Register.FAULT])

        return self.ask(question, match)

    # ── start-up ──

    def identify(self) -> Identity:
        """Model, firmware, register map, serial number, and whether a second one has the same id. Raises IdentityMismatch."""
        _model, firmware, found = map(int, self._read(Register.MODEL_NUMBER, 3, Kind.INT32, attempts=2))
        if found != self.model.register_map:
            raise IdentityMismatch(
                self.name,
                f"its register map is {found}, the table of {self.model.name} is for {self.model.register_map}",
                "registers mean different things there: flash a firmware that fits, or choose the table by it",
            )
        words = dict.fromkeys(range(Register.SERIAL_NUMBER, Register.SERIAL_NUMBER + 3), Kind.INT32)
        first = self._read(Register.SERIAL_NUMBER, 3, Kind.INT32, attempts=2)
        others = self.listen(lambda frame: self._values(frame, words), TWIN_S, most=9)
        serials = {_serial(words) for words in (*others, first)}
        if len(serials) > 1:
            raise IdentityMismatch(
                self.name,
                f"two controllers have id {self.address} (serial numbers {', '.join(sorted(serials))})",
                "connect one alone and give it another id.id",
            )
        serial = _serial(first)
        if self._serial is not None and serial != self._serial:
            raise IdentityMismatch(
                self.name,
                f"serial number is {serial}, the bench names {self._serial}",
                "update the bench file and calibrations",
            )
        version = ".".join(str(firmware >> shift & 0xFF) for shift in (16, 8, 0))
        return Identity(self.name, self.model.title, serial, version)

    def prepare(self) -> None:
        """Stopped, which also clears a fault and leads out of an expired watchdog."""
        self._mode_now([STOP])
        mode, fault = self._mode_now()
        if mode == State.FAULT:
            raise DeviceFault(
                self.name,
                f"has a fault that cannot be cleared: {self.model.faults.get(fault, fault)}",
                fault,
                "remove the cause and switch it off and on",
            )
        if mode != State.STOPPED:
            raise DeviceFault(self.name, "does not switch its torque off", mode, "switch its supply off")
        self.mode = mode

    def arm_watchdog(self, timeout_s: float) -> None:
        """Raises WatchdogRefused when time or action do not read back as they were written."""
        self.armed = False
        try:
            console = Console(self)
            console.clear()
            for name, value in ((TIMEOUT, f"{timeout_s:.6f}"), (ACTION, _OFF)):
                before = console.get(name)
                console.set(name, value)
                found = console.get(name)
                if not math.isclose(_number(found), float(value), abs_tol=2e-6):
                    raise IdentityMismatch(self.name, f"{name} reads {found} after {value} was written")
                self._found.setdefault(name, before)
            stop = [STOP, self.within(timeout_s)]
            (found_s,) = self._read(Register.WATCHDOG_TIMEOUT, 1, Kind.FLOAT, command=stop)
            if not math.isclose(found_s, timeout_s, rel_tol=1e-6):
                raise IdentityMismatch(
                    self.name, f"register 027h reads {found_s:g} s after {timeout_s:g} s was written"
                )
        except DriverError as error:
            raise WatchdogRefused(
                self.name, f"its watchdog cannot be set ({error.what})", "torque stays refused"
            ) from error
        self._timeout_s = timeout_s
        self.armed = True

    _timeout_s = 0.0

    def within(self, timeout_s: float) -> Write:
        """The watchdog of one command."""
        return Write(Register.WATCHDOG_TIMEOUT, Kind.FLOAT, (timeout_s,))

    def disarm_watchdog(self) -> None:
        """Settings as they were found."""
        if self.armed:
            console = Console(self)
            console.clear()
            for name, value in self._found.items():
                console.set(name, value)
        self.armed = False


def _serial(words: Sequence[float]) -> str:
    """96 bits, least significant word first."""
    return "".join(f"{int(word) & 0xFFFF_FFFF:08X}" for word in reversed(words))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
