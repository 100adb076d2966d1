"""Faults, dead devices, cut cables and disturbed frames: told once, and never a wrong value as GOOD."""

from __future__ import annotations

import random
import time

import can
import pytest

from drivers.bus.can_hub import Fault, FaultKind
from drivers.canservo.model import load_model
from drivers.device import (
    Command,
    CommandRefused,
    DeviceFault,
    DeviceState,
    Mode,
    Quality,
    TransportLost,
)
from drivers.family import DevicePlan

from .conftest import AK, ALL, CG, EACH, MT, MT2, OD5, OD6, PERIOD_S, RS, Bench
from .cycles import cycles, enabled, fault_of, good, value


@pytest.mark.parametrize(
    ("device", "code", "text"),
    [
        (OD6, 0x2000, "motor too hot"),
        (OD5, 0x100, "encoder failed"),
        (CG, 0x10, "HALL encoder fault"),
        (RS, 0x10, "stalled or overloaded"),
        (AK, 2, "over-current"),
        (MT, 34, "over-voltage"),
    ],
    ids=lambda v: getattr(v, "model", ""),
)
def test_a_fault_is_told_once_with_cause_and_code(
    bench: Bench, device: DevicePlan, code: int, text: str
) -> None:
    bench.serve_devices(device)
    group = bench.group(device)
    group.open()
    enabled(group, device.name, Mode.VELOCITY)
    node = bench.node(device.name)
    reason = ("test",) if device in (OD6, OD5) else ()
    bench.on_loop(lambda: node.fail(code, *reason, time.monotonic()))
    fault = fault_of(group)
    assert fault.device == device.name
    if device not in (CG, RS):  # whose report (type 21) has bits of its own and may come first
        assert text in str(fault)
        assert fault.code == code
    assert group.state(device.name) is DeviceState.FAULT
    cycles(group, 5)
    with pytest.raises(CommandRefused, match="has a fault"):
        group.enable(device.name, Mode.VELOCITY)


@EACH
def test_a_dead_device_is_lost_and_costs_the_others_nothing(bench: Bench, device: DevicePlan) -> None:
    other = MT2 if device is MT else CG if device is not CG else RS
    bench.serve_devices(device, other)
    group = bench.group(device, other)
    group.open()
    cycles(group, 5)
    bench.on_loop(lambda: setattr(bench.node(device.name), "mute", True))
    fault = fault_of(group)
    assert (fault.device, group.state(device.name)) == (device.name, DeviceState.LOST)
    assert bench.hub.overruns == 0
    rows = cycles(group, 20)
    assert sum(value(group, row, f"{other.name}_position")[1] == Quality.GOOD for row in rows) >= 18
    assert all(value(group, row, f"{device.name}_position")[1] != Quality.GOOD for row in rows)
    began = time.monotonic()
    group.cycle({})
    assert time.monotonic() - began < 0.75 * PERIOD_S, "nobody waits for the lost one"


@EACH
def test_a_cut_cable_loses_everything_and_a_dead_hub_says_so(bench: Bench, device: DevicePlan) -> None:
    bench.serve_devices(device)
    group = bench.group(device)
    group.open()
    cycles(group, 3)
    bench.on_loop(bench.host.servers["can0"].close)
    with pytest.raises(TransportLost):
        cycles(group, 5)
    group.safe_stop()
    group.close()


@EACH
@pytest.mark.parametrize("kind", [FaultKind.DROP, FaultKind.DELAY, FaultKind.DUPLICATE, FaultKind.ERROR])
def test_disturbed_frames_never_give_a_wrong_good_value(
    bench: Bench, device: DevicePlan, kind: FaultKind
) -> None:
    """The shaft turns at 1 rad a cycle's reading: a value of another cycle would be recognised by its age."""
    bench.serve_devices(device)
    group = bench.group(device)
    group.open()
    enabled(group, device.name, Mode.VELOCITY)
    command = {device.name: Command(Mode.VELOCITY, 2.0)}
    cycles(group, 5, command)
    channel = f"{device.name}_position"
    for skip in range(0, 12, 3):
        bench.on_loop(
            lambda skip=skip: bench.hub.faults.append(Fault(kind, skip=skip, delay_s=0.013))  # type: ignore[misc]
        )
        goods = 0
        for _ in range(12):
            before = bench.plant.angle[device.name]
            row = cycles(group, 1, command if group.state(device.name) is DeviceState.ENABLED else None)[-1]
            found, quality = value(group, row, channel)
            if quality == Quality.GOOD:
                goods += 1
                # not older than this cycle's beginning, or than the age that its telemetry is allowed
                allowed = 2.0 * (2.6 * getattr(load_model(device.model), "cyclic_s", 0.0) + 0.002)
                assert before - allowed - 0.001 <= found <= bench.plant.angle[device.name] + 0.05
        assert goods >= 3
    assert group.state(device.name) is DeviceState.ENABLED


def test_many_random_faults_give_no_wrong_value_and_no_strange_exception(bench: Bench) -> None:
    """200 of them, on all dialects at once: lost, late, doubled, destroyed and cut frames, and frames of nobody."""
    bench.serve_devices(*ALL)
    group = bench.group(*ALL)
    group.open()
    for channel in group.channels:
        good(group, channel)
    draw = random.Random(4)
    truth = {"position": 0.0, "velocity": 0.0, "torque": 0.0}
    answers = [4 << 5 | 0x09, 5 << 5 | 0x09, 5 << 5 | 0x14, 4 << 5 | 0x1C, 0]
    rogue = can.Bus(interface="pilotbench", channel=bench.uri.removeprefix("unix:"))
    goods = 0
    kinds = (FaultKind.DROP, FaultKind.DELAY, FaultKind.DUPLICATE, FaultKind.ERROR)
    for _ in range(200):
        if draw.random() < 0.5:
            fault = Fault(draw.choice(kinds), skip=draw.randrange(20), delay_s=draw.uniform(0.0, 0.03))
            bench.on_loop(lambda fault=fault: bench.hub.faults.append(fault))  # type: ignore[misc]
        elif draw.random() < 0.5:  # cut
            data = bytes(draw.randrange(1, 6))
            rogue.send(can.Message(arbitration_id=draw.choice(answers), data=data, is_extended_id=False))
            cut = 2 << 24 | draw.choice((CG.address, RS.address)) << 8 | 0xFD
            rogue.send(can.Message(arbitration_id=cut, data=data, is_extended_id=True))
        else:
            stray = draw.randrange(0x500, 0x7FF)
            rogue.send(can.Message(arbitration_id=stray, data=draw.randbytes(8), is_extended_id=False))
        try:
            row = cycles(group, 1)[-1]
        except DeviceFault:
            continue  # so many losses in a row are told as one
        for channel, found, quality in zip(group.channels, row.values, row.quality, strict=True):
            signal = channel.split("_")[1]
            if quality == Quality.GOOD and signal in truth:
                goods += 1
                assert found == pytest.approx(truth[signal], abs=0.02), channel
    rogue.shutdown()
    assert goods > 500
    assert not any(on for _, on, _, _ in bench.power), "no command came out of nowhere"
    counted = group.counters()
    assert counted["can0"]["foreign"] > 0
    assert sum(c.get("missed", 0) + c.get("late", 0) for c in counted.values()) > 20
