"""Our emulated devices under masters that others wrote, and our Modbus master on a slave that others wrote.

What both sides of this repository understand alike proves nothing; what the PyPI `canopen` and `pymodbus` understand does.
"""

from __future__ import annotations

import asyncio
import os
import threading
import tty
from collections.abc import Iterator
from typing import Any

import can
import pytest

from drivers.bus.serial_stream import open_serial
from drivers.modbus.codec import Function, read_request, write_register
from drivers.modbus.rtu import ModbusException, RtuMaster

canopen = pytest.importorskip("canopen")
pymodbus = pytest.importorskip("pymodbus")


@pytest.fixture
def network(bench: Any) -> Iterator[Any]:
    """A `canopen.Network` that joins the emulated bus through the python-can entry point."""
    bus = can.Bus(interface="pilotbench", channel=bench.can_uri.removeprefix("unix:"))
    network = canopen.Network(bus)
    network.connect()
    yield network
    network.disconnect()


def remote(network: Any, node: int) -> Any:
    """A node with the few objects of CiA 301 and 402 that are used here."""
    dictionary = canopen.objectdictionary.ObjectDictionary()
    kinds = canopen.objectdictionary.datatypes
    for index, kind in (
        (0x1000, kinds.UNSIGNED32),
        (0x1001, kinds.UNSIGNED8),
        (0x1008, kinds.VISIBLE_STRING),
        (0x1017, kinds.UNSIGNED16),
        (0x6040, kinds.UNSIGNED16),
        (0x6041, kinds.UNSIGNED16),
        (0x6060, kinds.INTEGER8),
        (0x6061, kinds.INTEGER8),
        (0x6064, kinds.INTEGER32),
        (0x7777, kinds.UNSIGNED8),
    ):
        variable = canopen.objectdictionary.ODVariable(f"{index:04X}", index)
        variable.data_type = kind
        dictionary.add_object(variable)
    found = network.add_node(node, dictionary)
    found.sdo.RESPONSE_TIMEOUT = 2.0
    return found


def test_scanner_finds_every_node(network: Any) -> None:
    network.scanner.search(limit=10)
    until = threading.Event()
    for _ in range(100):
        if len(network.scanner.nodes) == 3:
            break
        until.wait(0.02)
    assert sorted(network.scanner.nodes) == [1, 2, 3]


def test_sdo_expedited_segmented_and_abort(network: Any) -> None:
    drive = remote(network, 1)
    assert drive.sdo[0x1000].raw == 0x00020192
    assert drive.sdo[0x1008].raw == "PB-SD1-4-23"
    assert remote(network, 3).sdo[0x1000].raw == 406
    with pytest.raises(canopen.SdoAbortedError) as caught:
        drive.sdo[0x7777].raw  # noqa: B018
    assert caught.value.code == 0x06020000
    with pytest.raises(canopen.SdoAbortedError) as caught:
        drive.sdo[0x6041].raw = 1
    assert caught.value.code == 0x06010002


def test_nmt_and_heartbeat(network: Any) -> None:
    drive = remote(network, 1)
    drive.sdo[0x1017].raw = 20
    assert drive.nmt.wait_for_heartbeat(timeout=2) == "PRE-OPERATIONAL"
    drive.nmt.state = "OPERATIONAL"
    for _ in range(3):
        assert drive.nmt.wait_for_heartbeat(timeout=2) == "OPERATIONAL"
    drive.nmt.state = "STOPPED"
    assert drive.nmt.wait_for_heartbeat(timeout=2) == "STOPPED"
    drive.nmt.state = "RESET"
    drive.nmt.wait_for_bootup(timeout=2)


def test_the_state_machine_walks_under_another_master(bench: Any, network: Any) -> None:
    from canopen.profiles.p402 import State402

    drive = remote(network, 1)
    drive.nmt.state = "OPERATIONAL"

    def state() -> str:
        statusword = drive.sdo[0x6041].raw
        return next(
            name
            for name, (mask, value) in State402.SW_MASK.items()
            if statusword & mask == value and name != "NOT READY"
        )

    drive.sdo[0x6060].raw = 9
    assert drive.sdo[0x6061].raw == 9
    seen = [state()]
    for controlword in (0x06, 0x07, 0x0F, 0x07, 0x06, 0x00):
        drive.sdo[0x6040].raw = controlword
        seen.append(state())
    assert seen == [
        "SWITCH ON DISABLED",
        "READY TO SWITCH ON",
        "SWITCHED ON",
        "OPERATION ENABLED",
        "SWITCHED ON",
        "READY TO SWITCH ON",
        "SWITCH ON DISABLED",
    ]
    assert [e[1] for e in bench.power if e[0] == "AX1"] == [True, False]


def test_the_emergency_of_a_lost_master_is_understood(bench: Any, network: Any) -> None:
    drive = remote(network, 1)
    raw = drive.sdo
    raw.download(0x1016, 1, (127 << 16 | 50).to_bytes(4, "little"))
    network.send_message(0x77F, b"\x05")
    emergency = drive.emcy.wait(0x8130, timeout=2)
    assert emergency.code == 0x8130
    assert emergency.register == 0x11


def test_pymodbus_reads_our_transducer(bench: Any) -> None:
    from pymodbus.client import ModbusSerialClient

    client = ModbusSerialClient(
        bench.serial_uri.removeprefix("serial:"), baudrate=115_200, timeout=1, retries=3
    )
    assert client.connect()
    try:
        answer = client.read_input_registers(1, count=2, device_id=1)
        value = client.convert_from_registers(answer.registers, client.DATATYPE.FLOAT32)
        assert value == pytest.approx(1.25)
        answer = client.read_input_registers(1, count=2, device_id=2)
        value = client.convert_from_registers(answer.registers, client.DATATYPE.INT32, word_order="little")
        assert value == -87654
        assert client.read_input_registers(1, count=1, device_id=3).registers == [4000]
        assert client.read_input_registers(500, count=1, device_id=1).exception_code == 2
        assert client.read_coils(0, count=1, device_id=1).exception_code == 1
        client.write_register(0x0200, 33, device_id=1)
        assert client.read_holding_registers(0x0200, count=1, device_id=1).registers == [33]
    finally:
        client.close()


def test_our_master_on_the_slave_of_pymodbus() -> None:
    from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
    from pymodbus.server import ModbusSerialServer

    end, other = os.openpty()
    tty.setraw(end)
    tty.setraw(other)
    # Two ptys back to back, so that the server has a line of its own.
    end2, other2 = os.openpty()
    tty.setraw(end2)
    tty.setraw(other2)
    stop = threading.Event()

    def pump(source: int, sink: int) -> None:
        import select

        while not stop.is_set():
            if select.select((source,), (), (), 0.05)[0]:
                os.write(sink, os.read(source, 256))

    ready = threading.Event()
    box: dict[str, Any] = {}

    def serve() -> None:
        async def run() -> None:
            block = ModbusSequentialDataBlock(1, [0x1234, 0xABCD, 7])
            context = ModbusServerContext(devices={5: ModbusDeviceContext(hr=block, ir=block)}, single=False)
            server = ModbusSerialServer(context, port=os.ttyname(other2), baudrate=115_200)
            box["loop"], box["server"] = asyncio.get_running_loop(), server
            task = asyncio.create_task(server.serve_forever())
            await asyncio.sleep(0.2)
            ready.set()
            await task

        asyncio.run(run())

    threads = [threading.Thread(target=pump, args=pair) for pair in ((end, end2), (end2, end))]
    threads.append(threading.Thread(target=serve))
    for thread in threads:
        thread.start()
    assert ready.wait(10)
    stream = open_serial("rs485", f"serial:{os.ttyname(other)}", 115_200)
    master = RtuMaster(stream, honest_wire=False)
    counters = {"crc": 0, "timeout": 0, "nak": 0, "stray": 0}
    try:
        answer = master.ask("x", 5, read_request(Function.READ_HOLDING, 0, 3), 1.0, counters)
        assert answer.pdu.hex() == "03061234abcd0007"
        master.ask("x", 5, write_register(2, 99), 1.0, counters)
        assert (
            master.ask("x", 5, read_request(Function.READ_HOLDING, 2, 1), 1.0, counters).pdu.hex()
            == "03020063"
        )
        with pytest.raises(ModbusException, match="illegal data address"):
            master.ask("x", 5, read_request(Function.READ_HOLDING, 100, 3), 1.0, counters)
        assert counters == {"crc": 0, "timeout": 0, "nak": 1, "stray": 0}
    finally:
        asyncio.run_coroutine_threadsafe(box["server"].shutdown(), box["loop"]).result(5)
        stop.set()
        for thread in threads:
            thread.join(5)
        stream.close()
        for descriptor in (end, other, end2, other2):
            os.close(descriptor)
