"""An emulated moteus: registers on CAN FD, the text console, position mode with its watchdog, and what follows when that expires.

As its firmware does it (mjbots/moteus, fw/moteus_controller.cc and fw/bldc_servo_control.h): a command begins with a write of
register 000h, which resets all its other registers, and is obeyed after the frame's reads; only a command feeds the watchdog, and
only position mode has one; out of a fault and out of an expired watchdog leads nothing but a stop. Not modelled: the raw modes
(PWM, voltage, current), "stay within", stop positions and the drive's own trajectories; such a write is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from drivers.bus.frame import Frame
from drivers.canservo import multiplex
from drivers.canservo.model import TURN, MoteusModel
from drivers.canservo.moteus import QUANTITIES, Quantity, Register, State, decode, encode
from drivers.canservo.multiplex import FromDevice, Kind, Poll, Read, Refused, Reply, Subframe, ToDevice, Write
from drivers.device import Mode
from drivers.emulators.canservo_moteus_console import EmulatedConsole
from drivers.emulators.canservo_node import EmulatedCanServo
from drivers.emulators.host import Surroundings

#: From the first command to position mode.
_ENABLING_S = 0.004
_AT_ONCE_S = 1e-6
_UNKNOWN, _NOT_WRITEABLE = 1, 2
_FIRMWARE, _MODEL_NUMBER = 0x010100, 0
_TEMPERATURE_C, _VOLTAGE_V, _TORQUE_CONSTANT = 33.0, 24.0, 0.0314
_EVERYBODY = 0x7F
_MOST_BYTES = 64
_MOST_TEXT = 41  # in one frame: 64 bytes less what mjlib/multiplex/micro_server.cc keeps free
_MODES = (State.STOPPED, State.POSITION, State.ZERO_VELOCITY, State.BRAKE)
#: What a command's registers are until it has written them.
_DEFAULTS: dict[int, float] = {
    Register.COMMAND_POSITION: 0.0,
    Register.COMMAND_VELOCITY: 0.0,
    Register.FEEDFORWARD_TORQUE: 0.0,
    Register.KP_SCALE: 1.0,
    Register.KD_SCALE: 1.0,
    Register.MAXIMUM_TORQUE: math.nan,
    Register.WATCHDOG_TIMEOUT: 0.0,
    Register.VELOCITY_LIMIT: math.nan,
    Register.ACCELERATION_LIMIT: math.nan,
    Register.KI_LIMIT_SCALE: 1.0,
    Register.STAY_WITHIN_LOWER: 0.0,
}


@dataclass(frozen=True, slots=True)
class MoteusPlan:
    name: str
    device: int
    model: MoteusModel
    serial: int = 1

    def build(self, around: Surroundings, send: Callable[[Frame], None]) -> EmulatedMoteus:
        return EmulatedMoteus(self, around, send)


class EmulatedMoteus(EmulatedCanServo):
    """See the module. Fault injection: `fail`; `console.forgetful` and `forgetful` name what is not taken over."""

    def __init__(self, plan: MoteusPlan, around: Surroundings, send: Callable[[Frame], None]) -> None:
        super().__init__(plan.name, around, send)
        self.device, self.model, self.serial = plan.device, plan.model, plan.serial
        self.register_map, self.prefix = plan.model.register_map, 0
        self.mode, self.fault = int(State.STOPPED), 0
        self.command: dict[int, float] = dict(_DEFAULTS)
        self.forgetful: set[int] = set()
        self.console = EmulatedConsole(lambda now_s: self._stop("d stop", now_s))
        self._commanded = int(State.STOPPED)
        self._valid = False  # this frame has begun a command
        self._since_s = 0.0
        self._enabled_s = math.inf

    # ── time ──

    def start(self, now_s: float) -> None:
        self._since_s = now_s

    def restart(self, now_s: float) -> None:
        """Fault injection: its supply fails for a moment."""
        self._stop("power", now_s)
        self.command = dict(_DEFAULTS)
        self.console.restart()
        self.start(now_s)

    def next_due(self) -> float:
        return min(super().next_due(), self._enabled_s)

    def tick(self, now_s: float) -> None:
        if now_s >= self._enabled_s:
            self._enter(now_s)
        super().tick(now_s)

    def expired(self, now_s: float) -> None:
        if self.mode != State.POSITION:
            return
        self.mode = int(State.TIMEOUT)
        if self.console.settings["servo.timeout_mode"] in (State.STOPPED, State.BRAKE):
            self.power(False, "watchdog", now_s)
        else:  # damped to rest, and held there
            self.drive(Mode.VELOCITY, 0.0, now_s)

    def fail(self, code: int, now_s: float) -> None:
        """Fault injection: torque off by itself."""
        self.mode, self.fault, self._enabled_s = int(State.FAULT), code, math.inf
        self.power(False, f"fault {code}", now_s)

    # ── frames ──

    def on_frame(self, frame: Frame, now_s: float) -> None:
        if frame.error or frame.remote:
            return
        source, destination, wanted, prefix = multiplex.split_id(frame.can_id)
        if destination not in (self.device, _EVERYBODY) or prefix != self.prefix:
            return
        if now_s >= self._enabled_s:
            self._enter(now_s)
        try:
            subframes = multiplex.parse(frame.data)
        except ValueError:
            return  # a real one obeys what stands before the damage
        self._valid = False
        said: list[Subframe] = []
        for subframe in subframes:
            said += self._process(subframe, wanted, now_s)
        payload = multiplex.pack(said)
        if wanted and len(payload) <= _MOST_BYTES:
            self.send(multiplex.frame(multiplex.can_id(self.device, source, prefix=self.prefix), payload))
        if self._valid:
            self._obey(now_s)

    def _process(self, subframe: Subframe, wanted: bool, now_s: float) -> list[Subframe]:
        """What it says to that, if a reply is wanted."""
        match subframe:
            case Write(start, kind, values):
                codes = [(n, self._write(n, kind, raw)) for n, raw in enumerate(values, start)]
                return [Refused(True, register, code) for register, code in codes if code]
            case Read(start, kind, count) if wanted:
                return self._read_all(range(start, start + count), kind, now_s)
            case ToDevice(multiplex.CONSOLE, text):
                self.console.hear(text, now_s)
                return [FromDevice(multiplex.CONSOLE, self.console.say(_MOST_TEXT))] if wanted else []
            case Poll(multiplex.CONSOLE, most) if wanted:
                return [FromDevice(multiplex.CONSOLE, self.console.say(min(most, _MOST_TEXT)))]
        return []

    def _write(self, register: int, kind: Kind, raw: float) -> int:
        """Error code, 0 for none."""
        if register == Register.MODE:
            if raw not in _MODES:
                return _NOT_WRITEABLE
            self._commanded, self._valid = int(raw), True
            self.command = dict(_DEFAULTS)
        elif register in _DEFAULTS:
            if register not in self.forgetful:
                self.command[register] = decode(QUANTITIES[register], kind, raw)
        else:
            return _UNKNOWN if self._value(register, 0.0) is None else _NOT_WRITEABLE
        return 0

    def _read_all(self, registers: range, kind: Kind, now_s: float) -> list[Subframe]:
        """In subframes as long as they can be."""
        said: list[Subframe] = []
        run: list[float] = []
        for register in registers:
            value = self._value(register, now_s)
            whole = register >= Register.MODEL_NUMBER
            if value is None or (whole and kind is not Kind.INT32):
                if run:
                    said.append(Reply(register - len(run), kind, tuple(run)))
                    run = []
                said.append(Refused(False, register, _UNKNOWN))
            else:
                quantity = QUANTITIES.get(register, Quantity.NUMBER)
                if register == Register.MILLISECOND_COUNTER:
                    value = _wrapped(kind, value)
                run.append(value if whole else _as_firmware(quantity, kind, value))
        if run:
            said.append(Reply(registers[-1] + 1 - len(run), kind, tuple(run)))
        return said

    def _value(self, register: int, now_s: float) -> float | None:
        if register in self.command:
            return self.command[register]
        word = register - Register.SERIAL_NUMBER
        if 0 <= word < 3:
            return int.from_bytes((self.serial >> 32 * word & 0xFFFF_FFFF).to_bytes(4), signed=True)
        match register:
            case Register.POSITION | Register.VELOCITY:
                signal = "position" if register == Register.POSITION else "velocity"
                return self.read(signal, now_s) / TURN
            case Register.TORQUE:
                return self.read("torque", now_s)
            case Register.Q_CURRENT:
                return self.read("torque", now_s) / _TORQUE_CONSTANT
            case Register.MILLISECOND_COUNTER:
                return round((now_s - self._since_s) * 1e3)
            case Register.POWER:
                return self.read("torque", now_s) * self.read("velocity", now_s)
        fixed: dict[int, float] = {
            Register.MODE: self.mode,
            Register.FAULT: self.fault,
            Register.D_CURRENT: 0.0,
            Register.MOTOR_TEMPERATURE: math.nan,  # no thermistor
            Register.VOLTAGE: _VOLTAGE_V,
            Register.TEMPERATURE: _TEMPERATURE_C,
            Register.MODEL_NUMBER: _MODEL_NUMBER,
            Register.FIRMWARE: _FIRMWARE,
            Register.REGISTER_MAP: self.register_map,
        }
        return fixed.get(register)

    # ── what it does ──

    def _obey(self, now_s: float) -> None:
        if self._commanded == State.STOPPED:
            self._stop("stop", now_s)
            return
        timeout_s = self.command[Register.WATCHDOG_TIMEOUT]
        timeout_s = self.console.settings["servo.default_timeout_s"] if timeout_s == 0.0 else timeout_s
        self.watchdog_s = 0.0 if math.isnan(timeout_s) else max(timeout_s, _AT_ONCE_S)
        self.feed(now_s)
        if self.mode == State.STOPPED:
            self.mode, self._enabled_s = int(State.ENABLING), now_s + _ENABLING_S
        elif self.mode not in (State.FAULT, State.TIMEOUT, State.ENABLING):
            self._enter(now_s)

    def _enter(self, now_s: float) -> None:
        """Into the mode that was commanded last, with its set-point."""
        self._enabled_s = math.inf
        self.mode = self._commanded
        self.power(self.mode != State.BRAKE, "command", now_s)
        if self.mode == State.ZERO_VELOCITY:
            self.drive(Mode.VELOCITY, 0.0, now_s)
        elif self.mode == State.POSITION:
            self._follow(now_s)

    def _follow(self, now_s: float) -> None:
        of = self.command
        if of[Register.KP_SCALE] == of[Register.KD_SCALE] == 0.0:
            most, torque = of[Register.MAXIMUM_TORQUE], of[Register.FEEDFORWARD_TORQUE]
            self.drive(Mode.TORQUE, torque if math.isnan(most) else max(-most, min(most, torque)), now_s)
        elif math.isnan(of[Register.COMMAND_POSITION]):
            velocity = of[Register.COMMAND_VELOCITY]
            self.drive(Mode.VELOCITY, 0.0 if math.isnan(velocity) else velocity * TURN, now_s)
        else:
            self.drive(Mode.POSITION, of[Register.COMMAND_POSITION] * TURN, now_s)

    def _stop(self, reason: str, now_s: float) -> None:
        self.mode, self.fault, self._enabled_s = int(State.STOPPED), 0, math.inf
        self._fed_s = None
        self.power(False, reason, now_s)


def _as_firmware(quantity: Quantity, kind: Kind, value: float) -> float:
    """Held at the end of the type's range."""
    try:
        return encode(quantity, kind, value)
    except ValueError:
        return int(math.copysign(kind.largest, value))


def _wrapped(kind: Kind, count: float) -> float:
    """From the type's largest number on to its smallest; of a float from 8388608 on to 0."""
    if kind is Kind.FLOAT:
        return count % 8388608
    half = kind.largest + 1
    return (count + half) % (2 * half) - half
