"""Rigid bodies that another process turns, one UDP datagram a step.

The plant asks, the simulator's plug-in answers (``ros_ws/src/pilotbench_gazebo/src/lockstep.hh`` is the other end), and
nothing moves in between, so the result does not depend on how fast either of them is. A request carries a number; when
no answer comes it is sent again with the same number, and the plug-in answers a number it has seen without moving. So
a lost datagram costs time and nothing else.

Life: `Meeting` listens on a port of its own; the simulator's server is started with `Meeting.address` in its environment
and announces itself there; `Meeting.meet` makes it `DatagramBodies`. Who does not answer is given up within a second,
unless it was given no processor: a loaded machine is slow, not broken.
"""

from __future__ import annotations

import os
import secrets
import socket
import struct
import time
from collections.abc import Sequence
from typing import Protocol, Self

from .rigid import BodiesLost

#: Environment variable of a simulator's server: ADDRESS:PORT:SESSION.
ADDRESS_VARIABLE = "PILOTBENCH_BODIES"
MAGIC = 0x31424750  # "PGB1"
STEP, RESET, LEAVE, ANNOUNCE, STATE = 1, 2, 3, 4, 5
_HEAD = struct.Struct("<IHHQ")  # magic, kind, number of bodies, session
_ANY_STATE = struct.Struct("<QQdd")  # number of the request, steps and seconds since reset, step in seconds
#: So long it is looked for the answer before this thread sleeps. The answer takes 50 µs, and on a virtual machine so does waking up:
#: twice the steps a second, for less processor time.
_LOOK_S = 2e-4
#: So long for an answer; then the request is sent again.
_REPEAT_S = 0.1
#: So long without an answer, by a server that could have worked, and so much longer for each step asked for.
GIVE_UP_S, _GIVE_UP_PER_STEP_S = 0.7, 1e-3
#: However little of a processor it was given.
_LONGEST_S = 60.0


class Engine(Protocol):
    """The simulator's server as a process, seen from here."""

    def how_it_ended(self) -> str:
        """One phrase; empty while it lives."""
        ...

    def processor_s(self) -> float:
        """Processor time it has used so far."""
        ...

    def wants_processor(self) -> bool:
        """Whether any of its threads could run now."""
        ...

    def close(self) -> None:
        """End it. Idempotent."""
        ...


class Meeting:
    """A port on which a server that is about to be started may announce itself."""

    def __init__(self, bodies: int) -> None:
        self._bodies = bodies
        self._session = secrets.randbits(64)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        host, port = self._socket.getsockname()
        self.address = f"{host}:{port}:{self._session:x}"

    def meet(self, engine: Engine, timeout_s: float) -> DatagramBodies:
        """Wait for the announcement. Raises BodiesLost when the server ends or does not come."""
        deadline_s = time.monotonic() + timeout_s
        self._socket.settimeout(_REPEAT_S)
        expected = _HEAD.pack(MAGIC, ANNOUNCE, self._bodies, self._session)
        while time.monotonic() < deadline_s:
            try:
                datagram, sender = self._socket.recvfrom(1024)
            except TimeoutError:
                ended = engine.how_it_ended()
                if ended:
                    raise BodiesLost(ended) from None
                continue
            if (
                datagram.startswith(expected)
                and len(datagram) == _HEAD.size + _ANY_STATE.size + 16 * self._bodies
            ):
                self._socket.connect(sender)
                step_s = _ANY_STATE.unpack_from(datagram, _HEAD.size)[3]
                return DatagramBodies(self._socket, self._session, self._bodies, step_s, engine)
        raise BodiesLost(f"the simulator's plug-in did not announce itself within {timeout_s:g} s")

    def close(self) -> None:
        """Only when `meet` has failed: afterwards the socket is the bodies'."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.close()


class DatagramBodies:
    """Implements `RigidBodies`. Made by `Meeting.meet`; owned by one thread."""

    def __init__(
        self, connected: socket.socket, session: int, bodies: int, step_s: float, engine: Engine
    ) -> None:
        self.step_s = step_s
        self._engine, self._socket = engine, connected
        connected.setblocking(True)
        repeat = struct.pack("@ll", 0, round(_REPEAT_S * 1e6))  # one system call a datagram, not two
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, repeat)
        self._session, self._bodies, self._sequence = session, bodies, 0
        self._order = struct.Struct(f"<QQ{bodies}d")  # number, steps, efforts
        self._state = struct.Struct(f"<QQdd{2 * bodies}d")
        self._request = bytearray(_HEAD.size + self._order.size)
        _HEAD.pack_into(self._request, 0, MAGIC, STEP, bodies, session)
        self._reply = bytearray(1024)
        self._reply_head = memoryview(self._reply)[: _HEAD.size]
        self._reply_size = _HEAD.size + self._state.size
        self._expected = _HEAD.pack(MAGIC, STATE, bodies, session)

    def step(
        self, efforts: Sequence[float], n: int = 1
    ) -> tuple[float, tuple[float, ...], tuple[float, ...]]:
        """See `RigidBodies.step`."""
        self._sequence += 1
        self._order.pack_into(self._request, 16, self._sequence, n, *efforts)
        _, _, t_s, _, *state = self._ask(n)
        return t_s, tuple(state[: self._bodies]), tuple(state[self._bodies :])

    def reset(self) -> None:
        """See `RigidBodies.reset`."""
        self._sequence += 1
        _HEAD.pack_into(self._request, 0, MAGIC, RESET, self._bodies, self._session)
        self._order.pack_into(self._request, 16, self._sequence, 0, *[0.0] * self._bodies)
        try:
            self._ask(0)
        finally:
            _HEAD.pack_into(self._request, 0, MAGIC, STEP, self._bodies, self._session)

    def close(self) -> None:
        """See `RigidBodies.close`. The server ends, too."""
        if self._socket.fileno() >= 0:
            self._socket.close()
            self._engine.close()

    def _ask(self, steps: int) -> tuple[float, ...]:
        """Send the request, again while no answer comes. Raises BodiesLost."""
        patience: _Patience | None = None
        while True:
            try:
                self._socket.send(self._request)
                return self._answer()
            except BlockingIOError:  # nothing came for _REPEAT_S
                patience = patience or _Patience(self._engine, steps)
                patience.check()
            except OSError as error:  # the kernel: nobody has that port any more; or it was closed here
                time.sleep(0.05)  # its exit code may not be there yet
                raise BodiesLost(
                    self._engine.how_it_ended() or f"the simulator is gone ({error.strerror})"
                ) from None

    def _answer(self) -> tuple[float, ...]:
        """The reply to the last request; late ones to repeated requests are left out."""
        look_until_s = time.perf_counter() + _LOOK_S
        while True:
            looking = time.perf_counter() < look_until_s
            try:
                size = self._socket.recv_into(self._reply, 0, socket.MSG_DONTWAIT if looking else 0)
            except BlockingIOError:
                if not looking:
                    raise
                os.sched_yield()  # the simulator may need this very processor
                continue
            if size == self._reply_size and self._reply_head == self._expected:
                state = self._state.unpack_from(self._reply, 16)
                if state[0] == self._sequence:
                    return state


class _Patience:
    """Counts the time in which a silent server could have worked: slept, was stopped, or used a processor."""

    def __init__(self, engine: Engine, steps: int) -> None:
        self._engine, self._limit_s = engine, GIVE_UP_S + steps * _GIVE_UP_PER_STEP_S
        self._begun_s = self._seen_s = time.monotonic() - _REPEAT_S
        self._used_s, self._idle_s = engine.processor_s(), 0.0

    def check(self) -> None:
        """Raises BodiesLost when that is more than anybody needs."""
        ended = self._engine.how_it_ended()
        if ended:
            raise BodiesLost(ended)
        now_s = time.monotonic()
        if not self._engine.wants_processor():
            self._idle_s += now_s - self._seen_s
        self._seen_s = now_s
        worked_s = self._engine.processor_s() - self._used_s
        if self._idle_s + worked_s > self._limit_s or now_s - self._begun_s > _LONGEST_S:
            raise BodiesLost(
                f"the simulator has not answered for {now_s - self._begun_s:.1f} s "
                f"(of which it worked {worked_s:.1f} s and stood still {self._idle_s:.1f} s)"
            )
