"""Modbus RTU transactions a second on a pty: read three input registers, one master after another.

All masters ask the same slave program (`_slave`), each its own process of it, because two cannot share a port. It
answers at once, so what is measured is the master. A pty carries bytes at once, too: the second row keeps the
silence of 1.75 ms between frames that a line above 19 200 Bd asks for, as minimalmodbus always does.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import ctypes.util
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import table
from drivers.bus.byte_streams import open_stream
from drivers.modbus.codec import Function, pack_adu, read_request, read_response
from drivers.modbus.rtu import RtuMaster

#: Short rounds and many of them: the median is then one in which the machine was not taken away.
ROUNDS, N, N_SLOW = 41, 200, 25
REGISTERS = [0x1234, 0xABCD, 7]
_REQUEST = read_request(Function.READ_INPUT, 0, len(REGISTERS))
_ANSWER = read_response(Function.READ_INPUT, b"".join(r.to_bytes(2, "big") for r in REGISTERS))

#: Does so many transactions; returns the registers of the last.
Master = Callable[[int], list[int]]


def rows() -> list[dict[str, Any]]:
    with contextlib.ExitStack() as stack:
        fast = stack.enter_context(_ours(gap_s=0.0))
        polite = stack.enter_context(_ours(gap_s=1.75e-3))
        peers: dict[str, tuple[Master, int]] = {}
        for name, (make, n) in _PEERS.items():
            try:
                peers[name] = (stack.enter_context(make()), n)
            except (ImportError, OSError) as error:
                print(f"Modbus RTU: {name} left out: {error}")
        masters = {"fast": (fast, N), "polite": (polite, N_SLOW), **peers}
        rates, agree = _measure(masters)
        peak_mb = _peak_mb(fast)
    agreement = f"{len(peers)} peers read {REGISTERS}" if all(agree.values()) else f"DISAGREES: {agree}"
    found = []
    for name, ours, goal, members, note in (
        ("Modbus RTU on a pty, synchronous", "fast", 10.0, ("minimalmodbus", "pymodbus"), ""),
        ("Modbus RTU on a pty, asynchronous", "fast", 1.5, ("pymodbus async",), ""),
        ("Modbus RTU, silence of 1.75 ms kept", "polite", 1.0, ("minimalmodbus",), ""),
        ("Modbus RTU on a pty, in C", "fast", 0.3, ("libmodbus",), "for comparison"),
    ):
        there = {peer: rates[peer] for peer in members if peer in rates}
        if there:
            found.append(
                table.result(
                    name,
                    N,
                    rates[ours],
                    there,
                    goal,
                    agrees=all(agree.values()),
                    peak_mb=peak_mb,
                    unit="transactions",
                    agreement=agreement,
                    note=note,
                )
            )
    return found


def _measure(masters: dict[str, tuple[Master, int]]) -> tuple[dict[str, float], dict[str, bool]]:
    """Median rate of each, and whether it read what the slave holds, in every round."""
    rates: dict[str, list[float]] = {name: [] for name in masters}
    agree = dict.fromkeys(masters, True)
    for turn in range(ROUNDS + 1):  # the first one warms up
        for name, (master, n) in masters.items():
            begin = time.perf_counter()
            answer = master(n)
            took = time.perf_counter() - begin
            agree[name] = agree[name] and answer == REGISTERS
            if turn > 0:
                rates[name].append(n / took)
    return {name: statistics.median(found) for name, found in rates.items()}, agree


def _peak_mb(master: Master) -> float:
    tracemalloc.start()
    try:
        master(N)
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


@contextlib.contextmanager
def _slave() -> Iterator[str]:
    """Path of a pty with a slave of unit 1 at its other end."""
    program = Path(__file__).with_name("_slave.py")
    pair = (pack_adu(1, _REQUEST).hex(), pack_adu(1, _ANSWER).hex())
    process = subprocess.Popen([sys.executable, str(program), *pair], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait(5)
        process.stdout.close()


@contextlib.contextmanager
def _ours(gap_s: float) -> Iterator[Master]:
    with _slave() as path:
        stream = open_stream("rs485", f"serial:{path}", 115_200)
        master = RtuMaster(stream, gap_s=gap_s, honest_wire=False)
        counters = dict.fromkeys(("crc", "timeout", "nak", "stray"), 0)

        def ask(n: int) -> list[int]:
            pdu = b""
            for _ in range(n):
                pdu = master.ask("slave", 1, _REQUEST, 0.5, counters).pdu
            if any(counters.values()):
                return []  # a transaction that had to be repeated is no measurement
            return [int.from_bytes(pdu[at : at + 2], "big") for at in range(2, len(pdu), 2)]

        yield ask
        stream.close()


@contextlib.contextmanager
def _minimalmodbus() -> Iterator[Master]:
    import minimalmodbus

    with _slave() as path:
        instrument = minimalmodbus.Instrument(path, 1)
        instrument.serial.baudrate, instrument.serial.timeout = 115_200, 1.0

        def ask(n: int) -> list[int]:
            found: list[int] = []
            for _ in range(n):
                found = instrument.read_registers(0, len(REGISTERS), functioncode=4)
            return found

        yield ask
        instrument.serial.close()


@contextlib.contextmanager
def _pymodbus() -> Iterator[Master]:
    from pymodbus.client import ModbusSerialClient

    with _slave() as path:
        client = ModbusSerialClient(path, baudrate=115_200, timeout=1)
        client.connect()

        def ask(n: int) -> list[int]:
            found: list[int] = []
            for _ in range(n):
                found = client.read_input_registers(0, count=len(REGISTERS), device_id=1).registers
            return found

        yield ask
        client.close()


@contextlib.contextmanager
def _pymodbus_async() -> Iterator[Master]:
    from pymodbus.client import AsyncModbusSerialClient

    with _slave() as path, asyncio.Runner() as runner:

        async def connect() -> Any:
            client = AsyncModbusSerialClient(path, baudrate=115_200, timeout=1)
            await client.connect()
            return client

        client = runner.run(connect())

        async def read(n: int) -> list[int]:
            found: list[int] = []
            for _ in range(n):
                answer = await client.read_input_registers(0, count=len(REGISTERS), device_id=1)
                found = answer.registers
            return found

        yield lambda n: runner.run(read(n))

        async def close() -> None:
            client.close()

        runner.run(close())


@contextlib.contextmanager
def _libmodbus() -> Iterator[Master]:
    """Debian's libmodbus5 through ctypes."""
    path_of = ctypes.util.find_library("modbus")
    if path_of is None:
        raise ImportError("libmodbus5 is not installed")
    library = ctypes.CDLL(path_of)
    library.modbus_new_rtu.restype = ctypes.c_void_p
    library.modbus_new_rtu.argtypes = [
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_char,
        ctypes.c_int,
        ctypes.c_int,
    ]
    with _slave() as path:
        context = ctypes.c_void_p(library.modbus_new_rtu(path.encode(), 115_200, b"N", 8, 1))
        library.modbus_set_slave(context, 1)
        if library.modbus_connect(context) != 0:
            raise OSError("libmodbus does not open the pty")
        registers = (ctypes.c_uint16 * len(REGISTERS))()

        def ask(n: int) -> list[int]:
            for _ in range(n):
                library.modbus_read_input_registers(context, 0, len(REGISTERS), registers)
            return list(registers)

        yield ask
        library.modbus_close(context)
        library.modbus_free(context)


#: How to make a peer, and how many transactions of it are measured a round: a slow one gets fewer.
_PEERS: dict[str, tuple[Callable[[], contextlib.AbstractContextManager[Master]], int]] = {
    "minimalmodbus": (_minimalmodbus, N_SLOW),
    "pymodbus": (_pymodbus, N_SLOW),
    "pymodbus async": (_pymodbus_async, N),
    "libmodbus": (_libmodbus, N),
}
