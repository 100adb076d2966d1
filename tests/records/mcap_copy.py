"""A segment written anew by another writer: compressed, or as an earlier version wrote it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer


def copy_segment(
    path: Path,
    target: Path,
    *,
    compression: CompressionType = CompressionType.ZSTD,
    definition: Callable[[bytes], bytes] = bytes,
    payload: Callable[[str, bytes], bytes] = lambda _topic, data: data,
) -> None:
    """Same metadata and messages; `definition` of each schema's text, `payload` of each message's topic and bytes."""
    with path.open("rb") as source, target.open("wb") as out:
        reader, writer = make_reader(source), Writer(out, compression=compression)
        writer.start("ros2")
        for found in reader.iter_metadata():
            writer.add_metadata(found.name, found.metadata)
        channels: dict[int, int] = {}
        for schema, channel, message in reader.iter_messages(log_time_order=False):
            assert schema is not None
            if channel.id not in channels:
                text = definition(schema.data)
                schema_id = writer.register_schema(schema.name, schema.encoding, text)
                channels[channel.id] = writer.register_channel(channel.topic, "cdr", schema_id)
            data = payload(channel.topic, message.data)
            writer.add_message(channels[channel.id], message.log_time, data, message.publish_time)
        writer.finish()
