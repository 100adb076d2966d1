"""moteus (mjbots): what its registers hold, and in which digits.

Source: mjbots/moteus, docs/protocol/registers.md (registers, "Mappings", modes). Every integer type has a digit of its own for
every quantity, and its most negative value says "no value" (NaN). Units are the device's: revolutions, revolutions/s, N·m, A, V,
°C, s. How registers travel is in `drivers.canservo.multiplex`.

>>> decode(Quantity.POSITION, Kind.INT16, 0x0050) * 360.0  # of the example in docs/protocol/can.md: 2.88 degrees
2.88
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum, IntEnum, auto

from drivers.canservo.multiplex import Kind, Refused, Reply, parse


class Quantity(Enum):
    """What a register holds."""

    NUMBER = auto()  # a mode, a code: has no "no value"
    POSITION = auto()
    VELOCITY = auto()
    ACCELERATION = auto()
    TORQUE = auto()
    CURRENT = auto()
    VOLTAGE = auto()
    TEMPERATURE = auto()
    TIME = auto()
    RATIO = auto()
    POWER = auto()


#: One digit of it as int8, int16, int32 (registers.md, "Mappings").
DIGITS: Mapping[Quantity, tuple[float, float, float]] = {
    Quantity.NUMBER: (1.0, 1.0, 1.0),
    Quantity.POSITION: (0.01, 0.0001, 0.00001),
    Quantity.VELOCITY: (0.1, 0.00025, 0.00001),
    Quantity.ACCELERATION: (0.05, 0.001, 0.00001),
    Quantity.TORQUE: (0.5, 0.01, 0.001),
    Quantity.CURRENT: (1.0, 0.1, 0.001),
    Quantity.VOLTAGE: (0.5, 0.1, 0.001),
    Quantity.TEMPERATURE: (1.0, 0.1, 0.001),
    Quantity.TIME: (0.01, 0.001, 0.000001),
    Quantity.RATIO: (1.0 / 127.0, 1.0 / 32767.0, 1.0 / 2147483647.0),
    Quantity.POWER: (10.0, 0.05, 0.0001),
}


class Register(IntEnum):
    """Those that are used here."""

    MODE = 0x000
    POSITION = 0x001
    VELOCITY = 0x002
    TORQUE = 0x003
    Q_CURRENT = 0x004
    D_CURRENT = 0x005
    POWER = 0x007
    MOTOR_TEMPERATURE = 0x00A
    VOLTAGE = 0x00D
    TEMPERATURE = 0x00E
    FAULT = 0x00F
    COMMAND_POSITION = 0x020
    COMMAND_VELOCITY = 0x021
    FEEDFORWARD_TORQUE = 0x022
    KP_SCALE = 0x023
    KD_SCALE = 0x024
    MAXIMUM_TORQUE = 0x025
    STOP_POSITION = 0x026
    WATCHDOG_TIMEOUT = 0x027
    VELOCITY_LIMIT = 0x028
    ACCELERATION_LIMIT = 0x029
    KI_LIMIT_SCALE = 0x02B
    STAY_WITHIN_LOWER = 0x040
    MILLISECOND_COUNTER = 0x070
    MODEL_NUMBER = 0x100
    FIRMWARE = 0x101
    REGISTER_MAP = 0x102
    SERIAL_NUMBER = 0x120  # … 0x122, least significant word first


QUANTITIES: Mapping[int, Quantity] = {
    Register.POSITION: Quantity.POSITION,
    Register.VELOCITY: Quantity.VELOCITY,
    Register.TORQUE: Quantity.TORQUE,
    Register.Q_CURRENT: Quantity.CURRENT,
    Register.D_CURRENT: Quantity.CURRENT,
    Register.POWER: Quantity.POWER,
    Register.MOTOR_TEMPERATURE: Quantity.TEMPERATURE,
    Register.VOLTAGE: Quantity.VOLTAGE,
    Register.TEMPERATURE: Quantity.TEMPERATURE,
    Register.COMMAND_POSITION: Quantity.POSITION,
    Register.COMMAND_VELOCITY: Quantity.VELOCITY,
    Register.FEEDFORWARD_TORQUE: Quantity.TORQUE,
    Register.KP_SCALE: Quantity.RATIO,
    Register.KD_SCALE: Quantity.RATIO,
    Register.MAXIMUM_TORQUE: Quantity.TORQUE,
    Register.STOP_POSITION: Quantity.POSITION,
    Register.WATCHDOG_TIMEOUT: Quantity.TIME,
    Register.VELOCITY_LIMIT: Quantity.VELOCITY,
    Register.ACCELERATION_LIMIT: Quantity.ACCELERATION,
    Register.KI_LIMIT_SCALE: Quantity.RATIO,
    Register.STAY_WITHIN_LOWER: Quantity.POSITION,
}


class State(IntEnum):
    """Register 0x000."""

    STOPPED = 0
    FAULT = 1
    ENABLING = 2
    CALIBRATING = 3
    CALIBRATED = 4
    PWM = 5
    VOLTAGE = 6
    VOLTAGE_FOC = 7
    VOLTAGE_DQ = 8
    CURRENT = 9
    POSITION = 10
    TIMEOUT = 11  # its watchdog has expired; only a stop leads out of it
    ZERO_VELOCITY = 12
    STAY_WITHIN = 13
    INDUCTANCE = 14
    BRAKE = 15


def encode(quantity: Quantity, kind: Kind, value: float) -> float:
    """Raw value for the wire; NaN becomes "no value". Raises ValueError beyond the type's range: never clamped."""
    if kind is Kind.FLOAT:
        return value
    if math.isnan(value) and quantity is not Quantity.NUMBER:
        return -kind.largest - 1
    digits = value / DIGITS[quantity][kind]
    if not abs(digits) < kind.largest + 0.5:
        raise ValueError(f"{value:g} is beyond what {kind.name} carries as {quantity.name}")
    return round(digits)


def decode(quantity: Quantity, kind: Kind, raw: float) -> float:
    """Inverse of `encode`; NaN for "no value"."""
    if kind is Kind.FLOAT:
        return raw
    if raw == -kind.largest - 1 and quantity is not Quantity.NUMBER:
        return math.nan
    return raw * DIGITS[quantity][kind]


def saturated(kind: Kind, raw: float) -> bool:
    """At its end the device cannot say how far beyond the value is."""
    return kind is not Kind.FLOAT and abs(raw) >= kind.largest


def answer(data: bytes, wanted: Mapping[int, Kind]) -> dict[int, float]:
    """The values of a reply, decoded, by register. Raises ValueError unless it has exactly the wanted registers, each once and of
    the wanted type: a reply that was cut, or answers something else, is none.
    """
    found: dict[int, float] = {}
    for subframe in parse(data):
        if isinstance(subframe, Refused):
            did = "write" if subframe.written else "read"
            raise ValueError(f"the device does not {did} register {subframe.register:03X}h ({subframe.code})")
        if not isinstance(subframe, Reply):
            raise ValueError(f"{type(subframe).__name__} in an answer")
        for register, raw in enumerate(subframe.values, subframe.start):
            if register in found or wanted.get(register) is not subframe.kind:
                raise ValueError(f"register {register:03X}h twice, unasked or as {subframe.kind.name}")
            found[register] = decode(QUANTITIES.get(register, Quantity.NUMBER), subframe.kind, raw)
    if len(found) != len(wanted):
        raise ValueError(f"{len(found)} of {len(wanted)} registers")
    return found
