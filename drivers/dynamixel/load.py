"""How much of a cycle the line is in use, and whether that leaves time enough."""

from __future__ import annotations

from collections.abc import Sequence

from drivers.device import DriverError
from drivers.dynamixel.codec import FAST_BYTES, FAST_PREFIX_BYTES, STATUS_BYTES
from drivers.dynamixel.master import BITS_PER_BYTE, LATENCY_S
from drivers.dynamixel.servo import DynamixelServo

LARGEST_LOAD = 0.8
_PACKET_BYTES = 14  # of an instruction to all, without what it says of each


def line_load(servos: Sequence[DynamixelServo], baudrate: int, period_s: float) -> float:
    """Share of a cycle of `period_s` that its bytes and the servos' return delays (known once they are identified) take."""
    fast = all(servo.fast for servo in servos)
    request = 2 * _PACKET_BYTES + sum(5 + 9 for _ in servos)
    answers = sum((FAST_BYTES if fast else STATUS_BYTES) + s.layout.size + 1 for s in servos)
    delays = [servo.return_delay_s for servo in servos]
    waits = max(delays, default=0.0) if fast else sum(delays)
    wire = (request + answers + FAST_PREFIX_BYTES * fast) * BITS_PER_BYTE / baudrate
    return (wire + waits) / period_s


def check_speed(line: str, load: float, adapter_s: float, period_s: float) -> None:
    """Raises DriverError when a cycle would be too short for its `load`, or for an adapter that holds answers back for `adapter_s`."""
    if load > LARGEST_LOAD:
        raise DriverError(
            line,
            f"a cycle would take {load:.0%} of its time with the servos' return delay",
            "set return delay time to 0, raise the baud rate or the cycle time",
        )
    if adapter_s > LATENCY_S and adapter_s > LARGEST_LOAD * period_s:
        raise DriverError(
            line,
            f"the adapter holds answers back for up to {adapter_s * 1000 - 1:.0f} ms of a cycle of {period_s * 1000:g} ms",
            "set its latency timer to 1 ms (see the warning of the start)",
        )
