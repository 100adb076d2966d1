"""From run folders to report data.

Results and curves are computed from the sealed recordings when the report is built, by the same function
that `run`, `analyze` and `verify` use; ``results.json`` in the run folder must agree, or no report is
written.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from pydantic.dataclasses import dataclass as checked_dataclass

from test_protocols import get
from verification_platform.engine.evaluation import evaluate_run
from verification_platform.engine.journal import read_journal
from verification_platform.engine.protocol import Text
from verification_platform.engine.run_folder import RunFolder
from verification_platform.engine.software import software
from verification_platform.records.reader import open_recording
from verification_platform.records.recording import Recording
from verification_platform.records.seal import read_seal, samples_folder
from verification_platform.tables import one_line

from . import model
from .differences import first_difference
from .errors import ReportError
from .pdf import languages, typesetting
from .thinning import merge_directions, thin

_ENVIRONMENT = ("ambient_temperature", "ambient_humidity", "housing_temperature")


@with_config(ConfigDict(extra="forbid"))
@checked_dataclass(frozen=True)
class LabFile:
    """``lab.toml``: everything about laboratory, customer and item that no run knows."""

    lab: model.Lab = model.Lab()
    customer: model.Customer = model.Customer()
    item: model.Item = model.Item()


_LAB_FILE = TypeAdapter(LabFile)
_LAB_TABLES = {
    field.name: [inner.name for inner in dataclasses.fields(field.default)]  # type: ignore[arg-type]
    for field in dataclasses.fields(LabFile)
}


def load_lab(path: Path | None) -> LabFile:
    """Read ``lab.toml``; None gives an empty one, printed as "not stated". Raises ReportError."""
    if path is None:
        return LabFile()
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        for name, known in _LAB_TABLES.items():
            for key in tables.get(name, {}):
                if key not in known:
                    raise ReportError(f"{path}: [{name}] has no {key!r}; known are {', '.join(known)}")
        return _LAB_FILE.validate_python(tables)
    except OSError as error:
        raise ReportError(f"{path}: cannot be read ({error.strerror}); give the path of a lab.toml") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ReportError(f"{path}: not a valid TOML file ({error})") from None
    except ValidationError as error:
        raise ReportError(one_line(str(path), error)) from None


def load_report(
    runs: Sequence[Path], *, lang: str = "zh,en", lab: Path | None = None, number: str | None = None
) -> model.ReportData:
    """Everything a report on these run folders says. Raises ReportError when they do not belong to one
    order."""
    if not runs:
        raise ReportError("no run folder given; name at least one")
    chosen, profile = languages(lang), load_lab(lab)
    folders = [RunFolder.load(path) for path in runs]
    first = folders[0]
    for folder in folders[1:]:
        if folder.order.dut != first.order.dut:
            raise ReportError(
                f"{folder.path}: another item ({folder.order.dut.model} {folder.order.dut.serial}) "
                f"than {first.path}; one report is about one item"
            )
        if folder.order != first.order:
            raise ReportError(
                f"{folder.path}: limits or decision rule differ from {first.path}; "
                "one report follows one order"
            )
    loaded = tuple(load_run(folder) for folder in folders)
    for folder, run in zip(folders, loaded, strict=True):
        check_stored_results(folder, run)
    data = model.ReportData(
        number=number or _number(loaded),
        languages=chosen,
        lab=profile.lab,
        customer=profile.customer,
        item=profile.item,
        order=first.order,
        runs=loaded,
        typesetting=typesetting(here()),
    )
    return model.from_json(model.to_json(data))  # one spelling of every number, whoever built it


def load_run(folder: RunFolder) -> model.Run:
    """One run, its results recomputed from the recording, whatever ``results.json`` says."""
    evaluated = evaluate_run(folder.path, get, write=False)
    protocol, recording = get(folder.protocol_id), open_recording(folder.samples)
    times = [dt.datetime.fromisoformat(entry.utc) for entry in read_journal(folder.journal)] or [
        folder.created_utc
    ]
    integrity = recording.integrity()
    return model.Run(
        id=folder.path.resolve().name,
        protocol=protocol.id,
        protocol_version=folder.protocol_version,
        title=protocol.title,
        purpose=protocol.purpose,
        standards=tuple(protocol.standards),
        status=evaluated.status,
        started=times[0],
        ended=times[-1],
        bench=folder.bench.bench.id,
        bench_kind=folder.bench.bench.kind,
        bench_title=Text(folder.bench.bench.title.zh, folder.bench.bench.title.en),
        parameters=folder.parameter_uses,
        settings=folder.parameters,
        results=tuple(evaluated.results),
        curves=tuple(thin(curve) for curve in merge_directions(evaluated.curves)),
        channels=tuple(recording.channels.values()),
        fixture=recording.fixture,
        environment=environment(recording),
        findings=tuple(evaluated.findings),
        deviations=tuple(evaluated.deviations),
        continuity=model.Continuity(
            integrity.rows, integrity.lost_rows, integrity.gaps, dict(integrity.not_good)
        ),
        seal=load_seal(folder.samples),
        software=_software(folder.software),
        clock=folder.clock,
        transport=folder.transport,
    )


def load_seal(folder: Path) -> model.Seal | None:
    """What the report prints of a recording's seal; None when it was never closed. Raises RecordingError."""
    seal = read_seal(samples_folder(folder))
    if seal is None or not seal.closed:
        return None
    return model.Seal(seal.digest, tuple(model.SealedFile(e.file, e.bytes, e.sha256) for e in seal.entries))


def environment(recording: Recording) -> tuple[model.Environment, ...]:
    """Least, mean and largest value of every environmental channel over the marked segments."""
    rows = []
    for name in _ENVIRONMENT:
        if name not in recording.channels:
            continue
        values = [
            samples.values[samples.quality[:, 0] == 0, 0]
            for segment in recording.segments()
            for samples in segment.blocks(name)
        ]
        merged = np.concatenate(values) if values else np.empty(0)
        if merged.size:
            rows.append(
                model.Environment(
                    name,
                    recording.channels[name].unit,
                    float(merged.min()),
                    float(merged.mean()),
                    float(merged.max()),
                )
            )
    return tuple(rows)


def check_stored_results(folder: RunFolder, run: model.Run) -> None:
    """``results.json`` beside the recording, where there is one, says what was recomputed. Raises ReportError."""
    path = folder.results
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise ReportError(
            f"{path}: cannot be read ({error}); move it away: all numbers are computed from the recording"
        ) from None
    place = first_difference(
        model.results_as_json(model.results_from_json(stored, str(path))),
        model.results_as_json(run.results),
        "results",
    )
    if place:
        raise ReportError(
            f"{path}: {place}; it was altered, or evaluated by another version: measured with {run.software.named}, "
            f"recomputed with {here().named}; to use what this version computes, move the file away"
        )


def here() -> model.Software:
    """This software."""
    return _software(software())


def _software(tables: Mapping[str, str]) -> model.Software:
    return model.Software(tables.get("name", ""), tables.get("version", ""), tables.get("commit", ""))


def _number(runs: Iterable[model.Run]) -> str:
    """A number for a draft: day of the last run and the first digits of a hash over runs and seals."""
    digest, last = hashlib.sha256(), dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    for run in runs:
        digest.update(f"{run.id}\0{run.seal.sha256 if run.seal else ''}\0".encode())
        last = max(last, run.ended or last)
    return f"DRAFT-{last:%Y%m%d}-{digest.hexdigest()[:8].upper()}"
