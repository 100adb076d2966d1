"""A recording in memory, made of arrays: what a protocol's evaluation is fed with when nothing was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reports import texts
from test_protocols import get
from verification_platform.bench.description import BenchDescription
from verification_platform.bench.dut import Order
from verification_platform.engine.channels import channel_records
from verification_platform.engine.evaluation import Evaluated, evaluate_recording
from verification_platform.metrology.records import ChannelRecord, FixtureRecord
from verification_platform.metrology.result import Result
from verification_platform.records.errors import RecordingError
from verification_platform.records.recording import Integrity, Samples

from ..loading import load_script

ROOT = Path(__file__).parents[2]
Floats = NDArray[np.float64]


@dataclass
class MemorySegment:
    """Groups of (stamps, {channel: values})."""

    index: int
    tag: Mapping[str, Any]
    groups: Sequence[tuple[Floats, Mapping[str, Floats]]]
    block: int = 4096

    def read(self, *channels: str) -> Samples:
        for stamps, columns in self.groups:
            if set(channels) <= set(columns):
                values = np.column_stack([columns[name] for name in channels])
                return Samples(stamps, values, np.zeros(values.shape, np.uint8))
        raise RecordingError(f"no group carries {', '.join(channels)}")

    def blocks(self, *channels: str) -> Iterator[Samples]:
        whole = self.read(*channels)
        for first in range(0, len(whole.stamps_s), self.block):
            part = slice(first, first + self.block)
            yield Samples(whole.stamps_s[part], whole.values[part], whole.quality[part])


@dataclass
class MemoryRecording:
    channels: Mapping[str, ChannelRecord]
    parts: list[MemorySegment] = field(default_factory=list)
    fixture: FixtureRecord = field(default_factory=FixtureRecord)
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def add(self, tag: Mapping[str, Any], *groups: tuple[Floats, Mapping[str, Floats]]) -> MemoryRecording:
        self.parts.append(MemorySegment(len(self.parts), tag, groups))
        return self

    def segments(self, **tag: Any) -> Iterator[MemorySegment]:
        return (s for s in self.parts if all(s.tag.get(name) == value for name, value in tag.items()))

    def integrity(self) -> Integrity:
        return Integrity(1, 0, 0, {})


@pytest.fixture
def recording(bench: BenchDescription) -> MemoryRecording:
    """Empty, with the channels of the emulated bench and a fixture that adds nothing; no ambient temperature."""
    return MemoryRecording(channel_records(bench))


def said_in_both_languages(evaluated: Evaluated) -> None:
    """The report knows a Chinese and an English word for everything that stands in it."""
    said = [*evaluated.findings, *evaluated.deviations]
    for result in evaluated.results:
        name = texts.quantity_name(result.quantity)
        assert name is not None, result.quantity
        said += [name, *texts.conditions(result.conditions)]
        said += [texts.source(line.source) for line in result.budget]
    for text in said:
        assert text.zh != text.en, text


@dataclass
class Evaluator:
    """Evaluates a recording by a protocol and finds results by name and conditions.

    Whatever a protocol gives must be something that the report can say in both languages.
    """

    order: Order
    evaluated: Evaluated | None = None

    def __call__(
        self, protocol_id: str, recording: Any, order: Order | None = None, **settings: Any
    ) -> Evaluated:
        protocol = get(protocol_id)
        parameters = protocol.Parameters(**settings)
        self.evaluated = evaluate_recording(protocol, recording, parameters, order or self.order)
        said_in_both_languages(self.evaluated)
        return self.evaluated

    def result(self, quantity: str, **conditions: Any) -> Result:
        assert self.evaluated is not None
        found = [
            r
            for r in self.evaluated.results
            if r.quantity == quantity and all(r.conditions.get(k) == v for k, v in conditions.items())
        ]
        assert len(found) == 1, f"{quantity} {conditions}: {len(found)} results"
        return found[0]


@pytest.fixture
def evaluate(order: Order) -> Evaluator:
    return Evaluator(order)


@pytest.fixture(scope="session")
def coverage() -> ModuleType:
    """The coverage study, as a module."""
    return load_script("benchmarks/coverage.py", "coverage_study")
