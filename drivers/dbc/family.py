"""Sensors on CAN that a DBC database describes, as a family: they send by themselves and are only listened to."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from drivers import clock
from drivers.bus.can_bus import open_can
from drivers.dbc.device import DbcSensor
from drivers.dbc.group import DbcGroup
from drivers.dbc.model import known_models, load_model
from drivers.device import TransportTimeout
from drivers.family import BusPlan, Found, ModelInfo, Wire

_LISTEN_S = 1.5
_ADDRESSES = range(1, 64)


class Dbc:
    """See `drivers.family.Family`."""

    name = "dbc"
    wire = Wire.CAN

    def models(self) -> tuple[str, ...]:
        return known_models()

    def describe(self, model: str) -> ModelInfo:
        table = load_model(model)
        return ModelInfo(table.title, table.offered())

    def group(self, plan: BusPlan) -> DbcGroup:
        return DbcGroup(
            plan.name,
            [DbcSensor(d.name, d.address, load_model(d.model), d.serial) for d in plan.devices],
            plan.columns,
            uri=plan.uri,
            bitrate=plan.bitrate,
            period_s=plan.period_s,
        )

    def scan(self, name: str, uri: str, bitrate: int) -> Sequence[Found]:
        """Listen for a while: a model is there when every one of its messages is heard in its length."""
        bus = open_can(name, uri, bitrate)
        heard: set[tuple[int, bool, int]] = set()
        until = clock.now() + _LISTEN_S
        try:
            with contextlib.suppress(TransportTimeout):
                while True:
                    frame = bus.recv(until)
                    heard.add((frame.can_id, frame.extended, len(frame.data)))
                    if clock.now() > until:
                        break
        finally:
            bus.close()
        found = []
        for model in map(load_model, known_models()):
            for address in _ADDRESSES if model.stride else (model.address,):
                sent = {(model.identifier(m, address), m.extended, m.size) for m in model.messages}
                if sent <= heard:
                    found.append(Found(address, model.name, model.title))
        return found


DBC = Dbc()
