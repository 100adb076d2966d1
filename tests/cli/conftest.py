"""The command line, run in this process: exit code and what it printed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from verification_platform.cli import run_command

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "benches" / "emulated.toml"
DUT = ROOT / "duts" / "harmonic-25-100.toml"


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: object) -> Said:
        code = run_command([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return run


def simulated(
    command: Command, out: Path, *more: object, bench: Path = BENCH, dut: Path = DUT, protocol: str = "RED-TE"
) -> Said:
    """`pilotbench run` on the built-in simulator, into `out`."""
    where = ("--transport", "local", "--clock", "virtual", "--out", out)
    return command("run", protocol, "--bench", bench, "--dut", dut, *where, *more)


@pytest.fixture
def bench_file(tmp_path: Path) -> Callable[..., Path]:
    """A copy of the emulated bench in which some text is replaced."""

    def write(*replacements: tuple[str, str]) -> Path:
        text = BENCH.read_text(encoding="utf-8")
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "bench.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write
