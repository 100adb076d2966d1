"""One joint module with the MIT mini-cheetah frame.

The protocol knows neither identity nor state nor a watchdog: that the module is on is known only by having told it so,
and torque is refused unless the table says that this product switches off by itself when nobody speaks to it. When it has done
so it does not tell, and some go on with the next set-point; so this driver itself watches how long it has been silent.
"""

from __future__ import annotations

import math

from drivers import clock
from drivers.bus.frame import Frame, wire_bits
from drivers.canservo import mit
from drivers.canservo.device import TWIN_S
from drivers.canservo.model import MitModel, WatchdogBy
from drivers.canservo.servo import CanServo, Question
from drivers.device import (
    Command,
    DeviceFault,
    Identity,
    IdentityMismatch,
    Mode,
    WatchdogRefused,
)

_REPLY = 0


class MitJoint(CanServo[MitModel]):
    """See `CanServo`."""

    @staticmethod
    def addresses() -> tuple[int, int]:
        return 1, mit.LAST_ID

    def identifiers(self) -> frozenset[tuple[bool, int]]:
        return frozenset({(False, self.address)})

    def _forget(self) -> None:
        super()._forget()
        self._entered = False
        self._to_enter = False
        self._watchdog_s = math.inf
        self._spoke_s = -math.inf  # when the module was last sent anything, on the bench's clock

    # ── start-up ──

    def identify(self) -> Identity:
        """Leaving motor mode is answered by whoever has this id; there is nothing else to tell it by."""
        if self._serial is not None:
            raise IdentityMismatch(
                self.name, "the MIT protocol tells no serial number", "leave `serial` out for this device"
            )
        self.ask(mit.frame(self.address, mit.EXIT), self._reply, attempts=2)
        if self.listen(self._reply, TWIN_S, most=9):
            raise IdentityMismatch(
                self.name,
                f"two modules have id {self.address} (one question, several answers)",
                "connect one alone and give it another id",
            )
        return Identity(self.name, self.model.title, "", "")

    def prepare(self) -> None:
        found = self.ask(mit.frame(self.address, mit.EXIT), self._reply, attempts=2)
        if found.error:
            raise DeviceFault(
                self.name,
                f"has a fault: {self._error_text(found.error)}",
                found.error,
                "switch it off and on",
            )

    def arm_watchdog(self, timeout_s: float) -> None:
        """Nothing can be set: only what the table says of this product counts."""
        watchdog = self.model.watchdog
        self.armed = False
        self._watchdog_s = timeout_s if math.isnan(watchdog.timeout_s) else watchdog.timeout_s
        if watchdog.by is WatchdogBy.FIXED:
            if not watchdog.timeout_s <= timeout_s:
                raise WatchdogRefused(
                    self.name,
                    f"its CAN timeout is {watchdog.timeout_s:g} s, the bench wants {timeout_s:g} s",
                    "shorten it in the module's settings and in its table",
                )
            self.armed = True
        elif watchdog.by is WatchdogBy.OPERATOR:
            self.armed = True

    def _reply(self, frame: Frame) -> mit.Reply | None:
        if frame.extended or frame.remote or frame.can_id != self.model.reply_id or not frame.data:
            return None
        if frame.data[0] != self.address:
            return None
        try:
            return mit.parse_reply(self.model.ranges, frame.data, self.model.reply_bytes)
        except ValueError:
            self.counters["nak"] += 1
            return None

    def _error_text(self, code: int) -> str:
        return self.model.faults.get(code, "a fault that the table does not know")

    # ── hot path ──

    def cycle_bits(self) -> float:
        return wire_bits(8) + wire_bits(self.model.reply_bytes)

    @property
    def drives(self) -> bool:
        return self._entered

    def _begin_enabling(self, mode: Mode) -> None:
        self._to_enter = not self._entered

    def disable(self) -> None:
        super().disable()
        self._to_enter = False

    def torque_off(self) -> list[Frame]:
        return [mit.frame(self.address, mit.EXIT)]

    def begin_cycle(self, command: Command | None, now_s: float) -> list[Frame]:
        if self.wanted is None and self._entered and not self.lost and now_s < self._quiet_until_s:
            self._quiet_until_s = now_s + self.cycle_s  # torque off waits for nothing
            super().begin_cycle(None, now_s)
            return self.torque_off()
        self._look_back()
        frames = super().begin_cycle(command, now_s)
        if frames:
            self._spoke_s = clock.now()
        return frames

    def _look_back(self) -> None:
        """This process may have been stopped: then no set-point follows, whatever the module has done meanwhile."""
        silent_s = clock.now() - self._spoke_s
        if self.wanted is not None and self._entered and silent_s > self._watchdog_s:
            self.fail(
                f"was not spoken to for {silent_s * 1e3:.0f} ms, so its CAN timeout has switched it off",
                0xFF04,
                "find out what held the bus process up, then reopen the bench",
            )

    def _questions(self, command: Command | None, now_s: float) -> list[Question]:
        if self.wanted is None:
            data = mit.EXIT
        elif self._to_enter:
            data = mit.ENTER
            self._to_enter = False
        elif self._entered:
            value = command.value if command is not None else self.resting()
            data = mit.pack_command(self.model.ranges, self._command(self.wanted, value))
        else:
            return []  # told once to enter, and no answer came: `_check` sees to it
        self._sent = data
        return [(mit.frame(self.address, data), _REPLY)]

    _sent = b""

    def _command(self, mode: Mode, value: float) -> mit.Command:
        model = self.model
        if mode is Mode.TORQUE:
            return mit.Command(0.0, 0.0, 0.0, 0.0, value)
        if mode is Mode.VELOCITY:
            return mit.Command(0.0, value, 0.0, model.velocity_kd, 0.0)
        return mit.Command(value, 0.0, model.position_kp, model.position_kd, 0.0)

    @property
    def reach_rad(self) -> float:
        return self.model.ranges.position.high - self.model.ranges.position.digit

    def _kind(self, frame: Frame) -> int | None:
        return _REPLY

    def _take(self, kind: int, frame: Frame, now_s: float) -> None:
        found = mit.parse_reply(self.model.ranges, frame.data, self.model.reply_bytes)
        if self._sent == mit.ENTER:
            self._entered = True
        elif self._sent == mit.EXIT:
            self._entered = False
        self.saturated = found.saturated
        self.put("position", found.position, now_s)
        self.put("velocity", found.velocity, now_s)
        self.put("torque", found.torque, now_s)
        if found.temperature_K is not None:
            self.put("temperature", found.temperature_K, now_s)
        if found.error:
            self.fail(
                f"reports: {self._error_text(found.error)}",
                found.error,
                "remove the cause, then reopen the bench",
            )

    def resting(self) -> float:
        value = super().resting()
        return math.copysign(min(abs(value), self.reach_rad), value)
