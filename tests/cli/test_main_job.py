"""The main job on the built-in simulator: run, analyze, report, verify; and a forgery that is found."""

from __future__ import annotations

import json
from pathlib import Path

from .conftest import DUT, Command, simulated

SHORT = (
    "--set",
    "loads=[0]",
    "--set",
    "repeats=1",
    "--set",
    "revolutions=1",
    "--set",
    "output_speed=3.5 r/min",
)


def test_run_analyze_report_verify_forge(command: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    said = simulated(command, run, "--seed", 7, *SHORT)
    assert said.code == 0, said.err
    assert "TE_pp" in said.out
    assert "合格" in said.out

    said = command("analyze", "RED-TE", "--recording", run, "--json")
    assert said.code == 0
    assert json.loads(said.out) == json.loads((run / "results.json").read_text(encoding="utf-8"))

    assert simulated(command, run).code == 2  # nothing overwritten

    assert command("report", run).code == 0
    pdf = next((run / "report").glob("*.pdf"))
    said = command("verify", pdf)
    assert said.code == 0, said.out

    segment = run / "samples" / "000000.mcap"
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    said = command("verify", pdf)
    assert said.code == 1
    assert "000000.mcap" in said.out


def test_a_limit_that_is_not_met_fails(command: Command, tmp_path: Path) -> None:
    dut = tmp_path / "dut.toml"
    dut.write_text(
        DUT.read_text(encoding="utf-8").replace('max = "1.5 arcmin"', 'max = "0.5 arcmin"'), encoding="utf-8"
    )
    said = simulated(command, tmp_path / "run", *SHORT, dut=dut)
    assert said.code == 1
    assert "不合格" in said.out


def test_catalogue(command: Command) -> None:
    said = command("protocols", "--json")
    assert said.code == 0
    assert {"RED-TE", "RED-HYS", "RED-NL"} <= {protocol["id"] for protocol in json.loads(said.out)}
