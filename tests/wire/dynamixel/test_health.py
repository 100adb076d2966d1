"""The Dynamixel group when something is wrong: with a servo, with its answers, with the line."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest

from drivers.device import (
    Command,
    CommandRefused,
    DeviceFault,
    DeviceState,
    DriverError,
    Mode,
    TransportLost,
)
from drivers.dynamixel import codec
from drivers.dynamixel.codec import Instruction, Status

from ..served import cycle_until
from .conftest import BAUD, WATCHDOG_S, Bench
from .cycles import DIGIT, GOOD, STALE, all_good, enable, instructions

# ── health ──


def test_a_servo_that_falls_silent_is_stale_then_lost_and_comes_back(six: Bench) -> None:
    group = six.group(period_s=0.1)
    group.open()
    cycle_until(group, all_good)
    six.servos["DX3"].mute = True
    row = group.cycle({})
    assert row.quality[6] is STALE
    row = cycle_until(group, lambda _: group.state("DX3") is DeviceState.LOST)
    row = cycle_until(group, lambda row: sum(q is not GOOD for q in row.quality) == 3)
    assert group.counters()["DX3"]["timeout"] >= 1
    six.line.instructions.clear()
    for _ in range(20):
        row = group.cycle({})
        assert all(q is GOOD for n, q in enumerate(row.quality) if not 6 <= n < 9), (
            "it costs the others nothing"
        )
    assert not [p for p in six.line.instructions if p.id == 3], "not asked again before a second has passed"
    six.servos["DX3"].mute = False
    cycle_until(group, all_good)
    assert next(p.instruction for p in six.line.instructions if p.id == 3) == Instruction.PING, (
        "identity first"
    )
    assert group.state("DX3") is DeviceState.READY


def test_an_exchanged_servo_does_not_come_back(bench: Bench) -> None:
    group = bench.group()
    group.open()
    bench.servos["DX1"].mute = True
    cycle_until(group, lambda _: group.state("DX1") is DeviceState.LOST)

    def exchange() -> None:
        bench.servos["DX1"].firmware = 49
        bench.servos["DX1"].mute = False

    bench.on_loop(exchange)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert group.cycle({}).quality[0] is not GOOD
        time.sleep(0.01)


def test_a_driven_servo_that_falls_silent_is_a_fault(bench: Bench) -> None:
    group = bench.group()
    group.open()
    enable(group, "DX1", Mode.VELOCITY)
    bench.servos["DX1"].mute = True
    with pytest.raises(DeviceFault, match="DX1: does not answer"):
        cycle_until(group, lambda _: False, {"DX1": Command(Mode.VELOCITY, 1.0)})


def test_a_hardware_error_is_latched_with_its_first_cause(bench: Bench) -> None:
    group = bench.group()
    group.open()
    enable(group, "DX1", Mode.VELOCITY)
    bench.on_loop(lambda: bench.servos["DX1"].fail(0x20, time.monotonic()))
    with pytest.raises(DeviceFault, match="hardware error: overload") as caught:
        cycle_until(group, lambda _: False, {"DX1": Command(Mode.VELOCITY, 1.0)})
    assert caught.value.code == 0x20
    bench.on_loop(lambda: bench.servos["DX1"].fail(0x04, time.monotonic()))
    for _ in range(5):
        group.cycle({})
    assert group.state("DX1") is DeviceState.FAULT
    with pytest.raises(CommandRefused, match="overload"):
        group.enable("DX1", Mode.VELOCITY)


def test_a_restart_in_mid_run_is_a_fault_and_never_a_number(bench: Bench) -> None:
    group = bench.group()
    group.open()
    enable(group, "DX1", Mode.VELOCITY)
    bench.plant.angle["DX1"] = 2.0
    cycle_until(group, lambda row: row.values[0] == pytest.approx(2.0, abs=DIGIT))

    def restart() -> None:
        bench.servos["DX1"].reboot(time.monotonic())
        bench.servos["DX1"]._ready_s = 0.0  # within one cycle

    bench.on_loop(restart)
    rows = []
    with pytest.raises(DeviceFault, match="restarted in mid-run"):
        cycle_until(group, lambda row: bool(rows.append(row)), {"DX1": Command(Mode.VELOCITY, 0.0)})
    assert all(row.values[0] == pytest.approx(2.0, abs=DIGIT) for row in rows if row.quality[0] is GOOD)
    row = group.cycle({})
    assert row.quality[0] is not GOOD


def test_a_restart_without_torque_is_set_up_again(bench: Bench) -> None:
    group = bench.group()
    group.open()
    bench.on_loop(lambda: bench.servos["DX2"].reboot(time.monotonic()))
    cycle_until(group, lambda row: row.quality[3] is not GOOD)
    cycle_until(group, all_good)
    assert bench.servos["DX2"].get("bus_watchdog") == round(WATCHDOG_S / 0.02)


def test_a_tripped_bus_watchdog_is_a_fault_and_stays(bench: Bench) -> None:
    group = bench.group()
    group.open()
    enable(group, "DX1", Mode.VELOCITY)
    group.cycle({"DX1": Command(Mode.VELOCITY, 2.0)})
    _, _, reason, _ = bench.wait_power("DX1", False)  # nobody cycles
    assert reason == "bus watchdog"
    assert bench.plant.commands["DX1"] == Command(Mode.VELOCITY, 0.0)
    with pytest.raises(DeviceFault, match="its bus watchdog heard nobody"):
        group.cycle({"DX1": Command(Mode.VELOCITY, 2.0)})
    for _ in range(5):
        group.cycle({})
    assert bench.servos["DX1"].get("bus_watchdog") == -1, "nobody clears it within a run"
    with pytest.raises(CommandRefused):
        group.enable("DX1", Mode.VELOCITY)
    group.close()
    group.open()
    assert bench.servos["DX1"].get("bus_watchdog") == round(WATCHDOG_S / 0.02)


def test_a_late_answer_is_not_taken_for_a_new_one(bench: Bench) -> None:
    """Protocol 2.0 has no transaction numbers; the sample's own clock tells."""
    group = bench.group()
    group.open()
    cycle_until(group, all_good)
    held: list[bytes] = []

    def hold(frame: bytes) -> list[tuple[float, bytes]]:
        """Every answer comes when the next one should."""
        held.append(frame)
        return [(0.0, held.pop(0))] if len(held) > 2 else []

    bench.on_loop(lambda: setattr(bench.line, "disturb_answers", hold))
    for n in range(10):
        bench.on_loop(lambda n=n: bench.plant.angle.update({"DX1": 0.1 * n}))
        row = group.cycle({})
        assert row.quality[0] is not GOOD or row.values[0] == pytest.approx(0.1 * n, abs=DIGIT)
        time.sleep(0.01)


# ── the wire ──


def test_a_closed_pty_is_a_lost_transport(bench: Bench) -> None:
    group = bench.group()
    group.open()
    group.cycle({})
    bench.on_loop(bench.line.close)
    with pytest.raises(TransportLost, match="dxl: serial line is gone"):
        cycle_until(group, lambda _: False)
    group.safe_stop()
    group.close()


def test_safe_stop_is_bounded_when_nobody_answers(bench: Bench) -> None:
    group = bench.group()
    group.open()
    enable(group, "DX1", Mode.VELOCITY)
    for servo in bench.servos.values():
        servo.mute = True
    begin = time.monotonic()
    group.safe_stop()
    assert time.monotonic() - begin < 3.0


def test_an_orderly_end_leaves_torque_off_and_no_watchdog(bench: Bench) -> None:
    group = bench.group()
    group.open()
    enable(group, "DX1", Mode.VELOCITY)
    group.close()
    for servo in bench.servos.values():
        assert (servo.get("torque_enable"), servo.get("bus_watchdog")) == (0, 0)
    with pytest.raises(TransportLost, match="not open"):
        group.cycle({})


def test_torque_off_is_repeated_until_it_shows(bench: Bench) -> None:
    """A packet to all is answered by nobody, so the first may be lost."""
    group = bench.group()
    group.open()
    enable(group, "DX1", Mode.VELOCITY)
    lost = []

    def lose(chunk: bytes) -> list[tuple[float, bytes]]:
        if len(lost) < 3:
            lost.append(chunk)
            broken = bytearray(chunk)
            broken[8] ^= 0x55
            return [(0.0, bytes(broken))]
        return [(0.0, chunk)]

    bench.on_loop(lambda: setattr(bench.line, "disturb_instructions", lose))
    group.disable("DX1")
    cycle_until(group, lambda _: group.state("DX1") is DeviceState.READY)
    assert bench.power[-1][:2] == ("DX1", False)
    assert len(lost) == 3


def test_a_flood_of_foreign_bytes_ends_with_the_deadline() -> None:
    import tty

    end, other = os.openpty()
    tty.setraw(other)
    from drivers.bus.serial_stream import open_serial
    from drivers.dynamixel.master import DynamixelMaster

    stream = open_serial("dxl", f"serial:{os.ttyname(other)}", BAUD)
    try:
        os.write(end, bytes(range(256)) * 8)
        master = DynamixelMaster(stream)
        write = stream.write

        def flood(data: bytes) -> None:
            write(data)
            os.write(end, (codec.HEADER + b"\x09\xff\x00") * 300)

        stream.write = flood  # type: ignore[method-assign]
        begin = time.monotonic()
        with pytest.raises(DriverError, match="garbled"):
            master.ask("DX1", 1, codec.ping(1), 3, 0.0, {"crc": 0, "timeout": 0, "nak": 0})
        assert time.monotonic() - begin < 1.0
    finally:
        stream.close()
        os.close(end)
        os.close(other)


def test_nothing_that_came_with_something_too_early_is_taken(
    six: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of an answer shows that it is of an earlier request: what its beginning said is taken back."""
    group = six.group()
    group.open()
    before = cycle_until(group, all_good)
    master = group._master
    assert master is not None
    gather = master.gather

    def too_early(*arguments: Any, **options: Any) -> Iterator[Status]:
        yield from gather(*arguments, **options)
        master.early += 1

    six.on_loop(lambda: six.plant.angle.update(dict.fromkeys(six.models, 1.0)))
    with monkeypatch.context() as patch:
        patch.setattr(master, "gather", too_early)
        row = group.cycle({})
    assert row.values == before.values
    assert set(row.quality) == {STALE}
    assert row.age_s == pytest.approx([row.stamp_s - before.stamp_s] * len(row.values))
    assert [group.counters()[name]["late"] for name in six.models] == [1] * len(six.models)
    cycle_until(group, all_good)
    asked = instructions(six)
    assert asked.count(Instruction.PING) >= 2 * len(six.models), "at the start, and before it is read again"
    assert group.measured("DX1", Mode.POSITION) == pytest.approx(1.0, abs=DIGIT)


def test_a_doubtful_answer_does_not_end_switching_off(bench: Bench) -> None:
    """Torque off is repeated until it shows; an answer that may be older does not show it."""
    group = bench.group()
    group.open()
    cycle_until(group, all_good)
    servo = group._members["DX1"]
    servo.torque_on = servo.off_wanted = True
    servo.trusted()  # whatever its clock says now counts
    torque_off = struct.pack("<HBBbhii", 0, 0, 0, servo.armed, 0, 0, 0)
    assert servo.accept(Status(1, 0, torque_off), servo.sampled_s)
    assert not servo.off_wanted
    servo.doubt()
    assert servo.torque_on
    assert servo.off_wanted
