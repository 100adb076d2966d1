"""One moteus on CAN FD. The device speaks revolutions at its output shaft, this class radians.

In every cycle it gets one frame: a set-point with its own watchdog time, torque limit and "no velocity or acceleration limit" (a
trajectory is the host's), or a stop, or nothing; and in the same frame the query for mode, position, velocity, torque,
temperature and fault. Every mode of torque is its position mode: velocity is a position of "here" that moves on, torque a
feed-forward with all gains at zero (docs/guides/control-modes.md).

Source: mjbots/moteus, docs/protocol/registers.md (000h … 02Bh), docs/reference/limits.md.
"""

from __future__ import annotations

import math

from drivers.bus.frame import Frame, fd_wire_bits
from drivers.canservo.model import TURN
from drivers.canservo.moteus import Register, State
from drivers.canservo.moteus_device import STOP, MoteusDevice
from drivers.canservo.multiplex import HOST, Kind, Subframe, Write, can_id, request
from drivers.canservo.servo import Question
from drivers.device import Command, Mode

_POSITION = Write(Register.MODE, Kind.INT8, (State.POSITION,))
#: Register 023h and 024h, 02Bh: gains and the integrator's limit, as a share of what is set.
_NO_GAINS = (Write(Register.KP_SCALE, Kind.INT8, (0, 0)), Write(Register.KI_LIMIT_SCALE, Kind.INT8, (0,)))
_UNLIMITED = -1.0  # of 028h and 029h: negative is none
#: On its way to position mode, and there.
_STARTING = (State.STOPPED, State.ENABLING, State.CALIBRATING, State.CALIBRATED)
#: Of the longest command, and of an answer.
_COMMAND_BYTES, _ANSWER_BYTES = 64, 48
_LARGEST_TURNS = 32767.0


class MoteusDrive(MoteusDevice):
    """See `CanServo`."""

    def cycle_bits(self) -> float:
        extended = can_id(self.address, HOST) > 0x7FF
        return fd_wire_bits(_COMMAND_BYTES, True) + fd_wire_bits(_ANSWER_BYTES, extended)

    @property
    def reach_rad(self) -> float:
        return _LARGEST_TURNS * TURN

    @property
    def drives(self) -> bool:
        """Torque may flow in every mode but two; that an expired watchdog has taken it off was set, but a stop makes sure."""
        return self.mode not in (State.STOPPED, State.FAULT)

    def _ready(self) -> bool:
        return self.mode == State.POSITION

    def _begin_enabling(self, mode: Mode) -> None:
        """The set-points themselves do: the first leads into position mode."""

    def torque_off(self) -> list[Frame]:
        return [request(self.address, [STOP], reply=False)]

    def _questions(self, command: Command | None, now_s: float) -> list[Question]:
        if self.wanted is not None:
            value = command.value if command is not None else self.resting()
            return [self.question(self._setpoint(self.wanted, value))]
        return [self.question([STOP] if self.drives else ())]

    def _setpoint(self, mode: Mode, value: float) -> list[Subframe]:
        position, velocity, torque = math.nan, 0.0, 0.0  # a position of NaN is "here"
        if mode is Mode.POSITION:
            position = value / TURN
        elif mode is Mode.VELOCITY:
            velocity = value / TURN
        else:
            torque = value
        return [
            _POSITION,
            Write(Register.COMMAND_POSITION, Kind.FLOAT, (position, velocity, torque)),
            *(_NO_GAINS if mode is Mode.TORQUE else ()),
            Write(Register.MAXIMUM_TORQUE, Kind.FLOAT, (self.limits[Mode.TORQUE],)),
            Write(Register.WATCHDOG_TIMEOUT, Kind.FLOAT, (self._timeout_s, _UNLIMITED, _UNLIMITED)),
        ]

    def _kind(self, frame: Frame) -> int | None:
        self._values_now = self.telemetry(frame)
        return None if self._values_now is None else self.number(self._values_now)

    _values_now: dict[int, float] | None = None

    def _take(self, kind: int, frame: Frame, now_s: float) -> None:
        values = self._values_now
        assert values is not None  # `_kind` has just read it
        self.check_uptime(values)
        self.mode = int(values[Register.MODE])
        self.put("position", values[Register.POSITION] * TURN, now_s)
        self.put("velocity", values[Register.VELOCITY] * TURN, now_s)
        self.put("torque", values[Register.TORQUE], now_s)
        self.put("temperature", values[Register.TEMPERATURE] + 273.15, now_s)
        if self.mode == State.FAULT:
            code = int(values[Register.FAULT])
            text = self.model.faults.get(code, f"fault {code}, which the table does not know")
            self.fail(f"reports: {text}", code, "remove the cause, then reopen the bench")
        elif self.mode == State.TIMEOUT and self.wanted is not None:
            self.fail(
                f"its watchdog has expired: no set-point for {self._timeout_s:g} s",
                0xFF05,
                "find out what held the bus process up, then reopen the bench",
            )
        elif self.wanted is not None and self.mode not in (*_STARTING, State.POSITION):
            self.fail(
                f"stands in mode {self.mode}, which nobody here has commanded",
                0xFF06,
                "close other programs that command it, then reopen the bench",
            )
