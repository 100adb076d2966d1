"""The master against bytes that a test writes by hand: what it gives before the last of them is there, and what never."""

from __future__ import annotations

import os
import threading
import tty
from collections.abc import Iterator, Sequence

import pytest

from drivers.bus.serial_stream import SerialStream, open_serial
from drivers.dynamixel import codec
from drivers.dynamixel.codec import Status
from drivers.dynamixel.master import DynamixelMaster

#: The last of them is stuffed when it comes as a packet of its own.
STATUSES = [Status(n, 0, bytes((n, 0xFF, 0xFF, 0xFA + n))) for n in (1, 2, 3)]
WANTED = [(s.id, len(s.data)) for s in STATUSES]
REQUEST = codec.sync_read(634, 4, [1, 2, 3])
PARTS = {
    True: list(codec.fast_segments(STATUSES, [size for _, size in WANTED])),
    False: [codec.pack_status(s.id, s.error, s.data) for s in STATUSES],
}


class Line:
    """A pty whose far end the test holds; `answer` is written as soon as a request is sent."""

    def __init__(self, baudrate: int) -> None:
        self.end, self._other = os.openpty()
        tty.setraw(self._other)
        self.stream: SerialStream = open_serial("dxl", f"serial:{os.ttyname(self._other)}", baudrate)
        self.answer = b""
        self._write = self.stream.write
        self.stream.write = self._answered  # type: ignore[method-assign]

    def _answered(self, data: bytes) -> None:
        self._write(data)
        self.say(self.answer)

    def wire_s(self, count: int) -> float:
        return 10.0 * count / self.stream.baudrate

    def say(self, data: bytes) -> None:
        os.write(self.end, data)

    def close(self) -> None:
        self.stream.close()
        os.close(self.end)
        os.close(self._other)


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line(1_000_000)
    yield line
    line.close()


def read(line: Line, parts: Sequence[bytes], *, fast: bool) -> tuple[DynamixelMaster, list[Status]]:
    line.answer = b"".join(parts)
    master = DynamixelMaster(line.stream, latency_s=0.05, honest_wire=False)
    return master, list(master.gather(REQUEST, WANTED, 0.0, fast=fast))


@pytest.mark.parametrize("fast", [True, False])
def test_statuses_are_given_before_the_last_of_them_is_there(line: Line, fast: bool) -> None:
    line.answer = b"".join(PARTS[fast][:2])
    master = DynamixelMaster(line.stream, latency_s=30.0, honest_wire=False)
    answers = master.gather(REQUEST, WANTED, 0.0, fast=fast)
    assert [next(answers), next(answers)] == STATUSES[:2]
    line.say(PARTS[fast][2])
    assert list(answers) == STATUSES[2:]
    assert not master.garbled
    assert (master.stray, master.early) == (0, 0)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_what_stands_before_a_wrong_crc_counts(line: Line, part: int, fast: bool) -> None:
    parts = list(PARTS[fast])
    parts[part] = parts[part][:-1] + bytes((parts[part][-1] ^ 1,))
    master, found = read(line, parts, fast=fast)
    sound = STATUSES[:part] if fast else STATUSES[:part] + STATUSES[part + 1 :]
    assert found == sound
    assert master.garbled
    assert master.stray > 0
    assert line.stream.drain() == 0, "nothing is left for the next answer"


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("there", [0, 1, 2])
def test_whoever_is_silent_silences_those_behind(line: Line, there: int, fast: bool) -> None:
    master, found = read(line, PARTS[fast][:there], fast=fast)
    assert found == STATUSES[:there]
    assert line.stream.drain() == 0
    assert master.early == 0


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("noise", [b"\x00", codec.HEADER, codec.pack_status(9, 0, b"abc")])
def test_an_answer_behind_noise_is_found(line: Line, noise: bytes, fast: bool) -> None:
    master, found = read(line, [noise, *PARTS[fast]], fast=fast)
    assert found == STATUSES
    assert master.stray == len(noise)


@pytest.mark.parametrize("fast", [True, False])
def test_an_answer_sooner_than_the_line_can_carry_is_refused(fast: bool) -> None:
    line = Line(9600)
    try:
        line.answer = b"".join(PARTS[fast])
        master = DynamixelMaster(line.stream, latency_s=0.05)
        assert list(master.gather(REQUEST, WANTED, 0.0, fast=fast)) == []
        assert master.early > 0
        assert master.garbled
    finally:
        line.close()


@pytest.mark.parametrize("fast", [True, False])
def test_an_answer_that_begins_too_soon_is_refused_whenever_it_goes_on(fast: bool) -> None:
    """Of an earlier request, in lumps: the first as soon as this one is sent, the others when they could be of this one."""
    line = Line(1200)
    try:
        later = threading.Timer(0.6, line.say, [b"".join(PARTS[fast][1:])])
        later.start()
        line.answer = PARTS[fast][0]
        master = DynamixelMaster(line.stream, latency_s=1.0)
        found = list(master.gather(REQUEST, WANTED, 0.0, fast=fast))
        later.join()
        assert master.early == 1
        assert found == ([] if fast else STATUSES[1:])
        assert master.garbled
        assert line.stream.drain() == 0, "nothing is left for the next answer"
    finally:
        line.close()


@pytest.mark.flaky(reruns=3)  # the lump must come within 0.1 s
@pytest.mark.parametrize("fast", [True, False])
def test_an_answer_that_ends_too_soon_makes_itself_known(fast: bool) -> None:
    """The lump comes when the line can have carried all but the last part: what is given then is not to be taken."""
    line = Line(600)
    try:
        parts = PARTS[fast]
        begin_s = line.wire_s(len(REQUEST) + len(b"".join(parts[:2])))
        lump = threading.Timer(begin_s + 0.01, line.say, [b"".join(parts)])
        lump.start()
        master = DynamixelMaster(line.stream, latency_s=0.5)
        assert list(master.gather(REQUEST, WANTED, 0.0, fast=fast)) == STATUSES[:2]
        lump.join()
        assert master.early == 1
        assert master.garbled
    finally:
        line.close()
