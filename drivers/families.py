"""The families there are, and which model belongs to which."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from drivers.canopen.family import CANOPEN
from drivers.canservo.family import CANSERVO
from drivers.dbc.family import DBC
from drivers.dynamixel.family import DYNAMIXEL
from drivers.family import Family
from drivers.modbus.family import MODBUS
from drivers.scpi.family import SCPI

#: By name.
FAMILIES: Mapping[str, Family] = {
    family.name: family for family in (CANOPEN, CANSERVO, DBC, DYNAMIXEL, MODBUS, SCPI)
}


@cache
def models() -> Mapping[str, Family]:
    """Every model of every family, and the family whose table it is."""
    return {model: family for family in FAMILIES.values() for model in family.models()}
