"""Recordings: sealed MCAP segments that any ROS 2 tool opens; writing, reading, verifying, importing."""

from .cdr import decode_block, decode_mark, encode_block, encode_mark
from .errors import RecordingError
from .exporter import export_csv, export_recording
from .importer import import_files
from .mapper import Mapper, MapperError, ProcessMapper, SerialMapper
from .marks import SegmentMark, Tag
from .mcaprecording import BLOCK_ROWS, McapRecording, RecordedSegment
from .reader import open_recording
from .recording import Integrity, Recording, Samples, Segment
from .recovery import Recovered, close_seal, recover_recording
from .schema import MARKS_TOPIC, SAMPLE_BLOCK, SEGMENT_MARK, samples_topic
from .seal import SealReport, samples_folder, seal_digest, verify_seal
from .spread import GRID_ROWS, accumulate, map_segments, mapped
from .unwrapping import Unwrapping
from .writer import RecordingWriter

__all__ = [
    "BLOCK_ROWS",
    "GRID_ROWS",
    "MARKS_TOPIC",
    "SAMPLE_BLOCK",
    "SEGMENT_MARK",
    "Integrity",
    "Mapper",
    "MapperError",
    "McapRecording",
    "ProcessMapper",
    "RecordedSegment",
    "Recording",
    "RecordingError",
    "RecordingWriter",
    "Recovered",
    "Samples",
    "SealReport",
    "Segment",
    "SegmentMark",
    "SerialMapper",
    "Tag",
    "Unwrapping",
    "accumulate",
    "close_seal",
    "decode_block",
    "decode_mark",
    "encode_block",
    "encode_mark",
    "export_csv",
    "export_recording",
    "import_files",
    "map_segments",
    "mapped",
    "open_recording",
    "recover_recording",
    "samples_folder",
    "samples_topic",
    "seal_digest",
    "verify_seal",
]
