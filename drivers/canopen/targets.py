"""Set-points of one drive on their way to digits: refused beyond its limits or when they jump, never clamped."""

from __future__ import annotations

import math
from collections.abc import Mapping

from drivers.canopen.codec import wrap_i32
from drivers.canopen.model import CanopenModel
from drivers.device import Command, CommandRefused, Mode

_POSITION = Mode.POSITION
#: A position set-point may have skipped cycles, but never jumps further than the drive gets in so many at full speed.
_MOST_CYCLES = 4.0


class Targets:
    """Of the drive `name`; `limits` (rad/s and N·m) may only tighten those of its model."""

    def __init__(self, name: str, model: CanopenModel, limits: Mapping[Mode, float]) -> None:
        self._name = name
        self._digit = {mode: scaled.digit for mode, scaled in model.targets.items()}
        self.limits = {
            Mode.POSITION: math.inf,
            Mode.VELOCITY: min(model.max_speed_rad_s, limits.get(Mode.VELOCITY, math.inf)),
            Mode.TORQUE: min(model.max_torque, limits.get(Mode.TORQUE, math.inf)),
        }
        self.cycle_s = 0.0
        self._last: float | None = None  # position

    def restart(self) -> None:
        """The next position set-point is compared with where the shaft is."""
        self._last = None

    def checked(self, command: Command, wanted: Mode | None, position: float) -> int:
        """Digits of a set-point for a drive that is enabled for `wanted`, its shaft at `position`. Raises CommandRefused."""
        mode, value = command
        if mode is not wanted:
            raise CommandRefused(self._name, f"a {mode} set-point while it is enabled for {wanted}")
        if mode is _POSITION:
            step = value - (position if self._last is None else self._last)
            if not abs(step) <= _MOST_CYCLES * self.limits[Mode.VELOCITY] * self.cycle_s:
                raise CommandRefused(self._name, f"position set-point jumps by {step:g} rad in one cycle")
            self._last = value
            return self._digits(mode, value)
        if not abs(value) <= self.limits[mode]:
            raise CommandRefused(self._name, f"{mode} set-point {value:g} exceeds {self.limits[mode]:g}")
        return round(value / self._digit[mode])

    def resting(self, mode: Mode, value: float) -> int:
        """Digits of a set-point that changes nothing where `value` is measured: the moment of enabling is without a bump."""
        if math.isnan(value):
            value = 0.0
        limit = self.limits[mode]
        return self._digits(mode, max(-limit, min(limit, value)))

    def _digits(self, mode: Mode, value: float) -> int:
        digits = round(value / self._digit[mode])
        return wrap_i32(digits) if mode is _POSITION else digits
