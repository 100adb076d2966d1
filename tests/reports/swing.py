"""A run folder with a real recording, of a protocol small enough for tests."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from drivers.device import Block
from verification_platform.bench.description import load_bench
from verification_platform.bench.dut import Order, Reducer, load_dut
from verification_platform.engine.evaluation import evaluate_run
from verification_platform.engine.journal import Journal
from verification_platform.engine.protocol import (
    Curve,
    Evaluation,
    Procedure,
    Protocol,
    ProtocolParameters,
    Requires,
    Standard,
    Text,
    parameter,
)
from verification_platform.engine.run_folder import RunFolder
from verification_platform.metrology.result import Contribution
from verification_platform.records.marks import SegmentMark
from verification_platform.records.recording import Recording
from verification_platform.records.writer import RecordingWriter

from .imagined_reducer import ROOT, result


class Parameters(ProtocolParameters):
    turns: int = parameter(2, mark="P", why=Text("足以取平均", "enough for a mean"))


class Swing(Protocol):
    """A protocol small enough for tests: peak to peak of the output angle."""

    id = "TST-SWING"
    title = Text("摆动", "Swing")
    purpose = Text("试验用规程。", "A protocol for tests.")
    standards = (Standard("GB/T 35089-2018", "8", "C"),)
    dut_kinds = ("reducer",)
    requires = Requires()
    Parameters = Parameters

    def procedure(self, p: Parameters, dut: Reducer) -> Procedure:
        yield from ()

    def evaluate(self, recording: Recording, p: Parameters, order: Order) -> Evaluation:
        samples = [segment.read("output_angle").values[:, 0] for segment in recording.segments()]
        spans = [float(np.ptp(values)) for values in samples]
        budget = (
            Contribution("编码器 encoder", "B", 0.75e-6 * 4.848),
            Contribution("重复性 repeatability", "A", 1e-6),
        )
        value = result("TE_pp", float(np.mean(spans)), 3.7e-6, "rad", "arcsec", {"load": 0.0}, high=1.0)
        curve = Curve(
            "swing", Text("摆动曲线", "Swing over time"), Text("序号", "sample"), Text("输出角", "output angle"),
            np.arange(len(samples[0]), dtype=np.float64), {"forward": samples[0]}, "1", "rad", "", "arcsec",
        )  # fmt: skip
        return Evaluation((dataclasses.replace(value, budget=budget),), (curve,))


def make_run(folder: Path, seed: int = 5) -> Path:
    """A run folder as the engine leaves it: frozen run, journal, sealed recording in two segments, results."""
    bench, order = (
        load_bench(ROOT / "benches" / "emulated.toml"),
        load_dut(ROOT / "duts" / "harmonic-25-100.toml"),
    )
    protocol = Swing()
    run = RunFolder.create(folder, protocol, Parameters(), order, bench, clock="virtual", transport="local")
    records = {name: run.channels[name] for name in ("output_angle", "ambient_temperature")}
    groups = {"can0": ("output_angle",), "rs485": ("ambient_temperature",)}
    rng = np.random.default_rng(seed)
    with RecordingWriter(run.samples, records, run.fixture, {}, groups) as writer:
        for part in range(2):
            n = 500
            stamps = 10.0 + (np.arange(n) + part * n) * 0.002
            angle = 100e-6 * np.sin(2 * np.pi * stamps) + rng.normal(0, 1e-6, n)
            writer.write(
                Block(
                    "can0",
                    part,
                    part * n,
                    ("output_angle",),
                    stamps,
                    angle[:, None],
                    np.zeros((n, 1), np.uint8),
                )
            )
            warm = np.full((100, 1), 296.15 + 0.1 * part)
            writer.write(
                Block(
                    "rs485",
                    part,
                    part * 100,
                    ("ambient_temperature",),
                    stamps[::5],
                    warm,
                    np.zeros((100, 1), np.uint8),
                )
            )
            writer.mark(
                SegmentMark(
                    part,
                    {"part": part},
                    {"can0": (part * n, part * n + n), "rs485": (part * 100, part * 100 + 100)},
                )
            )
    with Journal(run.journal, sync=False) as journal:
        journal.append("run_begin")
        journal.append("run_end", finished=True, status="VALID", reason="")
    evaluate_run(folder, lambda _: protocol)
    return folder
