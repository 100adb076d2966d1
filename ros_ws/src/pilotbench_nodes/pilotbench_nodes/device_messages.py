"""What a device node tells of its bus: the state of its devices, and how well the bus keeps its time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from pilotbench_interfaces.msg import BenchState

from drivers.device import DeviceState
from drivers.runner import BusRunner

STATES = {
    DeviceState.LOST: BenchState.LOST,
    DeviceState.OFF: BenchState.OFF,
    DeviceState.READY: BenchState.READY,
    DeviceState.ENABLED: BenchState.ENABLED,
    DeviceState.FAULT: BenchState.FAULT,
}


def bench_state(
    runner: BusRunner, devices: Sequence[str], states: Sequence[int], modes: Mapping[str, str]
) -> BenchState:
    """`states` of the devices, `modes` of the actuators by role; stamp, group and permission are for the node to add."""
    identities = {i.device: f"{i.model}, {i.serial}, {i.firmware}" for i in runner.identities}
    return BenchState(
        devices=list(devices),
        states=list(states),
        identities=[identities.get(device, "") for device in devices],
        actuators=list(modes),
        modes=list(modes.values()),
        reason=runner.failure or "",
    )


def statistics_of(runner: BusRunner, bus: str) -> DiagnosticStatus:
    """Everything the runner counts, as JSON by name; an error when it has failed."""
    level = DiagnosticStatus.OK if runner.failure is None else DiagnosticStatus.ERROR
    return DiagnosticStatus(
        level=level,
        name=bus,
        message=runner.failure or runner.warning or "",
        hardware_id=bus,
        values=[
            KeyValue(key=key, value=json.dumps(value)) for key, value in asdict(runner.statistics()).items()
        ],
    )
