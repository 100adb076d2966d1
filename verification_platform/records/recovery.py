"""After a crash: make what a killed writer left behind a recording again, and say what was lost.

A killed process leaves complete, sealed segments and one last file without an end. Recovery keeps the
complete chunks of that file, gives it index and footer, enters it in the seal with a note of what was
discarded, and keeps the file as it was found beside it (``.cut``). Nothing is deleted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from drivers.device import Block
from verification_platform.disk import sync_folder, write_whole

from .cdr import block_arrays, block_layout, encode_block, stamp_ns
from .errors import RecordingError
from .mcapfile import Message, Segment, scan
from .metadata import METADATA_NAME, Description, FileCount, from_metadata, rosbag2_metadata
from .schema import SAMPLES_PREFIX, has_ages
from .seal import SEAL_FILE, Seal, hash_file, read_seal
from .segmentfile import SegmentWriter

ROSBAG2_FILE = "metadata.yaml"
CUT_SUFFIX = ".mcap.cut"


@dataclass(frozen=True, slots=True)
class Recovered:
    """State of a recording on disk: seal (open or closed), file counts, last description, what was lost."""

    seal: Seal
    counts: tuple[FileCount, ...]
    description: Description | None
    remarks: tuple[str, ...]


def recover_recording(folder: Path) -> Recovered:
    """Bring a samples folder into a state in which every segment is complete and sealed; idempotent.

    The seal stays open (`RecordingWriter(…, resume=True)` continues it). Raises RecordingError when the seal
    was altered or the disk refuses.
    """
    seal = read_seal(folder) or Seal()
    counts: list[FileCount] = []
    remarks = [f"{entry.file}: {entry.note}" for entry in seal.entries if entry.note]
    description: Description | None = None
    try:
        for path in sorted(folder.glob("*.mcap")):
            known = any(entry.file == path.name for entry in seal.entries)
            segment = scan(path, check_crc=not known)
            found = segment.metadata.get(METADATA_NAME)
            if not known and segment.problem and not segment.messages:
                path.rename(path.with_suffix(CUT_SUFFIX))
                remarks.append(f"{path.name}: {segment.problem}; no sample was in it")
                continue
            if found is None:
                raise RecordingError(f"{path}: is not a segment of this recording; move it away")
            description = from_metadata(found, str(path))
            if not known:
                note = _adopt(segment, description)
                size, sha256 = path.stat().st_size, hash_file(path)
                seal = seal.with_entry(path.name, size, sha256, description.session, note)
                write_whole(folder / SEAL_FILE, seal.text())
                remarks += [f"{path.name}: {note}"] if note else []
            counts.append(_count(segment))
        if description is not None:
            write_whole(folder / ROSBAG2_FILE, rosbag2_metadata(tuple(description.groups), counts))
    except OSError as error:
        raise RecordingError(
            f"{folder}: cannot be recovered ({error.strerror}); free space or permissions, then try again"
        ) from None
    return Recovered(seal, tuple(counts), description, tuple(remarks))


def close_seal(folder: Path) -> str:
    """Recover a folder and close its seal, when nothing more will be recorded; returns the digest.

    Raises RecordingError.
    """
    recovered = recover_recording(folder)
    if not recovered.seal.entries:
        raise RecordingError(f"{folder}: holds no segment with samples; there is nothing to seal")
    closed = Seal(recovered.seal.entries, closed=True)
    write_whole(folder / SEAL_FILE, closed.text())
    return closed.digest


def _count(segment: Segment) -> FileCount:
    count = FileCount(segment.path.name, {})
    for message in segment.messages:
        count.add(message.topic, message.log_time_ns)
    return count


def _adopt(segment: Segment, description: Description) -> str:
    """Make a segment that the seal does not know complete; returns the note for the seal."""
    if segment.problem:
        return _repair(segment, description)
    repaired = segment.path.with_suffix(
        CUT_SUFFIX
    ).exists()  # and the recovery interrupted before it was sealed
    return f"was cut by a crash; what was found is in {segment.path.name}.cut" if repaired else ""


def _as_defined_now(message: Message) -> bytes:
    """The payload, as the definitions say that go into the new file: blocks of an older one end without ages."""
    data = bytes(message.buffer[message.start : message.end])
    if not message.topic.startswith(SAMPLES_PREFIX) or has_ages(message.definition):
        return data
    at = block_layout(data, ages=False)
    block = Block(at.group, at.sequence, at.first_row, at.channels, *block_arrays(data, at))
    return encode_block(block, stamp_ns(data))


def _repair(segment: Segment, description: Description) -> str:
    """Rewrite a cut segment with its whole chunks; returns the note for the seal."""
    draft = segment.path.with_suffix(".mcap.tmp")
    draft.unlink(missing_ok=True)
    writer = SegmentWriter(draft, description)
    try:
        for message in segment.messages:
            writer.add(message.topic, _as_defined_now(message), message.log_time_ns)
        writer.finish()
    finally:
        writer.abandon()
    cut = segment.path.with_suffix(CUT_SUFFIX)
    if not cut.exists():  # else an earlier recovery was itself interrupted here
        os.link(segment.path, cut)
    draft.replace(segment.path)
    sync_folder(segment.path.parent)
    lost = segment.size - segment.whole_bytes
    return (
        f"was cut by a crash; {len(segment.messages)} messages recovered, {lost} bytes of an "
        f"incomplete chunk left in {segment.path.name}.cut"
    )
