"""What takes several transactions with one servo, written as one: a generator that yields requests and is sent statuses.

At the start a script runs to its end; in a cycle it is moved on by one transaction, so that identifying a device that
came back, or switching one on, never costs the others more than that.

What is written is read back. A write whose status is lost is not repeated: reading back says whether it was carried out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass

from drivers.device import ProtocolViolation, TransportTimeout
from drivers.dynamixel import codec
from drivers.dynamixel.codec import Status
from drivers.dynamixel.model import Register


@dataclass(frozen=True, slots=True)
class Step:
    """One request to one device, answered with `size` bytes of data. Only what reads may be `repeatable`."""

    request: bytes
    size: int
    repeatable: bool = False


Script = Generator[Step, Status, None]


def ping(number: int) -> Generator[Step, Status, tuple[int, int]]:
    """(model number, firmware)."""
    status = yield Step(codec.ping(number), 3, repeatable=True)
    return int.from_bytes(status.data[:2], "little"), status.data[2]


def fetch(number: int, register: Register) -> Generator[Step, Status, int]:
    status = yield Step(codec.read(number, register.address, register.size), register.size, repeatable=True)
    return register.unpack(status.data)


def store(device: str, number: int, register: Register, value: int) -> Generator[Step, Status, None]:
    """Write once and read back. Raises ProtocolViolation when another value stands there afterwards."""
    with contextlib.suppress(TransportTimeout, ProtocolViolation):  # reading back tells
        yield Step(codec.write(number, register.address, register.pack(value)), 0)
    found = yield from fetch(number, register)
    if found != value:
        raise ProtocolViolation(
            device, f"register {register.name} is {found} after {value} was written", "see its manual"
        )


def ensure(device: str, number: int, register: Register, value: int) -> Generator[Step, Status, int]:
    """Write only what differs, so that EEPROM is spared; returns what stood there before."""
    found = yield from fetch(number, register)
    if found != value:
        yield from store(device, number, register, value)
    return found


def ensure_bytes(device: str, number: int, address: int, data: bytes) -> Generator[Step, Status, bool]:
    """As `ensure` for consecutive registers; whether something was written."""
    read = Step(codec.read(number, address, len(data)), len(data), repeatable=True)
    status = yield read
    if status.data == data:
        return False
    with contextlib.suppress(TransportTimeout, ProtocolViolation):
        yield Step(codec.write(number, address, data), 0)
    status = yield read
    if status.data != data:
        raise ProtocolViolation(device, f"addresses from {address} do not keep what was written to them")
    return True
