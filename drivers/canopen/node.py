"""One CANopen device on the bus: identification, configuration, process data, health.

Everything that waits (SDO) happens in `prepare` and the other start-up calls; `accept` and `missing` are the
hot path. What a device type adds to this is in `drive` (CiA 402) and `encoder` (CiA 406).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from drivers.bus.frame import Frame
from drivers.bus.transport import FrameBus
from drivers.canopen.codec import (
    HEARTBEAT_BASE,
    RPDO_BASE,
    TPDO_BASE,
    Emergency,
    MappedObject,
    NmtState,
    Unwrap,
)
from drivers.canopen.model import CanopenModel
from drivers.canopen.sdo import SdoClient
from drivers.device import DeviceFault, DeviceState, DriverError, Identity, IdentityMismatch, Signal

PDO_DISABLED = 0x8000_0000
#: Transmission type 1 (CiA 301, table 72): applied or sent with every SYNC.
EVERY_SYNC = 1
_OPERATIONAL = NmtState.OPERATIONAL

#: What a counted object stands for: a counter without an end, one bit.
Reader = Callable[[int], int]


def _bit(bit: int, digits: int) -> int:
    return digits >> bit & 1


class CanopenNode:
    """A device of model `model` at node address `node`. `serial`, when given, is the only one accepted."""

    def __init__(self, name: str, node: int, model: CanopenModel, serial: str | None = None) -> None:
        if not 1 <= node <= 126:
            raise ValueError(f"{name}: node address {node} is outside 1…126 (127 is the master's)")
        self.name, self.node, self.model = name, node, model
        self.counters = {"crc": 0, "timeout": 0, "nak": 0, "missed": 0, "late": 0, "emcy": 0}
        self.values: dict[str, float] = dict.fromkeys(model.signals, math.nan)
        self.bad = False  # the device itself says that its reading is wrong
        self.lost = False
        self.fault: DeviceFault | None = None
        self.nmt_state: NmtState | None = None
        self.heard_s = 0.0
        self._longest_silence_s = 3.0 * model.heartbeat_s
        self.fresh = [False] * len(model.tpdos)
        self._none_fresh = (False,) * len(model.tpdos)
        self._serial = serial
        self._sdo: SdoClient | None = None
        self.unread: DeviceFault | None = None  # the fault that nobody has been told of yet
        self._monitored = self._answered_start = False
        readers: list[tuple[tuple[int, str, float, Reader | None], ...]] = []
        for names in model.tpdos:
            found = []
            for signal, scaled in model.signals.items():
                if scaled.object.name in names:
                    reader: Reader | None = None
                    if signal == "position":
                        reader = Unwrap(scaled.object.bits)
                    elif scaled.bit is not None:
                        reader = partial(_bit, scaled.bit)
                    found.append((names.index(scaled.object.name), signal, scaled.digit, reader))
            readers.append(tuple(found))
        self._readers = tuple(readers)
        #: By TPDO, for the hot path: its length, how it is unpacked, what is read from it.
        self._pdos = tuple(
            (layout.size, layout.unpack_from, entries)
            for layout, entries in zip(map(model.layout, model.tpdos), readers, strict=True)
        )
        self._pdo_of = {signal: n for n, entries in enumerate(readers) for _, signal, _, _ in entries}

    # ── capabilities ──

    @property
    def signals(self) -> tuple[Signal, ...]:
        return self.model.offered()

    @property
    def state(self) -> DeviceState:
        if self.lost:
            return DeviceState.LOST
        return DeviceState.FAULT if self.fault else DeviceState.READY

    @property
    def sdo(self) -> SdoClient:
        if self._sdo is None:
            raise DriverError(self.name, "the bus is not open")
        return self._sdo

    def attach(self, bus: FrameBus, on_other: Callable[[Frame], None]) -> None:
        """A bus has been opened: everything known so far is forgotten."""
        self._sdo = SdoClient(bus, self.name, self.node, on_other)
        self.values = dict.fromkeys(self.model.signals, math.nan)
        self.bad = self.lost = self._monitored = False
        self.fault = self.unread = None
        self.fresh[:] = [False] * len(self.fresh)
        self.restart_counters()

    def restart_counters(self) -> None:
        """The next reading of a counter is taken as it is."""
        for entries in self._readers:
            for _, _, _, reader in entries:
                if isinstance(reader, Unwrap):
                    reader.restart()

    def identify(self) -> Identity:
        """Identity object 1018h, 1008h and 100Ah. Raises IdentityMismatch when it is not the described
        device.
        """
        sdo, model = self.sdo, self.model
        vendor, product = sdo.read_number(0x1018, 1, "u32"), sdo.read_number(0x1018, 2, "u32")
        if (vendor, product) != (model.vendor, model.product):
            found, wanted = f"{vendor:08X}h/{product:08X}h", f"{model.vendor:08X}h/{model.product:08X}h"
            raise IdentityMismatch(
                self.name,
                f"vendor/product is {found}, model {model.name} has {wanted}",
                "check address and model in the bench file",
            )
        serial = str(sdo.read_number(0x1018, 4, "u32"))
        if self._serial is not None and serial != self._serial:
            raise IdentityMismatch(
                self.name,
                f"serial number is {serial}, the bench names {self._serial}",
                "update the bench file and calibrations",
            )
        return Identity(self.name, sdo.read_text(0x1008), serial, sdo.read_text(0x100A))

    # ── start-up ──

    def prepare(self, cycle_s: float) -> None:
        """Check the scale, map the PDOs and set the heartbeat; the node is pre-operational. Everything is
        read back.
        """
        sdo = self.sdo
        for name, wanted in self.model.expect.items():
            found = sdo.read(self.model.objects[name])
            if found != wanted:
                raise IdentityMismatch(
                    self.name,
                    f"{name} is {found}, model {self.model.name} has {wanted}",
                    "its readings would be scaled wrongly",
                )
        for number, names in enumerate(self.model.rpdos.values()):
            self._map_pdo(0x1400 + number, 0x1600 + number, RPDO_BASE[number] + self.node, names)
        for number, names in enumerate(self.model.tpdos):
            self._map_pdo(0x1800 + number, 0x1A00 + number, TPDO_BASE[number] + self.node, names)
        sdo.write_verified(0x1017, 0, "u16", round(self.model.heartbeat_s * 1000))

    def _map_pdo(self, parameter: int, mapping: int, can_id: int, names: tuple[str, ...]) -> None:
        """Re-map a PDO in the order CiA 301 demands: disable, empty, fill, count, type, enable."""
        sdo = self.sdo
        sdo.write_verified(parameter, 1, "u32", PDO_DISABLED | can_id)
        sdo.write_verified(mapping, 0, "u8", 0)
        for position, name in enumerate(names, start=1):
            entry = self.model.objects[name]
            sdo.write_verified(
                mapping, position, "u32", MappedObject(entry.index, entry.subindex, entry.bits).pack()
            )
        sdo.write_verified(mapping, 0, "u8", len(names))
        sdo.write_verified(parameter, 2, "u8", EVERY_SYNC)
        sdo.write_verified(parameter, 1, "u32", can_id)

    def begin(self, now_s: float) -> None:
        """The node has been told to start: watch it from now on."""
        self.heard_s, self._monitored, self._answered_start = now_s, True, False
        self.nmt_state = NmtState.OPERATIONAL

    def end(self) -> None:
        self._monitored = False

    # ── hot path ──

    def expect_process_data(self) -> None:
        """None of it answers this cycle's SYNC yet."""
        self.fresh[:] = self._none_fresh

    def accept(self, number: int, data: bytes) -> bool:
        """Take TPDO `number` (0-based) that answers this cycle's SYNC. False when it has another length than was mapped."""
        size, unpack, readers = self._pdos[number]
        if len(data) != size:
            self.counters["nak"] += 1
            return False
        digits = unpack(data)
        self.fresh[number] = True
        values = self.values
        for position, signal, digit, reader in readers:
            count = digits[position]
            values[signal] = (count if reader is None else reader(count)) * digit
        self._take(number, digits)
        return True

    def _take(self, number: int, digits: tuple[int, ...]) -> None:
        """What else a device type reads from its process data."""
        names = self.model.tpdos[number]
        if self.model.status is not None and self.model.status in names:
            self.bad = digits[names.index(self.model.status)] != 0

    @property
    def good(self) -> bool:
        """All its process data answers this cycle's SYNC, and it does not say that they are wrong."""
        return not self.bad and False not in self.fresh

    def is_fresh(self, signal: str) -> bool:
        return self.fresh[self._pdo_of[signal]]

    def on_heartbeat(self, data: bytes, now_s: float) -> None:
        self.heard_s = now_s
        state = data[0] & 0x7F if data else -1
        if not self._monitored:
            return
        if state == NmtState.BOOT_UP:
            self.nmt_state = NmtState.BOOT_UP
            self.fail(
                "restarted in mid-run, its configuration is lost",
                0,
                "find out why it lost power, then reopen the bench",
            )
        elif state == NmtState.PRE_OPERATIONAL and not self._answered_start:
            self._answered_start = (
                True  # it may have been on its way when the node was started; the next one was not
            )
        elif state == NmtState.OPERATIONAL:
            self._answered_start = True
        elif self.nmt_state is NmtState.OPERATIONAL:
            self.nmt_state = NmtState.PRE_OPERATIONAL
            self.fail(
                f"left the state operational (NMT state {state:02X}h)",
                0,
                "see its error history, then reopen the bench",
            )

    def on_emergency(self, data: bytes) -> None:
        try:
            emergency = Emergency.unpack(data)
        except ValueError:
            self.counters["nak"] += 1
            return
        if emergency.code == 0 or not self._monitored:
            return
        self.counters["emcy"] += 1
        self.fail(f"emergency: {emergency.text}", emergency.code, "remove the cause, then reopen the bench")

    def check(self, now_s: float) -> None:
        """After a cycle: a node not heard for three producer times is lost. Times of a node are on the awake clock."""
        if now_s - self.heard_s > self._longest_silence_s and self._monitored and not self.lost:
            self.lose(f"no heartbeat for {now_s - self.heard_s:.3f} s")

    def lose(self, what: str) -> None:
        self.fail(what, 0x8130, "check power and cable, then reopen the bench")
        self.lost = True

    def fail(self, what: str, code: int, hint: str) -> None:
        """Latch a fault; the first cause is kept and raised once."""
        if self.fault is None:
            self.fault = self.unread = DeviceFault(self.name, what, code, hint)

    def take_fault(self) -> DeviceFault | None:
        """The fault that nobody has been told of yet, once."""
        fault = self.unread
        if fault is not None:
            self.unread = None
        return fault

    @property
    def answers_sync(self) -> bool:
        return not self.lost and self.nmt_state is _OPERATIONAL

    @property
    def heartbeat_id(self) -> int:
        return HEARTBEAT_BASE + self.node
