"""An emulated MIT-style joint module: answers each command with its state; a CAN timeout where the product has one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from drivers.bus.frame import Frame
from drivers.canservo.model import MitModel, WatchdogBy
from drivers.device import Mode
from drivers.emulators.canservo_node import EmulatedCanServo, digits_of, value_of
from drivers.emulators.host import Surroundings

_SPECIAL = b"\xff" * 7
_COIL_C = 30


@dataclass(frozen=True, slots=True)
class MitPlan:
    name: str
    motor: int
    model: MitModel

    def build(self, around: Surroundings, send: Callable[[Frame], None]) -> EmulatedMit:
        return EmulatedMit(self, around, send)


class EmulatedMit(EmulatedCanServo):
    """See the module."""

    def __init__(self, plan: MitPlan, around: Surroundings, send: Callable[[Frame], None]) -> None:
        super().__init__(plan.name, around, send)
        self.motor, self.model, self.error = plan.motor, plan.model, 0
        fixed = plan.model.watchdog.by is WatchdogBy.FIXED
        self.watchdog_s = plan.model.watchdog.timeout_s if fixed else 0.0

    def expired(self, now_s: float) -> None:
        self.power(False, "CAN timeout", now_s)

    def fail(self, code: int, now_s: float) -> None:
        """Fault injection."""
        self.error = code
        self.power(False, f"fault {code}", now_s)

    def on_frame(self, frame: Frame, now_s: float) -> None:
        if (
            frame.extended
            or frame.remote
            or frame.error
            or frame.can_id != self.motor
            or len(frame.data) != 8
        ):
            return
        self.feed(now_s)
        data = frame.data
        if data[:7] == _SPECIAL and data[7] in (0xFC, 0xFD, 0xFE):
            if data[7] == 0xFC and not self.error:
                self.power(True, "motor mode", now_s)
                self.drive(Mode.TORQUE, 0.0, now_s)
            elif data[7] == 0xFD:
                self.power(False, "motor mode left", now_s)
        elif self.torque_on:
            self._operate(int.from_bytes(data, "big"), now_s)
        self._reply(now_s)

    def _operate(self, word: int, now_s: float) -> None:
        """A stiff spring is the plant's position loop, a damper alone its velocity loop: it has no gains to be given."""
        ranges = self.model.ranges
        kp, kd = value_of(ranges.kp, word >> 24 & 0xFFF), value_of(ranges.kd, word >> 12 & 0xFFF)
        if kp > 0.0:
            self.drive(Mode.POSITION, value_of(ranges.position, word >> 48), now_s)
        elif kd > 0.0:
            self.drive(Mode.VELOCITY, value_of(ranges.velocity, word >> 36 & 0xFFF), now_s)
        else:
            self.drive(Mode.TORQUE, value_of(ranges.torque, word & 0xFFF), now_s)

    def _reply(self, now_s: float) -> None:
        ranges = self.model.ranges
        word = self.motor
        for scale, signal in (
            (ranges.position, "position"),
            (ranges.velocity, "velocity"),
            (ranges.torque, "torque"),
        ):
            word = word << scale.bits | digits_of(scale, self.read(signal, now_s))
        data = word.to_bytes(6, "big")
        if self.model.reply_bytes == 8:
            data += bytes((_COIL_C, self.error))
        self.send(Frame(self.model.reply_id, data))
