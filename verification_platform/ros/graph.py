"""Which processes a bench needs: the one list that the launch files and the supervisor share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from verification_platform.bench.description import BenchDescription

PACKAGE = "pilotbench_nodes"
INTERLOCK, RECORDER, PROTOCOL = "interlock_node", "recorder_node", "protocol_node"


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One node: its name in the graph, the executable of `pilotbench_nodes`, its parameters. All are lifecycle nodes."""

    name: str
    executable: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def device_node_name(bus: str) -> str:
    """Name of the node that owns a bus."""
    return f"device_{bus}"


def device_buses(bench: BenchDescription) -> tuple[str, ...]:
    """Buses with something on them, in the order of the file: one device node each."""
    return tuple(bus for bus in bench.bus if bench.channels_on(bus) or bench.actuators_on(bus))


def nodes_for(bench: BenchDescription, bench_file: Path) -> tuple[NodeSpec, ...]:
    """Every node of the graph, in the order in which they are to be brought up: who watches comes before who moves.

    `bench_file` is what every node reads; on emulated wires the resolved description, in which each bus has its address.
    """
    common = {"bench": str(bench_file)}
    return (
        NodeSpec(INTERLOCK, "interlock_node", common),
        NodeSpec(RECORDER, "recorder_node", common),
        *(
            NodeSpec(device_node_name(bus), "device_node", {**common, "bus": bus})
            for bus in device_buses(bench)
        ),
        NodeSpec(PROTOCOL, "protocol_node", common),
    )
