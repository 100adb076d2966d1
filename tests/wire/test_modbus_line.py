"""The Modbus group against emulated devices on a real pty."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from drivers.bus.serial_stream import SerialStream, open_serial
from drivers.device import (
    Command,
    CommandRefused,
    DeviceState,
    IdentityMismatch,
    Mode,
    ProtocolViolation,
    Quality,
    TransportLost,
    TransportTimeout,
)
from drivers.modbus.codec import Function, read_request, write_register
from drivers.modbus.device import ModbusDevice
from drivers.modbus.group import ModbusGroup
from drivers.modbus.model import load_model
from drivers.modbus.rtu import ModbusException, RtuMaster

from .served import cycle_until

GOOD, STALE, BAD = Quality.GOOD, Quality.STALE, Quality.BAD


def counters() -> dict[str, int]:
    return {"crc": 0, "timeout": 0, "nak": 0, "stray": 0}


@pytest.fixture
def master(bench: Any) -> Any:
    stream = open_serial("rs485", bench.serial_uri, 115_200)
    yield RtuMaster(stream, gap_s=0.00035)
    stream.close()


def test_open_identifies_everybody(modbus_group: ModbusGroup) -> None:
    assert [(i.device, i.model, i.serial, i.firmware) for i in modbus_group.open()] == [
        ("TQ1", "modbus_torque_5nm", "201", "1.04"),
        ("TQ2", "modbus_torque_200nm", "202", "1.04"),
        ("TMP", "modbus_pt100_2ch", "203", "2.10"),
    ]


def test_values_in_si_at_the_resolution_of_the_device(modbus_group: ModbusGroup) -> None:
    modbus_group.open()
    row = cycle_until(modbus_group, lambda row: all(q is GOOD for q in row.quality))
    assert row.values == pytest.approx([1.25, -87.654, 313.15, 296.15], abs=1e-9)


def test_a_device_that_falls_silent_is_stale_then_lost_and_comes_back(
    bench: Any, modbus_group: ModbusGroup
) -> None:
    modbus_group.open()
    cycle_until(modbus_group, lambda row: row.quality[:2] == [GOOD, GOOD])
    bench.slaves["TQ1"].mute = True
    row = cycle_until(modbus_group, lambda row: row.quality[0] is not GOOD)
    assert row.quality[:2] == [STALE, GOOD]
    assert row.values[0] == 1.25, "the last value known"
    cycle_until(modbus_group, lambda _: modbus_group.state("TQ1") is DeviceState.LOST)
    begin = time.monotonic()
    rows = [modbus_group.cycle({}) for _ in range(20)]
    assert all(r.quality[1] is GOOD for r in rows), "a dead device costs the others nothing"
    assert time.monotonic() - begin < 1.0
    bench.slaves["TQ1"].mute = False
    cycle_until(modbus_group, lambda row: row.quality[0] is GOOD)
    assert modbus_group.state("TQ1") is DeviceState.READY


def test_an_exchanged_device_does_not_come_back_unnoticed(bench: Any, modbus_group: ModbusGroup) -> None:
    modbus_group.open()
    bench.slaves["TQ1"].mute = True
    cycle_until(modbus_group, lambda _: modbus_group.state("TQ1") is DeviceState.LOST)

    def exchange() -> None:
        holding = bench.slaves["TQ1"]._holding
        holding[0x0102] = (4711).to_bytes(2, "big")
        bench.slaves["TQ1"].mute = False

    bench.on_loop(exchange)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert modbus_group.cycle({}).quality[0] is not GOOD
        time.sleep(0.01)


@pytest.mark.parametrize("fault", ["garble", "truncate"])
def test_a_garbled_answer_is_counted_and_stale_never_a_number(
    bench: Any, modbus_group: ModbusGroup, fault: str
) -> None:
    modbus_group.open()
    cycle_until(modbus_group, lambda row: row.quality[1] is GOOD)
    setattr(bench.slaves["TQ2"], fault, 1)
    row = cycle_until(modbus_group, lambda row: row.quality[1] is not GOOD)
    assert row.quality[1] is STALE
    assert row.values[1] == pytest.approx(-87.654)
    assert modbus_group.counters()["TQ2"]["crc"] == 1
    row = cycle_until(modbus_group, lambda row: row.quality[1] is GOOD)
    assert row.values[1] == pytest.approx(-87.654)


def test_a_late_answer_is_not_taken_for_a_new_one(bench: Any, modbus_group: ModbusGroup) -> None:
    """The answer to a request that timed out carries an old value; GOOD must mean new."""
    modbus_group.open()
    cycle_until(modbus_group, lambda row: row.quality[0] is GOOD)

    def late() -> None:
        bench.slaves[
            "TQ1"
        ].extra_delay_s = 0.035  # beyond the time-out, within what the device may take at worst

    bench.on_loop(late)
    cycle_until(modbus_group, lambda row: row.quality[0] is not GOOD)

    def change() -> None:
        bench.slaves["TQ1"].extra_delay_s = 0.0
        bench.plant.constant["TQ1", "torque"] = 2.5

    bench.on_loop(change)
    row = cycle_until(modbus_group, lambda row: row.quality[0] is GOOD)
    assert row.values[0] == pytest.approx(2.5)


def test_overload_and_sensor_break_are_bad(bench: Any, modbus_group: ModbusGroup) -> None:
    modbus_group.open()
    bench.plant.constant["TQ1", "torque"] = 5.2
    bench.slaves["TMP"].status = 1
    row = cycle_until(modbus_group, lambda row: row.quality[2] is BAD and math.isfinite(row.values[2]))
    assert row.quality == [BAD, GOOD, BAD, BAD]
    assert row.values[0] == pytest.approx(5.0), "clipped by the amplifier, and marked"


def test_temperatures_age(bench: Any, modbus_group: ModbusGroup) -> None:
    modbus_group.open()
    cycle_until(modbus_group, lambda row: row.quality[2] is GOOD)
    bench.slaves["TMP"].mute = True
    begin = time.monotonic()
    row = cycle_until(modbus_group, lambda row: row.quality[2] is not GOOD, timeout_s=10)
    assert row.quality[2] is STALE
    assert 2.5 <= time.monotonic() - begin <= 4.0


def test_a_closed_pty_is_a_lost_transport(bench: Any, modbus_group: ModbusGroup) -> None:
    modbus_group.open()
    modbus_group.cycle({})
    bench.on_loop(bench.host.lines["rs485"].close)
    with pytest.raises(TransportLost, match="rs485: serial line is gone"):
        cycle_until(modbus_group, lambda _: False)
    modbus_group.safe_stop()
    modbus_group.close()


def test_two_programs_do_not_share_a_port(bench: Any, modbus_group: ModbusGroup) -> None:
    modbus_group.open()
    with pytest.raises(TransportLost, match="cannot open"):
        open_serial("second", bench.serial_uri, 115_200)


@pytest.mark.parametrize("uri", ["serial:/dev/no-such-port", "tcp:1.2.3.4", "serial:"])
def test_a_port_that_cannot_be_opened_is_one_clear_line(uri: str) -> None:
    with pytest.raises(TransportLost) as caught:
        open_serial("rs485", uri, 115_200)
    assert "\n" not in str(caught.value)


def test_sensors_take_no_set_points(modbus_group: ModbusGroup) -> None:
    modbus_group.open()
    with pytest.raises(CommandRefused, match="takes no set-points"):
        modbus_group.enable("TQ1", Mode.TORQUE)
    with pytest.raises(CommandRefused):
        modbus_group.cycle({"TQ1": Command(Mode.TORQUE, 1.0)})


def test_another_model_than_described_is_refused(bench: Any) -> None:
    group = ModbusGroup(
        "rs485",
        [ModbusDevice("TQ1", 1, load_model("modbus_torque_200nm"))],
        [],
        uri=bench.serial_uri,
        baudrate=115_200,
        period_s=0.01,
    )
    with pytest.raises(IdentityMismatch, match="TQ1: model number is 0501h"):
        group.open()


def test_a_line_that_could_not_carry_the_cycle_is_refused() -> None:
    devices = [ModbusDevice(f"TQ{n}", n, load_model("modbus_torque_5nm")) for n in range(1, 3)]
    with pytest.raises(ValueError, match="of the line's time"):
        ModbusGroup("rs485", devices, [], uri="serial:/x", baudrate=19_200, period_s=0.01)


# ── one transaction ──


def test_exceptions_in_words(master: RtuMaster) -> None:
    for request, words in (
        (read_request(Function.READ_HOLDING, 0x7000, 1), "illegal data address"),
        (read_request(Function.READ_COILS, 0, 1), "illegal function"),
    ):
        count = counters()
        with pytest.raises(ModbusException, match=words):
            master.ask("TQ1", 1, request, 0.1, count)
        assert count["nak"] == 1


def test_a_setting_is_written_and_read_back(master: RtuMaster) -> None:
    master.ask("TQ1", 1, write_register(0x0200, 20), 0.1, counters())
    assert (
        master.ask("TQ1", 1, read_request(Function.READ_HOLDING, 0x0200, 1), 0.1, counters()).pdu
        == b"\x03\x02\x00\x14"
    )


def test_reads_are_repeated_writes_are_not(bench: Any, master: RtuMaster) -> None:
    bench.slaves["TQ1"].garble = 2
    count = counters()
    master.ask("TQ1", 1, read_request(Function.READ_INPUT, 0, 3), 0.1, count, retries=2)
    assert count["crc"] == 2
    bench.slaves["TQ1"].garble = 1
    with pytest.raises(ProtocolViolation, match="garbled"):
        master.ask("TQ1", 1, write_register(0x0200, 20), 0.1, counters(), retries=2)


def test_nobody_answers_for_another_unit(bench: Any, master: RtuMaster) -> None:
    count = counters()
    begin = time.monotonic()
    with pytest.raises(TransportTimeout, match="unit 77 does not answer"):
        master.ask("XX", 77, read_request(Function.READ_INPUT, 0, 1), 0.01, count)
    assert time.monotonic() - begin < 0.5
    assert count["timeout"] == 1


def test_an_answer_takes_its_time_on_the_wire(master: RtuMaster) -> None:
    begin = time.monotonic()
    master.ask("TQ1", 1, read_request(Function.READ_INPUT, 0, 3), 0.1, counters())
    assert time.monotonic() - begin >= (8 + 11) * 10 / 115_200


def test_noise_on_the_line_is_skipped(bench: Any) -> None:
    """A master that finds its answer behind what does not belong to it."""
    import os
    import tty

    from drivers.modbus.codec import pack_adu, read_response

    end, other = os.openpty()
    tty.setraw(other)
    stream = open_serial("rs485", f"serial:{os.ttyname(other)}", 115_200)
    master = RtuMaster(stream, honest_wire=False)
    answer = pack_adu(1, read_response(Function.READ_INPUT, b"\x12\x34"))
    foreign = pack_adu(2, read_response(Function.READ_INPUT, b"\xff\xff"))
    try:
        for noise in (b"\x00", b"\x01", b"\x01\x04", b"\x01\x84", foreign, b"\x01\x04\x02\x00\x00"):
            count = counters()

            def write(data: bytes, noise: bytes = noise) -> None:
                SerialStream.write(stream, data)
                os.read(end, 256)
                os.write(end, noise + answer)

            stream.write = write  # type: ignore[method-assign]
            pdu = master.ask("x", 1, read_request(Function.READ_INPUT, 0, 1), 0.05, count).pdu
            assert pdu == b"\x04\x02\x12\x34"
            assert count["stray"] == len(noise)
    finally:
        stream.close()
        os.close(end)
        os.close(other)


def test_an_answer_sooner_than_the_line_can_carry_is_refused(bench: Any) -> None:
    import os
    import tty

    from drivers.modbus.codec import pack_adu, read_response

    end, other = os.openpty()
    tty.setraw(other)
    stream = open_serial("rs485", f"serial:{os.ttyname(other)}@9600", 115_200)
    assert stream.baudrate == 9600

    def write(data: bytes) -> None:
        SerialStream.write(stream, data)
        os.write(end, pack_adu(1, read_response(Function.READ_INPUT, bytes(100))))

    stream.write = write  # type: ignore[method-assign]
    try:
        with pytest.raises(ProtocolViolation, match="sooner than the line can carry"):
            RtuMaster(stream).ask("x", 1, read_request(Function.READ_INPUT, 0, 50), 0.01, counters())
    finally:
        stream.close()
        os.close(end)
        os.close(other)
