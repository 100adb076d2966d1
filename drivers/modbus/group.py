"""All Modbus devices of one serial line, polled one after another: a row a cycle.

What a row means: devices polled every cycle are read within a few milliseconds of each other; the row's stamp
is the mean of the instants at which they began to answer (their skew is the time of a transaction, about 2.3
ms at 115 200 Bd). Slowly varying quantities are polled every `period_s` of their model, one such device a
cycle at most; in between they are GOOD up to `max_age_s`, then STALE.

A device that does not answer is STALE in that cycle, LOST after three misses in a row, and from then on only
asked once a second who it is, so that it costs the others nothing and a device that was exchanged does not
come back unnoticed.

What gives torque comes first in a cycle: all set-points are checked before the first one is written, and each is
written once. A drive or brake that is lost has its torque taken off by its own watchdog; that, like every fault of
its own, is raised once as `DeviceFault`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence

from drivers import clock
from drivers.bus.byte_streams import open_stream
from drivers.bus.transport import ByteStream
from drivers.device import (
    Command,
    DeviceFault,
    DriverError,
    Identity,
    Mode,
    Row,
    TransportLost,
)
from drivers.family import Column
from drivers.group import DeviceGroup, age_s
from drivers.modbus.actuator import ModbusActuator
from drivers.modbus.codec import silence_s
from drivers.modbus.device import ModbusDevice
from drivers.modbus.rtu import BITS_PER_BYTE, RtuMaster
from drivers.realtime import AwakeClock

LARGEST_LOAD = 0.8
#: So often the word that takes the torque off is written, at the most, before the watchdogs are left to it.
_OFF_ATTEMPTS = 4


class ModbusGroup(DeviceGroup[ModbusDevice]):
    """Implements `drivers.device.Group`.

    Raises ValueError when the line could not carry the cycle.
    """

    def __init__(
        self,
        name: str,
        devices: Sequence[ModbusDevice],
        columns: Sequence[Column],
        *,
        uri: str,
        baudrate: int,
        period_s: float,
        watchdog_s: float = 0.1,
        open_stream: Callable[[str, str, int], ByteStream] = open_stream,
    ) -> None:
        super().__init__(name, devices, columns, period_s)
        self._uri, self._baudrate, self._open_stream = uri, baudrate, open_stream
        self._actuators = tuple(d for d in devices if isinstance(d, ModbusActuator))
        self._fast = tuple(d for d in devices if d.every_cycle and d not in self._actuators)
        self._slow = tuple(d for d in devices if not d.every_cycle)
        standard = silence_s(baudrate)
        self._gap_s = max(
            (standard if d.model.silence_s is None else d.model.silence_s for d in devices), default=standard
        )
        self._master: RtuMaster | None = None
        self._stream: ByteStream | None = None
        self._since_s = 0.0
        self._watchdog_s = watchdog_s
        self._slice_s = max(5.0 * period_s, 0.01)
        self._clock = AwakeClock(self._slice_s, clock.now())
        load = self.planned_load()
        if load > LARGEST_LOAD:
            raise ValueError(
                f"{name}: the cycle takes {load:.0%} of the line's time, at most {LARGEST_LOAD:.0%} is sound"
            )

    def planned_load(self) -> float:
        """Share of a cycle that its transactions take, the slowest of the slow devices included."""
        spent = sum(self._transaction_s(d) for d in (*self._actuators, *self._fast)) + max(
            (self._transaction_s(d) for d in self._slow), default=0.0
        )
        return spent / self._period_s

    def _transaction_s(self, device: ModbusDevice) -> float:
        wire_s = device.wire_bytes() * BITS_PER_BYTE / self._baudrate
        return wire_s + len(device.requests()) * (device.model.turnaround_s + self._gap_s)

    def open(self) -> list[Identity]:
        """Open the line, identify every device, arm what gives torque. Raises the DriverError of the first one
        that is not in order.
        """
        self._stream = self._open_stream(self._name, self._uri, self._baudrate)
        # TCP carries bytes faster than the line behind it, and in lumps.
        self._master = RtuMaster(self._stream, gap_s=self._gap_s, honest_wire="tcp:" not in self._uri)
        self._since_s = clock.now()
        try:
            for device in self._members.values():
                device.attach(self._master)
            identities = [device.identify() for device in self._members.values()]
            for actuator in self._actuators:
                actuator.prepare()
            for actuator in self._actuators:  # the watchdogs start to count, so the cycles must follow
                actuator.arm_watchdog(self._watchdog_s)
        except BaseException:
            self.hush()
            raise
        self._clock = AwakeClock(self._slice_s, clock.now())
        return identities

    def cycle(self, commands: Mapping[str, Command]) -> Row:
        """Write what is commanded, read what is due. Raises CommandRefused, DeviceFault once for each new fault,
        TransportLost when the line is gone.
        """
        for commanded in commands:
            self._actuator(commanded)
        if self._master is None:
            raise TransportLost(self._name, "the line is not open")
        begin = clock.now()
        awake = self._clock.tick(begin)
        blocks = [a.block(commands.get(a.name), awake) for a in self._actuators]
        instants = []
        for actuator, block in zip(self._actuators, blocks, strict=True):
            if begin >= actuator.next_poll_s:
                instants.append(actuator.exchange(block, begin))
        for device in self._fast:
            if begin >= device.next_poll_s:
                instants.append(device.poll(begin))
        due = [d for d in self._slow if begin >= d.next_poll_s]
        if due:
            min(due, key=lambda d: d.next_poll_s).poll(begin)
        now = clock.now()
        self._check(self._clock.tick(now))
        answered = [instant for instant in instants if instant is not None]
        stamp = sum(answered) / len(answered) if answered else 0.5 * (begin + now)
        values = [device.values[signal] for device, signal in self._columns]
        quality = [device.quality(signal, begin, now) for device, signal in self._columns]
        return Row(stamp, values, quality, [age_s(stamp, device.sampled_s) for device, _ in self._columns])

    def _check(self, awake_s: float) -> None:
        first: DeviceFault | None = None
        for actuator in self._actuators:
            actuator.check(awake_s)
            first = first or actuator.take_fault()
        if first is not None:
            raise first

    def enable(self, device: str, mode: Mode) -> None:
        self._actuator(device).enable(mode)

    def disable(self, device: str) -> None:
        """Torque off with the next cycle; sensors carry none."""
        found = self._member(device)
        if isinstance(found, ModbusActuator):
            found.disable()

    def measured(self, device: str, mode: Mode) -> float:
        found = self._member(device)
        return found.measured(mode) if isinstance(found, ModbusActuator) else math.nan

    def limits(self, device: str, mode: Mode) -> tuple[float, float]:
        actuator = self._actuator(device)
        largest = actuator.limit(mode)
        return (0.0 if actuator.table.unipolar else -largest), largest

    def safe_stop(self) -> None:
        """Torque off on every device until it shows it, at most four attempts each; then the watchdogs are left to
        it.
        """
        for actuator in self._actuators:
            actuator.disable()
        if self._master is None:
            return
        pending = list(self._actuators)
        for _ in range(_OFF_ATTEMPTS):
            pending = [actuator for actuator in pending if not actuator.confirm_off()]
            if not pending:
                return

    def close(self) -> None:
        """Torque off, watchdogs disarmed where it is, line closed. Never raises."""
        if self._master is not None:
            self.safe_stop()
            for actuator in self._actuators:
                if actuator.armed and not actuator.torque_may_flow:
                    with contextlib.suppress(DriverError):
                        actuator.disarm_watchdog()
        self.hush()

    def hush(self) -> None:
        if self._stream is not None:
            with contextlib.suppress(DriverError):
                self._stream.close()
        self._stream = self._master = None

    def load(self) -> float:
        elapsed = clock.now() - self._since_s
        return self._master.busy_s / elapsed if self._master is not None and elapsed > 0 else 0.0

    def _actuator(self, device: str) -> ModbusActuator:
        found = self._member(device)
        if not isinstance(found, ModbusActuator):
            self._no_setpoints(device)
        return found
