"""What an emulated device needs of the physics behind it.

The bench hands a plant to the emulators through this Protocol; `drivers` never imports the bench.
"""

from __future__ import annotations

from typing import Protocol

from drivers.device import Command


class Plant(Protocol):
    """The machine behind the wires. Owned by one thread; time only moves forward."""

    def advance(self, t_s: float) -> None:
        """Bring the plant to time `t_s` (seconds since the plant was made)."""
        ...

    def command(self, device: str, command: Command | None) -> None:
        """Set-point of a servo's inner loop from now on; None means torque off."""
        ...

    def read(self, device: str, signal: str) -> float:
        """Reading of a sensor now, SI, with its noise and systematic error but before quantisation."""
        ...
