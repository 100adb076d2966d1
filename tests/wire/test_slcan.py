"""A LAWICEL adapter on a pty: frames pass, a garbled line is counted, a pulled cable is a lost transport."""

from __future__ import annotations

import contextlib
import os
import select
import time
import tty
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from drivers.bus.can_bus import open_can
from drivers.bus.frame import FdFrame, Frame
from drivers.bus.serial_stream import open_serial
from drivers.bus.transport import FrameBus
from drivers.device import TransportLost, TransportTimeout


def test_slcan() -> None:
    end, other = os.openpty()
    tty.setraw(end)
    tty.setraw(other)
    bus = open_can("can0", f"slcan:{os.ttyname(other)}", 1_000_000)
    try:
        time.sleep(0.05)
        assert b"S8\r" in os.read(end, 256), "1 Mbit/s"
        bus.send(Frame(0x601, bytes.fromhex("4000100000000000")))
        assert os.read(end, 256) == b"t60184000100000000000\r"
        os.write(end, b"t58184300100092010200\r")
        frame = bus.recv(time.monotonic() + 2)
        assert (frame.can_id, frame.data.hex()) == (0x581, "4300100092010200")
        assert time.monotonic() - frame.stamp_s < 1.0
        os.write(end, b"tZZZ8QQ\rt7011FF\rt70105\rt701105\r")
        seen = []
        until = time.monotonic() + 2
        while not seen or seen[-1].data != b"\x05":
            seen.append(bus.recv(until))
        assert bus.counters["garbled"] >= 1
    finally:
        os.close(end)
        with pytest.raises(TransportLost, match="can0"):
            bus.recv(time.monotonic() + 5)
        bus.close()
        os.close(other)


@pytest.mark.parametrize(
    "uri",
    [
        "token-ring:1",
        "socketcan:no_such_if",
        "slcan:/dev/no-such-port",
        "python-can:interface=nonsense",
        "python-can:x",
        "socketcan:no_such_if,fd=true",
        "socketcan:can0,fd=perhaps",
    ],
)
def test_a_bus_that_cannot_be_opened_is_one_clear_line(uri: str) -> None:
    with pytest.raises(TransportLost) as caught:
        open_can("can0", uri, 1_000_000)
    assert "\n" not in str(caught.value)


def test_any_interface_of_python_can_by_its_options() -> None:
    one = open_can("a", "python-can:interface=virtual,channel=pilotbench-test", 1_000_000)
    other = open_can("b", "python-can:interface=virtual,channel=pilotbench-test", 1_000_000)
    try:
        one.send(Frame(0x123, b"\x01\x02"))
        assert other.recv(time.monotonic() + 2).data == b"\x01\x02"
        assert other.poll() is None
    finally:
        one.close()
        other.close()


def test_an_adapter_with_can_fd_by_its_option() -> None:
    ends = "python-can:interface=virtual,channel=pilotbench-fd,fd=true"
    one, other = open_can("a", ends, 1_000_000), open_can("b", ends, 1_000_000)
    classic = open_can("c", ends.removesuffix(",fd=true"), 1_000_000)
    try:
        sent = FdFrame(0x8001, bytes(range(48)), extended=True)
        one.send(sent)
        assert other.recv(time.monotonic() + 2)._replace(stamp_s=0.0) == sent
        assert classic.poll() is None
        assert classic.counters["garbled"] == 1
    finally:
        for bus in (one, other, classic):
            bus.close()


def test_a_lawicel_adapter_refuses_can_fd_in_one_line() -> None:
    with adapter() as (end, path):
        bus = open_can("can0", f"slcan:{path}", 1_000_000)
        os.read(end, 256)
        with pytest.raises(TransportLost, match=r"classic CAN frames only.*never slcan:") as caught:
            bus.send(FdFrame(0x123, b"\x01"))
        assert "\n" not in str(caught.value)
        assert not select.select([end], [], [], 0.05)[0], "nothing was sent"
        bus.close()


@contextlib.contextmanager
def adapter() -> Iterator[tuple[int, str]]:
    """The far end of a LAWICEL adapter, and the port's path."""
    end, other = os.openpty()
    tty.setraw(end)
    tty.setraw(other)
    try:
        yield end, os.ttyname(other)
    finally:
        os.close(end)
        os.close(other)


def test_two_programs_do_not_share_an_adapter() -> None:
    with adapter() as (end, path):
        first = open_can("can0", f"slcan:{path}", 1_000_000)
        os.read(end, 256)
        with pytest.raises(TransportLost, match="in use by another program"):
            open_can("other", f"slcan:{path}", 1_000_000)
        with pytest.raises(TransportLost, match="cannot open"):
            open_serial("other", f"serial:{path}", 115_200)
        assert not select.select([end], [], [], 0.05)[0], (
            "the second has not even closed the first one's channel"
        )
        first.close()
        open_can("can0", f"slcan:{path}", 1_000_000).close()


@pytest.fixture(scope="module")
def talking() -> Iterator[tuple[int, FrameBus]]:
    """An adapter that is open already, which takes python-can two seconds."""
    with adapter() as (end, path):
        bus = open_can("can0", f"slcan:{path}", 1_000_000)
        os.read(end, 256)
        yield end, bus
        bus.close()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=30).map(lambda b: b.replace(b"\r", b"")), max_size=20))
@example(
    [b"tZZZ8QQ", b"t", b"T", b"t7", b"t7F9", b"t123F00", b"r", b"R123", b"t123\xff", b"\x07", b"z", b"V10"]
)
@example([b"T1FFFFFFF80011", b"t1238001122334455667", b"d1", b"D123456789", b"b0", b"N", b"t1 38\t"])
def test_no_garbled_line_kills_the_bus(talking: tuple[int, FrameBus], lines: list[bytes]) -> None:
    """Whatever stands between two frames, both frames arrive, and nothing is raised."""
    end, bus = talking
    os.write(end, b"t701105\r" + b"".join(line + b"\r" for line in lines) + b"\rt702142\r")
    seen = []
    until = time.monotonic() + 10
    while not seen or seen[-1].can_id != 0x702 or seen[-1].data != b"\x42":
        seen.append(bus.recv(until))
    assert (seen[0].can_id, seen[0].data) == (0x701, b"\x05")
    assert all(len(frame.data) <= 8 for frame in seen)


def test_a_line_that_never_ends_is_given_up() -> None:
    with adapter() as (end, path):
        bus = open_can("can0", f"slcan:{path}", 1_000_000)
        os.read(end, 256)
        os.write(end, b"t" * 1000)
        with pytest.raises(TransportTimeout):
            bus.recv(time.monotonic() + 0.05)
        os.write(end, b"\rt702142\r")
        assert bus.recv(time.monotonic() + 10).data == b"\x42"
        assert bus.counters["garbled"] >= 1
        bus.close()


def test_an_adapter_that_only_talks_nonsense_is_lost() -> None:
    with adapter() as (end, path):
        bus = open_can("can0", f"slcan:{path}", 1_000_000)
        os.write(end, b"tQQQ8\r" * 200)
        with pytest.raises(TransportLost):
            bus.recv(time.monotonic() + 10)
        bus.close()
