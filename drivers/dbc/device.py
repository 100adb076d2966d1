"""One sensor that speaks by itself: it is only listened to.

What is heard is checked (length, checksum, counter, "not available", range) and kept with the instant at which it was heard. A
frame that fails is counted and dropped: the value before it grows old, and is STALE in the end.
"""

from __future__ import annotations

import math

from drivers.bus.frame import Frame
from drivers.dbc.codec import numbers, protected
from drivers.dbc.model import DbcModel, SensorMessage
from drivers.device import DeviceState, DriverError, Identity, IdentityMismatch, Quality, Signal

#: A sensor of which nothing was heard for so many of its longest ages is lost.
_LOST_AGES = 10.0
NOT_IDENTIFIABLE = "not identifiable"


class DbcSensor:
    """`address` shifts the identifiers of the database. `serial`, when given, is the only one accepted.

    Raises ValueError for a serial number that the model has no means to tell.
    """

    def __init__(self, name: str, address: int, model: DbcModel, serial: str | None = None) -> None:
        if serial is not None and model.identity is None:
            raise ValueError(
                f"{name}: model {model.name} sends no serial number, so {serial} cannot be checked; remove it"
            )
        if address != model.address and model.stride == 0:
            raise ValueError(
                f"{name}: the identifiers of model {model.name} are fixed, address {model.address}"
            )
        self.name, self.address, self.model = name, address, model
        self.counters = {"crc": 0, "nak": 0, "skipped": 0, "repeated": 0, "invalid": 0}
        self.values: dict[str, float] = dict.fromkeys((s.name for s in model.offered()), math.nan)
        self.lost = False
        self.identity: Identity | None = None
        self.foreign: str | None = None  # what another device than the described one says of itself
        self._serial = serial
        self._wrong = dict.fromkeys(self.values, False)  # the sensor says that it has no value
        self.heard_s = dict.fromkeys(self.values, -math.inf)
        self._ages_s = {q.name: m.max_age_s for m in model.messages for q in m.quantities}
        self._counts: dict[str, int] = {}
        self._open = False

    # ── capabilities ──

    @property
    def signals(self) -> tuple[Signal, ...]:
        return self.model.offered()

    @property
    def state(self) -> DeviceState:
        return DeviceState.LOST if self.lost or not self._open else DeviceState.READY

    def identify(self) -> Identity:
        """What it has said of itself. Raises IdentityMismatch; DriverError before it was heard."""
        if self.foreign is not None:
            raise IdentityMismatch(self.name, self.foreign, "check address and model in the bench file")
        if self.identity is None:
            raise DriverError(self.name, "the bus is not open, nothing was heard of it yet")
        return self.identity

    # ── life ──

    def attach(self) -> None:
        """A bus has been opened: everything known so far is forgotten."""
        self.identity = self.foreign = None
        self.lost, self._open = False, True
        self._counts.clear()
        for name in self.values:
            self.values[name], self._wrong[name], self.heard_s[name] = math.nan, False, -math.inf
        if self.model.identity is None:
            self.identity = Identity(self.name, self.model.name, NOT_IDENTIFIABLE, NOT_IDENTIFIABLE)

    def missing(self) -> list[SensorMessage]:
        """Messages of which not everything was heard since the bus was opened."""
        return [
            m
            for m in self.model.messages
            if any(self.heard_s[q.name] == -math.inf for q in m.quantities)
            or (self.model.identity is not None and m.name == self.model.identity.message and not self.known)
        ]

    @property
    def known(self) -> bool:
        return self.identity is not None or self.foreign is not None

    # ── hot path ──

    def accept(self, message: SensorMessage, frame: Frame) -> None:
        """Take a frame that carries `message`."""
        data, guard = frame.data, message.protection
        if len(data) != message.size or frame.remote:
            self.counters["nak"] += 1
            return
        little, big = numbers(data)
        if guard.crc is not None and guard.crc.raw(little, big) != protected(
            data, guard.crc_byte, guard.data_id
        ):
            self.counters["crc"] += 1
            return
        if guard.counter is not None and not self._is_new(
            message.name, guard.counter.raw(little, big), guard.counter.length
        ):
            return
        identity = self.model.identity
        if identity is not None and identity.message == message.name:
            self._introduce(little, big)
        if self.lost:
            return
        selected = None if message.selector is None else message.selector.raw(little, big)
        for quantity in message.quantities:
            field = quantity.field
            if field.selector is not None and selected not in field.selector:
                continue
            raw = field.raw(little, big)
            physical = raw * field.scale + field.offset
            wrong = (
                raw == quantity.invalid
                or not math.isfinite(physical)
                or (field.minimum is not None and physical < field.minimum)
                or (field.maximum is not None and physical > field.maximum)
            )
            self.counters["invalid"] += wrong
            self._wrong[quantity.name] = wrong
            self.values[quantity.name] = physical * quantity.scale + quantity.offset
            self.heard_s[quantity.name] = frame.stamp_s

    def _is_new(self, message: str, count: float, bits: int) -> bool:
        """By its counter. A repeated frame is an old value whatever its time of arrival."""
        last, self._counts[message] = self._counts.get(message), int(count)
        if last is None:
            return True
        step = (int(count) - last) % (1 << bits)
        self.counters["repeated"] += step == 0
        self.counters["skipped"] += max(step - 1, 0)
        return step != 0

    def _introduce(self, little: int, big: int) -> None:
        """The identity message: at start it makes the identity, later it must be the same."""
        fields = self.model.identity
        assert fields is not None
        kind, serial = int(fields.type.raw(little, big)), str(int(fields.serial.raw(little, big)))
        wanted = self.identity.serial if self.identity is not None else self._serial
        if kind != fields.type_value:
            self.foreign = f"says type {kind:04X}h, model {self.model.name} has {fields.type_value:04X}h"
        elif wanted is not None and serial != wanted:
            self.foreign = f"serial number is {serial}, expected {wanted}"
        elif self.foreign is None:
            firmware = "" if fields.firmware is None else f"{fields.firmware.raw(little, big) / 100:.2f}"
            self.identity = Identity(self.name, self.model.name, serial, firmware)
            self.lost = False  # the same device again
        self.lost = self.lost or self.foreign is not None

    def watch(self, now_s: float) -> None:
        """Lost when nothing at all was heard for long. It comes back by its identity message, or by opening the bus again."""
        if not self.lost and all(now_s - self.heard_s[n] > _LOST_AGES * a for n, a in self._ages_s.items()):
            self.lost = True

    def quality(self, signal: str, now_s: float) -> Quality:
        if math.isnan(self.values[signal]):
            return Quality.BAD
        if self.lost or now_s - self.heard_s[signal] > self._ages_s[signal]:
            return Quality.STALE
        return Quality.BAD if self._wrong[signal] else Quality.GOOD
