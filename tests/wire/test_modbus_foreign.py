"""Modbus with peers from Debian: `mbpoll` as master of our emulated devices, `libmodbus` as slave of our master.

Where they are not installed these tests are skipped with the reason, except in CI, where that is a failure:
``apt-get install mbpoll libmodbus5``.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from typing import Any

import pytest

from drivers.bus.byte_streams import open_stream
from drivers.device import TransportTimeout
from drivers.emulators.host import EmulatorHost
from drivers.emulators.modbus_actuator import emulated_unit
from drivers.modbus.codec import (
    Function,
    pack_adu,
    read_request,
    read_write_registers,
    write_register,
    write_registers,
)
from drivers.modbus.model import load_model
from drivers.modbus.rtu import ModbusException, RtuMaster

from .foreign import needed
from .served import PowerLog, serving

MEND = "apt-get install mbpoll libmodbus5"


def counters() -> dict[str, int]:
    return {"crc": 0, "timeout": 0, "nak": 0, "stray": 0}


# ── mbpoll, master ──


def mbpoll(
    path: str, unit: int, *options: str, write: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[str]:
    program = needed(shutil.which("mbpoll"), "mbpoll", MEND)
    # -0: registers count from 0; -1: once; 8N1. Times are generous: other processes want the processor, too.
    fixed = ["-m", "rtu", "-b", "115200", "-P", "none", "-0", "-1", "-o", "2.0", "-a", str(unit)]
    return subprocess.run(
        [program, *fixed, *options, path, *map(str, write)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def values_of(result: subprocess.CompletedProcess[str]) -> list[float]:
    assert result.returncode == 0, result.stdout + result.stderr
    return [float(m[1]) for m in re.finditer(r"^\[\d+\]:\s+(\S+)", result.stdout, re.MULTILINE)]


def test_mbpoll_reads_floats_and_both_word_orders(bench: Any) -> None:
    path = bench.serial_uri.removeprefix("serial:")
    assert values_of(mbpoll(path, 1, "-t3:float", "-B", "-r1", "-c1")) == [pytest.approx(1.25)]
    assert values_of(mbpoll(path, 2, "-t3:int", "-r1", "-c1")) == [-87654.0]
    assert values_of(mbpoll(path, 3, "-t3", "-r0", "-c3")) == [0.0, 4000.0, 2300.0]


def test_mbpoll_reads_who_it_is(bench: Any) -> None:
    path = bench.serial_uri.removeprefix("serial:")
    assert values_of(mbpoll(path, 1, "-t4", "-r256", "-c4")) == [0x0501, 0, 201, 104]


def test_mbpoll_is_told_what_is_illegal(bench: Any) -> None:
    path = bench.serial_uri.removeprefix("serial:")
    assert "Illegal data address" in mbpoll(path, 1, "-t4", "-r28672", "-c1").stderr
    assert "Illegal function" in mbpoll(path, 1, "-t0", "-r0", "-c1").stderr


def test_mbpoll_hears_nothing_from_a_unit_that_is_not_there(bench: Any) -> None:
    path = bench.serial_uri.removeprefix("serial:")
    result = mbpoll(path, 77, "-t3", "-r0", "-c1", "-o", "0.3")
    assert result.returncode != 0
    assert "timed out" in result.stderr


def test_mbpoll_writes_a_setting_and_one_that_it_must_not(bench: Any) -> None:
    path = bench.serial_uri.removeprefix("serial:")
    assert "Written 1 references" in mbpoll(path, 1, "-t4", "-r512", write=(33,)).stdout
    assert values_of(mbpoll(path, 1, "-t4", "-r512", "-c1")) == [33.0]
    assert "Illegal data address" in mbpoll(path, 1, "-t4", "-r256", write=(1,)).stderr


def test_mbpoll_sets_the_watchdog_of_a_drive_and_is_too_slow_for_it() -> None:
    """Function 10h on the drive that is written with it; a master that goes loses the torque."""
    log = PowerLog()

    class Still:
        def advance(self, t_s: float) -> None:
            """Nothing moves."""

        def command(self, device: str, command: Any) -> None:
            """Nothing moves."""

        def read(self, device: str, signal: str) -> float:
            return 0.0

    host = EmulatorHost(Still(), log)
    unit = emulated_unit("BR1", 9, load_model("modbus_brake_powder_50nm"), host.plant, 1, log)
    path = host.serial("rs485", 115_200, [unit]).removeprefix("serial:")
    with serving(host):
        mbpoll(path, 9, "-t4", "-r32", write=(20, 1))  # 200 ms, current off
        assert values_of(mbpoll(path, 9, "-t4", "-r32", "-c2")) == [20.0, 1.0]
        mbpoll(path, 9, "-t4", "-r16", write=(1, 200))  # on, 10 N·m
        log.wait("BR1", False)
        assert [event[1:3] for event in log.events] == [
            (True, "control word 0001h"),
            (False, "master no longer heard"),
        ]
        assert values_of(mbpoll(path, 9, "-t4", "-r0", "-c2")) == [4.0, 9.0]


# ── libmodbus, slave ──

#: Runs in a process of its own: ten holding registers, unit 5, until it is ended.
_SLAVE = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
pointer = ctypes.c_void_p
library.modbus_new_rtu.restype = library.modbus_mapping_new.restype = pointer
library.modbus_new_rtu.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_char, ctypes.c_int, ctypes.c_int]
context = library.modbus_new_rtu(sys.argv[2].encode(), 115200, b"N", 8, 1)
mapping = library.modbus_mapping_new(0, 0, 10, 10)
for name in ("modbus_set_slave", "modbus_connect", "modbus_receive", "modbus_reply"):
    getattr(library, name).argtypes = None
library.modbus_set_slave(pointer(context), 5)
assert library.modbus_connect(pointer(context)) == 0
print("ready", flush=True)
query = (ctypes.c_uint8 * 260)()
while True:
    length = library.modbus_receive(pointer(context), query)
    if length > 0:
        library.modbus_reply(pointer(context), query, length, pointer(mapping))
"""


def _library() -> str | None:
    return ctypes.util.find_library("modbus")


@pytest.fixture
def slave() -> Iterator[str]:
    """The pty at which our master finds a libmodbus slave of unit 5."""
    library = needed(_library(), "libmodbus", MEND)
    ours, ours_end, ours_name = _pty()
    theirs, theirs_end, theirs_name = _pty()
    stop = threading.Event()
    threads = [
        threading.Thread(target=_pump, args=(*pair, stop)) for pair in ((ours, theirs), (theirs, ours))
    ]
    for thread in threads:
        thread.start()
    process = subprocess.Popen(
        [sys.executable, "-c", _SLAVE, library, theirs_name], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield ours_name
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(5)
        if process.stdout is not None:
            process.stdout.close()
        stop.set()
        for thread in threads:
            thread.join(5)
        for fd in (ours, ours_end, theirs, theirs_end):
            os.close(fd)


def _pty() -> tuple[int, int, str]:
    """Both ends of a raw pty and its name; without a holder of the slave end the master end reports a hang-up."""
    master, end = os.openpty()
    tty.setraw(end)
    return master, end, os.ttyname(end)


def _pump(source: int, sink: int, stop: threading.Event) -> None:
    while not stop.is_set():
        if select.select((source,), (), (), 0.05)[0]:
            os.write(sink, os.read(source, 512))


@pytest.fixture
def master(slave: str) -> Iterator[RtuMaster]:
    stream = open_stream("rs485", f"serial:{slave}", 115_200)
    yield RtuMaster(stream, honest_wire=False)
    stream.close()


def test_libmodbus_answers_every_function_that_we_use(master: RtuMaster) -> None:
    count = counters()

    def ask(request: bytes) -> str:
        return master.ask("x", 5, request, 2.0, count).pdu.hex()

    assert ask(write_register(1, 0xABCD)) == "060001abcd"
    assert ask(write_registers(2, bytes.fromhex("00010002fffe"))) == "1000020003"
    assert ask(read_request(Function.READ_HOLDING, 0, 5)) == "030a0000abcd00010002fffe"
    assert ask(read_request(Function.READ_INPUT, 0, 2)) == "040400000000"
    assert ask(read_write_registers(1, 2, 1, bytes.fromhex("12345678"))) == "170412345678"
    assert count == counters()


def test_libmodbus_refuses_in_the_words_of_the_standard(master: RtuMaster) -> None:
    count = counters()
    for request in (
        read_request(Function.READ_HOLDING, 100, 3),
        write_register(10, 1),
        read_write_registers(0, 1, 9, bytes(4)),
    ):
        with pytest.raises(ModbusException, match="illegal data address"):
            master.ask("x", 5, request, 2.0, count)
    assert count["nak"] == 3


def test_libmodbus_is_silent_for_other_units(master: RtuMaster) -> None:
    count = counters()
    for unit in (4, 6, 247):
        with pytest.raises(TransportTimeout):
            master.ask("x", unit, read_request(Function.READ_HOLDING, 0, 1), 0.1, count)
    assert count == {"crc": 0, "timeout": 3, "nak": 0, "stray": 0}


def test_libmodbus_drops_what_our_checksum_would_not_cover(slave: str) -> None:
    """A request with a wrong CRC is not answered, the right one is: both sides compute the same CRC."""
    stream = open_stream("rs485", f"serial:{slave}", 115_200)
    try:
        adu = pack_adu(5, write_register(3, 77))
        stream.write(adu[:-1] + bytes((adu[-1] ^ 1,)))
        with pytest.raises(TransportTimeout):
            stream.read_exactly(1, time.monotonic() + 0.3)
        master = RtuMaster(stream, honest_wire=False)
        answer = master.ask("x", 5, read_request(Function.READ_HOLDING, 3, 1), 2.0, counters())
        assert answer.pdu == b"\x03\x02\x00\x00", "the broken write was not carried out"
    finally:
        stream.close()
