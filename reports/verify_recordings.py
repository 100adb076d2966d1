"""Checks of the recordings: are they the ones that the report names, whole, and do they give its numbers?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from test_protocols import get
from verification_platform.bench.description import BenchError
from verification_platform.engine.evaluation import evaluate_recording
from verification_platform.engine.journal import JournalError
from verification_platform.engine.protocol import ProtocolError
from verification_platform.engine.run_folder import RunFolder
from verification_platform.records.errors import RecordingError
from verification_platform.records.reader import open_recording
from verification_platform.records.seal import verify_seal

from . import model
from .differences import Difference, differences
from .errors import ReportError
from .findings import Finding
from .source import check_stored_results, here, load_run, load_seal

_ERRORS = (ReportError, ProtocolError, RecordingError, BenchError, JournalError)


def find_folder(
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


def check_recording(run: model.Run, data: model.ReportData, folder: Path | None) -> Iterator[Finding]:
    """Seal, whether it is the one in the report, and every number recomputed; `folder` None is no pass."""
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
        found = _differences(run, data, folder)
    except _ERRORS as error:
        return Finding(run.id, str(error))
    if not found:
        return Finding(run.id, f"{len(run.results)} results recomputed from the recording, bit for bit", "ok")
    first, largest = found[0], max(difference.relative for difference in found)
    what = first.note or f"the report says {first.found!r:.60}, the recording gives {first.expected!r:.60}"
    if first.relative < math.inf:
        what += (
            f" (a difference of {abs(first.found - first.expected):.1g}, {first.relative:.1g} of the value)"
        )
    if len(found) > 1:
        most = f", by at most {largest:.1g} of their values" if largest < math.inf else ""
        what += f"; {len(found) - 1} more entries differ{most}"
    what += f"; measured with {run.software.named}, report made with {data.typesetting.pilotbench.named}, this is {here().named}"
    return Finding(f"{run.id}: {first.place}", what, deviation=largest)


def _differences(run: model.Run, data: model.ReportData, folder: Path) -> list[Difference]:
    """Where the run in `folder` says something else than the report. Raises one of `_ERRORS`."""
    if (folder / "run.json").exists():
        stored = RunFolder.load(folder)
        asked, frozen = data.order.model_dump(mode="json"), stored.order.model_dump(mode="json")
        if asked != frozen:
            return [replace(found, place=f"order {found.place}") for found in differences(asked, frozen)]
        now = load_run(stored)
        as_json = model.run_as_json(now)
        if found := list(differences(model.run_as_json(run) | {"id": as_json["id"]}, as_json)):
            return found
        check_stored_results(stored, now)
        return []
    protocol = get(run.protocol)
    evaluated = evaluate_recording(
        protocol, open_recording(folder), protocol.Parameters.model_validate(dict(run.settings)), data.order
    )
    return list(
        differences(model.results_as_json(run.results), model.results_as_json(evaluated.results), "results")
    )
