"""What the engine needs of a bench: the one seam between a procedure and whatever turns.

Implemented by the built-in simulator on virtual time (`bench.simulated`) and by the ROS graph
(`pilotbench_nodes.ros_bench`), which in turn serves hardware, emulated wires and simulators alike. Nothing above
this seam may know which one it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from drivers.device import Block, Setpoint
from verification_platform.bench.trip import BenchTrip as BenchTrip  # raised below the seam, caught above it
from verification_platform.records.marks import SegmentMark


class Envelope(Protocol):
    """What bench and component under test allow (`bench.envelope.SafetyEnvelope`)."""

    def check(self, role: str, setpoint: Setpoint) -> None:
        """Raises CommandRefused for a set-point beyond a limit; nothing is ever clamped."""
        ...


class BenchPort(Protocol):
    """A bench that can be commanded by role and delivers blocks of samples."""

    def now_s(self) -> float:
        """The bench's clock: host monotonic time, or virtual time."""
        ...

    def start(self) -> None:
        """Open everything, self-test the interlock, arm. Raises BenchTrip or DriverError."""
        ...

    def command(self, role: str, setpoint: Setpoint) -> None:
        """Send a set-point (enables the actuator in that mode first). Raises CommandRefused, BenchTrip."""
        ...

    def rest(self, role: str) -> None:
        """Torque off on one actuator."""
        ...

    def position(self, role: str) -> float:
        """Last commanded or, after rest, measured shaft position, rad: where a position move starts from."""
        ...

    def moving(self, role: str) -> bool:
        """Whether the set-point of `role` is still on its way to its target."""
        ...

    def poll(self, timeout_s: float) -> Sequence[Block]:
        """Renew the lease, let at most `timeout_s` of the bench's time pass, return the blocks that arrived.

        Raises BenchTrip as soon as the bench has tripped.
        """
        ...

    def mark(self, mark: SegmentMark) -> None:
        """Write a segment mark into the recording."""
        ...

    def prompt(self, key: str, zh: str, en: str) -> None:
        """Ask the technician; returns when confirmed, raises BenchTrip when refused."""
        ...

    def stop(self) -> None:
        """Torque off everywhere, disarm, close. Idempotent; never raises."""
        ...
