"""What a Modbus model table says of a device that gives torque: how it is enabled, told, watched.

Modbus knows no drive profile: every maker has registers of its own for control word, mode, set-points, status and
fault code. What they have in common is data here::

    [control]                     # the registers that are written every cycle, in one block
    function = 0x17               # 17h reads the block of readings with it; 10h or 06h: then they are read after it
    address = 0x2000
    count = 4
    word = 0                      # control word, offset in the block
    mode = 1                      # operating mode, offset in the block; left out where there is only one
    disable = 0x0000
    reset = 0x0080                # of a fault, on its rising edge
    steps = [ { send = 0x0001, until = { mask = 0x0001, value = 0x0001 } }, … ]

Steps: the control word of the first step whose `until` the status word does not show yet is sent; when it shows all,
that of the last. So the sequence is walked by what the device reports and never by time.

`[watchdog]` is the device's own time-out of communication. It is written and read back before torque is allowed;
a table without one is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drivers.device import Mode
from drivers.modbus.codec import (
    MOST_WRITTEN,
    Function,
    Number,
    read_write_registers,
    write_register,
    write_registers,
)


@dataclass(frozen=True, slots=True)
class Match:
    """A state that a word shows in the bits of `mask`."""

    mask: int
    value: int

    def shown_by(self, word: int) -> bool:
        return word & self.mask == self.value


@dataclass(frozen=True, slots=True)
class Step:
    """Of the way to torque. `takes_s` is for the emulated device."""

    send: int
    until: Match
    takes_s: float


@dataclass(frozen=True, slots=True)
class Target:
    """A set-point: SI value = number × `scale`, at `register` of the control block; `code` of its mode."""

    register: int
    number: Number
    scale: float
    code: int


@dataclass(frozen=True, slots=True)
class Parameter:
    """A register that is set at start, torque off, and read back: a number, or the limit of a mode."""

    name: str
    address: int
    number: Number
    scale: float
    value: float | None
    limit_of: Mode | None

    def digits(self, limits: Mapping[Mode, float]) -> int:
        """What is written. Raises ValueError when there is neither value nor limit."""
        value = self.value if self.limit_of is None else limits[self.limit_of]
        if value is None:
            raise ValueError(f"parameter {self.name} has neither value nor limit")
        return math.ceil(value / self.scale - 1e-9)


@dataclass(frozen=True, slots=True)
class Watchdog:
    """The device's time-out of communication: SI = number × `unit_s`; 0 switches it off.

    `reaction` must stand in the register `reaction_address` (None where the device has no choice).
    """

    address: int
    number: Number
    unit_s: float
    longest_s: float
    reaction_address: int | None
    reaction: int
    fault: int  # code that the device reports after it has acted


@dataclass(frozen=True, slots=True)
class Actuation:
    """Everything that distinguishes one drive or brake from another."""

    function: Function
    address: int
    count: int
    word: int
    mode: int | None
    disable: int
    reset: int
    steps: tuple[Step, ...]
    targets: Mapping[Mode, Target]
    status_register: int  # these two: offset in the block of readings
    fault_register: int
    ready: Match
    enabled: Match
    fault: Match
    bad: Match | None  # readings are wrong while it shows this
    fault_texts: Mapping[int, str]
    watchdog: Watchdog
    parameters: tuple[Parameter, ...]
    limits: Mapping[Mode, float]
    unipolar: bool  # a brake: torque has no sign, and moves nothing by itself
    enable_timeout_s: float

    def word_towards_torque(self, status: int) -> int:
        """The control word of the first step that the status word does not show yet."""
        return next((s.send for s in self.steps if not s.until.shown_by(status)), self.steps[-1].send)

    def block(self, word: int, mode: Mode, value: float) -> bytes:
        """The control block with a set-point in SI. Raises ValueError for one that its register cannot carry."""
        block, target = bytearray(2 * self.count), self.targets[mode]
        block[2 * self.word : 2 * self.word + 2] = word.to_bytes(2, "big")
        if self.mode is not None:
            block[2 * self.mode : 2 * self.mode + 2] = target.code.to_bytes(2, "big")
        data = target.number.pack(value / target.scale)
        block[2 * target.register : 2 * target.register + len(data)] = data
        return bytes(block)

    def request(self, block: bytes, read_address: int, read_count: int) -> bytes:
        """The PDU that writes the control block, and reads in the same transaction where the device can."""
        if self.function is Function.READ_WRITE_REGISTERS:
            return read_write_registers(read_address, read_count, self.address, block)
        if self.function is Function.WRITE_REGISTER:
            return write_register(self.address, int.from_bytes(block, "big"))
        return write_registers(self.address, block)


def read_actuation(name: str, table: Mapping[str, Any]) -> Actuation:
    """Raises ValueError for a table that cannot work, KeyError for one that lacks something."""
    control, status, limits = table["control"], table["status"], table["limits"]
    if "watchdog" not in table:
        raise ValueError(f"{name}: what gives torque has a [watchdog]")
    targets = {
        Mode(mode): Target(row["register"], _number(row), row["scale"], row.get("code", 0))
        for mode, row in table["target"].items()
    }
    function, count = Function(control["function"]), control["count"]
    if not 1 <= count <= MOST_WRITTEN.get(function, 0):
        raise ValueError(f"{name}: function {function:#04x} does not write {count} registers")
    last = max(t.register + t.number.registers for t in targets.values())
    if max(last, control["word"] + 1, control.get("mode", 0) + 1) > count:
        raise ValueError(f"{name}: a set-point lies outside the control block of {count} registers")
    if not control["steps"]:
        raise ValueError(f"{name}: no step leads to torque")
    of_mode = {Mode.VELOCITY: "speed_rad_s", Mode.TORQUE: "torque_N_m"}
    return Actuation(
        function=function,
        address=control["address"],
        count=count,
        word=control["word"],
        mode=control.get("mode"),
        disable=control["disable"],
        reset=control["reset"],
        steps=tuple(Step(s["send"], Match(**s["until"]), s.get("takes", 0.0)) for s in control["steps"]),
        targets=targets,
        status_register=status["register"],
        fault_register=table["fault"]["register"],
        ready=Match(**status["ready"]),
        enabled=Match(**status["enabled"]),
        fault=Match(**status["fault"]),
        bad=Match(**status["bad"]) if "bad" in status else None,
        fault_texts={int(code, 0): text for code, text in table["fault"]["text"].items()},
        watchdog=_watchdog(table["watchdog"]),
        parameters=tuple(_parameter(key, row) for key, row in table.get("parameter", {}).items()),
        limits={mode: limits[key] for mode, key in of_mode.items() if key in limits},
        unipolar=limits.get("unipolar", False),
        enable_timeout_s=control.get("enable_timeout", 1.0),
    )


def _number(row: Mapping[str, Any]) -> Number:
    return Number(row["format"], row.get("word_order", "AB"))


def _watchdog(row: Mapping[str, Any]) -> Watchdog:
    reaction = row.get("reaction")
    return Watchdog(
        row["address"],
        _number(row),
        row["unit"],
        row["longest"],
        None if reaction is None else reaction["address"],
        0 if reaction is None else reaction["value"],
        row["fault"],
    )


def _parameter(name: str, row: Mapping[str, Any]) -> Parameter:
    limit = Mode(row["limit"]) if "limit" in row else None
    return Parameter(name, row["address"], _number(row), row.get("scale", 1.0), row.get("value"), limit)
