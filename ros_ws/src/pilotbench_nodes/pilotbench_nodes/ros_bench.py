"""The bench as the engine sees it, served by the nodes of the graph: `engine.port.BenchPort` over topics and services.

One object a run. The engine's own polling renews the lease, in the engine's own thread, so that an engine that hangs
loses the torque although its process is alive.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from pilotbench_interfaces.msg import SegmentMark as SegmentMarkMessage
from pilotbench_interfaces.srv import Arm, Command, StartRecording, StopRecording
from std_srvs.srv import Trigger

from drivers import clock
from drivers.device import Block, CommandRefused, CycleStatistics, Mode, Setpoint
from drivers.lateness import during
from verification_platform.bench.envelope import SafetyEnvelope
from verification_platform.bench.trip import BenchTrip
from verification_platform.disk import write_whole
from verification_platform.engine.run_folder import RunFolder
from verification_platform.records.cdr import tag_to_text
from verification_platform.records.marks import SegmentMark
from verification_platform.ros.graph import RECORDER

from .bench_node import finite
from .link import Link

_MODES = {
    Mode.POSITION: Command.Request.POSITION,
    Mode.VELOCITY: Command.Request.VELOCITY,
    Mode.TORQUE: Command.Request.TORQUE,
}
#: Longest answers: to a set-point (enabling a drive takes several cycles), to arming, to the sealing of a long recording.
_COMMAND_S, _ARM_S, _SEAL_S = 2.0, 5.0, 60.0
#: When the run has failed, everyone is given less time, so that the whole ends within five seconds.
_FAILED_S = 0.5
#: Evidence of the bench about this run, beside the recording.
EVIDENCE_FILE = "bench.json"
_TOLD = {field.name for field in fields(CycleStatistics)}


class RosBench:
    """Implements `engine.port.BenchPort`. `ask` shows a prompt and returns once it has been answered (None: not yet)."""

    def __init__(
        self,
        link: Link,
        folder: RunFolder,
        ask: Callable[[str, str, str], Callable[[], bool | None]],
        *,
        resume: bool = False,
    ) -> None:
        self._link, self._folder, self._ask, self._resume = link, folder, ask, resume
        bench = folder.bench
        self._bus = {role: bench.device[record.device].bus for role, record in bench.actuator.items()}
        self._limits = SafetyEnvelope.from_bench(bench, folder.order).trip_limits()
        self._before = _statistics(link)  # told once a second: the run's are right to within that
        self._started = False
        self._recording = False
        self._marks = 0
        self._rows: dict[str, int] = {}
        self._held: list[Block] = []
        self._evidence: dict[str, Any] = {}
        #: Why the recording is not complete; empty when it is. Known after `stop`.
        self.recording_problem = ""

    def now_s(self) -> float:
        """The bench's clock: the same for all its processes."""
        return clock.now()

    def start(self) -> None:
        """Start the recording, test and arm the interlock. Raises BenchTrip."""
        answer = self._link.call(
            self._link.start_recording,
            StartRecording.Request(folder=str(self._folder.path), resume=self._resume),
            _ARM_S,
        )
        if not answer.started:
            raise BenchTrip(f"the recording could not be started: {answer.reason}", safety=False)
        self._recording = True
        self._arm()
        self._link.clear()
        self._link.collecting = True
        self._started = True

    def _arm(self) -> None:
        request = Arm.Request(
            channels=[limit.channel for limit in self._limits],
            low=[finite(limit.low, -math.inf) for limit in self._limits],
            high=[finite(limit.high, math.inf) for limit in self._limits],
        )
        deadline_s = time.monotonic() + _ARM_S
        while True:
            answer = self._link.call(self._link.arm, request, _ARM_S)
            if answer.armed:
                break
            if not answer.passing or time.monotonic() > deadline_s:
                raise BenchTrip(f"the bench could not be armed: {answer.reason}")
            self._pause(0.05)
        self._evidence["interlock_self_test_latency_s"] = answer.self_test_latency
        armed_s = time.monotonic()
        while True:  # the answer may be ahead of the state
            try:
                return self._link.check()
            except BenchTrip:
                if time.monotonic() - armed_s > 0.5:
                    raise
            self._pause(0.005)

    def _pause(self, duration_s: float) -> None:
        self._link.renew()
        time.sleep(duration_s)

    # ------------------------------------------------------------------ set-points

    def command(self, role: str, setpoint: Setpoint) -> None:
        """Raises CommandRefused, BenchTrip."""
        self._link.check()
        self._call(
            role,
            Command.Request(
                role=role, mode=_MODES[setpoint.mode], target=setpoint.target, rate=setpoint.rate
            ),
        )

    def rest(self, role: str) -> None:
        self._call(role, Command.Request(role=role, mode=Command.Request.OFF))

    def position(self, role: str) -> float:
        return float(self._call(role, Command.Request(role=role, mode=Command.Request.QUERY)).position)

    def moving(self, role: str) -> bool:
        return bool(self._call(role, Command.Request(role=role, mode=Command.Request.QUERY)).moving)

    def _call(self, role: str, request: Command.Request, timeout_s: float = _COMMAND_S) -> Command.Response:
        client = self._link.command.get(self._bus.get(role, ""))
        if client is None:
            raise CommandRefused(role, "the bench has no such actuator", f"it has {', '.join(self._bus)}")
        answer = self._link.call(
            client, request, timeout_s, while_waiting=self._link.check if self._started else None
        )
        if answer.outcome == Command.Response.DONE:
            return answer
        if answer.outcome == Command.Response.REFUSED:
            raise CommandRefused(role, answer.reason)
        # The interlock knows the first cause; the device only what it saw of it.
        deadline_s = time.monotonic() + 0.1
        while not self._link.trip_reason and time.monotonic() < deadline_s:
            self._pause(0.005)
        raise self._link.trip(answer.reason)

    # ------------------------------------------------------------------ stream, marks, prompts

    def poll(self, timeout_s: float) -> Sequence[Block]:
        """Raises BenchTrip."""
        blocks = [*self._held, *self._link.take(0.0 if self._held else timeout_s)]
        self._held.clear()
        for block in blocks:
            self._rows[block.group] = block.first_row + len(block)
        return blocks

    def mark(self, mark: SegmentMark) -> None:
        self._link.mark(
            SegmentMarkMessage(
                index=mark.index,
                tag=tag_to_text(mark.tag),
                groups=list(mark.rows),
                first_rows=[first for first, _ in mark.rows.values()],
                last_rows=[last for _, last in mark.rows.values()],
            )
        )
        self._marks += 1

    def prompt(self, key: str, zh: str, en: str) -> None:
        """Raises BenchTrip when the technician refuses, or the bench trips meanwhile."""
        answered = self._ask(key, zh, en)
        while True:
            self._held += self._link.take(0.02)  # kept for the engine: its stream must have no gap
            answer = answered()
            if answer is None:
                continue
            if not answer:
                raise BenchTrip(f"the technician refused {key!r}: {en}", safety=False)
            return

    # ------------------------------------------------------------------ end

    def stop(self) -> None:
        """Torque off, disarm, seal the recording. Idempotent; never raises."""
        failed = bool(self._link.tripped_by)
        if self._started and not failed:
            for role in self._bus:
                failed |= self._try(
                    lambda role=role: self._call(
                        role, Command.Request(role=role, mode=Command.Request.OFF), _FAILED_S
                    )
                )
        self._started, self._link.collecting = False, False
        self._try(lambda: self._link.call(self._link.disarm, Trigger.Request(), _FAILED_S))
        if self._recording:
            self._recording = False
            self._seal(failed)
        self._keep_evidence()

    def _seal(self, failed: bool) -> None:
        if self._link.tripped_by == RECORDER:
            self.recording_problem = self._link.trip_reason
            return
        request = StopRecording.Request(
            marks=self._marks,
            groups=list(self._rows),
            last_rows=list(self._rows.values()),
            wait=_FAILED_S if failed else 2.0,
        )
        try:
            answer = self._link.call(self._link.stop_recording, request, 2.5 if failed else _SEAL_S)
        except BenchTrip as trip:
            self.recording_problem = trip.reason
            return
        self.recording_problem = answer.reason
        self._evidence |= {"blocks": answer.blocks, "lost_blocks": answer.lost_blocks, "seal": answer.seal}

    def _keep_evidence(self) -> None:
        """How well the bench kept its time, and how fast its interlock was: evidence, not a result."""
        if not self._evidence:
            return
        self._evidence["buses"] = {
            bus: asdict(during(self._before.get(bus, CycleStatistics()), statistics))
            for bus, statistics in _statistics(self._link).items()
        }
        if self._link.trip_reason:
            self._evidence["trip"] = self._link.trip_reason
        text = json.dumps(self._evidence, ensure_ascii=False, indent=1, default=str) + "\n"
        self._try(lambda: write_whole(Path(self._folder.path) / EVIDENCE_FILE, text))

    @staticmethod
    def _try(step: Callable[[], Any]) -> bool:
        """Do one part of an orderly end; True when it failed. The other parts are done all the same."""
        try:
            step()
        except (BenchTrip, CommandRefused, OSError, ValueError):
            return True
        return False


def _statistics(link: Link) -> dict[str, CycleStatistics]:
    """What the buses last told of themselves; those that have not told anything yet are missing."""
    return {
        bus: CycleStatistics(**{key: value for key, value in told.items() if key in _TOLD})
        for bus, told in dict(link.statistics).items()
    }
