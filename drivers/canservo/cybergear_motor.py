"""One CyberGear or RobStride motor on its private protocol.

Its CAN timeout is off by default: it is written and read back at every start, and torque is refused without it. In every
cycle the motor gets one frame that it answers with a feedback (a set-point while it is enabled, a stop while it is not:
the safest question there is) and is asked for its turn-counting position, because the one in a feedback ends at ±4π.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from drivers.bus.frame import Frame, wire_bits
from drivers.canservo import cybergear
from drivers.canservo.cybergear import Run, Type
from drivers.canservo.device import TWIN_S
from drivers.canservo.model import CybergearModel
from drivers.canservo.servo import CanServo, Question
from drivers.device import (
    Command,
    DeviceFault,
    DriverError,
    Identity,
    IdentityMismatch,
    Mode,
    WatchdogRefused,
)

HOST = 0xFD
_FEEDBACK = -1  # a kind of answer beside the parameters' indices
_BITS = wire_bits(8, extended=True)


class CybergearMotor(CanServo[CybergearModel]):
    """See `CanServo`."""

    @staticmethod
    def addresses() -> tuple[int, int]:
        return 1, cybergear.LAST_ID

    def identifiers(self) -> frozenset[tuple[bool, int]]:
        return frozenset({(True, self.address)})

    def _forget(self) -> None:
        super()._forget()
        self.run = Run.RESET
        self._steps: list[Callable[[], Question]] = []
        self._run_mode: int | None = None

    # ── start-up ──

    def identify(self) -> Identity:
        """Identifier of its processor, and whether a second motor has the same id."""
        first = self.ask(cybergear.get_id(HOST, self.address), self._unique_id, attempts=2)
        others = {*self.listen(self._unique_id, TWIN_S, most=9), first}
        if len(others) > 1:
            raise IdentityMismatch(
                self.name,
                f"two motors have id {self.address} (processors {', '.join(sorted(others))})",
                "connect one alone and give it another id",
            )
        if self._serial is not None and first != self._serial:
            raise IdentityMismatch(
                self.name,
                f"processor is {first}, the bench names {self._serial}",
                "update the bench file and calibrations",
            )
        version = ""
        if self.model.tells_version:
            version = self.ask(
                cybergear.read_version(HOST, self.address),
                lambda f: cybergear.parse_version(f.data) if self._is(f, Type.FEEDBACK) else None,
                attempts=2,
            )
        return Identity(self.name, self.model.title, first, version)

    def _unique_id(self, frame: Frame) -> str | None:
        if not frame.extended or len(frame.data) != 8:
            return None
        kind, data16, target = cybergear.split_id(frame.can_id)
        ours = (kind, data16 & 0xFF, target) == (Type.GET_ID, self.address, cybergear.EVERYBODY)
        return frame.data.hex().upper() if ours else None

    def prepare(self) -> None:
        """Stopped, fault cleared, limits written and read back."""
        state = self.ask(cybergear.stop(HOST, self.address, clear_fault=True), self._feedback)
        if state.faults:
            state = self.ask(cybergear.stop(HOST, self.address), self._feedback)
        if state.faults:
            raise DeviceFault(
                self.name,
                f"has a fault that cannot be cleared: {self.fault_text(state.faults, self.model.faults)}",
                state.faults,
                "remove the cause and switch it off and on",
            )
        if state.run == Run.RUN:
            raise DeviceFault(self.name, "does not switch its torque off", state.run, "switch its supply off")
        self.run = Run(state.run)
        for parameter, mode in (("limit_torque", Mode.TORQUE), ("limit_spd", Mode.VELOCITY)):
            value = struct.pack("<f", self.limits[mode])
            self._write_verified(self.model.parameters[parameter], value, parameter)

    def arm_watchdog(self, timeout_s: float) -> None:
        self.armed = False
        watchdog = self.model.watchdog
        count = round(timeout_s / watchdog.digit_s)
        if not 1 <= count <= 0xFFFF_FFFF:
            raise WatchdogRefused(self.name, f"a CAN timeout of {timeout_s:g} s cannot be set")
        try:
            self._write_verified(watchdog.index, struct.pack("<I", count), "CAN timeout")
        except DriverError as error:
            raise WatchdogRefused(
                self.name, f"its CAN timeout cannot be set ({error.what})", "torque stays refused"
            ) from error
        self.armed = True

    def disarm_watchdog(self) -> None:
        if self.armed:
            self._write_verified(self.model.watchdog.index, bytes(4), "CAN timeout")
        self.armed = False

    def _write_verified(self, index: int, value: bytes, name: str) -> None:
        """Written once, read back."""
        self.ask(cybergear.write_parameter(HOST, self.address, index, value), self._feedback)
        found, exists = self.ask(
            cybergear.read_parameter(HOST, self.address, index),
            lambda frame: self._parameter(frame, index),
            attempts=2,
        )
        if not exists or found != value:
            what = f"reads {found.hex()} after {value.hex()}" if exists else "is not known to the motor"
            raise IdentityMismatch(self.name, f"{name} ({index:04X}h) {what}", "check model and firmware")

    def _is(self, frame: Frame, kind: int) -> bool:
        if not frame.extended:
            return False
        found, data16, target = cybergear.split_id(frame.can_id)
        return (found, data16 & 0xFF, target) == (kind, self.address, HOST)

    def _feedback(self, frame: Frame) -> cybergear.Feedback | None:
        if not self._is(frame, Type.FEEDBACK) or cybergear.parse_version(frame.data) is not None:
            return None
        try:
            return cybergear.parse_feedback(frame, self.model.ranges)
        except ValueError:
            self.counters["nak"] += 1
            return None

    def _parameter(self, frame: Frame, wanted: int) -> tuple[bytes, bool] | None:
        if not self._is(frame, Type.READ) or len(frame.data) != 8:
            return None
        _, index, value, exists = cybergear.parse_parameter(frame)
        return (value, exists) if index == wanted else None

    # ── hot path ──

    def cycle_bits(self) -> float:
        return 4.0 * _BITS

    @property
    def drives(self) -> bool:
        return self.run is not Run.RESET

    def _ready(self) -> bool:
        return self.run is Run.RUN and not self._steps

    def _begin_enabling(self, mode: Mode) -> None:
        """Stop, run mode, read it back, a set-point that changes nothing, enable: one a cycle, each sent once."""
        parameters, number = self.model.parameters, self.model.run_modes[mode]
        host, motor = HOST, self.address
        self._run_mode = None
        self._steps = [
            lambda: (cybergear.stop(host, motor), _FEEDBACK),
            lambda: (
                cybergear.write_parameter(host, motor, parameters["run_mode"], bytes((number,))),
                _FEEDBACK,
            ),
            lambda: (cybergear.read_parameter(host, motor, parameters["run_mode"]), parameters["run_mode"]),
        ]
        if mode is not Mode.TORQUE:
            self._steps.append(lambda: (self._setpoint(mode, self.resting()), _FEEDBACK))
        self._steps.append(self._switch_on)

    def _switch_on(self) -> Question:
        """Only in the run mode that was read back: another one would take the set-points for something else."""
        if self.wanted is None or self._run_mode != self.model.run_modes[self.wanted]:
            self.fail(
                f"run mode reads {self._run_mode} instead of the one that was written",
                0xFF03,
                "reopen the bench",
            )
            return cybergear.stop(HOST, self.address), _FEEDBACK
        return cybergear.enable(HOST, self.address), _FEEDBACK

    def disable(self) -> None:
        super().disable()
        self._steps = []

    def torque_off(self) -> list[Frame]:
        return [cybergear.stop(HOST, self.address)]

    def _questions(self, command: Command | None, now_s: float) -> list[Question]:
        position = self.model.parameters["mechPos"]
        asked: list[Question] = [(cybergear.read_parameter(HOST, self.address, position), position)]
        if self.wanted is None:
            asked.insert(0, (cybergear.stop(HOST, self.address), _FEEDBACK))
        elif self._steps:
            asked.insert(0, self._steps.pop(0)())
        elif self._ready():
            value = command.value if command is not None else self.resting()
            asked.insert(0, (self._setpoint(self.wanted, value), _FEEDBACK))
        else:  # it has been told to switch on, once; now it is watched
            asked.insert(0, (cybergear.read_parameter(HOST, self.address, self._iq), self._iq))
        return asked

    @property
    def _iq(self) -> int:
        return self.model.parameters["iqf"]

    def _setpoint(self, mode: Mode, value: float) -> Frame:
        if mode is Mode.TORQUE:
            return cybergear.operation(self.model.ranges, self.address, 0.0, 0.0, 0.0, 0.0, value)
        parameter = self.model.parameters["loc_ref" if mode is Mode.POSITION else "spd_ref"]
        return cybergear.write_parameter(HOST, self.address, parameter, struct.pack("<f", value))

    def _barrier_question(self, number: int) -> Question | None:
        index = self.model.parameters[("VBUS", "limit_spd", "limit_torque")[number % 3]]
        return cybergear.read_parameter(HOST, self.address, index), index

    def _kind(self, frame: Frame) -> int | None:
        kind, _, target = cybergear.split_id(frame.can_id)
        if kind == Type.FAULT:
            self._on_report(frame.data)
            return None
        if target != HOST:
            return None
        if kind == Type.FEEDBACK:
            self._on_faults(frame)
            return _FEEDBACK
        return cybergear.parse_parameter(frame)[1]

    def _take(self, kind: int, frame: Frame, now_s: float) -> None:
        if kind == _FEEDBACK:
            found = cybergear.parse_feedback(frame, self.model.ranges)
            self.run = Run(found.run)
            self.saturated = found.saturated
            self.put("velocity", found.velocity, now_s)
            self.put("torque", found.torque, now_s)
            self.put("temperature", found.temperature_K, now_s)
            return
        _, index, value, exists = cybergear.parse_parameter(frame)
        if not exists:
            raise ValueError(f"parameter {index:04X}h is not known to the motor")
        if index == self.model.parameters["mechPos"]:
            self.put("position", struct.unpack("<f", value)[0], now_s)
        elif index == self.model.parameters["run_mode"]:
            self._run_mode = value[0]

    def _on_faults(self, frame: Frame) -> None:
        """Faults count whenever they come; a feedback that is late says nothing else."""
        found = cybergear.parse_feedback(frame, self.model.ranges)
        if found.faults:
            self.fail(
                f"reports: {self.fault_text(found.faults, self.model.faults)}",
                found.faults,
                "remove the cause, then reopen the bench",
            )

    def _on_report(self, data: bytes) -> None:
        faults, _warnings = cybergear.parse_fault(data)
        if faults:
            self.fail(
                f"reports: {self.fault_text(faults, self.model.reports)}",
                faults,
                "remove the cause, then reopen the bench",
            )
