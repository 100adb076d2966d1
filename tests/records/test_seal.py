"""One changed byte anywhere is found, and its place is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verification_platform.records.errors import RecordingError
from verification_platform.records.reader import open_recording
from verification_platform.records.seal import Seal, SealEntry, seal_digest, verify_seal


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory, recorded: Callable[..., Any]) -> Path:
    folder = tmp_path_factory.mktemp("sealed")
    recorded(folder, [100] * 12, [20] * 12, [{"direction": 1}], segment_bytes=8_000)
    assert len(list(folder.glob("*.mcap"))) >= 4
    assert verify_seal(folder).ok
    return folder


@pytest.fixture
def copy(sealed: Path, tmp_path: Path) -> Path:
    shutil.copytree(sealed, tmp_path / "samples")
    return tmp_path / "samples"


def flip(path: Path, position: int, bits: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= bits
    path.write_bytes(data)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), bits=st.integers(1, 255))
def test_one_flipped_byte_is_found(sealed: Path, data: st.DataObject, bits: int) -> None:
    """Anywhere: in any segment or in the seal."""
    files = [*sorted(sealed.glob("*.mcap")), sealed / "seal.json"]
    path = data.draw(st.sampled_from(files), label="file")
    position = data.draw(st.integers(0, path.stat().st_size - 1), label="position")
    flip(path, position, bits)
    try:
        report = verify_seal(sealed)
        assert not report.ok
        assert report.place.split(",")[0] == path.name
        assert report.what
        assert "\n" not in report.line
        with pytest.raises(RecordingError, match=r"seal broken|seal itself|hash chain"):
            open_recording(sealed)
    finally:
        flip(path, position, bits)
    assert verify_seal(sealed).ok


def test_what_the_altered_seal_says_stays_on_one_line(copy: Path) -> None:
    """A key that became a line break; found by the test above, once in some hundred runs."""
    seal = copy / "seal.json"
    seal.write_text(seal.read_text().replace('"index"', r'"\ndex"', 1))
    report = verify_seal(copy)
    assert not report.ok
    assert "\n" not in report.line
    assert r"\ndex" in report.line


def test_the_chunk_is_named(copy: Path) -> None:
    path = copy / "000002.mcap"
    raw = path.read_bytes()
    flip(path, raw.index(b"input_angle", raw.index(b"can0\0")) + 200, 1)
    report = verify_seal(copy.parent)  # a run folder
    assert report.place.startswith("000002.mcap, chunk 0, byte ")
    assert "checksum" in report.place
    assert "was altered" in report.what


def test_outside_the_samples_is_said(copy: Path) -> None:
    path = copy / "000001.mcap"
    flip(path, path.read_bytes().index(b"R-1"), 1)
    assert verify_seal(copy).place == "000001.mcap, outside the samples (header, metadata or index)"


@pytest.mark.parametrize("change", ["missing", "swapped", "extra", "longer", "shorter", "copied"])
def test_files_must_be_those_that_were_sealed(copy: Path, change: str) -> None:
    first, second = copy / "000000.mcap", copy / "000001.mcap"
    expected = ("000001.mcap", "")
    if change == "missing":
        second.unlink()
        expected = ("000001.mcap", "is missing")
    elif change == "swapped":
        first.rename(copy / "x")
        second.rename(first)
        (copy / "x").rename(second)
        expected = ("000000.mcap", "holds the content of 000001.mcap")
    elif change == "copied":
        shutil.copy(first, second)
        expected = ("000001.mcap", "holds the content of 000000.mcap")
    elif change == "extra":
        shutil.copy(first, copy / "000009.mcap")
        expected = ("000009.mcap", "not part of the sealed recording")
    else:
        raw = second.read_bytes()
        second.write_bytes(raw + b"\0" if change == "longer" else raw[:-1])
        expected = ("000001.mcap", "were sealed")
    report = verify_seal(copy)
    assert not report.ok
    assert report.place.startswith(expected[0])
    assert expected[1] in report.what


def entries(folder: Path) -> list[dict[str, Any]]:
    document: dict[str, Any] = json.loads((folder / "seal.json").read_text())
    found: list[dict[str, Any]] = document["entries"]
    return found


def write(folder: Path, **changes: Any) -> None:
    document = json.loads((folder / "seal.json").read_text())
    (folder / "seal.json").write_text(json.dumps(document | changes, ensure_ascii=False, indent=1) + "\n")


def test_entries_cannot_be_moved_removed_or_edited(copy: Path) -> None:
    original = entries(copy)
    write(copy, entries=[original[1], original[0], *original[2:]])
    assert "does not continue the hash chain" in verify_seal(copy).what
    write(copy, entries=original[:-1])
    assert "does not close the hash chain" in verify_seal(copy).what
    write(copy, entries=[original[0] | {"bytes": 1}, *original[1:]])
    assert "entry 0 (000000.mcap)" in verify_seal(copy).what
    write(copy, entries=original, closed=False)
    assert "does not close the hash chain" in verify_seal(copy).what
    write(copy, entries=original, closed=True)
    assert verify_seal(copy).ok
    write(copy, remark="harmless")
    assert "not what was written" in verify_seal(copy).what


def test_a_forged_seal_has_another_digest(copy: Path) -> None:
    """Whoever rewrites the whole chain gets a valid seal, but not the digest that the report signed."""
    before = seal_digest(copy)
    forged = Seal()
    for entry in entries(copy):
        forged = forged.with_entry(entry["file"], entry["bytes"], entry["sha256"], 0, note="changed")
    (copy / "seal.json").write_text(Seal(forged.entries, closed=True).text())
    assert verify_seal(copy).ok
    assert seal_digest(copy) != before


def test_without_a_seal(copy: Path) -> None:
    (copy / "seal.json").unlink()
    report = verify_seal(copy)
    assert (report.ok, report.place) == (False, "seal.json")
    assert "not sealed" in report.what
    with pytest.raises(RecordingError, match="not sealed"):
        open_recording(copy)
    assert open_recording(copy, check_seal=False).integrity().complete


def test_link_is_the_documented_hash() -> None:
    """Anyone can recompute the chain: SHA-256 of the entry as sorted, compact JSON."""
    import hashlib

    entry = SealEntry(0, "000000.mcap", 1, "ab", 0, "", "0" * 64)
    text = (
        '{"bytes":1,"file":"000000.mcap","index":0,"note":"","previous":"'
        + "0" * 64
        + '","session":0,"sha256":"ab"}'
    )
    assert entry.link == hashlib.sha256(text.encode()).hexdigest()


@settings(max_examples=60, deadline=None)
@given(data=st.data(), bits=st.integers(1, 255))
def test_damage_is_never_read_as_data(sealed: Path, data: st.DataObject, bits: int) -> None:
    """Even without the seal, chunk checksums keep altered samples from being evaluated."""
    path = sealed / "000001.mcap"
    position = data.draw(st.integers(0, path.stat().st_size - 1))
    good = [s.read("input_angle").values.tobytes() for s in open_recording(sealed).segments()]
    flip(path, position, bits)
    try:
        recording = open_recording(sealed, check_seal=False)
        read = [s.read("input_angle").values.tobytes() for s in recording.segments()]
    except RecordingError:
        pass
    else:
        assert read == good
    finally:
        flip(path, position, bits)
