"""The ROS 2 graph as the command line sees it: start it, run protocols in it, end it.

Nothing here imports ``rclpy`` except `client`, which runs in a process of its own; so the command line needs no ROS in
its own environment, and works with the Jazzy wheels of this checkout as well as with the official packages.
"""

from .environment import RosMissing as RosMissing
from .graph import NodeSpec as NodeSpec
from .graph import nodes_for as nodes_for
from .supervisor import Graph as Graph
from .supervisor import GraphError as GraphError
