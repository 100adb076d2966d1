"""An emulated CiA 406 absolute encoder in front of a plant."""

from __future__ import annotations

from drivers.emulators.canopen_node import EmulatedNode


class EmulatedEncoder(EmulatedNode):
    """Position of the model's resolution in an unsigned counter; `alarm` sets its alarm bits (6503h)."""

    def sample(self) -> None:
        scaled = self.model.signals["position"]
        digits = round(self.plant.read(self.name, "position") / scaled.digit)
        self.objects.put(scaled.object.index, scaled.object.subindex, digits & (1 << scaled.object.bits) - 1)

    def alarm(self, bits: int) -> None:
        entry = self.model.objects["alarms"]
        self.objects.put(entry.index, entry.subindex, bits)
