"""Emulated Modbus RTU devices on a pseudo-terminal, in front of a plant.

The line is silent for other units, drops frames with a wrong CRC, and takes the time that a real one would:
the answer appears after the request, the device's turnaround and its own bytes have passed at the baud rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from drivers.bus.event_loop import EventLoop
from drivers.emulators.plant import Plant
from drivers.emulators.pty_line import PtyLine
from drivers.modbus.codec import (
    Function,
    exception,
    pack_adu,
    read_response,
    request_bytes,
    silence_s,
    unpack_adu,
    write_register,
)
from drivers.modbus.model import ModbusModel, Reading

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3


class EmulatedSlave:
    """One unit. The fault switches (`mute`, `garble`, `extra_delay_s`, `status`) are for tests."""

    def __init__(self, name: str, unit: int, model: ModbusModel, plant: Plant, serial: int = 1) -> None:
        self.name, self.unit, self.model, self.plant = name, unit, model, plant
        self.mute = False
        self.garble = 0  # so many answers are sent with a flipped bit
        self.truncate = 0  # so many answers end too early
        self.extra_delay_s = 0.0
        self.status = 0
        identity = (
            model.model_number.to_bytes(2, "big")
            + serial.to_bytes(4, "big")
            + model.firmware.to_bytes(2, "big")
        )
        self._holding = {model.identity_address + n: identity[2 * n : 2 * n + 2] for n in range(4)}
        self._holding |= {address: value.to_bytes(2, "big") for address, value in model.settings.items()}
        self.now_s = -math.inf

    def heard(self, now_s: float) -> None:
        """A request for this unit has come in complete."""

    def next_due(self) -> float:
        """When `tick` wants to be called; inf for a device that watches nobody."""
        return math.inf

    def tick(self, now_s: float) -> None:
        """Its own watchdog."""

    def excuse(self, frozen_s: float) -> None:
        """See `EmulatedLine.excuse`."""

    def respond(self, pdu: bytes) -> bytes:
        """Answer to one request PDU; the plant and `now_s` stand at the present."""
        match pdu[0]:
            case Function.READ_HOLDING:
                return self._read(pdu, self._readable())
            case Function.READ_INPUT:
                return self._read(pdu, self._input() if self.model.function is Function.READ_INPUT else {})
            case Function.WRITE_REGISTER:
                return self._write(pdu)
            case function:
                return exception(function, ILLEGAL_FUNCTION)

    def _readable(self) -> dict[int, bytes]:
        """Holding registers."""
        return (
            self._holding | self._input() if self.model.function is Function.READ_HOLDING else self._holding
        )

    def _read(self, pdu: bytes, registers: dict[int, bytes]) -> bytes:
        if len(pdu) != 5:
            return exception(pdu[0], ILLEGAL_VALUE)
        address, count = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
        if not 1 <= count <= 125:
            return exception(pdu[0], ILLEGAL_VALUE)
        wanted = range(address, address + count)
        if any(register not in registers for register in wanted):
            return exception(pdu[0], ILLEGAL_ADDRESS)
        return read_response(Function(pdu[0]), b"".join(registers[register] for register in wanted))

    def _write(self, pdu: bytes) -> bytes:
        address, value = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
        if address not in self.model.settings:
            return exception(pdu[0], ILLEGAL_ADDRESS)
        self._holding[address] = pdu[3:5]
        return write_register(address, value)

    def _input(self) -> dict[int, bytes]:
        """The block of readings now: quantised to the device's digit, overload bit when beyond full scale."""
        model, status = self.model, self.status
        block = bytearray(2 * model.count)
        for position, (name, reading) in enumerate(model.readings.items()):
            value = self._quantity(name, reading)
            if not abs(value) <= reading.full_scale:
                status |= 1 << position
                value = math.copysign(reading.full_scale, value) if not math.isnan(value) else 0.0
            digits = round((value - reading.offset) / reading.digit)
            packed = reading.number.pack(digits * reading.digit / reading.scale)
            block[2 * reading.register : 2 * reading.register + len(packed)] = packed
        self._put_status(block, status)
        return {model.address + n: bytes(block[2 * n : 2 * n + 2]) for n in range(model.count)}

    def _quantity(self, signal: str, reading: Reading) -> float:
        """What the device measures now, SI."""
        return self.plant.read(self.name, signal)

    def _put_status(self, block: bytearray, status: int) -> None:
        if self.model.status_register is not None:
            at = 2 * self.model.status_register
            block[at : at + 2] = status.to_bytes(2, "big")


class RtuLine:
    """A serial line with its slaves. `uri` is what a bench description names."""

    def __init__(
        self,
        loop: EventLoop,
        advance: Callable[[float], None],
        slaves: Sequence[EmulatedSlave],
        baudrate: int,
    ) -> None:
        self._loop, self._advance = loop, advance
        self._slaves = {slave.unit: slave for slave in slaves}
        self._silence_s = silence_s(baudrate)
        self._buffer = bytearray()
        self._heard_s, self._timer_s = -math.inf, math.inf
        self.answered = self.rejected = 0
        self._line = PtyLine(loop, baudrate, self._on_bytes)
        self.uri, self.path, self.close = self._line.uri, self._line.path, self._line.close

    def excuse(self, frozen_s: float) -> None:
        """See `EmulatedLine`."""
        for slave in self._slaves.values():
            slave.excuse(frozen_s)

    def _on_timer(self, now_s: float) -> None:
        if now_s < self._timer_s:
            return  # an earlier appointment that has been replaced
        self._timer_s = math.inf
        self._advance(now_s)
        for slave in self._slaves.values():
            if slave.next_due() <= now_s:
                slave.tick(now_s)
        self._settle()

    def _settle(self) -> None:
        """Make sure that the loop comes back in time for the next watchdog."""
        due = min((slave.next_due() for slave in self._slaves.values()), default=math.inf)
        if due < self._timer_s:
            self._timer_s = due
            self._loop.call_at(due, self._on_timer)

    def _on_bytes(self, chunk: bytes, now_s: float) -> None:
        byte_s = self._line.byte_s
        if self._buffer and now_s - self._heard_s > self._silence_s + len(self._buffer) * byte_s:
            self._reject()  # a pause within a frame ends it
        self._heard_s = now_s
        self._buffer += chunk
        while self._buffer:
            try:
                size = request_bytes(bytes(self._buffer))
            except ValueError:
                # Of unknown length: all of it is one frame, as far as the silence around it tells.
                size = len(self._buffer)
            if size is None or len(self._buffer) < size:
                return
            adu = bytes(self._buffer[:size])
            try:
                unit, pdu = unpack_adu(adu)
            except ValueError:
                self._reject()
                return
            del self._buffer[:size]
            slave = self._slaves.get(unit)
            if slave is not None and not slave.mute:
                slave.heard(now_s)
                due = now_s + size * byte_s + slave.model.turnaround_s + slave.extra_delay_s
                self._loop.call_at(due, partial(self._answer, slave, pdu))

    def _reject(self) -> None:
        self.rejected += 1
        self._buffer.clear()

    def _answer(self, slave: EmulatedSlave, pdu: bytes, now_s: float) -> None:
        self._advance(now_s)
        slave.now_s = now_s
        adu = bytearray(pack_adu(slave.unit, slave.respond(pdu)))
        self._settle()
        if slave.garble > 0:
            slave.garble -= 1
            adu[len(adu) // 2] ^= 0x10
        if slave.truncate > 0:
            slave.truncate -= 1
            del adu[-3:]
        self._loop.call_at(now_s + len(adu) * self._line.byte_s, lambda _now: self._send(bytes(adu)))

    def _send(self, adu: bytes) -> None:
        if self._line.send(adu):
            self.answered += 1
