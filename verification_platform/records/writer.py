"""Writing a recording: blocks and marks go in, sealed MCAP segments come out.

Life of a recording: `RecordingWriter(folder, …)` opens ``000000.mcap``; blocks are appended; every
`segment_bytes` the segment is completed, fsynced and entered in the seal, and the next begins; `close`
completes the last one and closes the seal. What was handed to `write` is on the disk at most `fsync_s` later
(a background thread sees to it, so that the caller does not wait for the disk); marks are on the disk when
`mark` returns. A killed process therefore loses at most the samples of the last `fsync_s`.

A full disk ends the recording with one RecordingError. What was written until then stays whole and can be
resumed.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from drivers.device import Block
from verification_platform.disk import sync_folder, write_whole
from verification_platform.metrology.records import ChannelRecord, FixtureRecord

from .cdr import block_layout, decode_mark, encode_block, encode_mark
from .errors import RecordingError
from .marks import SegmentMark
from .metadata import Description, rosbag2_metadata
from .recordingfolder import begin, lock_folder
from .recovery import ROSBAG2_FILE
from .schema import MARKS_TOPIC, SAMPLES_PREFIX, samples_topic
from .seal import SEAL_FILE
from .segmentfile import SegmentWriter

SEGMENT_BYTES = 64 << 20


class RecordingWriter:
    """Appends to the recording in `folder` (the samples folder itself). Usable from several threads; a
    context manager.

    `groups` names the columns of each group; every column needs a record in `channels`. `attributes` is
    anything JSON that evaluation may want to know. With `resume` an interrupted recording is recovered and
    continued as a new session.

    Raises RecordingError when the folder already holds a recording (without `resume`), is being written by
    another process, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        channels: Mapping[str, ChannelRecord],
        fixture: FixtureRecord,
        attributes: Mapping[str, Any],
        groups: Mapping[str, tuple[str, ...]],
        *,
        segment_bytes: int = SEGMENT_BYTES,
        fsync_s: float = 1.0,
        resume: bool = False,
    ) -> None:
        description = Description(
            dict(channels), fixture, dict(attributes), {name: tuple(c) for name, c in groups.items()}
        )
        description.check()
        self.folder = folder
        self._segment_bytes, self._fsync_s = segment_bytes, fsync_s
        self._topics = {
            samples_topic(group): (group, columns) for group, columns in description.groups.items()
        }
        self._lock = threading.RLock()
        self._failed: RecordingError | None = None
        self._last_log_ns = 0
        self._segment: SegmentWriter | None = None
        self._dirty = False
        self._stop = threading.Event()
        self._folder_lock = lock_folder(folder)
        try:
            self._seal, self._counts, self._description = begin(folder, description, resume)
            self._open_segment()
        except BaseException:
            self._release()
            raise
        self._thread = threading.Thread(
            target=self._keep_syncing, name=f"recording-{folder.name}", daemon=True
        )
        self._thread.start()

    def write(self, block: Block, *, stamp_ns: int | None = None) -> None:
        """Append a block. `stamp_ns` is the UTC of its first row; without it (virtual time) log times follow
        the stamps.

        Raises RecordingError for a group or columns that were not announced, and when the disk refuses.
        """
        topic = SAMPLES_PREFIX + block.group
        self._expect(topic, block.group, block.channels)
        last_s = float(block.stamps_s[-1]) if len(block) else 0.0
        if not (np.isfinite(last_s) and 0.0 <= last_s < 2**31):
            raise RecordingError(
                f"block {block.sequence} of {block.group}: stamp {last_s} s; must be from 0 to 2^31"
            )
        log_time_ns = (
            stamp_ns
            if stamp_ns is not None
            else max(self._last_log_ns if not len(block) else 0, round(last_s * 1e9))
        )
        self._add(topic, encode_block(block, stamp_ns or 0), log_time_ns, block.sequence)

    def write_message(self, topic: str, data: bytes, log_time_ns: int) -> None:
        """Append a message as ROS serialised it, byte for byte.

        Raises RecordingError for another topic than ``/samples/<group>`` and ``/marks``, a message that does
        not decode, and when the disk refuses.
        """
        if topic == MARKS_TOPIC:
            decode_mark(data)
            self._add(topic, data, log_time_ns, 0)
            self.sync()
            return
        layout = block_layout(data)
        self._expect(topic, layout.group, layout.channels)
        self._add(topic, data, log_time_ns, layout.sequence)

    def mark(self, mark: SegmentMark) -> None:
        """Append a segment mark; when this returns, it and everything before it are on the disk."""
        for group in mark.rows:
            if samples_topic(group) not in self._topics:
                raise RecordingError(
                    f"mark {mark.index} names group {group!r}; the recording has {self._group_names()}"
                )
        self._add(MARKS_TOPIC, encode_mark(mark), self._last_log_ns, mark.index)
        self.sync()

    def describe(
        self,
        *,
        channels: Mapping[str, ChannelRecord] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Complete what is known only at the end of a run (zeros at rest, statistics); readers take the
        last word.

        Raises RecordingError when other channels are named than were announced, and when the disk refuses.
        """
        with self._lock:
            self._check_usable()
            assert self._segment is not None
            said = self._description
            description = replace(
                said,
                channels=said.channels if channels is None else dict(channels),
                attributes=said.attributes if attributes is None else dict(attributes),
            )
            description.check()
            try:
                self._segment.describe(description)
            except OSError as error:
                raise self._fail(error) from None
            self._description = description
            self._dirty = True

    def sync(self) -> None:
        """Bring everything written so far to the disk. Raises RecordingError."""
        try:
            with self._lock:
                self._check_usable()
                assert self._segment is not None
                if not self._dirty:
                    return
                self._segment.flush()
                self._dirty = False
                descriptor = self._segment.duplicate()
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._fail(error) from None

    def close(self) -> None:
        """Complete the last segment and close the seal. Idempotent.

        Raises RecordingError if the recording is not whole.
        """
        self._stop.set()
        with self._lock:
            if self._segment is None and self._failed is None:
                return
            try:
                self._check_usable()
                self._finish_segment()
                self._seal = replace(self._seal, closed=True)
                write_whole(self.folder / SEAL_FILE, self._seal.text())
            except OSError as error:
                raise self._fail(error) from None
            finally:
                self._release()
        self._thread.join()

    @property
    def seal_digest(self) -> str:
        """Digest of the closed seal; meaningful after `close`."""
        return self._seal.digest

    @property
    def session(self) -> int:
        """0 in a fresh recording; one more with every resumption."""
        return self._description.session

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except RecordingError:
            if error is None:
                raise

    def _group_names(self) -> str:
        return ", ".join(self._description.groups)

    def _expect(self, topic: str, group: str, channels: tuple[str, ...]) -> None:
        if topic not in self._topics or self._topics[topic][0] != group:
            raise RecordingError(
                f"block of group {group!r} on topic {topic!r}; the recording has groups {self._group_names()}"
            )
        if channels != self._topics[topic][1]:
            raise RecordingError(
                f"block of {group} carries channels {', '.join(channels)}; announced were "
                f"{', '.join(self._topics[topic][1])}"
            )

    def _check_usable(self) -> None:
        if self._failed is not None:
            raise self._failed
        if self._segment is None:
            raise RecordingError(f"{self.folder}: the recording is closed")

    def _add(self, topic: str, data: bytes, log_time_ns: int, sequence: int) -> None:
        with self._lock:
            self._check_usable()
            assert self._segment is not None
            try:
                if (
                    self._segment.message_bytes
                    and self._segment.message_bytes + len(data) > self._segment_bytes
                ):
                    self._finish_segment()
                    self._open_segment()
                self._segment.add(topic, data, log_time_ns, sequence)
            except OSError as error:
                raise self._fail(error) from None
            self._last_log_ns = max(self._last_log_ns, log_time_ns)
            self._dirty = True

    def _open_segment(self) -> None:
        self._description = replace(
            self._description, segment=len(self._seal.entries), previous=self._seal.last_link
        )
        path = self.folder / f"{len(self._seal.entries):06d}.mcap"
        try:
            self._segment = SegmentWriter(path, self._description)
            sync_folder(self.folder)
        except FileExistsError:
            raise RecordingError(
                f"{path}: exists already, though the seal does not know it; move it away"
            ) from None
        except OSError as error:
            raise self._fail(error) from None

    def _finish_segment(self) -> None:
        assert self._segment is not None
        size, sha256 = self._segment.finish()
        self._counts.append(self._segment.count)
        self._seal = self._seal.with_entry(self._segment.path.name, size, sha256, self._description.session)
        write_whole(self.folder / SEAL_FILE, self._seal.text())
        write_whole(
            self.folder / ROSBAG2_FILE, rosbag2_metadata(tuple(self._description.groups), self._counts)
        )
        self._segment = None

    def _keep_syncing(self) -> None:
        """Half the period between syncs, so that the oldest unsynced sample is never older than the whole."""
        while not self._stop.wait(self._fsync_s / 2):
            try:
                self.sync()
            except RecordingError:
                return  # kept in _failed: the next write, or close, raises it

    def _fail(self, error: OSError) -> RecordingError:
        """Note the first failure; every later call repeats it."""
        with self._lock:
            if self._failed is None:
                what = (
                    "the disk is full"
                    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
                    else str(error.strerror)
                )
                self._failed = RecordingError(
                    f"{self.folder}: recording stopped, {what}; everything before is whole: "
                    "free space and resume the run"
                )
            return self._failed

    def _release(self) -> None:
        if self._segment is not None:
            self._segment.abandon()
            self._segment = None
        if self._folder_lock >= 0:
            os.close(self._folder_lock)
            self._folder_lock = -1
