"""One Modbus unit on the line: identification, readings, health."""

from __future__ import annotations

import math
import struct

from drivers.device import (
    DeviceState,
    Identity,
    IdentityMismatch,
    ProtocolViolation,
    Quality,
    Signal,
    TransportLost,
    TransportTimeout,
)
from drivers.modbus.codec import (
    Function,
    Number,
    read_request,
    response_bytes,
    write_register,
    write_registers,
)
from drivers.modbus.model import ModbusModel
from drivers.modbus.rtu import Answer, ModbusException, RtuMaster

LOST_AFTER = 3
BACK_OFF_S = 1.0
START_TIMEOUT_S = 0.2
_IDENTITY = struct.Struct(">HIH")
_IDENTITY_REGISTERS = 4


class ModbusDevice:
    """One unit on the line: identification, readings, health. `serial`, when given, is the only one
    accepted.
    """

    def __init__(self, name: str, unit: int, model: ModbusModel, serial: str | None = None) -> None:
        if not 1 <= unit <= 247:
            raise ValueError(f"{name}: unit {unit} is outside 1…247")
        self.name, self.unit, self.model = name, unit, model
        self.counters = {"crc": 0, "timeout": 0, "nak": 0, "stray": 0}
        self.values: dict[str, float] = dict.fromkeys(model.readings, math.nan)
        self.bad = False
        self.sampled_s = -math.inf
        self.next_poll_s = -math.inf
        self.lost = False
        self._misses = 0
        self._master: RtuMaster | None = None
        self._serial = serial
        self._identity: Identity | None = None
        self._request = read_request(model.function, model.address, model.count)

    @property
    def signals(self) -> tuple[Signal, ...]:
        return self.model.offered()

    @property
    def state(self) -> DeviceState:
        return DeviceState.LOST if self.lost else DeviceState.READY

    @property
    def every_cycle(self) -> bool:
        return self.model.period_s == 0.0

    def wire_bytes(self) -> int:
        """Bytes of one cycle, requests and responses."""
        return sum(3 + len(request) + response_bytes(request) for request in self.requests())

    def requests(self) -> tuple[bytes, ...]:
        """What is asked in one cycle, or of the same length."""
        return (self._request,)

    def attach(self, master: RtuMaster) -> None:
        """A line has been opened: everything known so far is forgotten, except who the device was."""
        self._master = master
        self.values = dict.fromkeys(self.model.readings, math.nan)
        self.sampled_s = self.next_poll_s = -math.inf
        self.bad = self.lost = False
        self._misses = 0

    def identify(self) -> Identity:
        """Raises IdentityMismatch when it is not the described device, TransportTimeout, ProtocolViolation."""
        self._identity = self._ask_identity(hurried=False)
        return self._identity

    def _ask_identity(self, *, hurried: bool) -> Identity:
        """At start with time and repetitions, `hurried` within a cycle with neither."""
        timeout_s, retries = (self.model.timeout_s, 0) if hurried else (START_TIMEOUT_S, 2)
        request = read_request(Function.READ_HOLDING, self.model.identity_address, _IDENTITY_REGISTERS)
        pdu = self._line.ask(self.name, self.unit, request, timeout_s, self.counters, retries).pdu
        number, serial, firmware = _IDENTITY.unpack(pdu[2:])
        if number != self.model.model_number:
            raise IdentityMismatch(
                self.name,
                f"model number is {number:04X}h, {self.model.name} has {self.model.model_number:04X}h",
                "check address and model in the bench file",
            )
        wanted = self._serial or (self._identity.serial if self._identity else None)
        if wanted is not None and str(serial) != wanted:
            raise IdentityMismatch(
                self.name,
                f"serial number is {serial}, expected {wanted}",
                "update the bench file and calibrations",
            )
        return Identity(self.name, self.model.name, str(serial), f"{firmware / 100:.2f}")

    def _set(self, address: int, number: Number, digits: int) -> None:
        """Write a parameter unless it has its value already (it may lie in an EEPROM), and read it back."""
        data = number.pack(digits)
        if self._holding(address, number) == data:
            return
        write = write_register(address, digits & 0xFFFF) if len(data) == 2 else write_registers(address, data)
        self._ask(write)
        found = self._holding(address, number)
        if found != data:
            raise ProtocolViolation(
                self.name, f"register {address:04X}h reads back {found.hex()}, not {data.hex()}"
            )

    def _holding(self, address: int, number: Number) -> bytes:
        return self._ask(read_request(Function.READ_HOLDING, address, number.registers), retries=2)[2:]

    def _ask(self, request: bytes, retries: int = 0) -> bytes:
        """One transaction outside the cycle."""
        return self._line.ask(self.name, self.unit, request, START_TIMEOUT_S, self.counters, retries).pdu

    @property
    def _line(self) -> RtuMaster:
        if self._master is None:
            raise TransportLost(self.name, "the line is not open")
        return self._master

    def poll(self, now_s: float) -> float | None:
        """Read all signals. Returns when the device began to answer, None when it did not.

        Raises TransportLost.
        """
        try:
            if self.lost:
                self._return()
                return None
            answer = self._line.ask(self.name, self.unit, self._request, self.model.timeout_s, self.counters)
        except (TransportTimeout, ProtocolViolation, ModbusException, IdentityMismatch):
            self._miss(now_s)
            return None
        return self._take(answer, now_s)

    def _return(self) -> None:
        """Ask a lost device who it is; raises as `identify`, TransportTimeout in most cases."""
        self._ask_identity(hurried=True)
        self.lost = False
        self._misses = 0

    def _miss(self, now_s: float) -> None:
        self._misses += 1
        self.lost = self.lost or self._misses >= LOST_AFTER
        self.next_poll_s = now_s + (BACK_OFF_S if self.lost else self.model.slowest_s)

    def _take(self, answer: Answer, now_s: float) -> float:
        """Values of a complete answer; returns when the device began to send it."""
        registers = answer.pdu[2:]
        for name, reading in self.model.readings.items():
            start = 2 * reading.register
            number = reading.number.unpack(registers[start : start + reading.number.size])
            self.values[name] = number * reading.scale + reading.offset
        self.bad = self._is_bad(registers)
        self._misses = 0
        self.sampled_s = answer.begun_s
        self.next_poll_s = now_s + self.model.period_s
        return answer.begun_s

    def _is_bad(self, registers: bytes) -> bool:
        """Whether the device itself says that its readings are wrong."""
        if self.model.status_register is None:
            return False
        status = 2 * self.model.status_register
        return registers[status : status + 2] != b"\0\0"

    def quality(self, signal: str, cycle_s: float, now_s: float) -> Quality:
        """`cycle_s` is when the present cycle began."""
        if math.isnan(self.values[signal]):
            return Quality.BAD
        good = (
            self.sampled_s >= cycle_s if self.every_cycle else now_s - self.sampled_s <= self.model.max_age_s
        )
        if not good:
            return Quality.STALE
        return Quality.BAD if self.bad else Quality.GOOD
