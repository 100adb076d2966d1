"""What the launch files share. Imported by them only: ``launch`` is part of a ROS installation, not of this environment."""

from __future__ import annotations

from typing import Any

from launch.actions import EmitEvent, OpaqueFunction
from launch.events import Shutdown

#: A process that was told to end gets SIGTERM after the first, SIGKILL after the second of these: together below five seconds.
END_S, TERM_S = "3.2", "0.8"
_ENDING = "pilotbench_ending"


def end_all(reason: str) -> OpaqueFunction:
    """End everything that was launched, once: of several processes that die together, the first is the reason."""

    def end(context: Any) -> list[Any]:
        if context.is_shutdown or _ENDING in context.launch_configurations:
            return []
        context.launch_configurations[_ENDING] = reason
        return [EmitEvent(event=Shutdown(reason=reason))]

    return OpaqueFunction(function=end)
