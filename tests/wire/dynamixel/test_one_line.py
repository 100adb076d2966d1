"""Several servos on one line of an emulated bench, which is a process of its own: one port, many ids, for our group and for the
maker's SDK.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dynamixel_sdk as sdk
import pytest

from drivers import clock
from drivers.bus.wire_log import read_log
from drivers.device import Command, DeviceState, Mode, Quality, Row
from drivers.dynamixel.codec import Instruction, unpack
from drivers.dynamixel.framing import Splitter
from drivers.dynamixel.group import DynamixelGroup
from verification_platform.bench.description import BenchDescription, load_bench
from verification_platform.bench.devices import group_for, with_uris
from verification_platform.bench.emulated import EVENTS
from verification_platform.bench.write import write_bench

from .test_sdk import (
    BUS_WATCHDOG,
    GOAL_VELOCITY,
    OPERATING_MODE,
    PRESENT_VELOCITY,
    SUCCESS,
    TORQUE_ENABLE,
    Master,
)

ROOT = Path(__file__).parents[3]
IDS = {"DX1": 1, "DX4": 4, "DX9": 9}
#: rad/s; different, so that nobody's answer can pass for another's.
SPEEDS = {"DX1": 0.5, "DX4": 1.0, "DX9": -1.5}
RPM_DIGIT = 0.229 * 2.0 * 3.141592653589793 / 60.0


def described() -> BenchDescription:
    rates = {"velocity": "50 rad/s²", "torque": "5 N·m/s", "position": "5 rad/s"}
    actuator = {"max_speed": "5 rad/s", "max_torque": "1 N·m", "max_rate": rates}
    return BenchDescription.model_validate(
        {
            "bench": {
                "id": "D",
                "kind": "emulated",
                "title": {"zh": "一线多机", "en": "one line"},
                "patience": "3 s",
            },
            "bus": {"dxl": {"uri": "emulated", "bitrate": 1_000_000, "cycle": "10 ms"}},
            "device": {
                name: {"bus": "dxl", "address": number, "model": "dynamixel_xm430_w350"}
                for name, number in IDS.items()
            },
            "actuator": {f"turns_{name}": {"device": name, **actuator} for name in IDS},
            "channel": {name: {"device": name, "signal": "velocity"} for name in IDS},
            "interlock": {"heartbeat": "40 ms", "silence": "400 ms", "watchdog": "200 ms"},
            "plant": {"model": "rotors", "seed": 1},
        }
    )


@pytest.fixture
def line(tmp_path: Path) -> Iterator[BenchDescription]:
    """The bench with the port on which all its servos are."""
    file = write_bench(described(), tmp_path / "bench.toml")
    command = [
        sys.executable,
        "-m",
        "verification_platform.bench.emulated",
        "--bench",
        str(file),
        "--seed",
        "1",
    ]
    command += ["--dut", str(ROOT / "duts" / "harmonic-25-100.toml"), "--run-dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            yield with_uris(load_bench(file), ready["bus"], ready["clock"])
        finally:
            process.terminate()


def events(folder: Path) -> list[tuple[str, str, str]]:
    lines = (folder / EVENTS).read_text(encoding="utf-8").splitlines()
    return [(e["device"], e["torque"], e["reason"]) for e in map(json.loads, lines)]


def sent(log: Path) -> list[Any]:
    """Instructions of the recorded session, in order."""
    splitter, packets = Splitter(1024), []
    for entry in read_log(log):
        if entry.sent:
            assert isinstance(entry.payload, bytes)
            splitter.feed(entry.payload)
            while (raw := splitter.next()) is not None:
                packets.append(unpack(raw))
    return packets


def cycle_until(group: DynamixelGroup, done: Any, commands: dict[str, Command]) -> Row:
    """Cycle at the group's period until `done(row)`."""
    due, until = clock.now(), time.monotonic() + 30.0
    while True:
        ready = all(group.state(name) is DeviceState.ENABLED for name in commands)
        row = group.cycle(commands if ready else {})
        if ready and done(row):
            return row
        assert time.monotonic() < until, row
        due += group.period_s
        clock.sleep_until(due)


@pytest.fixture
def at_the_bench(line: BenchDescription) -> Iterator[None]:
    """By the bench's clock, which waits for who owns a bus and gets no processor."""
    clock.join(line.bench.clock)
    with clock.seat():
        yield
    clock.join(None)


@pytest.mark.usefixtures("at_the_bench")
def test_our_group_reads_and_drives_all_of_them_by_one_instruction(
    line: BenchDescription, tmp_path: Path
) -> None:
    log = tmp_path / "wire.log"
    group = group_for(with_uris(line, {"dxl": f"record:{log}|{line.bus['dxl'].uri}"}), "dxl")
    assert isinstance(group, DynamixelGroup)
    found = group.open()
    assert [i.device for i in found] == list(IDS)
    commands = {name: Command(Mode.VELOCITY, speed) for name, speed in SPEEDS.items()}
    for name in IDS:
        group.enable(name, Mode.VELOCITY)

    def turning(row: Row) -> bool:
        return all(
            quality == Quality.GOOD and abs(value - SPEEDS[name]) < 0.05
            for name, value, quality in zip(group.channels, row.values, row.quality, strict=True)
        )

    cycle_until(group, turning, commands)
    group.disable("DX4")  # one of them; the others go on
    others = {name: command for name, command in commands.items() if name != "DX4"}
    row = cycle_until(
        group,
        lambda _: group.state("DX4") is DeviceState.READY and events(tmp_path)[-1][0] == "DX4",
        others,
    )
    for name in others:
        assert row.values[group.channels.index(name)] == pytest.approx(SPEEDS[name], abs=0.05)
    group.close()
    reads = [p for p in sent(log) if p.instruction == Instruction.FAST_SYNC_READ]
    assert len(reads) > 20
    assert {tuple(p.parameters[4:]) for p in reads} == {tuple(IDS.values())}
    assert any(p.instruction == Instruction.SYNC_WRITE for p in sent(log))
    switched = events(tmp_path)
    assert {e[:2] for e in switched[:3]} == {(name, "on") for name in IDS}
    assert switched[3][:2] == ("DX4", "off")
    assert {e[:2] for e in switched[4:]} == {("DX1", "off"), ("DX9", "off")}


@pytest.fixture
def master(line: BenchDescription) -> Iterator[Master]:
    master = Master(line.bus["dxl"].uri.removeprefix("serial:"))
    yield master
    master.close()


def test_the_sdk_finds_all_of_them_on_one_port(master: Master) -> None:
    found, result = master.packets.broadcastPing(master.port)
    assert result == SUCCESS
    assert sorted(found) == list(IDS.values())
    assert master.ping(2)[1] == sdk.COMM_RX_TIMEOUT


@pytest.mark.parametrize("fast", [False, True], ids=["sync", "fast sync"])
def test_the_sdk_drives_and_reads_all_of_them(master: Master, tmp_path: Path, fast: bool) -> None:
    writer = sdk.GroupSyncWrite(master.port, master.packets, GOAL_VELOCITY, 4)
    reader = sdk.GroupSyncRead(master.port, master.packets, PRESENT_VELOCITY, 4)
    digits = {number: round(SPEEDS[name] / RPM_DIGIT) for name, number in IDS.items()}
    for number, goal in digits.items():
        assert master.write(number, OPERATING_MODE, 1, 1) == (SUCCESS, 0)
        assert master.write(number, TORQUE_ENABLE, 1, 1) == (SUCCESS, 0)
        assert writer.addParam(number, list(goal.to_bytes(4, "little", signed=True)))
        assert reader.addParam(number)
    assert writer.txPacket() == SUCCESS
    until = time.monotonic() + 10.0
    while True:
        assert (reader.fastSyncRead() if fast else reader.txRxPacket()) == SUCCESS
        seen = {number: _signed(reader.getData(number, PRESENT_VELOCITY, 4)) for number in digits}
        if all(abs(seen[number] - goal) <= 2 for number, goal in digits.items()):
            break
        assert time.monotonic() < until, seen
    for number in digits:  # each has a watchdog of its own, and any instruction on the line feeds it
        assert master.write(number, BUS_WATCHDOG, 1, 10) == (SUCCESS, 0)
    while len(events(tmp_path)) < 6:
        assert time.monotonic() < until + 10.0, events(tmp_path)
        time.sleep(0.01)
    assert {e for e in events(tmp_path) if e[1] == "off"} == {(name, "off", "bus watchdog") for name in IDS}


def _signed(digits: int) -> int:
    return digits - (1 << 32) if digits >= 1 << 31 else digits
