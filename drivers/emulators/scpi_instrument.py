"""An emulated SCPI instrument in front of a plant, from the same table as its driver: message in, answer out.

It knows the common commands of IEEE 488.2 that a master uses, the settings of its table, the query of its table, and
keeps an error queue of its own (SCPI-1999 volume 2, 21.8). Headers in long and short form, several in a message.
"""

from __future__ import annotations

import math
from collections import deque

from drivers.emulators.plant import Plant
from drivers.scpi.codec import (
    header_matches,
    nr3,
    pack_block,
    parse_number,
    same_setting,
    short_form,
)
from drivers.scpi.model import Quantity, ScpiModel, Setting

UNDEFINED_HEADER = (-113, "Undefined header")
MISSING_PARAMETER = (-109, "Missing parameter")
ILLEGAL_VALUE = (-224, "Illegal parameter value")
QUEUE_OVERFLOW = (-350, "Queue overflow")
_QUEUE = 16


class ScpiInstrument:
    """`answer` is pure but for the settings and the queue. `status` and `overload` are fault switches for tests."""

    def __init__(self, name: str, model: ScpiModel, plant: Plant, serial: int = 1) -> None:
        self.name, self.model, self.plant, self.serial = name, model, plant, serial
        self.status = 0
        self.overload: set[str] = set()
        self.refuse_settings = False
        self._enable = 0
        self.messages: list[str] = []
        self._errors: deque[tuple[int, str]] = deque()
        self._settings = {setting.header: setting.allowed[-1] for setting in model.settings}

    def answer(self, message: str) -> bytes | None:
        """What one message is answered with, without terminator; None when it asks nothing. The plant stands at the
        present, and all queries of a message see the same update.
        """
        self.messages.append(message)
        values: list[float] | None = None
        answers: list[bytes] = []
        path = ""
        for unit in filter(None, (part.strip() for part in message.split(";"))):
            header, _, argument = unit.partition(" ")
            if header[0] not in ":*":
                header = path + header
            if header[0] != "*":
                path = header.rpartition(":")[0] + ":"
            wanted = self._query_values(header)
            if wanted is not None:
                values = self._values() if values is None else values
                answers.append(self._pack([values[field] for field in wanted]))
                continue
            found = self._obey(header, argument.strip())
            if found is not None:
                answers.append(found.encode("ascii"))
        return b";".join(answers) if answers else None

    def identity(self) -> str:
        model = self.model
        return f"{model.manufacturer},{model.model},{self.serial},{model.firmware}"

    def _obey(self, header: str, argument: str) -> str | None:
        match header.upper():
            case "*IDN?":
                return self.identity()
            case "*OPC?":
                return "1"
            case "*ESR?":
                return "0" if not self._errors else "32"
            case "*CLS":
                self._errors.clear()
                return None
            case "*RST":
                return None
            case "*ESE?":
                return str(self._enable)
            case "*ESE":
                self._enable = int(argument) & 0xFF if argument.isdecimal() else self._enable
                return None
        if header_matches("SYSTem:ERRor?", header) or header_matches("SYSTem:ERRor:NEXT?", header):
            code, text = self._errors.popleft() if self._errors else (0, "No error")
            return f'{code},"{text}"'
        if header_matches("SYSTem:LOCal", header):
            return None
        for setting in self.model.settings:
            if header_matches(setting.header + "?", header):
                return self._shown(setting)
            if header_matches(setting.header, header):
                self._set(setting, argument)
                return None
        self._complain(UNDEFINED_HEADER)
        return None

    def _shown(self, setting: Setting) -> str:
        text = self._settings[setting.header]
        try:
            return nr3(parse_number(text.encode()))
        except ValueError:
            return short_form(text)

    def _set(self, setting: Setting, argument: str) -> None:
        if not argument:
            self._complain(MISSING_PARAMETER)
            return
        chosen = next((text for text in setting.allowed if same_setting(text, argument)), None)
        if chosen is None:
            self._complain(ILLEGAL_VALUE)
        elif not self.refuse_settings:
            self._settings[setting.header] = chosen

    def _complain(self, error: tuple[int, str]) -> None:
        if len(self._errors) == _QUEUE:
            self._errors[-1] = QUEUE_OVERFLOW
        else:
            self._errors.append(error)

    # ── readings ──

    def _query_values(self, header: str) -> range | None:
        """Which numbers of the answer a query stands for; the last query of a table with a status brings that."""
        parts = self.model.query.split(";")
        status = self.model.status_field
        if len(parts) == 2 and status is not None and header_matches(parts[1], header):
            return range(status, status + 1)
        if header_matches(parts[0], header):
            return range(self.model.fields if status is None or len(parts) == 1 else status)
        return None

    def _values(self) -> list[float]:
        values = [math.nan] * self.model.fields
        measured = {
            name: self._measured(name, quantity)
            for name, quantity in self.model.quantities.items()
            if quantity.ratio_of is None
        }
        for name, quantity in self.model.quantities.items():
            if quantity.ratio_of is not None:
                above, below = (measured[part] for part in quantity.ratio_of)
                value = above / below if below else math.nan
            else:
                value = measured[name]
            if name in self.overload or abs(value) > quantity.full_scale:
                value = math.inf
            values[quantity.field] = value / quantity.scale
        if self.model.status_field is not None:
            values[self.model.status_field] = float(self.status)
        return values

    def _measured(self, name: str, quantity: Quantity) -> float:
        value = self.plant.read(self.name, name)
        return round(value / quantity.digit) * quantity.digit if math.isfinite(value) else value

    def _pack(self, numbers: list[float]) -> bytes:
        if self.model.form != "ascii":
            return pack_block(numbers, self.model.form)
        return ",".join(nr3(number, 7) for number in numbers).encode("ascii")
