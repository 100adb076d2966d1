"""Is this document what the recordings say? Every check is a finding with a place; what was not checked is
no pass.

Four questions, from the paper to the data:

1. Is the PDF untouched? Its attached data are typeset again and must give the same file, byte for byte; a
   manifest beside it is compared too. So a PDF needs nothing but itself to be checked by the same version
   of the software.
2. Do the attachments say the same? ``results.json`` must be what follows from ``report.json``.
3. Are the recordings untouched, and the ones that the report names? Seal, and its digest as printed.
4. Do the recordings give these numbers? Every result, curve, limit and verdict is computed again by the
   engine's evaluation and compared bit for bit.

A forger who rewrites the data and typesets them anew passes 1 and 2 and fails 4, for the recording's seal
is printed; one who also forges the recording is stopped only by a signature over the report.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pikepdf

from test_protocols import get
from verification_platform.bench.description import BenchError
from verification_platform.engine.evaluation import evaluate_recording
from verification_platform.engine.journal import JournalError
from verification_platform.engine.protocol import ProtocolError
from verification_platform.engine.run_folder import RunFolder
from verification_platform.engine.software import software
from verification_platform.records import RecordingError, open_recording
from verification_platform.records.seal import verify_seal

from . import model
from .attachments import MOST_PDF_BYTES, read_attachments
from .build import JSON_NAME, MANIFEST_NAME, MANIFEST_SCHEMA
from .errors import DocumentError, ReportError
from .pdf import render, typesetting
from .source import load_run, load_seal

_ERRORS = (ReportError, ProtocolError, RecordingError, BenchError, JournalError)
_MOST_MANIFEST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: where, what was found, and whether it holds, fails, or could not be made."""

    place: str
    what: str
    state: Literal["ok", "failed", "unchecked"] = "failed"

    @property
    def ok(self) -> bool:
        return self.state == "ok"


@dataclass(frozen=True, slots=True)
class Verification:
    """All findings, in the order they were made."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Every check was made and holds. A check that could not be made is no pass."""
        return bool(self.findings) and all(finding.ok for finding in self.findings)

    @property
    def failures(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.state == "failed")


def verify_report(pdf: Path, recording: Path | None = None) -> Verification:
    """Check a report's PDF, against the run folders in or below `recording` (default: where its manifest
    says).

    Raises DocumentError only when `pdf` cannot be read as a file; everything else is a finding.
    """
    content = _load(pdf)
    findings, manifest = list(_manifest(pdf, content)), _read_manifest(pdf)
    data: model.ReportData | None
    try:
        attached = read_attachments(content)
        data = _data(attached)
        findings += _attachments(attached, data)
    except (DocumentError, ReportError) as error:
        findings.append(Finding("PDF", str(error)))
        data = _beside(pdf, manifest)  # so that the recordings can still be checked
    if data is None:
        return Verification(tuple(findings))
    findings += _bytes(content, data)
    for run in data.runs:
        findings += _run(run, data, _folder(run, data, pdf, manifest, recording))
    return Verification(tuple(findings))


# ---------------------------------------------------------------------- the document


def _load(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_PDF_BYTES:
            raise DocumentError(
                f"{path}: larger than {MOST_PDF_BYTES >> 20} MiB; that is no report of this software"
            )
        return path.read_bytes()
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read ({error.strerror}); give the PDF of a report") from None


def _read_manifest(pdf: Path) -> dict[str, Any] | None:
    path = pdf.parent / MANIFEST_NAME
    try:
        if path.stat().st_size > _MOST_MANIFEST_BYTES:
            return None
        tables = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return tables if isinstance(tables, dict) and tables.get("schema") == MANIFEST_SCHEMA else None


def _manifest(pdf: Path, content: bytes) -> Iterator[Finding]:
    """The files beside a manifest are those it names. Without a manifest there is nothing to say."""
    if not (pdf.parent / MANIFEST_NAME).exists():
        return
    manifest = _read_manifest(pdf)
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


def _data(attached: dict[str, bytes]) -> model.ReportData:
    if JSON_NAME not in attached:
        raise DocumentError(f"{JSON_NAME} is not attached; not a report of this software")
    return model.from_json(attached[JSON_NAME], f"{JSON_NAME} in PDF")


def _beside(pdf: Path, manifest: dict[str, Any] | None) -> model.ReportData | None:
    """The data from the file beside an unreadable PDF, when a manifest vouches for it."""
    if manifest is None:
        return None
    try:
        text = (pdf.parent / JSON_NAME).read_bytes()
        known = {entry["name"]: entry["sha256"] for entry in manifest["files"]}
        return model.from_json(text) if known.get(JSON_NAME) == hashlib.sha256(text).hexdigest() else None
    except (OSError, ReportError, KeyError, TypeError):
        return None


def _attachments(attached: dict[str, bytes], data: model.ReportData) -> Iterator[Finding]:
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
        difference = model.first_difference(json.loads(found), json.loads(expected))
    except (ValueError, RecursionError):
        return "not valid JSON: the attachment was altered"
    return f"was altered at {difference}" if difference else "was altered: the spelling differs"


def _bytes(content: bytes, data: model.ReportData) -> Iterator[Finding]:
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
            f"cannot be typeset again here: {list_of}; "
            f"use pilotbench {there.pilotbench.version} {there.pilotbench.commit}".rstrip(),
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


# ---------------------------------------------------------------------- the recordings


def _folder(
    run: model.Run, data: model.ReportData, pdf: Path, manifest: dict[str, Any] | None, given: Path | None
) -> Path | None:
    """The run folder (or bare recording) of a run."""
    if given is not None:
        return _matching(run, data, [given, *_children(given)])
    named = [
        pdf.parent / str(entry.get("folder"))
        for entry in (manifest or {}).get("runs", [])
        if isinstance(entry, dict) and entry.get("run") == run.id
    ]
    near = [pdf.parent.parent, *_children(pdf.parent.parent)]
    return _matching(run, data, [*named, *near])


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []


def _matching(run: model.Run, data: model.ReportData, candidates: list[Path]) -> Path | None:
    recordings = [
        path
        for path in candidates
        if (path / "run.json").exists() or (path / "seal.json").exists() or (path / "samples").is_dir()
    ]
    recordings = [path for path in recordings if not (path.name == "samples" and path.parent in recordings)]
    for matches in (
        lambda path: run.seal is not None and _digest(path) == run.seal.sha256,
        lambda path: path.resolve().name == run.id,
        lambda path: _protocol(path) == run.protocol,
        lambda path: len(data.runs) == 1 and len(recordings) == 1,
    ):
        if (found := next((path for path in recordings if matches(path)), None)) is not None:
            return found
    return None


def _digest(path: Path) -> str | None:
    try:
        seal = load_seal(path)
    except (RecordingError, OSError):
        return None
    return seal.sha256 if seal else None


def _protocol(path: Path) -> str | None:
    try:
        return RunFolder.load(path).protocol_id
    except (ProtocolError, BenchError):
        return None


def _run(run: model.Run, data: model.ReportData, folder: Path | None) -> Iterator[Finding]:
    if folder is None:
        yield Finding(
            run.id,
            "its recording is not at hand: numbers were not recomputed; name its folder with --recording",
            "unchecked",
        )
        return
    seal = verify_seal(folder)
    if not seal.ok:
        yield Finding(f"{run.id}/samples/{seal.place}", seal.what)
        return
    if run.seal is None or seal.digest != run.seal.sha256:
        printed = f"{run.seal.sha256[:16]}…" if run.seal else "none"
        yield Finding(
            f"{run.id}/samples",
            f"another recording: its seal is {seal.digest[:16]}…, the report names {printed}",
        )
        return
    yield Finding(f"{run.id}/samples", f"seal {seal.digest[:16]}… holds and is the one in the report", "ok")
    yield _recomputed(run, data, folder)


def _recomputed(run: model.Run, data: model.ReportData, folder: Path) -> Finding:
    try:
        difference = _difference(run, data, folder)
    except _ERRORS as error:
        return Finding(run.id, str(error))
    if not difference:
        return Finding(run.id, f"{len(run.results)} results recomputed from the recording, bit for bit", "ok")
    now = software()
    hint = ""
    if run.software.commit != now["commit"]:
        hint = f" (measured with pilotbench {run.software.version} {run.software.commit}, "
        hint += f"this is {now['version']} {now['commit']})"
    return Finding(f"{run.id}: {difference}", f"the recording gives another value{hint}")


def _difference(run: model.Run, data: model.ReportData, folder: Path) -> str:
    """Where the run in `folder` says something else than the report; empty when nowhere."""
    if (folder / "run.json").exists():
        stored = RunFolder.load(folder)
        if stored.order != data.order:
            return "order " + model.first_difference(
                data.order.model_dump(mode="json"), stored.order.model_dump(mode="json")
            )
        now = model.run_as_json(load_run(stored))
        return model.first_difference(model.run_as_json(run) | {"id": now["id"]}, now)
    protocol = get(run.protocol)
    evaluated = evaluate_recording(
        protocol, open_recording(folder), protocol.Parameters.model_validate(dict(run.settings)), data.order
    )
    return model.first_difference(
        model.results_as_json(run.results), model.results_as_json(evaluated.results), "results"
    )
