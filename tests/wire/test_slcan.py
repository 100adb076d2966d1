"""A LAWICEL adapter on a pty: frames pass, a garbled line is counted, a pulled cable is a lost transport."""

from __future__ import annotations

import os
import time
import tty

import pytest

from drivers.bus.can_bus import open_can
from drivers.bus.frame import Frame
from drivers.device import TransportLost


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
