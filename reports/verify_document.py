"""Checks of the document itself: files beside it, its attachments, and whether its data give its bytes."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pikepdf

from . import model
from .attachments import MOST_PDF_BYTES
from .build import JSON_NAME, MANIFEST_NAME, MANIFEST_SCHEMA
from .differences import first_difference
from .errors import DocumentError, ReportError
from .findings import Finding
from .pdf import render, typesetting

_MOST_MANIFEST_BYTES = 1 << 20


def load_pdf(path: Path) -> bytes:
    """The file's content. Raises DocumentError: not there, unreadable, or too large to be a report."""
    try:
        if path.stat().st_size > MOST_PDF_BYTES:
            raise DocumentError(
                f"{path}: larger than {MOST_PDF_BYTES >> 20} MiB; that is no report of this software"
            )
        return path.read_bytes()
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read ({error.strerror}); give the PDF of a report") from None


def read_manifest(pdf: Path) -> dict[str, Any] | None:
    """The manifest beside `pdf`; None where there is none, or it is no manifest of a report."""
    path = pdf.parent / MANIFEST_NAME
    try:
        if path.stat().st_size > _MOST_MANIFEST_BYTES:
            return None
        tables = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return tables if isinstance(tables, dict) and tables.get("schema") == MANIFEST_SCHEMA else None


def check_manifest(pdf: Path, content: bytes) -> Iterator[Finding]:
    """The files beside a manifest are those it names. Without a manifest there is nothing to say."""
    if not (pdf.parent / MANIFEST_NAME).exists():
        return
    manifest = read_manifest(pdf)
    files = manifest.get("files") if manifest else None
    if not isinstance(files, list):
        yield Finding(MANIFEST_NAME, "cannot be read as the manifest of a report")
        return
    known = {str(entry.get("name")): str(entry.get("sha256")) for entry in files if isinstance(entry, dict)}
    for name, sha256 in known.items():
        path = pdf.parent / name if Path(name).name == name else None
        try:
            found = content if name == pdf.name else path.read_bytes() if path else b""
        except OSError:
            yield Finding(f"{MANIFEST_NAME}: {name}", "the file that the manifest names is missing")
            continue
        if hashlib.sha256(found).hexdigest() == sha256:
            yield Finding(name, f"SHA-256 {sha256[:16]}… as in the manifest", "ok")
        else:
            yield Finding(name, "its SHA-256 is not the one in the manifest: the file was altered")


def attached_data(attached: dict[str, bytes]) -> model.ReportData:
    """The report's data out of its attachments. Raises DocumentError, ReportError."""
    if JSON_NAME not in attached:
        raise DocumentError(f"{JSON_NAME} is not attached; not a report of this software")
    return model.from_json(attached[JSON_NAME], f"{JSON_NAME} in PDF")


def data_beside(pdf: Path, manifest: dict[str, Any] | None) -> model.ReportData | None:
    """The data from the file beside an unreadable PDF, when a manifest vouches for it."""
    if manifest is None:
        return None
    try:
        text = (pdf.parent / JSON_NAME).read_bytes()
        known = {entry["name"]: entry["sha256"] for entry in manifest["files"]}
        return model.from_json(text) if known.get(JSON_NAME) == hashlib.sha256(text).hexdigest() else None
    except (OSError, ReportError, KeyError, TypeError):
        return None


def check_attachments(attached: dict[str, bytes], data: model.ReportData) -> Iterator[Finding]:
    """Both attachments must be what follows from the data, and there must be no other."""
    expected = {JSON_NAME: model.to_json(data), "results.json": model.results_json(data)}
    for name in (*expected, *(n for n in attached if n not in expected)):
        place = f"{name} in PDF"
        if name not in expected:
            yield Finding(place, "an attachment that no report of this software has")
        elif name not in attached:
            yield Finding(place, "the attachment is missing")
        elif attached[name] == expected[name]:
            yield Finding(place, "agrees with the report's data", "ok")
        else:
            yield Finding(place, _text_difference(attached[name], expected[name]))


def _text_difference(found: bytes, expected: bytes) -> str:
    try:
        difference = first_difference(json.loads(found), json.loads(expected))
    except (ValueError, RecursionError):
        return "not valid JSON: the attachment was altered"
    return f"was altered at {difference}" if difference else "was altered: the spelling differs"


def check_bytes(content: bytes, data: model.ReportData) -> Iterator[Finding]:
    """Typeset the data again and compare."""
    here, there = typesetting(data.typesetting.pilotbench), data.typesetting
    if here != there:
        differs = [
            name
            for name in ("typst", "matplotlib", "fonts_sha256", "layout_sha256")
            if getattr(here, name) != getattr(there, name)
        ]
        list_of = ", ".join(
            f"{n} {getattr(there, n):.12} there, {getattr(here, n):.12} here" for n in differs
        )
        yield Finding(
            "PDF",
            f"cannot be typeset again here: {list_of}; made with {there.pilotbench.named}",
            "unchecked",
        )
        return
    try:
        expected = render(data)
    except ReportError as error:
        yield Finding("PDF", f"its data cannot be typeset again: {error}")
        return
    if content == expected:
        yield Finding("PDF", f"typeset again from its data: the same {len(content)} bytes", "ok")
    else:
        yield Finding("PDF", _where(content, expected))


def _where(found: bytes, expected: bytes) -> str:
    """Where two PDFs first differ: byte, object, and page when the object belongs to one."""
    at = next(
        (i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b),
        min(len(found), len(expected)),
    )
    text = f"is not what its data give: first difference at byte {at}"
    if len(found) != len(expected):
        text += f", {len(found)} bytes instead of {len(expected)}"
    started = list(re.finditer(rb"(?:^|\n)(\d+) 0 obj", expected[: at + 1]))
    if not started:
        return text
    number = int(started[-1].group(1))
    return f"{text}, in object {number}{_role(expected, number)}"


def _role(pdf: bytes, number: int) -> str:
    """What an object of our own PDF is for: a page's content, or an attachment."""
    with pikepdf.open(io.BytesIO(pdf)) as document:
        for index, page in enumerate(document.pages, start=1):
            contents = page.obj.get("/Contents")
            streams = list(contents) if isinstance(contents, pikepdf.Array) else [contents]
            if page.obj.objgen[0] == number or any(s is not None and s.objgen[0] == number for s in streams):
                return f" (page {index})"
        for name, attachment in document.attachments.items():
            if attachment.obj["/EF"]["/F"].objgen[0] == number:
                return f" (attachment {name})"
    return ""
