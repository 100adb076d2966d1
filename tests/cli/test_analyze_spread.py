"""`analyze --jobs` and `--cluster`: the same output, and one clear line where it cannot be."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from test_protocols import get
from verification_platform.bench.description import load_bench
from verification_platform.bench.dut import load_dut
from verification_platform.engine.local import run_local
from verification_platform.engine.run_folder import RunFolder

from .conftest import BENCH, DUT, Command


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    protocol = get("RED-NL")
    parameters = protocol.Parameters(
        speeds=["1000 r/min", "2000 r/min"], acceleration="400 rad/s²", dwell="0.5 s", dwell_limit="0.5 s"
    )
    folder = RunFolder.create(
        tmp_path_factory.mktemp("run") / "run",
        protocol,
        parameters,
        load_dut(DUT),
        load_bench(BENCH),
        seed=1,
        clock="virtual",
        transport="local",
    )
    run_local(folder, protocol, on_prompt=lambda *_: True)
    return folder.path


def test_two_jobs_print_what_one_prints(command: Command, run: Path) -> None:
    one = command("analyze", "RED-NL", "--recording", run, "--json")
    two = command("analyze", "RED-NL", "--recording", run, "--json", "--jobs", 2)
    assert one.code == 0
    assert one.out.startswith("[")
    assert (two.code, two.out) == (one.code, one.out), two.err


def _refused(command: Command, run: Path, *more: object) -> str:
    said = command("analyze", "RED-NL", "--recording", run, *more)
    assert said.code == 2
    lines = said.err.strip().splitlines()
    assert len(lines) == 1, said.err
    return lines[0]


def test_jobs_and_cluster_exclude_each_other(command: Command, run: Path) -> None:
    assert "exclude" in _refused(command, run, "--jobs", 2, "--cluster", "tcp://127.0.0.1:1")


def test_no_jobs(command: Command, run: Path) -> None:
    assert "--jobs" in _refused(command, run, "--jobs", 0)


def test_dask_is_not_installed(command: Command, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "pilotbench[cluster]" in _refused(command, run, "--cluster", "tcp://127.0.0.1:1")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:{port}", "nonsense://x", ""])
def test_no_scheduler_answers(
    command: Command, run: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(
        "verification_platform.records.cluster.DaskMapper.__init__.__kwdefaults__", {"timeout_s": 1.0}
    )
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, not listening: nobody answers
        line = _refused(command, run, "--cluster", address.format(port=held.getsockname()[1]))
    assert "no Dask scheduler answers" in line
