"""How fast a recording is written and read, next to the bare MCAP library doing the same on the same machine.

    python benchmarks/recording.py [ROWS_PER_BLOCK …]

16 channels of float64. Unlike the bare library, the recording also computes SHA-256 and syncs every second.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from drivers.device import Block
from verification_platform.metrology.records import ChannelRecord, FixtureRecord
from verification_platform.records.cdr import encode_block
from verification_platform.records.reader import open_recording
from verification_platform.records.seal import verify_seal
from verification_platform.records.writer import RecordingWriter

CHANNELS = tuple(f"channel_{k:02d}" for k in range(16))
TOTAL_BYTES = 300e6


def blocks(rows: int) -> list[Block]:
    rng = np.random.default_rng(1)
    values, quality = rng.normal(size=(rows, 16)), np.zeros((rows, 16), np.uint8)
    count = min(int(TOTAL_BYTES / (rows * 152)), 40_000)
    stamps = np.arange(rows) * 1e-3
    return [
        Block("can0", i, i * rows, CHANNELS, stamps + i * rows * 1e-3, values, quality) for i in range(count)
    ]


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - processor


def bare_write(path: Path, data: list[Block]) -> None:
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.NONE)
        writer.start("ros2")
        channel = writer.register_channel("/samples/can0", "cdr", writer.register_schema("x", "ros2msg", b""))
        for block in data:
            writer.add_message(channel, block.sequence, encode_block(block), block.sequence)
        writer.finish()


def bare_read(path: Path) -> None:
    with path.open("rb") as file:
        for _ in make_reader(file).iter_messages(log_time_order=False):
            pass


def record(folder: Path, data: list[Block]) -> None:
    records = {name: ChannelRecord(name, "rad", 1000.0) for name in CHANNELS}
    with RecordingWriter(folder, records, FixtureRecord(), {}, {"can0": CHANNELS}) as writer:
        for block in data:
            writer.write(block)


def read(folder: Path) -> None:
    for segment in open_recording(folder, check_seal=False).segments():
        for _ in segment.blocks(*CHANNELS):
            pass


def main(sizes: list[int]) -> None:
    print(f"{'rows/block':>10} {'what':<34} {'MB/s wall':>10} {'MB/s cpu':>10}")
    for rows in sizes:
        data = blocks(rows)
        megabytes = (
            sum(block.values.nbytes + block.quality.nbytes + block.stamps_s.nbytes for block in data) / 1e6
        )
        with tempfile.TemporaryDirectory() as name:
            folder, bare = Path(name) / "samples", Path(name) / "bare.mcap"
            actions: tuple[tuple[str, Callable[[], object]], ...] = (
                ("write: mcap library alone", partial(bare_write, bare, data)),
                ("write: recording, sealed, synced", partial(record, folder, data)),
                ("read: mcap library alone", partial(bare_read, bare)),
                ("read: recording to arrays", partial(read, folder)),
                ("verify the seal", partial(verify_seal, folder)),
            )
            for what, action in actions:
                wall, processor = timed(action)
                print(f"{rows:>10} {what:<34} {megabytes / wall:>10.0f} {megabytes / processor:>10.0f}")


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [10, 100, 1000])
