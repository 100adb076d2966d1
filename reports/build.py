"""Writing a report: PDF, its data, and a manifest with the SHA-256 of both."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from verification_platform.disk import write_whole

from . import model
from .errors import ReportError
from .pdf import render
from .source import load_report

PDF_NAME, JSON_NAME, MANIFEST_NAME = "report.pdf", "report.json", "manifest.json"
MANIFEST_SCHEMA = "pilotbench.manifest/1"


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """The files of one report, all in one folder."""

    pdf: Path
    json: Path
    manifest: Path


def build_report(
    runs: Sequence[Path],
    out: Path,
    lang: str = "zh,en",
    *,
    lab: Path | None = None,
    number: str | None = None,
) -> ReportFiles:
    """One report on the runs of one order, written to folder `out`.

    `lang` names the languages, the leading one first; `lab` is a ``lab.toml`` with laboratory, customer and
    item. The same runs give the same bytes. Raises ReportError (also MissingGlyphError), ProtocolError,
    RecordingError.
    """
    data = load_report(runs, lang=lang, lab=lab, number=number)
    return write_report(data, runs, out)


def write_report(data: model.ReportData, runs: Sequence[Path], out: Path) -> ReportFiles:
    """Typeset `data` and write the three files; `runs` are named in the manifest, relative to `out`."""
    pdf = render(data)
    files = ReportFiles(out / PDF_NAME, out / JSON_NAME, out / MANIFEST_NAME)
    contents = {files.pdf: pdf, files.json: model.to_json(data)}
    tables = {
        "schema": MANIFEST_SCHEMA,
        "report": data.number,
        "files": [
            {"name": path.name, "bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
            for path, text in contents.items()
        ],
        "runs": [
            {"run": run.id, "folder": os.path.relpath(path.resolve(), out.resolve())}
            for run, path in zip(data.runs, runs, strict=False)
        ],
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path, text in {**contents, files.manifest: model.canonical(tables)}.items():
            write_whole(path, text)
    except OSError as error:
        raise ReportError(
            f"{out}: the report cannot be written ({error.strerror}); give another --out"
        ) from None
    return files
