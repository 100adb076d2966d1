"""The fonts a report is set in, and the refusal of what they cannot draw.

The fonts are part of the repository (reports/fonts): a report is verified by typesetting it again, so the
font bytes belong to the software version. Coverage is checked before typesetting, because then the message
can say where in the data the character stands; the PDF/A export refuses it a second time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from fontTools.ttLib import TTFont

from .errors import MissingGlyphError

FONT_FOLDER = Path(__file__).parent / "fonts"
#: In the order the template and the charts ask for them.
FAMILIES = ("Noto Sans SC", "DejaVu Sans", "Pilotbench Han Rare")
_CHECKED = ("NotoSansSC-Regular.ttf", "DejaVuSans.ttf", "PilotbenchHanRare.ttf")
_LAYOUT = frozenset("\n\u200b")  # line breaks and break opportunities draw nothing


def font_files() -> tuple[Path, ...]:
    """All font files, sorted by name. Raises MissingGlyphError when the folder is empty or incomplete."""
    files = tuple(sorted(FONT_FOLDER.glob("*.ttf")))
    missing = [name for name in _CHECKED if FONT_FOLDER / name not in files]
    if missing:
        raise MissingGlyphError(
            f"{FONT_FOLDER}: font file {missing[0]} is missing; restore it from the repository"
        )
    return files


@cache
def fonts_digest() -> str:
    """SHA-256 over names and bytes of all font files: part of what a re-rendering depends on."""
    digest = hashlib.sha256()
    for path in font_files():
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@cache
def coverage() -> frozenset[int]:
    """Code points that at least one regular font can draw."""
    covered: set[int] = set()
    for name in _CHECKED:
        with TTFont(FONT_FOLDER / name, lazy=True) as font:
            covered |= font.getBestCmap().keys()
    return frozenset(covered)


def texts(data: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every string in JSON-like data with its place, e.g. ``("item.manufacturer", "…")``; keys are not
    printed."""
    if isinstance(data, str):
        yield place, data
    elif isinstance(data, Mapping):
        for key, value in data.items():
            yield from texts(value, f"{place}.{key}" if place else str(key))
    elif isinstance(data, Sequence):
        for index, value in enumerate(data):
            yield from texts(value, f"{place}[{index}]")


def require_glyphs(data: Any) -> None:
    """Raise MissingGlyphError for the first character in `data` that cannot be drawn, naming its place."""
    covered = coverage()
    for place, text in texts(data):
        for character in text:
            if ord(character) not in covered and character not in _LAYOUT:
                raise MissingGlyphError(
                    f"{place}: character {character!r} (U+{ord(character):04X}) "
                    "is in none of the report's fonts; "
                    f"write it differently or add a font that has it to {FONT_FOLDER}"
                )
