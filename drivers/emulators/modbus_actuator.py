"""An emulated Modbus servo drive or brake in front of a plant, from the same table as its driver.

It walks the table's steps as far as the control word it is sent allows, takes the time of each, keeps to its own
limits, and watches its master: a table's watchdog that is set and not fed takes the torque off and leaves the fault
that the table names. With the reaction register at another value it does nothing, which is the hazard that the driver
must not accept.
"""

from __future__ import annotations

import math

from drivers.device import Command, Mode
from drivers.emulators.modbus_slave import ILLEGAL_ADDRESS, ILLEGAL_VALUE, EmulatedSlave
from drivers.emulators.plant import Plant
from drivers.emulators.servo402 import PowerEvent
from drivers.modbus.actuation import Actuation
from drivers.modbus.codec import Function, Number, exception, read_response
from drivers.modbus.model import ModbusModel, Reading

#: A brake's torque changes its sign with that of the speed; below this speed (rad/s) it fades.
_CREEP = 0.05


class EmulatedActuator(EmulatedSlave):
    """`on_power(device, on, reason, now_s)` is told whenever torque is switched on or off."""

    def __init__(
        self,
        name: str,
        unit: int,
        model: ModbusModel,
        plant: Plant,
        serial: int = 1,
        on_power: PowerEvent = lambda *_: None,
    ) -> None:
        super().__init__(name, unit, model, plant, serial)
        if model.actuation is None:
            raise ValueError(f"{name}: model {model.name} gives no torque")
        self.table: Actuation = model.actuation
        self._on_power = on_power
        self.torque_on = False
        self.fault = 0
        self.refuse_watchdog = False  # fault injection: the watchdog's register keeps its old value
        self._steps = 0  # how many are done
        self._step_due_s = math.inf
        self._word = self.table.disable
        self._fed_s = math.inf
        table = self.table
        self._holding |= {table.address + n: b"\0\0" for n in range(table.count)}
        self._settle(table.watchdog.address, table.watchdog.number, 0)
        if table.watchdog.reaction_address is not None:
            self._settle(table.watchdog.reaction_address, Number("uint16"), 0)
        for parameter in table.parameters:
            self._settle(parameter.address, parameter.number, 0)

    def _settle(self, address: int, number: Number, digits: int) -> None:
        data = number.pack(digits)
        for n in range(number.registers):
            self._holding[address + n] = data[2 * n : 2 * n + 2]

    # ── requests ──

    def respond(self, pdu: bytes) -> bytes:
        self._walk()
        match pdu[0]:
            case Function.WRITE_REGISTERS:
                address, count = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
                return self._write_all(pdu[0], address, count, pdu[5:]) or pdu[:5]
            case Function.READ_WRITE_REGISTERS if self.table.function is Function.READ_WRITE_REGISTERS:
                address, count = int.from_bytes(pdu[5:7], "big"), int.from_bytes(pdu[7:9], "big")
                refused = self._write_all(pdu[0], address, count, pdu[9:])
                answer = self._read(bytes((Function.READ_HOLDING,)) + pdu[1:5], self._readable())
                if refused is not None or answer[0] & 0x80:
                    return refused or exception(pdu[0], answer[1])
                return read_response(Function.READ_WRITE_REGISTERS, answer[2:])
            case _:
                return super().respond(pdu)

    def _write(self, pdu: bytes) -> bytes:
        address = int.from_bytes(pdu[1:3], "big")
        return self._write_all(pdu[0], address, 1, b"\x02" + pdu[3:5]) or pdu[:5]

    def _write_all(self, function: int, address: int, count: int, counted: bytes) -> bytes | None:
        """Take over registers; an exception when that is not allowed."""
        data = counted[1:]
        if counted[0] != len(data) or len(data) != 2 * count or count < 1:
            return exception(function, ILLEGAL_VALUE)
        identity = range(self.model.identity_address, self.model.identity_address + 4)
        for register in range(address, address + count):
            if register not in self._holding or register in identity:
                return exception(function, ILLEGAL_ADDRESS)
        dog = self.table.watchdog
        for n in range(count):
            if not (self.refuse_watchdog and address + n == dog.address):
                self._holding[address + n] = data[2 * n : 2 * n + 2]
        if range(
            max(address, self.table.address), min(address + count, self.table.address + self.table.count)
        ):
            self._obey()
        return None

    def _register(self, offset: int) -> int:
        return int.from_bytes(self._holding[self.table.address + offset], "big")

    # ── torque ──

    def _obey(self) -> None:
        """The control block has been written."""
        table = self.table
        before, self._word = self._word, self._register(table.word)
        if self._word == table.reset and before != table.reset:
            self.fault = 0
        self._walk()
        if self.torque_on:
            self.plant.command(self.name, self._command())

    def _walk(self) -> None:
        """As far along the steps as control word and time allow."""
        steps = self.table.steps
        sent = next((n + 1 for n, step in enumerate(steps) if step.send == self._word), 0)
        allowed = 0 if self.fault else sent
        if allowed < self._steps:
            self._steps, self._step_due_s = allowed, math.inf
        while self._steps < allowed:
            if self._step_due_s == math.inf:
                self._step_due_s = self.now_s + steps[self._steps].takes_s
            if self.now_s < self._step_due_s:
                break
            self._steps, self._step_due_s = self._steps + 1, math.inf
        if self.fault:
            reason = f"fault {self.fault:04X}h"
        else:
            reason = f"control word {self._word:04X}h"
        self._switch(self._steps == len(steps), reason)

    def _switch(self, on: bool, reason: str) -> None:
        if on == self.torque_on:
            return
        self.torque_on = on
        self._on_power(self.name, on, reason, self.now_s)
        if not on:
            self.plant.command(self.name, None)

    def fail(self, code: int, now_s: float, reason: str | None = None) -> None:
        """Fault injection, and the device's own faults: torque off."""
        self.now_s, self.fault, self._steps, self._step_due_s = now_s, code, 0, math.inf
        self._switch(False, reason or f"fault {code:04X}h")

    def _mode(self) -> Mode:
        table = self.table
        if table.mode is None:
            return next(iter(table.targets))
        code = self._register(table.mode)
        return next((mode for mode, target in table.targets.items() if target.code == code), Mode.TORQUE)

    def _target(self, mode: Mode) -> float:
        target = self.table.targets[mode]
        size = range(target.register, target.register + target.number.registers)
        data = b"".join(self._holding[self.table.address + n] for n in size)
        value = target.number.unpack(data) * target.scale
        limit = self.table.limits.get(mode, math.inf)
        return max(0.0 if self.table.unipolar else -limit, min(limit, value))

    def _command(self) -> Command:
        mode = self._mode()
        value = self._target(mode)
        if self.table.unipolar:  # against whatever turns it
            speed = self.plant.read(self.name, "velocity")
            value *= -max(-1.0, min(1.0, speed / _CREEP))
        return Command(mode, value)

    # ── readings ──

    def _quantity(self, signal: str, reading: Reading) -> float:
        if reading.per_torque is None:
            return super()._quantity(signal, reading)
        if self.table.unipolar:
            return reading.per_torque * self._target(Mode.TORQUE) if self.torque_on else 0.0
        return reading.per_torque * self.plant.read(self.name, "torque")

    def _put_status(self, block: bytearray, status: int) -> None:
        table = self.table
        word = table.ready.value if len(table.steps) == 1 else 0
        for step in table.steps[: self._steps]:
            word = word & ~step.until.mask | step.until.value
        if self.fault:
            word = word & ~table.fault.mask | table.fault.value
        if table.bad is not None and status:
            word |= table.bad.value
        block[2 * table.status_register : 2 * table.status_register + 2] = word.to_bytes(2, "big")
        block[2 * table.fault_register : 2 * table.fault_register + 2] = self.fault.to_bytes(2, "big")

    # ── watchdog ──

    def heard(self, now_s: float) -> None:
        self._fed_s = now_s

    def next_due(self) -> float:
        dog = self.table.watchdog
        data = b"".join(self._holding[dog.address + n] for n in range(dog.number.registers))
        timeout_s = dog.number.unpack(data) * dog.unit_s
        return self._fed_s + timeout_s if timeout_s > 0 and self.torque_on else math.inf

    def tick(self, now_s: float) -> None:
        dog = self.table.watchdog
        self._fed_s = math.inf  # acts once
        if dog.reaction_address is not None:
            chosen = int.from_bytes(self._holding[dog.reaction_address], "big")
            if chosen != dog.reaction:
                return
        self.fail(dog.fault, now_s, "master no longer heard")

    def excuse(self, frozen_s: float) -> None:
        self._fed_s += frozen_s


def emulated_unit(
    name: str, unit: int, model: ModbusModel, plant: Plant, serial: int, on_power: PowerEvent
) -> EmulatedSlave:
    """The device of a model: a sensor, or what gives torque."""
    if model.actuation is None:
        return EmulatedSlave(name, unit, model, plant, serial)
    return EmulatedActuator(name, unit, model, plant, serial, on_power)
