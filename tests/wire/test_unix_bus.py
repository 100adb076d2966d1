"""Several frames in one message of the emulated bus: nobody loses, repeats or reorders any."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import can
import pytest

from drivers import clock
from drivers.bus.can_hub import CanHub
from drivers.bus.event_loop import EventLoop
from drivers.bus.frame import ERROR_BUS_OFF, ERROR_PROTOCOL, MOST_FRAMES, FdFrame, Frame
from drivers.bus.hub_server import HubServer
from drivers.bus.unix_bus import UnixFrameBus
from drivers.device import BusOff, TransportTimeout

FRAMES = [Frame(n % 0x800, bytes((n & 0xFF, n >> 8))) for n in range(3 * MOST_FRAMES + 5)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HubServer]:
    loop = EventLoop()
    server = HubServer(tmp_path / "can0.sock", CanHub(1_000_000), loop)
    thread = threading.Thread(target=loop.run)
    thread.start()
    yield server
    loop.stop()
    thread.join(5)
    server.close()
    loop.close()


def seats(server: HubServer, count: int) -> None:
    """Wait until so many are on the bus."""
    deadline = clock.now() + 5.0
    while len(server.seats) < count:
        assert clock.now() < deadline
        threading.Event().wait(0.001)


def test_all_frames_of_one_moment_arrive_in_order_at_drivers_and_at_python_can(server: HubServer) -> None:
    sender, listener = UnixFrameBus("a", str(server.path)), UnixFrameBus("b", str(server.path))
    foreign = can.Bus(interface="pilotbench", channel=str(server.path))
    seats(server, 3)
    sender.send_all(FRAMES)
    deadline = clock.now() + 5.0
    heard = [listener.recv(deadline) for _ in FRAMES]
    assert [(f.can_id, f.data) for f in heard] == [(f.can_id, f.data) for f in FRAMES]
    assert all(f.stamp_s > 0 for f in heard)
    messages = [foreign.recv(5.0) for _ in FRAMES]
    assert [(m.arbitration_id, bytes(m.data)) for m in messages if m] == [(f.can_id, f.data) for f in FRAMES]
    assert sender.counters["tx"] == listener.counters["rx"] == len(FRAMES)
    assert listener.poll() is None
    with pytest.raises(TransportTimeout):
        listener.recv(clock.now() + 0.01)
    foreign.shutdown()
    sender.close()
    listener.close()


def test_a_message_of_error_frames_hides_none_of_the_next(server: HubServer) -> None:
    listener = UnixFrameBus("b", str(server.path))
    seats(server, 1)
    told = threading.Event()

    def disturb(now_s: float) -> None:
        for seat in server.seats:
            seat.deliver(Frame(ERROR_PROTOCOL, bytes(8), error=True), now_s)
            seat.flush()
            seat.deliver(Frame(0x181, b"\x01"), now_s)
            seat.flush()
        told.set()

    server.loop.post(disturb)
    assert told.wait(5.0)
    frame = listener.poll()
    assert frame is not None
    assert frame.can_id == 0x181
    assert listener.counters["error_frames"] == 1
    listener.close()


def test_bus_off_behind_frames_is_told_after_them(server: HubServer) -> None:
    listener = UnixFrameBus("b", str(server.path))
    seats(server, 1)

    def disturb(now_s: float) -> None:
        for seat in server.seats:
            seat.deliver(Frame(0x181, b"\x01"), now_s)
            seat.deliver(Frame(ERROR_BUS_OFF, bytes(8), error=True), now_s)
            seat.flush()

    server.loop.post(disturb)
    assert listener.recv(clock.now() + 5.0).can_id == 0x181
    with pytest.raises(BusOff):
        listener.recv(clock.now() + 5.0)
    assert (listener.counters["rx"], listener.counters["error_frames"]) == (1, 1)
    listener.close()


def test_frames_of_can_fd_keep_their_place_among_classic_ones(server: HubServer) -> None:
    sender, listener = UnixFrameBus("a", str(server.path)), UnixFrameBus("b", str(server.path))
    aware = can.Bus(interface="pilotbench", channel=str(server.path), fd=True)
    classic = can.Bus(interface="pilotbench", channel=str(server.path))
    seats(server, 4)
    sent = [
        FdFrame(0x8000 | n, bytes((n,) * 64), True) if n % 3 == 0 else Frame(n, bytes((n,)))
        for n in range(40)
    ]
    sender.send_all(sent)
    sender.send(FdFrame(0x7FF, bytes(12)))
    sent.append(FdFrame(0x7FF, bytes(12)))
    deadline = clock.now() + 5.0
    heard = [listener.recv(deadline)._replace(stamp_s=0.0) for _ in sent]
    assert heard == sent
    messages = [aware.recv(5.0) for _ in sent]
    assert [(m.arbitration_id, bytes(m.data), m.is_fd, m.is_extended_id) for m in messages if m] == [
        (f.can_id, f.data, f.fd, f.extended) for f in sent
    ]
    plain = [classic.recv(5.0) for f in sent if not f.fd]
    assert [m.arbitration_id for m in plain if m] == [f.can_id for f in sent if not f.fd]
    assert classic.recv(0.01) is None, (
        "as SocketCAN does not deliver them to a program that has not asked for them"
    )
    aware.send(can.Message(arbitration_id=0x123, data=bytes(48), is_fd=True, is_extended_id=False))
    assert listener.recv(clock.now() + 5.0)._replace(stamp_s=0.0) == FdFrame(0x123, bytes(48))
    with pytest.raises(can.CanOperationError, match="without fd=True"):
        classic.send(can.Message(arbitration_id=0x123, data=bytes(48), is_fd=True, is_extended_id=False))
    for each in (aware, classic):
        each.shutdown()
    sender.close()
    listener.close()
