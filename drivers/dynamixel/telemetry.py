"""What is read from every servo in every cycle, in one block, and whether a block is of this cycle.

The block is put together by the device's indirect addresses, so that servos of one series are read by one Sync Read: its
millisecond clock, torque enable, hardware error, bus watchdog, and the present values. So every sample carries the proof
that the device still is what was set up at the start: after a restart its bus watchdog is 0 and its pointers are gone.

The servo's clock tells a late answer from a new one: its distance to the host's is smallest when nothing is held up; a
block whose distance is smaller than that by more than clocks can run apart was sampled before it was asked for. Where
cycles are too short for that, blocks are asked for with one byte more in every other one, so that the length of an answer says
to which of two cycles it belongs.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable

from drivers.device import ProtocolViolation
from drivers.dynamixel.model import DynamixelModel

#: What a servo says of itself, then what it measures.
_STATE = ("realtime_tick", "torque_enable", "hardware_error", "bus_watchdog")
_PRESENT = ("present_current", "present_velocity", "present_position")
_FORMATS = {(1, False): "B", (1, True): "b", (2, False): "H", (2, True): "h", (4, True): "i", (4, False): "I"}
_TICKS = 32768
#: One digit of the device's clock, and what the answer's place in the row of answers may shift.
TOLERANCE_MS = 3.0
#: Cycles below this are too short for the clock to tell one from the next.
SHORT_S = (TOLERANCE_MS + 1.5) / 1000.0
#: Clocks of microcontrollers run apart by less than this.
DRIFT = 0.02
#: An instruction is not held up so long; a clock that began anew may look like this.
_JUMP_MS = 1000.0


class BlockLayout:
    """Registers in the order of the block. Raises ValueError when there are too few indirect addresses."""

    def __init__(self, model: DynamixelModel, signals: Iterable[str] = ()) -> None:
        asked = {model.readings[signal].register for signal in signals}
        names = [*_STATE, *_PRESENT, *sorted(asked - set(_PRESENT))]
        registers = [model.registers[name] for name in names]
        self._struct = struct.Struct("<" + "".join(_FORMATS[r.size, r.signed] for r in registers))
        self.size = self._struct.size
        self.address = model.indirect.data
        if self.size >= model.indirect.count:
            raise ValueError(
                f"{model.name}: a block of {self.size + 1} bytes, but {model.indirect.count} indirect addresses"
            )
        places = [address for r in registers for address in range(r.address, r.address + r.size)]
        self.pointers = b"".join(place.to_bytes(2, "little") for place in places)
        self._signals = tuple(
            (signal, names.index(reading.register), reading.digit, reading.offset)
            for signal, reading in model.readings.items()
            if reading.register in names
        )

    def unpack(self, data: bytes) -> tuple[int, ...]:
        """Tick in ms, torque enable, hardware error, bus watchdog, and the numbers for `values`.

        Raises struct.error for too short a block.
        """
        return self._struct.unpack_from(data)

    def values(self, digits: tuple[int, ...], into: dict[str, float]) -> None:
        """Present values, SI."""
        for signal, at, digit, offset in self._signals:
            into[signal] = digits[at] * digit + offset


class DeviceClock:
    """Tells whether a block can be the answer to a request of a certain time."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """The device has been asked anew who it is, nothing older is under way: its next block counts."""
        self._last_s, self._distance_ms = math.nan, 0.0

    def check(self, device: str, tick_ms: int, asked_s: float) -> None:
        """Raises ProtocolViolation for a block that was sampled before `asked_s`, when its request had arrived."""
        distance_ms = (tick_ms - 1000.0 * asked_s) % _TICKS
        if not math.isnan(self._last_s):
            behind_ms = (self._distance_ms - distance_ms + 0.5 * _TICKS) % _TICKS - 0.5 * _TICKS
            allowed_ms = 1000.0 * DRIFT * (asked_s - self._last_s)
            if behind_ms > TOLERANCE_MS + allowed_ms:
                raise ProtocolViolation(device, f"its sample is {behind_ms:.0f} ms too old")
            if behind_ms < -_JUMP_MS:
                raise ProtocolViolation(device, f"its clock has jumped by {-behind_ms:.0f} ms")
            if behind_ms < -allowed_ms:  # held up on its way, or a clock that runs fast
                distance_ms = (self._distance_ms + allowed_ms) % _TICKS
        self._last_s, self._distance_ms = asked_s, distance_ms
