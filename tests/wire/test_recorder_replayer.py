"""A session is recorded on emulated devices and played back without them: the same master reads the same rows."""

from __future__ import annotations

import math
import time
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers import clock
from drivers.bus.byte_streams import open_stream
from drivers.bus.can_bus import open_can
from drivers.bus.frame import FdFrame, Frame
from drivers.bus.recorder import RecordingStream
from drivers.bus.replayer import ReplayBus, ReplayStream
from drivers.bus.wire_log import WireLog, read_log
from drivers.device import BusOff, Command, DeviceState, Mode, TransportLost, TransportTimeout
from drivers.families import FAMILIES
from drivers.family import BusPlan, Column, DevicePlan

from .virtual_time import install


class Scripted:
    """A line whose device answers each request with the next of its answers, at once."""

    baudrate = 9600

    def __init__(self, answers: list[bytes]) -> None:
        self.answers = deque(answers)
        self.buffer = bytearray()

    def write(self, data: bytes) -> None:
        self.buffer += self.answers.popleft()

    def read_exactly(self, count: int, deadline_s: float, due_s: float = math.inf) -> bytes:
        if len(self.buffer) < count:
            raise TransportTimeout("x", "too few")
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    def drain(self) -> int:
        dropped = len(self.buffer)
        self.buffer.clear()
        return dropped

    def close(self) -> None:
        pass


def read(stream: Any, count: int) -> bytes | None:
    try:
        return bytes(stream.read_exactly(count, clock.now() + 0.002))
    except TransportTimeout:
        return None


def talk(stream: Any, session: list[tuple[bytes, bytes, int]], drained: set[int]) -> list[bytes | int | None]:
    """What a master sees that asks, reads, and now and then throws away what is left."""
    seen: list[bytes | int | None] = []
    for n, (request, _, count) in enumerate(session):
        stream.write(request)
        seen.append(read(stream, count) if count else b"")
        if n in drained:
            clock.sleep_until(clock.now() + 0.01)
            seen.append(stream.drain())
    return seen


exchange = st.tuples(st.binary(min_size=1, max_size=4), st.binary(max_size=12), st.integers(0, 12))


@settings(max_examples=40, deadline=None)
@given(st.lists(exchange, min_size=1, max_size=12), st.sets(st.integers(0, 11)))
def test_any_session_is_played_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, session: list[tuple[bytes, bytes, int]], drained: set[int]
) -> None:
    # What is left unread of one answer belongs to the next exchange in a recording: so read or drain it all.
    drained = drained | {n for n, (_, answer, count) in enumerate(session) if len(answer) != count}
    path = tmp_path_factory.mktemp("replay") / "line.log"
    with pytest.MonkeyPatch.context() as monkeypatch:
        install(monkeypatch)
        with clock.seat():
            check(path, session, drained)


def check(path: Path, session: list[tuple[bytes, bytes, int]], drained: set[int]) -> None:
    recording = RecordingStream(Scripted([answer for _, answer, _ in session]), WireLog("line", path))
    seen = talk(recording, session, drained)
    recording.close()
    assert b"".join(e.payload for e in read_log(path) if e.sent) == b"".join(r for r, _, _ in session)  # type: ignore[misc]
    assert b"".join(e.payload for e in read_log(path) if not e.sent) == b"".join(a for _, a, _ in session)  # type: ignore[misc]
    assert talk(ReplayStream("line", path, 9600), session, drained) == seen


def log_of(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"({n * 0.001:.6f}) {line}\n" for n, line in enumerate(lines)))
    return path


def test_a_request_that_differs_is_one_clear_line(tmp_path: Path) -> None:
    path = log_of(tmp_path / "x.log", "a T 01", "a R 0A", "a T 02", "a R 0B")
    stream = open_stream("rs485", f"replay:{path}", 9600)
    stream.write(b"\x01")
    assert stream.read_exactly(1, clock.now() + 1) == b"\x0a"
    with pytest.raises(TransportLost, match=r"no \(further\) 'T 03'; recorded next is 'T 02'"):
        stream.write(b"\x03")
    stream.write(b"\x02")
    with pytest.raises(TransportLost, match="it ends here"):
        stream.write(b"\x02")


def test_independent_requests_may_be_interleaved_otherwise(tmp_path: Path) -> None:
    path = log_of(tmp_path / "x.log", "c 100#01 T", "c 200#01 R", "c 77F#05 T", "c 100#01 T", "c 200#02 R")
    bus = open_can("can0", f"replay:{path}", 1_000_000)
    assert isinstance(bus, ReplayBus)
    for answer in (b"\x01", b"\x02"):
        bus.send(Frame(0x100, b"\x01"))
        assert bus.recv(clock.now() + 1).data == answer
    bus.send(Frame(0x77F, b"\x05"))
    assert bus.poll() is None
    assert bus.counters["rx"] == bus.counters["tx"] - 1 == 2


def test_an_answer_takes_as_long_as_it_took(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("(1.000) a T 01\n(1.060) a R 0A\n")
    stream = ReplayStream("a", path, 9600)
    stream.write(b"\x01")
    begin = clock.now()
    with pytest.raises(TransportTimeout):
        stream.read_exactly(1, begin + 0.01)
    assert stream.read_exactly(1, begin + 5) == b"\x0a"
    assert 0.059 <= clock.now() - begin < 2


def test_bus_off_is_recorded_and_played_back(bench: Any, tmp_path: Path) -> None:
    path = tmp_path / "can0.log"
    bus = open_can("can0", f"record:{path}|{bench.can_uri}", 1_000_000)
    bench.on_loop(lambda: bench.host.racks["can0"].hub.bus_off(0.0))
    with pytest.raises(BusOff):
        bus.recv(clock.now() + 5)
    bus.close()
    assert "20000040#0000000000000000 R" in path.read_text()
    with pytest.raises(BusOff):
        open_can("can0", f"replay:{path}", 1_000_000).recv(clock.now() + 5)


def test_a_log_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    frames, streams = log_of(tmp_path / "f.log", "a 100#01 R"), log_of(tmp_path / "s.log", "a R 01")
    with pytest.raises(TransportLost, match="one of a CAN bus"):
        ReplayStream("a", frames, 9600).read_exactly(1, clock.now() + 1)
    with pytest.raises(TransportLost, match="one of a byte stream"):
        ReplayBus("a", streams).recv(clock.now() + 1)


def plan(uri: str, family: str) -> BusPlan:
    if family == "modbus":
        devices = [DevicePlan("TQ1", 1, "modbus_torque_5nm"), DevicePlan("TMP", 3, "modbus_pt100_2ch")]
        columns = [Column("torque", "TQ1", "torque"), Column("housing", "TMP", "temperature_1")]
        return BusPlan("rs485", uri, 115_200, 0.02, 0.2, devices, columns)
    devices = [DevicePlan("AX1", 1, "cia402_servo_ax1"), DevicePlan("EN2", 3, "cia406_encoder_27bit")]
    columns = [Column("speed", "AX1", "velocity"), Column("angle", "EN2", "position")]
    return BusPlan("can0", uri, 1_000_000, 0.004, 0.2, devices, columns)


def run(uri: str, family: str) -> list[tuple[Any, ...]]:
    """Open, cycle (the drive turning), close; the rows without their stamps."""
    group = FAMILIES[family].group(plan(uri, family))
    identities = tuple(group.open())
    rows = []
    turning = family == "canopen"
    if turning:
        group.enable("AX1", Mode.VELOCITY)
    for n in range(25):
        ready = turning and group.state("AX1") is DeviceState.ENABLED
        row = group.cycle({"AX1": Command(Mode.VELOCITY, 0.1 * n)} if ready else {})
        rows.append((tuple(row.values), tuple(int(q) for q in row.quality)))
        time.sleep(0.002)
    group.close()
    return [identities, *map(repr, rows)]


@pytest.mark.parametrize("family", ["canopen", "modbus"])
def test_a_session_with_devices_is_the_same_without_them(bench: Any, tmp_path: Path, family: str) -> None:
    path = tmp_path / "session.log"
    wire = bench.can_uri if family == "canopen" else bench.serial_uri
    recorded = run(f"record:{path}|{wire}", family)
    bench.on_loop(bench.host.servers["can0"].close)
    bench.on_loop(bench.host.lines["rs485"].close)
    replayed = run(f"replay:{path}", family)
    assert replayed == recorded
    assert sum("(0, 0)" in str(row) for row in recorded) > 15, "most rows are good"


def test_frames_of_can_fd_are_played_back_as_such(tmp_path: Path) -> None:
    path = tmp_path / "can0.log"
    sent, heard = FdFrame(0x8001, bytes(48), extended=True), FdFrame(0x100, bytes(range(24)))
    log = WireLog("can0", path)
    log.put(0.0, True, sent)
    log.put(0.001, False, heard)
    log.close()
    bus = ReplayBus("can0", path)
    with pytest.raises(TransportLost, match="has no"):
        bus.send(Frame(*sent))
    bus.send(sent)
    assert bus.recv(clock.now() + 1.0)._replace(stamp_s=0.0) == heard
