"""The start of an ODrive axis: who it is, torque off, limits, watchdog.

Firmware 0.6 lets its watchdog be set and read back through endpoints; their numbers hold for one firmware version, so the
version is compared and two known values are read before anything is written. That of firmware 0.5 cannot be set over CAN: the
bus falls silent and the axis must report by itself that it has expired, or torque stays refused.
"""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import Callable

from drivers.bus.frame import Frame
from drivers.canservo import odrive
from drivers.canservo.device import TWIN_S, Found
from drivers.canservo.model import TURN, OdriveModel, WatchdogBy
from drivers.canservo.odrive import AxisState, Cmd
from drivers.canservo.servo import CanServo
from drivers.device import (
    DeviceFault,
    DriverError,
    Identity,
    IdentityMismatch,
    Mode,
    TransportTimeout,
    WatchdogRefused,
)

#: An axis is lost after so many periods without a heartbeat.
HEARTBEATS_LOST = 4.0


class OdriveDevice(CanServo[OdriveModel]):
    """An axis until its first cycle; see `CanServoDevice`."""

    @staticmethod
    def addresses() -> tuple[int, int]:
        return 0, odrive.LAST_NODE

    def identifiers(self) -> frozenset[tuple[bool, int]]:
        return frozenset((False, odrive.can_id(self.address, command)) for command in range(32))

    def _forget(self) -> None:
        super()._forget()
        self.axis_state = AxisState.UNDEFINED

    def identify(self) -> Identity:
        """Version, serial number, and whether a second axis has the same id. Raises IdentityMismatch."""
        beats = self.listen(self._heartbeat_of, 3.0 * self.model.heartbeat_s + TWIN_S, most=1)
        if not beats:
            raise TransportTimeout(
                self.name,
                f"no heartbeat of node {self.address}",
                "check power, cable, bit rate, node id and heartbeat_rate_ms",
            )
        version = self._version()
        wanted = self.model.firmware if self.model.minor == 6 else ""
        found = str(version) if version is not None else ""
        if found != wanted:
            raise IdentityMismatch(
                self.name,
                f"node {self.address} answers as firmware {found or '0.5 (no version)'}, "
                f"the table of {self.model.name} is for {wanted or '0.5'}",
                "commands mean different things there: choose the model's table by firmware",
            )
        serial = self._only_serial() if self.model.minor == 6 else self._only_one()
        if self._serial is not None and serial != self._serial:
            raise IdentityMismatch(
                self.name,
                f"serial number is {serial or 'not told by firmware 0.5'}, the bench names {self._serial}",
                "update the bench file and calibrations",
            )
        record = self.model.watchdog.record
        firmware = (found or "0.5") + (f"; watchdog {record}" if record else "")
        return Identity(self.name, self.model.title, serial, firmware)

    def _version(self) -> odrive.Version | None:
        """None for firmware 0.5, which has no such command, but an encoder error that 0.6 does not have."""
        try:
            return self.ask(
                odrive.query(self.address, Cmd.GET_VERSION),
                self._answer(Cmd.GET_VERSION, odrive.parse_version),
            )
        except TransportTimeout:
            with contextlib.suppress(TransportTimeout):
                self.ask(
                    odrive.query(self.address, Cmd.GET_ENCODER_ERROR),
                    self._answer(Cmd.GET_ENCODER_ERROR, lambda data: data),
                    attempts=2,
                )
                return None
            raise IdentityMismatch(
                self.name,
                f"node {self.address} answers neither as firmware 0.5 nor as 0.6",
                "check its firmware and that the address belongs to an ODrive",
            ) from None

    def _only_serial(self) -> str:
        match = self._answer(Cmd.ADDRESS, odrive.parse_serial)
        first = self.ask(odrive.query(self.address, Cmd.ADDRESS), match, attempts=2)
        others = {*self.listen(match, TWIN_S, most=9), first}
        if len(others) > 1:
            raise self._twins(f"serial numbers {', '.join(sorted(others))}")
        return first

    def _only_one(self) -> str:
        """Firmware 0.5 tells no serial number; two axes show by heartbeats that come too often."""
        span = 3.5 * self.model.heartbeat_s
        beats = self.listen(self._heartbeat_of, span, most=20)
        if len(beats) >= 6:
            raise self._twins(f"{len(beats)} heartbeats in {span:.2f} s")
        return ""

    def _twins(self, how: str) -> IdentityMismatch:
        what = f"two axes have node id {self.address} ({how})"
        return IdentityMismatch(self.name, what, "give one of them another id by USB")

    def prepare(self) -> None:
        """Torque off, errors cleared, limits and telemetry written."""
        self._send(odrive.set_axis_state(self.address, AxisState.IDLE))
        beat = self._next_heartbeat()
        # A watchdog set by hand may be shorter than two heartbeats: it expires while they are waited for, torque off.
        harmless = self.model.watchdog_bit
        if beat.error & ~harmless:
            self._send(odrive.clear_errors(self.address))
            self._next_heartbeat()
            beat = self._next_heartbeat()
        if beat.error & ~harmless:
            raise DeviceFault(
                self.name,
                f"has a fault that cannot be cleared: {self.fault_text(beat.error, self.model.faults)}",
                beat.error,
                "remove the cause and switch it off and on",
            )
        self.axis_state = self._state_of(beat)
        if self.axis_state is AxisState.CLOSED_LOOP_CONTROL:
            raise DeviceFault(
                self.name, "does not switch its torque off", beat.state, "switch its supply off"
            )
        if self.model.endpoints:
            self._write_endpoints()
        current = min(self.model.max_current_A, self.limits[Mode.TORQUE] / self.model.torque_constant)
        # The axis gets room above the set-points' limit: its own limit faults, it does not hold.
        self._send(odrive.set_limits(self.address, 1.2 * self.limits[Mode.VELOCITY] / TURN, current))

    def _write_endpoints(self) -> None:
        node, constant = self._read_u32("axis_node"), self._read_f32("torque_constant")
        if node != self.address:
            raise IdentityMismatch(
                self.name,
                f"endpoint numbers of {self.model.name} do not fit this firmware (node id reads {node})",
                "take them from the flat_endpoints.json of its version",
            )
        if not math.isclose(constant, self.model.torque_constant, rel_tol=1e-3):
            raise IdentityMismatch(
                self.name,
                f"torque constant is {constant:g} N·m/A, the table has {self.model.torque_constant:g}",
                "its torque would be scaled wrongly",
            )
        torque = self.limits[Mode.TORQUE]
        self._write_verified("torque_soft_max", struct.pack("<f", torque))
        self._write_verified("torque_soft_min", struct.pack("<f", -torque))
        self._write_verified("heartbeat_rate_ms", struct.pack("<I", round(self.model.heartbeat_s * 1000)))
        self._write_verified("encoder_rate_ms", struct.pack("<I", round(self.model.cyclic_s * 1000)))
        for name in ("iq_rate_ms", "temperature_rate_ms", "torques_rate_ms"):
            self._write_verified(name, struct.pack("<I", 0))

    def arm_watchdog(self, timeout_s: float) -> None:
        """Raises WatchdogRefused when it cannot be shown that the axis switches off by itself within that time."""
        self.armed = False
        match self.model.watchdog.by:
            case WatchdogBy.SETTING:
                try:
                    self._write_verified("watchdog_timeout", struct.pack("<f", timeout_s))
                    self._write_verified("enable_watchdog", struct.pack("<I", 1))
                except DriverError as error:
                    raise WatchdogRefused(
                        self.name, f"its watchdog cannot be set ({error.what})", "torque stays refused"
                    ) from error
                self.armed = True
            case WatchdogBy.BEHAVIOUR:
                self.armed = self._seen_to_expire(timeout_s)
                if not self.armed:
                    raise WatchdogRefused(
                        self.name,
                        f"its watchdog did not expire within {timeout_s:g} s of silence",
                        f"set axis.config.watchdog_timeout = {timeout_s:g}, enable_watchdog = True by USB and save",
                    )
            case WatchdogBy.OPERATOR:
                self.armed = True
            case _:
                pass

    def _seen_to_expire(self, timeout_s: float) -> bool:
        """Say nothing and listen: torque is off, the axis must report its watchdog. Then clear that."""
        self._send(odrive.query(self.address, Cmd.GET_IQ))  # the last that it hears
        bit = self.model.watchdog_bit

        def expired(frame: Frame) -> odrive.Heartbeat | None:
            beat = self._heartbeat_of(frame)
            return beat if beat is not None and beat.error & bit else None

        seen = self.listen(expired, timeout_s + 2.0 * self.model.heartbeat_s)
        if seen:
            self._send(odrive.clear_errors(self.address))
        return bool(seen)

    def disarm_watchdog(self) -> None:
        if self.armed and self.model.watchdog.by is WatchdogBy.SETTING:
            self._write_verified("enable_watchdog", struct.pack("<I", 0))
        self.armed = False

    def _write_verified(self, name: str, value: bytes) -> None:
        """Written once, read back. Raises IdentityMismatch."""
        self.bus.send(odrive.write_endpoint(self.address, self.model.endpoints[name], value))
        found = self._read(name)
        if found != value:
            raise IdentityMismatch(
                self.name, f"{name} reads {found.hex()} after {value.hex()} was written", "check its firmware"
            )

    def _read(self, name: str) -> bytes:
        endpoint = self.model.endpoints[name]

        def answered(data: bytes) -> bytes | None:
            found, value = odrive.parse_endpoint(data)
            return value if found == endpoint else None

        question = odrive.read_endpoint(self.address, endpoint)
        return self.ask(question, self._answer(Cmd.TX_SDO, answered), attempts=2)

    def _read_u32(self, name: str) -> int:
        return int.from_bytes(self._read(name), "little")

    def _read_f32(self, name: str) -> float:
        value: float = struct.unpack("<f", self._read(name))[0]
        return value

    def _answer(
        self, command: int, parse: Callable[[bytes], Found | None]
    ) -> Callable[[Frame], Found | None]:
        """A matcher for `ask`: this axis's answer to `command`, read by `parse`; damaged ones are passed over."""
        wanted = odrive.can_id(self.address, command)

        def match(frame: Frame) -> Found | None:
            if frame.extended or frame.remote or frame.can_id != wanted:
                return None
            try:
                return parse(frame.data)
            except ValueError:
                self.counters["nak"] += 1
                return None

        return match

    def _heartbeat_of(self, frame: Frame) -> odrive.Heartbeat | None:
        match = self._answer(Cmd.HEARTBEAT, lambda data: odrive.parse_heartbeat(data, self.model.minor))
        return match(frame)

    def _next_heartbeat(self) -> odrive.Heartbeat:
        beats = self.listen(self._heartbeat_of, HEARTBEATS_LOST * self.model.heartbeat_s)
        if not beats:
            raise TransportTimeout(self.name, "its heartbeat has stopped", "check power and cable")
        return beats[0]

    def _send(self, frame: Frame) -> None:
        self.bus.send(odrive.padded(frame))

    @staticmethod
    def _state_of(beat: odrive.Heartbeat) -> AxisState:
        """What is neither idle nor closed loop is some calibration: torque may flow."""
        try:
            return AxisState(beat.state)
        except ValueError:
            return AxisState.UNDEFINED
