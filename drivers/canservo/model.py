"""A CAN servo model is a data table: ``models/NAME.toml``. Driver and emulated device read the same one.

``protocol`` says which of the dialects the table is for; the ranges, units, faults and the way to the device's own
watchdog are data, because they differ between products and firmware versions of one dialect.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from drivers.canservo.ranges import Range, Ranges, symmetric
from drivers.device import Mode, Signal
from drivers.tables import read_table, table_names

_MODELS = Path(__file__).parent / "models"
TURN = 2.0 * math.pi


class WatchdogBy(StrEnum):
    """How it is known that the device's own watchdog stands."""

    SETTING = "setting"  # written and read back over CAN
    BEHAVIOUR = "behaviour"  # cannot be set over CAN: seen to fire when the bus is silent
    OPERATOR = "operator"  # somebody signed for it: `record`
    FIXED = "fixed"  # this product's firmware has one that cannot be changed
    NONE = "none"  # torque is refused


@dataclass(frozen=True, slots=True)
class Watchdog:
    by: WatchdogBy
    timeout_s: float = math.nan  # FIXED
    record: str = ""  # OPERATOR: who verified it and when
    index: int = 0  # parameter (CyberGear)
    digit_s: float = 0.0


@dataclass(frozen=True, slots=True)
class CanServoModel:
    """What every dialect has. Speeds and torques at the device's shaft; `faults` by bit mask or code."""

    name: str
    title: str
    modes: tuple[Mode, ...]
    max_speed_rad_s: float
    max_torque: float
    watchdog: Watchdog
    faults: Mapping[int, str]
    digits: Mapping[str, float]  # resolution of each signal, SI

    def offered(self) -> tuple[Signal, ...]:
        """The signals a channel may name."""
        units = {"position": "rad", "velocity": "rad/s", "torque": "N·m", "temperature": "K"}
        return tuple(Signal(n, units[n.rstrip("_0123456789")], d) for n, d in self.digits.items())


@dataclass(frozen=True, slots=True)
class OdriveModel(CanServoModel):
    """`cyclic_s`: the axis sends its encoder estimates so often by itself; 0 when they are polled in every cycle."""

    minor: int
    firmware: str  # 0.6: the version that answers Get_Version, for which the endpoint numbers hold
    torque_constant: float  # N·m/A
    max_current_A: float
    cyclic_s: float
    heartbeat_s: float
    polled: tuple[str, ...]  # what is asked for in every cycle: encoder, torques, iq
    watchdog_bit: int
    endpoints: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CybergearModel(CanServoModel):
    ranges: Ranges
    run_modes: Mapping[Mode, int]
    parameters: Mapping[str, int]
    tells_version: bool
    reports: Mapping[int, str]  # bits of a type 21 frame


@dataclass(frozen=True, slots=True)
class MitModel(CanServoModel):
    ranges: Ranges
    reply_id: int
    reply_bytes: int
    position_kp: float
    position_kd: float
    velocity_kd: float


@dataclass(frozen=True, slots=True)
class MoteusModel(CanServoModel):
    register_map: int  # register 102h, for which the table's registers hold


AnyModel = OdriveModel | CybergearModel | MitModel | MoteusModel


def known_models() -> tuple[str, ...]:
    return table_names(_MODELS)


@cache
def load_model(name: str) -> AnyModel:
    """Read a model table. Raises KeyError for a model that has none, ValueError for a table that is wrong."""
    table = read_table(_MODELS, name)
    readers: Mapping[str, Callable[[Mapping[str, Any], dict[str, Any]], AnyModel]]
    readers = {"odrive": _odrive, "cybergear": _cybergear, "mit": _mit, "moteus": _moteus}
    if table["protocol"] not in readers:
        raise ValueError(f"{name}: protocol {table['protocol']!r} is none of {', '.join(readers)}")
    return readers[table["protocol"]](table, _common(name, table))


def _common(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    row = table["watchdog"]
    watchdog = Watchdog(
        WatchdogBy(row["by"]),
        row.get("timeout", math.nan),
        row.get("record", ""),
        row.get("index", 0),
        row.get("digit", 0.0),
    )
    if watchdog.by is WatchdogBy.OPERATOR and not watchdog.record:
        raise ValueError(f"{name}: watchdog by operator without a record of who verified it and when")
    return {
        "name": name,
        "title": table["title"],
        "modes": tuple(Mode(mode) for mode in table["modes"]),
        "max_speed_rad_s": table["limits"]["speed_rad_s"],
        "max_torque": table["limits"]["torque_N_m"],
        "watchdog": watchdog,
        "faults": _codes(table.get("faults", {})),
    }


def _codes(rows: Mapping[str, str]) -> dict[int, str]:
    return {int(code, 0): text for code, text in rows.items()}


def _odrive(table: Mapping[str, Any], common: dict[str, Any]) -> OdriveModel:
    firmware, motor, telemetry = table["firmware"], table["motor"], table["telemetry"]
    if firmware["minor"] not in (5, 6):
        raise ValueError(f"{common['name']}: there is CANSimple of firmware 0.5 and 0.6 only")
    step = TURN / motor["counts_per_turn"]
    digits = {"position": step, "velocity": step, "torque": motor["torque_constant"] * motor["current_digit"]}
    if "temperature" in telemetry["signals"]:
        digits["temperature"] = 0.1
    return OdriveModel(
        **common,
        digits=digits,
        minor=firmware["minor"],
        firmware=firmware.get("version", ""),
        torque_constant=motor["torque_constant"],
        max_current_A=table["limits"]["current_A"],
        cyclic_s=telemetry["encoder"],
        heartbeat_s=telemetry["heartbeat"],
        polled=tuple(telemetry["polled"]),
        watchdog_bit=table["watchdog"]["bit"],
        endpoints=table.get("endpoints", {}),
    )


def _ranges(rows: Mapping[str, float], bits: int) -> dict[str, Range]:
    return {
        "position": symmetric(rows["position"], 16),
        "velocity": symmetric(rows["velocity"], bits),
        "kp": Range(0.0, rows["kp"], bits),
        "kd": Range(0.0, rows["kd"], bits),
        "torque": symmetric(rows["torque"], bits),
    }


def _cybergear(table: Mapping[str, Any], common: dict[str, Any]) -> CybergearModel:
    ranges = Ranges(**_ranges(table["ranges"], 16))
    return CybergearModel(
        **common,
        digits={
            "position": table["signal"]["position_digit"],
            "velocity": ranges.velocity.digit,
            "torque": ranges.torque.digit,
            "temperature": 0.1,
        },
        ranges=ranges,
        run_modes={Mode(mode): number for mode, number in table["run_mode"].items()},
        parameters=table["parameters"],
        tells_version=table["identity"]["tells_version"],
        reports=_codes(table.get("reports", {})),
    )


def _mit(table: Mapping[str, Any], common: dict[str, Any]) -> MitModel:
    ranges, reply, gains = Ranges(**_ranges(table["ranges"], 12)), table["reply"], table["gains"]
    if reply["bytes"] not in (6, 8):
        raise ValueError(f"{common['name']}: a reply has 6 or 8 bytes")
    digits = {s: getattr(ranges, s).digit for s in ("position", "velocity", "torque")}
    if reply["bytes"] == 8:
        digits["temperature"] = 1.0
    return MitModel(
        **common,
        digits=digits,
        ranges=ranges,
        reply_id=reply["id"],
        reply_bytes=reply["bytes"],
        position_kp=gains["position_kp"],
        position_kd=gains["position_kd"],
        velocity_kd=gains["velocity_kd"],
    )


def _moteus(table: Mapping[str, Any], common: dict[str, Any]) -> MoteusModel:
    signal = table["signal"]
    step = TURN / signal["counts_per_turn"]
    torque = signal["torque_constant"] * signal["current_digit"]
    return MoteusModel(
        **common,
        digits={"position": step, "velocity": step, "torque": torque, "temperature": 0.1},
        register_map=table["firmware"]["register_map"],
    )
