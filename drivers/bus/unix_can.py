"""The emulated CAN bus as a python-can interface: ``can.Bus(interface="pilotbench",
channel="/run/…/can0.sock")``.

Any program that speaks python-can (``candump``-like viewers, the PyPI `canopen` stack) can join the emulated
bus through this plug-in, on a kernel without vcan and without privileges. On its AF_UNIX SOCK_SEQPACKET socket a
message carries whole ``struct can_frame`` of 16 bytes, so frames are never split.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from collections import deque
from typing import Any

import can

from drivers.bus.frame import FRAME_BYTES, MOST_FRAMES, FdFrame, Frame


class UnixCanBus(can.BusABC):
    """A seat at the hub (`drivers.bus.can_hub`) that listens at the socket path `channel`.

    `fd` as of any python-can interface: without it, CAN FD frames are neither sent nor received.

    Without `fileno`: frames of a message that has been read wait in here, where nobody who polls a descriptor sees them.
    """

    def __init__(self, channel: str, can_filters: Any = None, fd: bool = False, **_ignored: Any) -> None:
        self.channel_info = f"pilotbench CAN hub at {channel}"
        self._arrived: deque[Frame] = deque()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._socket.connect(channel)
        except OSError as error:
            self._socket.close()
            self._is_shutdown = True
            raise can.CanInitializationError(
                f"no CAN hub listens at {channel} ({error.strerror})", error.errno
            ) from error
        self._socket.setblocking(False)
        self._can_protocol = can.CanProtocol.CAN_FD if fd else can.CanProtocol.CAN_20
        self._fd = fd
        super().__init__(channel=channel, can_filters=can_filters)

    def send(self, msg: can.Message, timeout: float | None = None) -> None:
        if msg.is_fd and not self._fd:
            raise can.CanOperationError("a CAN FD frame on a bus that was opened without fd=True")
        kind = FdFrame if msg.is_fd else Frame
        frame = kind(
            msg.arbitration_id, bytes(msg.data), msg.is_extended_id, msg.is_remote_frame, msg.is_error_frame
        )
        try:
            self._socket.send(frame.pack())
        except BlockingIOError as error:
            raise can.CanOperationError(
                "transmit queue of the emulated bus is full", errno.ENOBUFS
            ) from error
        except OSError as error:
            raise can.CanOperationError(f"the CAN hub is gone ({error.strerror})", error.errno) from error

    def _recv_internal(self, timeout: float | None) -> tuple[can.Message | None, bool]:
        if not self._arrived and not self._fetch():
            if timeout is not None and timeout <= 0:
                return None, False
            # poll() would round up to milliseconds
            if not select.select((self._socket,), (), (), timeout)[0] or not self._fetch():
                return None, False
        frame = self._arrived.popleft()
        return can.Message(
            timestamp=time.time(),  # python-can's convention; `CanBus` stamps with the monotonic clock itself
            arbitration_id=frame.can_id,
            is_extended_id=frame.extended or frame.error,
            is_remote_frame=frame.remote,
            is_error_frame=frame.error,
            is_fd=frame.fd,
            bitrate_switch=frame.fd,
            dlc=len(frame.data),
            data=frame.data,
            channel=self.channel_info,
        ), False

    def _fetch(self) -> bool:
        """Take the next message that has a frame; False when there is none."""
        while not self._arrived:
            try:
                message = self._socket.recv(MOST_FRAMES * FRAME_BYTES)
            except BlockingIOError:
                return False
            except OSError as error:
                raise can.CanOperationError(f"the CAN hub is gone ({error.strerror})", error.errno) from error
            if not message:
                raise can.CanOperationError("the CAN hub closed the connection", errno.EPIPE)
            self._arrived.extend(f for f in Frame.split(message)[0] if self._fd or not f.fd)
        return True

    def shutdown(self) -> None:
        super().shutdown()
        self._socket.close()
