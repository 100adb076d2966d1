"""SCPI on the wire: text ↔ values, no I/O and no clock (IEEE 488.2-1992 clauses 7 and 8, SCPI-1999 volume 1).

Numbers in answers are NR1, NR2 or NR3; 9.91E37 says "not a number", ±9.9E37 "beyond the range" (SCPI 7.2.1.4 and
7.2.1.5). An answer to several queries of one message is separated by semicolons, the data of one by commas. Blocks of
definite length, ``#6123456…``, carry IEEE floats (IEEE 488.2, 8.7.9).
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass

NAN, INFINITE = 9.91e37, 9.9e37
_NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$")
_ERROR = re.compile(r'\s*([+-]?\d+)\s*,\s*"(.*)"\s*$', re.DOTALL)
_SHORT = re.compile(r"[A-Z]+\d*")
_BLOCK_FLOATS = {"block_float32": ">%df", "block_float64": ">%dd"}
FORMS = ("ascii", *_BLOCK_FLOATS)


def parse_number(text: bytes) -> float:
    """A number of an answer; NaN for what SCPI calls not a number. Raises ValueError for anything else.

    >>> parse_number(b"+1.250000E+01"), parse_number(b"9.91E37")
    (12.5, nan)
    """
    text = text.strip()
    if _NUMBER.match(text) is None:
        raise ValueError(f"{text!r} is no number")
    value = float(text)
    if value == NAN:
        return math.nan
    if abs(value) >= INFINITE:
        return math.copysign(math.inf, value)
    return value


def nr3(value: float, digits: int = 5) -> str:
    """A number as instruments print it.

    >>> nr3(-0.0125), nr3(math.nan), nr3(math.inf)
    ('-1.25000E-02', '9.91E+37', '9.9E+37')
    """
    if math.isnan(value):
        return "9.91E+37"
    if math.isinf(value):
        return "9.9E+37" if value > 0 else "-9.9E+37"
    return f"{value:.{digits}E}"


def block_bytes(start: bytes) -> int | None:
    """Length of the definite-length block that begins with `start`, head included; None while that cannot be said.

    Raises ValueError for a block of indefinite length (``#0``) or a broken head.
    """
    if start[:1] != b"#":
        raise ValueError(f"{start[:10]!r} begins no block")
    if len(start) < 2:
        return None
    if not 0x31 <= start[1] <= 0x39:
        raise ValueError("a block without a length cannot be told from what follows it")
    digits = start[1] - 0x30
    if len(start) < 2 + digits:
        return None
    if not start[2 : 2 + digits].isdigit():
        raise ValueError(f"the head of block {start[: 2 + digits]!r} is broken")
    return 2 + digits + int(start[2 : 2 + digits])


def block(data: bytes) -> bytes:
    """`data` as a definite-length block.

    >>> block(b"abc")
    b'#13abc'
    """
    length = str(len(data)).encode()
    return b"#" + str(len(length)).encode() + length + data


def parse_values(answer: bytes, form: str) -> list[float]:
    """All numbers of an answer without its terminator. Raises ValueError for anything that is not `form`."""
    if form == "ascii":
        return [parse_number(field) for part in answer.split(b";") for field in part.split(b",")]
    values: list[float] = []
    while answer:
        size = block_bytes(answer) if answer[:1] == b"#" else None
        if size is None:  # further answers of the message, as text
            return values + parse_values(answer, "ascii")
        head = 2 + answer[1] - 0x30
        if len(answer) < size:
            raise ValueError(f"{len(answer)} of {size} bytes of a block")
        data = answer[head:size]
        width = 4 if form == "block_float32" else 8
        if len(data) % width:
            raise ValueError(f"a block of {len(data)} bytes is no sequence of {width}-byte floats")
        values += [
            math.nan if v == struct.unpack(">f", struct.pack(">f", NAN))[0] or v == NAN else v
            for v in struct.unpack(_BLOCK_FLOATS[form] % (len(data) // width), data)
        ]
        answer = answer[size:].removeprefix(b";")
    return values


def pack_block(values: list[float], form: str) -> bytes:
    """Numbers as one block; NaN as SCPI says it."""
    numbers = [NAN if math.isnan(value) else value for value in values]
    return block(struct.pack(_BLOCK_FLOATS[form] % len(numbers), *numbers))


@dataclass(frozen=True, slots=True)
class ScpiError:
    """An entry of the instrument's error queue; code 0 says that it is empty."""

    code: int
    text: str


def parse_error(answer: str) -> ScpiError:
    """Answer to ``SYSTem:ERRor?``. Raises ValueError.

    >>> parse_error('-113,"Undefined header"')
    ScpiError(code=-113, text='Undefined header')
    """
    match = _ERROR.match(answer)
    if match is None:
        raise ValueError(f"{answer!r} is no entry of an error queue")
    return ScpiError(int(match[1]), match[2].replace('""', '"'))


@dataclass(frozen=True, slots=True)
class IdentityLine:
    """Answer to ``*IDN?``: four fields (IEEE 488.2, 10.14)."""

    manufacturer: str
    model: str
    serial: str
    firmware: str


def parse_identity(answer: str) -> IdentityLine:
    """Raises ValueError."""
    fields = [field.strip().strip('"') for field in answer.split(",", 3)]
    if len(fields) != 4 or not fields[1]:
        raise ValueError(f"{answer!r} is no answer to *IDN?")
    return IdentityLine(*fields)


def header_matches(pattern: str, header: str) -> bool:
    """Whether a program header means `pattern`, written with its short form in capitals (SCPI 6.2.1).

    >>> [header_matches(":NUMeric:VALue", h) for h in (":num:val", "NUMERIC:VAL", ":nume:val")]
    [True, True, False]
    """
    if pattern.endswith("?") != header.endswith("?"):
        return False
    pattern, header = pattern.removesuffix("?"), header.removesuffix("?")
    wanted, given = pattern.lstrip(":").split(":"), header.lstrip(":").upper().split(":")
    return len(wanted) == len(given) and all(
        have in (node.upper(), short_form(node)) for node, have in zip(wanted, given, strict=True)
    )


def short_form(node: str) -> str:
    match = _SHORT.match(node)
    return match[0] if match is not None else node.upper()


def same_setting(wanted: str, found: str) -> bool:
    """Whether a setting reads back as it was written: as a number where it is one, else as a word in either form."""
    try:
        return math.isclose(parse_number(wanted.encode()), parse_number(found.encode()), rel_tol=1e-6)
    except ValueError:
        plain = found.strip().strip('"').upper()
        return plain in (wanted.upper(), short_form(wanted))
