"""The families there are, and which model belongs to which.

A family is imported when it is asked for: whoever owns a bus needs one of them, and all together take half a second to load.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

from drivers.family import Family
from drivers.tables import table_names

_HERE = Path(__file__).parent
_NAMES = ("canopen", "canservo", "dbc", "dynamixel", "modbus", "scpi")


@cache
def _load(name: str) -> Family:
    family: Family = getattr(import_module(f"drivers.{name}.family"), name.upper())
    return family


class _Families(Mapping[str, Family]):
    """From names to families; the names are there without the families."""

    def __init__(self, families: Mapping[str, str]) -> None:
        self._families = families

    def __getitem__(self, name: str) -> Family:
        return _load(self._families[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._families)

    def __len__(self) -> int:
        return len(self._families)


#: By name.
FAMILIES: Mapping[str, Family] = _Families({name: name for name in _NAMES})


@cache
def models() -> Mapping[str, Family]:
    """Every model of every family, and the family whose table it is."""
    return _Families({model: name for name in _NAMES for model in table_names(_HERE / name / "models")})
