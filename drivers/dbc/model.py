"""A DBC sensor model is a data table, ``models/NAME.toml``, beside the database that the maker ships, ``models/NAME.dbc``.

The database says where a signal lies; the table says which of them is which of our signals and in what unit, how old
a value may be, and what the database cannot say: end-to-end protection, the raw value of "signal not available".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from drivers.dbc.codec import Field, compile_field
from drivers.device import Signal
from drivers.tables import read_table, table_names

_MODELS = Path(__file__).parent / "models"


@dataclass(frozen=True, slots=True)
class Protection:
    """End-to-end protection of a message: a counter of its frames, and a CRC-8/SAE-J1850 in a byte of its own."""

    counter: Field | None
    crc: Field | None
    crc_byte: int
    data_id: int | None


@dataclass(frozen=True, slots=True)
class Quantity:
    """One of our signals: SI value = physical × `scale` + `offset`; `invalid` is the raw value of "not available"."""

    name: str
    field: Field
    scale: float
    offset: float
    unit: str
    invalid: int | None

    @property
    def digit(self) -> float:
        return abs(self.field.scale * self.scale)


@dataclass(frozen=True, slots=True)
class SensorMessage:
    """A message that the sensor sends every `period_s` by itself. `frame_id` is that at the table's own address."""

    name: str
    frame_id: int
    extended: bool
    size: int
    period_s: float
    max_age_s: float
    selector: Field | None
    protection: Protection
    quantities: tuple[Quantity, ...]


@dataclass(frozen=True, slots=True)
class IdentityFields:
    """Message `message` (one of the model's) says who it is; `type_value` is what `type` must read."""

    message: str
    type: Field
    type_value: int
    serial: Field
    firmware: Field | None


@dataclass(frozen=True, slots=True)
class DbcModel:
    """Everything that distinguishes one sensor type from another. Times in seconds."""

    name: str
    title: str
    messages: tuple[SensorMessage, ...]
    identity: IdentityFields | None
    address: int  # the address at which the identifiers are those of the database
    stride: int  # what an identifier grows by with each address
    database: Path

    def identifier(self, message: SensorMessage, address: int) -> int:
        return message.frame_id + (address - self.address) * self.stride

    def offered(self) -> tuple[Signal, ...]:
        """The signals a channel may name."""
        return tuple(Signal(q.name, q.unit, q.digit) for m in self.messages for q in m.quantities)


def known_models() -> tuple[str, ...]:
    return table_names(_MODELS)


def load_database(path: Path) -> Any:
    """The cantools database."""
    import cantools  # takes a third of a second: only where a DBC sensor is used

    return cantools.database.load_file(path, encoding="utf-8")


@cache
def load_model(name: str) -> DbcModel:
    """Read a table. Raises KeyError for a model that has none, ValueError for a table that is wrong."""
    table = read_table(_MODELS, name)
    path = _MODELS / table["dbc"]
    database = load_database(path)
    try:
        messages = tuple(
            _message(database.get_message_by_name(key), row, table["signal"])
            for key, row in table["message"].items()
        )
        identity = _identity(database, table["identity"]) if "identity" in table else None
    except KeyError as error:
        raise ValueError(f"{name}: {error} is not in {path.name} or missing in the table") from error
    found = DbcModel(
        name,
        table["title"],
        messages,
        identity,
        table.get("address", {}).get("default", 1),
        table.get("address", {}).get("stride", 0),
        path,
    )
    if {q.name for m in messages for q in m.quantities} != set(table["signal"]):
        raise ValueError(f"{name}: a signal names a message that the table does not have")
    if identity is not None and identity.message not in table["message"]:
        raise ValueError(f"{name}: the identity message {identity.message} is not in the table")
    return found


def _message(source: Any, row: Mapping[str, Any], signals: Mapping[str, Any]) -> SensorMessage:
    fields = {s.name: compile_field(s, source.length) for s in source.signals}
    period_s = row["period"] if "period" in row else (source.cycle_time or 0) / 1000.0
    if not period_s > 0:
        raise ValueError(
            f"message {source.name}: neither the table nor the database says how often it is sent"
        )
    if source.is_fd or not source.length <= 8:
        raise ValueError(f"message {source.name}: CAN FD is not supported")
    crc = fields[row["crc"]] if "crc" in row else None
    if crc is not None and (crc.length != 8 or crc.shift % 8):
        raise ValueError(f"message {source.name}: the checksum {crc.name} is no whole byte")
    crc_byte = 0 if crc is None else crc.shift // 8
    if crc is not None and crc.big_endian:
        crc_byte = source.length - 1 - crc_byte
    selector = next((fields[s.name] for s in source.signals if s.is_multiplexer), None)
    return SensorMessage(
        source.name,
        source.frame_id,
        source.is_extended_frame,
        source.length,
        period_s,
        row.get("max_age", 2.5 * period_s),
        selector,
        Protection(fields[row["counter"]] if "counter" in row else None, crc, crc_byte, row.get("data_id")),
        tuple(
            Quantity(
                name,
                fields[entry["signal"]],
                entry.get("scale", 1.0),
                entry.get("offset", 0.0),
                entry["unit"],
                entry.get("invalid"),
            )
            for name, entry in signals.items()
            if entry["message"] == source.name
        ),
    )


def _identity(database: Any, row: Mapping[str, Any]) -> IdentityFields:
    source = database.get_message_by_name(row["message"])
    fields = {s.name: compile_field(s, source.length) for s in source.signals}
    firmware = fields[row["firmware"]] if "firmware" in row else None
    return IdentityFields(
        row["message"], fields[row["type"]], row["type_value"], fields[row["serial"]], firmware
    )
