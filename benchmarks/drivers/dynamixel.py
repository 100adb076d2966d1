"""Six Dynamixel servos on one line, read by our group and by the maker's SDK: `python -m benchmarks.drivers.dynamixel`.

The emulated servos are a process of their own on a pty, once with the wire time of 1 MBd and once without any, which leaves
what the masters themselves cost. Both masters read the same block of the same servos, in turn round by round; ours goes on to
SI values, checks and their validity, the SDK's side takes the numbers out of its buffers; that both have read the same is found
out afterwards, in neither's time. Wall time, because waiting is the work.
Ours runs under SCHED_FIFO where that is permitted, as `drivers.runner` does; the SDK as an ordinary process, which serves it
best: it waits in a loop, and the kernel throttles real-time processes that never sleep. Further rows have both of them as
ordinary processes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import statistics
import time
import tracemalloc
from collections import Counter
from dataclasses import dataclass
from typing import Any

from benchmarks import table
from benchmarks.drivers._servos import BAUD, MODEL, SERVOS, served
from drivers.bus.byte_streams import open_stream
from drivers.device import DriverError, Row
from drivers.dynamixel import codec
from drivers.dynamixel.group import DynamixelGroup
from drivers.dynamixel.master import DynamixelMaster
from drivers.dynamixel.servo import DynamixelServo
from drivers.dynamixel.telemetry import BlockLayout
from drivers.family import Column
from drivers.realtime import claim_realtime, processors_awake
from drivers.runner import PRIORITY

FAST, PLAIN = 48, 42  # firmware with and without fast reads
READS, ROUNDS = 20, 60
#: The bar: a servo that is not there costs less than this, s.
DEAD_S = 0.003
_LAYOUT = BlockLayout(MODEL)
#: (bytes, how many of them in a block of ours): what the SDK takes out of it.
_FIELDS = (2, 1, 1, 1, 2, 4, 4)


# ── the two masters ──


class Ours:
    name = "pilotbench"

    def __init__(self, path: str, *, paced: bool, latency_s: float | None = None) -> None:
        servos = [DynamixelServo(f"S{n}", n, MODEL) for n in range(1, SERVOS + 1)]
        columns = [Column(f"S{n}", f"S{n}", "position") for n in range(1, SERVOS + 1)]
        self._group = DynamixelGroup(
            "dxl",
            servos,
            columns,
            uri=f"serial:{path}",
            baudrate=BAUD,
            period_s=0.01,
            latency_s=latency_s,
            honest_wire=paced,
        )
        self._group.open()

    def read(self) -> Row:
        return self._group.cycle({})

    def digits(self, row: Row) -> tuple[int, ...]:
        """Positions as the servos send them; a sample that is not GOOD is none."""
        digit = MODEL.readings["position"].digit
        return tuple(round(v / digit) if q == 0 else -1 for v, q in zip(row.values, row.quality, strict=True))

    def deafen(self, number: int) -> None:
        """A servo that is there no more: set to another baud rate."""
        with contextlib.suppress(DriverError):  # it does not answer at the old one
            self._group.store(f"S{number}", "baud_rate", 1)

    def close(self) -> None:
        self._group.close()


class TheirSdk:
    name = "dynamixel-sdk"

    def __init__(self, path: str, *, fast: bool) -> None:
        import dynamixel_sdk as sdk

        self.port, self.packets = sdk.PortHandler(path), sdk.PacketHandler(2.0)
        if not (self.port.openPort() and self.port.setBaudRate(BAUD)):
            raise OSError(f"the SDK cannot open {path}")
        self._reader = sdk.GroupSyncRead(self.port, self.packets, _LAYOUT.address, _LAYOUT.size)
        for n in range(1, SERVOS + 1):
            self._reader.addParam(n)
        self._ask = self._reader.fastSyncRead if fast else self._reader.txRxPacket

    def read(self) -> list[int]:
        with contextlib.suppress(IndexError):  # what it raises when a fast answer is missing
            self._ask()
        found = []
        for n in range(1, SERVOS + 1):
            address, value = _LAYOUT.address, -1
            for size in _FIELDS:  # the position is the last
                if self._reader.isAvailable(n, address, size):
                    value = self._reader.getData(n, address, size)
                address += size
            found.append(value)
        return found

    def digits(self, found: list[int]) -> tuple[int, ...]:
        return tuple(found)

    def close(self) -> None:
        self.port.closePort()


def _scheduled(master: Ours | TheirSdk, *, realtime: bool = True) -> None:
    if realtime and isinstance(master, Ours):
        claim_realtime(PRIORITY)
    else:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _timed(master: Ours | TheirSdk) -> tuple[float, list[tuple[int, ...]]]:
    """Seconds for one read (mean of READS), and what was read, in digits."""
    begin = time.perf_counter()
    answers = [master.read() for _ in range(READS)]
    return (time.perf_counter() - begin) / READS, [master.digits(answer) for answer in answers]


def _in_turn(
    path: str, *, paced: bool, fast: bool, realtime: bool
) -> tuple[dict[str, float], dict[str, Counter[tuple[int, ...]]]]:
    """Median seconds of both masters, in short turns, so that a disturbance of the machine meets both alike."""
    theirs = TheirSdk(path, fast=fast)  # first: ours opens the port for itself alone
    ours = Ours(path, paced=paced, latency_s=0.02)
    times: dict[str, list[float]] = {ours.name: [], theirs.name: []}
    answers: dict[str, Counter[tuple[int, ...]]] = {ours.name: Counter(), theirs.name: Counter()}
    try:
        for turn in range(ROUNDS):
            for master in (ours, theirs) if turn % 2 else (theirs, ours):
                _scheduled(master, realtime=realtime)
                took, found = _timed(master)
                answers[master.name].update(found)
                times[master.name].append(took)
    finally:
        _scheduled(ours)
        ours.close()
        theirs.close()
    return {name: statistics.median(t) for name, t in times.items()}, answers


def _peak_mb(path: str, *, paced: bool) -> float:
    master = Ours(path, paced=paced)
    try:
        tracemalloc.start()
        for _ in range(10 * READS):
            master.read()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()
        master.close()


# ── rows ──


@dataclass(frozen=True)
class _Reading:
    name: str
    paced: bool
    firmware: int
    realtime: bool = True


_READINGS = (
    _Reading("Dynamixel, 6 servos by fast sync read, 1 MBd", True, FAST),
    _Reading("Dynamixel, 6 servos by sync read, 1 MBd", True, PLAIN),
    _Reading("Dynamixel, 6 by fast sync read, 1 MBd, ordinary processes", True, FAST, False),
    _Reading("Dynamixel, 6 by sync read, 1 MBd, ordinary processes", True, PLAIN, False),
    _Reading("Dynamixel, 6 servos by fast sync read, no wire time", False, FAST),
    _Reading("Dynamixel, 6 servos by sync read, no wire time", False, PLAIN),
)


def _reading(case: _Reading) -> dict[str, Any]:
    with served(paced=case.paced, firmware=case.firmware) as path:
        times, answers = _in_turn(
            path, paced=case.paced, fast=case.firmware >= MODEL.fast_read_from, realtime=case.realtime
        )
        peak = _peak_mb(path, paced=case.paced)
    expected = tuple(round(0.5 * n / MODEL.readings["position"].digit) for n in range(1, SERVOS + 1))
    complete = {name: found[expected] / found.total() for name, found in answers.items()}
    wrong = [
        a for a in answers["pilotbench"] if any(v not in (-1, e) for v, e in zip(a, expected, strict=True))
    ]
    agrees = not wrong and complete["pilotbench"] > 0.95
    what = (
        f"wrong: {wrong}" if wrong else "complete: " + ", ".join(f"{n} {c:.1%}" for n, c in complete.items())
    )
    return _row(
        case.name,
        READS * ROUNDS,
        1.0 / times["pilotbench"],
        1.0 / times["dynamixel-sdk"],
        1.0,
        agrees,
        peak,
        what,
    )


def _dead() -> list[dict[str, Any]]:
    """What an id costs at which nobody is: asked by itself, and as one of the six."""
    with served(paced=True, firmware=PLAIN) as path:
        ours, theirs = _nobody(path)
        alone = _row(
            "Dynamixel, an id that is dead, 1 MBd", 50, 1.0 / ours, 1.0 / theirs, theirs / DEAD_S, True, 0.0,
            f"{ours * 1000:.2f} ms against {theirs * 1000:.2f} ms; the bar is {DEAD_S * 1000:.0f} ms",
        )  # fmt: skip
        ours, theirs, later, known = _one_of_six(path)
        within = _row(
            "Dynamixel, one of 6 servos dies, 1 MBd", 1, 1.0 / ours, 1.0 / theirs, theirs / DEAD_S, known, 0.0,
            f"a cycle longer by {ours * 1000:.2f} ms at most, by {later * 1000:.2f} ms once it is backed off; "
            f"SDK: every read longer by {theirs * 1000:.2f} ms",
        )  # fmt: skip
    return [alone, within]


def _nobody(path: str) -> tuple[float, float]:
    def ours() -> float:
        stream = open_stream("dxl", f"serial:{path}", BAUD)
        master = DynamixelMaster(stream)
        claim_realtime(PRIORITY)
        begin = time.perf_counter()
        for _ in range(50):
            with contextlib.suppress(DriverError):
                master.ask("S9", 9, codec.ping(9), 3, 0.0, {"crc": 0, "timeout": 0, "nak": 0})
        took = (time.perf_counter() - begin) / 50
        stream.close()
        return took

    def theirs() -> float:
        sdk = TheirSdk(path, fast=False)
        _scheduled(sdk)
        begin = time.perf_counter()
        for _ in range(50):
            sdk.packets.ping(sdk.port, 9)
        took = (time.perf_counter() - begin) / 50
        sdk.close()
        return took

    return ours(), theirs()


def _one_of_six(path: str) -> tuple[float, float, float, bool]:
    """Additional seconds in our worst cycle and in the SDK's reads, in our cycles after the back-off, and whether the
    others stayed readable.
    """

    def cycle(master: Ours | TheirSdk) -> tuple[float, tuple[int, ...]]:
        begin = time.perf_counter()
        answer = master.read()
        return time.perf_counter() - begin, master.digits(answer)

    ours = Ours(path, paced=True)
    _scheduled(ours)
    usual = statistics.median(cycle(ours)[0] for _ in range(10 * READS))
    ours.deafen(3)
    cycles = [cycle(ours) for _ in range(10 * READS)]
    ours.close()
    longest = max(took for took, _ in cycles[:4])
    later = statistics.median(took for took, _ in cycles[4:])
    others = [-1 not in answer[:2] + answer[3:] for _, answer in cycles[4:]]
    known = all(answer[2] == -1 for _, answer in cycles) and sum(others) >= 0.95 * len(others)
    sdk = TheirSdk(path, fast=False)
    _scheduled(sdk)
    theirs = statistics.median(cycle(sdk)[0] for _ in range(20))
    sdk.close()
    return longest - usual, theirs - usual, later - usual, known


def _row(
    name: str, n: int, ours: float, peer: float, goal: float, agrees: bool, peak_mb: float, agreement: str
) -> dict[str, Any]:
    return table.result(
        name,
        n,
        ours,
        {"dynamixel-sdk": peer},
        round(goal, 3),
        agrees=agrees,
        peak_mb=peak_mb,
        unit="transactions",
        agreement=agreement,
    )


def rows() -> list[dict[str, Any]]:
    """All rows of this family, measured now; none, with the reason printed, where the SDK is missing."""
    if importlib.util.find_spec("dynamixel_sdk") is None:
        print("Dynamixel: left out, dynamixel-sdk is not installed")
        return []
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        with processors_awake():
            return [*(_reading(case) for case in _READINGS), *_dead()]
    finally:
        os.sched_setscheduler(0, *before)


def main() -> None:
    table.print_heading(table.machine())
    for row in rows():
        table.print_row(row)


if __name__ == "__main__":
    main()
