"""The seam between physics we own and physics a dynamics engine may own.

Reducer, friction, current loops and sensors are computed outside and arrive here as *efforts*; only the
rigid bodies turn. The built-in bodies are the default; a Gazebo server can take their place without any of
the rest noticing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class BodiesLost(Exception):
    """The engine behind the bodies has died or does not answer any more; one clear line."""


class RigidBodies(Protocol):
    """Bodies on revolute joints: body 0 is the motor rotor with the wave generator, body 1 the output flange.

    Owned by one thread. Angles in rad, unbounded; efforts in N·m, constant over the call.
    """

    @property
    def step_s(self) -> float:
        """Length of one integration step, s."""
        ...

    def step(self, efforts: Sequence[float], n: int = 1) -> tuple[float, Sequence[float], Sequence[float]]:
        """Apply `efforts` for `n` steps; returns time since reset (s), angles (rad) and speeds (rad/s).

        Raises BodiesLost when the bodies are turned by another process that is gone.
        """
        ...

    def reset(self) -> None:
        """Back to time zero, angle zero, at rest."""
        ...

    def close(self) -> None:
        """Let go of the engine behind. Idempotent."""
        ...


class RotorAndFlange:
    """The built-in bodies: two inertias with viscous bearings, semi-implicit Euler at a fixed step.

    Semi-implicit (symplectic) Euler neither feeds nor damps the torsional mode and is exact in equilibrium,
    so static results do not depend on the step. Stable while step · ω_n < 2, with ω_n = √(K/J_flange).

    >>> bodies = RotorAndFlange(1e-4, 1e-2, step_s=1e-3)
    >>> t, q, qd = bodies.step((1e-3, 0.0), n=100)
    >>> round(t, 9), round(qd[0], 9), qd[1]
    (0.1, 1.0, 0.0)
    """

    __slots__ = ("_dampings", "_gains", "_q0", "_q1", "_steps", "_v0", "_v1", "step_s")

    def __init__(
        self,
        rotor_kg_m2: float,
        flange_kg_m2: float,
        step_s: float,
        rotor_damping: float = 0.0,
        flange_damping: float = 0.0,
    ) -> None:
        if not (rotor_kg_m2 > 0 and flange_kg_m2 > 0 and step_s > 0):
            raise ValueError("inertias and step must be positive")
        self.step_s = step_s
        self._gains = (step_s / rotor_kg_m2, step_s / flange_kg_m2)
        self._dampings = (rotor_damping, flange_damping)
        self._q0 = self._q1 = self._v0 = self._v1 = 0.0
        self._steps = 0

    def step(
        self, efforts: Sequence[float], n: int = 1
    ) -> tuple[float, tuple[float, float], tuple[float, float]]:
        """See `RigidBodies.step`."""
        effort0, effort1 = efforts
        gain0, gain1 = self._gains
        damping0, damping1 = self._dampings
        q0, q1, v0, v1, dt = self._q0, self._q1, self._v0, self._v1, self.step_s
        for _ in range(n):  # 1 for the built-in plant: kept free of anything else
            v0 += gain0 * (effort0 - damping0 * v0)
            v1 += gain1 * (effort1 - damping1 * v1)
            q0 += dt * v0
            q1 += dt * v1
        self._q0, self._q1, self._v0, self._v1 = q0, q1, v0, v1
        self._steps += n
        return self._steps * dt, (q0, q1), (v0, v1)

    def reset(self) -> None:
        """See `RigidBodies.reset`."""
        self._q0 = self._q1 = self._v0 = self._v1 = 0.0
        self._steps = 0

    def close(self) -> None:
        """Nothing to let go of."""
