"""An emulated CANopen device: NMT, heartbeat, SDO, mappable PDOs, EMCY and heartbeat consumer (CiA 301).

Built from the same model table as the driver, but not from the driver's code: the two meet on the wire only.
Process data is exchanged in three phases, so that all devices of a bus latch the plant at one instant, and nobody's
answer waits for another's computing: `latch` for everybody, then `answers`, then `act`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from operator import attrgetter

from drivers.bus.frame import Frame, data_frame
from drivers.canopen.codec import (
    EMCY_BASE,
    HEARTBEAT_BASE,
    RPDO_BASE,
    SDO_CLIENT_BASE,
    SDO_SERVER_BASE,
    TPDO_BASE,
    Emergency,
    MappedObject,
    NmtCommand,
    NmtState,
    PdoLayout,
    bits_of,
)
from drivers.canopen.model import CanopenModel
from drivers.emulators.object_dictionary import ObjectDictionary, Refused, SdoServer, Slot, one_of
from drivers.emulators.plant import Plant

NOT_MAPPABLE, PDO_TOO_LONG = 0x06040041, 0x06040042
PDO_COUNT = 4
_DISABLED = 0x8000_0000
_HEARTBEAT_ERROR = 0x8130
_COMMUNICATION_ERROR = 0x11  # error register 1001h: generic and communication
_OPERATIONAL = NmtState.OPERATIONAL

_number = attrgetter("number")

Mapped = tuple[tuple[Slot, ...], PdoLayout]


class EmulatedNode:
    """Base of the emulated devices. `send` puts a frame on the bus; `serial` fills 1018h:04."""

    def __init__(
        self,
        name: str,
        node: int,
        model: CanopenModel,
        plant: Plant,
        send: Callable[[Frame], None],
        serial: int = 1,
    ) -> None:
        self.name, self.node, self.model, self.plant = name, node, model, plant
        self._send = send
        self._serial = serial
        self.mute_tpdo = False  # fault injection: the device no longer answers SYNC
        self.on_rewired: Callable[[], None] = lambda: None  # told that `hears` may answer differently
        self.now_s = 0.0
        self._power_up()

    # ── life ──

    def _power_up(self) -> None:
        self.objects = self._dictionary()
        self._server = SdoServer(self.objects)
        self.nmt_state = NmtState.BOOT_UP
        self._rpdo_data: dict[int, bytes] = {}
        self._mappings: dict[int, Mapped | None] = {}  # of the RPDOs
        self._wiring: dict[int, Callable[[bytes], None]] | None = None
        self._tpdos: list[tuple[int, tuple[Slot, ...], PdoLayout]] | None = None
        self._consumer_s = 0.0
        self._next_heartbeat_s = math.inf
        self._master_heard_s: float | None = None
        self.on_rewired()

    def start(self, now_s: float) -> None:
        """Boot up: announce, then wait pre-operational."""
        self.now_s = now_s
        self._send(Frame(HEARTBEAT_BASE + self.node, bytes((NmtState.BOOT_UP,))))
        self.nmt_state = NmtState.PRE_OPERATIONAL

    def power_cycle(self, now_s: float) -> None:
        """Fault injection: the supply fails for a moment; everything written is forgotten."""
        self.on_abort("power lost", now_s)
        self._power_up()
        self.start(now_s)

    def next_due(self) -> float:
        """When `tick` wants to be called next."""
        beat_s, heard_s = self._next_heartbeat_s, self._master_heard_s
        if heard_s is None:
            return beat_s
        watchdog_s = heard_s + self._consumer_s
        return beat_s if beat_s < watchdog_s else watchdog_s

    def excuse(self, frozen_s: float) -> None:
        """The emulator itself stood still for so long (a frozen machine): the device did not live through
        that time.
        """
        if self._master_heard_s is not None:
            self._master_heard_s += frozen_s

    def tick(self, now_s: float) -> None:
        self.now_s = now_s
        if now_s >= self._next_heartbeat_s:
            self._send(Frame(HEARTBEAT_BASE + self.node, bytes((self.nmt_state,))))
            due = self._next_heartbeat_s + self._producer_s()
            self._next_heartbeat_s = due if due > now_s else now_s + self._producer_s()
        if now_s >= self._watchdog_due():
            self._master_heard_s = None  # rearmed by the next heartbeat (CiA 301, 7.2.8.3.2.2)
            self.emergency(_HEARTBEAT_ERROR, _COMMUNICATION_ERROR)
            self.nmt_state = NmtState.PRE_OPERATIONAL  # 1029h:01 = 0
            self.on_abort("master heartbeat lost", now_s)

    # ── frames ──

    def on_frame(self, frame: Frame, now_s: float) -> None:
        """Everything except SYNC."""
        self.now_s = now_s
        wiring = self._wiring
        if wiring is None:
            wiring = self._wiring = self._wire()
        can_id, data, extended, remote, error, _ = frame
        handler = wiring.get(can_id)
        if handler is not None and not (extended or remote or error):
            handler(data)

    def hears(self, can_id: int) -> bool:
        """The acceptance filter of its controller."""
        if self._wiring is None:
            self._wiring = self._wire()
        return can_id in self._wiring

    def latch(self, now_s: float) -> None:
        """SYNC, first phase: read the plant."""
        self.now_s = now_s
        self.sample()

    def answers(self) -> list[Frame]:
        """SYNC, second phase: what was latched, to be sent."""
        if self.nmt_state is not _OPERATIONAL or self.mute_tpdo:
            return []
        return [
            data_frame(can_id, layout.pack(*map(_number, slots)))
            for can_id, slots, layout in self._tpdos or self._sent()
        ]

    def act(self) -> None:
        """SYNC, third phase: act on the set-points received since the last SYNC."""
        if self.nmt_state is _OPERATIONAL:
            self._apply_rpdos()
            self.actuate()

    def emergency(self, code: int, register: int) -> None:
        self.objects.put(0x1001, 0, register)
        if code:
            self.objects.put(0x1003, 0, 1)
            self.objects.put(0x1003, 1, code)
        self._send(Frame(EMCY_BASE + self.node, Emergency(code, register).pack()))

    # ── what a device type fills in ──

    def sample(self) -> None:
        """Read the plant into the process objects."""

    def actuate(self) -> None:
        """Pass the set-points to the plant."""

    def on_abort(self, reason: str, now_s: float) -> None:
        """The master is gone or the node was stopped."""

    # ── inside ──

    def _wire(self) -> dict[int, Callable[[bytes], None]]:
        """Which identifiers this device listens to, as configured now."""
        wiring: dict[int, Callable[[bytes], None]] = {
            0x000: self._nmt,
            SDO_CLIENT_BASE + self.node: self._sdo,
        }
        watched = self.objects.get(0x1016, 1)
        if watched & 0xFFFF:
            wiring[HEARTBEAT_BASE + (watched >> 16)] = self._master_heard
        for number in range(PDO_COUNT):
            can_id = self.objects.get(0x1400 + number, 1)
            if not can_id & _DISABLED:
                at_once = self.objects.get(0x1400 + number, 2) >= 254  # event-driven
                wiring[can_id] = partial(self._rpdo_received, number, at_once)
        return wiring

    def _master_heard(self, _data: bytes) -> None:
        self._master_heard_s = self.now_s

    def _sdo(self, data: bytes) -> None:
        if self.nmt_state is NmtState.STOPPED:
            return
        response = self._server.respond(data)
        if response is not None:
            self._send(Frame(SDO_SERVER_BASE + self.node, response))

    def _rpdo_received(self, number: int, at_once: bool, data: bytes) -> None:
        if self.nmt_state is not _OPERATIONAL:
            return
        self._rpdo_data[number] = data
        if at_once:
            self._apply_rpdos()

    def _nmt(self, data: bytes) -> None:
        if len(data) != 2 or data[1] not in (0, self.node):
            return
        command, now_s = data[0], self.now_s
        match command:
            case NmtCommand.START:
                self.nmt_state = NmtState.OPERATIONAL
            case NmtCommand.STOP:
                self.nmt_state = NmtState.STOPPED
                self.on_abort("NMT stop", now_s)
            case NmtCommand.PRE_OPERATIONAL:
                self.nmt_state = NmtState.PRE_OPERATIONAL
                self.on_abort("NMT pre-operational", now_s)
            case NmtCommand.RESET_NODE | NmtCommand.RESET_COMMUNICATION:
                self.on_abort("NMT reset", now_s)
                self._power_up()
                self.start(now_s)
            case _:
                pass

    def _apply_rpdos(self) -> None:
        pending, self._rpdo_data = self._rpdo_data, {}
        for number, data in pending.items():
            mapped = self._mappings.get(number)
            if mapped is None:
                mapped = self._mappings[number] = self._mapping(0x1600 + number)
            if mapped is None or len(data) < mapped[1].size:
                self.emergency(0x8210, _COMMUNICATION_ERROR)  # PDO not processed, length error
                continue
            slots, layout = mapped
            for slot, value in zip(slots, layout.unpack_from(data), strict=True):
                slot.number = value
                written = slot.written
                if written is not None:
                    written(value)

    def sends(self, name: str) -> bool:
        """Whether the object of that name is in a process data object that answers SYNC."""
        entry = self.model.objects[name]
        slot = self.objects.slots[entry.index, entry.subindex]
        return any(sent is slot for _, slots, _ in self._sent() for sent in slots)

    def _sent(self) -> list[tuple[int, tuple[Slot, ...], PdoLayout]]:
        if self._tpdos is None:
            self._tpdos = self._compile_tpdos()
        return self._tpdos

    def _compile_tpdos(self) -> list[tuple[int, tuple[Slot, ...], PdoLayout]]:
        found = []
        for number in range(PDO_COUNT):
            can_id = self.objects.get(0x1800 + number, 1)
            mapped = self._mapping(0x1A00 + number)
            if mapped is not None and not can_id & _DISABLED and self.objects.get(0x1800 + number, 2) == 1:
                found.append((can_id, *mapped))
        return found

    def _mapping(self, index: int) -> Mapped | None:
        """Objects and layout of a mapping record, None while it is empty."""
        words = [
            MappedObject.unpack(self.objects.get(index, n + 1)) for n in range(self.objects.get(index, 0))
        ]
        slots = tuple(self.objects.slots[w.index, w.subindex] for w in words)
        layout = PdoLayout([(str(n), slot.kind) for n, slot in enumerate(slots)])
        return (slots, layout) if slots else None

    def _rewired(self, _value: int) -> None:
        """The configuration has changed: what was derived from it is derived again when needed."""
        self._wiring, self._tpdos = None, None
        self._mappings.clear()
        self.on_rewired()

    def _producer_s(self) -> float:
        return self.objects.get(0x1017) / 1000.0

    def _watchdog_due(self) -> float:
        return math.inf if self._master_heard_s is None else self._master_heard_s + self._consumer_s

    def _dictionary(self) -> ObjectDictionary:
        model, objects = self.model, ObjectDictionary()
        profile = int(model.profile.removeprefix("cia"))
        objects.add(0x1000, 0, "u32", (0x0002 << 16 if profile == 402 else 0) | profile)
        objects.add(0x1001, 0, "u8", 0)
        objects.add(0x1003, 0, "u8", 0, "rw")
        objects.add(0x1003, 1, "u32", 0)
        objects.add(0x1008, 0, "text", model.device_name, "const")
        objects.add(0x100A, 0, "text", model.firmware, "const")
        objects.add(0x1016, 0, "u8", 1)
        objects.add(0x1016, 1, "u32", 0, "rw").written = self._consumer_written
        objects.add(0x1017, 0, "u16", 0, "rw").written = self._producer_written
        for subindex, number in enumerate((4, model.vendor, model.product, model.revision, self._serial)):
            objects.add(0x1018, subindex, "u8" if subindex == 0 else "u32", number)
        objects.add(0x1029, 0, "u8", 1)
        objects.add(0x1029, 1, "u8", 0, "rw").check = one_of((0,))
        for base_id, parameter, mapping in ((RPDO_BASE, 0x1400, 0x1600), (TPDO_BASE, 0x1800, 0x1A00)):
            for number in range(PDO_COUNT):
                self._add_pdo(objects, parameter + number, mapping + number, base_id[number] + self.node)
        for entry in model.objects.values():
            objects.add(entry.index, entry.subindex, entry.type, entry.default, entry.access, entry.mappable)
        return objects

    def _add_pdo(self, objects: ObjectDictionary, parameter: int, mapping: int, can_id: int) -> None:
        objects.add(parameter, 0, "u8", 2)
        objects.add(parameter, 1, "u32", _DISABLED | can_id, "rw").written = self._rewired
        kind = objects.add(parameter, 2, "u8", 1, "rw")
        kind.check, kind.written = one_of((1, 254, 255)), self._rewired

        def writable(_value: int) -> None:
            if not objects.get(parameter, 1) & _DISABLED:
                raise Refused(0x08000022)  # CiA 301: a PDO is mapped only while it does not exist

        def checked_entry(word: int) -> None:
            writable(word)
            entry = MappedObject.unpack(word)
            slot = objects.slots.get((entry.index, entry.subindex))
            if slot is None:
                raise Refused(0x06020000)
            if not slot.mappable or slot.kind == "text" or bits_of(slot.kind) != entry.bits:
                raise Refused(NOT_MAPPABLE)

        def checked_count(count: int) -> None:
            writable(count)
            if count > 8:
                raise Refused(PDO_TOO_LONG)
            if sum(objects.get(mapping, n + 1) & 0xFF for n in range(count)) > 64:
                raise Refused(PDO_TOO_LONG)

        count = objects.add(mapping, 0, "u8", 0, "rw")
        count.check, count.written = checked_count, self._rewired
        for subindex in range(1, 9):
            objects.add(mapping, subindex, "u32", 0, "rw").check = checked_entry

    def _producer_written(self, milliseconds: int) -> None:
        self._next_heartbeat_s = self.now_s + milliseconds / 1000.0 if milliseconds else math.inf

    def _consumer_written(self, word: int) -> None:
        self._master_heard_s = None  # monitoring starts with the next heartbeat
        self._consumer_s = (word & 0xFFFF) / 1000.0
        self._rewired(word)
