"""The harmonic reducer between rotor and flange: kinematics with transmission error, torsion, friction, heat.

θ₂ = ψ + φ, where ψ is the output angle of the unloaded reducer, ψ = s·θ₁/i + e(ψ), and φ the torsion under
the torque T₂ that acts on the output. The error belongs to the meshing teeth, so it follows ψ: with a
locked input a load twists the output but moves no teeth, and the hysteresis loop carries no transmission
error. Unloaded, ψ = θ₂ and e is exactly Σ A_q·sin(q·θ₂ + φ_q).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .torsion import Torsion, TorsionLaw


class HarmonicMesh:
    """Torque in the mesh from the angles and speeds of both shafts.

    `input_gain` is dψ/dθ₁ after the last call: the torque T₂ in the mesh acts on the input as +T₂·dψ/dθ₁
    (virtual work), which is how TQ1 sees the ripple of the error under load.
    """

    __slots__ = ("_damping", "_gain", "_input_angle", "_orders", "_psi", "input_gain", "torsion")

    def __init__(
        self,
        ratio: float,
        sense: int,
        orders: Sequence[tuple[float, float, float]],
        law: TorsionLaw,
        damping: float,
    ) -> None:
        self._gain = sense / ratio
        self._orders = tuple((q, amplitude, phase, q * amplitude) for q, amplitude, phase in orders)
        if sum(abs(slope) for *_, slope in self._orders) >= 0.5:
            raise ValueError("transmission error is too steep: Σ q·A_q must stay far below 1")
        self._damping = damping
        self.torsion = Torsion(law)
        self.input_gain = self._gain
        self._input_angle = self._psi = 0.0
        for _ in range(50):  # contraction to the unloaded output angle at θ₁ = 0
            self._psi = self.error(self._psi)

    @property
    def output_angle(self) -> float:
        """ψ, the unloaded output angle, rad."""
        return self._psi

    def error(self, angle: float) -> float:
        """e(ψ), rad."""
        return sum(amplitude * math.sin(q * angle + phase) for q, amplitude, phase, _ in self._orders)

    def torque(
        self, input_angle: float, output_angle: float, input_speed: float, output_speed: float
    ) -> float:
        """Torque T₂ on the output, N·m.

        ψ is found from its last value moved on by the input; since |e′| ≪ 1 the remaining error is of
        second order.
        """
        kinematic = self._gain * input_angle
        psi = self._psi + self._gain * (input_angle - self._input_angle)
        sin, cos = math.sin, math.cos
        error = slope = 0.0
        for q, amplitude, phase, steepness in self._orders:
            x = q * psi + phase
            error += amplitude * sin(x)
            slope += steepness * cos(x)
        # One Newton step of ψ − e(ψ) = s·θ₁/i.
        psi += (kinematic + error - psi) / (1 - slope)
        self._psi, self._input_angle = psi, input_angle
        self.input_gain = gain = self._gain / (1 - slope)
        return self.torsion.torque(output_angle - psi) + self._damping * (output_speed - gain * input_speed)


_LOAD_AVERAGING_S = 0.05  # over which the friction feels the load


class InputFriction:
    """Friction at the input: Coulomb (reducer and bench), viscous, and a part that goes with the load.

    The Coulomb part takes as much torque as would stop the rotor within one step and no more, so it sticks
    exactly, never drives, and is the full T_C as soon as the rotor turns. The part with the load follows the
    mean load on the teeth, not the vibration of an unloaded mesh, so that the no-load torque stays
    T_C + T_v·ω at any speed.
    """

    __slots__ = (
        "_averaging",
        "_coulomb",
        "_drag",
        "_drag_viscous",
        "_inertia_per_step",
        "_load",
        "_mean_load",
        "_viscous",
        "level",
        "rate",
        "scale",
    )

    def __init__(
        self,
        coulomb: float,
        viscous: float,
        load_per_torque: float,
        drag: float,
        drag_viscous: float,
        inertia: float,
        step_s: float,
    ) -> None:
        self._coulomb, self._viscous, self._load = coulomb, viscous, load_per_torque
        self._drag, self._drag_viscous = drag, drag_viscous
        self._inertia_per_step = inertia / step_s
        self._averaging = step_s / _LOAD_AVERAGING_S
        self._mean_load = 0.0
        self.set_scale(1.0)

    def set_scale(self, scale: float) -> None:
        """Factor of temperature on the lubricated friction (the bench's own drag does not follow it)."""
        self.scale = scale
        self.level = self._coulomb * scale + self._drag
        self.rate = self._viscous * scale + self._drag_viscous

    def torque(self, speed: float, effort: float, mesh_torque: float) -> float:
        """Friction torque that opposes `speed`, given the other `effort` on the rotor, N·m."""
        viscous = self.rate * speed
        self._mean_load += self._averaging * (mesh_torque - self._mean_load)
        limit = self.level + self._load * abs(self._mean_load)
        stopping = self._inertia_per_step * speed + effort - viscous
        if stopping > limit:
            stopping = limit
        elif stopping < -limit:
            stopping = -limit
        return viscous + stopping


class Housing:
    """One thermal node: the housing, heated by friction, cooled by a room that swings slowly."""

    __slots__ = ("_ambient", "_capacity", "_resistance", "_swing", "ambient", "temperature")

    def __init__(self, ambient: float, swing: float, capacity: float, resistance: float) -> None:
        self._ambient, self._swing = ambient, swing
        self._capacity, self._resistance = capacity, resistance
        self.temperature = self.ambient = ambient

    def advance(self, t_s: float, heat: float, dt_s: float) -> None:
        """Take up `heat` (J) within `dt_s` that ends at `t_s`; explicit Euler, exact enough for dt ≪ R·C."""
        self.ambient = self._ambient + self._swing * math.sin(2 * math.pi * t_s / 7200.0)
        flow = (self.temperature - self.ambient) / self._resistance
        self.temperature += (heat - flow * dt_s) / self._capacity
