"""The bench's clock: what every process of a bench means by "now".

On hardware it is the host's monotonic clock. On an emulated bench it may wait: nothing moves there but what is
computed, so when a process that owes the bench its next cycle was given no processor (a virtual machine that has used
up its share, a loaded CI machine), time stands still for all of them until it has caught up, and no cycle is skipped
that a real bench would not have skipped.

How: the processes share one page. A thread for which time is to wait has a seat in it with a *hold*, the time
at which it next has something to do; time never passes a hold by more than `SLACK_S`. Whoever is dead or stopped, or
overdue by more than the page's patience, no longer counts, and time goes on from where it stood: a hang is still a
hang, and shows as silence like anywhere else.

    clock.create(path, patience_s=1.0)      # the emulator, once
    clock.join(path)                        # every other process
    with clock.seat(): …                    # in the thread for which time is to wait
    clock.now(), clock.sleep_until(t), clock.waiting(t)

The page also holds, for each line to an emulated device, when the last request on it was sent (`request`, `asked_s`). The
emulator wakes up some ten to hundred µs after that, where a real drive latches within a few; it does what it is asked as if it had
been there at once, and who reads a row stamps it with the same instant (`sent_s`).
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import mmap
import os
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

#: Time passes a hold by this much: what a cycle's own work takes.
SLACK_S = 0.0004
#: Who waits for an answer lets time go on by strides: the answer may be there before it has been noticed.
_STRIDE_S = 0.0003
#: Before a deadline of the host's clock. Waking up in real-time priority takes 20 to 90 µs.
WATCH_S = 0.0001
SEATS = 12
#: Lines to emulated devices; of any more it is not told when a request was sent.
LINES = 16
#: Who sends holds the time, which creeps on all the same while a kernel without a processor hands a request over. Before that it was
#: another request, and this one is of somebody who does not say when.
_RECENT_S = 0.02
#: An owner that is so late is looked at: does it run?
_LATE_S = 0.02
#: Who waits while time stands still looks first after the shorter, in the end after the longer of these: whoever is
#: waited for needs the processor more.
_GLANCES_S = (0.0001, 0.002)
_NEVER = float("inf")
#: Differences below this are the rounding of float64.
_STILL_S = 1e-7
#: Words of the page, float64: patience; by seat: hold, then offset to the host's clock; one more offset, written
#: under the file's lock when an owner is shown the door; by seat: process; how often the emulator
#: has begun to look for requests, and half as much more while it works on what it found; by line: its name, 0 for none; by line:
#: when the last request on it was sent.
#: A reader takes holds, offsets, the host's clock, in this order, and an owner writes its offset before its hold, so that
#: whoever is held up between two of them sees too early a time, never one that has not come yet.
_HOLDS, _OFFSETS, _EVICTED, _PROCESSES, _LOOKS = 1, 1 + SEATS, 1 + 2 * SEATS, 2 + 2 * SEATS, 2 + 3 * SEATS
_NAMES, _SENT = 3 + 3 * SEATS, 3 + 3 * SEATS + LINES
_TIME = struct.Struct(f"={_NAMES}d")  # what is read to tell the time
_PAGE = struct.Struct(f"={_SENT + LINES}d")


class Page:
    """The words that the processes share. Each has one writer and is written in one go, so reading needs no lock."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), _PAGE.size)
        self._words = memoryview(self._map).cast("d")
        self._patience_s = self._words[0]
        self._lines: dict[str, int | None] = {}

    def close(self) -> None:
        self._words.release()
        self._map.close()
        self._file.close()

    @staticmethod
    def write(path: Path, patience_s: float) -> None:
        path.write_bytes(_PAGE.pack(patience_s, *[_NEVER] * SEATS, *[0.0] * (2 * SEATS + 2 + 2 * LINES)))

    def now(self) -> float:
        """Seconds on the bench's clock."""
        words = _TIME.unpack_from(self._map)
        return self._at(time.monotonic(), words)

    def _at(self, host_s: float, words: tuple[float, ...]) -> float:
        raw_s = host_s - max(words[_OFFSETS:_PROCESSES])
        held_s = min(words[_HOLDS:_OFFSETS]) + SLACK_S
        return raw_s if raw_s <= held_s else self._held(raw_s, words)

    def _held(self, raw_s: float, words: tuple[float, ...]) -> float:
        """Where the most overdue owner holds the time. It is shown the door when it does not run, or patience is at an end."""
        hold_s, seat = min(zip(words[_HOLDS:_OFFSETS], range(SEATS), strict=True))
        late_s = raw_s - hold_s - SLACK_S
        if late_s > self._patience_s or (late_s > _LATE_S and not _runs(int(words[_PROCESSES + seat]))):
            self._evict(seat, hold_s)
        return hold_s + SLACK_S

    def _evict(self, seat: int, hold_s: float) -> None:
        """Time goes on from where it stands without the process of `seat`, until it asks for it again."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # somebody else is about it
        try:
            if self._words[_HOLDS + seat] == hold_s:
                self._words[_EVICTED] = time.monotonic() - hold_s - SLACK_S
                process = self._words[_PROCESSES + seat]
                for other in range(SEATS):  # its other threads will not come either
                    if self._words[_PROCESSES + other] == process:
                        self._words[_HOLDS + other] = _NEVER
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def sit(self, *, emulator: bool = False) -> int:
        """Number of a free seat, now taken; the first is the emulator's. Raises OSError when there is none."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            for seat in range(1) if emulator else range(1, SEATS):
                process = int(self._words[_PROCESSES + seat])
                if process == 0 or not _runs(process):
                    self._words[_HOLDS + seat] = _NEVER
                    self._words[_PROCESSES + seat] = float(os.getpid())
                    return seat
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        raise OSError(f"all {SEATS} seats at the bench's clock are taken")

    def hold(self, seat: int, until_s: float) -> None:
        """The owner of `seat` has done what was due; time may go on until `until_s`."""
        words = _TIME.unpack_from(self._map)
        host_s = time.monotonic()
        now_s = self._at(host_s, words)
        stands = host_s - now_s > max(words[_OFFSETS:_PROCESSES]) + _STILL_S
        if (
            stands and words[_HOLDS + seat] + SLACK_S <= now_s + _STILL_S
        ):  # because of this owner: it goes on from there
            self._words[_OFFSETS + seat] = host_s - now_s
        self._words[_HOLDS + seat] = max(until_s, now_s)

    def knock(self, address: str) -> float:
        """The emulator is about to get something to do, on the line of that `address`. Returns the instant."""
        now_s, line = self.now(), self._line(address)
        if line is not None:
            self._words[_SENT + line] = now_s
        if self._words[_HOLDS] != _NEVER:
            self._words[_HOLDS] = min(self._words[_HOLDS], now_s)
        return now_s

    def asked_s(self, address: str, now_s: float) -> float:
        """When the last request on a line was sent, if that can be the one that is there at `now_s`; else `now_s`."""
        line = self._line(address)
        sent_s = _NEVER if line is None else self._words[_SENT + line]
        return sent_s if now_s - _RECENT_S < sent_s < now_s else now_s

    def _line(self, address: str) -> int | None:
        """Number of a line, the same for both of its ends; None when there is none left."""
        if address not in self._lines:
            self._lines[address] = self._named(float(zlib.crc32(address.encode()) + 1))
        return self._lines[address]

    def _named(self, name: float) -> int | None:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            for line in range(LINES):
                if self._words[_NAMES + line] in (0.0, name):
                    self._words[_NAMES + line] = name
                    return line
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        return None

    def look(self, *, works: bool) -> None:
        """The emulator is about to look for requests, or to work on those it found."""
        self._words[_LOOKS] = math.floor(self._words[_LOOKS]) + (0.5 if works else 1.0)

    def answered_by(self) -> float:
        """The look with which a request that has just been sent will have been seen to."""
        return math.floor(self._words[_LOOKS] + 0.5) + 1.0

    def answered(self, look: float) -> bool:
        """Whether the emulator has come to that look, or is not there."""
        return self._words[_LOOKS] >= look or self._words[_HOLDS] == _NEVER

    def rise(self, seat: int) -> None:
        self._words[_HOLDS + seat] = _NEVER
        self._words[_PROCESSES + seat] = 0.0


_page: Page | None = None
_mine = threading.local()


def create(path: Path, patience_s: float) -> None:
    """Make the page at `path` and go by it in this process. Time waits for an owner at most `patience_s`."""
    Page.write(path, patience_s)
    join(path)


def join(path: Path | None) -> None:
    """Go by the page at `path` in this process; None for the host's clock. Raises OSError."""
    global _page
    before, _page = _page, None if path is None else Page(path)
    if before is not None:
        before.close()


def now() -> float:
    """Seconds on the bench's clock; comparable between its processes.

    It never goes back by more than the few µs in which two of them may disagree.
    """
    return time.monotonic() if _page is None else _page.now()


def waits() -> bool:
    """Whether this process goes by a clock that may wait."""
    return _page is not None


def left_s(until_s: float) -> float:
    """For how long to block before looking again whether `until_s` has come, s; 0 when it has."""
    now_s = now()
    left = until_s - now_s
    if _page is None or left <= 0:
        return max(left, 0.0)
    stands = now_s == getattr(_mine, "last_s", None)
    glance_s: float = min(2.0 * _mine.glance_s, _GLANCES_S[1]) if stands else _GLANCES_S[0]
    _mine.glance_s, _mine.last_s = glance_s, now_s
    return max(left, glance_s)


def wait_s(until_s: float) -> float:
    """As `left_s`, for the calling thread that is about to block until an answer comes or `until_s`."""
    if _page is None:
        return max(until_s - time.monotonic(), 0.0)
    if not _page.answered(getattr(_mine, "look", 0.0)):  # whatever hold the emulator is about to write
        waiting(now())
        # Ever longer: an answer wakes this thread anyway, and what brings the request to the emulator (a kernel thread at
        # ordinary priority, for a pty) may need this processor.
        _mine.answer_s = min(2.0 * getattr(_mine, "answer_s", 0.5 * _GLANCES_S[0]), _GLANCES_S[1])
        return float(_mine.answer_s)
    stride_s = min(until_s, now() + _STRIDE_S)
    waiting(stride_s)
    return 0.0 if until_s <= now() else min(left_s(until_s), max(left_s(stride_s), _GLANCES_S[0]))


class _Request:
    """A class, because the generator of `contextlib` takes 1 µs of every send."""

    __slots__ = ("_address",)

    def __init__(self, address: str) -> None:
        self._address = address

    def __enter__(self) -> None:
        if _page is not None:
            _mine.sent_s = _page.knock(self._address)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if _page is not None and kind is None:
            _mine.look = _page.answered_by()
            _mine.answer_s = 0.5 * _GLANCES_S[0]


def request(address: str) -> contextlib.AbstractContextManager[None]:
    """Around the sending of something that the emulator is to see to, on its line of that address: time waits for it.

    To be made once for each line, and entered for each request.
    """
    return _Request(address)


def sent_s(since_s: float) -> float:
    """When the calling thread sent its last request, if that was after `since_s`: for the emulator it arrives at that instant.

    Otherwise, as on the host's clock, now.
    """
    last_s: float = getattr(_mine, "sent_s", -_NEVER)
    return last_s if _page is not None and last_s >= since_s else now()


def asked_s(address: str, now_s: float) -> float:
    """For the emulator: when the request was sent that is there now, at `now_s`, on the line of that address."""
    return now_s if _page is None else _page.asked_s(address, now_s)


def look(*, works: bool = False) -> None:
    """The emulator is about to look for what it was sent, or to work on it."""
    if _page is not None:
        _page.look(works=works)


def waiting(until_s: float) -> None:
    """The calling thread is about to block until something comes, or until `until_s`."""
    seat: int | None = getattr(_mine, "seat", None)
    if seat is not None and _page is not None:
        _page.hold(seat, until_s)


def sleep_until(when_s: float) -> None:
    """Return at `when_s`."""
    waiting(when_s)
    while (left := left_s(when_s)) > 0:
        time.sleep(left)


def meet(when_s: float) -> None:
    """As `sleep_until`, to the microsecond: the host's clock is watched for the last `WATCH_S`, longer than waking up takes.

    A clock that may wait is not watched: somebody else may need the processor so that it goes on.
    """
    if _page is not None:
        sleep_until(when_s)
        return
    while (left := when_s - WATCH_S - time.monotonic()) > 0:
        time.sleep(left)
    while time.monotonic() < when_s:
        pass


@contextlib.contextmanager
def seat(*, emulator: bool = False) -> Iterator[None]:
    """Time waits for the calling thread, from its first `waiting` on, until it leaves."""
    page = _page
    if page is None:
        yield
        return
    _mine.seat = page.sit(emulator=emulator)
    try:
        yield
    finally:
        page.rise(_mine.seat)
        _mine.seat = None


def _runs(process: int) -> bool:
    """Whether a process exists, is not stopped, and not just a remainder that nobody has collected yet."""
    try:
        status = Path(f"/proc/{process}/stat").read_bytes()
    except OSError:
        return False
    return status.rpartition(b")")[2].split()[0] not in (b"Z", b"X", b"T")
