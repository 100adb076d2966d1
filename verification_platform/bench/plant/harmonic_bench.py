"""The whole bench behind the wires: drive servo, harmonic reducer, load servo, and their sensors.

One fixed integration step at a time: servos and friction give efforts, the rigid bodies turn, the mesh
answers. All state that a sensor can read belongs to one instant, so angle and torque of a row fit together.
"""

from __future__ import annotations

from collections.abc import Callable

from drivers.device import Command
from verification_platform.bench.description import ActuatorRecord, BenchDescription, BenchError
from verification_platform.bench.dut import Order

from .instruments import BenchErrors, Instruments
from .parameters import PlantParameters
from .reducer import HarmonicMesh, Housing, InputFriction
from .rigid import RigidBodies, RotorAndFlange
from .servo import ServoLoop, ServoTuning
from .torsion import TorsionLaw
from .truth import Truth

_HEAT_S = 0.01  # the thermal network moves on this grid
# Noise of what the drives say of themselves, one standard deviation.
_DRIVE_SPEED_NOISE, _LOAD_SPEED_NOISE = 5e-3, 0.5e-3  # rad/s
_CURRENT_NOISE = 3e-4  # of the drive's peak torque
_Reader = Callable[[], float]


class HarmonicBenchPlant:
    """Implements `drivers.emulators.plant.Plant`. Made by `make_plant`; owned by one thread."""

    def __init__(
        self,
        bench: BenchDescription,
        order: Order,
        parameters: PlantParameters,
        seed: int,
        bodies: RigidBodies | None = None,
    ) -> None:
        dut, drive, load = order.dut, _actuator(bench, "drive"), _actuator(bench, "load")
        self.bodies: RigidBodies = bodies or RotorAndFlange(
            parameters.rotor_inertia, parameters.flange_inertia, parameters.step
        )
        self._dt = dt = self.bodies.step_s
        errors = BenchErrors.drawn(bench.fixture, seed)
        try:
            law, orders = parameters.torsion_law(dut), parameters.orders(dut)
            self._mesh = HarmonicMesh(dut.ratio, dut.sense, orders, law, parameters.mesh_damping)
        except ValueError as error:
            raise BenchError(f"bench {bench.bench.id}: plant: {error}") from None
        self._friction = _friction(bench, order, parameters, errors, dt)
        self._housing = Housing(
            parameters.ambient,
            parameters.ambient_swing,
            parameters.heat_capacity,
            parameters.thermal_resistance,
        )
        self._drive = ServoLoop(_drive_tuning(parameters, drive), dt)
        self._load = ServoLoop(_load_tuning(parameters, load, errors.load_gain), dt)
        self._servos = {drive.device: (self._drive, 0), load.device: (self._load, 1)}
        self.truth = _truth(bench, order, parameters, errors, orders, law)
        self._compliance, self._skew = errors.compliance, errors.skew
        self._wave_generator_per_step = parameters.wave_generator_inertia / dt
        self._steps_per_heat = max(1, round(_HEAT_S / dt))
        self._at_rest()
        self._readers = self._make_readers(bench, Instruments.drawn(bench, seed))

    def _at_rest(self) -> None:
        """The bodies start at angle 0; the flange was bolted on where the unloaded mesh puts it."""
        self._steps = 0
        self._lead_s = 0.0
        self._heat = 0.0  # N·m·rad/s summed over steps since the thermal network last moved
        self._assembly = self._mesh.output_angle
        self._angles, self._speeds = (0.0, self._assembly), (0.0, 0.0)
        self._input_torque = 0.0
        self._mesh_torque = self._mesh.torque(0.0, self._assembly, 0.0, 0.0)
        self._update_friction_scale()

    def advance(self, t_s: float) -> None:
        """See `Plant.advance`. Integrates whole steps; angle sensors extrapolate over the rest of one."""
        whole = int(t_s / self._dt + 1e-6)
        while self._steps < whole:
            n = min(whole - self._steps, self._steps_per_heat - self._steps % self._steps_per_heat)
            self._integrate(n)
        self._lead_s = max(0.0, t_s - self._steps * self._dt)

    def command(self, device: str, command: Command | None) -> None:
        """See `Plant.command`. Raises BenchError for a device that is no servo."""
        try:
            servo, body = self._servos[device]
        except KeyError:
            raise BenchError(
                f"plant: device {device!r} is no servo; servos are {', '.join(self._servos)}"
            ) from None
        servo.command(command, self._angles[body])

    def read(self, device: str, signal: str) -> float:
        """See `Plant.read`. Raises BenchError for a signal the plant does not have."""
        return self.reader(device, signal)()

    def reader(self, device: str, signal: str) -> Callable[[], float]:
        """The function behind `read`, for who reads one signal every cycle. Raises BenchError."""
        try:
            return self._readers[device, signal]
        except KeyError:
            known = ", ".join(f"{d}.{s}" for d, s in self._readers)
            raise BenchError(f"plant: no signal {device}.{signal}; signals are {known}") from None

    def close(self) -> None:
        """Let go of the bodies' engine."""
        self.bodies.close()

    @property
    def time_s(self) -> float:
        return self._steps * self._dt

    @property
    def angles(self) -> tuple[float, float]:
        """True angles of input and output shaft, rad."""
        return self._angles

    @property
    def speeds(self) -> tuple[float, float]:
        """True speeds of input and output shaft, rad/s."""
        return self._speeds

    @property
    def output_torque(self) -> float:
        """True torque into the reducer's output, N·m."""
        return self._mesh_torque

    @property
    def input_torque(self) -> float:
        """True torque through TQ1 into the reducer's input, N·m."""
        return self._input_torque

    @property
    def housing_temperature(self) -> float:
        """True housing temperature, K."""
        return self._housing.temperature

    def saturated(self, device: str) -> bool:
        """Whether the servo stands at its torque limit."""
        return self._servos[device][0].saturated

    def _integrate(self, n: int) -> None:
        """`n` steps that end at or before the next move of the thermal network."""
        drive, load = self._drive.torque, self._load.torque
        friction, mesh, bodies = self._friction.torque, self._mesh, self.bodies.step
        (q1, q2), (v1, v2), torque = self._angles, self._speeds, self._mesh_torque
        assembly = self._assembly
        reflected = torque * mesh.input_gain
        heat = opposing = v1_before = 0.0
        for _ in range(n):
            effort = drive(q1, v1) + reflected
            opposing = friction(v1, effort, torque)
            v1_before = v1
            _, (q1, q2), (v1, v2) = bodies((effort - opposing, load(q2, v2) - torque))
            q2 += assembly
            heat += opposing * v1
            through = opposing - reflected
            torque = mesh.torque(q1, q2, v1, v2)
            reflected = torque * mesh.input_gain
        self._angles, self._speeds, self._mesh_torque = (q1, q2), (v1, v2), torque
        self._input_torque = through + self._wave_generator_per_step * (v1 - v1_before)
        self._heat += heat
        self._steps += n
        if self._steps % self._steps_per_heat == 0:
            self._housing.advance(self.time_s, self._heat * self._dt, self._steps_per_heat * self._dt)
            self._heat = 0.0
            self._update_friction_scale()

    def _update_friction_scale(self) -> None:
        self._friction.set_scale(self.truth.friction_scale(self._housing.temperature))

    # ------------------------------------------------------------------ what can be read

    def _make_readers(
        self, bench: BenchDescription, instruments: Instruments
    ) -> dict[tuple[str, str], _Reader]:
        """(device, signal) → reader. Channels are found by role, then among the signals of the drives."""
        readers, by_role = self._of_drives(bench, instruments), self._of_roles(instruments)
        for role, channel in bench.channel.items():
            key = channel.device, channel.signal
            if role in by_role:
                readers[key] = by_role[role]
            elif channel.signal == "digital_input":
                readers[key] = lambda: 1.0  # closed: nobody presses an emergency stop in here
            elif key not in readers:
                raise BenchError(
                    f"bench {bench.bench.id}: channel {role} ({channel.device}.{channel.signal}) has no "
                    f"counterpart in the plant harmonic_bench; by role it knows {', '.join(by_role)}, "
                    f"and the signals of {' and '.join(self._servos)}"
                )
        return readers

    def _of_drives(self, bench: BenchDescription, instruments: Instruments) -> dict[tuple[str, str], _Reader]:
        """What the two drives say of themselves."""
        drive, load = bench.actuator["drive"], bench.actuator["load"]
        angle, load_angle = instruments.input_angle, instruments.load_angle
        v1, v2 = instruments.drive_speed_noise, instruments.load_speed_noise
        i1, i2 = instruments.drive_torque_noise, instruments.load_torque_noise
        drive_noise, load_noise = _CURRENT_NOISE * drive.max_torque, _CURRENT_NOISE * load.max_torque
        return {
            (drive.device, "position"): lambda: angle.read(self._angles[0] + self._lead_s * self._speeds[0]),
            (drive.device, "velocity"): lambda: self._speeds[0] + _DRIVE_SPEED_NOISE * next(v1),
            (drive.device, "torque"): lambda: self._drive.current + drive_noise * next(i1),
            (load.device, "position"): lambda: load_angle.read(
                self._angles[1] + self._lead_s * self._speeds[1]
            ),
            (load.device, "velocity"): lambda: self._speeds[1] + _LOAD_SPEED_NOISE * next(v2),
            (load.device, "torque"): lambda: self._load.current + load_noise * next(i2),
        }

    def _of_roles(self, instruments: Instruments) -> dict[str, _Reader]:
        """What the sensors of the bench say, by the role of their channel."""
        encoder = instruments.output_angle
        tq1, tq2 = instruments.input_torque, instruments.output_torque
        housing, ambient = instruments.housing, instruments.ambient

        def output_angle() -> float:
            # The encoder sees the fixture give way under the torque, and latches a little off EN1.
            shaft = self._angles[1] + (self._lead_s + self._skew) * self._speeds[1]
            return encoder.read(shaft + self._compliance * self._mesh_torque)

        return {
            "output_angle": output_angle,
            "input_torque": lambda: tq1.read(self._input_torque),
            "output_torque": lambda: tq2.read(self._mesh_torque),
            "housing_temperature": lambda: housing.read(self._housing.temperature),
            "ambient_temperature": lambda: ambient.read(self._housing.ambient),
        }


# ---------------------------------------------------------------------- parts, from the tables


def _actuator(bench: BenchDescription, role: str) -> ActuatorRecord:
    try:
        return bench.actuator[role]
    except KeyError:
        raise BenchError(
            f"bench {bench.bench.id}: the plant harmonic_bench needs an actuator {role!r}"
        ) from None


def _friction(
    bench: BenchDescription, order: Order, parameters: PlantParameters, errors: BenchErrors, dt: float
) -> InputFriction:
    return InputFriction(
        parameters.friction_coulomb,
        parameters.friction_viscous,
        parameters.friction_load / order.dut.ratio,
        errors.drag,
        bench.fixture.drag_viscous,
        parameters.rotor_inertia,
        dt,
    )


def _drive_tuning(parameters: PlantParameters, drive: ActuatorRecord) -> ServoTuning:
    return ServoTuning(
        inertia=parameters.rotor_inertia,
        bandwidth=400.0,
        integral_rate=100.0,
        stiffness_rate=60.0,
        max_torque=drive.max_torque,
        max_speed=1.05 * drive.max_speed,
        ripple=parameters.cogging,
        ripple_order=parameters.cogging_order,
    )


def _load_tuning(parameters: PlantParameters, load: ActuatorRecord, torque_gain: float) -> ServoTuning:
    return ServoTuning(
        inertia=parameters.flange_inertia,
        bandwidth=80.0,
        integral_rate=20.0,
        stiffness_rate=15.0,
        max_torque=load.max_torque,
        max_speed=1.05 * load.max_speed,
        torque_gain=torque_gain,
        ripple=parameters.load_ripple,
        ripple_order=parameters.load_ripple_order,
    )


def _truth(
    bench: BenchDescription,
    order: Order,
    parameters: PlantParameters,
    errors: BenchErrors,
    orders: tuple[tuple[float, float, float], ...],
    law: TorsionLaw,
) -> Truth:
    return Truth(
        ratio=order.dut.ratio,
        sense=order.dut.sense,
        orders=orders,
        law=law,
        friction_coulomb=parameters.friction_coulomb,
        friction_viscous=parameters.friction_viscous,
        friction_load=parameters.friction_load,
        friction_per_kelvin=parameters.friction_per_kelvin,
        reference_temperature=parameters.reference_temperature,
        compliance=errors.compliance,
        drag_coulomb=errors.drag,
        drag_viscous=bench.fixture.drag_viscous,
        sync_skew=errors.skew,
    )
