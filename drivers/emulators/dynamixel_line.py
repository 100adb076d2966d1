"""A serial line of emulated Dynamixel servos on a pseudo-terminal: instructions, turns to answer, time on the wire.

An instruction is carried out when its last byte has arrived at the baud rate; a status begins after the device's return
delay and is there when its own bytes have passed. In answer to Sync and Bulk Read every device waits for the one named
before it: behind a device that does not answer all others are silent (ROBOTIS, DynamixelSDK issue 364).
"""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from drivers.bus.event_loop import EventLoop
from drivers.dynamixel.codec import (
    BROADCAST,
    Instruction,
    Packet,
    Refusal,
    Status,
    fast_segments,
    pack_status,
    unpack,
)
from drivers.dynamixel.framing import Splitter
from drivers.emulators.dynamixel_servo import EmulatedDynamixel, Refused
from drivers.emulators.pty_line import PtyLine

#: A pause within a packet ends it.
_PAUSE_S = 0.02
_LONGEST = 1024
#: Status return level from which an instruction is answered; all others from 2.
_LEVELS: Mapping[int, int] = {Instruction.PING: 0, Instruction.READ: 1}
#: Turns a frame into what comes of it on the wire: pieces and how much later each arrives.
Disturb = Callable[[bytes], Iterable[tuple[float, bytes]]]


class DynamixelLine:
    """Implements `drivers.emulators.host.EmulatedLine`.

    `paced=False`: no time on the wire, for finding out what a master itself costs. `disturb_answers` and
    `disturb_instructions` are for fault tests.
    """

    def __init__(
        self,
        loop: EventLoop,
        advance: Callable[[float], None],
        servos: Sequence[EmulatedDynamixel],
        baudrate: int,
        *,
        paced: bool = True,
    ) -> None:
        self._loop, self._advance, self.servos = loop, advance, tuple(servos)
        self._baudrate = baudrate
        self._splitter = Splitter(_LONGEST)
        self._heard_s = self._received_s = -math.inf
        self._timer_s = math.inf
        self.disturb_answers: Disturb | None = None
        self.disturb_instructions: Disturb | None = None
        self.instructions: list[Packet] = []  # what arrived in order, for tests
        self._line = PtyLine(loop, baudrate, self._on_bytes)
        self._byte_s = self._line.byte_s if paced else 0.0
        self.uri, self.path, self.close = self._line.uri, self._line.path, self._line.close

    def excuse(self, frozen_s: float) -> None:
        for servo in self.servos:
            servo.excuse(frozen_s)

    # ── bytes ──

    def _on_bytes(self, chunk: bytes, now_s: float) -> None:
        if self.disturb_instructions is None:
            self._receive(chunk, now_s)
            return
        for delay_s, piece in self.disturb_instructions(chunk):
            if delay_s <= 0.0:
                self._receive(piece, now_s)
            else:
                self._loop.call_at(now_s + delay_s, partial(self._receive, piece))

    def _receive(self, chunk: bytes, now_s: float) -> None:
        if now_s - self._heard_s > _PAUSE_S:
            self._splitter.clear()
        self._heard_s = now_s
        self._splitter.feed(chunk)
        while (raw := self._splitter.next()) is not None:
            self._received_s = max(self._received_s, now_s) + len(raw) * self._byte_s
            self._at(self._received_s, partial(self._obey, unpack(raw)))
        for device in self._splitter.take_garbled():
            self._complain(device, max(self._received_s, now_s))

    def _complain(self, device: int, now_s: float) -> None:
        """A device that finds its id in a packet with a wrong CRC says so."""
        for servo in self._named(device):
            self._send_at(now_s + servo.return_delay_s, pack_status(servo.id, Refusal.CRC | servo.alert))

    def _send_at(self, begin_s: float, frame: bytes) -> float:
        """Send what begins at `begin_s`; returns when it has passed."""
        end_s = begin_s + len(frame) * self._byte_s
        for delay_s, piece in (
            ((0.0, frame),) if self.disturb_answers is None else self.disturb_answers(frame)
        ):
            self._at(end_s + delay_s, partial(self._send, piece))
        return end_s

    def _send(self, frame: bytes, now_s: float) -> None:
        self._line.send(frame)

    def _at(self, when_s: float, action: Callable[[float], None]) -> None:
        """Everything on a paced line goes through the loop's timers, which keep the order."""
        now_s = self._loop.clock()
        if self._byte_s == 0.0 and when_s <= now_s:
            action(now_s)
        else:
            self._loop.call_at(when_s, action)

    # ── instructions ──

    def _named(self, device: int | None) -> list[EmulatedDynamixel]:
        return [servo for servo in self._listening() if servo.id == device]

    def _listening(self) -> list[EmulatedDynamixel]:
        return [servo for servo in self.servos if servo.baudrate == self._baudrate]

    def _obey(self, packet: Packet, now_s: float) -> None:
        if packet.instruction == Instruction.STATUS:
            return
        self._advance(now_s)
        self.instructions.append(packet)
        for servo in self._listening():
            servo.heard(now_s)
        with contextlib.suppress(struct.error):  # parameters of an impossible length: nobody answers to all
            match packet.instruction:
                case Instruction.SYNC_READ | Instruction.FAST_SYNC_READ:
                    address, size = struct.unpack_from("<HH", packet.parameters)
                    self._answer_in_turn(packet, [(d, address, size) for d in packet.parameters[4:]], now_s)
                case Instruction.BULK_READ | Instruction.FAST_BULK_READ:
                    self._answer_in_turn(packet, list(struct.iter_unpack("<BHH", packet.parameters)), now_s)
                case Instruction.SYNC_WRITE:
                    self._sync_write(packet.parameters, now_s)
                case Instruction.BULK_WRITE:
                    self._bulk_write(packet.parameters, now_s)
                case _:
                    self._single(packet, now_s)
        self._watch(now_s)

    def _single(self, packet: Packet, now_s: float) -> None:
        """An instruction to one device, or to all of them."""
        everybody = packet.id == BROADCAST
        end_s = now_s
        for servo in sorted(self._listening() if everybody else self._named(packet.id), key=lambda s: s.id):
            if not servo.answers(now_s):
                continue
            device, delay_s, level = servo.id, servo.return_delay_s, servo.get("status_return_level")
            status = _carry_out(servo, packet, now_s, everybody=everybody)
            wanted = _LEVELS.get(packet.instruction, 2)
            silent = everybody and packet.instruction != Instruction.PING
            if not silent and wanted <= max(level, servo.get("status_return_level")):
                end_s = self._send_at(end_s + delay_s, pack_status(device, status.error, status.data))

    def _answer_in_turn(self, packet: Packet, blocks: Sequence[tuple[int, int, int]], now_s: float) -> None:
        fast = packet.instruction in (Instruction.FAST_SYNC_READ, Instruction.FAST_BULK_READ)
        statuses: list[Status] = []
        delays: list[float] = []
        for device, address, size in blocks:
            servo = next(iter(self._named(device)), None)
            if servo is None or not servo.answers(now_s) or servo.get("status_return_level") < 1:
                break
            if fast and servo.firmware < servo.model.fast_read_from:
                break
            try:
                statuses.append(Status(device, servo.alert, servo.read(address, size, now_s)))
            except Refused as refused:
                data = bytes(size) if fast else b""
                statuses.append(Status(device, servo.alert | refused.number, data))
            delays.append(servo.return_delay_s)
        frames: Iterable[bytes]
        if fast:
            frames = fast_segments(statuses, [size for _, _, size in blocks])
            delays[1:] = [0.0] * (len(delays) - 1)  # the others fall in at once
        else:
            frames = (pack_status(s.id, s.error, s.data) for s in statuses)
        end_s = now_s
        for frame, delay_s in zip(frames, delays, strict=True):
            end_s = self._send_at(end_s + delay_s, frame)

    def _sync_write(self, parameters: bytes, now_s: float) -> None:
        address, size = struct.unpack_from("<HH", parameters)
        for at in range(4, len(parameters) - size, size + 1):
            self._write(parameters[at], address, parameters[at + 1 : at + 1 + size], now_s)

    def _bulk_write(self, parameters: bytes, now_s: float) -> None:
        at = 0
        while at + 5 <= len(parameters):
            device, address, size = struct.unpack_from("<BHH", parameters, at)
            self._write(device, address, parameters[at + 5 : at + 5 + size], now_s)
            at += 5 + size

    def _write(self, device: int, address: int, data: bytes, now_s: float) -> None:
        for servo in self._named(device):
            if servo.answers(now_s):
                _refusal(partial(servo.write, address, data, now_s))  # nobody is told

    # ── watchdogs ──

    def _watch(self, now_s: float) -> None:
        due_s = min((servo.watchdog_due() for servo in self.servos), default=math.inf)
        if due_s < self._timer_s:
            self._timer_s = due_s
            self._loop.call_at(due_s, self._on_timer)

    def _on_timer(self, now_s: float) -> None:
        if now_s < self._timer_s:
            return  # replaced by an earlier one
        self._timer_s = math.inf
        for servo in self.servos:
            if servo.watchdog_due() <= now_s:
                self._advance(now_s)
                servo.trip(now_s)
        self._watch(now_s)


def _refusal(action: Callable[[], None]) -> Refusal:
    try:
        action()
    except Refused as refused:
        return refused.number
    return Refusal.NONE


def _carry_out(servo: EmulatedDynamixel, packet: Packet, now_s: float, *, everybody: bool) -> Status:
    """Status with the error as it is afterwards."""
    parameters, data = packet.parameters, b""
    refusal = Refusal.NONE
    try:
        match packet.instruction:
            case Instruction.PING:
                data = servo.model.number.to_bytes(2, "little") + bytes((servo.firmware,))
            case Instruction.READ if len(parameters) == 4:
                address, size = struct.unpack("<HH", parameters)
                data = servo.read(address, size, now_s)
            case Instruction.WRITE if len(parameters) > 2:
                servo.write(int.from_bytes(parameters[:2], "little"), parameters[2:], now_s)
            case Instruction.REG_WRITE if len(parameters) > 2:
                servo.register_write(int.from_bytes(parameters[:2], "little"), parameters[2:])
            case Instruction.ACTION:
                servo.action(now_s)
            case Instruction.FACTORY_RESET if len(parameters) == 1:
                if not (everybody and parameters[0] == 0xFF):  # not since firmware 42
                    servo.factory_reset(parameters[0], now_s)
            case Instruction.REBOOT:
                servo.reboot(now_s)
            case Instruction.CLEAR:
                servo.clear(parameters)
            case _:
                refusal = Refusal.INSTRUCTION
    except Refused as refused:
        refusal = refused.number
    return Status(servo.id, servo.alert | refusal, data)
