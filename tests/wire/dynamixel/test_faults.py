"""A thousand random faults on the line: no wrong value is GOOD, nothing but a DriverError comes out, nothing moves twice.

Two servos are turned from outside, at different speeds, so that every sample shows when it was taken and whose it is; the
third is driven by set-points of which no two are alike.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from drivers import clock
from drivers.bus.byte_streams import open_stream
from drivers.bus.faulty import Disturbance, Disturber, FaultyStream
from drivers.bus.transport import ByteStream
from drivers.device import Command, CommandRefused, DeviceState, DriverError, Mode, Quality, Row
from drivers.dynamixel.codec import BROADCAST, Instruction, unpack
from drivers.dynamixel.framing import Splitter
from drivers.dynamixel.group import DynamixelGroup
from drivers.dynamixel.model import load_model
from drivers.dynamixel.servo import DynamixelServo
from drivers.dynamixel.telemetry import TOLERANCE_MS
from drivers.family import Column

from .conftest import BAUD, Bench, serve

FAULTS = 1000
RATES = {"DX2": 30.0, "DX3": -20.0}
MODEL = load_model("dynamixel_xm430_w350")
DIGIT = MODEL.readings["position"].digit


class Witness:
    """A `ByteStream` that remembers the goals that were written to it."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self.goals: Counter[int] = Counter()
        self.baudrate = stream.baudrate
        self.drain, self.close, self.read_exactly = stream.drain, stream.close, stream.read_exactly

    def write(self, data: bytes) -> None:
        splitter = Splitter(1024)
        splitter.feed(data)
        while (raw := splitter.next()) is not None:
            packet = unpack(raw)
            if packet.id == BROADCAST and packet.instruction == Instruction.SYNC_WRITE:
                address, size = packet.parameters[0], packet.parameters[2]
                if address == MODEL.registers["goal_position"].address:
                    self.goals[int.from_bytes(packet.parameters[5 : 5 + size], "little", signed=True)] += 1
        self._stream.write(data)


@pytest.fixture
def three() -> Iterator[Bench]:
    yield from serve({f"DX{n}": "dynamixel_xm430_w350" for n in (1, 2, 3)})


def the_group(bench: Bench, disturber: Disturber, witnesses: list[Witness]) -> DynamixelGroup:
    def disturbed(name: str, uri: str, baudrate: int) -> ByteStream:
        witnesses.append(Witness(FaultyStream(open_stream(name, uri, baudrate), disturber)))
        return witnesses[-1]

    group = DynamixelGroup(
        "dxl",
        [DynamixelServo(name, n, MODEL) for n, name in enumerate(bench.models, start=1)],
        [Column(name, name, "position") for name in bench.models],
        uri=bench.uri,
        baudrate=BAUD,
        period_s=0.05,
        watchdog_s=2.0,
        latency_s=0.008,
        open_stream=disturbed,
    )
    bench.groups.append(group)
    return group


def assert_true(row: Row, channels: tuple[str, ...], begin_s: float, sent: set[int]) -> int:
    """Every GOOD value is of its own servo and of this cycle; how many there were."""
    good = 0
    for channel, value, quality in zip(channels, row.values, row.quality, strict=True):
        if quality is not Quality.GOOD:
            continue
        good += 1
        if channel not in RATES:
            assert round(value / DIGIT) in sent, f"{channel}: {value} was never commanded"
            continue
        earliest_s, latest_s = row.stamp_s - (TOLERANCE_MS + 2.0) / 1000.0, clock.now()
        bounds = sorted(RATES[channel] * (t - begin_s) for t in (earliest_s, latest_s))
        assert bounds[0] - DIGIT <= value <= bounds[1] + DIGIT, f"{channel}: {value} outside {bounds}"
    return good


@pytest.mark.faults
@pytest.mark.parametrize("seed", [1])
def test_a_thousand_random_faults(
    three: Bench, seed: int, record_property: Callable[[str, object], None]
) -> None:
    three.on_loop(lambda: three.plant.rolling.update(RATES))
    begin_s = three.host._begin_s
    disturber = Disturber(seed, 0.08, longest_delay_s=0.03, longest_silence_s=0.02)
    witnesses: list[Witness] = []
    group = the_group(three, disturber, witnesses)
    target, sent, good, faults = 0, {0}, 0, 0
    until = time.monotonic() + 240
    opened = False
    while disturber.counts.total() < FAULTS:
        assert time.monotonic() < until, f"only {disturber.counts}"
        try:
            if not opened:
                disturber.active = False
                group.open()
                disturber.active = opened = True
                group.enable("DX1", Mode.POSITION)
            commands = {}
            if group.state("DX1") is DeviceState.ENABLED and not math.isnan(
                group.measured("DX1", Mode.POSITION)
            ):
                target += 1
                commands["DX1"] = Command(Mode.POSITION, target * DIGIT)
                sent.add(target)
            row = group.cycle(commands)
        except CommandRefused:
            raise  # every set-point here is allowed
        except DriverError:
            faults += 1
            opened = False
            group.close()
            continue
        good += assert_true(row, group.channels, begin_s, sent)
    disturber.active = False
    assert good > 2 * FAULTS, "it must also have worked"
    assert set(disturber.counts) == set(Disturbance)
    repeated = {goal: n for witness in witnesses for goal, n in witness.goals.items() if n > 1}
    assert not repeated, "a set-point is sent once"
    assert sum(witness.goals.total() for witness in witnesses) >= target - faults
    record_property("faults, good samples, set-points, device faults", (FAULTS, good, target, faults))


@pytest.mark.faults
def test_faults_at_the_start_are_one_clear_line_and_no_torque(three: Bench) -> None:
    disturber = Disturber(7, 0.15, longest_delay_s=0.03, longest_silence_s=0.02)
    group = the_group(three, disturber, [])
    said: list[str] = []
    for _ in range(12):
        try:
            group.open()
        except DriverError as error:
            said.append(str(error))
        finally:
            group.hush()
    assert said
    assert not [line for line in said if "\n" in line]
    assert not [event for event in three.power if event[1]]
