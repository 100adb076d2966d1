"""The run folder: everything a run was, frozen before it starts, so that anyone can recompute it.

::

    run.json            frozen order, protocol, parameters, bench, calibrations, software
    journal.jsonl       what was begun and finished, hash-chained
    samples/            the recording and its seal
    results.json        list of result objects, written by evaluation
    curves.json         what the report plots
    evaluation.json     status, verdict, findings, deviations
    report/
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from verification_platform.bench.description import BenchDescription, BenchError
from verification_platform.bench.dut import Order, parse_order
from verification_platform.disk import write_whole
from verification_platform.metrology.records import ChannelRecord, FixtureRecord
from verification_platform.tables import one_line

from .channels import channel_records
from .parameters import ParameterUse, parameter_uses
from .protocol import Protocol, ProtocolError, ProtocolParameters
from .software import software

SCHEMA = "pilotbench.run/1"
_CHANNELS = TypeAdapter(dict[str, ChannelRecord])
_FIXTURE = TypeAdapter(FixtureRecord)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """``run.json`` of the run in `path`. Parameters are SI; `protocol_version` is that of the procedure."""

    path: Path
    protocol_id: str
    protocol_version: str
    parameters: Mapping[str, Any]
    parameter_uses: tuple[ParameterUse, ...]
    order: Order
    bench: BenchDescription
    channels: Mapping[str, ChannelRecord]
    fixture: FixtureRecord
    seed: int | None
    clock: str
    transport: str
    software: Mapping[str, str]
    created_utc: dt.datetime

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def results(self) -> Path:
        return self.path / "results.json"

    @property
    def curves(self) -> Path:
        return self.path / "curves.json"

    @property
    def evaluation(self) -> Path:
        return self.path / "evaluation.json"

    @classmethod
    def create(
        cls,
        path: Path,
        protocol: Protocol,
        parameters: ProtocolParameters,
        order: Order,
        bench: BenchDescription,
        *,
        seed: int | None = None,
        clock: str = "real",
        transport: str = "ros",
        resolutions: Mapping[str, float] | None = None,
    ) -> RunFolder:
        """Freeze a run. Raises ProtocolError when the folder already holds one or cannot be written."""
        if (path / "run.json").exists():
            raise ProtocolError(
                f"{path} already holds a run; give another --out, or continue it with `pilotbench resume`"
            )
        folder = cls(
            path,
            protocol.id,
            protocol.version,
            parameters.model_dump(mode="json"),
            parameter_uses(protocol, parameters),
            order,
            bench,
            channel_records(bench, resolutions),
            bench.fixture.record(),
            seed,
            clock,
            transport,
            software(),
            dt.datetime.now(dt.UTC).replace(microsecond=0),
        )
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_whole(path / "run.json", folder._text())
        except OSError as error:
            raise ProtocolError(
                f"{path}: the run folder cannot be written ({error.strerror}); give another --out"
            ) from None
        return folder

    def _text(self) -> str:
        tables = {
            "schema": SCHEMA,
            "protocol": {"id": self.protocol_id, "version": self.protocol_version},
            "parameters": dict(self.parameters),
            "parameter_uses": [use.as_data() for use in self.parameter_uses],
            "order": self.order.model_dump(mode="json", exclude_none=True),
            "bench": self.bench.model_dump(mode="json", exclude_none=True),
            "channels": _CHANNELS.dump_python(dict(self.channels), mode="json"),
            "fixture": _FIXTURE.dump_python(self.fixture, mode="json"),
            "seed": self.seed,
            "clock": self.clock,
            "transport": self.transport,
            "software": dict(self.software),
            "created_utc": self.created_utc.isoformat(),
        }
        return json.dumps(tables, ensure_ascii=False, allow_nan=False, indent=1) + "\n"

    @classmethod
    def load(cls, path: Path) -> RunFolder:
        """Read ``run.json``. Raises ProtocolError naming the file and what is wrong with it."""
        file = path / "run.json"
        try:
            tables = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise ProtocolError(f"{file}: cannot be read ({error.strerror}); give a run folder") from None
        except ValueError as error:
            raise ProtocolError(f"{file}: not valid JSON ({error})") from None
        if not isinstance(tables, dict) or tables.get("schema") != SCHEMA:
            raise ProtocolError(f"{file}: not a run of this software; expected schema {SCHEMA}")
        try:
            return cls(
                path,
                tables["protocol"]["id"],
                tables["protocol"]["version"],
                tables["parameters"],
                tuple(ParameterUse.from_data(use) for use in tables["parameter_uses"]),
                parse_order(tables["order"], str(file)),
                BenchDescription.model_validate(tables["bench"]),
                _CHANNELS.validate_python(tables["channels"]),
                _FIXTURE.validate_python(tables["fixture"]),
                tables["seed"],
                tables["clock"],
                tables["transport"],
                tables["software"],
                dt.datetime.fromisoformat(tables["created_utc"]),
            )
        except ValidationError as error:
            raise ProtocolError(one_line(str(file), error)) from None
        except (KeyError, TypeError, BenchError) as error:
            raise ProtocolError(f"{file}: incomplete or damaged ({error})") from None
