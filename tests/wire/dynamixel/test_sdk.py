"""Our emulated servos under the maker's own SDK (PyPI `dynamixel-sdk`): what it accepts is the protocol."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import dynamixel_sdk as sdk
import pytest

from .conftest import BAUD, Bench, serve

GOAL_POSITION, PRESENT_POSITION, PRESENT_VELOCITY = 116, 132, 128
TORQUE_ENABLE, OPERATING_MODE, BUS_WATCHDOG, GOAL_VELOCITY = 64, 11, 98, 104
HARDWARE_ERROR, REGISTERED, STATUS_RETURN_LEVEL, RETURN_DELAY = 70, 69, 68, 9
ACCESS, RANGE, LIMIT, LENGTH, INSTRUCTION, RESULT = 7, 4, 6, 5, 2, 1
SUCCESS = sdk.COMM_SUCCESS


class Master:
    """The SDK with a port of its own, patient with a busy machine."""

    def __init__(self, path: str) -> None:
        self.port = sdk.PortHandler(path)
        self.packets = sdk.PacketHandler(2.0)
        assert self.port.openPort()
        assert self.port.setBaudRate(BAUD)
        patience_ms = 300.0
        shorter: Callable[[int], None] = self.port.setPacketTimeout

        def longer(length: int) -> None:
            shorter(length)
            self.port.packet_timeout += patience_ms

        self.port.setPacketTimeout = longer

    def close(self) -> None:
        self.port.closePort()

    def ping(self, device: int) -> tuple[int, int, int]:
        found: tuple[int, int, int] = self.packets.ping(self.port, device)
        return found

    def write(self, device: int, address: int, size: int, value: int) -> tuple[int, int]:
        """(result, error)."""
        send = {1: "write1ByteTxRx", 2: "write2ByteTxRx", 4: "write4ByteTxRx"}[size]
        found: tuple[int, int] = getattr(self.packets, send)(self.port, device, address, value)
        return found

    def read(self, device: int, address: int, size: int) -> tuple[int, int, int]:
        """(value, result, error)."""
        ask = {1: "read1ByteTxRx", 2: "read2ByteTxRx", 4: "read4ByteTxRx"}[size]
        found: tuple[int, int, int] = getattr(self.packets, ask)(self.port, device, address)
        return found


@pytest.fixture
def master(bench: Bench) -> Iterator[Master]:
    master = Master(bench.line.path)
    yield master
    master.close()


def turn(bench: Bench, angles: dict[str, float]) -> None:
    bench.on_loop(lambda: bench.plant.angle.update(angles))


def action(master: Master) -> int:
    """Error number of the answer to action, for which the SDK does not wait."""
    assert master.packets.action(master.port, 1) == SUCCESS
    answer, until = bytearray(), time.monotonic() + 5
    while len(answer) < 11 and time.monotonic() < until:
        answer += bytes(master.port.readPort(11 - len(answer)))
    return answer[8]


def test_ping_and_ping_to_all(bench: Bench, master: Master) -> None:
    assert master.ping(1) == (1020, SUCCESS, 0)
    assert master.ping(2) == (1020, SUCCESS, 0)
    assert master.ping(3)[1] == sdk.COMM_RX_TIMEOUT
    found, result = master.packets.broadcastPing(master.port)
    assert result == SUCCESS
    assert found == {1: [1020, 48], 2: [1020, 48]}


def test_values_in_digits(bench: Bench, master: Master) -> None:
    turn(bench, {"DX1": 166 * 6.283185307179586 / 4096})
    assert master.read(1, PRESENT_POSITION, 4) == (166, SUCCESS, 0)
    assert master.read(1, 0, 2) == (1020, SUCCESS, 0)
    assert master.read(1, 144, 2) == (120, SUCCESS, 0)


def test_goals_move_the_shaft_and_torque_is_told(bench: Bench, master: Master) -> None:
    assert master.write(1, OPERATING_MODE, 1, 4) == (SUCCESS, 0)
    assert master.write(1, TORQUE_ENABLE, 1, 1) == (SUCCESS, 0)
    assert master.write(1, GOAL_POSITION, 4, 5000) == (SUCCESS, 0)
    assert master.read(1, PRESENT_POSITION, 4) == (5000, SUCCESS, 0)
    assert master.write(1, TORQUE_ENABLE, 1, 0) == (SUCCESS, 0)
    assert [e[:2] for e in bench.power] == [("DX1", True), ("DX1", False)]


def test_every_refusal_has_its_number(bench: Bench, master: Master) -> None:
    assert master.write(1, PRESENT_POSITION, 4, 0) == (SUCCESS, ACCESS), "read only"
    assert master.write(1, 14, 1, 0) == (SUCCESS, ACCESS), "no such address"
    assert master.packets.readTxRx(master.port, 1, 900, 4)[1:] == (SUCCESS, ACCESS)
    assert master.write(1, STATUS_RETURN_LEVEL, 1, 3) == (SUCCESS, RANGE)
    assert master.write(1, GOAL_POSITION, 2, 100) == (SUCCESS, LENGTH)
    assert master.write(1, GOAL_VELOCITY, 4, 351) == (SUCCESS, LIMIT), "beyond velocity limit (44)"
    assert action(master) == INSTRUCTION, "nothing was registered"
    assert master.packets.clearMultiTurn(master.port, 1) == (SUCCESS, 0)
    assert master.write(1, TORQUE_ENABLE, 1, 1) == (SUCCESS, 0)
    assert master.write(1, OPERATING_MODE, 1, 1) == (SUCCESS, ACCESS), "EEPROM is locked while torque is on"


def test_turns_are_not_cleared_in_motion(bench: Bench, master: Master) -> None:
    turn(bench, {"DX1": 3.5 * 6.283185307179586})
    assert master.read(1, PRESENT_POSITION, 4)[0] == 14336
    assert master.packets.clearMultiTurn(master.port, 1) == (SUCCESS, 0)
    assert master.read(1, PRESENT_POSITION, 4)[0] == 2048
    master.write(1, OPERATING_MODE, 1, 1)
    master.write(1, TORQUE_ENABLE, 1, 1)
    master.write(1, GOAL_VELOCITY, 4, 100)
    assert master.read(1, PRESENT_VELOCITY, 4)[0] == 100
    assert master.packets.clearMultiTurn(master.port, 1) == (SUCCESS, RESULT)


def test_a_registered_write_waits_for_action(bench: Bench, master: Master) -> None:
    data = [100, 0, 0, 0]
    assert master.packets.regWriteTxRx(master.port, 1, GOAL_POSITION, 4, data) == (SUCCESS, 0)
    assert master.read(1, GOAL_POSITION, 4)[0] == 0
    assert master.read(1, REGISTERED, 1)[0] == 1
    assert action(master) == 0
    assert master.read(1, GOAL_POSITION, 4)[0] == 100
    assert master.read(1, REGISTERED, 1)[0] == 0


def test_reboot_and_factory_reset(bench: Bench, master: Master) -> None:
    master.write(1, BUS_WATCHDOG, 1, 50)
    master.write(1, RETURN_DELAY, 1, 5)
    master.write(1, TORQUE_ENABLE, 1, 1)
    assert master.packets.reboot(master.port, 1) == (SUCCESS, 0)
    until = time.monotonic() + 5
    while master.ping(1)[1] != SUCCESS:
        assert time.monotonic() < until
    assert master.read(1, BUS_WATCHDOG, 1)[0] == 0, "RAM"
    assert master.read(1, RETURN_DELAY, 1)[0] == 5, "EEPROM"
    assert bench.power[-1][:3] == ("DX1", False, "reboot")
    assert master.packets.factoryReset(master.port, 1, 2) == (SUCCESS, 0)
    assert master.read(1, RETURN_DELAY, 1)[0] == 250
    assert master.ping(1) == (1020, SUCCESS, 0)


def test_status_return_level(bench: Bench, master: Master) -> None:
    assert master.write(1, STATUS_RETURN_LEVEL, 1, 1) == (SUCCESS, 0)
    assert master.write(1, GOAL_POSITION, 4, 7)[0] == sdk.COMM_RX_TIMEOUT
    assert master.read(1, GOAL_POSITION, 4) == (7, SUCCESS, 0)
    master.packets.write1ByteTxOnly(master.port, 1, STATUS_RETURN_LEVEL, 0)
    assert master.read(1, GOAL_POSITION, 4)[1] == sdk.COMM_RX_TIMEOUT
    assert master.ping(1) == (1020, SUCCESS, 0), "a ping is always answered"


def test_a_hardware_error_shows_in_every_answer_until_reboot(bench: Bench, master: Master) -> None:
    master.write(1, TORQUE_ENABLE, 1, 1)
    bench.on_loop(lambda: bench.servos["DX1"].fail(0x20, time.monotonic()))
    assert master.ping(1) == (1020, SUCCESS, 0x80)
    assert master.read(1, HARDWARE_ERROR, 1) == (0x20, SUCCESS, 0x80)
    assert master.read(1, TORQUE_ENABLE, 1)[0] == 0, "shut down"
    master.write(1, TORQUE_ENABLE, 1, 1)
    assert master.read(1, TORQUE_ENABLE, 1)[0] == 0, "only a reboot helps"


def test_the_bus_watchdog_stops_and_locks(bench: Bench, master: Master) -> None:
    master.write(1, OPERATING_MODE, 1, 1)
    master.write(1, TORQUE_ENABLE, 1, 1)
    master.write(1, GOAL_VELOCITY, 4, 100)
    master.write(1, BUS_WATCHDOG, 1, 3)
    _, _, reason, _ = bench.wait_power("DX1", False)
    assert reason == "bus watchdog"
    assert master.read(1, BUS_WATCHDOG, 1)[0] == 0xFF
    assert master.read(1, PRESENT_VELOCITY, 4)[0] == 0
    assert master.read(1, TORQUE_ENABLE, 1)[0] == 1, "it stops; the register stays"
    assert master.write(1, GOAL_VELOCITY, 4, 150) == (SUCCESS, RANGE)
    assert master.write(1, BUS_WATCHDOG, 1, 0) == (SUCCESS, 0)
    assert master.write(1, GOAL_VELOCITY, 4, 150) == (SUCCESS, 0)
    assert master.read(1, PRESENT_VELOCITY, 4)[0] == 150


def test_indirect_addresses(bench: Bench, master: Master) -> None:
    for n in range(4):
        assert master.write(1, 168 + 2 * n, 2, PRESENT_POSITION + n) == (SUCCESS, 0)
    turn(bench, {"DX1": 1000 * 6.283185307179586 / 4096})
    assert master.read(1, 224, 4) == (1000, SUCCESS, 0)


@pytest.fixture(params=[False, True], ids=["sync", "fast sync"])
def fast(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def ask(reader: Any, fast: bool) -> int:
    result: int = reader.fastSyncRead() if fast else reader.txRxPacket()
    return result


def test_sync_streams(bench: Bench, master: Master, fast: bool) -> None:
    writer = sdk.GroupSyncWrite(master.port, master.packets, GOAL_POSITION, 4)
    for device, value in ((1, 150), (2, 0xFDFFFF)):
        assert writer.addParam(device, list(value.to_bytes(4, "little")))
    assert writer.txPacket() == SUCCESS
    reader = sdk.GroupSyncRead(master.port, master.packets, GOAL_POSITION, 4)
    assert reader.addParam(1)
    assert reader.addParam(2)
    assert ask(reader, fast) == SUCCESS
    assert reader.getData(1, GOAL_POSITION, 4) == 150
    assert reader.getData(2, GOAL_POSITION, 4) == 0xFDFFFF, "stuffed on its way, or not in a fast answer"


@pytest.mark.parametrize("fast", [False, True], ids=["bulk", "fast bulk"])
def test_bulk_streams(mixed: Bench, fast: bool) -> None:
    master = Master(mixed.line.path)
    try:
        writer = sdk.GroupBulkWrite(master.port, master.packets)
        assert writer.addParam(1, GOAL_POSITION, 4, list((1234).to_bytes(4, "little")))
        assert writer.addParam(2, 564, 4, list((99999).to_bytes(4, "little")))
        assert writer.txPacket() == SUCCESS
        reader = sdk.GroupBulkRead(master.port, master.packets)
        assert reader.addParam(1, GOAL_POSITION, 4)
        assert reader.addParam(2, 564, 4)
        assert (reader.fastBulkRead() if fast else reader.txRxPacket()) == SUCCESS
        assert reader.getData(1, GOAL_POSITION, 4) == 1234
        assert reader.getData(2, 564, 4) == 99999
    finally:
        master.close()


@pytest.mark.parametrize("at", [-1, 20], ids=["outer CRC", "inner byte"])
def test_a_broken_fast_answer_is_rejected(bench: Bench, master: Master, at: int) -> None:
    reader = sdk.GroupSyncRead(master.port, master.packets, PRESENT_POSITION, 4)
    reader.addParam(1)
    reader.addParam(2)
    assert reader.fastSyncRead() == SUCCESS
    sent = 0

    def disturb(frame: bytes) -> list[tuple[float, bytes]]:
        """Each device sends its own part; `at` counts over all of them, or from the end of the last."""
        nonlocal sent
        first, sent = sent, sent + len(frame)
        broken = bytearray(frame)
        if at < 0 and first > 0:
            broken[at] ^= 1
        elif first <= at < sent:
            broken[at - first] ^= 1
        return [(0.0, bytes(broken))]

    bench.on_loop(lambda: setattr(bench.line, "disturb_answers", disturb))
    assert reader.fastSyncRead() == sdk.COMM_RX_CORRUPT


def test_behind_a_silent_servo_the_others_are_silent(bench: Bench, master: Master, fast: bool) -> None:
    reader = sdk.GroupSyncRead(master.port, master.packets, PRESENT_POSITION, 4)
    reader.addParam(1)
    reader.addParam(2)
    bench.on_loop(lambda: setattr(bench.servos["DX1"], "mute", True))
    assert ask(reader, fast) != SUCCESS
    assert master.ping(2)[1] == SUCCESS


def test_a_servo_of_another_baud_rate_hears_nothing(bench: Bench, master: Master) -> None:
    assert master.write(1, 8, 1, 1) == (SUCCESS, 0)  # 57 600 Bd
    assert master.ping(1)[1] == sdk.COMM_RX_TIMEOUT
    assert master.ping(2)[1] == SUCCESS


def test_answers_take_their_time_on_the_wire() -> None:
    """250 steps of return delay and the bytes at 1 MBd: no answer sooner."""
    for bench in serve({"DX1": "dynamixel_xm430_w350"}, return_delay=250):
        master = Master(bench.line.path)
        begin = time.monotonic()
        assert master.ping(1)[1] == SUCCESS
        assert time.monotonic() - begin >= (10 + 14) * 10 / BAUD + 500e-6
        master.close()
