"""Bad input ends with one clear line (what, where, what to do), exit code 2, and nothing lost or left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import BENCH, DUT, Command, Said, simulated


def _refused(said: Said, *words: str) -> None:
    assert said.code == 2
    lines = said.err.strip().splitlines()
    assert len(lines) == 1, said.err
    assert lines[0].startswith("pilotbench: ")
    for word in words:
        assert word in lines[0]


def _run(
    command: Command, out: Path, *more: object, bench: Path = BENCH, dut: Path = DUT, protocol: str = "RED-TE"
) -> Said:
    said = simulated(command, out, *more, bench=bench, dut=dut, protocol=protocol)
    assert not (out / "run.json").exists()
    return said


def test_unknown_command(command: Command) -> None:
    _refused(command("protocolz"), "protocolz")


def test_unknown_protocol_names_what_comes_near(command: Command, tmp_path: Path) -> None:
    _refused(_run(command, tmp_path / "r", protocol="RED-TF"), "RED-TF", "RED-TE")


def test_missing_role(command: Command, tmp_path: Path, bench_file: Callable[..., Path]) -> None:
    bench = bench_file(("[actuator.drive]", "[actuator.spindle]"))
    _refused(_run(command, tmp_path / "r", bench=bench), "drive", "PB-E1", "add [actuator.drive]")


def test_expired_calibration(command: Command, tmp_path: Path, bench_file: Callable[..., Path]) -> None:
    bench = bench_file(("due = 2027-06-01", "due = 2026-06-02"))
    _refused(_run(command, tmp_path / "r", bench=bench), "calibration", "2026-06-02", "recalibrate")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("ratio = 100", "ratio = -100", ("dut.toml", "ratio", "greater than 0")),
        ('rated_torque = "100 N·m"', 'rated_torque = "100 r/min"', ("rated_torque", "expected", "N·m")),
        ("[dut]", "[dut", ("dut.toml", "TOML")),
    ],
)
def test_component_file(command: Command, tmp_path: Path, old: str, new: str, words: tuple[str, ...]) -> None:
    dut = tmp_path / "dut.toml"
    dut.write_text(DUT.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    _refused(_run(command, tmp_path / "r", dut=dut), *words)


def test_file_that_is_not_there(command: Command, tmp_path: Path) -> None:
    _refused(_run(command, tmp_path / "r", bench=tmp_path / "none.toml"), "none.toml", "existing file")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("output_speeed=1 r/min", ("output_speeed", "output_speed")),
        ("output_speed=1 N·m", ("output_speed", "rad/s")),
        ("output_speed=fast", ("output_speed", "not a quantity")),
        ("repeats=0", ("repeats",)),
        ("repeats", ("name=value",)),
    ],
)
def test_setting(command: Command, tmp_path: Path, setting: str, words: tuple[str, ...]) -> None:
    _refused(_run(command, tmp_path / "r", "--set", setting), *words)


def test_set_point_beyond_the_envelope_is_refused_before_anything_moves(
    command: Command, tmp_path: Path
) -> None:
    _refused(_run(command, tmp_path / "r", "--set", "output_speed=100 r/min"), "drive")


def test_undersampled_orders_are_refused_before_anything_moves(command: Command, tmp_path: Path) -> None:
    _refused(_run(command, tmp_path / "r", "--set", "output_speed=10 r/min"), "order 400")


def test_virtual_clock_needs_the_simulator(command: Command, tmp_path: Path) -> None:
    _refused(
        command(
            "run", "RED-TE", "--bench", BENCH, "--dut", DUT, "--clock", "virtual", "--out", tmp_path / "r"
        ),
        "--transport local",
    )


def test_hardware_bench_never_runs_in_one_process(
    command: Command, tmp_path: Path, bench_file: Callable[..., Path]
) -> None:
    bench = bench_file(('kind = "emulated"', 'kind = "hardware"'))
    _refused(_run(command, tmp_path / "r", bench=bench), "interlock", "--transport ros")


def test_two_devices_with_one_address(
    command: Command, tmp_path: Path, bench_file: Callable[..., Path]
) -> None:
    bench = bench_file(("address = 2", "address = 1"))
    _refused(_run(command, tmp_path / "r", bench=bench), "AX1", "AX2", "address 1")


def test_unknown_model(command: Command, bench_file: Callable[..., Path]) -> None:
    _refused(
        command("bench", "check", bench_file(("cia406_encoder_27bit", "cia406_encoder_99bit"))),
        "EN2",
        "cia406_encoder_27bit",
    )


@pytest.mark.parametrize(
    ("rows", "unit", "words"),
    [
        ("1.0\n2.0\n", "furlong", ("furlong", "unit")),
        ("1.0\n\n2.0\n", "g", ("data.csv", "2")),
        ("1.0\nNaN\n2.0\n", "g", ("data.csv", "3")),
        ("1.0\nspam\n", "g", ("data.csv",)),
    ],
)
def test_import(command: Command, tmp_path: Path, rows: str, unit: str, words: tuple[str, ...]) -> None:
    (tmp_path / "data.csv").write_text("a\n" + rows)
    mapping = tmp_path / "map.toml"
    mapping.write_text(f'[time]\nrate = "1 kHz"\n[channel.acceleration]\ncolumn = "a"\nunit = "{unit}"\n')
    _refused(
        command("import", tmp_path / "data.csv", "--map", mapping, "--out", tmp_path / "recording"), *words
    )
    assert not (tmp_path / "recording" / "seal.json").exists()


def test_recording_that_is_none(command: Command, tmp_path: Path) -> None:
    _refused(command("analyze", "RED-TE", "--recording", tmp_path / "none", "--dut", DUT), "none")


def test_letter_is_no_report(command: Command, tmp_path: Path) -> None:
    (tmp_path / "letter.pdf").write_bytes(b"Dear customer")
    said = command("verify", tmp_path / "letter.pdf")
    assert said.code == 1
    assert "not a PDF" in said.out


def test_report_that_is_not_there(command: Command, tmp_path: Path) -> None:
    _refused(command("verify", tmp_path / "none.pdf"), "none.pdf")
