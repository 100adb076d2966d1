"""All Dynamixel servos of one line, read by one instruction: a row a cycle.

A cycle: one packet with the set-points of all servos (Sync Write, or Bulk Write where their addresses differ) and behind it
the read instruction, in one go → the servos' answers, one after another or in one packet (Fast, where every firmware can)
→ in the time left one transaction of whoever is being switched on or is coming back.

A servo that misses its turn silences those behind it, and the cycle waits for it once. It is then asked who it is
before it is read again (a ping, the *barrier*: a servo answers in order, so nothing older can come after it). After
`LOST_AFTER` misses it is lost, costs nothing, and is asked once a second; when it answers it is identified and set up anew
before it counts.

Torque is switched off by a packet to all that is repeated until every servo's own answer shows it; set-points are sent
once, in the cycle they are for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence

from drivers import clock
from drivers.bus.byte_streams import open_stream
from drivers.bus.transport import ByteStream
from drivers.device import (
    Command,
    CommandRefused,
    DriverError,
    Identity,
    IdentityMismatch,
    Quality,
    Row,
    TransportLost,
)
from drivers.dynamixel import codec, conversation
from drivers.dynamixel.load import LARGEST_LOAD, check_speed, line_load
from drivers.dynamixel.master import DynamixelMaster, adapter_latency_s
from drivers.dynamixel.poll import Poller, silent
from drivers.dynamixel.row import RowFiller
from drivers.dynamixel.script import Step
from drivers.dynamixel.servo import DynamixelServo
from drivers.dynamixel.telemetry import SHORT_S
from drivers.family import Column
from drivers.group import ServosOnly
from drivers.realtime import AwakeClock

_START_LATENCY_S = 0.1
_RETRIES = 2
#: Cycles after which torque that has not gone is left to the bus watchdogs.
_STOP_CYCLES = 10
#: After this part of the period nothing more is begun.
_LAST_START = 0.7


class DynamixelGroup(ServosOnly[DynamixelServo]):
    """Implements `drivers.device.Group`. Raises ValueError when the line could not carry the cycle.

    `latency_s`: what adapter and host may add to an answer; None: found out from the adapter.
    """

    def __init__(
        self,
        name: str,
        servos: Sequence[DynamixelServo],
        columns: Sequence[Column],
        *,
        uri: str,
        baudrate: int,
        period_s: float,
        watchdog_s: float = 0.12,
        latency_s: float | None = None,
        honest_wire: bool = True,
        open_stream: Callable[[str, str, int], ByteStream] = open_stream,
    ) -> None:
        super().__init__(name, servos, columns, period_s)
        self._watchdog_s = watchdog_s
        self._uri, self._baudrate, self._open_stream = uri, baudrate, open_stream
        self._latency_s, self._honest_wire = latency_s, honest_wire
        for servo in servos:
            servo.cycle_s = period_s
        load = self.planned_load()
        if load > LARGEST_LOAD:
            raise ValueError(
                f"{name}: a cycle would keep the line busy for {load:.0%} of its time, at most {LARGEST_LOAD:.0%} is sound"
            )
        self._master: DynamixelMaster | None = None
        self._stream: ByteStream | None = None
        self._last_counters: dict[str, int] = {}
        self._since_s = self._load = 0.0
        self._turn = 0  # whose transaction comes next
        self._poller = Poller(alternate=period_s < SHORT_S)
        self._settled: tuple[DynamixelServo, ...] = ()  # all servos, if nothing was amiss in the cycle before
        self._row = RowFiller(self._columns)
        self._silent_now: set[str] = set()  # whose silence this cycle has waited for already
        self._slice_s = max(5.0 * period_s, 0.01)
        self._clock = AwakeClock(self._slice_s, clock.now())

    # ── Group ──

    def planned_load(self) -> float:
        """Share of a cycle that its bytes and the servos' return delays (known after `open`) take."""
        return line_load(tuple(self._members.values()), self._baudrate, self._period_s)

    def open(self) -> list[Identity]:
        """Open the line, identify, check, set up and arm every servo, torque off. Raises the DriverError of the first
        one that is not in order, or when the line is too slow for the cycle.
        """
        self._stream = self._open_stream(self._name, self._uri, self._baudrate)
        latency_s = adapter_latency_s(self._uri) if self._latency_s is None else self._latency_s
        self._master = DynamixelMaster(
            self._stream, latency_s=max(latency_s, _START_LATENCY_S), honest_wire=self._honest_wire
        )
        try:
            for servo in self._members.values():
                servo.forget()
            self._settled = ()
            self._poller.forget()
            for servo in self._members.values():
                conversation.finish(self._master, servo, servo.starting(self._watchdog_s), _RETRIES)
            adapter_s = latency_s if self._latency_s is None else 0.0
            check_speed(self._name, self.planned_load(), adapter_s, self._period_s)
        except BaseException:
            self.hush()
            raise
        self._master.latency_s = latency_s
        self._master.busy_s, self._since_s = 0.0, clock.now()
        self._clock = AwakeClock(self._slice_s, self._since_s)
        return [servo.identify() for servo in self._members.values()]

    def cycle(self, commands: Mapping[str, Command]) -> Row:
        """One cycle. Raises DeviceFault once for each new fault, CommandRefused, TransportLost."""
        row = self._exchange(commands)
        now = self._clock.tick(clock.now())
        first = None
        for servo in self._members.values():
            servo.check_power(now)
            if servo.untold is not None and first is None:
                first = servo.take_fault()
        if first is not None:
            raise first
        return row

    def safe_stop(self) -> None:
        """Torque off until every servo that answers has shown it, at most so many cycles. Never raises."""
        servos = self._members.values()
        for servo in servos:
            servo.disable()
            servo.off_wanted = servo.prepared
        with contextlib.suppress(DriverError):
            for _ in range(_STOP_CYCLES):
                self._exchange({})
                if not any(servo.torque_on for servo in servos if not servo.lost):
                    return

    def close(self) -> None:
        """Torque off, bus watchdogs disarmed, line closed. Never raises."""
        if self._master is None:
            return
        self.safe_stop()
        for servo in self._members.values():
            if servo.prepared and not servo.lost and not servo.torque_on:
                register = servo.model.registers["bus_watchdog"]
                with contextlib.suppress(DriverError):
                    step = Step(codec.write(servo.number, register.address, b"\0"), 0)
                    conversation.ask(self._master, servo, step)
        self.hush()

    def hush(self) -> None:
        """Close the line without another word, so that the bus watchdogs act."""
        self._load = self.load()
        self._line_counters()
        if self._stream is not None:
            with contextlib.suppress(DriverError):
                self._stream.close()
        self._stream = self._master = None

    def counters(self) -> dict[str, dict[str, int]]:
        """By device; the line itself under its own name."""
        return {**super().counters(), self._name: dict(self._line_counters())}

    def load(self) -> float:
        if self._master is None:
            return self._load
        elapsed = clock.now() - self._since_s
        return self._master.busy_s / elapsed if elapsed > 0 else 0.0

    def store(self, device: str, register: str, value: int) -> int:
        """Write a register for good (EEPROM included) and read it back; returns what stood there before.

        Outside a run only: torque must be off. Raises CommandRefused, and whatever the servo says.
        """
        servo = self._member(device)
        if servo.torque_on or servo.enabled or servo.script is not None:
            raise CommandRefused(device, f"register {register} is not written while torque is on")
        if register not in servo.model.registers or not servo.model.registers[register].writable:
            raise CommandRefused(device, f"model {servo.model.name} has no writable register {register!r}")
        before: list[int] = []
        script = servo.storing(register, value, before.append)
        conversation.finish(self._opened(), servo, script, _RETRIES)
        return before[0]

    # ── the cycle ──

    def _exchange(self, commands: Mapping[str, Command]) -> Row:
        begin_s = clock.now()
        packets = self._instructions(commands)  # all set-points are checked before the first is sent
        if not self._read(packets, begin_s):
            self._serve(begin_s)
            for servo in self._members.values():
                self._row.put(servo)
        return self._row.end()

    def _instructions(self, commands: Mapping[str, Command]) -> bytes:
        goals = {}
        for device, command in commands.items():
            servo = self._member(device)
            goal = servo.goal(command)
            if goal is not None:
                goals[servo.number] = goal
        off = {
            servo.number: (servo.model.registers["torque_enable"].address, b"\0")
            for servo in self._members.values()
            if servo.off_wanted
        }
        packets = codec.write_all(off) if off else b""
        return packets + codec.write_all(goals) if goals else packets

    def _read(self, packets: bytes, begin_s: float) -> bool:
        """The samples of this cycle, taken when the read instruction had arrived. Whether all servos are as they should be, and
        nothing is left to do.
        """
        master, servos = self._opened(), self._members.values()
        live = self._settled or tuple([servo for servo in servos if servo.polled])
        self._settled = ()
        sound, early, found = list[DynamixelServo](), master.early, set[int]()
        if live:
            poll = self._poller.next(live)
            answers = master.gather(packets + poll.request, poll.wanted, poll.delay_s, fast=poll.fast)
            # All that follows is done while the wire is at work, but for the last answer.
            ready = self._begin(begin_s, master.instant_s)
            for status in answers:
                found.add(status.id)
                servo = poll.servos[status.id]
                if servo.accept(status, master.instant_s):
                    sound.append(servo)
                    self._row.put(servo)
            if ready and len(sound) == len(servos) and master.early == early:
                self._settled = live
                return True
            self._account(live, sound if master.early > early else [], found)
        else:
            if packets:
                master.send(packets)
            self._begin(begin_s, clock.now())
        return False

    def _begin(self, begin_s: float, stamp_s: float) -> bool:
        """Nobody has answered yet. Whether nobody is in the middle of something either."""
        self._clock.tick(begin_s)
        self._row.begin(stamp_s)
        ready = True
        for servo in self._members.values():
            servo.standing = Quality.STALE
            ready = ready and servo.script is None
        return ready

    def _account(
        self,
        live: tuple[DynamixelServo, ...],
        doubtful: Sequence[DynamixelServo],
        found: Collection[int],
    ) -> None:
        """What has come too early makes all doubtful that came with it; whoever was silent has missed this cycle."""
        garbled = self._opened().garbled
        for servo in doubtful:
            servo.doubt()
        for servo in silent(live, found):
            servo.counters["crc" if garbled else "timeout"] += 1
            servo.miss()
            if not garbled:
                self._silent_now.add(servo.name)  # it has cost this cycle enough

    def _serve(self, begin_s: float) -> None:
        """What else is due, as far as time allows: barriers, then one transaction of one script."""
        servos = list(self._members.values())
        if not [s for s in servos if s.suspect or s.lost or s.script is not None]:
            return
        until_s = begin_s + _LAST_START * self._period_s
        for servo in servos:
            if (
                servo.suspect
                and not servo.lost
                and servo.name not in self._silent_now
                and clock.now() < until_s
            ):
                self._barrier(servo)
            servo.lose_if_silent(clock.now())
        self._silent_now.clear()
        now = clock.now()
        for servo in servos:
            if servo.lost and servo.script is None and servo.fault is None and now >= servo.ask_again_s:
                servo.script = servo.starting(self._watchdog_s)
        self._turn += 1
        for n in range(len(servos)):
            servo = servos[(self._turn + n) % len(servos)]
            if servo.script is not None and (servo.lost or not servo.suspect):
                if now < until_s:
                    conversation.advance(self._opened(), servo, servo.script)
                return

    def _barrier(self, servo: DynamixelServo) -> None:
        try:
            conversation.finish(self._opened(), servo, servo.identifying())
        except IdentityMismatch as error:
            servo.fail(error.what, 0xFF06, error.hint)
            servo.lost = True
        except TransportLost:
            raise
        except DriverError:
            servo.miss()
        else:
            servo.trusted()

    # ── inside ──

    def _line_counters(self) -> dict[str, int]:
        if self._master is not None:
            self._last_counters = {"stray": self._master.stray, "early": self._master.early}
        return self._last_counters

    def _opened(self) -> DynamixelMaster:
        if self._master is None:
            raise TransportLost(self._name, "the line is not open")
        return self._master
