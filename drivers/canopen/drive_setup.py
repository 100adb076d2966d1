"""A CiA 402 drive is made ready by SDO: torque off, an old fault reset, its modes checked, its ramps and limits written.

Everything that is written is read back.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

from drivers.canopen.cia402 import Control, Operation, State, state_of
from drivers.canopen.error_codes import error_text
from drivers.canopen.model import CanopenModel
from drivers.canopen.sdo import SdoClient
from drivers.device import DeviceFault, IdentityMismatch, Mode

log = logging.getLogger(__name__)

RPM = 2.0 * math.pi / 60.0
_RESET_TRIES = 100
_FAULTS = (State.FAULT, State.FAULT_REACTION_ACTIVE)


class DriveSetup:
    """Of the drive `name` behind `sdo`; waits for every answer. Used once, by `run`."""

    def __init__(self, name: str, model: CanopenModel, sdo: SdoClient) -> None:
        self._name, self._model, self._sdo = name, model, sdo
        self._objects = model.objects

    def run(self, cycle_s: float, limits: Mapping[Mode, float]) -> State:
        """Make it ready for cycles of `cycle_s` within `limits`; returns where it then stands.

        Raises DeviceFault if it stays faulty, IdentityMismatch if it lacks a mode.
        """
        objects, sdo = self._objects, self._sdo
        sdo.write_verified(objects["controlword"].index, 0, "u16", Control.DISABLE_VOLTAGE)
        state = self._reset_fault()
        self._check_modes()
        exponent = -6 if round(cycle_s * 1000) * 1000 != round(cycle_s * 1e6) else -3
        sdo.set(objects["interpolation_value"], round(cycle_s * 10.0**-exponent))
        sdo.set(objects["interpolation_exponent"], exponent)
        sdo.set(objects["max_motor_speed"], math.ceil(limits[Mode.VELOCITY] / RPM))
        sdo.set(
            objects["max_torque"], math.ceil(limits[Mode.TORQUE] / self._model.targets[Mode.TORQUE].digit)
        )
        self._write_profile(limits)
        return state

    def _check_modes(self) -> None:
        shown = self._sdo.read(self._objects["supported_modes"])
        lacking = [o.name for o in Operation if self._model.modes_word() & o.bit & ~shown]
        if lacking:
            raise IdentityMismatch(
                self._name,
                f"supported drive modes 6502h = {shown:08X}h lack {', '.join(lacking)} of model {self._model.name}",
                "choose a model table that sends its set-points in modes it has",
            )

    def _reset_fault(self) -> State:
        """Reset an old fault by a rising edge of bit 7, once its reaction is over. Raises DeviceFault if it stays."""
        objects, sdo = self._objects, self._sdo
        word = objects["controlword"]

        def settled(unwanted: tuple[State, ...]) -> State:
            for _ in range(_RESET_TRIES):  # each is a round trip
                state = state_of(sdo.read(objects["statusword"]))
                if state not in unwanted:
                    break
            return state

        state = settled((State.FAULT_REACTION_ACTIVE, State.NOT_READY))
        if state in _FAULTS:
            code = sdo.read(objects["error_code"])
            log.warning("%s: resets an old fault: %s (%04Xh)", self._name, error_text(code), code)
            sdo.download(word.index, 0, Control.FAULT_RESET.to_bytes(2, "little"))
            state = settled(_FAULTS)
            sdo.download(word.index, 0, Control.DISABLE_VOLTAGE.to_bytes(2, "little"))
        if state in _FAULTS:
            code = sdo.read(objects["error_code"])
            raise DeviceFault(
                self._name,
                f"has a fault that cannot be reset: {error_text(code)}",
                code,
                "remove the cause and switch it off and on",
            )
        return state

    def _write_profile(self, limits: Mapping[Mode, float]) -> None:
        """Ramps, quick stop and homing of the model table, read back."""
        model, objects, sdo = self._model, self._objects, self._sdo
        speed = model.signals["velocity"].digit  # digits of acceleration are digits of speed a second
        settings: dict[str, float] = {}
        if model.ramps is not None:
            settings["profile_velocity"] = limits[Mode.VELOCITY] / speed
            settings["profile_acceleration"] = model.ramps.acceleration / speed
            settings["profile_deceleration"] = model.ramps.deceleration / speed
            settings["torque_slope"] = model.ramps.torque / model.targets[Mode.TORQUE].digit
        if model.quick_stop is not None:
            settings["quick_stop_option"] = model.quick_stop.option
            settings["quick_stop_deceleration"] = model.quick_stop.deceleration / speed
        if model.homing is not None:
            settings["homing_method"] = model.homing.method
            settings["homing_speed_switch"] = model.homing.fast / speed
            settings["homing_speed_zero"] = model.homing.slow / speed
            settings["homing_acceleration"] = model.homing.acceleration / speed
            settings["home_offset"] = model.homing.offset / model.signals["position"].digit
        for name, value in settings.items():
            sdo.set(objects[name], round(value))
