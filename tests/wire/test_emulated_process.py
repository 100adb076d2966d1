"""The emulated bench as a process of its own, and what becomes of it and of the drives when somebody dies."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.device import Mode, Quality, Setpoint
from drivers.runner import BusRunner
from verification_platform.bench.description import load_bench
from verification_platform.bench.devices import group_for, with_uris

ROOT = Path(__file__).parents[2]
BENCH, DUT = ROOT / "benches" / "emulated.toml", ROOT / "duts" / "harmonic-25-100.toml"


def command(run_dir: Path) -> list[str]:
    """The emulator in real time, because the test's own clock is the host's."""
    run_dir.mkdir(parents=True, exist_ok=True)
    bench = run_dir / "real_time.toml"
    bench.write_text(
        "\n".join(line for line in BENCH.read_text("utf-8").splitlines() if not line.startswith("patience")),
        "utf-8",
    )
    module = ["-m", "verification_platform.bench.emulated"]
    return [
        sys.executable,
        *module,
        "--bench",
        str(bench),
        "--dut",
        str(DUT),
        "--seed",
        "3",
        "--run-dir",
        str(run_dir),
    ]


def first_line(process: subprocess.Popen[str], timeout_s: float = 30.0) -> str:
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], timeout_s)[0], "no word from the process"
    return process.stdout.readline()


@pytest.fixture
def emulated(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, str], Path]]:
    process = subprocess.Popen(command(tmp_path), stdout=subprocess.PIPE, text=True, cwd=ROOT)
    ready = json.loads(first_line(process))
    assert ready["ready"] is True
    yield process, ready["bus"], tmp_path
    process.terminate()
    process.wait(10)
    assert process.stdout is not None
    process.stdout.close()


def alive(pid: int) -> bool:
    """A zombie that nobody has fetched yet is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def events(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "emulator_events.jsonl").read_text().splitlines()]


def wait_for_event(run_dir: Path, device: str, torque: str, timeout_s: float = 10.0) -> dict[str, Any]:
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        found = [e for e in events(run_dir) if e["device"] == device and e["torque"] == torque]
        if found:
            return found[-1]
        time.sleep(0.01)
    raise AssertionError(f"{device} did not switch {torque}: {events(run_dir)}")


def test_both_buses_deliver_and_the_machine_turns(emulated: Any) -> None:
    _, uris, run_dir = emulated
    assert uris["can0"].startswith("unix:")
    assert uris["rs485"].startswith("serial:/dev/")
    bench = with_uris(load_bench(BENCH), uris)
    blocks: dict[str, list[Any]] = {"can0": [], "rs485": []}
    runners = [
        BusRunner(group_for(bench, bus), blocks[bus].append, block_rows=5, lease_s=2.0) for bus in blocks
    ]
    try:
        for runner in runners:
            runner.start()
        runners[0].command("AX1", Setpoint(Mode.VELOCITY, 20.0, 100.0), 500.0)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            runners[0].renew_lease()
            time.sleep(0.02)
            if (
                blocks["can0"]
                and blocks["can0"][-1].column("input_speed")[-1] > 19
                and len(blocks["rs485"]) > 3
            ):
                break
        assert [r.failure for r in runners] == [None, None]
        last = blocks["can0"][-1]
        assert last.column("input_speed")[-1] == pytest.approx(20.0, abs=1.0)
        assert last.column("input_angle")[-1] > 1.0
        assert last.column("output_angle")[-1] < blocks["can0"][0].column("output_angle")[0], "sense −1"
        assert (blocks["rs485"][-1].quality == Quality.GOOD).any(axis=0).all()
    finally:
        for runner in runners:
            runner.stop()
    assert wait_for_event(run_dir, "AX1", "off")["reason"] == "controlword 0000h"


def test_sigterm_is_an_orderly_end_without_leftovers(emulated: Any) -> None:
    process, uris, _ = emulated
    path = Path(uris["can0"].removeprefix("unix:"))
    assert path.is_socket()
    process.terminate()
    assert process.wait(10) == 0
    assert not path.exists()


def test_a_long_run_folder_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    process = subprocess.Popen(command(folder), stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        path = Path(json.loads(first_line(process))["bus"]["can0"].removeprefix("unix:"))
        assert path.is_socket()
    finally:
        process.terminate()
        assert process.wait(10) == 0
        assert process.stdout is not None
        process.stdout.close()
    assert not path.parent.exists()


@pytest.mark.parametrize("missing", ["--bench", "--dut"])
def test_bad_input_is_one_clear_line_and_exit_2(tmp_path: Path, missing: str) -> None:
    line = command(tmp_path)
    line[line.index(missing) + 1] = str(tmp_path / "nothing.toml")
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "nothing.toml" in done.stderr


@pytest.mark.faults
def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    script = f"import subprocess, sys; p = subprocess.Popen({command(tmp_path)!r}, stdout=subprocess.PIPE, text=True); "
    script += "print(p.pid, p.stdout.readline(), flush=True); sys.stdin.read()"
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    pid, _, rest = first_line(parent).partition(" ")
    path = Path(json.loads(rest)["bus"]["can0"].removeprefix("unix:"))
    parent.kill()
    parent.wait(10)
    until = time.monotonic() + 10
    while path.exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert not path.exists()
    while alive(int(pid)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not alive(int(pid))
    assert parent.stdin is not None
    assert parent.stdout is not None
    parent.stdin.close()
    parent.stdout.close()


OWNER = textwrap.dedent(
    """
    import json, sys, time
    from pathlib import Path
    from drivers.device import Mode, Setpoint
    from drivers.runner import BusRunner
    from verification_platform.bench.description import load_bench
    from verification_platform.bench.devices import group_for, with_uris
    bench = with_uris(load_bench(Path(sys.argv[1])), json.loads(sys.argv[2]))
    runner = BusRunner(group_for(bench, "can0"), lambda block: None, block_rows=10, lease_s=5.0)
    runner.start()
    runner.command("AX1", Setpoint(Mode.VELOCITY, 20.0, 100.0), 500.0)
    runner.command("AX2", Setpoint(Mode.TORQUE, 10.0, 100.0), 500.0)
    print("running", flush=True)
    while runner.failure is None:
        runner.renew_lease()
        time.sleep(0.05)
    print(runner.failure, flush=True)
    """
)


@pytest.mark.faults
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_the_owner_of_the_bus_dies_in_motion(emulated: Any, how: signal.Signals) -> None:
    """Torque off by the drives' own watchdog within 200 ms, although nobody tells them."""
    _, uris, run_dir = emulated
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(BENCH), json.dumps(uris)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert first_line(owner).strip() == "running"
        for device in ("AX1", "AX2"):
            wait_for_event(run_dir, device, "on")
        death = time.monotonic()
        owner.send_signal(how)
        for device in ("AX1", "AX2"):
            event = wait_for_event(run_dir, device, "off")
            assert event["reason"] == "master heartbeat lost"
            assert event["t"] - death <= 0.2 + event["frozen_s"]
        if how is signal.SIGSTOP:
            owner.send_signal(signal.SIGCONT)
            assert "AX" in first_line(owner), "it notices what happened and does not resume"
    finally:
        owner.kill()
        owner.wait(10)
        assert owner.stdout is not None
        owner.stdout.close()
