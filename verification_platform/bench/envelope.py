"""What may be asked of this bench with this device under test on it.

Whoever sends a set-point asks here first, and so does the dry run of a procedure. A set-point outside is
refused with one clear line, never clamped: a test that was quietly run at another load is worse than none.
The same limits tighten the interlock, which watches what is measured rather than what is asked.

The drive turns the DUT's input, the load holds its output; DUT limits are those of its data sheet (§1,
common safety: speed ≤ 1.05·n_max, |T_2| ≤ T_max, housing below its limit).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from drivers.device import MODE_UNITS, CommandRefused, Mode, Setpoint

from .description import BenchDescription, TripLimit
from .dut import Order

#: How far above the DUT's rating a speed may be asked, and a reading may go before the interlock trips.
MARGIN = 1.05


class EnvelopeError(CommandRefused):
    """A set-point outside the safety envelope; says the value, the limit and whose limit it is."""


@dataclass(frozen=True, slots=True)
class Bound:
    """Largest size of something, in its SI unit, and whose limit that is."""

    size: float
    owner: str

    def tightest(self, other: Bound) -> Bound:
        return self if self.size <= other.size else other


@dataclass(frozen=True, slots=True)
class ActuatorEnvelope:
    """Bounds of one actuator at its shaft: speed rad/s, torque N·m, and the steepest rate in each mode."""

    role: str
    speed: Bound
    torque: Bound
    rates: dict[Mode, Bound]


@dataclass(frozen=True, slots=True)
class SafetyEnvelope:
    """The envelope of one bench and one order; immutable for a run.

    >>> from pathlib import Path
    >>> from verification_platform.bench.description import load_bench
    >>> from verification_platform.bench.dut import load_dut
    >>> order = load_dut(Path("duts/harmonic-25-100.toml"))
    >>> envelope = SafetyEnvelope.from_bench(load_bench(Path("benches/emulated.toml")), order)
    >>> envelope.check("load", Setpoint(Mode.TORQUE, 100.0, 0.5))
    >>> try:
    ...     envelope.check("load", Setpoint(Mode.TORQUE, 145.0, 0.5))
    ... except EnvelopeError as refusal:
    ...     refusal.what
    'torque 145 N·m is beyond ±140 N·m of the DUT (T_max)'
    """

    actuators: dict[str, ActuatorEnvelope]
    limits: tuple[TripLimit, ...]

    @classmethod
    def from_bench(cls, bench: BenchDescription, order: Order) -> SafetyEnvelope:
        """The tightest of bench and DUT for every actuator and every interlock channel."""
        dut = order.dut
        dut_bounds = {
            "drive": (
                Bound(MARGIN * dut.max_speed, "the DUT (1.05·n_max)"),
                Bound(dut.max_torque / dut.ratio, "the DUT (T_max/i)"),
            ),
            "load": (
                Bound(MARGIN * dut.max_speed / dut.ratio, "the DUT (1.05·n_max/i)"),
                Bound(dut.max_torque, "the DUT (T_max)"),
            ),
        }
        unbounded = Bound(math.inf, "nobody"), Bound(math.inf, "nobody")
        actuators = {}
        for role, record in bench.actuator.items():
            speed, torque = dut_bounds.get(role, unbounded)
            speed = speed.tightest(Bound(record.max_speed, f"actuator {role}"))
            torque = torque.tightest(Bound(record.max_torque, f"actuator {role}"))
            rates = {
                Mode.VELOCITY: Bound(record.max_rate.velocity, f"actuator {role}"),
                Mode.TORQUE: Bound(record.max_rate.torque, f"actuator {role}"),
                Mode.POSITION: speed.tightest(Bound(record.max_rate.position, f"actuator {role}")),
            }
            actuators[role] = ActuatorEnvelope(role, speed, torque, rates)
        return cls(actuators, _tightened(bench, order))

    def check(self, role: str, setpoint: Setpoint) -> None:
        """Raises EnvelopeError unless `role` may be sent to `setpoint`."""
        try:
            actuator = self.actuators[role]
        except KeyError:
            raise EnvelopeError(
                role, "the bench has no such actuator", f"it has {', '.join(self.actuators) or 'none'}"
            ) from None
        mode, target, rate = setpoint.mode, setpoint.target, setpoint.rate
        unit = MODE_UNITS[mode]
        if not math.isfinite(target):
            raise EnvelopeError(role, f"{mode} {target} {unit} is not a finite set-point", "give a number")
        if not (math.isfinite(rate) and rate > 0):
            raise EnvelopeError(
                role, f"rate {rate} {unit}/s is not positive", "a set-point needs a rate above zero"
            )
        if mode is not Mode.POSITION:
            self._within(
                role,
                mode.value,
                abs(target),
                target,
                actuator.torque if mode is Mode.TORQUE else actuator.speed,
                unit,
            )
        rate_unit = "rad/s" if mode is Mode.POSITION else f"{unit}/s" if mode is Mode.TORQUE else "rad/s²"
        self._within(role, f"rate of {mode.value}", rate, rate, actuator.rates[mode], rate_unit)

    @staticmethod
    def _within(role: str, what: str, size: float, asked: float, bound: Bound, unit: str) -> None:
        # One part in 10⁹ of slack, so that "100 % of the limit" computed in floating point is not refused.
        if size > bound.size * (1 + 1e-9):
            raise EnvelopeError(
                role,
                f"{what} {asked:.6g} {unit} is beyond ±{bound.size:.6g} {unit} of {bound.owner}",
                "ask for less",
            )

    def trip_limits(self) -> tuple[TripLimit, ...]:
        """Limits for the interlock: those of the bench, tightened by the DUT, in SI."""
        return self.limits


def _tightened(bench: BenchDescription, order: Order) -> tuple[TripLimit, ...]:
    """Interlock limits of the bench and the DUT's own, one a channel."""
    dut = order.dut
    own = {
        "input_speed": (-MARGIN * dut.max_speed, MARGIN * dut.max_speed),
        "output_torque": (-MARGIN * dut.max_torque, MARGIN * dut.max_torque),
        "housing_temperature": (None, dut.housing_limit),
    }
    bounds: dict[str, tuple[float | None, float | None]] = {}
    for limit in bench.interlock.limits:
        bounds[limit.channel] = _narrower(bounds.get(limit.channel, (None, None)), (limit.low, limit.high))
    for channel, pair in own.items():
        if channel in bench.channel:
            bounds[channel] = _narrower(bounds.get(channel, (None, None)), pair)
    return tuple(TripLimit(channel=channel, low=low, high=high) for channel, (low, high) in bounds.items())


def _narrower(
    one: tuple[float | None, float | None], other: tuple[float | None, float | None]
) -> tuple[float | None, float | None]:
    lows = [x for x in (one[0], other[0]) if x is not None]
    highs = [x for x in (one[1], other[1]) if x is not None]
    return (max(lows) if lows else None, min(highs) if highs else None)
