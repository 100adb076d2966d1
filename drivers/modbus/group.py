"""All Modbus devices of one serial line, polled one after another: a row a cycle.

What a row means: devices polled every cycle are read within a few milliseconds of each other; the row's stamp
is the mean of the instants at which they began to answer (their skew is the time of a transaction, about 2.3
ms at 115 200 Bd). Slowly varying quantities are polled every `period_s` of their model, one such device a
cycle at most; in between they are GOOD up to `max_age_s`, then STALE.

A device that does not answer is STALE in that cycle, LOST after three misses in a row, and from then on only
asked once a second who it is, so that it costs the others nothing and a device that was exchanged does not
come back unnoticed.
"""

from __future__ import annotations

import contextlib
import math
import struct
import time
from collections.abc import Callable, Mapping, Sequence

from drivers.bus.serial_stream import open_serial
from drivers.bus.transport import ByteStream
from drivers.device import (
    Command,
    CommandRefused,
    DeviceState,
    DriverError,
    Identity,
    IdentityMismatch,
    Mode,
    ProtocolViolation,
    Quality,
    Row,
    Signal,
    TransportLost,
    TransportTimeout,
)
from drivers.modbus.codec import Function, read_request, response_bytes, silence_s
from drivers.modbus.model import ModbusModel
from drivers.modbus.rtu import BITS_PER_BYTE, ModbusException, RtuMaster

LOST_AFTER = 3
BACK_OFF_S = 1.0
START_TIMEOUT_S = 0.2
LARGEST_LOAD = 0.8
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
        """Bytes of one poll, request and response."""
        return 8 + response_bytes(self._request)

    def identify(self, master: RtuMaster, *, hurried: bool = False) -> Identity:
        """Ask who it is; at start with time and repetitions, `hurried` within a cycle with neither.

        Raises IdentityMismatch when it is not the described device, TransportTimeout, ProtocolViolation.
        """
        timeout_s, retries = (self.model.timeout_s, 0) if hurried else (START_TIMEOUT_S, 2)
        request = read_request(Function.READ_HOLDING, self.model.identity_address, _IDENTITY_REGISTERS)
        pdu = master.ask(self.name, self.unit, request, timeout_s, self.counters, retries).pdu
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
        self._identity = Identity(self.name, self.model.name, str(serial), f"{firmware / 100:.2f}")
        return self._identity

    def poll(self, master: RtuMaster, now_s: float) -> float | None:
        """Read all signals. Returns when the device began to answer, None when it did not. Raises
        TransportLost.
        """
        try:
            if self.lost:
                self.identify(master, hurried=True)
                self.lost = False
                self._misses = 0
                return None
            answer = master.ask(self.name, self.unit, self._request, self.model.timeout_s, self.counters)
        except (TransportTimeout, ProtocolViolation, ModbusException, IdentityMismatch):
            self._misses += 1
            self.lost = self.lost or self._misses >= LOST_AFTER
            self.next_poll_s = now_s + (BACK_OFF_S if self.lost else self.model.slowest_s)
            return None
        registers = answer.pdu[2:]
        for name, reading in self.model.readings.items():
            start = 2 * reading.register
            number = reading.number.unpack(registers[start : start + reading.number.size])
            self.values[name] = number * reading.scale + reading.offset
        status = 2 * self.model.status_register
        self.bad = registers[status : status + 2] != b"\0\0"
        self._misses = 0
        self.sampled_s = answer.begun_s
        self.next_poll_s = now_s + self.model.period_s
        return answer.begun_s

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


class ModbusGroup:
    """Implements `drivers.device.Group`; `columns` are (channel, device, signal).

    Raises ValueError when the line could not carry the cycle.
    """

    def __init__(
        self,
        name: str,
        devices: Sequence[ModbusDevice],
        columns: Sequence[tuple[str, str, str]],
        *,
        uri: str,
        baudrate: int,
        period_s: float,
        open_stream: Callable[[str, str, int], ByteStream] = open_serial,
    ) -> None:
        self._name, self._period_s = name, period_s
        self._uri, self._baudrate, self._open_stream = uri, baudrate, open_stream
        self._devices = {device.name: device for device in devices}
        self._fast = tuple(d for d in devices if d.every_cycle)
        self._slow = tuple(d for d in devices if not d.every_cycle)
        self._channels = tuple(channel for channel, _, _ in columns)
        self._columns = tuple((self._devices[device], signal) for _, device, signal in columns)
        standard = silence_s(baudrate)
        self._gap_s = max(
            (standard if d.model.silence_s is None else d.model.silence_s for d in devices), default=standard
        )
        self._master: RtuMaster | None = None
        self._stream: ByteStream | None = None
        self._since_s = 0.0
        load = self.planned_load()
        if load > LARGEST_LOAD:
            raise ValueError(
                f"{name}: the cycle takes {load:.0%} of the line's time, at most {LARGEST_LOAD:.0%} is sound"
            )

    @property
    def name(self) -> str:
        return self._name

    @property
    def channels(self) -> tuple[str, ...]:
        return self._channels

    @property
    def period_s(self) -> float:
        return self._period_s

    def planned_load(self) -> float:
        """Share of a cycle that its transactions take, the slowest of the slow devices included."""
        spent = sum(self._transaction_s(d) for d in self._fast) + max(
            (self._transaction_s(d) for d in self._slow), default=0.0
        )
        return spent / self._period_s

    def _transaction_s(self, device: ModbusDevice) -> float:
        return device.wire_bytes() * BITS_PER_BYTE / self._baudrate + device.model.turnaround_s + self._gap_s

    def open(self) -> list[Identity]:
        """Open the line and identify every device. Raises the DriverError of the first one that is not in
        order.
        """
        self._stream = self._open_stream(self._name, self._uri, self._baudrate)
        self._master = RtuMaster(self._stream, gap_s=self._gap_s)
        self._since_s = time.monotonic()
        try:
            return [device.identify(self._master) for device in self._devices.values()]
        except BaseException:
            self.hush()
            raise

    def cycle(self, commands: Mapping[str, Command]) -> Row:
        """Poll what is due. Raises CommandRefused for any command, TransportLost when the line is gone."""
        for commanded in commands:
            self._refuse(commanded)
        master = self._opened()
        begin = time.monotonic()
        instants = []
        for device in self._fast:
            if begin >= device.next_poll_s:
                instant = device.poll(master, begin)
                if instant is not None:
                    instants.append(instant)
        due = [d for d in self._slow if begin >= d.next_poll_s]
        if due:
            min(due, key=lambda d: d.next_poll_s).poll(master, begin)
        now = time.monotonic()
        stamp = sum(instants) / len(instants) if instants else 0.5 * (begin + now)
        values = [device.values[signal] for device, signal in self._columns]
        return Row(stamp, values, [device.quality(signal, begin, now) for device, signal in self._columns])

    def state(self, device: str) -> DeviceState:
        return self._device(device).state

    def enable(self, device: str, mode: Mode) -> None:
        self._refuse(device)

    def disable(self, device: str) -> None:
        """Sensors carry no torque."""

    def measured(self, device: str, mode: Mode) -> float:
        return math.nan

    def limit(self, device: str, mode: Mode) -> float:
        self._refuse(device)
        return 0.0

    def safe_stop(self) -> None:
        """Sensors carry no torque."""

    def close(self) -> None:
        self.hush()

    def hush(self) -> None:
        if self._stream is not None:
            with contextlib.suppress(DriverError):
                self._stream.close()
        self._stream = self._master = None

    def counters(self) -> dict[str, dict[str, int]]:
        return {name: dict(device.counters) for name, device in self._devices.items()}

    def load(self) -> float:
        elapsed = time.monotonic() - self._since_s
        return self._master.busy_s / elapsed if self._master is not None and elapsed > 0 else 0.0

    def _opened(self) -> RtuMaster:
        if self._master is None:
            raise TransportLost(self._name, "the line is not open")
        return self._master

    def _device(self, device: str) -> ModbusDevice:
        try:
            return self._devices[device]
        except KeyError:
            raise CommandRefused(
                device, f"is not on bus {self._name}; there are {', '.join(self._devices)}"
            ) from None

    def _refuse(self, device: str) -> None:
        raise CommandRefused(device, f"model {self._device(device).model.name} takes no set-points")
