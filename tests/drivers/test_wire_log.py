"""The log of a wire: what is written is read back, also by programs that are not ours."""

from __future__ import annotations

from pathlib import Path

import can
import pytest
from can.io.canutils import CanutilsLogReader
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.bus.frame import FD_LENGTHS, FdFrame, Frame
from drivers.bus.wire_log import WireLog, format_payload, parse_payload, read_log
from drivers.device import TransportLost


def frames() -> st.SearchStrategy[Frame]:
    data = st.binary(max_size=8)
    return st.one_of(
        st.builds(lambda n, d: Frame(n, d), st.integers(0, 0x7FF), data),
        st.builds(lambda n, d: Frame(n, d, True), st.integers(0, 0x1FFF_FFFF), data),
        st.builds(lambda n, extended: Frame(n, b"", extended, True), st.integers(0, 0x7FF), st.booleans()),
        st.builds(lambda n: Frame(n, bytes(8), error=True), st.integers(0, 0x1FF)),
        st.builds(
            lambda n, d, length: FdFrame(n, d[:length], n > 0x7FF),
            st.integers(0, 0x1FFF_FFFF),
            st.binary(min_size=64, max_size=64),
            st.sampled_from(FD_LENGTHS),
        ),
    )


@given(st.booleans(), st.one_of(frames(), st.binary(min_size=1, max_size=300)))
def test_a_line_is_read_back_as_it_was(sent: bool, payload: Frame | bytes) -> None:
    assert parse_payload(format_payload(sent, payload)) == (sent, payload)


def test_the_forms_of_the_module_s_docstring() -> None:
    assert format_payload(True, Frame(0x601, bytes.fromhex("4018100100000000"))) == "601#4018100100000000 T"
    assert format_payload(False, Frame(0x1A, b"\x01", extended=True)) == "0000001A#01 R"
    assert format_payload(False, Frame(0x40, bytes(8), error=True)) == "20000040#0000000000000000 R"
    assert format_payload(True, bytes.fromhex("0103")) == "T 0103"
    of_fd = FdFrame(0x8001, bytes.fromhex("1100110F"), extended=True)
    assert format_payload(True, of_fd) == "00008001##11100110F T"
    assert parse_payload("00008001##01100110F T") == (True, of_fd), "whatever its flags"


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.booleans(), frames()), min_size=1, max_size=20))
def test_python_can_reads_a_log_of_ours(tmp_path_factory: pytest.TempPathFactory, entries: list) -> None:  # type: ignore[type-arg]
    path = tmp_path_factory.mktemp("log") / "can0.log"
    log = WireLog("can0", path)
    for n, (sent, frame) in enumerate(entries):
        log.put(0.001 * n, sent, frame)
    log.close()
    with CanutilsLogReader(path) as reader:
        messages = list(reader)
    assert len(messages) == len(entries)
    for message, (sent, frame) in zip(messages, entries, strict=True):
        assert isinstance(message, can.Message)
        if not frame.error:  # it knows those of the class "bus error" only; candump itself writes all classes
            assert not message.is_error_frame
            assert (message.arbitration_id, message.is_extended_id) == (frame.can_id, frame.extended)
            assert message.is_remote_frame is frame.remote
            assert bytes(message.data) == frame.data
            assert (message.is_fd, message.bitrate_switch) == (frame.fd, frame.fd)
            assert message.is_rx is not sent


def test_stamps_keep_their_distances_and_an_old_log_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "rs485.log"
    for base in (100.0, 200.0):
        log = WireLog("rs 485", path)
        log.put(base, True, b"\x01")
        log.put(base + 0.001234, False, b"\x02\x03")
        log.close()
    entries = list(read_log(path))
    assert [e.payload for e in entries] == [b"\x01", b"\x02\x03"] * 2
    assert entries[1].stamp_s - entries[0].stamp_s == pytest.approx(0.001234, abs=2e-6)
    assert " rs_485 " in path.read_text()


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "(1.0) can0 1234#00",
        "(1.0) can0 123#0",
        "(1.0) rs485 X 00",
        "(1.0) can0 123##1" + "00" * 9,
    ],
)
def test_a_line_that_is_none_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "broken.log"
    path.write_text(f"# a comment\n\n(1.0) can0 123#00 T\n{line}\n")
    with pytest.raises(ValueError, match="line 4"):
        list(read_log(path))


def test_a_log_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(TransportLost, match="cannot record into"):
        WireLog("can0", tmp_path / "no such folder" / "can0.log")


def test_a_full_disk_ends_the_log_not_the_cycle(caplog: pytest.LogCaptureFixture) -> None:
    log = WireLog("can0", Path("/dev/full"))
    log.put(0.0, True, b"\x01" * 70_000)
    log.close()
    log.put(0.0, True, b"\x01")
    assert "the recording /dev/full has ended" in caplog.text
