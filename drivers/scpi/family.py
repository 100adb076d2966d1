"""SCPI as a family: power analysers and meters on a serial line or a TCP socket, one a bus."""

from __future__ import annotations

from collections.abc import Sequence

from drivers.bus.byte_streams import open_stream
from drivers.device import ProtocolViolation, TransportTimeout
from drivers.family import BusPlan, Found, ModelInfo, Wire
from drivers.scpi.codec import parse_identity
from drivers.scpi.device import ScpiDevice
from drivers.scpi.group import ScpiGroup
from drivers.scpi.link import ScpiLink
from drivers.scpi.model import known_models, load_model

_SCAN_TIMEOUT_S = 0.5


class Scpi:
    """See `drivers.family.Family`."""

    name = "scpi"
    wire = Wire.STREAM

    def models(self) -> tuple[str, ...]:
        return known_models()

    def describe(self, model: str) -> ModelInfo:
        table = load_model(model)
        return ModelInfo(table.title, table.offered())

    def group(self, plan: BusPlan) -> ScpiGroup:
        if len(plan.devices) != 1 or plan.devices[0].address != 1:
            raise ValueError(
                f"{plan.name}: SCPI has no addresses; a bus carries one instrument, with address 1"
            )
        device = plan.devices[0]
        return ScpiGroup(
            plan.name,
            ScpiDevice(device.name, load_model(device.model), device.serial),
            plan.columns,
            uri=plan.uri,
            baudrate=plan.bitrate,
            period_s=plan.period_s,
        )

    def scan(self, name: str, uri: str, bitrate: int) -> Sequence[Found]:
        """Who is at the other end; every terminator that a table has is tried."""
        stream = open_stream(name, uri, bitrate)
        try:
            for terminator in sorted({load_model(model).terminator for model in known_models()}):
                link = ScpiLink(name, stream, terminator, serial="tcp:" not in uri)
                try:
                    text = link.ask("*IDN?", 128, _SCAN_TIMEOUT_S).decode("latin-1").strip()
                except (TransportTimeout, ProtocolViolation):  # nothing, or bytes that do not end in a line
                    continue
                return [Found(1, _model_of(text), text)]
            return []
        finally:
            stream.close()


def _model_of(text: str) -> str:
    try:
        found = parse_identity(text)
    except ValueError:
        return ""
    for name in known_models():
        table = load_model(name)
        if (table.manufacturer.upper(), table.model.upper()) == (
            found.manufacturer.upper(),
            found.model.upper(),
        ):
            return name
    return ""


SCPI = Scpi()
