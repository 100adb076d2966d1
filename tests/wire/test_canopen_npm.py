"""The CANopen stack of another house, npm `canopen`, on both ends of an slcan line: as slave under our master, and as
master over our emulated drive.

It is installed by `npm ci --ignore-scripts` in ``tests/wire/peers`` (Node 12 or newer).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.bus.can_bus import open_can
from drivers.bus.frame import Frame
from drivers.bus.transport import FrameBus
from drivers.bus.unix_bus import UnixFrameBus
from drivers.canopen.cia402 import State, state_of
from drivers.canopen.codec import HEARTBEAT_BASE, NmtCommand, NmtState, SdoAbort, heartbeat, nmt
from drivers.canopen.sdo import SdoClient
from drivers.device import TransportLost, TransportTimeout

PEERS = Path(__file__).parent / "peers"


def peer_missing() -> str | None:
    if shutil.which("node") is None:
        return "node is not installed"
    if not (PEERS / "node_modules" / "canopen").is_dir():
        return "npm package canopen is not installed: run `npm ci --ignore-scripts` in tests/wire/peers"
    return None


@pytest.fixture(autouse=True)
def _peer_is_there() -> None:
    missing = peer_missing()
    if missing is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)


class Peer:
    """The Node process on one end of a pty; `path` is the other end."""

    def __init__(self, role: str, node: int) -> None:
        self.wire, end = os.openpty()
        tty.setraw(self.wire)
        tty.setraw(end)
        self.path = os.ttyname(end)
        self._end = end
        script = str(PEERS / "canopen_peer.js")
        self.process = subprocess.Popen(
            ["node", script, role, str(node), str(self.wire)],
            pass_fds=(self.wire,),
            stdout=subprocess.PIPE,
            text=True,
        )
        self.told: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.told.append(json.loads(line))
                self._changed.notify_all()

    def wait(self, timeout_s: float = 20.0, **wanted: Any) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            return next((e for e in self.told if wanted.items() <= e.items()), None)

        with self._changed:
            assert self._changed.wait_for(found, timeout_s), f"never {wanted}, but {self.told[-10:]}"
            event = found()
            assert event is not None
            return event

    def forget(self) -> None:
        with self._changed:
            self.told.clear()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        os.close(self.wire)
        os.close(self._end)


@pytest.fixture
def slave() -> Iterator[Peer]:
    peer = Peer("slave", 5)
    try:
        peer.wait(ready=5)
        yield peer
    finally:
        peer.close()


@pytest.fixture
def wire(slave: Peer) -> Iterator[FrameBus]:
    bus = open_can("can0", f"slcan:{slave.path}", 1_000_000)
    yield bus
    with contextlib.suppress(TransportLost):
        bus.close()


def client(bus: FrameBus, heard: list[Frame] | None = None) -> SdoClient:
    return SdoClient(bus, "EN9", 5, (heard if heard is not None else []).append, timeout_s=3.0)


def test_our_sdo_client_on_their_server(wire: FrameBus) -> None:
    sdo = client(wire)
    assert [sdo.read_number(0x1018, n, "u32") for n in (1, 2, 3, 4)] == [0x11223344, 7, 2, 4711]
    assert sdo.read_text(0x1008) == "a peer of another house, longer than one segment"
    assert sdo.read_number(0x2001, 0, "i32") == -5
    sdo.write_verified(0x2000, 0, "u16", 54321)
    sdo.download(0x2002, 0, b"eleven bytes or more, in segments")
    assert sdo.read_text(0x2002) == "eleven bytes or more, in segments"


def test_their_aborts_are_understood(wire: FrameBus) -> None:
    sdo = client(wire)
    with pytest.raises(SdoAbort, match="object does not exist"):
        sdo.upload(0x7777)
    with pytest.raises(SdoAbort, match="read-only"):
        sdo.download(0x2001, 0, bytes(4))
    assert sdo.read_number(0x2000, 0, "u16") == 1000, "and the next transfer is not disturbed"


def heard_state(bus: FrameBus, state: NmtState) -> None:
    until = time.monotonic() + 5.0
    while True:
        frame = bus.recv(until)
        if frame.can_id == HEARTBEAT_BASE + 5 and frame.data == bytes((state,)):
            return


def test_nmt_and_their_heartbeat(wire: FrameBus) -> None:
    for command, state in (
        (NmtCommand.START, NmtState.OPERATIONAL),
        (NmtCommand.PRE_OPERATIONAL, NmtState.PRE_OPERATIONAL),
        (NmtCommand.STOP, NmtState.STOPPED),
    ):
        wire.send(nmt(command, 5))
        heard_state(wire, state)
    with pytest.raises(TransportTimeout):
        SdoClient(wire, "EN9", 5, lambda _: None, timeout_s=0.3).upload(0x1018, 1)


def test_they_miss_our_heartbeat(slave: Peer, wire: FrameBus) -> None:
    wire.send(heartbeat(127, NmtState.OPERATIONAL))
    slave.wait(heartbeat=127, state=5)
    slave.wait(timeout=127)


def test_their_master_over_our_drive(bench: Any) -> None:
    peer = Peer("master", 1)
    bus = UnixFrameBus("can0", bench.can_uri.removeprefix("unix:"))
    stop = threading.Event()
    line = os.open(peer.path, os.O_RDWR | os.O_NOCTTY)

    def bridge() -> None:
        """An slcan adapter on the emulated bus."""
        text = b""
        while not stop.is_set():
            if select.select((line, bus._socket), (), (), 0.05)[0]:
                while (frame := bus.poll()) is not None:
                    os.write(line, f"t{frame.can_id:03X}{len(frame.data)}{frame.data.hex()}\r".encode())
                if select.select((line,), (), (), 0)[0]:
                    *lines, text = (text + os.read(line, 4096)).split(b"\r")
                    for command in lines:
                        bus.send(Frame(int(command[1:4], 16), bytes.fromhex(command[5:].decode())))

    thread = threading.Thread(target=bridge)
    thread.start()
    try:
        peer.wait(done=True)
        said = {key: value for event in peer.told for key, value in event.items()}
        assert (said["type"], said["name"], said["serial"]) == (0x00020192, "PB-SD1-4-23", 101)
        assert said["producer"] == 20
        assert said["abort"] == 0x06020000
        states = [state_of(event["statusword"]) for event in peer.told if "statusword" in event]
        assert states == [
            State.READY_TO_SWITCH_ON,
            State.SWITCHED_ON,
            State.OPERATION_ENABLED,
            State.SWITCH_ON_DISABLED,
        ]
        assert [e[1] for e in bench.power if e[0] == "AX1"] == [True, False]
    finally:
        stop.set()
        thread.join(5)
        os.close(line)
        bus.close()
        peer.close()
