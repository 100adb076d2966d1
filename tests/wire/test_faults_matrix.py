"""A thousand faults a family: nothing wrong is called good, nothing escapes, nothing moves twice (see `fault_matrix`)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from drivers.bus.faulty import Disturbance
from drivers.bus.frame import Frame
from drivers.device import Quality
from drivers.family import Wire

from .fault_cases import CASES
from .fault_matrix import GATEWAY, Case, Outcome, Truth, episode

pytestmark = [
    pytest.mark.faults,
    pytest.mark.flaky(reruns=0),  # virtual time: what fails once fails again
]
FAULTS = 1000
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("m")


def run(
    case: Case,
    folder: Path,
    faults: int,
    *,
    kinds: frozenset[Disturbance] | None = None,
    disturb_opening: bool = False,
) -> Outcome:
    """Episodes until so many faults have struck."""
    outcome = Outcome()
    for seed in range(1, 2000):
        with pytest.MonkeyPatch.context() as monkeypatch:
            episode(case, seed, folder, monkeypatch, outcome, kinds=kinds, disturb_opening=disturb_opening)
        if sum(outcome.faults.values()) >= faults:
            return outcome
    raise AssertionError(f"too few faults: {outcome}")


@cases
def test_a_thousand_faults(case: Case, folder: Path, record_property: Callable[[str, object], None]) -> None:
    outcome = run(case, folder, FAULTS)
    record_property("matrix", str(outcome))
    assert outcome.wrong == []
    assert outcome.repeated == []
    assert set(outcome.faults) == case.kinds, "every kind struck"
    assert outcome.good > 0.2 * outcome.samples, "there was something to be wrong"
    assert outcome.good < outcome.samples, "and the faults were felt"
    assert bool(outcome.motions) == bool(case.moves)


@cases
def test_faults_while_the_bus_is_being_opened(case: Case, folder: Path) -> None:
    """It opens, and all is right, or it refuses with a `DriverError`; and nothing has moved."""
    outcome = run(case, folder, 40, disturb_opening=True)
    assert outcome.wrong == []
    assert outcome.repeated == []
    assert outcome.opened > 0
    if (
        case.member.wire is Wire.CAN and case.moves
    ):  # serial lines repeat their reads, sensors that only speak are heard
        assert sum(outcome.refused.values()) > 0


on_can = pytest.mark.parametrize(
    "case", [c for c in CASES.values() if c.member.wire is Wire.CAN], ids=lambda c: c.name
)


@on_can
def test_a_gateway_that_cuts_frames_short(case: Case, folder: Path) -> None:
    """A frame of the wrong length is never a value."""
    outcome = run(case, folder, 300, kinds=frozenset({Disturbance.CUT}))
    assert outcome.wrong == []
    assert outcome.repeated == []
    assert outcome.good > 0


@on_can
def test_a_gateway_that_flips_bits_behind_the_crc(case: Case, folder: Path) -> None:
    """No redundancy is left to notice it by, so nothing is claimed of values; but nothing escapes or moves twice."""
    outcome = run(case, folder, 300, kinds=GATEWAY)
    assert outcome.repeated == []


# ── the matrix itself: it can fail ──


def test_values_of_another_cycle_are_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from drivers.canopen.node import CanopenNode
    from drivers.modbus.device import ModbusDevice

    monkeypatch.setattr(CanopenNode, "is_fresh", lambda *_: True)
    assert "input_angle is" in run(CASES["canopen"], folder, 20).wrong[0]
    monkeypatch.setattr(ModbusDevice, "quality", lambda self, *_: Quality.GOOD)
    assert run(CASES["modbus"], folder, 20).wrong


def test_process_data_of_the_cycle_before_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group that sends SYNC again although an answer to the last is still to come."""
    from drivers.canopen.sync_cycle import SyncCycle

    def hasty(self: SyncCycle) -> None:
        self._barriers.clear()

    monkeypatch.setattr(SyncCycle, "_wait_for_barriers", hasty)
    assert run(CASES["canopen"], folder, 60, kinds=frozenset({Disturbance.DELAY})).wrong


def test_an_answer_to_another_question_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from drivers.canservo.moteus_drive import MoteusDrive

    kind = MoteusDrive._kind

    def careless(self: MoteusDrive, frame: Frame) -> int | None:
        return None if kind(self, frame) is None else next(iter(self._pending), None)

    monkeypatch.setattr(MoteusDrive, "_kind", careless)
    assert "angle is" in run(CASES["moteus"], folder, 60, kinds=frozenset({Disturbance.DELAY})).wrong[0]


def test_a_damaged_telegram_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from drivers.modbus import rtu

    monkeypatch.setattr(rtu, "unpack_adu", lambda adu: (adu[0], adu[1:-2]))
    assert run(CASES["modbus"], folder, 100, kinds=frozenset({Disturbance.FLIP})).wrong


def test_a_command_sent_twice_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from drivers.canopen.group import CanopenGroup

    send_all = CanopenGroup._send_all

    def twice(self: CanopenGroup, frames: Sequence[Frame]) -> None:
        again = [frame for frame in frames if frame.can_id == 0x301]  # velocity mode
        send_all(self, [*frames, *again])

    monkeypatch.setattr(CanopenGroup, "_send_all", twice)
    assert "1 2 times in cycle" in run(CASES["canopen"], folder, 5).repeated[0]


def test_an_exception_that_escapes_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from drivers.canopen.node import CanopenNode

    def careless(self: CanopenNode, number: int, data: bytes) -> None:
        raise IndexError(number)

    monkeypatch.setattr(CanopenNode, "accept", careless)
    with pytest.raises(AssertionError, match="internal error IndexError"):
        run(CASES["canopen"], folder, 1)


@pytest.mark.parametrize("slope", [3.0, -3.0])
def test_the_truth_of_an_interval(slope: float) -> None:
    truth = Truth(slope, range=6.0, start=1.0)
    sign = slope / 3.0
    assert truth.at(1.0) == 1.0 + 3.0 * sign
    assert truth.at(2.0) == 1.0 + 6.0 * sign
    assert truth.at(3.0) == 1.0 + 3.0 * sign
    assert sorted(truth.between(1.5, 2.5)) == sorted((1.0 + 4.5 * sign, 1.0 + 6.0 * sign))
    assert Truth(slope).between(0.0, 2.0) == (min(0.0, 2.0 * slope), max(0.0, 2.0 * slope))
