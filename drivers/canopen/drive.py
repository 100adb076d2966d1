"""CiA 402 servo drive in cyclic synchronous modes: the state machine is walked one step a cycle by process
data.

Torque is refused until the drive's own watchdog stands: consumer heartbeat time 1016h on the master's
heartbeat, and abort connection option 6007h, both written and read back. When the master dies the drive
switches off by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from drivers.bus.frame import Frame
from drivers.canopen.cia402 import (
    CYCLIC_MODES,
    Control,
    State,
    controlword_towards,
    device_state,
    state_of,
)
from drivers.canopen.codec import RPDO_BASE, SdoAbort, wrap_i32
from drivers.canopen.model import CanopenModel
from drivers.canopen.node import CanopenNode
from drivers.device import (
    Command,
    CommandRefused,
    DeviceFault,
    DeviceState,
    Mode,
    ProtocolViolation,
    WatchdogRefused,
)

RPM = 2.0 * math.pi / 60.0


class Cia402Drive(CanopenNode):
    """`limits` (rad/s and N·m) may only tighten those of the model; the tighter ones are also written to the
    drive.
    """

    def __init__(
        self,
        name: str,
        node: int,
        model: CanopenModel,
        serial: str | None = None,
        *,
        limits: Mapping[Mode, float] | None = None,
        enable_timeout_s: float = 1.0,
    ) -> None:
        super().__init__(name, node, model, serial)
        limits = limits or {}
        self.limits = {
            Mode.POSITION: math.inf,
            Mode.VELOCITY: min(model.max_speed_rad_s, limits.get(Mode.VELOCITY, math.inf)),
            Mode.TORQUE: min(model.max_torque, limits.get(Mode.TORQUE, math.inf)),
        }
        self.armed = False
        self.power_state: State | None = None
        self.mode_display = 0
        self._wanted: Mode | None = None
        self._mode = Mode.VELOCITY  # whose set-point object is sent
        self._was_enabled = False
        self._enable_timeout_s, self._enable_until_s = enable_timeout_s, math.inf
        self._last_target: float | None = None
        self._rpdo = {
            mode: (RPDO_BASE[n] + node, model.layout(names))
            for n, (mode, names) in enumerate(model.rpdos.items())
        }
        self._cycle_s = 0.0

    # ── capabilities ──

    @property
    def state(self) -> DeviceState:
        if self.lost or self.power_state is None:
            return DeviceState.LOST
        if self.fault is not None:
            return DeviceState.FAULT
        found = device_state(self.power_state)
        if found is DeviceState.ENABLED and self._wanted is not None and not self._in_mode(self._wanted):
            return DeviceState.READY  # the mode is still being changed
        return found

    def arm_watchdog(self, timeout_s: float, master: int = 127) -> None:
        """Let the drive watch the master's heartbeat. Raises WatchdogRefused when it cannot be set and read
        back.
        """
        milliseconds = round(timeout_s * 1000)
        self.armed = False
        if self.model.abort_option == 0 or not 1 <= milliseconds <= 0xFFFF:
            raise WatchdogRefused(
                self.name, f"no watchdog of {milliseconds} ms with abort option {self.model.abort_option}"
            )
        try:
            self.sdo.set(self.model.objects["abort_option"], self.model.abort_option)
            self.sdo.write_verified(0x1016, 1, "u32", master << 16 | milliseconds)
        except (SdoAbort, ProtocolViolation) as error:
            raise WatchdogRefused(
                self.name, f"its watchdog cannot be set ({error.what})", "torque stays refused"
            ) from error
        self.armed = True

    def disarm_watchdog(self) -> None:
        """At an orderly end only, torque off: so that closing the bench is no fault."""
        self.armed = False
        self.sdo.write_verified(0x1016, 1, "u32", 0)

    def enable(self, mode: Mode) -> None:
        """Ask for torque in `mode`; `state` becomes ENABLED some cycles later. Raises WatchdogRefused,
        CommandRefused.
        """
        if not self.armed:
            raise WatchdogRefused(self.name, "its watchdog is not armed", "reopen the bench")
        if self.fault is not None or self.lost:
            raise CommandRefused(
                self.name, f"it has a fault ({self.fault.what if self.fault else 'lost'})", "reopen the bench"
            )
        if mode not in self.model.targets:
            raise CommandRefused(self.name, f"model {self.model.name} has no {mode} mode")
        if self._wanted is not mode:
            self._wanted, self._mode = mode, mode
            self._was_enabled, self._last_target = False, None
            self._enable_until_s = math.inf  # set by the next cycle: only the cycle knows the time

    def disable(self) -> None:
        self._wanted, self._last_target = None, None

    # ── start-up ──

    def prepare(self, cycle_s: float) -> None:
        """As every node, and: torque off, old fault reset, cycle time and limits written. Raises DeviceFault
        if it stays faulty.
        """
        super().prepare(cycle_s)
        self._cycle_s = cycle_s
        objects, sdo = self.model.objects, self.sdo
        sdo.write_verified(objects["controlword"].index, 0, "u16", Control.DISABLE_VOLTAGE)
        if state_of(sdo.read(objects["statusword"])) in (State.FAULT, State.FAULT_REACTION_ACTIVE):
            sdo.download(objects["controlword"].index, 0, Control.FAULT_RESET.to_bytes(2, "little"))
            sdo.download(objects["controlword"].index, 0, Control.DISABLE_VOLTAGE.to_bytes(2, "little"))
        state = state_of(sdo.read(objects["statusword"]))
        if state in (State.FAULT, State.FAULT_REACTION_ACTIVE):
            code = sdo.read(objects["error_code"])
            raise DeviceFault(
                self.name,
                "has a fault that cannot be reset",
                code,
                "remove the cause and switch it off and on",
            )
        exponent = -6 if round(cycle_s * 1000) * 1000 != round(cycle_s * 1e6) else -3
        sdo.set(objects["interpolation_value"], round(cycle_s * 10.0**-exponent))
        sdo.set(objects["interpolation_exponent"], exponent)
        sdo.set(objects["max_motor_speed"], math.ceil(self.limits[Mode.VELOCITY] / RPM))
        sdo.set(
            objects["max_torque"], math.ceil(self.limits[Mode.TORQUE] / self.model.targets[Mode.TORQUE].digit)
        )
        self.power_state = state
        self._wanted = None

    # ── hot path ──

    def rpdo(self, command: Command | None, now_s: float) -> Frame:
        """This cycle's set-point frame. Raises CommandRefused for a set-point outside the limits or of
        another mode.
        """
        state = self.power_state or State.NOT_READY
        wanted = self._wanted
        if wanted is not None and self._enable_until_s == math.inf:
            self._enable_until_s = now_s + self._enable_timeout_s
        ready = wanted is not None and state is State.OPERATION_ENABLED and self._in_mode(wanted)
        target = self._checked(command) if command is not None and ready else self._resting_target(state)
        scaled = self.model.targets[self._mode]
        digits = round(target / scaled.digit)
        if self._mode is Mode.POSITION:
            digits = wrap_i32(digits)
        can_id, layout = self._rpdo[self._mode]
        return Frame(
            can_id,
            layout.pack(controlword_towards(state, wanted is not None), CYCLIC_MODES[self._mode], digits),
        )

    def _checked(self, command: Command) -> float:
        if command.mode is not self._wanted:
            raise CommandRefused(
                self.name, f"a {command.mode} set-point while it is enabled for {self._wanted}"
            )
        if command.mode is not Mode.POSITION:
            if not abs(command.value) <= self.limits[command.mode]:
                raise CommandRefused(
                    self.name,
                    f"{command.mode} set-point {command.value:g} exceeds {self.limits[command.mode]:g}",
                )
        else:
            last = self.values["position"] if self._last_target is None else self._last_target
            step = self.limits[Mode.VELOCITY] * self._cycle_s
            if (
                not abs(command.value - last) <= 4.0 * step
            ):  # the set-point may have skipped cycles, but never jumps
                raise CommandRefused(
                    self.name, f"position set-point jumps by {command.value - last:g} rad in one cycle"
                )
        self._last_target = command.value
        return command.value

    def _resting_target(self, state: State) -> float:
        """A set-point that changes nothing, so that the moment of enabling is without a bump."""
        if self._mode is Mode.TORQUE and state is not State.OPERATION_ENABLED:
            return 0.0
        value = self.values[self._mode.value]
        if math.isnan(value):
            return 0.0
        if self._mode is Mode.POSITION:
            return value
        limit = self.limits[self._mode]
        return max(-limit, min(limit, value))

    def _take(self, number: int, digits: tuple[int, ...]) -> None:
        names = self.model.tpdos[number]
        if "mode_display" in names:
            self.mode_display = digits[names.index("mode_display")]
        if "statusword" not in names:
            return
        try:
            self.power_state = state_of(digits[names.index("statusword")])
        except ValueError:
            self.counters["nak"] += 1

    def check_power(self, now_s: float) -> None:
        """After a cycle: has the drive a fault, or left operation enabled by itself, or never got there?"""
        state = self.power_state
        if state in (State.FAULT, State.FAULT_REACTION_ACTIVE):
            self.fail("reports a fault", 0xFF00, "see its display or error code 603Fh, then reopen the bench")
        if self._wanted is None or self.lost:
            return
        if state is State.OPERATION_ENABLED and self._in_mode(self._wanted):
            self._was_enabled = True
        elif self._was_enabled and state is not State.OPERATION_ENABLED:
            self.fail(
                f"switched off by itself ({state.value if state else 'unknown state'})",
                0xFF01,
                "see its error history",
            )
        elif not self._was_enabled and now_s > self._enable_until_s:
            self.fail(
                f"does not reach operation enabled (stands at {state.value if state else 'unknown'})",
                0xFF02,
                "check its power supply, STO and brake",
            )

    def _in_mode(self, mode: Mode) -> bool:
        return self.mode_display == CYCLIC_MODES[mode]

    @property
    def torque_may_flow(self) -> bool:
        """True unless the drive is known to have its power stage off."""
        return self.power_state is None or device_state(self.power_state) is DeviceState.ENABLED
