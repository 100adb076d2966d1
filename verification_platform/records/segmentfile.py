"""Writing one MCAP segment so that at every instant the file on disk is whole up to its last record.

The `mcap` library hands over complete records; each reaches the file in full or, when the disk is full, not
at all: a record that was written in part is cut off again. The SHA-256 of the seal is computed on the way.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import IO, cast

from mcap.writer import CompressionType, Writer

from .metadata import METADATA_NAME, Description, FileCount, to_metadata, topics
from .schema import MESSAGE_ENCODING, PROFILE, SCHEMA_ENCODING

#: Samples are flushed in chunks of at least this size, or every fsync period, whichever comes first.
CHUNK_BYTES = 1 << 20


class _HashedFile:
    """The stream given to the mcap library: sequential, unbuffered, hashed."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self.sha256 = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self.descriptor, rest) :]
        except OSError:
            os.ftruncate(self.descriptor, self._size)  # only ever makes room
            raise
        self.sha256.update(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        """Nothing is buffered here."""


class SegmentWriter:
    """One segment of a recording. Methods raise OSError when the disk does; the file stays whole."""

    def __init__(self, path: Path, description: Description) -> None:
        self.path = path
        self.count = FileCount(path.name, {})
        self.message_bytes = 0
        self._file = _HashedFile(path)
        try:
            self._writer = Writer(
                cast(IO[bytes], self._file), chunk_size=CHUNK_BYTES, compression=CompressionType.NONE
            )
            self._writer.start(profile=PROFILE, library="pilotbench")
            self._writer.add_metadata(METADATA_NAME, to_metadata(description))
            self._channels: dict[str, int] = {}
            schemas: dict[str, int] = {}
            for topic, message in topics(tuple(description.groups)).items():
                if message.name not in schemas:
                    schemas[message.name] = self._writer.register_schema(
                        message.name, SCHEMA_ENCODING, message.definition.encode()
                    )
                about = {"offered_qos_profiles": "", "topic_type_hash": message.type_hash}
                self._channels[topic] = self._writer.register_channel(
                    topic, MESSAGE_ENCODING, schemas[message.name], about
                )
            os.fsync(self._file.descriptor)  # the description is not covered by any chunk checksum
        except BaseException:
            self.abandon()
            raise

    def add(self, topic: str, data: bytes, log_time_ns: int, sequence: int = 0) -> None:
        """Append a message; it is on its way to the disk once its chunk is full or flushed."""
        self._writer.add_message(
            self._channels[topic], log_time_ns, data, log_time_ns, sequence & 0xFFFF_FFFF
        )
        self.count.add(topic, log_time_ns)
        self.message_bytes += len(data)

    def describe(self, description: Description) -> None:
        """Write the description again, with what has become known since."""
        self._writer.add_metadata(METADATA_NAME, to_metadata(description))

    def flush(self) -> None:
        """Hand the chunk in progress to the operating system."""
        self._writer.flush()  # type: ignore[no-untyped-call]

    def duplicate(self) -> int:
        """A second descriptor of the file, to fsync it while writing goes on; the caller closes it."""
        return os.dup(self._file.descriptor)

    def finish(self) -> tuple[int, str]:
        """Write index and footer, fsync, close. Returns size and SHA-256."""
        self._writer.finish()  # type: ignore[no-untyped-call]
        os.fsync(self._file.descriptor)
        self.abandon()
        return self._file.tell(), self._file.sha256.hexdigest()

    def abandon(self) -> None:
        """Close the file as it is."""
        if self._file.descriptor >= 0:
            os.close(self._file.descriptor)
            self._file.descriptor = -1
