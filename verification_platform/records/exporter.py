"""A recording as CSV: for other programs, and for the eye.

One file a group (``samples-<group>.csv``) with SI numbers that keep every bit, ``segments.csv`` with what
was measured when, and one mapping a group, so that ``pilotbench import`` can read the files back. A sample
that is not GOOD is an empty cell.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from drivers.device import Quality

from .errors import RecordingError
from .mcaprecording import McapRecording
from .reader import open_recording

FORMATS = ("csv",)


def export_recording(source: Path | Iterable[Path], out: Path, format_: str = "csv") -> list[Path]:
    """Write a recording in another format into the folder `out`; returns the files. Raises RecordingError."""
    if format_ != "csv":
        raise RecordingError(f"format {format_!r} cannot be written; there is {', '.join(FORMATS)}")
    return export_csv(source, out)


def export_csv(source: Path | Iterable[Path], out: Path) -> list[Path]:
    """Write a recording (run folder, samples folder or MCAP files) as CSV into `out`; returns the files
    written.

    Raises RecordingError when the recording cannot be opened or `out` cannot be written.
    """
    recording = open_recording(source)
    try:
        out.mkdir(parents=True, exist_ok=True)
        written = [_write_segments(recording, out / "segments.csv")]
        for group in recording.groups:
            written.append(_write_group(recording, group, out / f"samples-{group}.csv"))
            written.append(_write_mapping(recording, group, out / f"mapping-{group}.toml"))
    except OSError as error:
        raise RecordingError(
            f"{out}: cannot be written ({error.strerror}); give a writable folder with space"
        ) from None
    return written


def _heading(recording: McapRecording, channel: str) -> str:
    return f"{channel} [{recording.channels[channel].unit}]"


def _write_group(recording: McapRecording, group: str, path: Path) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerow(
            ["stamp [s]", *(_heading(recording, name) for name in recording.groups[group])]
        )
        for samples in recording.rows(group):
            table = np.column_stack((samples.stamps_s, samples.values)).tolist()
            if (samples.quality != Quality.GOOD).any():
                for row, column in np.argwhere(samples.quality != Quality.GOOD).tolist():
                    table[row][column + 1] = None
                file.writelines(",".join("" if x is None else repr(x) for x in row) + "\n" for row in table)
            else:
                file.writelines(",".join(map(repr, row)) + "\n" for row in table)
    return path


def _write_segments(recording: McapRecording, path: Path) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["index", "group", "first line", "last line", "tag"])
        for segment in recording.segments():
            for group in segment.rows:
                first, last = recording.lines(segment, group)
                table.writerow(
                    [
                        segment.index,
                        group,
                        first + 2,
                        last + 1,
                        json.dumps(dict(segment.tag), ensure_ascii=False),
                    ]
                )
    return path


def _toml(value: object) -> str:
    """A TOML value; JSON's spelling of texts, numbers and true/false is TOML's, which has no null: it is left out."""
    if isinstance(value, Mapping):
        pairs = (f"{_toml(str(key))} = {_toml(item)}" for key, item in value.items() if item is not None)
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value if item is not None)}]"
    return json.dumps(value, ensure_ascii=False)


def _write_mapping(recording: McapRecording, group: str, path: Path) -> Path:
    flagged = recording.integrity().not_good
    lines = [
        f"# To read it back: pilotbench import samples-{group}.csv --map {path.name} --out FOLDER",
        "[file]",
        f"group = {_toml(group)}",
        f'on_missing = "{"flag" if flagged else "refuse"}"',
        'on_gap = "split"',  # pauses between segments are no loss
        "[time]",
        'column = "stamp [s]"',
        'unit = "s"',
    ]
    rates = {recording.channels[name].rate_hz for name in recording.groups[group]}
    lines += [f'rate = "{rates.pop()!r} Hz"'] if len(rates) == 1 and min(rates) > 0 else []
    for name in recording.groups[group]:
        record = recording.channels[name]
        lines += [
            f"[channel.{name}]",
            f"column = {_toml(_heading(recording, name))}",
            f"unit = {_toml(record.unit)}",
        ]
        lines += [f"sensor = {_toml(record.sensor)}"] if record.sensor else []
        lines += [f"range = {_toml(record.range)}"] if record.range is not None else []
        lines += [f"resolution = {_toml(record.resolution)}"] if record.resolution else []
        if record.calibrated is not None and record.due is not None:
            lines += [
                f"calibration = {{ certificate = {_toml(record.certificate)}, "
                f"laboratory = {_toml(record.laboratory)}, date = {record.calibrated.isoformat()}, "
                f"due = {record.due.isoformat()}, U = {record.U!r}, "
                f"U_relative = {record.U_relative!r}, k = {record.k!r} }}"
            ]
    for segment in recording.segments():
        if group in segment.rows and segment.rows[group][0] < segment.rows[group][1]:
            first, last = recording.lines(segment, group)
            lines += ["[[segment]]", f"rows = [{first}, {last}]", f"tag = {_toml(segment.tag)}"]
    lines += ["[fixture]"]
    lines += [f"{name} = {getattr(recording.fixture, name)!r}" for name in recording.fixture.__slots__]
    lines += ["[attributes]"]
    lines += [
        f"{_toml(name)} = {_toml(value)}" for name, value in recording.attributes.items() if value is not None
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
