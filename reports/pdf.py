"""Typesetting: report data → PDF bytes, the same bytes each time.

typst reads the template and JSON from a scratch folder; nothing of the data is ever read as markup. Only
the fonts of the repository are visible, the time stamp is that of the data, and PDF/A-3a is written: a
tagged document with alt texts, which refuses a missing glyph. (Conformance is not claimed: no independent
validator has looked at it.)
"""

from __future__ import annotations

import datetime as dt
import hashlib
import importlib.metadata
import json
import re
import shutil
import tempfile
from pathlib import Path

import typst

from .charts import chart, is_wide
from .errors import MissingGlyphError, ReportError
from .model import Language, ReportData, Software, Typesetting, results_json, to_json
from .typefaces import FONT_FOLDER, fonts_digest, require_glyphs
from .view import view

TEMPLATE = Path(__file__).parent / "templates" / "report.typ"
#: Modules whose code decides about the bytes of the PDF.
_LAYOUT_CODE = (
    "charts.py",
    "formatting.py",
    "lines.py",
    "loops.py",
    "model.py",
    "pdf.py",
    "plot.py",
    "statements.py",
    "stems.py",
    "tables.py",
    "texts.py",
    "traceability.py",
    "view.py",
)


def typesetting(software: Software) -> Typesetting:
    """What this installation typesets with."""
    return Typesetting(
        pilotbench=software,
        typst=importlib.metadata.version("typst"),
        matplotlib=importlib.metadata.version("matplotlib"),
        fonts_sha256=fonts_digest(),
        layout_sha256=_layout_digest(),
    )


def _layout_digest() -> str:
    digest = hashlib.sha256(TEMPLATE.read_bytes())
    for name in _LAYOUT_CODE:
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()


def languages(text: str) -> tuple[Language, ...]:
    """``"zh,en"`` → ("zh", "en"): the first language leads. Raises ReportError."""
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not found or any(language not in ("zh", "en") for language in found):
        raise ReportError(f"languages {text!r}: write zh, en, 'zh,en' or 'en,zh'")
    return found  # type: ignore[return-value]


def render(data: ReportData) -> bytes:
    """The PDF of a report. Raises MissingGlyphError, ReportError."""
    with tempfile.TemporaryDirectory(prefix="pilotbench-report-") as scratch:
        folder = Path(scratch)
        figures = _draw(data, folder)
        shown = view(data, figures)
        require_glyphs(shown)
        (folder / "data.json").write_text(json.dumps(shown, ensure_ascii=False), encoding="utf-8")
        (folder / "report.json").write_bytes(to_json(data))
        (folder / "results.json").write_bytes(results_json(data))
        shutil.copyfile(TEMPLATE, folder / "report.typ")
        return _typeset(folder, data.moment)


def _draw(data: ReportData, folder: Path) -> dict[tuple[str, str], str]:
    figures: dict[tuple[str, str], str] = {}
    for run_index, run in enumerate(data.runs):
        for curve_index, curve in enumerate(run.curves):
            name = f"figure-{run_index}-{curve_index}.svg"
            (folder / name).write_bytes(
                chart(curve, run.results, data.order.dut, data.languages, wide=is_wide(run.curves))
            )
            figures[run.id, curve.name] = name
    return figures


def _typeset(folder: Path, moment: dt.datetime) -> bytes:
    fonts = typst.Fonts(
        include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(FONT_FOLDER)]
    )
    compiler = typst.Compiler(
        str(folder / "report.typ"), root=str(folder), font_paths=fonts, ignore_system_fonts=True
    )
    try:
        pdf, warnings = compiler.compile_with_warnings(
            format="pdf", pdf_standards="a-3a", timestamp=int(moment.timestamp())
        )
    except typst.TypstError as error:
        text = _first_line(error.message)
        if "could not be displayed with" in error.message:
            raise MissingGlyphError(f"typesetting refused a character: {text}") from None
        hints = "; ".join(error.hints) or "none"
        raise ReportError(
            f"typesetting failed: {text} {_first_line(error.diagnostic)}; hints: {hints}"
        ) from None
    if warnings:
        raise ReportError(f"typesetting warned: {_first_line(warnings[0].message)}")
    assert isinstance(pdf, bytes)
    return pdf


def _first_line(message: str) -> str:
    return re.sub(r"\s+", " ", message).strip()[:300]
