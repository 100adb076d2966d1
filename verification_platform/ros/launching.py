"""What the launch files share. Imported by them only: ``launch`` is part of a ROS installation, not of this environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from launch.actions import DeclareLaunchArgument, EmitEvent, OpaqueFunction
from launch.events import Shutdown

_ROOT = Path(__file__).resolve().parents[2]
_YES_OR_NO = ["true", "false"]
#: Arguments of more than one launch file; what differs between them, `declare` is told.
_SHARED: dict[str, dict[str, Any]] = {
    "dut": {
        "default_value": str(_ROOT / "duts" / "harmonic-25-100.toml"),
        "description": "Component under test behind the emulated wires.",
    },
    "seed": {"default_value": "1", "description": "Seed of the emulated sensors and their errors."},
    "clock": {
        "default_value": "false",
        "choices": _YES_OR_NO,
        "description": "Publish the bench's time on /clock, for tools with use_sim_time.",
    },
    "namespace": {
        "default_value": "",
        "description": "ROS namespace of the bench, when several share one domain; empty for none.",
    },
    "autostart": {
        "default_value": "true",
        "choices": _YES_OR_NO,
        "description": "Configure and activate all nodes; false leaves that to `ros2 lifecycle`.",
    },
    "respawn": {
        "default_value": "false",
        "choices": _YES_OR_NO,
        "description": "Start a node anew that has died, and configure it: it comes back inactive, with the torque off, and the run it "
        "died in is INVALID; a person activates it. With false, the safe choice, the death of any node ends them all. An emulator or "
        "a simulator is never started anew.",
    },
    "respawn_delay": {"default_value": "2.0", "description": "Seconds before a node is started anew."},
    "log_dir": {
        "default_value": "",
        "description": "Folder for the logs of all nodes; empty for ROS's own (~/.ros/log).",
    },
    "loopback": {
        "default_value": "true",
        "choices": _YES_OR_NO,
        "description": "Talk on this computer only and without shared memory (docs/decisions/0003).",
    },
}

#: A process that was told to end gets SIGTERM after the first, SIGKILL after the second of these: together below five seconds.
END_S, TERM_S = "3.2", "0.8"
_ENDING = "pilotbench_ending"


def declare(*names: str, **defaults: str) -> list[DeclareLaunchArgument]:
    """Declarations of shared arguments, in this order; `defaults` other than the shared ones."""
    return [
        DeclareLaunchArgument(
            name, **{**_SHARED[name], **({"default_value": defaults[name]} if name in defaults else {})}
        )
        for name in names
    ]


def end_all(reason: str) -> OpaqueFunction:
    """End everything that was launched, once: of several processes that die together, the first is the reason."""

    def end(context: Any) -> list[Any]:
        if context.is_shutdown or _ENDING in context.launch_configurations:
            return []
        context.launch_configurations[_ENDING] = reason
        return [EmitEvent(event=Shutdown(reason=reason))]

    return OpaqueFunction(function=end)
