"""Writes a recording in a process of its own, to be killed or to run out of disk. Not a test.

    python _child.py FOLDER FSYNC_S LIMIT_BYTES

After every block it reports ``row monotonic_s`` and after every mark ``mark index`` on stdout. With a limit, no file may
grow beyond it (RLIMIT_FSIZE), which to the writer is a full disk; it then ends with the one line of the error.
"""

# ruff: noqa: T201 — what it prints is read by the test

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np

from drivers.device import Block
from verification_platform.metrology.records import ChannelRecord, FixtureRecord
from verification_platform.records.errors import RecordingError
from verification_platform.records.marks import SegmentMark
from verification_platform.records.writer import RecordingWriter

ROWS = 50


def main(folder: Path, fsync_s: float, limit: int) -> None:
    channels = ("a", "b", "c")
    records = {name: ChannelRecord(name, "rad", 500.0) for name in channels}
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    writer = RecordingWriter(
        folder,
        records,
        FixtureRecord(),
        {},
        {"can0": channels},
        segment_bytes=limit * 2 or 60_000,
        fsync_s=fsync_s,
    )
    try:
        for sequence in range(10**9):
            first = sequence * ROWS
            row = np.arange(first, first + ROWS)
            values = row[:, None] * np.array([1.0, 2.0, 3.0])
            writer.write(
                Block("can0", sequence, first, channels, row / 500, values, np.zeros((ROWS, 3), np.uint8))
            )
            print(first + ROWS, time.monotonic(), flush=True)
            if sequence % 40 == 39:
                writer.mark(SegmentMark(sequence, {"n": sequence}, {"can0": (first, first + ROWS)}))
                print("mark", sequence, flush=True)
            if not limit:
                time.sleep(0.002)
    except RecordingError as error:
        print("error", error, flush=True)
        try:
            writer.close()
        except RecordingError as again:
            print("close", again, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
