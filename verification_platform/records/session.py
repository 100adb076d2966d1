"""A recording in progress, fed from a stream that must not wait for the disk.

The recorder process hands over each message the moment it arrives; one thread writes them in order. The
queue between the two is watched: how far the disk is behind is part of the recorder's heartbeat. Continuity
is counted on the way in: a block or row number that is skipped means that samples were lost before they
came here.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from .cdr import block_layout, stamp_ns
from .errors import RecordingError
from .schema import MARKS_TOPIC
from .writer import RecordingWriter


@dataclass(frozen=True, slots=True)
class SessionReport:
    """What was written, and why it is not complete (empty when it is)."""

    blocks: int
    lost_blocks: int
    marks: int
    seal: str
    problem: str


@dataclass(frozen=True, slots=True)
class Reached:
    """Where a group's counting stands: its last block, and the row that comes next."""

    sequence: int
    next_row: int

    @classmethod
    def of(cls, data: bytes) -> tuple[str, Reached]:
        """Group and count of an encoded SampleBlock. Raises RecordingError."""
        layout = block_layout(data)
        return layout.group, cls(layout.sequence, layout.first_row + layout.rows)


class RecordingSession:
    """Owns `writer` from now on; `put` may be called from any one thread, and never blocks on the disk.

    `before` is where each group stood when the recording began, so that a first block that is lost is noticed too.
    """

    def __init__(self, writer: RecordingWriter, before: Mapping[str, Reached] | None = None) -> None:
        self._writer = writer
        self._queue: deque[tuple[float, str, bytes, int]] = deque()
        self._ready = threading.Condition()
        self._oldest_s: float | None = None  # arrival of the message that is being written or waits first
        self._ending = False
        self._groups = dict(before or {})
        self._awaited = set(self._groups)  # groups of which nothing has arrived yet in this recording
        self._blocks = self._lost = self._marks = 0
        self._problem = ""
        self._thread = threading.Thread(target=self._write_all, name="recorder", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str:
        """Why the recording is not, or will not be, complete: one clear line, or empty."""
        return self._problem

    def backlog_s(self) -> float:
        """Age of the oldest message that is not written yet."""
        oldest = self._oldest_s
        return 0.0 if oldest is None else time.monotonic() - oldest

    def put(self, topic: str, data: bytes) -> None:
        """Take one message as ROS serialised it."""
        arrived_s = time.monotonic()
        try:
            log_time_ns = self._note(topic, data)
        except RecordingError as error:
            self._complain(str(error))
            return
        with self._ready:
            self._queue.append((arrived_s, topic, data, log_time_ns))
            if self._oldest_s is None:
                self._oldest_s = arrived_s
            self._ready.notify()

    def reached(self, marks: int, last_rows: Mapping[str, int]) -> bool:
        """Everything up to these rows (exclusive) and this many marks has arrived."""
        return self._marks >= marks and all(
            group in self._groups and self._groups[group].next_row >= row for group, row in last_rows.items()
        )

    def finish(self, marks: int = 0, last_rows: Mapping[str, int] | None = None) -> SessionReport:
        """Write what is queued, seal, and say whether all of it is there. Blocks until the disk has it.
        Never raises."""
        for group, row in (last_rows or {}).items():
            if group not in self._groups or self._groups[group].next_row < row:
                self._complain(f"{group}: the last samples never arrived at the recorder")
        if self._marks < marks:
            self._complain(f"{marks - self._marks} segment marks never arrived at the recorder")
        with self._ready:
            self._ending = True
            self._ready.notify()
        self._thread.join()
        try:
            self._writer.close()
        except RecordingError as error:
            self._complain(str(error))
        return SessionReport(self._blocks, self._lost, self._marks, self._writer.seal_digest, self._problem)

    # ------------------------------------------------------------------ inside

    def _note(self, topic: str, data: bytes) -> int:
        """Count, check continuity; the log time, ns of UTC."""
        if topic == MARKS_TOPIC:
            self._marks += 1
            return time.time_ns()
        layout = block_layout(data)
        before = self._groups.get(layout.group)
        if layout.group in self._awaited and (layout.sequence, layout.first_row) == (0, 0):
            before = None  # its bus was opened anew; it counts from the beginning
        self._awaited.discard(layout.group)
        if before is not None and (layout.sequence, layout.first_row) != (
            before.sequence + 1,
            before.next_row,
        ):
            self._lost += max(layout.sequence - before.sequence - 1, 0)
            self._complain(
                f"{layout.group}: block {layout.sequence} came after block {before.sequence}; samples were lost"
            )
        self._groups[layout.group] = Reached(layout.sequence, layout.first_row + layout.rows)
        self._blocks += 1
        return stamp_ns(data)

    def _complain(self, problem: str) -> None:
        self._problem = self._problem or problem

    def _write_all(self) -> None:
        while True:
            with self._ready:
                while not self._queue and not self._ending:
                    self._ready.wait()
                if not self._queue:
                    return
                self._oldest_s, topic, data, log_time_ns = self._queue.popleft()
            try:
                self._writer.write_message(topic, data, log_time_ns)
            except RecordingError as error:
                self._complain(str(error))
            with self._ready:
                self._oldest_s = self._queue[0][0] if self._queue else None
