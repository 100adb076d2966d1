"""An emulated DBC sensor: the messages of its database, encoded by cantools, each at its period.

The driver does not decode with cantools, so the two meet in the database only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from drivers.bus.frame import Frame
from drivers.dbc.codec import protected
from drivers.dbc.model import DbcModel, Quantity, SensorMessage, load_database
from drivers.emulators.host import Surroundings


@dataclass(frozen=True, slots=True)
class DbcSensorPlan:
    """An emulated sensor to be built."""

    name: str
    address: int
    model: DbcModel
    serial: int = 1

    def build(self, around: Surroundings, send: Callable[[Frame], None]) -> EmulatedDbcSensor:
        return EmulatedDbcSensor(self, around, send)


class EmulatedDbcSensor:
    """Implements `drivers.emulators.host.EmulatedCanNode`. The public switches are for tests."""

    def __init__(self, plan: DbcSensorPlan, around: Surroundings, send: Callable[[Frame], None]) -> None:
        self.name, self.model, self.serial = plan.name, plan.model, plan.serial
        self.mute = False
        self.freeze = False  # the counter stands still: the same frame again and again
        self.wrong_crc = 0  # so many frames have a wrong checksum
        self.unavailable: set[str] = set()  # our signals for which it says "not available"
        self._address, self._around, self._send = plan.address, around, send
        database = load_database(plan.model.database)
        self._sources = {m.name: database.get_message_by_name(m.name) for m in plan.model.messages}
        self._due = dict.fromkeys(self._sources, math.inf)
        self._counts = dict.fromkeys(self._sources, 0)

    def start(self, now_s: float) -> None:
        for message in self.model.messages:
            self._due[message.name] = now_s + message.period_s

    def on_frame(self, frame: Frame, now_s: float) -> None:
        """It listens to nobody."""

    def excuse(self, frozen_s: float) -> None:
        """It watches nobody."""

    def next_due(self) -> float:
        return min(self._due.values())

    def tick(self, now_s: float) -> None:
        for message in self.model.messages:
            if now_s < self._due[message.name]:
                continue
            due = self._due[message.name] + message.period_s
            self._due[message.name] = due if due > now_s else now_s + message.period_s
            if not self.mute:
                for selected in self._selections(message):
                    self._say(message, selected)

    def _selections(self, message: SensorMessage) -> list[int | None]:
        """Multiplexed messages are sent once for each selection of the database."""
        if message.selector is None:
            return [None]
        ids = {i for q in message.quantities for i in q.field.selector or ()}
        found: list[int | None] = []
        found.extend(sorted(ids))
        return found or [None]

    def _say(self, message: SensorMessage, selected: int | None) -> None:
        source, guard = self._sources[message.name], message.protection
        fixed: dict[str, int] = {}
        if message.selector is not None and selected is not None:
            fixed[message.selector.name] = selected
        if guard.counter is not None:
            if not self.freeze:
                self._counts[message.name] = (self._counts[message.name] + 1) % (1 << guard.counter.length)
            fixed[guard.counter.name] = self._counts[message.name]
        identity = self.model.identity
        if identity is not None and identity.message == message.name:
            fixed[identity.type.name], fixed[identity.serial.name] = identity.type_value, self.serial
            if identity.firmware is not None:
                fixed[identity.firmware.name] = 123
        raw = {q.field.name: self._digits(q) for q in message.quantities} | fixed
        data = bytearray(source.encode(_present(source, raw, selected), scaling=False, strict=False))
        if guard.crc is not None:
            data[guard.crc_byte] = protected(bytes(data), guard.crc_byte, guard.data_id)
            if self.wrong_crc > 0:
                self.wrong_crc -= 1
                data[guard.crc_byte] ^= 0x55
        self._send(Frame(self.model.identifier(message, self._address), bytes(data), message.extended))

    def _digits(self, quantity: Quantity) -> int | float:
        """Raw value of the reading now; "not available" beyond what the database allows."""
        field = quantity.field
        physical = (self._around.plant.read(self.name, quantity.name) - quantity.offset) / quantity.scale
        beyond = (field.minimum is not None and physical < field.minimum) or (
            field.maximum is not None and physical > field.maximum
        )
        if quantity.invalid is not None and (beyond or quantity.name in self.unavailable):
            return quantity.invalid
        raw = (physical - field.offset) / field.scale
        return raw if field.real else round(raw)


def _present(source: Any, raw: dict[str, int | float], selected: int | None) -> dict[str, int | float]:
    """Values of the signals that are in this frame; those that nobody sets are 0."""
    return {
        s.name: raw.get(s.name, 0)
        for s in source.signals
        if s.multiplexer_ids is None or selected in s.multiplexer_ids
    }
