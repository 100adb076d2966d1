"""The ROS 2 graph as the command line sees it: start it, run protocols in it, end it.

Nothing here imports ``rclpy`` except `client`, which runs in a process of its own; so the command line needs no ROS in
its own environment, and works with the Jazzy wheels of this checkout as well as with the official packages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .environment import RosMissing as RosMissing
from .graph import NodeSpec as NodeSpec
from .graph import nodes_for as nodes_for

if TYPE_CHECKING:
    from .supervisor import Graph as Graph
    from .supervisor import GraphError as GraphError


def __getattr__(name: str) -> Any:
    """The supervisor, loaded when it is asked for: every node imports this package for its list of nodes only."""
    if name in ("Graph", "GraphError"):
        from . import supervisor

        return getattr(supervisor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
