"""Error codes of EMCY objects and of 603Fh in clear text: a data table (``profiles/error_codes.toml``)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_TABLE = Path(__file__).parent / "profiles" / "error_codes.toml"


@cache
def error_texts() -> Mapping[int, str]:
    return {int(code, 16): text for code, text in tomllib.loads(_TABLE.read_text(encoding="utf-8")).items()}


def error_text(code: int) -> str:
    """What the code says; the text of its class (last digits zero) when the table has only that."""
    texts = error_texts()
    for mask in (0xFFFF, 0xFFF0, 0xFF00, 0xF000):
        if (text := texts.get(code & mask)) is not None:
            return text
    return "unknown error"
