"""One opener for every byte stream; TCP against a peer that stalls, splits and dies."""

from __future__ import annotations

import os
import socket
import threading
import time
import tty
from collections import deque
from collections.abc import Iterator
from itertools import islice

import pytest

from drivers import clock
from drivers.bus.byte_streams import SCHEMES, open_stream
from drivers.bus.serial_stream import SerialStream
from drivers.bus.tcp_stream import TcpStream
from drivers.device import TransportLost, TransportTimeout


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    server = socket.create_server(("127.0.0.1", 0))
    yield server
    server.close()


@pytest.fixture
def pair(listener: socket.socket) -> Iterator[tuple[TcpStream, socket.socket]]:
    stream = open_stream("analyser", f"tcp:127.0.0.1:{listener.getsockname()[1]}", 115_200)
    assert isinstance(stream, TcpStream)
    peer, _ = listener.accept()
    yield stream, peer
    stream.close()
    peer.close()


def test_bytes_pass_both_ways_and_what_came_stays_readable(pair: tuple[TcpStream, socket.socket]) -> None:
    stream, peer = pair
    stream.write(b"*IDN?\n")
    assert peer.recv(100) == b"*IDN?\n"
    peer.sendall(b"ab")
    with pytest.raises(TransportTimeout, match="analyser: 2 of 3 bytes"):
        stream.read_exactly(3, clock.now() + 0.05)
    peer.sendall(b"cd")
    assert stream.read_exactly(4, clock.now() + 5) == b"abcd"
    peer.sendall(b"stray")
    assert stream.read_exactly(1, clock.now() + 5) == b"s"
    assert stream.drain() == 4
    assert stream.baudrate == 115_200


def test_the_connection_asks_whether_the_peer_is_still_there(pair: tuple[TcpStream, socket.socket]) -> None:
    options = pair[0]._socket
    assert options.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert options.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert options.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 1
    assert options.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 3000


@pytest.mark.faults
def test_a_peer_that_closes_is_a_lost_transport(pair: tuple[TcpStream, socket.socket]) -> None:
    stream, peer = pair
    peer.sendall(b"last")
    peer.close()
    assert stream.read_exactly(4, clock.now() + 5) == b"last", "what was sent before is still there"
    with pytest.raises(TransportLost, match="analyser: connection is gone"):
        stream.read_exactly(1, clock.now() + 5)
    with pytest.raises(TransportLost):
        stream.drain()


@pytest.mark.faults
def test_a_peer_that_resets_is_a_lost_transport_for_the_writer_too(
    pair: tuple[TcpStream, socket.socket],
) -> None:
    stream, peer = pair
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
    writes = iter(lambda: stream.write(b"x"), 1)
    with pytest.raises(TransportLost, match="analyser: connection is gone"):
        deque(islice(writes, 10), maxlen=0)


@pytest.mark.faults
def test_a_peer_that_reads_nothing_is_a_time_out(pair: tuple[TcpStream, socket.socket]) -> None:
    stream, _ = pair
    writes = iter(lambda: stream.write(bytes(1 << 20)), 1)
    with pytest.raises(TransportTimeout, match="transmit buffer stays full"):
        deque(islice(writes, 200), maxlen=0)


def test_after_closing_it_is_gone(pair: tuple[TcpStream, socket.socket]) -> None:
    stream, _ = pair
    stream.close()
    with pytest.raises(TransportLost):
        stream.write(b"x")


def test_ipv6_and_serial_by_the_same_opener() -> None:
    server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    stream = open_stream("scpi", f"tcp:[::1]:{server.getsockname()[1]}", 9600)
    stream.close()
    server.close()
    end, other = os.openpty()
    tty.setraw(other)
    line = open_stream("rs485", f"serial:{os.ttyname(other)}@19200,8N1", 9600)
    assert isinstance(line, SerialStream)
    assert line.baudrate == 19_200
    assert line.bits_per_byte == 10.0
    line.close()
    os.close(end)
    os.close(other)


@pytest.mark.parametrize(
    "uri",
    [
        "serial:/dev/no-such-port",
        "serial:",
        "token-ring:1",
        "",
        "tcp:127.0.0.1",
        "tcp:127.0.0.1:0",
        "tcp:127.0.0.1:70000",
        "tcp:::1:80",
        "tcp:no-such-host.invalid:5025",
        "record:x",
        "record:|serial:/dev/null",
        "record:/no such folder/x.log|serial:/dev/null",
        "record:x.log|token-ring:1",
        "replay:no-such-file.log",
    ],
)
def test_what_cannot_be_opened_is_one_clear_line(uri: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(TransportLost) as caught:
        open_stream("rs485", uri, 115_200)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("rs485: ")


def test_nobody_listens(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    with pytest.raises(TransportLost, match=f"cannot connect to tcp:127.0.0.1:{port}"):
        open_stream("scpi", f"tcp:127.0.0.1:{port}", 9600)


def test_a_test_may_add_a_scheme_of_its_own(
    monkeypatch: pytest.MonkeyPatch, pair: tuple[TcpStream, socket.socket]
) -> None:
    monkeypatch.setitem(SCHEMES, "mine", lambda name, uri, baudrate: pair[0])
    assert open_stream("x", "mine:whatever", 1) is pair[0]


def test_a_reader_is_woken_by_the_bytes_not_by_the_deadline(pair: tuple[TcpStream, socket.socket]) -> None:
    stream, peer = pair
    threading.Timer(0.05, peer.sendall, (b"x",)).start()
    begin = clock.now()
    assert stream.read_exactly(1, begin + 30) == b"x"
    assert clock.now() - begin < 10


def test_bytes_sooner_than_they_are_due_wake_the_reader(pair: tuple[TcpStream, socket.socket]) -> None:
    stream, peer = pair
    threading.Timer(0.05, peer.sendall, (b"xy",)).start()
    begin = clock.now()
    assert stream.read_exactly(2, begin + 30, begin + 20) == b"xy"
    assert clock.now() - begin < 10


def test_bytes_later_than_they_are_due_are_waited_for_until_the_deadline(
    pair: tuple[TcpStream, socket.socket],
) -> None:
    stream, peer = pair
    begin = clock.now()
    with pytest.raises(TransportTimeout, match="0 of 2 bytes"):
        stream.read_exactly(2, begin + 0.02, begin + 0.01)
    assert clock.now() >= begin + 0.02
    threading.Timer(0.05, peer.sendall, (b"xy",)).start()
    begin = clock.now()
    assert stream.read_exactly(2, begin + 30, begin + 0.001) == b"xy"


def test_a_line_is_not_watched_for_longer_than_a_moment(pair: tuple[TcpStream, socket.socket]) -> None:
    stream, _ = pair
    begin_s, used_s = clock.now(), time.thread_time()
    with pytest.raises(TransportTimeout):
        stream.read_exactly(2, begin_s + 0.2, begin_s + 0.1)
    assert time.thread_time() - used_s < 0.05
