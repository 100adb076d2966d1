"""Contacts of an emulated bench (an emergency stop, a guard), in front of any plant: nothing mechanical, so no plant models them."""

from __future__ import annotations

from drivers.device import Command
from drivers.emulators.plant import Plant

SIGNAL = "digital_input"


class Contacts:
    """Implements `Plant`. Every device's ``digital_input`` is closed (1) until `open` is told otherwise."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._open: set[str] = set()

    def advance(self, t_s: float) -> None:
        self._plant.advance(t_s)

    def command(self, device: str, command: Command | None) -> None:
        self._plant.command(device, command)

    def open(self, device: str, is_open: bool) -> None:
        """Press the button of that device (or cut its wire), or let go of it."""
        (self._open.add if is_open else self._open.discard)(device)

    def read(self, device: str, signal: str) -> float:
        if signal == SIGNAL:
            return 0.0 if device in self._open else 1.0
        return self._plant.read(device, signal)
