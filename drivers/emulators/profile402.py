"""What an emulated CiA 402 drive computes itself in its profile modes: ramps, positioning, homing. Pure, SI."""

from __future__ import annotations

import math
from dataclasses import dataclass


def approach(value: float, target: float, step: float) -> float:
    """`value` moved towards `target` by at most `step`."""
    return target if abs(target - value) <= step else value + math.copysign(step, target - value)


@dataclass(slots=True)
class Positioner:
    """A trapezoidal move whose goal may change under way (PP, "change set immediately")."""

    position: float
    speed: float
    goal: float

    @property
    def arrived(self) -> bool:
        return self.position == self.goal

    def step(self, dt_s: float, fastest: float, acceleration: float, deceleration: float) -> float:
        """The position after `dt_s`."""
        left = self.goal - self.position
        # Speed from which it can still stop at the goal, one step ahead.
        braking = math.sqrt(2.0 * deceleration * abs(left) + (deceleration * dt_s) ** 2) - deceleration * dt_s
        wanted = math.copysign(min(fastest, max(braking, 0.0)), left)
        slower = abs(wanted) < abs(self.speed) or wanted * self.speed < 0
        self.speed = approach(self.speed, wanted, (deceleration if slower else acceleration) * dt_s)
        moved = self.speed * dt_s
        near = deceleration * dt_s * dt_s  # less than one step of braking: there
        if abs(left) <= max(near, 1e-12) and abs(self.speed) <= 2.0 * deceleration * dt_s:
            self.position, self.speed = self.goal, 0.0
        else:
            self.position += moved
        return self.position


def index_ahead(position: float, direction: int) -> float:
    """Where the index pulse lies in that direction (methods 33 and 34): a whole turn of the shaft."""
    turn = 2.0 * math.pi
    return (
        (math.floor(position / turn) + 1) * turn if direction > 0 else (math.ceil(position / turn) - 1) * turn
    )
